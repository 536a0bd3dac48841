"""Simulated pairs in memory."""

from dataclasses import dataclass

import numpy as np
import pytest

from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, degrade
from hsfuse.scenes import PairBlock


@dataclass
class ArraySource:
    """A pair in memory, read like a `ScenePair`."""

    whole: PairBlock
    ratio: int

    def read(self, window):
        fine = window.scaled(self.ratio)
        whole = self.whole
        return PairBlock(
            whole.hsi[:, window.rows, window.columns].copy(),
            whole.hsi_valid[window.rows, window.columns],
            whole.msi[:, fine.rows, fine.columns].copy(),
            whole.msi_valid[fine.rows, fine.columns],
        )


def textured(rows, columns, bands=24, seed=0):
    """A scene of smooth abundances with edges and texture, (bands, rows, columns), about 0.1 to 1."""
    generator = np.random.default_rng(seed)
    spectra = np.cumsum(generator.normal(size=(5, bands)), axis=1)
    spectra = 0.2 + 0.6 * (spectra - spectra.min()) / np.ptp(spectra)
    y, x = np.mgrid[:rows, :columns]
    maps = np.stack(
        [np.sin(x / (5 + 3 * k) + k) * np.cos(y / (7 + 2 * k)) + 0.3 * ((x // 17 + y // 13 + k) % 3) for k in range(5)]
    )
    maps = np.exp(maps + 0.2 * generator.normal(size=maps.shape))
    return np.einsum("kb,khw->bhw", spectra, maps / maps.sum(axis=0)).astype(np.float32)


def _made_pair(rows=60, columns=66, ratio=3, image=None):
    """A simulated pair as a source, with its imaging model."""
    truth = textured(rows * ratio, columns * ratio) if image is None else image
    nm = np.linspace(450, 900, len(truth))
    srf = SpectralResponse.from_gaussians([490, 560, 665, 842], [66, 36, 31, 106], nm)
    model = ImagingModel(srf, PointSpread.gaussian(ratio, 1.0))
    wald = degrade(truth, model)
    block = PairBlock(wald.hsi, wald.hsi_valid, wald.msi, wald.msi_valid)
    return ArraySource(block, ratio), model


@pytest.fixture
def made_pair():
    """Makes a pair as a source, with its imaging model."""
    return _made_pair
