"""`hsfuse sensors`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hsfuse.cli import completion, options
from hsfuse.cli.words import wide_terminal

if TYPE_CHECKING:
    from hsfuse.cli.console import Console
    from hsfuse.imaging import SensorTable


@options.command("sensors")
@click.argument("name", required=False, shell_complete=completion.sensors)
def sensors(console: Console, name: str | None) -> None:
    """List the sensors whose spectral response comes with hsfuse, for --srf; with NAME, one of them band by band.

    NAME may also be a file of your own, to see what --srf will make of it.

    \b
    Example:
      hsfuse sensors sentinel-2a
    """
    from hsfuse.commands.sensors import list_sensors, show_sensor  # noqa: PLC0415 (imports torch)

    if name is None:
        found = list_sensors()
        console.result({"sensors": [_content(table) for table in found]}, lambda: _print_all(found))
        return
    table = show_sensor(name)
    curves = {"wavelength_nm": table.wavelength_nm, "response": table.response}
    console.result(_content(table) | curves, lambda: _print(table))


def _content(table: SensorTable) -> dict[str, Any]:
    return {
        "name": table.name,
        "source": table.source,
        "bands": [
            {"name": band, "centre_nm": round(centre, 1), "fwhm_nm": round(width, 1), "default": band in usual}
            for band, centre, width in zip(table.bands, table.centre_nm.tolist(), table.fwhm_nm.tolist(), strict=True)
            for usual in [table.default_bands]
        ],
    }


def _print_all(tables: list[SensorTable]) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 (only for people)
    from rich.table import Table  # noqa: PLC0415

    told = Table("sensor", "bands: centre and width in nm", "source", box=SIMPLE_HEAD, pad_edge=False)
    for table in tables:
        bands = (f"{band['name']} {band['centre_nm']:.0f} ({band['fwhm_nm']:.0f})" for band in _content(table)["bands"])
        told.add_row(table.name, ", ".join(bands), table.source)
    wide_terminal().print(told)


def _print(table: SensorTable) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 (only for people)
    from rich.markup import escape  # noqa: PLC0415 (a file's name may hold brackets)
    from rich.table import Table  # noqa: PLC0415

    told = Table("band", box=SIMPLE_HEAD, pad_edge=False)
    for title in ("centre nm", "width nm"):
        told.add_column(title, justify="right")
    told.add_column("without a choice")
    for band in _content(table)["bands"]:
        used = "used" if band["default"] else "left out"
        told.add_row(escape(band["name"]), f"{band['centre_nm']:.1f}", f"{band['fwhm_nm']:.1f}", used)
    wide_terminal().print(told)
    low, high = table.wavelength_nm[0], table.wavelength_nm[-1]
    click.echo(
        f"{table.name}: {len(table.bands)} bands, {low:.0f} to {high:.0f} nm, source: {table.source or 'not said'}"
    )
