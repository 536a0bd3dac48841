"""Scenes in memory, read like pairs of files, and networks small enough to train in a test."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tensorly.datasets import load_indian_pines

from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, degrade, degrade_pair
from hsfuse.models.bands import BandNetwork
from hsfuse.models.mgdunlss import MGDuNLSSConfig, MGDuNLSSNet, SubspaceMGDuNLSSConfig, SubspaceMGDuNLSSNet
from hsfuse.pairs.wald_level import ReducedPair, SimulatedPair
from hsfuse.scenes import PairBlock, PixelWindow
from hsfuse.training.episodes import ReferenceImage


@dataclass
class ArrayPair:
    """A pair in memory with the face of a `ScenePair`."""

    whole: PairBlock
    ratio: int
    hsi = SimpleNamespace(path="hsi.tif")

    @property
    def window(self):
        rows, columns = self.whole.hsi_valid.shape
        return PixelWindow(0, 0, columns, rows)

    def read(self, window):
        fine = window.scaled(self.ratio)
        whole = self.whole
        return PairBlock(
            whole.hsi[:, window.rows, window.columns].copy(),
            whole.hsi_valid[window.rows, window.columns].copy(),
            whole.msi[:, fine.rows, fine.columns].copy(),
            whole.msi_valid[fine.rows, fine.columns].copy(),
        )


def imaging(ratio=3, fwhm=1.0, shift=(0.0, 0.0), bands=12):
    nm = np.linspace(450, 900, bands)
    srf = SpectralResponse.from_gaussians([490, 560, 665, 842], [66, 36, 31, 106], nm)
    return ImagingModel(srf, PointSpread.gaussian(ratio, fwhm), shift)


def noise_pair(model, rows, columns, holes=False, garbage=0.0, seed=3):
    """Numbers without any structure, so that no pixel can stand in for another; holes hold `garbage`."""
    generator = np.random.default_rng(seed)
    bands, ratio = model.srf.matrix.shape[1], model.ratio
    hsi = generator.uniform(0.1, 1, (bands, rows, columns)).astype(np.float32)
    msi = generator.uniform(0.1, 1, (4, rows * ratio, columns * ratio)).astype(np.float32)
    hsi_valid, msi_valid = np.ones(hsi.shape[1:], bool), np.ones(msi.shape[1:], bool)
    if holes:
        hsi_valid[7:11, 3:14] = False
        hsi_valid[-5, -4] = False
        msi_valid[30:41, -40:-20] = False
        hsi[:, ~hsi_valid], msi[:, ~msi_valid] = garbage, garbage
    return ArrayPair(PairBlock(hsi, hsi_valid, msi, msi_valid), ratio)


def known_pair(pair, model):
    """An array pair as the open pair of two scenes, its imaging model known."""
    scenes = SimpleNamespace(hsi=SimpleNamespace(path="hsi.tif"))
    return SimpleNamespace(scenes=scenes, imaging=model, ratio=pair.ratio, window=pair.window, read_for_fits=pair.read)


def pair_levels(pair, model):
    """The same pair one level down, read by parts and degraded at once."""
    whole = pair.whole
    at_once = degrade_pair(whole.hsi, whole.msi, model, hsi_valid=whole.hsi_valid, msi_valid=whole.msi_valid)
    return ReducedPair(known_pair(pair, model), restore_noise=False), SimulatedPair(at_once)


@pytest.fixture(scope="session")
def reference():
    scene = load_indian_pines()
    image = np.asarray(scene["tensor"], np.float32).transpose(2, 0, 1)[::2, :72, :72]
    return ReferenceImage("indian-pines", np.ascontiguousarray(image), np.array(scene["ticks"][1])[::2])


@pytest.fixture(scope="session")
def level(reference):
    """A simulated scene of 12 bands and 24 × 24 HSI pixels with its truth."""
    image = np.ascontiguousarray(reference.image[2:26:2] / 1e4)
    return SimulatedPair(degrade(image, imaging(), snr_hsi=35, snr_msi=40), "a scene")


def with_hole(level, garbage):
    """The level with a hole in the truth that holds `garbage` (and the images with it)."""
    wald = level._wald
    valid = np.ones(wald.reference.shape[1:], bool)
    valid[6:18, 9:24] = False
    holed = degrade(np.where(valid, wald.reference, np.float32(0)), wald.model, valid=valid)
    reference = np.where(valid, holed.reference, np.float32(garbage))
    msi = np.where(holed.msi_valid, holed.msi, np.float32(garbage))
    hsi = np.where(holed.hsi_valid, holed.hsi, np.float32(garbage))
    return SimulatedPair(replace(holed, reference=reference, msi=msi, hsi=hsi), level.name)


def coefficients_network(seed=0):
    torch.manual_seed(seed)
    return SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig(subspace=5, stages=1, features=8, features_out=2))


def bands_network(seed=0):
    torch.manual_seed(seed)
    return BandNetwork(MGDuNLSSNet(MGDuNLSSConfig(12, 4, 3, stages=2, features=4, subspace=5)))
