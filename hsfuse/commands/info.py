"""`hsfuse info`: what a scene is, and whether two scenes can be fused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import PairError, SceneError
from hsfuse.scenes import Scene, ScenePair

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence


@dataclass(frozen=True)
class PairInfo:
    """How two scenes lie to each other."""

    hsi: str
    """The one with the larger pixels."""

    msi: str
    """The other."""

    fusible: bool
    """Whether `fuse` would take them."""

    reason: str | None
    """Why not."""

    ratio: int | None
    """HSI pixel over MSI pixel."""

    overlap: tuple[int, int] | None
    """Width and height of the common area in HSI pixels."""

    resampled: bool | None
    """Whether the MSI would be resampled."""

    warnings: tuple[str, ...]
    """Sentences for the user."""


@dataclass(frozen=True)
class Info:
    """What was asked for."""

    scenes: tuple[Scene, ...]
    """Those that could be read, in the order given."""

    unreadable: tuple[str, ...]
    """A sentence for each of the others."""

    pair: PairInfo | None
    """Of exactly two scenes."""


def info(paths: Sequence[str | os.PathLike[str]]) -> Info:
    """Open scenes and describe them; two of them also as a pair. One that cannot be read does not hide the others."""
    scenes, unreadable = [], []
    for path in paths:
        try:
            scenes.append(Scene.open(path))
        except SceneError as error:
            unreadable.append(str(error))
    pair = _pair(*scenes) if len(scenes) == 2 and not unreadable else None
    return Info(tuple(scenes), tuple(unreadable), pair)


def _pair(first: Scene, second: Scene) -> PairInfo:
    hsi, msi = (first, second) if _is_hsi(first, second) else (second, first)
    try:
        pair = ScenePair.open(hsi, msi)
    except PairError as error:
        return PairInfo(hsi.path, msi.path, False, str(error), None, None, None, ())
    size = pair.window.width, pair.window.height
    return PairInfo(hsi.path, msi.path, True, None, pair.ratio, size, pair.resampled, pair.warnings)


def _is_hsi(first: Scene, second: Scene) -> bool:
    """The HSI has the larger pixels where both can be compared, else the more bands."""
    if first.grid.crs == second.grid.crs and first.grid.has_transform and second.grid.has_transform:
        sizes = [float(np.prod(scene.grid.pixel_size)) for scene in (first, second)]
        if sizes[0] != sizes[1]:
            return sizes[0] > sizes[1]
    return first.count >= second.count
