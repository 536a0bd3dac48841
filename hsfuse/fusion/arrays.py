"""Fusing what is in memory already, without files: tiles out of a window, rows into an array."""

from __future__ import annotations

from dataclasses import dataclass
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
    from hsfuse.scenes import PairBlock, PixelWindow, Scene


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
    ratio = ratio_of_shapes(np.shape(hsi), np.shape(msi))
    first = scene_of_array(
        hsi, "hsi", pixel_size=ratio, wavelength_nm=bands.get("hsi_wavelength_nm"), fwhm_nm=bands.get("hsi_fwhm_nm"),
        screen=screen,
    )  # fmt: skip
    second = scene_of_array(
        msi, "msi", wavelength_nm=bands.get("msi_wavelength_nm"), fwhm_nm=bands.get("msi_fwhm_nm"), screen=screen
    )
    job = Job(choose_method(model, weights), compute or Compute(), tiling, seed)
    fused, _ = fuse_scenes(first, second, job, PairRequest("hsi", "msi", srf=srf, psf=psf, ratio=ratio), progress)
    return fused


def fuse_scenes(
    hsi: Scene, msi: Scene, job: Job, request: PairRequest, progress: Progress = SILENT
) -> tuple[NDArray[np.float32], Pair]:
    """Fuse two open scenes into memory.

    Args:
        hsi: The hyperspectral scene.
        msi: The multispectral scene.
        job: The method, and what it is run with.
        request: What is said of the imaging model and of the ratio.
        progress: Observer of the work.

    Returns:
        The image, float32 (C, H, W), with all bands of the HSI and NaN where nothing is known; and the pair, whose
        `fine_grid` it has.

    Raises:
        RequestError: The scenes cannot be fused.
        WorkError: The work failed on the way.
    """
    pair = Pair.of_scenes(ScenePair.open(hsi, msi, ratio=request.ratio), request)
    area, ratio, used = pair.area, pair.ratio, list(pair.scenes.hsi_bands)
    sink = FusedArray((len(used), area.height * ratio, area.width * ratio))
    fitted = job.fit(pair.patches, pair.imaging)
    job.run(pair, area, fitted, sink, bands=len(used), ratio=ratio, progress=progress)
    fused = np.full((hsi.count, *sink.valid.shape), np.nan, np.float32)
    fused[used] = np.where(sink.valid, sink.values, np.float32(np.nan))
    return fused, pair


def ratio_of_shapes(hsi: tuple[int, ...], msi: tuple[int, ...]) -> int:
    """How many times finer an MSI of shape (…, r·h, r·w) is than an HSI of shape (…, h, w).

    Raises:
        PairError: It is not the same whole number along both axes.
    """
    (rows, columns), (fine_rows, fine_columns) = hsi[-2:], msi[-2:]
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
