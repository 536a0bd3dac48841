"""Which three bands make a picture, and reading them small."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.scenes.grid import PixelWindow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.scenes.bands import Bands
    from hsfuse.scenes.scene import Scene

NATURAL_NM = (660.0, 560.0, 490.0)
"""Red, green and blue."""

SWIR_NM = (2200.0, 850.0, 660.0)
"""Shortwave infrared, near infrared and red as red, green and blue."""

INFRARED_NM = (850.0, 660.0, 560.0)
"""Near infrared, red and green as red, green and blue: vegetation shows red."""

_FARTHEST_NM = 100.0
_STRIP_NUMBERS = 2**24


def nearest_bands(bands: Bands, wanted_nm: tuple[float, float, float]) -> tuple[int, int, int] | None:
    """0-based good bands nearest to three wavelengths in nm; None unless each has one of its own within 100 nm."""
    if bands.wavelength_nm is None:
        return None
    usable = bands.good & np.isfinite(bands.wavelength_nm)
    if not usable.any():
        return None
    distance = np.where(usable, np.abs(bands.wavelength_nm[None] - np.array(wanted_nm)[:, None]), np.inf)
    chosen = tuple(int(band) for band in distance.argmin(axis=1))
    if len(set(chosen)) < 3 or (distance.min(axis=1) > _FARTHEST_NM).any():
        return None
    return chosen[0], chosen[1], chosen[2]


def guessed_bands(bands: Bands) -> tuple[int, ...]:
    """0-based bands that show most where wavelengths are not known: three, red first, or one."""
    images = np.flatnonzero(bands.good).tolist() or list(range(len(bands)))
    if len(images) < 3:
        return (images[0],)
    # Few bands without wavelengths come as blue, green, red as a rule; of many the ends and the middle differ most.
    last = 2 if len(images) <= 4 else len(images) - 1
    return images[last], images[last // 2], images[0]


@dataclass(frozen=True, eq=False)
class SmallImage:
    """Some bands of a scene, averaged over blocks of its pixels."""

    values: NDArray[np.float32]
    """Mean over the valid pixels of each block, (C, h, w); 0 where there is none."""

    valid: NDArray[np.bool_]
    """Where a block has valid pixels, (h, w)."""

    factor: int
    """Edge of a block in pixels of the scene."""


def read_small(scene: Scene, bands: tuple[int, ...], size: int) -> SmallImage:
    """0-based bands of a whole scene, at most `size` pixels a side, in strips: never the scene at once.

    Raises:
        RequestError: There is no such band.
        WorkError: The file breaks off.
    """
    width, height = scene.grid.width, scene.grid.height
    factor = max(math.ceil(max(width, height) / size), 1)
    rows = max(_STRIP_NUMBERS // (width * len(bands) * factor), 1) * factor
    strips = []
    for row in range(0, height, rows):
        block = scene.read(PixelWindow(0, row, width, min(rows, height - row)), bands)
        # values are 0 where they are not valid
        strips.append((_sums(block.values, factor), _sums(block.valid[None].astype(np.float64), factor)))
    total, count = (np.concatenate(parts, axis=1) for parts in zip(*strips, strict=True))
    means = total / np.maximum(count, 1)
    return SmallImage(means.astype(np.float32), count[0] > 0, factor)


def _sums(image: NDArray[np.floating], factor: int) -> NDArray[np.float64]:
    """Sums over blocks of `factor` × `factor` pixels of (C, H, W); the last ones of a row or column may be smaller."""
    rows, columns = (np.arange(0, edge, factor) for edge in image.shape[1:])
    return np.add.reduceat(np.add.reduceat(image, rows, axis=1, dtype=np.float64), columns, axis=2)
