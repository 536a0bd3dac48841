"""The loop trains, keeps the best, stops when it should, and resumes bit for bit."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from hsfuse.errors import RequestError, WorkError
from hsfuse.training.checkpoint import Checkpoint
from hsfuse.training.loop import Trainer, Validation
from hsfuse.training.recipe import PAPERS, recipe
from hsfuse.training.schedule import Schedule


class Slope:
    """Fits y = 2 x₀ − x₁ + noise; what validation says may be scripted."""

    def __init__(self, scores=None, broken_at=()):
        self.scores = None if scores is None else list(scores)
        self.broken_at, self.drawn = broken_at, 0
        self.judged = []

    def draw(self, generator, batch, share):
        x = generator.normal(size=(batch, 3))
        y = 2 * x[:, :1] - x[:, 1:2] + 0.1 * generator.normal(size=(batch, 1))
        self.drawn += 1
        if self.drawn in self.broken_at:
            y[0] = np.inf
        return tuple(torch.from_numpy(part).float()[share] for part in (x, y))

    def loss(self, network, drawn):
        x, y = drawn
        return (network(x).float() - y).square().mean()

    def validate(self, network):
        assert not network.training
        self.judged.append({name: value.clone() for name, value in network.state_dict().items()})
        bias = float(network.state_dict()["2.bias"])
        return Validation(self.scores.pop(0) if self.scores else -abs(bias), {"psnr": bias})


class Interrupts:
    """An observer as a user who presses Ctrl-C."""

    def __init__(self, after):
        self.left = after

    def start(self, stage, total, unit="tiles"):
        pass

    def advance(self, steps=1):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt

    def note(self, sentence):
        pass

    def finish(self):
        pass


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 1))


def state(path, request="r"):
    """All that a checkpoint holds but for the clock."""
    checkpoint = Checkpoint.read(path, request)
    content = {entry.name: getattr(checkpoint, entry.name) for entry in fields(checkpoint) if entry.name != "elapsed"}
    content["history"] = [
        (record.step, record.loss, record.learning_rate, record.best) for record in checkpoint.history
    ]
    return content


@pytest.mark.parametrize("half", [None, torch.bfloat16, torch.float16])
def test_a_training_that_was_broken_off_goes_on_as_if_it_had_not_been(tmp_path, half):
    settings = {"request": "r", "half": half}
    schedule = Schedule(steps=12, batch=4, validations=4)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    Trainer(network(), Slope(), schedule, checkpoint=whole, **settings).run()
    with pytest.raises(KeyboardInterrupt):
        Trainer(network(), Slope(), schedule, checkpoint=broken, **settings).run(Interrupts(8))
    again = Trainer(network(), Slope(), schedule, checkpoint=broken, **settings)
    assert again.step == 6  # the checkpoint before
    again.run()
    assert again.step == 12
    expected, got = state(whole), state(broken)
    assert len(expected["moments"]) == 4
    assert expected["loss_scale"] != {} or half != torch.float16
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=0, atol=0, msg=name) if isinstance(value, dict) else None
        assert isinstance(value, dict) or got[name] == value, name


def test_a_training_that_is_over_is_not_trained_again(tmp_path):
    schedule = Schedule(steps=4)
    Trainer(network(), Slope(), schedule, checkpoint=tmp_path / "c").run()
    task = Slope()
    again = Trainer(network(), task, schedule, checkpoint=tmp_path / "c")
    again.run()
    assert (task.drawn, task.judged, again.step) == (0, [], 4)


def test_checkpoints_of_others_are_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    Trainer(network(), Slope(), Schedule(steps=1), checkpoint=path, request="one").run()
    with pytest.raises(RequestError, match="other inputs or options: repeat those, or leave `resume` out"):
        Trainer(network(), Slope(), Schedule(steps=1), checkpoint=path, request="two")
    path.write_text("text")
    with pytest.raises(RequestError, match=r"c\.safetensors is no checkpoint"):
        Trainer(network(), Slope(), Schedule(steps=1), checkpoint=path)
    save_file({"a": torch.zeros(1)}, path, metadata={"hsfuse": '{"format": "hsfuse-checkpoint/9"}'})
    with pytest.raises(RequestError, match="another version"):
        Trainer(network(), Slope(), Schedule(steps=1), checkpoint=path)


def test_the_best_on_validation_is_kept_though_training_goes_on():
    task = Slope([1.0, 2.0, 5.0, 3.0, 5.0])
    trainer = Trainer(network(), task, Schedule(steps=4, validations=4))
    trainer.run()
    assert [record.best for record in trainer.history] == [True, True, True, False, False]
    assert (trainer.best_score, len(task.judged)) == (5.0, 5)
    torch.testing.assert_close(trainer.best_weights, task.judged[2], rtol=0, atol=0)
    assert not torch.equal(trainer.best_weights["0.weight"], trainer.averaged["0.weight"])


@pytest.mark.parametrize("first", [9.0, float("nan"), float("-inf")])
def test_what_training_starts_from_is_the_first_best(first):
    trainer = Trainer(network(), Slope([first, 1.0, 2.0]), Schedule(steps=2, validations=2))
    trainer.run()
    assert trainer.history[0].best
    assert trainer.history[0].loss is None
    if first == 9.0:
        torch.testing.assert_close(trainer.best_weights, network().state_dict(), rtol=0, atol=0)


def test_training_stops_when_validation_has_not_got_better_for_long():
    scores = [0.0, 1.0, 0.5, 0.5, 2.0, 1.0, 1.0, 1.0, 9.0]
    trainer = Trainer(network(), Slope(scores), Schedule(steps=20, validations=20, patience=3))
    trainer.run()
    assert trainer.step == 7
    assert trainer.best_score == 2.0
    patient = Trainer(network(), Slope([5.0, *[1.0] * 20]), Schedule(steps=20))
    patient.run()
    assert patient.step == 20


@pytest.mark.parametrize("half", [None, torch.float16])
def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path, half):
    """It leaves weights, their mean and the optimiser as they were."""
    seen = {}

    class Keeps(Interrupts):
        def advance(self, steps=1):
            seen[trainer.step] = (
                {name: value.clone() for name, value in trainer.network.state_dict().items()},
                {name: value.clone() for name, value in trainer.averaged.items()},
            )

    schedule = Schedule(steps=9, learning_rate=0.25, validations=3)
    task = Slope(broken_at=(3, 8))
    trainer = Trainer(network(), task, schedule, checkpoint=tmp_path / "c", request="r", half=half)
    trainer.run(Keeps(0))
    assert trainer.step == 9
    assert all(torch.isfinite(value).all() for value in trainer.network.state_dict().values())
    if half is not None:
        assert trainer.skipped >= 2  # and until the scale of the loss is found
        return
    assert trainer.skipped == 2
    torch.testing.assert_close(seen[3], seen[2], rtol=0, atol=0)
    assert not torch.equal(seen[4][0]["0.weight"], seen[3][0]["0.weight"])
    assert [record.skipped for record in trainer.history] == [0, 1, 1, 2]
    assert "1 steps skipped so far" in trainer.history[1].sentence
    assert all(np.isfinite(record.loss) for record in trainer.history[1:])
    assert Checkpoint.read(tmp_path / "c", "r").skipped == 2


def test_many_steps_in_a_row_that_are_not_finite_end_the_training():
    trainer = Trainer(network(), Slope(broken_at=range(4, 99)), Schedule(steps=90, learning_rate=0.25))
    with pytest.raises(WorkError, match=r"25 steps in a row, up to step 27: .*\(`learning_rate`, now 0\.25\)"):
        trainer.run()
    assert all(torch.isfinite(value).all() for value in trainer.best_weights.values())


@pytest.mark.parametrize(("batch", "accumulate"), [(8, 8), (8, 3), (5, 2)])
def test_a_batch_in_parts_trains_what_it_trains_as_a_whole(batch, accumulate):
    whole, parts = (
        Trainer(network(), Slope(), Schedule(steps=20, batch=batch, accumulate=count)) for count in (1, accumulate)
    )
    whole.run()
    parts.run()
    torch.testing.assert_close(parts.network.state_dict(), whole.network.state_dict(), rtol=1e-5, atol=1e-6)
    assert parts.task.drawn == accumulate * whole.task.drawn
    losses = [[record.loss for record in trainer.history[1:]] for trainer in (parts, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    with pytest.raises(ValueError, match="a batch of 5 cannot be computed in 6 parts"):
        Schedule(steps=1, batch=5, accumulate=6)


def test_no_more_is_drawn_than_is_trained_on_and_what_fails_in_drawing_is_told():
    task = Slope()
    Trainer(network(), task, Schedule(steps=7)).run()
    assert task.drawn == 7

    class Broken(Slope):
        def draw(self, generator, batch, share):
            raise RequestError("the scene breaks off")

    with pytest.raises(RequestError, match="the scene breaks off"):
        Trainer(network(), Broken(), Schedule(steps=7)).run()


def test_half_precision_is_for_the_network_alone():
    seen = []

    class Watches(Slope):
        def draw(self, generator, batch, share):
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().draw(generator, batch, share)

        def loss(self, network, drawn):
            seen.append(torch.is_autocast_enabled("cpu"))
            fused = network(drawn[0])
            assert fused.dtype == torch.bfloat16
            return fused.float().square().mean()

    Trainer(network(), Watches(), Schedule(steps=1), half=torch.bfloat16).run()
    assert seen == [False, False]


def test_the_papers_recipes():
    khader, zhao = (PAPERS[name] for name in ("mgdunlss", "ssrfn"))
    schedule = Schedule(steps=90, learning_rate=1e-3, recipe=khader, steps_an_epoch=3)
    rates = [schedule.rate(schedule.progress(step, 0.0), step) for step in (0, 14, 15, 29, 30)]
    assert rates == [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4]
    flat = Schedule(steps=90, learning_rate=1e-4, recipe=zhao, steps_an_epoch=3)
    assert {flat.rate(step / 90, step) for step in range(90)} == {1e-4}
    with pytest.raises(RequestError, match="`optimiser` is 'sgd': choose default or paper"):
        recipe("sgd", "ssrfn")


@pytest.mark.parametrize("name", ["mgdunlss", "ssrfn"])
def test_the_papers_optimiser_is_adam_with_its_betas(name):
    """Step by step what torch's own Adam does, the weights judged as they are and no gradient bounded."""
    settings = PAPERS[name]
    trained = Trainer(network(), Slope(), Schedule(steps=6, learning_rate=1e-2, recipe=settings, batch=4))
    trained.run()
    plain, task = network(), Slope()
    adam = torch.optim.Adam(plain.parameters(), lr=1e-2, betas=settings.betas)
    for step in range(6):
        adam.zero_grad()
        task.loss(plain, task.draw(np.random.default_rng((0, step)), 4, slice(0, 4))).backward()
        for group in adam.param_groups:
            group["lr"] = 1e-2 * 0.5 ** (step // 5 if name == "mgdunlss" else 0)
        adam.step()
    torch.testing.assert_close(trained.network.state_dict(), plain.state_dict(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(trained.averaged, trained.network.state_dict(), rtol=0, atol=0)


def test_training_lowers_the_loss_and_what_is_judged_is_the_mean_of_the_weights():
    task = Slope()
    trainer = Trainer(network(), task, Schedule(steps=300, batch=16, learning_rate=3e-2, validations=3))
    trainer.run()
    losses = [record.loss for record in trainer.history[1:]]
    assert losses[-1] < 0.1 * losses[0]
    torch.testing.assert_close(task.judged[-1], trainer.averaged, rtol=0, atol=0)
    assert not torch.equal(trainer.averaged["0.weight"], trainer.network.state_dict()["0.weight"])
    assert [record.step for record in trainer.history] == [0, 100, 200, 300]


def test_a_budget_of_time_ends_in_time():
    trainer = Trainer(network(), Slope(), Schedule(seconds=0.3))
    trainer.run()
    assert 0.3 <= trainer.elapsed < 3
    assert trainer.history[-1].step == trainer.step > 0


@given(st.integers(1, 5000), st.floats(1e-5, 1))
def test_the_learning_rate_rises_to_its_maximum_and_falls(steps, maximum):
    schedule = Schedule(steps=steps, learning_rate=maximum)
    rates = [schedule.rate(schedule.progress(step, 0.0)) for step in range(0, steps + 1, max(steps // 50, 1))]
    assert min(rates) > 0
    assert max(rates) <= maximum
    assert rates == sorted(rates[: rates.index(max(rates)) + 1]) + sorted(rates[rates.index(max(rates)) + 1 :])[::-1]
    assert schedule.rate(1.0) == pytest.approx(0.01 * maximum)


def test_a_schedule_has_one_budget():
    for budgets in ({}, {"steps": 3, "seconds": 3.0}):
        with pytest.raises(ValueError, match="either steps or seconds"):
            Schedule(**budgets)
