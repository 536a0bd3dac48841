"""Scenes one Wald level down, read part by part: what networks are trained and judged on.

A part is what a window of a scene holds: the degraded pair, and the truth that it was made of. Scenes are never
held whole, so that they may be larger than memory.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from hsfuse.errors import RequestError
from hsfuse.imaging import ImagingModel, degrade_pair
from hsfuse.scenes import PairBlock, PixelWindow
from hsfuse.subspace.noise import noise_averaged_out
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from hsfuse.imaging import WaldPair
    from hsfuse.scenes import ScenePair

PART_EDGE = 64
"""Degraded HSI pixels of a part, up to twice as many."""

_LEAST_EDGE = 4  # degraded HSI pixels to validate or train on
_NOISE_EDGE = 128  # HSI pixels in which noise is estimated


@dataclass(frozen=True)
class Part:
    """A window of a scene, its holes filled."""

    patch: PairPatch
    """Y (C, h, w) and P (c, H, W)."""

    truth: Tensor
    """X, (C, H, W)."""

    valid: Tensor
    """Where both images and the truth are known, bool (H, W)."""


class Level(Protocol):
    """A scene of which the truth is known."""

    @property
    def name(self) -> str:
        """Which one, for messages."""

    @property
    def model(self) -> ImagingModel:
        """R and B between the pair and the truth."""

    @property
    def area(self) -> PixelWindow:
        """All of it, in degraded HSI pixels."""

    def read(self, window: PixelWindow) -> Part:
        """What a window of degraded HSI pixels holds."""


class PairLevel:
    """A pair of scenes: both images are degraded by the ratio, and the HSI itself is the truth.

    Degrading averages noise out. A network trained on images so calm would trust the real ones too much, so both
    degraded images are given their noise again: white, as estimated for each band.
    """

    def __init__(self, pair: ScenePair, imaging: ImagingModel, *, noisy: bool = True) -> None:
        """Nothing is read yet.

        Args:
            pair: The scenes.
            imaging: R and B between them.
            noisy: Whether the degraded images are given their noise again.
        """
        self._pair, self._imaging, self._noisy = pair, imaging, noisy
        self._missing: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self.model = ImagingModel(imaging.srf, imaging.psf)
        """The degraded pair is registered, whatever the pair was."""
        self.name = str(pair.hsi.path)
        """Of the HSI's file."""

    @property
    def area(self) -> PixelWindow:
        """All of it, in degraded HSI pixels."""
        ratio = self._pair.ratio
        return PixelWindow(0, 0, self._pair.window.width // ratio, self._pair.window.height // ratio)

    def read(self, window: PixelWindow) -> Part:
        """What a window holds: it is read with a rim as wide as the PSF, so that its edge is no edge."""
        rim = rim_of(self._imaging)
        left, top = min(rim, window.column), min(rim, window.row)
        right = min(rim, self.area.width - window.column - window.width)
        bottom = min(rim, self.area.height - window.row - window.height)
        wide = PixelWindow(
            window.column - left, window.row - top, left + window.width + right, top + window.height + bottom
        )
        block = self._pair.read(wide.scaled(self._pair.ratio))
        level = degrade_pair(block.hsi, block.msi, self._imaging, hsi_valid=block.hsi_valid, msi_valid=block.msi_valid)
        if self._noisy:
            for_hsi, for_msi = self._missing_noise()
            level.hsi[...] += np.where(level.hsi_valid, self._drawn(for_hsi, wide, 0), np.float32(0))
            fine = wide.scaled(self._pair.ratio)
            level.msi[...] += np.where(level.msi_valid, self._drawn(for_msi, fine, 1), np.float32(0))
        return _part(level, PixelWindow(left, top, window.width, window.height))

    def _drawn(self, spread: NDArray[np.float32], window: PixelWindow, image: int) -> NDArray[np.float32]:
        """White noise (C, h, w) under a window: the same for a pixel in whatever window it is read."""
        rows = range(window.row, window.row + window.height)
        end = window.column + window.width
        drawn = [
            np.random.default_rng((image, row)).standard_normal((end, len(spread)), np.float32)[window.column :]
            for row in rows
        ]
        return np.stack(drawn).transpose(2, 0, 1) * spread[:, None, None]

    def _missing_noise(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Standard deviations (C,) and (c,) of what degrading takes of the noise, out of the middle of the scene."""
        if self._missing is None:
            area = self._pair.window
            width, height = min(area.width, _NOISE_EDGE), min(area.height, _NOISE_EDGE)
            block = self._pair.read(PixelWindow((area.width - width) // 2, (area.height - height) // 2, width, height))
            self._missing = noise_averaged_out(block.hsi, block.hsi_valid, block.msi, block.msi_valid, self.model)
        return self._missing


class ArrayLevel:
    """A Wald pair in memory, simulated from a reference or degraded from a pair."""

    def __init__(self, wald: WaldPair, name: str = "the pair") -> None:
        """Take a pair with its truth."""
        self._wald = wald
        self.model = wald.model
        """R and B."""
        self.name = name
        """Which one."""

    @property
    def area(self) -> PixelWindow:
        """All of it, in degraded HSI pixels."""
        return wald_area(self._wald)

    def read(self, window: PixelWindow) -> Part:
        """What a window holds."""
        return _part(self._wald, window)


def wald_area(wald: WaldPair) -> PixelWindow:
    """All of a Wald pair, in its HSI pixels."""
    rows, columns = wald.hsi_valid.shape
    return PixelWindow(0, 0, columns, rows)


def wald_block(wald: WaldPair, window: PixelWindow) -> PairBlock:
    """Both images of a Wald pair under a window of its HSI pixels, copied."""
    fine = window.scaled(wald.model.ratio)
    return PairBlock(
        wald.hsi[:, window.rows, window.columns].copy(),
        wald.hsi_valid[window.rows, window.columns],
        wald.msi[:, fine.rows, fine.columns].copy(),
        wald.msi_valid[fine.rows, fine.columns],
    )


def _part(level: WaldPair, window: PixelWindow) -> Part:
    fine = window.scaled(level.model.ratio)
    block = wald_block(level, window)
    truth = level.reference[:, fine.rows, fine.columns].copy()
    # An HSI pixel is valid only where all of the truth under it is.
    valid = block.fine_valid
    return Part(PairPatch.of(block), torch.from_numpy(truth), torch.from_numpy(valid))


def rim_of(imaging: ImagingModel) -> int:
    """How many degraded HSI pixels the PSF reaches beyond a pixel, in the MSI also by the shift."""
    ratio = imaging.ratio
    return max(math.ceil(len(imaging.psf.kernel) / 2 / ratio), math.ceil(imaging.blur.margin / ratio**2))


def gap_of(imaging: ImagingModel) -> int:
    """How many degraded HSI pixels lie between two of which no PSF sees the same."""
    return max(math.ceil(2 * imaging.psf.margin / imaging.ratio), 1)


def split(level: Level, share: float) -> tuple[PixelWindow, PixelWindow]:
    """A part of a scene to train on and one to validate on, so far apart that no pixel enters both.

    The strip at the end of the longer axis is held back.

    Args:
        level: The scene.
        share: Of it that is held back, 0 to 1.

    Raises:
        RequestError: The scene is too small for both.
    """
    area, gap = level.area, gap_of(level.model)
    lying = area.width >= area.height
    length = area.width if lying else area.height
    held = max(round(share * length), _LEAST_EDGE)
    trained = length - held - gap
    if trained < 2 * _LEAST_EDGE or min(area.width, area.height) < _LEAST_EDGE:
        ratio = level.model.ratio
        raise RequestError(
            f"{level.name} has {area.width * ratio}×{area.height * ratio} pixels of truth in use: to train on a part "
            f"and validate on another, its longer side needs at least {(held + gap + 2 * _LEAST_EDGE) * ratio}"
        )
    if lying:
        return PixelWindow(0, 0, trained, area.height), PixelWindow(trained + gap, 0, held, area.height)
    return PixelWindow(0, 0, area.width, trained), PixelWindow(0, trained + gap, area.width, held)


def cut(window: PixelWindow, edge: int = PART_EDGE) -> list[PixelWindow]:
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
