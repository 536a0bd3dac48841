"""Pictures: the imaging model (response curves, point spread, field of shifts) and the course of a training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsfuse.errors import RequestError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from hsfuse.imaging import ImagingModel, Misregistration, SensorTable


def check_picture(path: str | os.PathLike[str]) -> None:
    """Find out before any work is done for it whether a picture could be drawn under that name.

    Raises:
        RequestError: matplotlib is not installed, or cannot write what the suffix says.
    """
    known = _figure_class()().canvas.get_supported_filetypes()
    suffix = Path(path).suffix.removeprefix(".").lower()
    if suffix not in known:
        raise RequestError(f"{path}: the picture's name ends in none of .{', .'.join(sorted(known))}: choose .png")


def plot_imaging(
    path: str | os.PathLike[str],
    model: ImagingModel,
    *,
    published: SensorTable | None = None,
    shift: Misregistration | None = None,
) -> None:
    """Draw an imaging model into a PNG (or whatever the path's suffix says).

    Args:
        path: The picture.
        model: What to draw.
        published: A sensor's published response, drawn beside the model's.
        shift: The misregistration as measured cell by cell.

    Raises:
        RequestError: matplotlib is not installed.
    """
    figure_class = _figure_class()
    figure = figure_class(figsize=(15, 4.6), layout="constrained")
    panels = figure.subplots(1, 3, width_ratios=[2.2, 1, 1.2])
    _draw_response(panels[0], model, published)
    _draw_point_spread(figure, panels[1], model)
    _draw_shift(panels[2], model, shift)
    figure.savefig(path, dpi=110)


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise RequestError("pictures need matplotlib: pip install 'hsfuse[report]'") from error
    return Figure


def _draw_response(panel: Any, model: ImagingModel, published: SensorTable | None) -> None:
    """Each row of R over wavelength (or band number), scaled to maximum 1, as is the published curve."""
    srf = model.srf
    known = srf.hsi_wavelength_nm is not None
    position = srf.hsi_wavelength_nm if srf.hsi_wavelength_nm is not None else np.arange(srf.matrix.shape[1]) + 1.0
    order = np.argsort(position)
    for index, (name, row) in enumerate(zip(srf.msi_bands, srf.matrix, strict=True)):
        colour = f"C{index % 10}"
        panel.plot(position[order], row[order] / row.max(), color=colour, label=name, marker=".", markersize=3)
        if known and published is not None and name in published.bands:
            curve = published.response[published.bands.index(name)]
            panel.plot(published.wavelength_nm, curve / curve.max(), color=colour, linestyle="--", linewidth=0.8)
    seen = position[(srf.matrix > 0.01 * srf.matrix.max(axis=1, keepdims=True)).any(axis=0)]
    reach = 0.05 * float(np.ptp(seen)) + 1
    panel.set_xlim(seen.min() - reach, seen.max() + reach)
    beside = f", dashed: {published.name} as published" if known and published is not None else ""
    panel.set_title(f"Spectral response{beside}")
    panel.set_xlabel("wavelength (nm)" if known else "HSI band")
    panel.set_ylabel("relative to its maximum")
    panel.legend(fontsize="small", ncols=2)


def _draw_point_spread(figure: Any, panel: Any, model: ImagingModel) -> None:
    """The kernel with the HSI pixel's outline; axes in HSI pixels from its centre."""
    edge = len(model.psf.kernel) / model.ratio / 2
    image = panel.imshow(model.psf.kernel, extent=(-edge, edge, edge, -edge), cmap="viridis")
    panel.plot([-0.5, 0.5, 0.5, -0.5, -0.5], [-0.5, -0.5, 0.5, 0.5, -0.5], color="white", linewidth=0.8)
    wide, high = model.psf.fwhm
    panel.set_title(f"Point spread, FWHM {wide:.2f} × {high:.2f}")
    panel.set_xlabel("HSI pixels (outline: one)")
    figure.colorbar(image, ax=panel, shrink=0.7)


def _draw_shift(panel: Any, model: ImagingModel, shift: Misregistration | None) -> None:
    """Arrows of each cell's shift over the scene; the title tells the whole scene's."""
    x, y = model.shift
    panel.set_title(f"Shift x {x:+.2f}, y {y:+.2f} HSI pixels")
    panel.set_xlabel("column (HSI pixels)")
    panel.set_ylabel("row (HSI pixels)")
    if shift is None or not len(shift.cells):
        panel.text(0.5, 0.5, "not measured", ha="center", transform=panel.transAxes)
        return
    column, row, along_x, along_y = shift.cells[:, 1], shift.cells[:, 2], shift.cells[:, 3], shift.cells[:, 4]
    arrows = panel.quiver(column, row, along_x, along_y, angles="xy", width=0.004)
    longest = max(float(np.hypot(along_x, along_y).max()), 0.05)
    panel.quiverkey(arrows, 0.8, 0.04, longest, f"{longest:.2f} px", labelpos="N", fontproperties={"size": "small"})
    panel.margins(0.25)
    panel.invert_yaxis()
    panel.set_aspect("equal", adjustable="datalim")


def plot_training(
    path: str | os.PathLike[str], validations: Sequence[Mapping[str, Any]], others: Mapping[str, Mapping[str, float]]
) -> None:
    """Draw a training into a PNG: its loss, and validation PSNR and SAM beside those of other methods.

    Args:
        path: The picture.
        validations: One row each: `step`, `loss` (None before the first step), `psnr` in dB, `sam` in degrees, and
            whether it was the `best` so far.
        others: `psnr` and `sam` of other methods on the same patches, by their names.

    Raises:
        RequestError: matplotlib is not installed.
    """
    figure = _figure_class()(figsize=(13, 4.2), layout="constrained")
    panels = figure.subplots(1, 3)
    steps = [row["step"] for row in validations]
    later = [row for row in validations if row["loss"] is not None]
    panels[0].plot([row["step"] for row in later], [row["loss"] for row in later])
    panels[0].set(title="loss", xlabel="step", yscale="log")
    for panel, name, unit in ((panels[1], "psnr", "dB"), (panels[2], "sam", "degrees")):
        panel.plot(steps, [row[name] for row in validations], label="validation")
        best = [row for row in validations if row["best"]][-1:]
        panel.plot([row["step"] for row in best], [row[name] for row in best], "o", label="kept")
        panel.set(title=f"{name.upper()} in {unit}, on what was held back", xlabel="step")
        for index, (method, figures) in enumerate(others.items()):
            panel.axhline(figures[name], color=f"C{(index + 2) % 10}", linestyle=":", label=method)
        panel.legend(fontsize="small")
    figure.savefig(path, dpi=110)
