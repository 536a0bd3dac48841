"""`hsfuse weights`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from hsfuse.cli import completion, options

if TYPE_CHECKING:
    from hsfuse.cli.console import Console
    from hsfuse.models.weights import WeightsFile


_MANY = 24  # entries of a list beyond which people want only its ends


@click.group("weights")
def weights() -> None:
    """List, show and verify weights files.

    \b
    Example:
      hsfuse weights show mgdunlss-universal
    """


@options.command("list")
def list_bundled(console: Console) -> None:
    """List the weights that come with hsfuse.

    \b
    Example:
      hsfuse weights list
    """
    from hsfuse.commands.weights import list_weights  # noqa: PLC0415 (imports torch)

    files = list_weights()
    console.result(
        {"weights": [_content(file) for file in files]},
        lambda: click.echo("\n".join(_line(file) for file in files)),
    )


@options.command("show")
@click.argument("file", shell_complete=completion.files)
def show(console: Console, file: str) -> None:
    """Show what a weights file was trained on, and how well.

    \b
    Example:
      hsfuse weights show mgdunlss-universal
    """
    from hsfuse.commands.weights import show_weights  # noqa: PLC0415 (imports torch)

    found = show_weights(file)
    console.result(_content(found), lambda: _print(found))


@options.command("verify")
@click.argument("file", shell_complete=completion.files)
def verify(console: Console, file: str) -> None:
    """Load a weights file and compute its checksum.

    \b
    Example:
      hsfuse weights verify mgdunlss-universal
    """
    from hsfuse.commands.weights import verify_weights  # noqa: PLC0415 (imports torch)

    result = verify_weights(file)
    content = {
        "file": str(result.file.path),
        "ok": True,
        "sha256": result.checksum,
        "parameters": result.parameters,
        "bundled": result.listed,
    }
    known = "as bundled" if result.listed else "not a bundled file"
    console.result(
        content,
        lambda: click.echo(
            f"{result.file.path}: whole, {result.parameters} parameters, {known}\nsha256 {result.checksum}"
        ),
    )


for _command in (list_bundled, show, verify):
    weights.add_command(_command)


def _content(file: WeightsFile) -> dict[str, Any]:
    return {"name": file.name, "file": str(file.path), "bytes": file.size_bytes, **asdict(file.card)}


def _line(file: WeightsFile) -> str:
    card = file.card
    ratios = f"{min(card.ratios)}–{max(card.ratios)}"
    return f"{file.name}: {card.model}, {card.spectral}, ratios {ratios}, {file.size_bytes / 1024:.0f} KB"


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)) and len(value) > _MANY:
        return f"{len(value)}: {_text(value[0])} … {_text(value[-1])}"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(part) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _print(file: WeightsFile) -> None:
    from rich.console import Console as Terminal  # noqa: PLC0415 (only for people)
    from rich.markup import escape  # noqa: PLC0415 (a file's name or licence may hold brackets)
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=escape(file.name), show_header=False, title_justify="left")
    for name, value in _content(file).items():
        if value not in ("", (), {}):  # nothing to say
            table.add_row(name.replace("_", " "), escape(_text(value)))
    Terminal().print(table)
