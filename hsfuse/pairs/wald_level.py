"""One Wald level down: a pair degraded by its own ratio, with the HSI itself as the truth.

Wald's protocol at reduced resolution: `compare` without a reference, `train-reduced`, `--adapt` and the calibration of
a network on its scene all stand on this one. Degrading averages noise out; images so calm would speak for whatever
sharpens most, so both degraded images are given their noise again: white, as estimated for each band.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from hsfuse.imaging import ImagingModel, degrade_pair
from hsfuse.scenes import PairBlock, PixelWindow
from hsfuse.subspace.noise import noise_averaged_out
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from hsfuse.imaging import PatchLike, WaldPair
    from hsfuse.pairs.pair import Pair

_NOISE_EDGE = 128  # HSI pixels in which noise is estimated


@dataclass(frozen=True, eq=False)
class LostNoise:
    """The noise that degrading takes of a pair, to be drawn anew."""

    hsi: NDArray[np.float32]
    """Standard deviation in each HSI band, (C,)."""

    msi: NDArray[np.float32]
    """Standard deviation in each MSI band, (c,)."""

    seed: int = 0
    """Of what is drawn."""

    @classmethod
    def of(cls, block: PatchLike, model: ImagingModel, seed: int = 0) -> LostNoise:
        """Estimate it on a window of a pair; zeros where the window is too small to tell."""
        hsi, msi = noise_averaged_out(block.hsi, block.hsi_valid, block.msi, block.msi_valid, model)
        return cls(hsi, msi, seed)

    def add(self, wald: WaldPair, window: PixelWindow) -> None:
        """Draw it and add it in place to a degraded pair that lies at `window` (degraded HSI pixels)."""
        fine = window.scaled(wald.model.ratio)
        wald.hsi[...] += np.where(wald.hsi_valid, self._drawn(self.hsi, window, 0), np.float32(0))
        wald.msi[...] += np.where(wald.msi_valid, self._drawn(self.msi, fine, 1), np.float32(0))

    def _drawn(self, spread: NDArray[np.float32], window: PixelWindow, image: int) -> NDArray[np.float32]:
        """White noise (C, h, w) under a window: the same for a pixel in whatever window it is read."""
        end = window.column + window.width
        drawn = [
            np.random.default_rng((image, row, self.seed)).standard_normal((end, len(spread)), np.float32)
            for row in range(window.row, window.row + window.height)
        ]
        return np.stack(drawn)[:, window.column :].transpose(2, 0, 1) * spread[:, None, None]


@dataclass(frozen=True, eq=False)
class WaldBlock:
    """A window of a degraded pair, and the truth under it."""

    pair: PairBlock
    """Y and P, degraded."""

    truth: Tensor
    """X, float32 (C, r·h, r·w)."""

    @classmethod
    def of(cls, wald: WaldPair, window: PixelWindow | None = None) -> WaldBlock:
        """What a window of a degraded pair, in its HSI pixels, holds; by default all of it. Copied."""
        if window is None:
            window = whole_of(wald)
        fine = window.scaled(wald.model.ratio)
        coarse, fine_part = (window.rows, window.columns), (fine.rows, fine.columns)
        block = PairBlock(
            wald.hsi[:, *coarse].copy(),
            wald.hsi_valid[coarse],
            wald.msi[:, *fine_part].copy(),
            wald.msi_valid[fine_part],
        )
        return cls(block, torch.from_numpy(wald.reference[:, *fine_part].copy()))

    @cached_property
    def patch(self) -> PairPatch:
        """The pair with its holes filled, as methods take it."""
        return PairPatch.of(self.pair)

    @cached_property
    def valid(self) -> Tensor:
        """Where both images and the truth are known, bool (r·h, r·w)."""
        # An HSI pixel is valid only where all of the truth under it is.
        return torch.from_numpy(self.pair.fine_valid)


class WaldScene(Protocol):
    """A scene of which the truth is known, read part by part: it may be larger than memory."""

    @property
    def name(self) -> str:
        """Which one, for messages."""

    @property
    def model(self) -> ImagingModel:
        """R and B between the pair and the truth."""

    @property
    def area(self) -> PixelWindow:
        """All of it, in degraded HSI pixels."""

    def read(self, window: PixelWindow) -> WaldBlock:
        """What a window of degraded HSI pixels holds."""


def degraded(
    block: PatchLike, imaging: ImagingModel, noise: LostNoise | None, window: PixelWindow | None = None
) -> WaldPair:
    """A window of a pair one Wald level down, registered, its noise restored.

    Args:
        block: Of the pair, its size a multiple of the ratio.
        imaging: R and B of the pair.
        noise: What degrading takes; None to leave the images calm.
        window: Where the window lies in the scene, in degraded HSI pixels: there the noise is drawn.
    """
    wald = degrade_pair(block.hsi, block.msi, imaging, hsi_valid=block.hsi_valid, msi_valid=block.msi_valid)
    if noise is not None:
        noise.add(wald, window or whole_of(wald))
    return wald


class ReducedPair:
    """A pair of scenes one Wald level down."""

    def __init__(self, pair: Pair, *, restore_noise: bool = True, seed: int = 0) -> None:
        """Nothing is read yet.

        Args:
            pair: The scenes with their imaging model.
            restore_noise: Whether the degraded images are given their noise again.
            seed: Of the noise.
        """
        self._pair, self._restore, self._seed = pair, restore_noise, seed
        self.model = ImagingModel(pair.imaging.srf, pair.imaging.psf)
        """The degraded pair is registered, whatever the pair was."""
        self.name = str(pair.scenes.hsi.path)
        """Of the HSI's file."""

    @property
    def area(self) -> PixelWindow:
        """All of it, in degraded HSI pixels."""
        ratio = self._pair.ratio
        return PixelWindow(0, 0, self._pair.window.width // ratio, self._pair.window.height // ratio)

    def read(self, window: PixelWindow) -> WaldBlock:
        """What a window holds: it is read with a rim as wide as the PSF, so that its edge is no edge."""
        rim = rim_of(self._pair.imaging)
        left, top = min(rim, window.column), min(rim, window.row)
        right = min(rim, self.area.width - window.column - window.width)
        bottom = min(rim, self.area.height - window.row - window.height)
        wide = PixelWindow(
            window.column - left, window.row - top, left + window.width + right, top + window.height + bottom
        )
        block = self._pair.read_for_fits(wide.scaled(self._pair.ratio))
        wald = degraded(block, self._pair.imaging, self._noise if self._restore else None, wide)
        return WaldBlock.of(wald, PixelWindow(left, top, window.width, window.height))

    @cached_property
    def _noise(self) -> LostNoise:
        """What degrading takes of the noise, out of the middle of the scene."""
        area = self._pair.window
        width, height = min(area.width, _NOISE_EDGE), min(area.height, _NOISE_EDGE)
        middle = PixelWindow((area.width - width) // 2, (area.height - height) // 2, width, height)
        return LostNoise.of(self._pair.read_for_fits(middle), self.model, self._seed)


class SimulatedPair:
    """A Wald pair in memory, simulated from a reference."""

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
        return whole_of(self._wald)

    def read(self, window: PixelWindow) -> WaldBlock:
        """What a window holds."""
        return WaldBlock.of(self._wald, window)


def whole_of(wald: WaldPair) -> PixelWindow:
    """All of a degraded pair, in its HSI pixels."""
    rows, columns = wald.hsi_valid.shape
    return PixelWindow(0, 0, columns, rows)


def rim_of(imaging: ImagingModel) -> int:
    """How many degraded HSI pixels the PSF reaches beyond a pixel, in the MSI also by the shift."""
    ratio = imaging.ratio
    return max(math.ceil(len(imaging.psf.kernel) / 2 / ratio), math.ceil(imaging.blur.margin / ratio**2))
