"""One self-contained page about a result, written whole: it needs no network and opens from disk."""

from __future__ import annotations

import importlib
import json
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any

from hsfuse.errors import OutputError, RequestError
from hsfuse.files import check_target, written_whole
from hsfuse.report.content import TRUST
from hsfuse.report.provenance import command_line, versions

if TYPE_CHECKING:
    import os

    from hsfuse.report.content import Page

_SUFFIXES = {".html", ".htm"}
_VERDICTS = {
    "good": "Nothing speaks against it.",
    "look": "To be used with care: look at the points marked so.",
    "doubt": "Doubtful: see the points marked so before it is used.",
}


def check_page(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Find out before any work is done for it whether a page could be written.

    Raises:
        OutputError: The name is none of a page, something stands there, or the folder cannot be written to.
        RequestError: Bokeh is not installed.
    """
    target = check_target(path, overwrite=overwrite)
    if target.suffix.lower() not in _SUFFIXES:
        raise OutputError(f"{target}: a report is a page: choose a name that ends in .html")
    try:
        importlib.import_module("bokeh")
    except ImportError as error:
        raise RequestError("reports need Bokeh: pip install 'hsfuse[report]'") from error


def write_page(path: str | os.PathLike[str], page: Page, *, overwrite: bool = False) -> None:
    """Write a page that needs nothing beside it, no network either.

    Raises:
        OutputError: The file is there already, or cannot be written there.
        RequestError: Bokeh is not installed.
        WorkError: The disk is full or fails.
    """
    check_page(path, overwrite=overwrite)
    text = _text(page)
    with written_whole(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _text(page: Page) -> str:
    from jinja2 import Environment  # noqa: PLC0415 (comes with Bokeh, an extra)
    from markupsafe import Markup  # noqa: PLC0415

    from hsfuse.report.figures import drawn  # noqa: PLC0415

    figures = drawn(page)
    worst = _worst(page)
    folder = resources.files("hsfuse.report") / "assets"
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (folder / "page.html").read_text(encoding="utf-8")
    )
    text: str = template.render(
        page=page,
        verdict=_VERDICTS[worst] if page.question == TRUST else "",
        worst=worst,
        figures=figures,
        library=Markup(figures.library),  # noqa: S704 (Bokeh's own)
        script=Markup(figures.script),  # noqa: S704
        style=Markup((folder / "page.css").read_text(encoding="utf-8")),  # noqa: S704
        behaviour=Markup((folder / "page.js").read_text(encoding="utf-8")),  # noqa: S704
        data=Markup(_in_script(figures.data)),  # noqa: S704
        command=command_line(),
        versions=versions(),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    return text


def _in_script(data: Any) -> str:
    """JSON that no reader of HTML takes for the end of a script."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _worst(page: Page) -> str:
    levels = {finding.level for finding in page.findings} | ({"look"} if page.warnings else set())
    return next((level for level in ("doubt", "look") if level in levels), "good")
