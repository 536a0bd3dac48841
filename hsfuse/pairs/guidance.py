"""An HSI on other pixels than its own, resampled with the MSI's help: displaced, or laid on another grid.

What the MSI tells of the HSI needs no interpolation: Y ≈ A (P B), and P B is to be had at any place. Only the rest,
Y − A (P B) at the HSI's own pixels, is interpolated, and A (P B) of the place added: regression kriging (Hengl,
Heuvelink & Rossiter 2007) with a spline in place of the kriging. An HSI pixel is about as large as what it sees, so
that much of its detail lies near the sampling limit, where every interpolator loses it: in a trial on a town this
won 5 dB of the fused image, on a smoother scene 0.7.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.imaging import SampleBlock
from hsfuse.scenes import Block, PixelWindow
from hsfuse.scenes.displaced import sampled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.imaging import ImagingModel, PointSpread
    from hsfuse.scenes import PairBlock, ScenePair

_RIDGE = 1e-6  # of the MSI's variance


@dataclass(frozen=True, eq=False)
class Guidance:
    """How the MSI helps."""

    weights: NDArray[np.float32]
    """A, shape (C, c), in the units of both images."""

    psf: PointSpread
    """B with what shift there is left."""

    psf_on_hsi: PointSpread
    """The same on the HSI's own pixels."""

    @classmethod
    def fit(cls, patches: Sequence[PairBlock], on_hsi: ImagingModel, imaging: ImagingModel) -> Guidance:
        """Least squares of Y on P B.

        Args:
            patches: Parts of the pair on the HSI's own pixels, as fits should see them.
            on_hsi: B between the two there.
            imaging: B on the pixels that are wanted.
        """
        psf, wanted = on_hsi.psf.shifted(on_hsi.shift), imaging.psf.shifted(imaging.shift)
        pairs = [_both(block, psf) for block in patches]
        hsi = np.concatenate([spectra for spectra, _ in pairs], axis=1)
        msi = np.concatenate([degraded for _, degraded in pairs], axis=1)
        if msi.shape[1] <= len(msi):
            return cls(np.zeros((len(hsi), len(msi)), np.float32), wanted, psf)
        hsi, msi = hsi - hsi.mean(axis=1, keepdims=True), msi - msi.mean(axis=1, keepdims=True)
        normal = msi @ msi.T
        normal += _RIDGE * np.diag(normal.diagonal() + 1e-300)
        return cls(np.linalg.solve(normal, msi @ hsi.T).T.astype(np.float32), wanted, psf)

    def read(self, scenes: ScenePair, window: PixelWindow) -> PairBlock:
        """`ScenePair.read` of a resampled HSI with the MSI's help.

        Where the MSI is not known the HSI is interpolated alone.
        """
        assert scenes.places is not None
        area = PixelWindow(0, 0, scenes.window.width, scenes.window.height)
        around = _grown(window, self._halo).intersection(area)
        assert around is not None
        block, inner = scenes.read(around), window.shifted(-around.column, -around.row)
        target = window.shifted(scenes.window.column, scenes.window.row)
        source = scenes.places.source_window(target)
        if source is None:
            return block.crop(inner)
        degraded, known = _degraded(block, self.psf)
        x, y = scenes.places.sources(target)
        rest = sampled(self._rest(scenes, source), x - source.column, y - source.row)
        plain, here = block.crop(inner), (inner.rows, inner.columns)
        helped = plain.hsi_valid & rest.valid & known[here]
        values = rest.values + self._predicted(degraded[:, *here])
        return replace(plain, hsi=np.where(helped, values, plain.hsi))

    def _rest(self, scenes: ScenePair, source: PixelWindow) -> Block:
        """What the MSI does not tell, at the HSI's own pixels."""
        around = _grown(source, self._halo).intersection(scenes.hsi.grid.window)
        assert around is not None
        block = scenes.read_on_hsi(around)
        degraded, known = _degraded(block, self.psf_on_hsi)
        inner = source.shifted(-around.column, -around.row)
        part = slice(None), inner.rows, inner.columns
        good = (block.hsi_valid & ~block.hsi_suspect & known)[part[1:]]
        return Block(block.hsi[part] - self._predicted(degraded[part]), good)

    def _predicted(self, msi: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.tensordot(self.weights, msi.astype(np.float32), axes=1)

    @property
    def _halo(self) -> int:
        """HSI pixels that B reaches beyond its own."""
        margin = max(self.psf.margin, self.psf_on_hsi.margin, 0)
        return -(-margin // self.psf.ratio) + 1


def _degraded(block: PairBlock, psf: PointSpread) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return SampleBlock.whole(block, psf.ratio).degraded(psf)


def _both(block: PairBlock, psf: PointSpread) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Y (C, n) and P B (c, n) where both are known."""
    whole = SampleBlock.whole(block, psf.ratio)
    degraded, known = whole.degraded(psf)
    both = known & whole.hsi_known()
    return block.hsi[:, both].astype(np.float64), degraded[:, both]


def _grown(window: PixelWindow, margin: int) -> PixelWindow:
    return PixelWindow(
        window.column - margin, window.row - margin, window.width + 2 * margin, window.height + 2 * margin
    )
