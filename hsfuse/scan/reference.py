"""The selective scan as the plain recurrence, one step after the other: for tests, and for float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from hsfuse.scan.arguments import ScanArguments


def scan_reference(arguments: ScanArguments, z: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """h_t = exp(Δ_t A) h_{t-1} + Δ_t B_t u_t,  y_t = C_t·h_t + D u_t (Gu & Dao 2023, equations 2 and 4).

    Works in float64 if an operand is, else in float32, on any device, and is differentiable by autograd.

    Returns:
        y (batch, D, L), gated by SiLU(z) where there is a z, and the last state (batch, D, N), both in the
        working precision.
    """
    double = any(tensor.dtype == torch.float64 for tensor in arguments.tensors)
    dtype = torch.float64 if double else torch.float32
    u, delta, A = arguments.u.to(dtype), arguments.delta.to(dtype), arguments.A.to(dtype)
    if arguments.delta_bias is not None:
        delta = delta + arguments.delta_bias.to(dtype)[:, None]
    if arguments.delta_softplus:
        delta = functional.softplus(delta)
    batch, channels, length = u.shape
    B, C = (weights.to(dtype) for weights in arguments.grouped)
    state = u.new_zeros(batch, channels, arguments.states)
    outputs = [u.new_zeros(batch, channels, 0)]
    for t in range(length):
        inflow = (delta[:, :, t] * u[:, :, t])[:, :, None]
        state = torch.exp(delta[:, :, t, None] * A) * state + inflow * _at(B, t, channels)  # (batch, D, N)
        outputs.append((state * _at(C, t, channels)).sum(-1, keepdim=True))
    y = torch.cat(outputs, dim=-1)
    if arguments.D is not None:
        y = y + arguments.D.to(dtype)[:, None] * u
    if z is not None:
        y = y * functional.silu(z.to(dtype))
    return y, state


def _at(weights: Tensor, t: int, channels: int) -> Tensor:
    """B or C at step t for every channel: (batch, D, N)."""
    now = weights[..., t if weights.shape[-1] > 1 else 0]  # (batch, G, N)
    return now.repeat_interleave(channels // now.shape[1], dim=1)
