"""Splitting scenes: a part to train on, a part to validate on, and both in pieces."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from hsfuse.errors import RequestError
from hsfuse.scenes import PixelWindow

if TYPE_CHECKING:
    from hsfuse.imaging import ImagingModel
    from hsfuse.pairs.wald_level import WaldScene

PART_EDGE = 64
"""Degraded HSI pixels of a part, up to twice as many."""

_LEAST_EDGE = 4  # degraded HSI pixels to validate or train on


def gap_of(imaging: ImagingModel) -> int:
    """How many degraded HSI pixels lie between two of which no PSF sees the same."""
    return max(math.ceil(2 * imaging.psf.margin / imaging.ratio), 1)


def split(scene: WaldScene, share: float) -> tuple[PixelWindow, PixelWindow]:
    """A part of a scene to train on and one to validate on, so far apart that no pixel enters both.

    The strip at the end of the longer axis is held back.

    Args:
        scene: The scene.
        share: Of it that is held back, 0 to 1.

    Raises:
        RequestError: The scene is too small for both.
    """
    area, gap = scene.area, gap_of(scene.model)
    lying = area.width >= area.height
    length = area.width if lying else area.height
    held = max(round(share * length), _LEAST_EDGE)
    trained = length - held - gap
    if trained < 2 * _LEAST_EDGE or min(area.width, area.height) < _LEAST_EDGE:
        ratio = scene.model.ratio
        raise RequestError(
            f"{scene.name} has {area.width * ratio}×{area.height * ratio} pixels of truth in use: to train on a part "
            f"and validate on another, its longer side needs at least {(held + gap + 2 * _LEAST_EDGE) * ratio}"
        )
    if lying:
        return PixelWindow(0, 0, trained, area.height), PixelWindow(trained + gap, 0, held, area.height)
    return PixelWindow(0, 0, area.width, trained), PixelWindow(0, trained + gap, area.width, held)


def pieces(window: PixelWindow, edge: int = PART_EDGE) -> list[PixelWindow]:
    """A window in parts of `edge` to twice that, or whole where it has less."""
    columns, rows = (_starts(size, edge) for size in (window.width, window.height))
    return [
        PixelWindow(window.column + left, window.row + top, right - left, bottom - top)
        for top, bottom in itertools.pairwise(rows)
        for left, right in itertools.pairwise(columns)
    ]


def _starts(size: int, edge: int) -> list[int]:
    number = max(size // edge, 1)
    return [size * index // number for index in range(number + 1)]


def some_of(windows: list[PixelWindow], most: int) -> list[PixelWindow]:
    """At most `most` of them, evenly spread."""
    return [windows[index * len(windows) // most] for index in range(most)] if len(windows) > most else windows
