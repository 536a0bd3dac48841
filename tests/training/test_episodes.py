"""Episodes are what a network will meet: simulated pairs in coefficients, cut and turned without breaking physics."""

import dataclasses

import numpy as np
import pytest
import torch

from hsfuse.imaging import BlurDecimate, PointSpread
from hsfuse.training.episodes import cut_batch, place_patches, random_view, simulate_episode


@pytest.fixture(scope="module")
def episodes(reference):
    generator = np.random.default_rng(0)
    return [simulate_episode(reference, random_view(reference, generator, [3]), size=5) for _ in range(4)]


def test_the_estimate_has_an_error_of_one_in_bands_and_in_angles(reference):
    generator = np.random.default_rng(0)
    for _ in range(3):  # of all coefficients that noise may choose
        episode = simulate_episode(reference, random_view(reference, generator, [3]), size=40)
        error = episode.inputs.initial - episode.truth
        bands = torch.einsum("kj,khw->jhw", episode.units.bands, error).square().sum(dim=0).mean()
        angles = torch.einsum("kj,khw->jhw", episode.units.angles, error).square().sum(dim=0) * episode.angle_weight
        assert 0.3 < float(bands) < 1.6  # what lies outside of the subspace adds to a band's error or takes from it
        assert float(angles.mean()) == pytest.approx(1, abs=1e-3)


def test_a_turned_patch_is_still_what_its_own_imaging_model_says(episodes):
    """Degrading the turned truth with the turned kernel gives the turned HSI, but for rims."""
    kernel = PointSpread.gaussian(3, (0.7, 1.4), angle=30, shift=(0.2, 0.0))
    inputs = dataclasses.replace(episodes[0].inputs, hsi=BlurDecimate(kernel)(episodes[0].truth))
    episode = dataclasses.replace(episodes[0], psf=kernel, inputs=inputs)
    turns = set()
    for seed in range(12):
        placed = place_patches([episode], 12, np.random.default_rng(seed))
        turns.add((placed[0][1].turns, placed[0][1].flipped))
        batch = cut_batch(placed)
        seen = batch.condition.blur(batch.truth)
        torch.testing.assert_close(seen[..., 2:-2, 2:-2], batch.inputs.hsi[..., 2:-2, 2:-2], rtol=1e-3, atol=1e-2)
    assert len(turns) > 4


def test_a_batch_has_the_patch_of_its_smallest_scene(episodes):
    small = episodes[1].inputs
    small = dataclasses.replace(
        small, hsi=small.hsi[:, :7], initial=small.initial[:, :21], msi=small.msi[:, :21]
    )  # fmt: skip
    mixed = [episodes[0], dataclasses.replace(episodes[1], inputs=small)]
    batch = cut_batch(place_patches(mixed, 12, np.random.default_rng(1)))
    assert batch.inputs.hsi.shape == (2, 5, 7, 7)
    assert batch.truth.shape == (2, 5, 21, 21)
    assert batch.valid.shape == batch.angle_weight.shape == (2, 21, 21)


def test_empty_coefficients_cost_nothing(episodes):
    padded = episodes[0].leading(8)
    assert padded.truth.shape[0] == padded.inputs.hsi.shape[0] == 8
    error = padded.inputs.initial - padded.truth + 100 * (torch.arange(8) >= 5)[:, None, None]
    counted = torch.einsum("kj,khw->jhw", padded.units.bands, error).square().sum(dim=0).mean()
    plain = episodes[0].inputs.initial - episodes[0].truth
    expected = torch.einsum("kj,khw->jhw", episodes[0].units.bands, plain).square().sum(dim=0).mean()
    assert float(counted) == pytest.approx(float(expected), rel=1e-5)
    assert episodes[0].leading(5) is episodes[0]


def test_a_network_of_few_coefficients_leaves_the_others_of_a_calm_scene_out_of_its_loss(reference):
    view = dataclasses.replace(random_view(reference, np.random.default_rng(0), [3]), snr_hsi=None, snr_msi=None)
    few, all_of_them = (simulate_episode(reference, view, size=size) for size in (5, 40))
    assert few.truth.shape[0] == few.units.bands.shape[0] == few.condition.residual.shape[1] == 5
    torch.testing.assert_close(few.truth, all_of_them.truth[:5])
