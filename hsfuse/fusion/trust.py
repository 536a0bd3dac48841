"""How far a network's correction of the Bayesian estimate is trusted: one shrinkage factor, fitted on the scene.

Both images are degraded by the ratio, fused, and held against the HSI (one Wald level down); the factor that brings
the corrected estimate nearest to it, by least squares, guards against scenes unlike those that were trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hsfuse.classical import Bayes
from hsfuse.errors import SceneError
from hsfuse.imaging import ImagingModel
from hsfuse.pairs.wald_level import LostNoise, WaldBlock, degraded
from hsfuse.scenes import PairBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from hsfuse.subspace.linear_model import LinearModel, SubspaceInputs
    from hsfuse.subspace.patch import PairPatch

    Correction = Callable[[LinearModel, SubspaceInputs], Tensor]

LEAST_TRUST = 0.1
"""A correction that is trusted less is left out: what it gains goes with the square, and it takes nine tenths of the
time."""

_LEAST_PIXELS = 64
_UNKNOWN = 0.5  # where the scene is too small to tell
_EDGE = 64  # HSI pixels of a patch
_PATCHES = 4
_LEAST_EDGE = 4  # degraded HSI pixels


def calibrated_trust(
    correct: Correction, patches: Sequence[PairPatch], imaging: ImagingModel, coefficients: int, seed: int = 0
) -> float:
    """How much of a network's correction to add on a scene, 0 to 1, fitted one Wald level down.

    Args:
        correct: Coefficients (K, H, W) by the network, of an linear_model and its inputs.
        patches: Parts of the scene.
        imaging: R and B.
        coefficients: K at least.
        seed: Of the noise that degrading takes and that is drawn again.
    """
    known = reduced_blocks(patches, imaging, seed)
    if not known:
        return _UNKNOWN
    model = ImagingModel(imaging.srf, imaging.psf)
    try:
        estimate = Bayes.fit([block.patch for block in known], model, fewest=coefficients)
    except SceneError:
        return _UNKNOWN
    return least_squares_trust(correct, estimate, known)


def least_squares_trust(correct: Correction, estimate: Bayes, known: Iterable[WaldBlock]) -> float:
    """How much of a network's correction to add, 0 to 1, by least squares where the truth is known.

    Every band counts by its own error under the estimate that is corrected. Less than `LEAST_TRUST` is none.

    Args:
        correct: Coefficients (K, H, W) by the network, of an linear_model and its inputs.
        estimate: Of the scene: what is corrected.
        known: Parts of it with their truth.
    """
    along, energy, linear_model = 0.0, 0.0, estimate.linear_model
    for block in known:
        hsi, msi = block.patch.hsi, block.patch.msi
        inputs = estimate.inputs(hsi, msi)
        correction = correct(linear_model, inputs) - inputs.initial
        bands = linear_model.subspace.decode(correction) - linear_model.subspace.decode(torch.zeros_like(correction))
        missed = (block.truth - linear_model.decode(inputs.initial, inputs, hsi))[:, block.valid]
        weight = 1 / (missed**2).mean(dim=1).clamp_min(1e-30)
        along += float((weight * (bands[:, block.valid] * missed).sum(dim=1)).sum())
        energy += float((weight * (bands[:, block.valid] ** 2).sum(dim=1)).sum())
    trust = min(along / energy, 1.0) if energy > 0 else 0.0
    return trust if trust >= LEAST_TRUST else 0.0


def reduced_blocks(
    patches: Sequence[PairPatch], imaging: ImagingModel, seed: int = 0, *, least: int = _LEAST_PIXELS
) -> list[WaldBlock]:
    """A few parts of a scene one Wald level down, their noise restored: what is calibrated on the scene itself.

    An empty list where the scene is too small to tell.

    Args:
        patches: Parts of the scene.
        imaging: R and B.
        seed: Of the noise.
        least: Degraded HSI pixels that it takes to tell.
    """
    reduced = [_reduced(patch, imaging, seed) for patch in some_of(patches)]
    blocks = [block for block in reduced if block is not None]
    return blocks if sum(int(block.pair.hsi_valid.sum()) for block in blocks) >= least else []


def some_of(patches: Sequence[PairPatch]) -> list[PairPatch]:
    """Up to four patches of 64 HSI pixels or so, evenly out of all: one number needs no more."""
    step = -(-len(patches) // _PATCHES)
    edge = _EDGE * (2 if len(patches) == 1 else 1)
    return [patch.middle(edge) for patch in patches[::step]]


def _reduced(patch: PairPatch, imaging: ImagingModel, seed: int) -> WaldBlock | None:
    """The patch one Wald level down; None where it is too small."""
    if min(patch.hsi_valid.shape) < _LEAST_EDGE * imaging.ratio:
        return None
    block = PairBlock(patch.hsi.numpy(), patch.hsi_valid.numpy(), patch.msi.numpy(), patch.msi_valid.numpy())
    registered = ImagingModel(imaging.srf, imaging.psf)
    return WaldBlock.of(degraded(block, imaging, LostNoise.of(block, registered, seed)))
