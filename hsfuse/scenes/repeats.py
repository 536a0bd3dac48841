"""Bands whose pixels are repeated: Sentinel-2's 20 m bands on its 10 m grid, as many services hand them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from hsfuse.scenes.contents import Sample

_MOST_BANDS = 30
_FACTORS = (10, 9, 8, 7, 6, 5, 4, 3, 2)

# Part of the neighbours that are alike within the blocks, and at most between them. Quantised dark images have
# many alike everywhere.
_WITHIN, _BETWEEN = 0.98, 0.9
_MOST_STEPS = 0.8
_FEWEST_BLOCKS = 3


def find_repeats(sample: Sample, images: Sequence[int]) -> dict[int, int]:
    """Size of the blocks of equal pixels, by 0-based band; bands of their full sharpness are not in it.

    Hyperspectral images are not looked at.
    """
    if len(images) > _MOST_BANDS:
        return {}
    found = {band: _factor(sample, band) for band in images}
    return {band: factor for band, factor in found.items() if factor > 1}


def repeats_text(bands: Sequence[int], repeats: Mapping[int, int], names: Sequence[str]) -> str:
    """Bands and the size of their blocks, for a sentence: `B5, B6 (2 x 2), B9 (6 x 6)`."""
    groups = {factor: [band for band in bands if repeats.get(band) == factor] for factor in _FACTORS[::-1]}
    return ", ".join(
        f"{', '.join(names[band] or f'band {band + 1}' for band in group)} ({factor} x {factor})"
        for factor, group in groups.items()
        if group
    )


def _factor(sample: Sample, band: int) -> int:
    """The largest factor with which the band is repeated along both axes, 1 if it is not."""
    across, down = (_alike(sample, band, axis) for axis in (1, 0))
    return next((factor for factor in _FACTORS if _steps(across, factor) and _steps(down, factor)), 1)


def _alike(sample: Sample, band: int, axis: int) -> dict[int, NDArray[Any]]:
    """Numbers of equal neighbours and of all, (2,), by the place of the first of them along an axis of the raster."""
    counts: dict[int, NDArray[Any]] = {}
    for window, numbers, hidden in zip(sample.windows, sample.numbers, sample.hidden, strict=True):
        image = np.moveaxis(numbers[band], axis, 0)
        # Where all is the same (fill, or saturation) nothing tells blocks.
        lively = np.moveaxis(~hidden, axis, 0) & (image != 0)
        both = lively[1:] & lively[:-1]
        equal = ((image[1:] == image[:-1]) & both).sum(axis=1)
        start = window.column if axis == 1 else window.row
        for place, (alike, pairs) in enumerate(zip(equal, both.sum(axis=1), strict=True), start):
            counts[place] = counts.get(place, 0) + np.array([alike, pairs])
    return counts


def _steps(counts: Mapping[int, NDArray[Any]], factor: int) -> bool:
    """Whether neighbours differ at every `factor`-th place and at no other, wherever the first may be."""
    if len(counts) < _FEWEST_BLOCKS * factor:
        return False
    shares: list[list[float]] = [[] for _ in range(factor)]
    for place, (alike, pairs) in counts.items():
        if pairs:
            shares[place % factor].append(alike / pairs)
    if not all(shares):
        return False
    steps, *within = sorted((np.array(share) for share in shares), key=np.mean)
    # Wide fields without noise have steps, too, but not at every place.
    return bool(np.mean(steps <= _BETWEEN) >= _MOST_STEPS and min(share.mean() for share in within) >= _WITHIN)
