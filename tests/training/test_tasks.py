"""What is trained on: every process's share of the same patches, and nothing that is not known."""

import numpy as np
import pytest
import torch

from hsfuse.errors import RequestError
from hsfuse.imaging import degrade
from hsfuse.pairs.wald_level import SimulatedPair
from hsfuse.training.loop import Trainer
from hsfuse.training.schedule import Schedule
from hsfuse.training.tasks import BandsTask, SubspaceTask

from .conftest import bands_network, coefficients_network, imaging, noise_pair, pair_levels, with_hole


def made(kind, levels, **settings):
    """A task with a network for it that is not at its start."""
    task = SubspaceTask(levels, 5, **settings) if kind == "subspace" else BandsTask(levels, squared=False, **settings)
    network = coefficients_network() if kind == "subspace" else bands_network()
    if kind == "full":
        task.measure(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.02)
    return task, network


kinds = pytest.mark.parametrize("kind", ["subspace", "full"])


def loss(task, network, step=0, batch=6, share=slice(None)):
    return float(task.loss(network, task.draw(np.random.default_rng((0, step)), batch, share)).detach())


@kinds
def test_processes_share_the_patches_of_a_step(kind, level):
    task, network = made(kind, [level], patch=5)
    whole = loss(task, network)
    shares = [loss(task, network, share=slice(start, start + 2)) for start in (0, 2, 4)]
    assert len(set(shares)) == 3
    assert whole == pytest.approx(np.mean(shares), rel=1e-5)
    assert loss(task, network) == whole
    assert loss(task, network, step=1) != whole


@kinds
def test_pixels_that_are_not_known_count_nothing(kind, level):
    clean, dirty = (made(kind, [with_hole(level, garbage)], patch=5) for garbage in (0.0, 1e6))
    assert not clean[0].scenes[0].read(clean[0].scenes[0].area).valid.all()
    for step in range(3):
        value = loss(*clean, step=step)
        assert np.isfinite(value)
        assert loss(*dirty, step=step) == pytest.approx(value, rel=1e-5)
    assert clean[0].figures(clean[1]) == dirty[0].figures(dirty[1])


@kinds
def test_what_is_held_back_teaches_nothing(kind, level):
    """Another truth in the part held back changes no loss."""
    task, network = made(kind, [level], patch=5)
    held = task.held_back[0]
    wald = level._wald
    columns = slice(-held.parts[0].truth.shape[2], None)
    reference = wald.reference.copy()
    reference[:, :, columns] += 1.0
    other = SimulatedPair(type(wald)(wald.hsi, wald.hsi_valid, wald.msi, wald.msi_valid, reference, wald.model))
    changed, _ = made(kind, [other], patch=5)
    assert [loss(changed, network, step) for step in range(5)] == [loss(task, network, step) for step in range(5)]
    assert changed.figures(network) != task.figures(network)


@kinds
def test_parts_read_again_for_want_of_memory_are_the_same(kind):
    model = imaging()
    levels = [pair_levels(noise_pair(model, 60, 48, seed=seed), model)[0] for seed in (1, 2)]
    (roomy, network), (tight, _) = made(kind, levels, patch=4), made(kind, levels, patch=4, memory=0)
    assert [loss(roomy, network, step) for step in range(4)] == [loss(tight, network, step) for step in range(4)]
    assert roomy._load.cache_info().hits > 0
    assert tight._load.cache_info().maxsize == 1


@kinds
def test_scenes_of_other_ratios_or_bands_are_refused(kind, level, reference):
    image = np.ascontiguousarray(reference.image[2:26:2, :64, :64] / 1e4)
    with pytest.raises(RequestError, match=r"differ in ratio \(2, 3\): train them apart"):
        made(kind, [level, SimulatedPair(degrade(image, imaging(2)))])
    fewer = SimulatedPair(degrade(image[:10], imaging(3, bands=10)))
    if kind == "full":
        with pytest.raises(RequestError, match="differ in their number of bands"):
            made(kind, [level, fewer])
    else:
        task, network = made(kind, [level, fewer], patch=5)
        assert np.isfinite(loss(task, network))


@kinds
@pytest.mark.parametrize(("part", "sentence"), [("trained", "in the part to train on"), ("held", "held back")])
def test_a_part_without_any_valid_pixel_is_refused(kind, level, part, sentence):
    wald = level._wald
    valid = np.zeros(wald.reference.shape[1:], bool)
    valid[:, -18:] = part == "trained"
    valid[:, :48] = part == "held"
    empty = SimulatedPair(degrade(wald.reference, wald.model, valid=valid), "dry.tif")
    with pytest.raises(RequestError, match=rf"no pixel .*dry\.tif.*{sentence}|no pixel .*{sentence}.*dry\.tif"):
        made(kind, [empty])


def test_a_patch_is_no_larger_than_the_scene_and_an_epoch_sees_every_pixel(level):
    task = SubspaceTask([level], 5, patch=500)
    assert task.patch == min(part.width for _, part in task.parts)
    assert SubspaceTask([level], 5).patch == 12
    small = SubspaceTask([level], 5, patch=4)
    assert small.pixels == 24 * 18  # 4 are held back, 2 lie between
    assert small.steps_an_epoch(batch=2) == 14


@kinds
def test_training_makes_a_scene_better(kind, level):
    task, network = made(kind, [level], patch=6)
    before = task.validate(network)
    trainer = Trainer(network, task, Schedule(steps=40, batch=2, learning_rate=5e-3, validations=2))
    trainer.run()
    assert trainer.best_score > before.score + 0.2
    assert set(before.figures) == {"psnr", "sam", "ergas"}
    assert before.score == pytest.approx(before.figures["psnr"] - before.figures["sam"])
