"""Fusing what is in memory already, without files: tiles out of a window, rows into an array."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from hsfuse.errors import PairError
from hsfuse.fusion.compute import Compute
from hsfuse.fusion.job import Job
from hsfuse.fusion.methods import DEFAULT_METHOD, choose_method
from hsfuse.fusion.tiles import Tiling
from hsfuse.pairs.pair import Pair, PairRequest
from hsfuse.progress import SILENT
from hsfuse.scenes import MAX_RATIO, ScenePair
from hsfuse.scenes.arrays import scene_of_array

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike, NDArray

    from hsfuse.progress import Progress
    from hsfuse.scenes import PairBlock, PixelWindow


class Wavelengths(TypedDict, total=False):
    """What is known of the bands, in nm; each one number a band, in any order."""

    hsi_wavelength_nm: ArrayLike | None
    hsi_fwhm_nm: ArrayLike | None
    msi_wavelength_nm: ArrayLike | None
    msi_fwhm_nm: ArrayLike | None


def fuse_arrays(
    hsi: NDArray[Any],
    msi: NDArray[Any],
    *,
    srf: str | None = None,
    psf: str | None = None,
    model: str = DEFAULT_METHOD,
    weights: str | None = None,
    compute: Compute | None = None,
    tiling: Tiling = Tiling(),  # noqa: B008 (frozen)
    screen: bool = True,
    seed: int = 0,
    progress: Progress = SILENT,
    **bands: Unpack[Wavelengths],
) -> NDArray[np.float32]:
    """Fuse two images of the same ground.

    Args:
        hsi: The hyperspectral image, (C, h, w); NaN where a number is missing.
        msi: The multispectral image, (c, r·h, r·w), with the ratio r from 2 to 20.
        srf: `estimate` (the default), a sensor's name or a file.
        psf: `estimate` (the default), `gaussian:FWHM` in HSI pixels, or a file.
        model: A network or a classical method.
        weights: A weights file, or the name of a bundled one.
        compute: Device, precision and memory; chosen by default.
        tiling: Size and overlap of tiles; chosen by default.
        screen: Look for fill and gross values among the numbers.
        seed: Of whatever is drawn at random.
        progress: Observer of the work.
        bands: Wavelengths and widths in nm of both images' bands, shape (C,) or (c,), where they are known.

    Returns:
        The fused image, float32 (C, r·h, r·w), in the HSI's units; NaN where either image knows nothing. Bands that
        hold no image are left out of the fit and come out as NaN.

    Raises:
        SceneError: An array is no image.
        RequestError: The images cannot be fused, or there is no such method.
        WorkError: The work failed on the way.
    """
    ratio = _ratio(hsi, msi)
    first = scene_of_array(
        hsi, "hsi", pixel_size=ratio, wavelength_nm=bands.get("hsi_wavelength_nm"), fwhm_nm=bands.get("hsi_fwhm_nm"),
        screen=screen,
    )  # fmt: skip
    second = scene_of_array(
        msi, "msi", wavelength_nm=bands.get("msi_wavelength_nm"), fwhm_nm=bands.get("msi_fwhm_nm"), screen=screen
    )
    job = Job(choose_method(model, weights), compute or Compute(), tiling, seed)
    scenes = replace(ScenePair.open(first, second, ratio=ratio), notes=())
    pair = Pair.of_scenes(scenes, PairRequest("hsi", "msi", srf=srf, psf=psf, ratio=ratio))
    area, used = pair.area, list(pair.scenes.hsi_bands)
    sink = FusedArray((len(used), area.height * ratio, area.width * ratio))
    fitted = job.fit(pair.patches, pair.imaging)
    job.run(pair, area, fitted, sink, bands=len(used), ratio=ratio, progress=progress)
    fused = np.full((len(hsi), *msi.shape[-2:]), np.nan, np.float32)
    fused[used] = np.where(sink.valid, sink.values, np.float32(np.nan))
    return fused


def _ratio(hsi: NDArray[Any], msi: NDArray[Any]) -> int:
    """How many times finer the MSI is.

    Raises:
        PairError: It is not the same whole number along both axes.
    """
    (rows, columns), (fine_rows, fine_columns) = np.shape(hsi)[-2:], np.shape(msi)[-2:]
    ratio: int = round(fine_rows / max(rows, 1))
    if (rows * ratio, columns * ratio) != (fine_rows, fine_columns) or not 2 <= ratio <= MAX_RATIO:
        raise PairError(
            f"an HSI of {columns}×{rows} and an MSI of {fine_columns}×{fine_rows} pixels do not differ by a whole "
            f"ratio from 2 to {MAX_RATIO}: crop or resample one of them"
        )
    return ratio


@dataclass(frozen=True)
class BlockSource:
    """Gives tiles to the engine out of a window that is held whole."""

    block: PairBlock
    """Both images."""

    def read(self, window: PixelWindow) -> PairBlock:
        """Both images under a window of its HSI pixels."""
        return self.block.crop(window)


class FusedArray:
    """Takes the rows of a fused image from the engine as a `CogWriter` does."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Make room for an image of shape (C, H, W)."""
        self.values = np.zeros(shape, np.float32)
        """Fused image, float32 (C, H, W)."""
        self.valid = np.zeros(shape[1:], dtype=bool)
        """Where it is known, (H, W)."""

    def write(self, row: int, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Take the next rows."""
        rows = slice(row, row + values.shape[1])
        self.values[:, rows], self.valid[rows] = values, valid
