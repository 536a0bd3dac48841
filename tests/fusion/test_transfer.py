"""Tiles reach a device and come back; a stand-in on the CPU does what a card does late, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hsfuse.errors import WorkError
from hsfuse.fusion import tile_work
from hsfuse.fusion.card import free_card_bytes, tile_on_card
from hsfuse.fusion.compute import CPU, Compute
from hsfuse.fusion.engine import fuse_tiles
from hsfuse.fusion.methods import choose_method
from hsfuse.fusion.tile_work import TileWork
from hsfuse.fusion.tiles import TilePlan
from hsfuse.fusion.transfer import AT_HOME, lane_to
from hsfuse.progress import SILENT
from hsfuse.stages import Stages
from hsfuse.subspace.patch import PairPatch

PLAN = TilePlan.make(66, 60, 3, tile=36, overlap=8, margin=2)


class Rows:
    """Collects rows."""

    def __init__(self):
        self.rows = []

    def write(self, row, values, valid):
        self.rows.append(np.where(valid, values, np.nan))

    @property
    def image(self):
        return np.concatenate(self.rows, axis=1)


class LateLane:
    """A card on the CPU: what leaves is computed, and spoilt where it was, only when it is waited for."""

    ahead = 1

    def __init__(self):
        self.events = []

    def bring(self, *tensors):
        self.events.append("in")
        return tuple(tensor.clone() for tensor in tensors)

    def fetch(self, *tensors):
        return LateTensors(self, tensors)


class LateTensors:
    def __init__(self, lane, tensors):
        self.lane, self.tensors, self.computed = lane, tensors, False

    @property
    def nbytes(self):
        return sum(tensor.nbytes for tensor in self.tensors)

    def wait_computed(self):
        self.computed = True

    def arrived(self):
        assert self.computed
        self.lane.events.append("out")
        here = tuple(tensor.clone() for tensor in self.tensors)
        with torch.inference_mode():
            for tensor in self.tensors:
                tensor.fill_(float("nan"))
        return here


def fused(source, method, compute=CPU, stages=None):
    sink = Rows()
    redone = fuse_tiles(
        source, TileWork(method, compute), PLAN, [sink], bands=24, progress=SILENT, align=64, stages=stages
    )
    return sink.image, redone


@pytest.fixture
def late(monkeypatch):
    lane = LateLane()
    monkeypatch.setattr(tile_work, "lane_to", lambda device: lane)
    return lane


def test_to_the_cpu_nothing_moves():
    lane, tensor = lane_to(torch.device("cpu")), torch.ones(2)
    assert lane is AT_HOME
    assert lane.ahead == 0
    assert lane.bring(tensor)[0] is tensor
    leaving = lane.fetch(tensor)
    leaving.wait_computed()
    assert leaving.arrived()[0] is tensor
    assert leaving.nbytes == 8


@pytest.mark.parametrize("holes", [False, True])
def test_tiles_that_come_late_are_the_same_to_the_bit(made_pair, monkeypatch, holes):
    source, model = made_pair()
    fitted = choose_method("mtf-glp").method.fit([PairPatch.of(source.whole)], model)
    if holes:  # the middle one of three columns of tiles has no valid pixel
        source.whole.hsi_valid[:, PLAN.columns.starts[1] :][:, : PLAN.columns.edge] = False
    expected, _ = fused(source, fitted)
    lane = LateLane()
    monkeypatch.setattr(tile_work, "lane_to", lambda device: lane)
    found, redone = fused(source, fitted)
    np.testing.assert_array_equal(found, expected)
    assert redone == 0
    computed = len(PLAN) * 2 // 3 if holes else len(PLAN)
    assert lane.events.count("in") == lane.events.count("out") == computed


def test_a_card_begins_a_tile_before_it_is_asked_for_the_last(made_pair, late):
    source, model = made_pair()
    fused(source, choose_method("bicubic").method.fit([PairPatch.of(source.whole)], model))
    assert late.events == ["in", *["in", "out"] * (len(PLAN) - 1), "out"]


def test_a_tile_that_is_not_finite_in_half_is_computed_again_though_the_next_has_begun(made_pair, late):
    source, model = made_pair()
    bicubic = choose_method("bicubic").method.fit([PairPatch.of(source.whole)], model)
    calls = []

    class OverflowsOnce:
        margin = 2

        def __call__(self, hsi, msi):
            calls.append(torch.is_autocast_enabled("cpu"))
            spoilt = float("inf") if len(calls) == 2 else 1.0
            return bicubic(hsi, msi) * spoilt

    found, redone = fused(source, OverflowsOnce(), Compute("cpu", "bf16"))
    assert redone == 1
    assert calls == [True, True, True, False, *[True] * (len(PLAN) - 3)]
    np.testing.assert_array_equal(found, fused(source, bicubic)[0])


def test_memory_that_runs_out_while_a_tile_is_under_way(made_pair, late, caplog):
    source, model = made_pair()
    fitted = choose_method("mtf-glp").method.fit([PairPatch.of(source.whole)], model)

    class Small:
        margin = fitted.margin
        most = 30

        def __call__(self, hsi, msi):
            if max(hsi.shape[-2:]) > self.most:
                raise torch.OutOfMemoryError("too much")
            return fitted(hsi, msi)

    small, (whole, _) = Small(), fused(source, fitted)
    assert np.abs(fused(source, small)[0] - whole).max() < 1e-5 * np.ptp(whole)
    assert "in quarters" in caplog.text
    small.most = 3
    with pytest.raises(WorkError, match="no memory for a tile of 28×34 HSI pixels, nor for a part of it"):
        fused(source, small)


def test_what_arrives_is_counted(made_pair, late):
    source, model = made_pair()
    stages = Stages()
    fused(source, choose_method("bicubic").method.fit([PairPatch.of(source.whole)], model), stages=stages)
    told = {stage.name: stage for stage in stages.table}
    assert told["to host"].megabytes == pytest.approx(told["blend"].megabytes)


GB = 2**30


@pytest.mark.parametrize(("free", "edge"), [(None, 64), (80 * GB, 64), (GB, 64), (GB // 4, 39), (GB // 8, 30), (0, 30)])
def test_a_tile_is_as_large_as_the_card_holds(free, edge):
    found = tile_on_card(64, 30, ratio=3, bands=150, bytes_a_pixel=12_000, free=free)
    assert found == edge
    if free and edge > 30:
        assert (found * 3) ** 2 * (12_000 + 150 * 4) < free


def test_a_tile_smaller_than_the_least_stays_as_it_is():
    assert tile_on_card(10, 30, ratio=3, bands=150, bytes_a_pixel=12_000, free=0) == 10


def test_the_cpu_has_no_card():
    assert free_card_bytes(torch.device("cpu")) is None
