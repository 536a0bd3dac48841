"""The selective scan on a CUDA device: parity, speed against mamba-ssm, memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hsfuse.scan import available_backends, explain_backend, selective_scan

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

Operands = dict[str, Tensor]


def make_operands(batch: int, channels: int, length: int, states: int, dtype: torch.dtype = torch.float32) -> Operands:
    """Random operands on the card; A, D and the bias in float32 as a model has them."""
    torch.manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, device="cuda")

    moving = {
        "u": normal(batch, channels, length),
        "delta": normal(batch, channels, length),
        "B": normal(batch, states, length),
        "C": normal(batch, states, length),
        "z": normal(batch, channels, length),
    }
    fixed = {
        "A": -4 * torch.rand(channels, states, device="cuda"),
        "D": normal(channels),
        "delta_bias": normal(channels),
    }
    return {**{name: tensor.to(dtype) for name, tensor in moving.items()}, **fixed}


def scan(operands: Operands) -> dict[str, Tensor]:
    """Output and gradients with the backend of the environment."""
    leaves = {name: operand.detach().requires_grad_() for name, operand in operands.items()}
    y = selective_scan(**leaves, delta_softplus=True)
    weights = torch.linspace(-1, 1, y.numel(), device="cuda").reshape(y.shape).to(y)
    gradients = torch.autograd.grad((y * weights).sum(), list(leaves.values()))
    return {"y": y.detach(), **dict(zip(leaves, gradients, strict=True))}


def milliseconds(function: object, *arguments: object) -> float:
    """Median of ten runs."""
    assert callable(function)
    times = []
    for _ in range(13):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function(*arguments)
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times[3:])[5]


def test_a_card_never_falls_back_to_the_reference() -> None:
    assert explain_backend("cuda").name in ("mamba_ssm", "triton")


@pytest.mark.parametrize(
    ("shape", "dtype", "tolerance"),
    [
        ((1, 1, 1, 1), torch.float32, 1e-5),
        ((2, 20, 333, 16), torch.float32, 1e-5),
        ((1, 128, 4096, 64), torch.float32, 1e-5),
        ((1, 5, 1000, 256), torch.float32, 1e-5),
        ((1, 3, 70_001, 7), torch.float32, 1e-5),
        ((1, 64, 2048, 64), torch.float16, 4e-3),
        ((1, 64, 2048, 64), torch.bfloat16, 3e-2),
    ],
)
@pytest.mark.parametrize("backend", ["triton", "mamba_ssm"])
def test_parity_with_the_reference(
    backend: str, shape: tuple[int, ...], dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = available_backends("cuda")[backend]
    if missing:
        pytest.skip(missing)
    operands = make_operands(*shape, dtype)
    monkeypatch.setenv("HSFUSE_SCAN", backend)
    result = scan(operands)
    monkeypatch.setenv("HSFUSE_SCAN", "reference")
    truth = scan({name: operand.double() for name, operand in operands.items()})
    for name, expected in truth.items():
        error = (result[name].double() - expected).abs().max() / expected.abs().max()
        assert error < tolerance, f"{name}: {error:.1e}"


def test_gradients_repeat_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSFUSE_SCAN", "triton")
    operands = make_operands(2, 64, 3000, 16)
    first, second = scan(operands), scan(operands)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("length", [4096, 65_536])
@pytest.mark.parametrize("work", ["forward", "forward and backward"])
def test_no_slower_than_mamba_ssm(length: int, work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = available_backends("cuda")["mamba_ssm"]
    if missing:
        pytest.skip(missing)
    operands = make_operands(1, 128, length, 64, torch.float16)
    times = {}
    for backend in ("triton", "mamba_ssm"):
        monkeypatch.setenv("HSFUSE_SCAN", backend)
        if work == "forward":
            with torch.no_grad():
                times[backend] = milliseconds(lambda: selective_scan(**operands, delta_softplus=True))
        else:
            times[backend] = milliseconds(scan, operands)
    assert times["triton"] < 1.2 * times["mamba_ssm"], times


def test_memory_stays_far_below_length_times_channels_times_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSFUSE_SCAN", "triton")
    operands = make_operands(1, 128, 65_536, 64)
    scan(operands)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    scan(operands)
    used = torch.cuda.max_memory_allocated() - before
    assert used < 0.3 * 4 * 65_536 * 128 * 64
