"""What networks compute on the CPU where no gradient is wanted, compiled by numba on the vectors of the scan.

`launch` shares the work among threads; `criss_cross` and `recurrence` are the kernels, one task each.
"""

import torch
from torch import Tensor

from hsfuse.scan import available_backends

LEAST_PIXELS = 64
"""Of an image: fewer do not fill a vector."""


def serves(image: Tensor) -> bool:
    """Whether kernels can go on with what was computed so far, (…, H, W): on the CPU, no gradient to hand back."""
    return (
        image.device.type == "cpu"
        and image.dtype != torch.float64
        and not image.requires_grad
        and image.shape[-2] * image.shape[-1] >= LEAST_PIXELS
        and not available_backends("cpu")["numba"]
    )
