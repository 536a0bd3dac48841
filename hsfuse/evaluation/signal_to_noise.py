"""The signal-to-noise ratio of a scene's bands, out of the scene alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hsfuse.metrics import spatial_noise, spectral_noise
from hsfuse.scenes.grid import lattice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.scenes import Block, Scene

MANY_BANDS = 20
"""From here on bands tell each other's noise."""

_EDGE = 64  # pixels of a window
_WINDOWS_A_SIDE = 3
_FEWEST_PIXELS = 64


def signal_to_noise(scene: Scene) -> NDArray[np.float64]:
    """SNR in dB of every band, (C,): mean square over the variance of the noise; NaN where it cannot be told.

    On nine windows from corner to corner. Of few bands the noise is told by their neighbours in space, where texture
    counts as noise: a lower bound.
    """
    found = np.full(scene.count, np.nan)
    good = np.flatnonzero(scene.bands.good)
    windows = lattice(scene.grid.width, scene.grid.height, _EDGE, _WINDOWS_A_SIDE, _WINDOWS_A_SIDE)
    blocks = [scene.read(window, good.tolist()) for window in windows]
    usable = [block.complete & ~block.suspect for block in blocks]
    pixels = np.concatenate([b.values[:, u] for b, u in zip(blocks, usable, strict=True)], axis=1).T.astype(np.float64)
    if len(pixels) < _FEWEST_PIXELS:
        return found
    many = len(good) >= MANY_BANDS
    noise = spectral_noise(pixels) if many else _spatial(blocks, usable)
    with np.errstate(divide="ignore", invalid="ignore"):
        found[good] = 10 * np.log10((pixels**2).mean(axis=0) / noise**2)
    found[~np.isfinite(found)] = np.nan
    return found


def _spatial(blocks: list[Block], usable: list[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """Of those windows in which it can be told, the middle one, (C,); zeros where there is none."""
    each = [spatial_noise(block.values, valid) for block, valid in zip(blocks, usable, strict=True)]
    told = [noise for noise in each if noise.any()]
    return np.median(told, axis=0) if told else np.zeros(len(blocks[0].values))
