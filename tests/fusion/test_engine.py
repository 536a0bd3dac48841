"""The engine gives the same image tiled and untiled, keeps nodata to its pixels, and stops when a stage fails."""

import threading
import time

import numpy as np
import pytest
import torch

from hsfuse.errors import WorkError
from hsfuse.fusion.compute import CPU, Compute
from hsfuse.fusion.engine import STAGES, fuse_tiles
from hsfuse.fusion.methods import METHODS, choose_method
from hsfuse.fusion.tile_work import TileWork
from hsfuse.fusion.tiles import TilePlan
from hsfuse.progress import SILENT
from hsfuse.stages import Stages
from hsfuse.subspace.patch import PairPatch

TILED = ["gsa", "mtf-glp", "mtf-glp-subspace", "bicubic"]


class ArraySink:
    """Collects rows, and checks that they come in order."""

    def __init__(self):
        self.rows, self.valid, self.next = [], [], 0

    def write(self, row, values, valid):
        assert row == self.next
        self.next += values.shape[1]
        self.rows.append(values.copy())
        self.valid.append(valid.copy())

    @property
    def image(self):
        return np.concatenate(self.rows, axis=1)

    @property
    def mask(self):
        return np.concatenate(self.valid)


def fused(source, fitted, *, tile, overlap=None, align=64):
    rows, columns = source.whole.hsi_valid.shape
    overlap = 2 * fitted.margin + 4 if overlap is None else overlap
    margin = min(fitted.margin, overlap // 2)
    plan = TilePlan.make(columns, rows, source.ratio, tile=tile, overlap=overlap, margin=margin)
    sink = ArraySink()
    fuse_tiles(source, TileWork(fitted, CPU), plan, [sink], bands=len(source.whole.hsi), progress=SILENT, align=align)
    return sink


@pytest.mark.parametrize("name", TILED)
def test_methods_of_finite_reach_do_not_show_their_tiles(name, made_pair):
    source, model = made_pair()
    fitted = choose_method(name).method.fit([PairPatch.of(source.whole)], model)
    whole, tiled = fused(source, fitted, tile=100), fused(source, fitted, tile=36)
    spread = np.ptp(whole.image)
    assert len(tiled.rows) > 1
    assert np.abs(whole.image - tiled.image).max() < 1e-3 * spread


@pytest.mark.parametrize("name", [*TILED, "mgdunlss"])
def test_a_linear_gradient_has_no_seam(name, made_pair):
    ramp = np.linspace(0.2, 1, 180, dtype=np.float32)
    gradient = (ramp[:, None] + ramp[None, :])[None] * np.linspace(0.5, 1, 24, dtype=np.float32)[:, None, None]
    source, model = made_pair(image=gradient)
    fitted = choose_method(name).method.fit([PairPatch.of(source.whole)], model)
    image = fused(source, fitted, tile=48).image[:, 12:-12, 12:-12]
    bends = np.abs(np.diff(image, n=2, axis=1)).max(), np.abs(np.diff(image, n=2, axis=2)).max()
    assert max(bends) < 2e-3 * np.ptp(gradient)


def test_steps_across_the_networks_tile_borders_are_no_larger_than_elsewhere(made_pair):
    source, model = made_pair()
    fitted = choose_method("mgdunlss").method.fit([PairPatch.of(source.whole)], model)
    overlap = 2 * fitted.margin + 4
    plan = TilePlan.make(66, 60, 3, tile=48, overlap=overlap, margin=fitted.margin)
    whole, tiled = fused(source, fitted, tile=100).image, fused(source, fitted, tile=48).image
    steps = np.abs(np.diff(tiled, axis=2)).mean(axis=(0, 1))
    borders = [start * 3 + offset for start in plan.columns.starts[1:] for offset in range(overlap * 3)]
    elsewhere = np.setdiff1d(np.arange(len(steps)), borders)
    usual = np.abs(np.diff(whole, axis=2)).mean(axis=(0, 1))
    assert steps[borders].mean() / usual[borders].mean() < 1.02 * steps[elsewhere].mean() / usual[elsewhere].mean()
    assert np.abs(whole - tiled).mean() < 2e-3 * np.ptp(whole)


def test_holes_come_out_as_holes_and_touch_nothing_else(made_pair):
    source, model = made_pair()
    fitted = choose_method("mtf-glp").method.fit([PairPatch.of(source.whole)], model)
    clean = fused(source, fitted, tile=36).image
    source.whole.hsi_valid[20:23, 30:34] = False
    source.whole.hsi[:, 20:23, 30:34] = np.nan
    source.whole.msi_valid[5:9, 5:9] = False
    source.whole.msi[:, 5:9, 5:9] = np.nan
    holed = fused(source, fitted, tile=36)
    expected = np.ones(holed.mask.shape, dtype=bool)
    expected[60:69, 90:102] = False
    expected[5:9, 5:9] = False
    np.testing.assert_array_equal(holed.mask, expected)
    assert np.isfinite(holed.image).all()
    far = np.ones_like(expected)
    far[40:90, 70:122] = False
    far[:30, :30] = False
    np.testing.assert_allclose(holed.image[:, far], clean[:, far], atol=1e-5)


def test_an_empty_tile_is_not_computed(made_pair):
    source, _ = made_pair(rows=30, columns=30)
    source.whole.hsi_valid[:] = False

    class Refuses:
        margin = 2

        def __call__(self, hsi, msi):
            raise AssertionError("computed")

    result = fused(source, Refuses(), tile=30)
    assert not result.mask.any()


class Failing:
    """A method that fails, or gives what is not finite."""

    margin = 2

    def __init__(self, error=None):
        self.error = error

    def __call__(self, hsi, msi):
        if self.error is not None:
            raise self.error
        return torch.full((len(hsi), *msi.shape[-2:]), float("nan"))


def test_what_is_not_finite_in_float32_is_an_error(made_pair):
    source, _ = made_pair(rows=30, columns=30)
    with pytest.raises(WorkError, match="not finite"):
        fused(source, Failing(), tile=30)


def test_a_full_device_says_what_to_do(made_pair):
    source, _ = made_pair(rows=30, columns=30)
    with pytest.raises(WorkError, match="`tile`"):
        fused(source, Failing(torch.OutOfMemoryError("no")), tile=30)


@pytest.mark.parametrize("stage", ["read", "write"])
def test_a_stage_that_fails_stops_the_run_with_its_own_error(stage, made_pair):
    source, model = made_pair(rows=40, columns=40)
    fitted = choose_method("bicubic").method.fit([PairPatch.of(source.whole)], model)

    class BrokenSink(ArraySink):
        def write(self, row, values, valid):
            raise WorkError("the disk is full")

    class BrokenSource(type(source)):
        def read(self, window):
            raise WorkError("the file breaks off")

    chosen = BrokenSource(source.whole, 3) if stage == "read" else source
    sink = ArraySink() if stage == "read" else BrokenSink()
    plan = TilePlan.make(40, 40, 3, tile=16, overlap=4, margin=2)
    with pytest.raises(WorkError, match="breaks off" if stage == "read" else "disk is full"):
        fuse_tiles(chosen, TileWork(fitted, CPU), plan, [sink], bands=24, progress=SILENT, align=8)


@pytest.mark.parametrize("number", [1, 2])
def test_a_signal_while_a_thread_starts_leaves_none_behind(number, made_pair, monkeypatch):
    """It would wait for its queue for ever, and the process, at its end, for the thread."""
    source, model = made_pair(rows=40, columns=40)
    fitted = choose_method("bicubic").method.fit([PairPatch.of(source.whole)], model)
    plan = TilePlan.make(40, 40, 3, tile=16, overlap=4, margin=2)
    honest, started = threading.Thread.start, []

    def start(thread):
        honest(thread)
        started.append(thread)
        if len(started) == number:
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(KeyboardInterrupt):
        fuse_tiles(source, TileWork(fitted, CPU), plan, [ArraySink()], bands=24, progress=SILENT, align=8)
    for thread in started:
        thread.join(timeout=5)
    assert [thread.is_alive() for thread in started] == [False] * number


def test_half_precision_that_overflows_is_computed_again(made_pair):
    source, _ = made_pair(rows=30, columns=30)

    class OverflowsInHalf:
        margin = 2

        def __call__(self, hsi, msi):
            value = float("inf") if torch.is_autocast_enabled("cpu") else 1.0
            return torch.full((len(hsi), *msi.shape[-2:]), value)

    plan = TilePlan.make(30, 30, 3, tile=30, overlap=4, margin=2)
    sink = ArraySink()
    half = Compute("cpu", "bf16")
    redone = fuse_tiles(source, TileWork(OverflowsInHalf(), half), plan, [sink], bands=24, progress=SILENT)
    assert redone == 1
    assert (sink.image == 1).all()


def test_every_method_says_what_it_is():
    assert all(entry.summary and entry.name == name for name, entry in METHODS.items())


@pytest.mark.parametrize("done", [0, 64, 128])
def test_a_run_that_goes_on_gives_the_same_numbers(done, made_pair):
    source, model = made_pair()
    fitted = choose_method("mtf-glp").method.fit([PairPatch.of(source.whole)], model)
    whole = fused(source, fitted, tile=36)
    plan = TilePlan.make(66, 60, 3, tile=36, overlap=2 * fitted.margin + 4, margin=fitted.margin)
    sink, read = ArraySink(), []

    class Counted:
        def read(self, window):
            read.append(window)
            return source.read(window)

    sink.next = done
    fuse_tiles(
        Counted(),
        TileWork(fitted, CPU),
        plan,
        [sink],
        bands=len(source.whole.hsi),
        progress=SILENT,
        align=64,
        done=done,
    )
    np.testing.assert_array_equal(sink.image, whole.image[:, done:])
    np.testing.assert_array_equal(sink.mask, whole.mask[done:])
    assert (len(read) < len(plan)) == (done == 128)


def test_a_tile_that_the_device_cannot_hold_is_computed_in_quarters(made_pair, caplog):
    source, model = made_pair()
    fitted = choose_method("mtf-glp").method.fit([PairPatch.of(source.whole)], model)

    class Small:
        margin = fitted.margin
        most = 40

        def __call__(self, hsi, msi):
            if max(hsi.shape[-2:]) > self.most:
                raise torch.OutOfMemoryError("too much")
            return fitted(hsi, msi)

    small = Small()
    whole, quartered = fused(source, fitted, tile=100), fused(source, small, tile=100)
    assert np.abs(whole.image - quartered.image).max() < 1e-5 * np.ptp(whole.image)
    assert "in quarters" in caplog.text
    small.most = 3
    with pytest.raises(WorkError, match="no memory for a tile of 66×60 HSI pixels, nor for a part of it"):
        fused(source, small, tile=100)


def test_the_table_of_stages_adds_up(made_pair):
    source, model = made_pair()
    fitted = choose_method("bicubic").method.fit([PairPatch.of(source.whole)], model)
    plan, stages = TilePlan.make(66, 60, 3, tile=36, overlap=8, margin=2), Stages(*STAGES)

    class Slow:
        def read(self, window):
            time.sleep(0.05)
            return source.read(window)

    begun = time.perf_counter()
    fuse_tiles(Slow(), TileWork(fitted, CPU), plan, [ArraySink()], bands=24, progress=SILENT, stages=stages)
    seconds, pixels = time.perf_counter() - begun, plan.rows.edge * plan.columns.edge
    told = {stage.name: stage for stage in stages.table}
    assert list(told) == list(STAGES)
    assert told["read"].worked >= 0.05 * len(plan)
    assert told["compute"].waited > 0
    assert sum(told[name].worked for name in STAGES[1:5]) + told["compute"].waited <= seconds
    assert told["blend"].megabytes == pytest.approx(len(plan) * 24 * 9 * 4 * pixels / 2**20)
