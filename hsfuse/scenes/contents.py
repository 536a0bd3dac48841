"""A first look at what a raster holds: a sample of it, its mask band, and bands that are no images."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.enums import ColorInterp

from hsfuse.errors import SceneError
from hsfuse.scenes.grid import PixelWindow, lattice
from hsfuse.scenes.rules import constant_everywhere

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.scenes.bands import Bands
    from hsfuse.scenes.encoding import Encoding
    from hsfuse.scenes.raster import Raster

logger = logging.getLogger(__name__)

_WHOLE_NUMBERS = 5 * 2**20
_PATCHES_A_SIDE = 4
_PATCH_NUMBERS = 2**15
_STRIP_NUMBERS = 2**22

# Fewer pixels tell nothing about a band's contrast.
_FEWEST_PIXELS = 64

# A band of classes: so few numbers, and so many pixels that are like their right neighbour.
_MOST_CLASSES = 16
_DISTINCT_PIXELS = 2**13
_LIKE_NEIGHBOUR = 0.9
# Classes come in stacks of some bands; in a hyperspectral image few numbers mean a dark band.
_MOST_STACKED = 30
_SAME_NUMBER = 0.995

_NO_IMAGE = re.compile(
    r"(?:^|[^a-z])(?:scl|qa(?:60|_\w+|\d*)|aot|wvp|msk_\w+|fmask|pixel_qa|radsat_qa|sr_qa_\w+|sr_aerosol|cld(?:prb)?"
    r"|snw(?:prb)?|clouds?|cloud.(?:mask|prob\w*|qa|shadow\w*)|quality(?:_\w+)?|scene.classification)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Sample:
    """Windows of a raster with all bands, spread over it or the whole of it."""

    windows: tuple[PixelWindow, ...]
    """Where they lie; none overlap, and the corners of the raster are among them."""
    numbers: tuple[NDArray[Any], ...]
    """The file's numbers, one (C, h, w) a window."""
    hidden: tuple[NDArray[np.bool_], ...]
    """Pixels that a mask hides, one (h, w) a window."""

    def flat(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """All pixels side by side: numbers (C, N), and what a mask hides (N,)."""
        return (
            np.concatenate([part.reshape(len(part), -1) for part in self.numbers], axis=1),
            np.concatenate([part.reshape(-1) for part in self.hidden]),
        )

    def under(self, alpha: int | None) -> Sample:
        """The sample with what a band hides that is a mask."""
        if alpha is None:
            return self
        hidden = (mask | (part[alpha] == 0) for part, mask in zip(self.numbers, self.hidden, strict=True))
        return Sample(self.windows, self.numbers, tuple(hidden))


@dataclass(frozen=True, eq=False)
class Contents:
    """What was found."""

    sample: Sample
    """What was read for it."""
    alpha_band: int | None
    """0-based band that is a mask rather than an image."""
    empty_bands: tuple[int, ...]
    """0-based bands without data in the sample: all nodata, or all zeros where other bands are not."""
    idle_bands: dict[int, str]
    """Further 0-based bands that hold no image of their own, and why: `constant`, `the same as band 3`, …"""

    @property
    def images(self) -> list[int]:
        """0-based bands that hold images."""
        others = {self.alpha_band, *self.empty_bands, *self.idle_bands}
        return [band for band in range(len(self.sample.numbers[0])) if band not in others]


def look_into(raster: Raster, encoding: Encoding, bands: Bands) -> Contents:
    """Read some thousand pixels of all bands, and more only if these hold no data.

    Raises:
        SceneError: There is not one pixel with data.
        WorkError: The file breaks off.
    """
    sample = _take_sample(raster)
    alpha = _alpha_band(raster, sample.flat()[0])
    sample = sample.under(alpha)
    images = [band for band in range(len(bands)) if band != alpha]
    numbers, hidden = sample.flat()
    filled = _filled(encoding, numbers[:, ~hidden])
    if not filled[images].any():
        sample = Sample(*_first_data(raster, encoding, images, alpha))
        return Contents(sample, alpha, (), {})
    empty = tuple(band for band in images if not filled[band])
    return Contents(sample, alpha, empty, _idle_bands(sample, encoding, np.flatnonzero(filled).tolist(), alpha, bands))


def _take_sample(raster: Raster) -> Sample:
    """The whole of a small raster; of others patches on a lattice from corner to corner.

    The last pixel is always read, so that a file that breaks off is found out here.
    """
    dataset = raster.dataset
    width, height, count = dataset.width, dataset.height, dataset.count
    windows = [PixelWindow(0, 0, width, height)]
    if width * height * count > _WHOLE_NUMBERS:
        patch = max(32, int((_PATCH_NUMBERS / count) ** 0.5))
        windows = lattice(width, height, patch, _PATCHES_A_SIDE, _PATCHES_A_SIDE)
    blocks = [raster.read(window, range(count)) for window in windows]
    return Sample(tuple(windows), tuple(block[0] for block in blocks), tuple(block[1] for block in blocks))


def _alpha_band(raster: Raster, numbers: NDArray[Any]) -> int | None:
    """The band marked as alpha, if it looks like a mask: nearly all 0 or its largest number.

    GDAL marks the fourth band of a byte image as alpha unless told otherwise, so infrared often comes so.
    """
    dataset = raster.dataset
    for band, interpretation in enumerate(dataset.colorinterp):
        if interpretation == ColorInterp.alpha and dataset.count > 1:
            extremes = (numbers[band] == 0) | (numbers[band] == numbers[band].max())
            if extremes.mean() > 0.9:
                return band
            logger.info("%s: band %d is marked as alpha but holds an image", dataset.name, band + 1)
    return None


def _filled(encoding: Encoding, numbers: NDArray[Any]) -> NDArray[np.bool_]:
    """Which bands, (C,), hold data among sampled numbers (C, N)."""
    present = encoding.has_data(numbers)
    filled: NDArray[np.bool_] = np.logical_or.reduce(present, axis=1)
    lively: NDArray[np.bool_] = np.logical_or.reduce(present & (numbers != 0), axis=1)
    return lively if lively.any() else filled


def _first_data(
    raster: Raster, encoding: Encoding, bands: list[int], alpha: int | None
) -> tuple[tuple[PixelWindow], tuple[NDArray[Any]], tuple[NDArray[np.bool_]]]:
    """The first strip, going down the whole raster, in which a pixel has data in some band."""
    width, height = raster.dataset.width, raster.dataset.height
    everything = range(len(encoding))
    rows = max(1, _STRIP_NUMBERS // (width * len(everything)))
    for row in range(0, height, rows):
        strip = PixelWindow(0, row, width, min(rows, height - row))
        numbers, hidden = raster.read(strip, everything, alpha)
        if (encoding.has_data(numbers)[bands].any(axis=0) & ~hidden).any():
            return (strip,), (numbers,), (hidden,)
    raise SceneError(f"{raster.path}: every pixel is nodata or masked: the scene holds nothing to fuse")


# --- bands that are no images ---


def _idle_bands(
    sample: Sample, encoding: Encoding, filled: list[int], alpha: int | None, bands: Bands
) -> dict[int, str]:
    """Bands without an image of their own, and why, as long as others have one."""
    images = [band for band in filled if band != alpha]
    idle = {band: f"{bands.names[band]} is no image" for band in images if _NO_IMAGE.search(bands.names[band])}
    numbers, hidden = sample.flat()
    numbers = numbers[:, ~hidden]
    present = encoding.has_data(numbers)
    known = present & _not_fill(numbers, images)
    if known.any(axis=0).sum() >= _FEWEST_PIXELS:
        for band in images:
            reason = _why_no_image(sample, numbers[band][known[band]], band, classes=len(images) <= _MOST_STACKED)
            if reason:
                idle.setdefault(band, reason)
        _add_doubles(numbers, [band for band in images if band not in idle], idle, bands.wavelength_nm)
    return idle if len(idle) < len(images) else {}


def _not_fill(numbers: NDArray[Any], images: list[int]) -> NDArray[np.bool_]:
    """Pixels (N,) that do not hold one number in every band, which may be fill; all of them in a single band."""
    different = ~constant_everywhere(numbers[images])
    return different if different.any() else ~different


def _why_no_image(sample: Sample, numbers: NDArray[Any], band: int, *, classes: bool) -> str | None:
    if len(numbers) < _FEWEST_PIXELS:
        return None
    distinct, counts = np.unique(numbers[:: max(1, len(numbers) // _DISTINCT_PIXELS)], return_counts=True)
    if len(distinct) == 1:
        return None if (numbers != numbers[0]).any() else f"constant, {distinct[0]:g}"
    if counts.max() >= _SAME_NUMBER * counts.sum():
        return f"nearly constant, {distinct[counts.argmax()]:g}"
    if not classes:
        return None
    whole = numbers.dtype.kind in "iu" or bool((numbers == np.rint(numbers)).all())
    if whole and len(distinct) <= _MOST_CLASSES and _like_neighbours(sample, band) > _LIKE_NEIGHBOUR:
        return f"classes, {len(distinct)} of them"
    return None


def _like_neighbours(sample: Sample, band: int) -> float:
    """Part of the pixels that hold the same number as the one to their right and the one below."""
    alike = pixels = 0
    for part in sample.numbers:
        image = part[band]
        same = (image[:-1, :-1] == image[:-1, 1:]) & (image[:-1, :-1] == image[1:, :-1])
        alike, pixels = alike + int(same.sum()), pixels + same.size
    return alike / max(pixels, 1)


def _add_doubles(
    numbers: NDArray[Any], images: list[int], idle: dict[int, str], wavelength_nm: NDArray[np.float64] | None
) -> None:
    """Bands with the very numbers of an earlier one, unless they say that they lie at another wavelength."""
    first: dict[tuple[bytes, float], int] = {}
    for band in images:
        nm = math.nan if wavelength_nm is None else float(wavelength_nm[band])
        earlier = first.setdefault((numbers[band].tobytes(), round(nm, 1) if math.isfinite(nm) else 0.0), band)
        if earlier != band:
            idle[band] = f"the same as band {earlier + 1}"
