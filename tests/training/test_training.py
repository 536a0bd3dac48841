"""Episodes are what a network will meet, and the loop trains, keeps the best, and resumes where it stopped."""

import dataclasses

import numpy as np
import pytest
import torch
from tensorly.datasets import load_indian_pines

from hsfuse.errors import WorkError
from hsfuse.imaging import PointSpread
from hsfuse.models.mgdunlss import SubspaceMGDuNLSSConfig, SubspaceMGDuNLSSNet
from hsfuse.training.episodes import Reference, cut_batch, random_view, simulate_episode
from hsfuse.training.loop import Schedule, Trainer, Validation, relative_loss


@pytest.fixture(scope="module")
def reference():
    scene = load_indian_pines()
    image = np.asarray(scene["tensor"], np.float32).transpose(2, 0, 1)[::2, :72, :72]
    return Reference("indian-pines", np.ascontiguousarray(image), np.array(scene["ticks"][1])[::2])


@pytest.fixture(scope="module")
def episodes(reference):
    generator = np.random.default_rng(0)
    return [simulate_episode(reference, random_view(reference, generator, [3]), size=5) for _ in range(4)]


def network():
    torch.manual_seed(0)
    return SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig(subspace=5, stages=1, features=8, features_out=2))


def test_the_loss_of_the_linear_estimate_over_whole_scenes_is_one_and_a_half(episodes):
    for episode in episodes:
        error = episode.inputs.linear - episode.truth
        bands = torch.einsum("kj,khw->jhw", episode.weight, error).square().sum(dim=0).mean()
        angles = torch.einsum("kj,khw->jhw", episode.angle_metric, error).square().sum(dim=0) * episode.angle_weight
        assert 0.3 < float(bands) <= 1.05  # the rest of its error lies outside of the subspace
        assert float(angles.mean()) == pytest.approx(1, abs=1e-3)


def test_a_turned_patch_is_still_what_its_own_imaging_model_says(episodes):
    """Degrading the turned truth with the turned kernel gives the turned HSI, but for noise and rims."""
    kernel = PointSpread.gaussian(3, (0.7, 1.4), angle=30, shift=(0.2, 0.0))
    episode = dataclasses.replace(episodes[0], psf=kernel)
    from hsfuse.imaging import BlurDecimate

    hsi = BlurDecimate(kernel)(episode.truth)
    inputs = dataclasses.replace(episode.inputs, hsi=hsi)
    episode = dataclasses.replace(episode, inputs=inputs)
    for seed in range(8):
        batch = cut_batch([episode], 12, np.random.default_rng(seed))
        seen = batch.condition.blur(batch.truth)
        torch.testing.assert_close(seen[..., 2:-2, 2:-2], batch.inputs.hsi[..., 2:-2, 2:-2], rtol=1e-3, atol=1e-2)


def test_the_same_seed_trains_the_same_weights_also_across_a_break(episodes, tmp_path):
    def trained(folder, breaks):
        for number in range(breaks + 1):
            trainer = Trainer(network(), Schedule(seconds=1e9, batch=2, patch_pixels=18), folder)
            for _ in range(6 // (breaks + 1)):
                trainer._step(lambda generator, count: [episodes[i] for i in generator.integers(4, size=count)])
            trainer._checkpoint()
            assert trainer.step == 6 // (breaks + 1) * (number + 1)
        return trainer

    whole, broken = trained(tmp_path / "whole", 0), trained(tmp_path / "broken", 1)
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(broken.network.state_dict()[name], value, rtol=0, atol=0)
        torch.testing.assert_close(broken.averaged[name], whole.averaged[name], rtol=0, atol=0)


def test_training_lowers_the_loss_and_keeps_the_best(episodes, tmp_path):
    trainer = Trainer(network(), Schedule(seconds=6, batch=4, patch_pixels=18, learning_rate=3e-3), tmp_path)
    batch = cut_batch(episodes, 10, np.random.default_rng(5))
    before = float(relative_loss(trainer.network, batch).detach())
    trainer.run(lambda generator, count: episodes[:count], lambda _: Validation(1.0, 0.0, 0.5))
    assert float(relative_loss(trainer.network, batch).detach()) < before - 0.02
    assert (tmp_path / "best.safetensors").exists()
    assert trainer.best == 1.0


def test_a_loss_that_is_not_finite_stops_the_training(episodes, tmp_path):
    broken = dataclasses.replace(episodes[0], truth=episodes[0].truth * float("nan"))
    trainer = Trainer(network(), Schedule(seconds=10), tmp_path)
    with pytest.raises(WorkError, match="not finite at step 0"):
        trainer.run(lambda generator, count: [broken] * count, lambda _: Validation(0, 0, 0))
