"""What a shell offers on the tab key, beyond commands, options and choices; click calls these."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    import click

_SENSORS = Path(__file__).parents[1] / "imaging" / "sensors"  # importing their package takes longer than a tab may


def files(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of files."""
    return [CompletionItem(incomplete, type="file")]


def folders(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of folders."""
    return [CompletionItem(incomplete, type="dir")]


def sensors(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Sensors whose spectral response comes with hsfuse; files where none fits."""
    names = sorted(path.stem for path in _SENSORS.glob("*.csv"))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)] or files(
        context, parameter, incomplete
    )
