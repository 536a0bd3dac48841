"""A network on bands as a method: for the pair of sensors that it was trained for, and no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.errors import WeightsError
from hsfuse.fusion.compute import CPU, Compute
from hsfuse.fusion.method import NETWORK_BYTES_A_PIXEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from hsfuse.imaging import ImagingModel
    from hsfuse.models.weights import WeightsFile
    from hsfuse.subspace.patch import PairPatch

_MOST_APART_NM = 5.0  # what sensors of one kind differ by, and one sensor over its lifetime


class BandNetworkMethod:
    """A network on the bands of the pair of sensors that it was trained for."""

    def __init__(self, weights: WeightsFile) -> None:
        """Build the network.

        Raises:
            WeightsError: The weights do not fit it.
        """
        self.network = weights.network().requires_grad_(False)
        self._weights = weights

    def suited(self, compute: Compute) -> Compute:
        """Whatever was asked for."""
        return compute

    def fit(
        self,
        patches: Sequence[PairPatch],  # noqa: ARG002 (the face of a method)
        imaging: ImagingModel,
        *,
        compute: Compute = CPU,
        seed: int = 0,  # noqa: ARG002
    ) -> FittedBandNetwork:
        """Nothing is left to fit.

        Raises:
            WeightsError: The network was trained for another pair of sensors.
        """
        require_fit(self._weights, imaging)
        return FittedBandNetwork(self.network.to(compute.torch_device))


@dataclass(frozen=True)
class FittedBandNetwork:
    """A network on bands."""

    network: nn.Module
    """A `BandNetwork`."""

    margin: int = 3
    """HSI pixels; see `FittedNetwork.margin`."""

    @property
    def facts(self) -> Mapping[str, str]:
        """Nothing is fitted on the scene."""
        return {}

    @property
    def bytes_a_pixel(self) -> int:
        """Working memory by fine pixel, about."""
        return NETWORK_BYTES_A_PIXEL + int(getattr(self.network, "bytes_a_pixel", 0))

    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse a tile: Y (C, h, w) and P (c, r·h, r·w) to (C, r·h, r·w)."""
        device = next(self.network.parameters()).device
        with torch.no_grad():
            fused: Tensor = self.network(hsi[None].to(device), msi[None].to(device))[0]
        return fused.float().to(hsi.device)


def require_fit(weights: WeightsFile, imaging: ImagingModel) -> None:
    """Refuse weights on bands that are for another pair of sensors.

    Raises:
        WeightsError: The ratio, the number of bands or their wavelengths differ from those trained on.
    """
    card, srf = weights.card, imaging.srf
    if imaging.ratio not in card.ratios:
        trained = ", ".join(str(ratio) for ratio in card.ratios)
        raise _unfit(weights, f"were trained at ratio {trained}, this pair has {imaging.ratio}")
    bands, msi_bands = card.config["bands"], card.config["msi_bands"]
    if srf.matrix.shape != (msi_bands, bands):
        raise _unfit(
            weights,
            f"are for {bands} HSI bands and {msi_bands} MSI bands, this pair has {srf.matrix.shape[1]} and "
            f"{srf.matrix.shape[0]} in use",
        )
    trained_at, here = np.array(card.hsi_wavelength_nm), srf.hsi_wavelength_nm
    if here is None or len(trained_at) != len(here):
        return
    apart = np.abs(trained_at - here)
    worst = int(apart.argmax())
    if apart[worst] > _MOST_APART_NM:
        raise _unfit(
            weights,
            f"have HSI band {worst + 1} at {trained_at[worst]:.0f} nm, this pair at {here[worst]:.0f} nm",
        )


def _unfit(weights: WeightsFile, why: str) -> WeightsError:
    return WeightsError(
        f"the weights {weights.name} {why}: choose bands and scenes of the sensors they are for, or weights in the "
        "spectral subspace"
    )
