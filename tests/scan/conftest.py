"""Operands of selective scans, and how far two results may lie apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

Operands = dict[str, Tensor]


def make_operands(
    batch: int = 2,
    channels: int = 5,
    length: int = 40,
    states: int = 4,
    groups: int = 1,
    *,
    constant_B: bool = False,
    constant_C: bool = False,
    delta_scale: float = 1.0,
    seed: int = 0,
) -> Operands:
    """Random operands of selective_scan, with all the optional ones."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return {
        "u": normal(batch, channels, length),
        "delta": normal(batch, channels, length) * delta_scale,
        "A": -4 * torch.rand(channels, states, generator=generator),
        "B": normal(channels, states) if constant_B else normal(batch, groups, states, length),
        "C": normal(channels, states) if constant_C else normal(batch, groups, states, length),
        "D": normal(channels),
        "z": normal(batch, channels, length),
        "delta_bias": normal(channels),
    }


def relative_error(result: Tensor, truth: Tensor) -> float:
    """Largest deviation, as a fraction of the largest true value; 0 for nothing at all."""
    if result.numel() == 0:
        return 0.0
    return float((result.double() - truth).abs().max() / truth.abs().max().clamp_min(1e-30))


@pytest.fixture
def operands() -> Callable[..., Operands]:
    """`make_operands`."""
    return make_operands


@pytest.fixture
def error() -> Callable[[Tensor, Tensor], float]:
    """`relative_error`."""
    return relative_error


@pytest.fixture
def scan_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Choose the backend for the rest of the test."""

    def choose(name: str) -> None:
        monkeypatch.setenv("HSFUSE_SCAN", name)

    return choose


@pytest.fixture
def with_gradients(scan_with: Callable[[str], None]) -> Callable[..., dict[str, Tensor]]:
    """Scan with a backend: y, the last state and the gradients of a fixed random sum of both."""
    from hsfuse.scan import selective_scan

    def run(backend: str, operands: Operands, dtype: torch.dtype, **options: bool) -> dict[str, Tensor]:
        scan_with(backend)
        leaves = {name: operand.to(dtype).requires_grad_() for name, operand in operands.items()}
        y, last = selective_scan(**leaves, **options, return_last_state=True)
        generator = torch.Generator().manual_seed(7)
        weights = [torch.randn(t.shape, generator=generator).to(t) for t in (y, last)]
        total = (y * weights[0]).sum() + (last * weights[1]).sum()
        gradients = torch.autograd.grad(total, list(leaves.values()))
        return {"y": y.detach(), "last": last.detach(), **dict(zip(leaves, gradients, strict=True))}

    return run
