"""Numbers that a pixel lacks in single bands, bridged from its other bands.

Only the pixel's own bands are asked, never its neighbours: so a number is the same in whatever window it is
read, and a missing one takes nothing from its surroundings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST_BANDS = 10
"""An image of fewer bands has too wide gaps between them to bridge one."""

SHARE_PRESENT = 0.5
"""A pixel needs this part of its bands to count as valid."""

# Beyond these a quotient of two spectra says more of an offset or of noise than of brightness.
_QUOTIENTS = (0.25, 4.0)


def bridge(
    values: NDArray[np.float32],
    missing: NDArray[np.bool_],
    position: NDArray[np.float64],
    typical: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Spectra without gaps: the scene's typical spectrum, scaled to the nearest bands that are there.

    Between its neighbours a and b at their positions, x̂ = m · ((1 − t) x_a + t x_b) / ((1 − t) m_a + t m_b) with m
    the typical spectrum; where that quotient is no plausible brightness, the difference takes its place.

    Args:
        values: Shape (C, N); what stands at `missing` is passed over.
        missing: Shape (C, N); each pixel has at least one band.
        position: Band centres, or any other order along the spectrum, shape (C,).
        typical: A spectrum that stands for the scene, shape (C,); NaN in a band of which nothing is known.

    Returns:
        Shape (C, N), the same as `values` where nothing is missing.
    """
    order = np.argsort(position, kind="stable")
    place, level = position[order], _without_gaps(position[order], typical[order])
    known, sorted_values = ~missing[order], values[order]
    before, after = _neighbours(known)
    part = _part_of_way(place, before, after)
    columns = np.arange(values.shape[1])
    between = (1 - part) * sorted_values[before, columns] + part * sorted_values[after, columns]
    level_between = (1 - part) * level[before] + part * level[after]
    bridged = np.where(known, sorted_values, _scaled(between, level_between, level[:, None]))
    result = np.empty_like(values)
    result[order] = bridged
    return result


def _without_gaps(place: NDArray[np.float64], level: NDArray[np.float64]) -> NDArray[np.float32]:
    known = np.isfinite(level)
    return (np.interp(place, place[known], level[known]) if known.any() else np.ones(len(level))).astype(np.float32)


def _neighbours(known: NDArray[np.bool_]) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Rows of the nearest known band below and above each band, (C, N); at the ends both are the only one."""
    rows = np.arange(len(known))[:, None]
    before = np.maximum.accumulate(np.where(known, rows, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, rows, len(known))[::-1], axis=0)[::-1]
    return np.where(before < 0, after, before), np.where(after == len(known), before, after)


def _part_of_way(place: NDArray[np.float64], before: NDArray[np.int_], after: NDArray[np.int_]) -> NDArray[np.float32]:
    gap = place[after] - place[before]
    part = np.divide(place[:, None] - place[before], gap, out=np.zeros_like(gap), where=gap > 0)
    return part.astype(np.float32)


def _scaled(
    between: NDArray[np.float32], level_between: NDArray[np.float32], level: NDArray[np.float32]
) -> NDArray[np.float32]:
    usable = np.abs(level_between) > np.finfo(np.float32).tiny
    quotient = np.divide(between, level_between, out=np.full_like(between, np.nan), where=usable)
    bright = (quotient >= _QUOTIENTS[0]) & (quotient <= _QUOTIENTS[1])
    return np.where(bright, quotient * level, between + (level - level_between))
