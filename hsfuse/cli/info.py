"""`hsfuse info`."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from hsfuse.cli import options
from hsfuse.cli.console import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hsfuse.cli.console import Console
    from hsfuse.commands.info import Info, PairInfo
    from hsfuse.scenes import Scene


@options.command("info")
@click.argument("scenes", nargs=-1, required=True)
def info(console: Console, scenes: tuple[str, ...]) -> None:
    """Describe scenes: size, grid, CRS, bands, wavelengths, nodata, scale; of two also whether they can be fused.

    \b
    Example:
      hsfuse info hsi.tif msi.tif
    """
    from hsfuse.commands.info import info as run  # noqa: PLC0415 (imports rasterio)

    result = run(scenes)
    console.result(
        {
            "scenes": [_scene(scene) for scene in result.scenes],
            "pair": _pair(result.pair),
            "unreadable": list(result.unreadable),
        },
        lambda: _print(result),
    )
    for sentence in result.unreadable:
        console.error(sentence)
    if result.unreadable or (result.pair is not None and not result.pair.fusible):
        raise click.exceptions.Exit(ExitStatus.REFUSED)


def _numbers(values: Iterable[float] | None) -> list[float | None] | None:
    if values is None:
        return None
    return [float(value) if math.isfinite(value) else None for value in values]


def _scene(scene: Scene) -> dict[str, Any]:
    grid, bands = scene.grid, scene.bands
    nodata = scene.nodata
    return {
        "path": scene.path,
        "width": grid.width,
        "height": grid.height,
        "count": scene.count,
        "dtype": scene.dtype,
        "crs": None if grid.crs is None else grid.crs.to_string(),
        "transform": list(grid.transform)[:6],
        "pixel_size": list(grid.pixel_size),
        "nodata": None if nodata is None else (nodata if math.isfinite(nodata) else str(nodata)),
        "scales": _numbers(scene.scales),
        "offsets": _numbers(scene.offsets),
        "sensor": scene.sensor,
        "wavelength_nm": _numbers(bands.wavelength_nm),
        "fwhm_nm": _numbers(bands.fwhm_nm),
        "bad_bands": [band + 1 for band in range(scene.count) if not bands.good[band]],
        "names": list(bands.names),
        "screen": [asdict(found) | {"bands": [band + 1 for band in found.bands]} for found in scene.screen.findings],
        "warnings": list(scene.warnings),
    }


def _pair(pair: PairInfo | None) -> dict[str, Any] | None:
    if pair is None:
        return None
    return {
        "hsi": pair.hsi,
        "msi": pair.msi,
        "fusible": pair.fusible,
        "reason": pair.reason,
        "ratio": pair.ratio,
        "overlap": None if pair.overlap is None else {"width": pair.overlap[0], "height": pair.overlap[1]},
        "resampled": pair.resampled,
        "warnings": list(pair.warnings),
    }


def _print(result: Info) -> None:
    from rich.console import Console as Terminal  # noqa: PLC0415 (only for people)
    from rich.markup import escape  # noqa: PLC0415 (a file's name may hold brackets)
    from rich.table import Table  # noqa: PLC0415

    terminal = Terminal()
    for scene in result.scenes:
        table = Table(title=escape(scene.path), show_header=False, title_justify="left")
        for name, value in _rows(scene):
            table.add_row(name, escape(value))
        terminal.print(table)
    if result.pair is not None:
        click.echo(_verdict(result.pair))


def _rows(scene: Scene) -> list[tuple[str, str]]:
    grid, bands, wavelength = scene.grid, scene.bands, scene.bands.wavelength_nm
    bad = [str(band + 1) for band in range(scene.count) if not bands.good[band]]
    rows = [
        ("size", f"{grid.width} × {grid.height} pixels, {scene.count} bands of {scene.dtype}"),
        ("pixel", grid.describe_pixel()),
        ("CRS", "none" if grid.crs is None else grid.crs.to_string()),
        ("nodata", "none" if scene.nodata is None else f"{scene.nodata:g}"),
        ("scale, offset", f"{scene.scales[0]:g}, {scene.offsets[0]:g}"),
        ("bad bands", ", ".join(bad) or "none"),
    ]
    if wavelength is not None:
        known = [value for value in wavelength if math.isfinite(value)]
        rows.insert(3, ("wavelengths", f"{min(known):.1f} to {max(known):.1f} nm"))
    if scene.sensor:
        rows.append(("sensor", scene.sensor))
    rows += [("warning", sentence.removeprefix(f"{scene.path}: ")) for sentence in scene.warnings]
    return rows


def _verdict(pair: PairInfo) -> str:
    if not pair.fusible or pair.overlap is None:
        return f"cannot be fused: {pair.reason}"
    notes = "".join(f"\nwarning: {warning}" for warning in pair.warnings)
    way = "the MSI would be resampled" if pair.resampled else "the grids nest"
    return f"can be fused: ratio {pair.ratio}, {pair.overlap[0]} × {pair.overlap[1]} HSI pixels in common, {way}{notes}"
