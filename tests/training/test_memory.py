"""A step of training fits into the memory that there is, or says why not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from hsfuse.errors import RequestError
from hsfuse.training.memory import bytes_a_patch, within_memory
from hsfuse.training.schedule import Schedule
from hsfuse.training.tasks import SubspaceTask

from .conftest import coefficients_network


@pytest.fixture
def start(level):
    return SimpleNamespace(task=SubspaceTask([level], 5, patch=5), network=coefficients_network())


def test_what_a_patch_takes_grows_with_it(start, level):
    larger = SimpleNamespace(task=SubspaceTask([level], 5, patch=7), network=start.network)
    small, large = bytes_a_patch(start), bytes_a_patch(larger)
    assert small > 4 * 8 * 15 * 15  # at least one layer of features
    assert large / small == pytest.approx(49 / 25, rel=0.25)


def test_it_leaves_the_network_and_what_is_drawn_as_they_were(start):
    before = {name: value.clone() for name, value in start.network.state_dict().items()}
    first, second = bytes_a_patch(start), bytes_a_patch(start)
    assert first == second
    assert all(torch.equal(value, before[name]) for name, value in start.network.state_dict().items())
    assert all(parameter.grad is None for parameter in start.network.parameters())


def test_a_batch_is_cut_into_as_many_parts_as_memory_asks_for(start):
    asked, each = Schedule(steps=1, batch=8), 1.25 / 0.6 * bytes_a_patch(start)
    assert within_memory(start, asked, int(9 * each)) == (asked, None)
    cut, told = within_memory(start, asked, int(3.5 * each))
    assert cut.accumulate == 3
    assert "a batch of 8 patches takes" in told
    assert "in 3 parts" in told
    finer = Schedule(steps=1, batch=8, accumulate=4)
    assert within_memory(start, finer, int(3.5 * each)) == (finer, None)
    with pytest.raises(RequestError, match=r"a patch of 5 degraded HSI pixels.*`patch`"):
        within_memory(start, asked, int(each / 2))
