"""`selective_scan`, the one function that models call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

import torch

from hsfuse.errors import RequestError
from hsfuse.scan.arguments import ScanArguments
from hsfuse.scan.backends import explain_backend, run_backend

if TYPE_CHECKING:
    from torch import Tensor


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: Literal[False] = False,
) -> Tensor: ...


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    *,
    return_last_state: Literal[True],
) -> tuple[Tensor, Tensor]: ...


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Scan along the last dimension: h_t = exp(Δ_t A) h_{t-1} + Δ_t B_t u_t, y_t = C_t·h_t + D u_t.

    After Gu & Dao 2023 (Mamba), algorithm 2 and equations 2 and 4 with B's discretisation as in their code;
    arguments and meaning are those of mamba-ssm's ``selective_scan_fn``. The state is float32 whatever the
    operands' dtype (float64 if an operand is), starts at zero and is never written out per step, except by the
    backend ``reference`` under autograd.

    Args:
        u: (batch, D, L), any floating dtype and strides; D channels, L steps. Nothing may be empty but batch,
            D or L.
        delta: (batch, D, L), step sizes Δ.
        A: (D, N), the diagonal of each channel's state matrix, N from 1 to 256 states.
        B: (batch, N, L), or (batch, G, N, L) with G groups of channels, or (D, N) at all times.
        C: as B.
        D: (D,), weight of the input in the output.
        z: (batch, D, L), gates the output by SiLU(z).
        delta_bias: (D,), added to delta.
        delta_softplus: whether Δ = softplus(delta + delta_bias) rather than delta + delta_bias.
        return_last_state: whether to return h_L too.

    Returns:
        y (batch, D, L) in u's dtype; with ``return_last_state`` also the last state (batch, D, N), float32. Both
        have gradients; where the last state is asked for in training, a backend that has none for it is passed over.

    Raises:
        RequestError: If shapes do not fit, or if ``HSFUSE_SCAN`` asks for a backend that is not there, or that
            lacks the gradient of a last state.
    """
    arguments = ScanArguments.of(u, delta, A, B, C, D, delta_bias, delta_softplus=delta_softplus)
    if z is not None and z.shape != u.shape:
        raise RequestError(f"selective scan: z is {tuple(z.shape)}, expected u's {tuple(u.shape)}")
    double = any(tensor.dtype == torch.float64 for tensor in arguments.tensors)
    leaves = (*arguments.tensors, *(() if z is None else (z,)))
    trained = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in leaves)
    choice = explain_backend(
        u.device, torch.float64 if double else torch.float32, state_gradient=return_last_state and trained
    )
    y, last = run_backend(choice, arguments, z)
    y = y.to(u.dtype)
    return (y, last) if return_last_state else y
