"""How exactly products of float32 are computed on CUDA, and where they must not be anything less."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 as they are."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


@contextlib.contextmanager
def float32_products(*, tf32: bool) -> Iterator[None]:
    """Multiply matrices and convolve in TF32 (a fraction of 10 bits instead of 23), or in float32 as it is.

    By itself torch takes TF32 for convolutions and not for matrices. Its settings are those of the process: they are
    left as they were. Without CUDA nothing changes.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@contextlib.contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Neither half precision nor TF32, whatever the caller computes in: small differences of large numbers need it."""
    knows_half = torch.amp.is_autocast_available(device.type)  # torch's meta device does not
    full = torch.autocast(device.type, enabled=False) if knows_half else contextlib.nullcontext()
    with full, float32_products(tf32=False):
        yield
