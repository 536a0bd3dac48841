"""An edge-adaptive smoothness prior: differences between neighbours cost little where the MSI has an edge.

What a linear prediction misses of a fine image is smooth inside a field or a roof and jumps at its rim, and the MSI
shows the rim. The weight of a difference falls with the MSI's own contrast as in Perona and Malik (1990),
w = 1 / (1 + q g), with g in units of the scene's mean contrast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from torch import Tensor

    from hsfuse.subspace.patch import PairPatch

EDGE_CONTRAST = 6.0
"""q: the weight of a difference at the scene's mean contrast is 1 / (1 + q)."""

WHITE = 0.05
"""Weight of the image itself beside its differences: the prior knows a level, not only a slope."""


@dataclass(frozen=True)
class EdgePrior:
    """The scene's scale of contrast, fitted once: weights of two tiles agree where the tiles overlap."""

    sharpness: Tensor
    """One over the standard deviation of each MSI band, float32 (c,); zero for a constant band."""

    noise: float
    """Squared difference of neighbours that the MSI's noise alone makes, mean over bands of that scale."""

    contrast: float
    """Mean squared difference of neighbours beyond the noise, over the scene."""

    @classmethod
    def fit(cls, patches: Sequence[PairPatch], noise: Tensor) -> Self:
        """Measure the scale of contrast on parts of a scene.

        Args:
            patches: Parts of the scene; pixels that are not valid do not count.
            noise: Variance of the MSI's noise by band, (c,).
        """
        pixels = torch.cat([patch.msi[:, patch.msi_valid] for patch in patches], dim=1).double()
        spread = pixels.std(dim=1)
        usable = spread > 1e-6 * pixels.mean(dim=1).abs()
        sharpness = torch.where(usable, 1 / spread.clamp_min(1e-300), 0)
        floor = float(torch.where(usable & noise.isfinite(), 2 * noise * sharpness.square(), 0).mean())
        prior = cls(sharpness.float(), floor, 1.0)
        values = torch.cat([_of_valid(prior._squared(patch.msi), patch.msi_valid) for patch in patches])
        mean = float(values.mean()) if values.numel() else 0.0
        return cls(prior.sharpness, floor, mean if mean > 0 else 1.0)

    def weights(self, msi: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of the differences down, (H − 1, W), and to the right, (H, W − 1), of P (c, H, W)."""
        down, right = self._squared(msi)
        return self._weight(down), self._weight(right)

    def _squared(self, msi: Tensor) -> tuple[Tensor, Tensor]:
        """Squared differences down and to the right, mean over the bands, the noise taken out."""
        scaled = msi * self.sharpness.to(msi)[:, None, None]
        steps = scaled[:, 1:] - scaled[:, :-1], scaled[..., 1:] - scaled[..., :-1]
        down, right = ((step.square().mean(dim=0) - self.noise).clamp_min(0) for step in steps)
        return down, right

    def _weight(self, squared: Tensor) -> Tensor:
        if not squared.numel():
            return squared
        framed = F.pad(squared[None, None], (1, 1, 1, 1), mode="replicate")
        return 1 / (1 + EDGE_CONTRAST / self.contrast * F.avg_pool2d(framed, 3, 1)[0, 0])


def _of_valid(squared: tuple[Tensor, Tensor], valid: Tensor) -> Tensor:
    """Those differences whose two pixels are valid, in one row."""
    down, right = squared
    return torch.cat([down[valid[1:] & valid[:-1]], right[valid[:, 1:] & valid[:, :-1]]])


@dataclass(frozen=True)
class WeightedLaplacian:
    """L = 0.05 + Dᵀ w D over one tile, with a constant by image added: (L + m_k) Z_k."""

    down: Tensor
    """w of differences down, (H − 1, W)."""

    right: Tensor
    """w of differences to the right, (H, W − 1)."""

    degree: Tensor
    """The diagonal of L, (H, W)."""

    @classmethod
    def of(cls, weights: tuple[Tensor, Tensor], shape: torch.Size) -> Self:
        """Of the weights of an `EdgePrior` on images of a shape (H, W)."""
        down, right = weights
        degree = down.new_full(shape, WHITE)
        degree[1:] += down
        degree[:-1] += down
        degree[:, 1:] += right
        degree[:, :-1] += right
        return cls(down, right, degree)

    def __call__(self, images: Tensor, diagonal: Tensor) -> Tensor:
        """(L + m) Z of images (K, H, W); `diagonal` (K, H, W) is the diagonal of L + m."""
        result = diagonal * images
        result[:, 1:].addcmul_(self.down, images[:, :-1], value=-1)
        result[:, :-1].addcmul_(self.down, images[:, 1:], value=-1)
        result[..., 1:].addcmul_(self.right, images[..., :-1], value=-1)
        result[..., :-1].addcmul_(self.right, images[..., 1:], value=-1)
        return result
