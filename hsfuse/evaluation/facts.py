"""What a pair is and what was asked of it, as tables and curves of a report."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsfuse.pairs.imaging_source import published_response
from hsfuse.pairs.pair import PairRequest
from hsfuse.report.content import Arrows, Curves, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from hsfuse.pairs.pair import Pair
    from hsfuse.scenes import Grid


_USUAL = {"psf": "estimate"}  # what stands for None


def figure(value: float | None, digits: str = ".4g") -> str:
    """A number as a table shows it."""
    if value is None or math.isnan(value):
        return "undefined"
    return "∞" if math.isinf(value) else format(value, digits)


def band_curves(
    title: str, label: str, lines: Mapping[str, NDArray[np.float64]], wavelength_nm: NDArray[np.float64] | None
) -> Curves:
    """Something that every band has, over wavelength where that is known."""
    if wavelength_nm is None:
        count = len(next(iter(lines.values())))
        return Curves(title, "band (number)", label, np.arange(1, count + 1, dtype=np.float64), _finite(lines))
    order = np.argsort(wavelength_nm, kind="stable")
    sorted_ = {name: values[order] for name, values in _finite(lines).items()}
    return Curves(title, "wavelength (nm)", label, np.asarray(wavelength_nm[order], dtype=np.float64), sorted_)


def _finite(lines: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    return {name: np.where(np.isfinite(values), values, np.nan) for name, values in lines.items()}


def along(x: float, y: float) -> str:
    """A displacement in words."""
    return f"x {round(x, 2) + 0.0:+.2f}, y {round(y, 2) + 0.0:+.2f}"


def metrics_table(values: Mapping[str, float], titles: Mapping[str, tuple[str, str]], note: str = "") -> Table:
    """Metrics by their titles and units."""
    rows = []
    for name, value in values.items():
        title, unit = titles.get(name, (name.upper(), ""))
        rows.append((title, f"{figure(value)} {unit}".rstrip()))
    return Table("Metrics", ("metric", "value"), rows, note)


def two_images(pair: Pair) -> str:
    """Their files' names."""
    return f"{Path(pair.scenes.hsi.path).name} (HSI) and {Path(pair.scenes.msi.path).name} (MSI)"


def pixels_of(grid: Grid) -> str:
    """Pixels with their size, where a grid has one."""
    return f"pixels of {grid.describe_pixel()}" if grid.crs is not None else "pixels of unknown size"


def pair_facts(pair: Pair) -> list[tuple[str, str]]:
    """What a pair is, by headings."""
    nm = pair.hsi_bands.wavelength_nm
    reach = "" if nm is None else f", {nm.min():.0f} to {nm.max():.0f} nm"
    wide, high = pair.imaging_on_hsi.psf.fwhm
    hsi, msi = pair.scenes.hsi, pair.scenes.msi
    facts = [
        ("HSI", hsi.path),
        ("of it used", f"{pair.window.width} × {pair.window.height} {pixels_of(hsi.grid)}"),
        ("its bands", f"{len(pair.hsi_bands)}{reach}"),
        ("MSI", msi.path),
        ("its pixels", pixels_of(msi.grid) + (", resampled" if pair.scenes.resampled else "")),
        ("its bands", ", ".join(pair.imaging.srf.msi_bands)),
        ("ratio", str(pair.ratio)),
        ("spectral response", pair.srf_source),
        ("point spread", f"{pair.psf_source}, FWHM {wide:.2f} × {high:.2f} HSI pixels"),
        ("differing pixels", f"{pair.agreement.share:.2%} of the HSI's"),
    ]
    if pair.shift is not None:
        facts.append(("shift", f"{along(pair.shift.x, pair.shift.y)} HSI pixels"))
    if pair.coregistration is not None:
        moved = pair.coregistration
        facts.append(("coregistered by", f"{along(moved.x, moved.y)} HSI pixels"))
    facts += [("sharpened first", group.sentence) for group in pair.scenes.msi.sharpened]
    return facts


def asked_for(request: PairRequest) -> Table:
    """What was asked for, where it is not the default."""
    rows = []
    for entry in fields(PairRequest):
        value = getattr(request, entry.name)
        if entry.name in {"hsi", "msi"} or value not in {entry.default, _USUAL.get(entry.name)}:
            text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            rows.append((entry.name.replace("_", "-"), text))
    return Table("Asked for", ("option", "value"), rows, "What is not listed was left at its default.")


def imaging_of(pair: Pair) -> dict[str, Any]:
    """What a `Page` shows of the imaging model, by its fields."""
    return {
        "imaging": pair.imaging_on_hsi,
        "published": published_response(pair.srf_source, pair.estimate),
        "arrows": _arrows(pair),
    }


def _arrows(pair: Pair) -> Arrows | None:
    """The displacement field that was measured, or the shift of each cell."""
    moved = pair.coregistration
    field = None if moved is None else moved.measured or moved.field
    if field is not None:
        rows, columns = field.nodes.shape[1:]
        x, y = np.meshgrid(
            field.origin[0] + field.spacing * np.arange(columns), field.origin[1] + field.spacing * np.arange(rows)
        )
        return Arrows("Displacement field", x.ravel(), y.ravel(), field.nodes[0].ravel(), field.nodes[1].ravel())
    if pair.shift is None or not len(pair.shift.cells):
        return None
    _, x, y, along_x, along_y = pair.shift.cells.T
    return Arrows(f"Shift {along(pair.shift.x, pair.shift.y)} HSI pixels, cell by cell", x, y, along_x, along_y)
