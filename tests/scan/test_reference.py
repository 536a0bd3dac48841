"""The plain recurrence, which all other backends are measured by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.scan import selective_scan

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Make = Callable[..., dict[str, Tensor]]
    Choose = Callable[[str], None]


def test_agrees_with_the_recurrence_written_in_numpy(operands: Make, scan_with: Choose) -> None:
    scan_with("reference")
    o = operands(batch=1, channels=2, length=6, states=3)
    y = selective_scan(**{k: v.double() for k, v in o.items()}, delta_softplus=True)
    n = {name: operand.double().numpy() for name, operand in o.items()}
    delta = np.log1p(np.exp(n["delta"][0] + n["delta_bias"][:, None]))
    for d in range(2):
        h = np.zeros(3)
        for t in range(6):
            h = np.exp(delta[d, t] * n["A"][d]) * h + delta[d, t] * n["B"][0, 0, :, t] * n["u"][0, d, t]
            z = n["z"][0, d, t]
            expected = (h @ n["C"][0, 0, :, t] + n["D"][d] * n["u"][0, d, t]) * z / (1 + np.exp(-z))
            np.testing.assert_allclose(y[0, d, t], expected, rtol=1e-12)


def test_gradients_by_finite_differences(operands: Make, scan_with: Choose) -> None:
    scan_with("reference")
    o = operands(batch=1, channels=4, length=5, states=2, groups=2)
    leaves = [operand.double().requires_grad_() for operand in o.values()]

    def scan(*tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return selective_scan(**dict(zip(o, tensors, strict=True)), delta_softplus=True, return_last_state=True)

    assert torch.autograd.gradcheck(scan, leaves)


def test_a_scan_is_causal(operands: Make, scan_with: Choose) -> None:
    scan_with("reference")
    o = operands(length=20)
    changed = {**o, "u": torch.cat([o["u"][..., :12], o["u"][..., 12:] + 1], dim=-1)}
    before, after = selective_scan(**o), selective_scan(**changed)
    assert torch.equal(before[..., :12], after[..., :12])
    assert not torch.equal(before[..., 12:], after[..., 12:])
