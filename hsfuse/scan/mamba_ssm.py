"""The mamba_ssm backend: mamba-ssm's own CUDA kernel, where it really works.

PyPI has its source alone, and since mamba-ssm's pull request 977 a plain installation builds no kernel and raises
on use; ``MAMBA_KEEP_CUDA_BUILD=TRUE pip install mamba-ssm --no-build-isolation`` builds it, with nvcc of the CUDA
version of the torch that is there. So it is tried, not only imported.

Its backward pass leaves out the gradient of the last state, without a word: `NO_STATE_GRADIENT`.
"""

# mamba-ssm is optional, and its import runs CUDA.
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import TYPE_CHECKING

from hsfuse.scan.probe import trouble_with
from hsfuse.scan.reference import scan_reference

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from hsfuse.scan.arguments import ScanArguments

NO_STATE_GRADIENT = "its last state has no gradient, and one may be wanted"
"""Why it does not serve where the last state is returned and operands require gradients, as a clause."""

HOW_TO_INSTALL = "MAMBA_KEEP_CUDA_BUILD=TRUE pip install mamba-ssm --no-build-isolation"
"""The command that builds it with its kernel."""


def probe_mamba_ssm(device: torch.device) -> str:
    """Why mamba-ssm's kernel does not work on a CUDA device, as a clause; empty if it does."""
    trouble = trouble_with(scan_mamba_ssm, device)
    return f"mamba-ssm is installed but {trouble}; {HOW_TO_INSTALL} builds its kernel" if trouble else ""


def scan_mamba_ssm(arguments: ScanArguments, z: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """y, gated by SiLU(z) in the kernel where there is a z, and the last state in float32, without its gradient."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    if 0 in arguments.u.shape:  # its kernel takes nothing empty
        return scan_reference(arguments, z)
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
        z=None if z is None else z.to(dtype),
        delta_bias=None if arguments.delta_bias is None else arguments.delta_bias.float(),
        delta_softplus=arguments.delta_softplus,
        return_last_state=True,
    )
    return y, last
