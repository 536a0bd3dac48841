"""A network on the bands of one pair of sensors, with the units that it was trained in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from hsfuse.models.mgdunlss import MGDuNLSSNet
    from hsfuse.models.ssrfn import SSRFNNet


class BandNetwork(nn.Module):
    """`--spectral full`: bands in, bands out. The network inside sees each band with mean 0 and spread 1.

    The units are buffers, so that they are kept in the weights file.
    """

    hsi_mean: Tensor
    hsi_spread: Tensor
    msi_mean: Tensor
    msi_spread: Tensor

    def __init__(self, network: MGDuNLSSNet | SSRFNNet) -> None:
        """Put a network of bands into units of one, until `set_units` says better."""
        super().__init__()
        self.network = network
        for kind, bands in (("hsi", network.config.bands), ("msi", network.config.msi_bands)):
            self.register_buffer(f"{kind}_mean", torch.zeros(bands))
            self.register_buffer(f"{kind}_spread", torch.ones(bands))

    def set_units(self, hsi_mean: Tensor, hsi_spread: Tensor, msi_mean: Tensor, msi_spread: Tensor) -> None:
        """Say what the bands of the two images are like, (C,) and (c,); see `band_units`."""
        for name, values in (
            ("hsi_mean", hsi_mean), ("hsi_spread", hsi_spread), ("msi_mean", msi_mean), ("msi_spread", msi_spread),
        ):  # fmt: skip
            getattr(self, name).copy_(values)

    @property
    def bytes_a_pixel(self) -> int:
        """Working memory by fine pixel, about."""
        return self.network.bytes_a_pixel

    def forward(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse Y (B, C, h, w) and P (B, c, H, W) to X (B, C, H, W), in the image's units."""
        seen = (hsi - _column(self.hsi_mean)) / _column(self.hsi_spread)
        guide = (msi - _column(self.msi_mean)) / _column(self.msi_spread)
        fused: Tensor = self.network(seen, guide)
        return fused.float() * _column(self.hsi_spread) + _column(self.hsi_mean)


def band_units(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of each band of pixels (C, n), float32 (C,); a constant band has a spread of one."""
    exact = pixels.double()
    spread = exact.std(dim=1, correction=0)
    return exact.mean(dim=1).float(), torch.where(spread > 0, spread, torch.ones_like(spread)).float()


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]
