"""The standard deviation of what is fused: shares of true values, noise, holes, change, tiles, and small scenes."""

import numpy as np
import pytest
import torch

from hsfuse.fusion.compute import CPU
from hsfuse.fusion.engine import fuse_tiles
from hsfuse.fusion.methods import choose_method
from hsfuse.fusion.tile_work import TileWork
from hsfuse.fusion.tiles import TilePlan
from hsfuse.fusion.uncertainty import Known, TileUncertainty, Uncertainty
from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, degrade
from hsfuse.progress import SILENT
from hsfuse.scenes import PairBlock
from hsfuse.subspace.patch import PairPatch

from .conftest import ArraySource, textured

BANDS, RATIO = 24, 3
NM = np.linspace(450, 900, BANDS)
MODEL = ImagingModel(
    SpectralResponse.from_gaussians([490, 560, 665, 842], [66, 36, 31, 106], NM), PointSpread.gaussian(RATIO, 1.0)
)


def simulated(rows=40, snr=28, seed=0):
    """A pair with its truth, noise in both images."""
    truth = textured(rows * RATIO, rows * RATIO, BANDS, seed)
    pair = degrade(truth, MODEL, snr_hsi=snr, snr_msi=snr + 5, seed=seed)
    return pair, PairPatch.all_valid(torch.from_numpy(pair.hsi), torch.from_numpy(pair.msi))


def known_everywhere(patch):
    return Known(patch.hsi_valid, patch.msi_valid, torch.zeros_like(patch.hsi_valid))


def fit(name, patch):
    method = choose_method(name).method
    fitted = method.fit([patch], MODEL)
    return fitted, Uncertainty.fit(method, fitted, [patch], MODEL)


class Collected:
    def __init__(self):
        self.rows, self.valid = [], []

    def write(self, row, values, valid):
        self.rows.append(values.copy())
        self.valid.append(valid.copy())

    @property
    def image(self):
        return np.concatenate(self.rows, axis=1)


@pytest.mark.parametrize("name", ["bayes", "hysure", "gsa", "bicubic"])
def test_about_two_thirds_of_the_true_values_lie_within_one_and_nearly_all_within_two(name):
    pair, patch = simulated()
    fitted, uncertainty = fit(name, patch)
    off = (fitted(patch.hsi, patch.msi) - torch.from_numpy(pair.reference)).abs() / uncertainty(patch.hsi, patch.msi)
    one, two = (float((off <= most).float().mean()) for most in (1, 2))
    assert 0.55 < one < 0.82
    assert 0.87 < two < 0.99
    assert uncertainty.pixels == 13**2 * RATIO**2
    assert uncertainty.warnings == ()


@pytest.mark.parametrize("snr", [10, 16])
def test_the_noise_of_the_truth_one_level_down_is_no_error_of_the_method(snr):
    pair, patch = simulated(snr=snr)
    fitted, uncertainty = fit("bayes", patch)
    off = (fitted(patch.hsi, patch.msi) - torch.from_numpy(pair.reference)).abs() / uncertainty(patch.hsi, patch.msi)
    assert 0.58 < float((off <= 1).float().mean()) < 0.77


def test_more_noise_is_less_certain_and_so_is_a_worse_method():
    (_, noisy), (_, calm) = simulated(snr=22), simulated(snr=40)
    spread = {
        snr: float(fit("bayes", patch)[1](patch.hsi, patch.msi).square().mean().sqrt())
        for snr, patch in ((22, noisy), (40, calm))
    }
    assert spread[22] > 1.5 * spread[40]
    assert float(fit("bicubic", calm)[1](calm.hsi, calm.msi).square().mean().sqrt()) > 1.5 * spread[40]


def test_edges_of_the_msi_are_less_certain_than_what_lies_between():
    _, patch = simulated()
    _, uncertainty = fit("bayes", patch)
    found = uncertainty(patch.hsi, patch.msi).mean(dim=0)
    weights = uncertainty.estimate.prior.weights(patch.msi)[0]
    edges = weights < weights.quantile(0.1)
    assert found[1:][edges].mean() > 1.05 * found[1:][~edges].mean()


def test_where_one_image_knows_nothing_the_other_alone_says_how_far():
    _, patch = simulated()
    _, uncertainty = fit("bayes", patch)
    known = known_everywhere(patch)
    usual = uncertainty(patch.hsi, patch.msi)
    torch.testing.assert_close(uncertainty(patch.hsi, patch.msi, known), usual)
    known.hsi[10:14, 10:14] = False
    known.msi[75:90, 75:90] = False
    grown = uncertainty(patch.hsi, patch.msi, known)
    hole = grown[:, 33:39, 33:39].square().mean(dim=(1, 2))
    assert (hole >= 0.99 * uncertainty.without_hsi).all()
    hole = grown[:, 76:89, 76:89].square().mean(dim=(1, 2))
    assert (hole >= 0.99 * uncertainty.without_msi).all()
    assert (grown >= usual * (1 - 1e-6)).all()
    torch.testing.assert_close(grown[:, :25], usual[:, :25])


def test_where_the_images_differ_it_is_as_large_as_the_difference():
    _, patch = simulated()
    _, uncertainty = fit("bayes", patch)
    msi = patch.msi.clone()
    msi[:, 60:75, 60:75] = 1.5  # a cloud
    known = known_everywhere(patch)
    known.differs[20:25, 20:25] = True
    found, usual = uncertainty(patch.hsi, msi, known), uncertainty(patch.hsi, patch.msi)
    assert found[:, 63:72, 63:72].median() > 0.3
    assert usual[:, 63:72, 63:72].median() < 0.1
    torch.testing.assert_close(found[:, :50, :50], usual[:, :50, :50], rtol=1e-3, atol=1e-5)


def test_tiles_do_not_show():
    pair, patch = simulated(rows=60)
    fitted, uncertainty = fit("bayes", patch)
    source = ArraySource(PairBlock(pair.hsi, pair.hsi_valid, pair.msi, pair.msi_valid), RATIO)
    source.whole.hsi_valid[28:31, 28:31] = False
    layers = {}
    for tile in (100, 36):
        sinks = Collected(), Collected()
        plan = TilePlan.make(60, 60, RATIO, tile=tile, overlap=12, margin=6)
        work = TileWork(fitted, CPU, TileUncertainty(uncertainty, lambda block: block))
        fuse_tiles(source, work, plan, sinks, bands=BANDS, progress=SILENT, align=8)
        layers[tile] = sinks
    whole, tiled = layers[100][1], layers[36][1]
    assert len(tiled.rows) > 1
    np.testing.assert_allclose(tiled.image, whole.image, rtol=1e-3)
    np.testing.assert_array_equal(np.concatenate(layers[36][0].valid), np.concatenate(tiled.valid))
    alone = Collected()
    fuse_tiles(source, TileWork(fitted, CPU), plan, [alone], bands=BANDS, progress=SILENT, align=8)
    np.testing.assert_array_equal(alone.image, layers[36][0].image)


def test_a_scene_too_small_to_calibrate_on_says_so():
    pair, patch = simulated(rows=9)
    fitted, uncertainty = fit("bayes", patch)
    found = uncertainty(patch.hsi, patch.msi)
    assert uncertainty.pixels == 0
    assert "too small" in uncertainty.warnings[0]
    assert "not calibrated" in uncertainty.facts["CALIBRATION"]
    error = (fitted(patch.hsi, patch.msi) - torch.from_numpy(pair.reference)).square().mean().sqrt()
    assert 0.3 < float(error / found.square().mean().sqrt()) < 3
