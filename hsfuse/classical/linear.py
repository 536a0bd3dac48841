"""MTF-GLP in a noise-aware spectral subspace: the linear estimate that the networks correct, as a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hsfuse.classical.injection import BICUBIC_REACH, blur_reach
from hsfuse.subspace.linear_model import LinearModel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from torch import Tensor

    from hsfuse.imaging import ImagingModel
    from hsfuse.subspace.patch import PairPatch


@dataclass(frozen=True)
class SubspaceLinear:
    """X̂ = D (W P + ↑(A − W P B)) + what the subspace leaves out; see `LinearModel`."""

    linear_model: LinearModel
    """The subspace and the linear prediction of the scene."""

    @classmethod
    def fit(cls, patches: Sequence[PairPatch], imaging: ImagingModel, size: int = 10) -> Self:
        """Fit the subspace and the prediction on parts of a scene, holes filled and masked.

        Raises:
            SceneError: Too few valid pixels.
        """
        return cls(LinearModel.fit(patches, imaging, size))

    @property
    def margin(self) -> int:
        """HSI pixels at the rim of a tile that depend on what lies outside."""
        return BICUBIC_REACH + blur_reach(self.linear_model.blur)

    @torch.no_grad()
    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse Y (C, h, w) and P (c, r·h, r·w) to float32 (C, r·h, r·w)."""
        inputs = self.linear_model.inputs(hsi, msi)
        return self.linear_model.decode(inputs.initial, inputs, hsi)
