"""The selective scan on a CUDA device: parity, a second card, speed against mamba-ssm, memory."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hsfuse.errors import RequestError
from hsfuse.scan import available_backends, explain_backend, selective_scan

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

Operands = dict[str, Tensor]


def make_operands(
    batch: int, channels: int, length: int, states: int, dtype: torch.dtype = torch.float32, device: str = "cuda"
) -> Operands:
    """Random operands on the card; A, D and the bias in float32 as a model has them."""
    torch.manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device)

    moving = {
        "u": normal(batch, channels, length),
        "delta": normal(batch, channels, length),
        "B": normal(batch, states, length),
        "C": normal(batch, states, length),
        "z": normal(batch, channels, length),
    }
    fixed = {
        "A": -4 * torch.rand(channels, states, device=device),
        "D": normal(channels),
        "delta_bias": normal(channels),
    }
    return {**{name: tensor.to(dtype) for name, tensor in moving.items()}, **fixed}


def scan(operands: Operands, *, state: bool = False) -> dict[str, Tensor]:
    """Output and gradients with the backend of the environment; with ``state`` those through the last state too."""
    leaves = {name: operand.detach().requires_grad_() for name, operand in operands.items()}
    if state:
        y, last = selective_scan(**leaves, delta_softplus=True, return_last_state=True)
        named = {"y": y, "last": last}
    else:
        named = {"y": selective_scan(**leaves, delta_softplus=True)}
    weights = {k: torch.linspace(-1, 1, v.numel(), device=v.device).reshape(v.shape).to(v) for k, v in named.items()}
    total = sum(((named[k] * weights[k]).double().sum() for k in named), torch.zeros((), device=operands["u"].device))
    gradients = torch.autograd.grad(total, list(leaves.values()))
    return {**{k: v.detach() for k, v in named.items()}, **dict(zip(leaves, gradients, strict=True))}


def worst(result: dict[str, Tensor], truth: dict[str, Tensor]) -> tuple[float, str]:
    """The largest deviation, as a fraction of the largest true value, and where it is; NaN is infinite."""
    errors = [
        (float((result[name].double() - true).abs().max() / true.abs().max()), name) for name, true in truth.items()
    ]
    return max((math.inf if math.isnan(error) else error, name) for error, name in errors)


def needs(backend: str) -> None:
    """Skip the test, with the reason, where the backend does not work."""
    if missing := available_backends("cuda")[backend]:
        pytest.skip(missing)


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
    needs(backend)
    operands = make_operands(*shape, dtype)
    monkeypatch.setenv("HSFUSE_SCAN", backend)
    result = scan(operands)
    assert result["y"].dtype == dtype
    monkeypatch.setenv("HSFUSE_SCAN", "reference")
    error, name = worst(result, scan({name: operand.double() for name, operand in operands.items()}))
    assert error < tolerance, f"{name}: {error:.1e}"


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 4e-3)])
def test_the_last_state_has_its_gradient(dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("triton")
    monkeypatch.delenv("HSFUSE_SCAN", raising=False)
    assert explain_backend("cuda", state_gradient=True).name == "triton"
    operands = make_operands(2, 6, 700, 5, dtype)
    result = scan(operands, state=True)
    monkeypatch.setenv("HSFUSE_SCAN", "reference")
    error, name = worst(result, scan({name: operand.double() for name, operand in operands.items()}, state=True))
    assert error < tolerance, f"{name}: {error:.1e}"


def test_mamba_ssm_refuses_the_gradient_that_it_would_leave_out(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("mamba_ssm")
    monkeypatch.setenv("HSFUSE_SCAN", "mamba_ssm")
    operands = make_operands(1, 2, 9, 3)
    with torch.no_grad():
        selective_scan(**operands, return_last_state=True)
    with pytest.raises(RequestError, match="last state has no gradient"):
        scan(operands, state=True)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is no second CUDA device")
@pytest.mark.parametrize("backend", ["triton", "mamba_ssm"])
def test_a_second_card_scans_its_own_tensors(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = available_backends("cuda:1")[backend]
    if missing:
        pytest.skip(missing)
    monkeypatch.setenv("HSFUSE_SCAN", backend)
    with torch.cuda.device(0):
        first, second = (scan(make_operands(1, 8, 500, 16, device=f"cuda:{card}")) for card in (0, 1))
    monkeypatch.setenv("HSFUSE_SCAN", "reference")
    doubled = {k: v.double() for k, v in make_operands(1, 8, 500, 16, device="cuda:1").items()}
    assert all(tensor.device.index == 1 for tensor in second.values())
    assert all(tensor.device.index == 0 for tensor in first.values())
    assert worst(second, scan(doubled))[0] < 1e-5


def test_gradients_repeat_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("triton")
    monkeypatch.setenv("HSFUSE_SCAN", "triton")
    operands = make_operands(2, 64, 3000, 16)
    first, second = scan(operands), scan(operands)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("channels", "length"), [(128, 4096), (128, 65_536), (640, 36_864)])
@pytest.mark.parametrize("work", ["forward", "forward and backward"])
def test_no_slower_than_mamba_ssm(channels: int, length: int, work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("mamba_ssm")
    operands = make_operands(1, channels, length, 64, torch.float16)
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
    needs("triton")
    monkeypatch.setenv("HSFUSE_SCAN", "triton")
    operands = make_operands(1, 128, 65_536, 64)
    scan(operands)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    scan(operands)
    used = torch.cuda.max_memory_allocated() - before
    assert used < 0.3 * 4 * 65_536 * 128 * 64
