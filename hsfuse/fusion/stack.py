"""Several methods as one: a convex combination of what they fuse, its weights fitted on the scene itself.

Estimates whose errors differ are better together than the best of them alone (stacking, Wolpert 1992; Breiman 1996 for
weights that are not negative). Which weights is told one Wald level down, where the HSI itself is the truth: least
squares on the simplex, drawn a little towards equal weights since that level is coarser than the one that counts.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.errors import SceneError
from hsfuse.fusion.compute import CPU, Compute, to_device
from hsfuse.fusion.trust import reduced_blocks
from hsfuse.imaging import ImagingModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from hsfuse.fusion.method import FittedMethod, Method
    from hsfuse.pairs.wald_level import WaldBlock
    from hsfuse.subspace.patch import PairPatch

logger = logging.getLogger(__name__)

LEAST_WEIGHT = 0.03
"""A member that counts less is left out: it costs more than it brings."""

_DRAWN_TO_EQUAL = 0.2  # of the members' mean squared error


@dataclass(frozen=True)
class StackMethod:
    """Methods of which none is the best on every scene."""

    members: Mapping[str, Method]
    """By name."""

    def suited(self, compute: Compute) -> Compute:
        """Whatever was asked for: every member takes of it what suits it."""
        return compute

    def fit(
        self, patches: Sequence[PairPatch], imaging: ImagingModel, *, compute: Compute = CPU, seed: int = 0
    ) -> FittedStack:
        """Fit the weights one Wald level down, and all members that count on the scene."""
        weights = self._weights(reduced_blocks(patches, imaging, seed), imaging, compute, seed)
        fitted = self._fitted({name: self.members[name] for name in weights}, patches, imaging, compute, seed)
        total = sum(weights[name] for name in fitted)
        stack = FittedStack(
            tuple(
                StackMember(name, weights[name] / total, to_device(method, compute.torch_device))
                for name, method in fitted.items()
            )
        )
        logger.info("stacked on this scene: %s", stack.facts["STACK"])
        return stack

    def _fitted(
        self,
        members: Mapping[str, Method],
        patches: Sequence[PairPatch],
        imaging: ImagingModel,
        compute: Compute,
        seed: int,
    ) -> dict[str, FittedMethod]:
        """Those members that can serve the scene.

        Raises:
            SceneError: None can.
        """
        fitted: dict[str, FittedMethod] = {}
        refusal: SceneError | None = None
        for name, member in members.items():
            try:
                fitted[name] = member.fit(patches, imaging, compute=member.suited(compute), seed=seed)
            except SceneError as error:
                refusal = error
                logger.info("%s cannot serve the scene: %s", name, error)
        if refusal is not None and not fitted:
            raise refusal
        return fitted

    def _weights(
        self, blocks: Sequence[WaldBlock], imaging: ImagingModel, compute: Compute, seed: int
    ) -> dict[str, float]:
        """Of the members that count; equal ones where the scene is too small to tell."""
        equal = {name: 1 / len(self.members) for name in self.members}
        if not blocks:
            return equal
        model, patches = ImagingModel(imaging.srf, imaging.psf), [block.patch for block in blocks]
        try:
            fitted = self._fitted(self.members, patches, model, compute, seed)
        except SceneError:
            return equal
        found = simplex_weights(_error_products(list(fitted.values()), blocks))
        return {name: float(weight) for name, weight in zip(fitted, found, strict=True) if weight >= LEAST_WEIGHT}


@dataclass(frozen=True)
class StackMember:
    """One of the methods, fitted to the scene."""

    name: str
    """As users call it."""

    weight: float
    """Above 0; those of all members sum to 1."""

    method: FittedMethod
    """What fuses a tile."""


@dataclass(frozen=True)
class FittedStack:
    """Methods and their weights on a scene."""

    members: tuple[StackMember, ...]
    """Those that count."""

    @property
    def facts(self) -> Mapping[str, str]:
        """The weights, and what members say."""
        weights = ", ".join(f"{member.name} {member.weight:.2f}" for member in self.members)
        return {"STACK": weights} | {
            key: value for member in self.members for key, value in member.method.facts.items()
        }

    @property
    def margin(self) -> int:
        """HSI pixels at a tile's rim that depend on what lies beyond it: the most that any member needs."""
        return max(member.method.margin for member in self.members)

    @property
    def bytes_a_pixel(self) -> int:
        """Working memory by fine pixel: members run one after another."""
        return max(member.method.bytes_a_pixel for member in self.members)

    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse a tile: Y (C, h, w) and P (c, r·h, r·w) to (C, r·h, r·w)."""
        fused = torch.zeros(len(hsi), *msi.shape[-2:], device=hsi.device)
        for member in self.members:
            fused.add_(member.method(hsi, msi).float(), alpha=member.weight)
        return fused


def simplex_weights(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights w ≥ 0 that sum to 1 and minimise wᵀ G w, drawn towards equal ones.

    Solved exactly: each set of members that may have the others at 0 has a closed form, and there are few sets.

    Args:
        products: G, mean products of the members' errors, shape (M, M).
    """
    count = len(products)
    drawn = products + _DRAWN_TO_EQUAL * np.trace(products) / count * np.eye(count)
    best, least = np.full(count, 1 / count), np.inf
    for size in range(1, count + 1):
        for chosen in itertools.combinations(range(count), size):
            part = drawn[np.ix_(chosen, chosen)]
            solved = np.linalg.solve(part + 1e-12 * np.trace(part) * np.eye(size), np.ones(size))
            weights = solved / solved.sum()
            cost = float(weights @ part @ weights)
            if (weights >= 0).all() and cost < least:
                best, least = np.zeros(count), cost
                best[list(chosen)] = weights
    return best


def _error_products(fitted: Sequence[FittedMethod], blocks: Sequence[WaldBlock]) -> NDArray[np.float64]:
    """G: products of the members' errors, every band by its own mean squared error, (M, M)."""
    products = np.zeros((len(fitted), len(fitted)))
    for block in blocks:
        with torch.inference_mode():
            errors = torch.stack(
                [
                    (method(block.patch.hsi, block.patch.msi).float().cpu() - block.truth)[:, block.valid]
                    for method in fitted
                ]
            )  # (M, C, n)
        weighed = errors / errors.square().mean(dim=(0, 2), keepdim=True).clamp_min(1e-30).sqrt()
        flat = weighed.flatten(1).double()
        products += (flat @ flat.T / max(errors.shape[1], 1)).numpy()
    return products
