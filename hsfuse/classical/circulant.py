"""B and the differences as circular convolutions, diagonal under the FFT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from hsfuse.imaging import PointSpread


@dataclass(frozen=True)
class Circulant:
    """The blur of a PSF before decimation, on images of one size."""

    shape: tuple[int, int]
    """Rows and columns."""

    transfer: Tensor
    """Of the blur, complex (H, W//2 + 1). The blurred pixel r·i is HSI pixel i."""

    @classmethod
    def of(cls, psf: PointSpread, shape: tuple[int, int], like: Tensor) -> Self:
        """The blur of `psf` on images of a shape, on the device and in the precision of `like`.

        Y[i] = Σ_t kernel[t] X[r·i - margin + t] becomes a convolution with the kernel turned about r·i.
        """
        turned = torch.from_numpy(psf.kernel).flip(0, 1).to(like)
        rows, columns = shape
        edge = turned.shape[0]
        # A kernel wider than the image wraps round it more than once.
        index = torch.arange(edge, device=like.device) - (edge - 1 - psf.margin)
        impulse = like.new_zeros(shape)
        impulse.index_put_((index[:, None] % rows, index[None] % columns), turned, accumulate=True)
        return cls(shape, torch.fft.rfft2(impulse))

    def inverse(self) -> Tensor:
        """Of Bᵀ B + D_xᵀ D_x + D_yᵀ D_y + I under the FFT, real (H, W//2 + 1)."""
        rows, columns = self.shape
        power = self.transfer.abs().square()
        kind = {"dtype": power.dtype, "device": power.device}
        down = 2 - 2 * torch.cos(2 * torch.pi * torch.fft.fftfreq(rows, **kind))
        right = 2 - 2 * torch.cos(2 * torch.pi * torch.fft.rfftfreq(columns, **kind))
        inverse: Tensor = 1 / (power + down[:, None] + right + 1)
        return inverse

    def back(self, transform: Tensor) -> Tensor:
        """The image of a transform."""
        image: Tensor = torch.fft.irfft2(transform, s=self.shape)
        return image


def differences(image: Tensor) -> Tensor:
    """To the left and the upper neighbour, round the rim: (..., H, W) to (2, ..., H, W)."""
    return torch.stack([image - image.roll(1, -1), image - image.roll(1, -2)])


def differences_adjoint(parts: Tensor) -> Tensor:
    """Adjoint of `differences`."""
    across, down = parts
    adjoint: Tensor = across - across.roll(-1, -1) + down - down.roll(-1, -2)
    return adjoint
