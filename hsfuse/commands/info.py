"""`hsfuse info`: what a scene is, and whether two scenes can be fused."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import HsfuseError, SceneError
from hsfuse.evaluation.signal_to_noise import signal_to_noise
from hsfuse.scenes import GeographicExtent, Scene, ScenePair

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Times as many bands as the other: an HSI, whatever its pixels.
_FAR_MORE = 3


@dataclass(frozen=True, eq=False)
class SceneInfo:
    """What one scene is."""

    scene: Scene
    """Grid, bands, numbers, and what the screen found."""

    extent: GeographicExtent | None
    """Where it lies; None where nothing says."""

    snr_db: NDArray[np.float64] | None
    """Estimated SNR of every band in dB, (C,), NaN where it cannot be told; None where the scene could not be read."""

    srf_table: tuple[str, ...]
    """Bands of the table that hsfuse has of the scene's sensor; empty without one."""


@dataclass(frozen=True)
class PairInfo:
    """How two scenes lie to each other."""

    hsi: str
    """The one with far more bands, or the larger pixels."""

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

    overlap_share: float | None
    """Part of the HSI that it is, 0 to 1."""

    resampled: bool | None
    """Whether the MSI would be resampled."""

    srf: str | None
    """Where `fuse` would take the SRF from: the table of a sensor and its bands, or `estimate`."""

    warnings: tuple[str, ...]
    """Sentences for the user."""

    next_command: str | None
    """What to type to fuse them, or to mend what keeps them from it; None where no command does."""


@dataclass(frozen=True)
class Info:
    """What was asked for."""

    scenes: tuple[SceneInfo, ...]
    """Those that could be read, in the order given."""

    unreadable: tuple[str, ...]
    """A sentence for each of the others."""

    pair: PairInfo | None
    """Of exactly two scenes."""


def info(paths: Sequence[str | os.PathLike[str]]) -> Info:
    """Open scenes and describe them; two of them also as a pair. One that cannot be read does not hide the others."""
    scenes: list[Scene] = []
    unreadable: list[str] = []
    for path in paths:
        try:
            scenes.append(Scene.open(path))
        except SceneError as error:
            unreadable.append(str(error))
    pair = _pair(*scenes) if len(scenes) == 2 and not unreadable else None
    return Info(tuple(_scene(scene) for scene in scenes), tuple(unreadable), pair)


def _scene(scene: Scene) -> SceneInfo:
    try:
        snr = signal_to_noise(scene)
    except HsfuseError:  # it breaks off somewhere: what was read on opening is told nevertheless
        snr = None
    return SceneInfo(scene, GeographicExtent.of(scene.grid), snr, _srf_table(scene.sensor))


def _srf_table(sensor: str | None) -> tuple[str, ...]:
    if sensor is None:
        return ()
    from hsfuse.imaging import load_table, sensor_names  # noqa: PLC0415 (imports torch)

    return load_table(sensor).bands if sensor in sensor_names() else ()


def _pair(first: Scene, second: Scene) -> PairInfo:
    hsi, msi = (first, second) if _is_hsi(first, second) else (second, first)
    try:
        pair = ScenePair.open(hsi, msi)
        srf = _srf_source(pair)
    except HsfuseError as error:
        reason = str(error)
        return PairInfo(hsi.path, msi.path, False, reason, None, None, None, None, None, (), _remedy(hsi, msi))
    size = pair.window.width, pair.window.height
    share = size[0] * size[1] / (hsi.grid.width * hsi.grid.height)
    command = f"hsfuse fuse --hsi {shlex.quote(hsi.path)} --msi {shlex.quote(msi.path)} -o fused.tif"
    way = pair.resampled
    return PairInfo(hsi.path, msi.path, True, None, pair.ratio, size, share, way, srf, pair.warnings, command)


def _srf_source(pair: ScenePair) -> str:
    if pair.msi.sensor is None:
        return "estimate"
    from hsfuse.pairs.imaging_source import load_response  # noqa: PLC0415 (imports torch)

    return load_response(pair, None)[1]


def _remedy(hsi: Scene, msi: Scene) -> str | None:
    """What to type where one of two scenes lacks a CRS that it most likely shares with the other."""
    for scene, other in ((hsi, msi), (msi, hsi)):
        if scene.grid.crs is None and scene.grid.has_transform and other.grid.crs is not None:
            return f"rio edit-info --crs {shlex.quote(other.grid.crs.to_string())} {shlex.quote(scene.path)}"
    return None


def _is_hsi(first: Scene, second: Scene) -> bool:
    """The HSI has far more bands, or else the larger pixels where both can be compared."""
    if max(first.count, second.count) >= _FAR_MORE * min(first.count, second.count):
        return first.count > second.count
    if first.grid.crs == second.grid.crs and first.grid.has_transform and second.grid.has_transform:
        sizes = [float(np.prod(scene.grid.pixel_size)) for scene in (first, second)]
        if sizes[0] != sizes[1]:
            return sizes[0] > sizes[1]
    return first.count >= second.count
