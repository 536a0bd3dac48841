"""Deterministic algorithms are asked for where they were wanted, and torch is left as it was."""

import pytest
import torch

from hsfuse.errors import RequestError, WorkError
from hsfuse.training.repeatable import check_deterministic, deterministic_algorithms


def test_on_cuda_the_setting_of_cublas_must_be_there(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    check_deterministic(torch.device("cpu"))
    with pytest.raises(RequestError, match="`deterministic` needs CUBLAS_WORKSPACE_CONFIG=:4096:8 in the environment"):
        check_deterministic(torch.device("cuda", 1))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    check_deterministic(torch.device("cuda", 1))


def test_torch_is_told_and_left_as_it_was():
    benchmark = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    with deterministic_algorithms(wanted=False):
        assert not torch.are_deterministic_algorithms_enabled()
    with deterministic_algorithms(wanted=True):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = benchmark


def test_what_cannot_repeat_is_one_sentence():
    with (
        pytest.raises(WorkError, match=r"cannot compute this so that it repeats: leave `deterministic` out \("),
        deterministic_algorithms(wanted=True),
    ):
        raise RuntimeError("kthvalue CUDA does not have a deterministic implementation")
    with pytest.raises(RuntimeError, match="something else"), deterministic_algorithms(wanted=True):
        raise RuntimeError("something else")
