"""A network as a method: fitted to a scene by its adapter, its correction calibrated on the scene itself."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.errors import SceneError
from hsfuse.fusion.compute import to_device
from hsfuse.imaging import degrade_pair
from hsfuse.subspace.adapter import SceneAdapter
from hsfuse.subspace.noise import LEAST_SPECTRA, noise_averaged_out
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor, nn

    from hsfuse.imaging import ImagingModel, WaldPair
    from hsfuse.subspace.adapter import SubspaceInputs

logger = logging.getLogger(__name__)

_LEAST_CALIBRATION_PIXELS = 64
_UNCALIBRATED = 0.5
_CALIBRATION_EDGE = 64  # HSI pixels of a patch
_CALIBRATION_PATCHES = 4


class NetworkMethod:
    """A subspace network with its weights."""

    def __init__(self, network: nn.Module, coefficients: int, trust: float | None = None) -> None:
        """Take a network that works on that many coefficients; `trust` in its correction is fitted if not given."""
        # torch copies the other operand of a product with a parameter that could need a gradient, in inference too
        self.network = network.requires_grad_(False)
        self.coefficients = coefficients
        self.trust = trust

    def to(self, device: torch.device) -> NetworkMethod:
        """The same with its network on a device."""
        self.network.to(device)
        return self

    def fit(self, patches: Sequence[PairPatch], imaging: ImagingModel) -> FittedNetwork:
        """Fit the scene's adapter, and how far the correction is trusted on this scene."""
        adapter = SceneAdapter.fit(patches, imaging, self.coefficients)
        trust = self._calibrate(patches, imaging) if self.trust is None else self.trust
        logger.info("the network's correction of the linear estimate counts %.2f on this scene", trust)
        return FittedNetwork(self.network, adapter, self.coefficients, trust)

    def _calibrate(self, patches: Sequence[PairPatch], imaging: ImagingModel) -> float:
        """How much of the correction to add, 0 to 1, by least squares one Wald level down.

        Both images are degraded by the ratio, fused, and held against the HSI itself; every band counts by its
        own error under the linear estimate. It guards against scenes unlike those trained on.
        """
        levels = [_level_down(patch, imaging) for patch in _some_of(patches, imaging.ratio)]
        usable = [level for level in levels if level is not None]
        if sum(int(level[0].hsi_valid.sum()) for level in usable) < _LEAST_CALIBRATION_PIXELS:
            return _UNCALIBRATED
        model = type(imaging)(imaging.srf, imaging.psf)
        try:
            adapter = SceneAdapter.fit([level[0] for level in usable], model, self.coefficients)
        except SceneError:
            return _UNCALIBRATED
        return least_squares_trust(self.network, adapter, self.coefficients, usable)


def least_squares_trust(
    network: nn.Module, adapter: SceneAdapter, size: int, known: Iterable[tuple[PairPatch, Tensor, Tensor]]
) -> float:
    """How much of a network's correction to add, 0 to 1, by least squares where the truth is known.

    Args:
        network: Of `size` coefficients.
        adapter: Of the scene.
        size: K.
        known: Patches with X (C, H, W) and where it is known, bool (H, W).
    """
    along, energy = 0.0, 0.0
    for patch, truth, valid in known:
        inputs = adapter.inputs(patch.hsi, patch.msi)
        correction = _correct(network, adapter, inputs, size) - inputs.linear
        bands = adapter.subspace.decode(correction) - adapter.subspace.decode(torch.zeros_like(correction))
        missed = (truth - adapter.decode(inputs.linear, inputs, patch.hsi))[:, valid]
        weight = 1 / (missed**2).mean(dim=1).clamp_min(1e-30)
        along += float((weight * (bands[:, valid] * missed).sum(dim=1)).sum())
        energy += float((weight * (bands[:, valid] ** 2).sum(dim=1)).sum())
    return min(max(along / energy, 0.0), 1.0) if energy > 0 else 0.0


@dataclass(frozen=True)
class FittedNetwork:
    """A network that knows its scene."""

    network: nn.Module
    """Corrects the linear estimate."""

    adapter: SceneAdapter
    """The scene's subspace and linear prediction."""

    coefficients: int
    """How many the network works on."""

    trust: float
    """Part of the correction that is added, 0 to 1."""

    margin: int = 3
    """HSI pixels that the linear estimate reaches. Attention sees the whole tile: what that changes (3e-4 of the range,
    root mean square, see examples/benchmarks/seams.py) no longer falls with distance, and is left to blending."""

    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse a tile: Y (C, h, w) and P (c, r·h, r·w) to (C, r·h, r·w)."""
        # Spectra stay in float32 whatever the engine chose for the network: half holds three digits.
        with torch.autocast(hsi.device.type, enabled=False):
            inputs = self.adapter.inputs(hsi, msi)
        corrected = _correct(self.network, self.adapter, inputs, self.coefficients).float()
        with torch.autocast(hsi.device.type, enabled=False):
            return self.adapter.decode(torch.lerp(inputs.linear, corrected, self.trust), inputs, hsi)


def _correct(network: nn.Module, adapter: SceneAdapter, inputs: SubspaceInputs, size: int) -> Tensor:
    """The coefficients (K, H, W) by a network of `size` coefficients, on its device; the scene may have fewer."""
    device = next(network.parameters()).device
    batch, condition = inputs.batched().padded(size), adapter.condition().padded(size)
    with torch.no_grad():
        corrected: Tensor = network(to_device(batch, device), to_device(condition, device))[0]
    return corrected[: adapter.size].to(inputs.linear.device)


def _some_of(patches: Sequence[PairPatch], ratio: int) -> list[PairPatch]:
    """Up to four patches of 64 HSI pixels or so, evenly out of all: one number needs no more."""
    step = -(-len(patches) // _CALIBRATION_PATCHES)
    edge = _CALIBRATION_EDGE * (2 if len(patches) == 1 else 1)
    return [_middle(patch, edge, ratio) for patch in patches[::step]]


def _middle(patch: PairPatch, edge: int, ratio: int) -> PairPatch:
    """The middle of a patch, at most `edge` HSI pixels wide and high."""
    spare = [max(size - edge, 0) // 2 for size in patch.hsi.shape[-2:]]
    rows, columns = (slice(start, start + edge) for start in spare)
    fine_rows, fine_columns = (slice(start * ratio, (start + edge) * ratio) for start in spare)
    return PairPatch(
        patch.hsi[:, rows, columns],
        patch.hsi_valid[rows, columns],
        patch.msi[:, fine_rows, fine_columns],
        patch.msi_valid[fine_rows, fine_columns],
    )


def _level_down(patch: PairPatch, imaging: ImagingModel) -> tuple[PairPatch, Tensor, Tensor] | None:
    """The patch degraded by the ratio, and the truth with where it is valid; None where it is too small."""
    if min(patch.hsi.shape[-2:]) < 4 * imaging.ratio:
        return None
    level = degrade_pair(
        patch.hsi.numpy(),
        patch.msi.numpy(),
        imaging,
        hsi_valid=patch.hsi_valid.numpy(),
        msi_valid=patch.msi_valid.numpy(),
    )
    _restore_noise(patch, level)
    arrays = (level.hsi, level.hsi_valid, level.msi, level.msi_valid)
    rows, columns = level.reference.shape[-2:]
    return (
        PairPatch(*(torch.from_numpy(array) for array in arrays)),
        torch.from_numpy(level.reference),
        patch.hsi_valid[:rows, :columns],
    )


def _restore_noise(patch: PairPatch, level: WaldPair) -> None:
    """Give a degraded pair the noise that degrading averaged out, white: calm images would speak for any correction."""
    if int(patch.hsi_valid.sum()) < LEAST_SPECTRA:
        return
    for_hsi, for_msi = noise_averaged_out(
        patch.hsi.numpy(), patch.hsi_valid.numpy(), patch.msi.numpy(), patch.msi_valid.numpy(), level.model
    )
    generator = np.random.default_rng(0)
    for image, valid, spread in ((level.hsi, level.hsi_valid, for_hsi), (level.msi, level.msi_valid, for_msi)):
        drawn = generator.standard_normal(image.shape, np.float32) * spread[:, None, None]
        image[...] += np.where(valid, drawn, np.float32(0))
