"""Pictures: the imaging model (response curves, point spread, field of shifts) and the course of a training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsfuse.errors import RequestError
from hsfuse.report.content import Arrows

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from hsfuse.imaging import ImagingModel, Misregistration, SensorTable


_SEEN = 1e-3  # of the maximum: less than a line's width


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
    figure = figure_class(figsize=(15, 5), layout="constrained")
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
    for index, (name, row) in enumerate(zip(srf.msi_bands, srf.matrix, strict=True)):
        colour = f"C{index % 10}"
        label = name or f"band {index + 1}"
        panel.plot(*response_curve(position, row), color=colour, label=label, marker=".", markersize=3)
        if known and published is not None and name in published.bands:
            curve = published.response[published.bands.index(name)]
            panel.plot(
                *response_curve(published.wavelength_nm, curve), color=colour, linestyle="--", linewidth=0.8
            )  # fmt: skip
    panel.set_xlim(*response_reach(position, srf.matrix))
    beside = f", dashed: {published.name} as published" if known and published is not None else ""
    panel.set_title(f"Spectral response{beside}")
    panel.set_xlabel("wavelength (nm)" if known else "HSI band (number)")
    panel.set_ylabel("relative to its maximum (1)")
    panel.legend(fontsize="small", ncols=6, loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)


def response_curve(
    position: NDArray[np.floating], row: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """A response relative to its maximum, over ascending positions, NaN where it stays zero: a line without a tail."""
    order = np.argsort(position)
    x, y = position[order], row[order] / row.max()
    seen = y > _SEEN
    beside = seen | np.append(seen[1:], False) | np.insert(seen[:-1], 0, False)
    return x, np.where(beside, y, np.nan)


def response_reach(position: NDArray[np.floating], matrix: NDArray[np.floating]) -> tuple[float, float]:
    """From where to where any row of R sees something, with some room."""
    seen = position[(matrix > 0.01 * matrix.max(axis=1, keepdims=True)).any(axis=0)]
    room = 0.05 * float(np.ptp(seen)) + 1
    return float(seen.min() - room), float(seen.max() + room)


def _draw_point_spread(figure: Any, panel: Any, model: ImagingModel) -> None:
    """The kernel with the HSI pixel's outline; axes in HSI pixels from its centre."""
    edge = len(model.psf.kernel) / model.ratio / 2
    image = panel.imshow(model.psf.kernel, extent=(-edge, edge, edge, -edge), cmap="viridis")
    panel.plot([-0.5, 0.5, 0.5, -0.5, -0.5], [-0.5, -0.5, 0.5, 0.5, -0.5], color="white", linewidth=0.8)
    wide, high = model.psf.fwhm
    panel.set_title(f"Point spread, FWHM {wide:.2f} × {high:.2f} HSI pixels")
    panel.set_xlabel("HSI pixels (outline: one)")
    panel.set_ylabel("HSI pixels")
    figure.colorbar(image, ax=panel, shrink=0.7, label="weight of an MSI pixel (1)")


def _draw_shift(panel: Any, model: ImagingModel, shift: Misregistration | None) -> None:
    """Each cell's shift over the scene, a line from a dot; the title tells the whole scene's."""
    x, y = (round(value, 2) + 0.0 for value in model.shift)
    title = f"Shift x {x:+.2f}, y {y:+.2f} HSI pixels"
    panel.set(title=title, xlabel="column (HSI pixels)", ylabel="row (HSI pixels)")
    if shift is None or not len(shift.cells):
        panel.text(0.5, 0.5, "not measured", ha="center", transform=panel.transAxes)
        panel.set(xticks=[], yticks=[], xlabel="", ylabel="")
        return
    cells = Arrows(title, *shift.cells[:, 1:].T)
    ends = cells.x + cells.factor * cells.along_x, cells.y + cells.factor * cells.along_y
    panel.plot(np.stack((cells.x, ends[0])), np.stack((cells.y, ends[1])), color="C1", linewidth=1.4)
    panel.plot(cells.x, cells.y, "o", color="C0", markersize=3)
    panel.set_title(f"{title}\n({cells.drawn})")
    middle, half = [(axis.max() + axis.min()) / 2 for axis in (cells.x, cells.y)], 0.7 * cells.reach
    panel.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] + half, middle[1] - half))
    panel.set_aspect("equal")


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
    panels[0].set(title="Loss", xlabel="step (number)", ylabel="loss (no unit)", yscale="log" if later else "linear")
    for panel, name, unit in ((panels[1], "psnr", "dB"), (panels[2], "sam", "°")):
        panel.plot(steps, [row[name] for row in validations], label="validation")
        best = [row for row in validations if row["best"]][-1:]
        panel.plot([row["step"] for row in best], [row[name] for row in best], "o", label="kept")
        panel.set(title="On what was held back", xlabel="step (number)", ylabel=f"{name.upper()} ({unit})")
        for index, (method, figures) in enumerate(others.items()):
            panel.axhline(figures[name], color=f"C{(index + 2) % 10}", linestyle=":", label=method)
        panel.legend(fontsize="small")
    figure.savefig(path, dpi=110)
