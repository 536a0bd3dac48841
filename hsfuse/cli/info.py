"""`hsfuse info`."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from hsfuse.cli import completion, options
from hsfuse.cli.console import ExitStatus
from hsfuse.cli.fusing import fuse_words
from hsfuse.cli.words import as_options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from hsfuse.cli.console import Console
    from hsfuse.commands.info import Info, PairInfo, SceneInfo
    from hsfuse.scenes import Scene


@options.command("info")
@click.argument("scenes", nargs=-1, required=True, shell_complete=completion.files)
def info(console: Console, scenes: tuple[str, ...]) -> None:
    """Describe scenes: where they lie, bands, wavelengths, bad bands and why, noise, fill; of two also whether they
    can be fused, and what to type next. -v lists every band.

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
        lambda: _print(result, details=console.verbose > 0),
    )
    for sentence in result.unreadable:
        console.error(sentence)
    if result.unreadable or (result.pair is not None and not result.pair.fusible):
        raise click.exceptions.Exit(ExitStatus.REFUSED)


def _of_fuse(sentence: str) -> str:
    """What is said of a pair speaks of the options of the command that would fuse it."""
    return as_options(sentence, options.option_names(fuse_words))


def _numbers(values: Iterable[float] | None) -> list[float | None] | None:
    if values is None:
        return None
    return [float(value) if math.isfinite(value) else None for value in values]


def _scene(told: SceneInfo) -> dict[str, Any]:
    scene = told.scene
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
        "extent_degrees": None if told.extent is None else asdict(told.extent),
        "nodata": None if nodata is None else (nodata if math.isfinite(nodata) else str(nodata)),
        "scales": _numbers(scene.scales),
        "offsets": _numbers(scene.offsets),
        "sensor": scene.sensor,
        "srf_table": list(told.srf_table),
        "wavelength_nm": _numbers(bands.wavelength_nm),
        "wavelengths_from": bands.source or None,
        "fwhm_nm": _numbers(bands.fwhm_nm),
        "bad_bands": [band + 1 for band in scene.bad_bands],
        "bad_band_reasons": {str(band + 1): reason for band, reason in scene.bad_bands.items()},
        "snr_db": _numbers(told.snr_db),
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
        "reason": None if pair.reason is None else _of_fuse(pair.reason),
        "ratio": pair.ratio,
        "overlap": None if pair.overlap is None else {"width": pair.overlap[0], "height": pair.overlap[1]},
        "overlap_share": pair.overlap_share,
        "resampled": pair.resampled,
        "srf": pair.srf,
        "warnings": [_of_fuse(warning) for warning in pair.warnings],
        "next": pair.next_command,
    }


def _print(result: Info, *, details: bool) -> None:
    from rich.console import Console as Terminal  # noqa: PLC0415 (only for people)
    from rich.markup import escape  # noqa: PLC0415 (a file's name may hold brackets)
    from rich.table import Table  # noqa: PLC0415

    terminal = Terminal()
    for told in result.scenes:
        click.echo(told.scene.path)  # whole, however narrow the table
        table = Table(show_header=False)
        for name, value in _rows(told):
            table.add_row(name, escape(value))
        terminal.print(table)
        if details:
            terminal.print(_band_table(told))
    if result.pair is not None:
        said = {warning for told in result.scenes for warning in told.scene.warnings}
        click.echo(_verdict(result.pair, said))


def _rows(told: SceneInfo) -> list[tuple[str, str]]:
    scene, grid = told.scene, told.scene.grid
    rows = [
        ("size", f"{grid.width} × {grid.height} pixels, {scene.count} bands of {scene.dtype}"),
        ("pixel", grid.describe_pixel()),
        ("CRS", "none" if grid.crs is None else grid.crs.to_string()),
        ("lies at", "unknown" if told.extent is None else str(told.extent)),
        ("wavelengths", _wavelengths(scene)),
        ("sensor", _sensor(told)),
        ("nodata", "none" if scene.nodata is None else f"{scene.nodata:g}"),
        ("scale, offset", f"{scene.scales[0]:g}, {scene.offsets[0]:g}"),
        ("bad bands", _bad_bands(scene) or "none"),
        ("SNR", _snr(told)),
    ]
    return rows + [("warning", sentence.removeprefix(f"{scene.path}: ")) for sentence in scene.warnings]


def _wavelengths(scene: Scene) -> str:
    if scene.bands.wavelength_nm is None:
        return "unknown (--wavelengths FILE gives them, one row a band)"
    known = [value for value in scene.bands.wavelength_nm if math.isfinite(value)]
    return f"{min(known):.1f} to {max(known):.1f} nm, from {scene.bands.source}"


def _sensor(told: SceneInfo) -> str:
    if told.scene.sensor is None:
        return "unknown"
    bands = f"SRF table of {', '.join(told.srf_table)}" if told.srf_table else "no SRF table"
    return f"{told.scene.sensor}, {bands}"


def _bad_bands(scene: Scene) -> str:
    from hsfuse.scenes.bands import band_list_text  # noqa: PLC0415 (imports numpy)

    reasons: dict[str, list[int]] = {}
    for band, reason in scene.bad_bands.items():
        reasons.setdefault(reason, []).append(band)
    return "; ".join(f"{band_list_text(bands)} ({reason})" for reason, bands in reasons.items())


def _snr(told: SceneInfo) -> str:
    known = sorted(value for value in _numbers(told.snr_db) or () if value is not None)
    if not known:
        return "cannot be told"
    return f"about {known[len(known) // 2]:.0f} dB, {known[0]:.0f} to {known[-1]:.0f} by band"


def _band_table(told: SceneInfo) -> Table:
    from rich.table import Table  # noqa: PLC0415 (only for people)
    from rich.text import Text  # noqa: PLC0415 (a name may hold brackets)

    bands, snr, reasons = told.scene.bands, told.snr_db, told.scene.bad_bands
    table = Table("band", "name", "nm", "fwhm nm", "SNR dB", "bad because")
    for band in range(told.scene.count):
        columns = (bands.wavelength_nm, bands.fwhm_nm, snr)
        cells = (
            "" if column is None or not math.isfinite(column[band]) else f"{column[band]:.1f}" for column in columns
        )
        table.add_row(str(band + 1), Text(bands.names[band]), *cells, reasons.get(band, ""))
    return table


def _verdict(pair: PairInfo, said: set[str]) -> str:
    """What there is to say of two scenes beside `said`."""
    then = "" if pair.next_command is None else f"\nnext: {pair.next_command}"
    if not pair.fusible or pair.overlap is None:
        return f"cannot be fused: {_of_fuse(pair.reason or '')}{then}"
    notes = "".join(f"\nwarning: {_of_fuse(warning)}" for warning in pair.warnings if warning not in said)
    way = "the MSI would be resampled" if pair.resampled else "the grids nest"
    share = "" if pair.overlap_share is None else f" ({100 * pair.overlap_share:.0f} % of the HSI)"
    srf = "estimated from the images" if pair.srf == "estimate" else f"the table of {pair.srf}"
    return (
        f"can be fused: ratio {pair.ratio}, {pair.overlap[0]} × {pair.overlap[1]} HSI pixels in common{share}, {way}\n"
        f"SRF: {srf} (--srf names another; hsfuse sensors lists them){notes}{then}"
    )
