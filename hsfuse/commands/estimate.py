"""`hsfuse estimate`: the spectral response, the point spread and the shift between two scenes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hsfuse.errors import OutputError
from hsfuse.imaging import load_table, sensor_names
from hsfuse.pairs.pair import Pair, image_pair, open_pair

if TYPE_CHECKING:
    import os

    from hsfuse.scenes import PixelWindow


@dataclass(frozen=True)
class EstimateResult:
    """What was found."""

    output: Path
    """The `hsfuse-imaging/1` file."""

    imaged: Pair
    """The pair with its imaging model."""


def estimate(
    hsi: str | os.PathLike[str],
    msi: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    srf: str | None = "estimate",
    psf: str | None = "estimate",
    hsi_bands: str | None = None,
    msi_bands: str | None = None,
    window: PixelWindow | None = None,
    ratio: int | None = None,
    overwrite: bool = False,
    plot: str | os.PathLike[str] | None = None,
) -> EstimateResult:
    """Estimate the imaging model of a pair and write it.

    Args:
        hsi: The hyperspectral scene.
        msi: The multispectral scene.
        output: The JSON file.
        srf: `estimate`, or a sensor's name or a file where the response is known.
        psf: `estimate`, or `gaussian:FWHM` or a file where the blur is known.
        hsi_bands: 1-based list; by default all good ones.
        msi_bands: Likewise.
        window: Part of the scene to look at, in HSI pixels.
        ratio: HSI pixel over MSI pixel; measured by default.
        overwrite: Replace an existing file.
        plot: A picture of the model to draw as well; needs the `report` extra.

    Raises:
        RequestError: The pair cannot be read or does not determine the model, or the output is there already.
    """
    path = Path(output)
    for target in (path, *([] if plot is None else [Path(plot)])):
        if target.exists() and not overwrite:
            raise OutputError(f"{target} exists: pass --overwrite to replace it")
        if not target.parent.is_dir():
            raise OutputError(f"the folder {target.parent} does not exist: make it first")
    pair = open_pair(hsi, msi, hsi_bands=hsi_bands, msi_bands=msi_bands, window=window, ratio=ratio)
    imaged = image_pair(pair, srf=srf, psf=psf, allow_shift=True)
    if plot is not None:
        _draw(Path(plot), imaged)
    temporary = path.with_name(f".{path.name}.part")
    try:
        imaged.imaging.save(temporary)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written ({error.strerror}): choose another place") from error
    return EstimateResult(path, imaged)


def _draw(path: Path, imaged: Pair) -> None:
    """The model beside the published response of the sensor that it looks like, or that was given."""
    from hsfuse.report.plots import plot_imaging  # noqa: PLC0415 (matplotlib is an extra)

    name = imaged.srf_source.partition(":")[0]
    if imaged.estimate is not None and imaged.estimate.sensor:
        name = imaged.estimate.sensor
    published = load_table(name) if name in sensor_names() else None
    plot_imaging(path, imaged.imaging, published=published, shift=imaged.shift)
