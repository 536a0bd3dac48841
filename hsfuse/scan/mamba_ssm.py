"""The mamba_ssm backend: mamba-ssm's own CUDA kernel, where it really works.

A default installation lacks the CUDA extension since mamba-ssm's pull request 977 and raises on use: so it is
tried on a scan of two steps, not only imported.
"""

# mamba-ssm is optional, and its import runs CUDA.
# ruff: noqa: PLC0415

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from hsfuse.scan.arguments import ScanArguments

_log = logging.getLogger(__name__)


def probe_mamba_ssm() -> str:
    """Why mamba-ssm's kernel does not work on the current CUDA device; empty if it does."""
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

        u = torch.ones(1, 1, 2, device="cuda")
        weights = torch.ones(1, 1, 2, device="cuda")
        selective_scan_fn(u, u, -torch.ones(1, 1, device="cuda"), weights, weights)
        torch.cuda.synchronize()
    except Exception as problem:  # noqa: BLE001  # a foreign extension fails in its own ways; any means: not this one
        _log.debug("mamba-ssm does not work", exc_info=True)
        return f"mamba-ssm is installed but its kernel fails ({type(problem).__name__}: {problem})"
    return ""


def scan_mamba_ssm(arguments: ScanArguments, z: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """y, gated by SiLU(z) where there is a z, and the last state in float32."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    B, C = arguments.grouped
    batch, _, length = arguments.u.shape
    constant = any(weights.shape[-1] != length or weights.shape[0] != batch for weights in (B, C))
    if constant:  # its kernel wants both to vary when groups are given
        B, C = (w.expand(batch, w.shape[1], w.shape[2], length).contiguous() for w in (B, C))
    dtype = arguments.u.dtype
    y, last = selective_scan_fn(
        arguments.u,
        arguments.delta.to(dtype),
        arguments.A.float(),
        B.to(dtype),
        C.to(dtype),
        D=None if arguments.D is None else arguments.D.float(),
        delta_bias=None if arguments.delta_bias is None else arguments.delta_bias.float(),
        delta_softplus=arguments.delta_softplus,
        return_last_state=True,
    )
    return (y if z is None else y * functional.silu(z)), last
