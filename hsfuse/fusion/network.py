"""A network on the spectral subspace as a method: it corrects the Bayesian estimate, as far as it is trusted."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from hsfuse.classical import Bayes
from hsfuse.fusion.compute import CPU, Compute, to_device
from hsfuse.fusion.method import NETWORK_BYTES_A_PIXEL
from hsfuse.fusion.trust import calibrated_trust
from hsfuse.models.precision import full_float32

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from hsfuse.imaging import ImagingModel
    from hsfuse.subspace.linear_model import LinearModel, SubspaceInputs
    from hsfuse.subspace.patch import PairPatch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SubspaceCorrection:
    """A network that corrects an estimate of the coefficients: of the leading ones, which hold nearly all of a scene.

    Where the noise leaves a scene more of them than the network was made for, those that follow stay as estimated.
    """

    network: nn.Module
    """Works on `coefficients` of them."""

    coefficients: int
    """How many it works on; the scene may have fewer."""

    def __call__(self, linear_model: LinearModel, inputs: SubspaceInputs) -> Tensor:
        """The corrected coefficients (K, H, W), where the inputs are."""
        device = next(self.network.parameters()).device
        batch, condition = (
            inputs.batched().leading(self.coefficients),
            linear_model.condition().leading(self.coefficients),
        )
        with torch.no_grad():
            corrected: Tensor = self.network(to_device(batch, device), to_device(condition, device))[0]
        corrected = corrected[: linear_model.size].to(inputs.initial)
        return torch.cat([corrected, inputs.initial[len(corrected) :]])


class NetworkMethod:
    """A subspace network with its weights."""

    def __init__(self, network: nn.Module, coefficients: int, trust: float | None = None) -> None:
        """Take a network that works on that many coefficients; `trust` in its correction is fitted if not given."""
        # torch copies the other operand of a product with a parameter that could need a gradient, in inference too
        self.correction = SubspaceCorrection(network.requires_grad_(False), coefficients)
        self.trust = trust

    def suited(self, compute: Compute) -> Compute:
        """Whatever was asked for."""
        return compute

    def fit(
        self, patches: Sequence[PairPatch], imaging: ImagingModel, *, compute: Compute = CPU, seed: int = 0
    ) -> FittedNetwork:
        """Fit the scene's estimate, and how far the correction is trusted on this scene."""
        correction = to_device(self.correction, compute.torch_device)
        estimate = Bayes.fit(patches, imaging, fewest=correction.coefficients)
        trust = self.trust
        if trust is None:
            trust = calibrated_trust(correction, patches, imaging, correction.coefficients, seed)
        logger.info("the network's correction of the Bayesian estimate counts %.2f on this scene", trust)
        return FittedNetwork(correction, to_device(estimate, compute.torch_device), trust)


@dataclass(frozen=True)
class FittedNetwork:
    """A network that knows its scene."""

    correction: SubspaceCorrection
    """Corrects the estimate."""

    estimate: Bayes
    """The scene's Bayesian estimate, in as many coefficients as the network has, or more."""

    trust: float
    """Part of the correction that is added, 0 to 1."""

    bytes_a_pixel: int = NETWORK_BYTES_A_PIXEL
    """Working memory by fine pixel, about."""

    @property
    def facts(self) -> Mapping[str, str]:
        """How far the network was trusted."""
        return {"TRUST": f"{self.trust:.2f}"}

    @property
    def margin(self) -> int:
        """HSI pixels that the estimate reaches. Attention sees the whole tile: what that changes (3e-4 of the range,
        root mean square, see examples/benchmarks/seams.py) no longer falls with distance, and is left to blending.
        """
        return self.estimate.margin

    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse a tile: Y (C, h, w) and P (c, r·h, r·w) to (C, r·h, r·w)."""
        linear_model = self.estimate.linear_model
        # Spectra stay in float32 whatever the engine chose for the network: half holds three digits, as does TF32.
        with full_float32(hsi.device):
            inputs = self.estimate.inputs(hsi, msi)
        corrected = self.correction(linear_model, inputs).float() if self.trust > 0 else inputs.initial
        with full_float32(hsi.device):
            return linear_model.decode(torch.lerp(inputs.initial, corrected, self.trust), inputs, hsi)
