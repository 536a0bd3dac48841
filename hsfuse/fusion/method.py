"""What every way to fuse has in common, so that nobody asks which one it runs.

A `Method` is fitted to a scene once, on a sample and with the imaging model; what comes out takes tiles in and
gives fused tiles back. It says itself what it needs: device, precision, bytes a pixel, margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hsfuse.fusion.compute import CPU, Compute
from hsfuse.models.precision import full_float32

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from hsfuse.imaging import ImagingModel
    from hsfuse.subspace.patch import PairPatch

CLASSICAL_BYTES_A_PIXEL = 4_000
"""Working memory by fine pixel of a classical method (measured: up to 2,100 beside the fused tile)."""

NETWORK_BYTES_A_PIXEL = 12_000
"""Working memory by fine pixel of a network in the spectral subspace (measured: up to 11,300)."""


class FittedMethod(Protocol):
    """A method that knows its scene."""

    @property
    def margin(self) -> int:
        """HSI pixels at a tile's rim that depend on what lies beyond it."""

    @property
    def bytes_a_pixel(self) -> int:
        """Working memory by fine pixel, beside the tiles themselves, about."""

    @property
    def facts(self) -> Mapping[str, str]:
        """What was fitted on the scene and a user may want to know: for tags of the output and the log."""

    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse a tile without holes: Y (C, h, w) and P (c, r·h, r·w) to X (C, r·h, r·w), float32."""


class Method(Protocol):
    """A way to fuse."""

    def suited(self, compute: Compute) -> Compute:
        """Where and how exactly it runs, of what was asked for."""

    def fit(
        self, patches: Sequence[PairPatch], imaging: ImagingModel, *, compute: Compute = CPU, seed: int = 0
    ) -> FittedMethod:
        """Fit what is global to a scene on a sample of it, and bring all of it to where tiles are computed.

        Args:
            patches: Parts of the scene, holes filled, masks telling where they were.
            imaging: R and B.
            compute: Device and precision, as `suited` gave it back.
            seed: Of whatever is drawn at random.
        """


class TileRule(Protocol):
    """What a classical method is once it is fitted."""

    @property
    def margin(self) -> int:
        """HSI pixels at a tile's rim that depend on what lies beyond it."""

    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse a tile without holes."""


@dataclass(frozen=True)
class FittedClassical:
    """A classical method that knows its scene."""

    rule: TileRule
    """What fuses a tile."""

    bytes_a_pixel: int = CLASSICAL_BYTES_A_PIXEL
    """Working memory by fine pixel, about."""

    @property
    def margin(self) -> int:
        """HSI pixels at a tile's rim that depend on what lies beyond it."""
        return self.rule.margin

    @property
    def facts(self) -> Mapping[str, str]:
        """Nothing that is worth a tag."""
        return {}

    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse a tile without holes, in float32 whatever the caller computes in."""
        with full_float32(hsi.device):
            return self.rule(hsi, msi)


@dataclass(frozen=True)
class ClassicalMethod:
    """A method without weights. It runs in float32 on the CPU whatever was asked for: half precision would cost cnmf
    more than a decibel, and the CPU is quick enough.
    """

    fitting: Callable[[Sequence[PairPatch], ImagingModel], TileRule]
    """Makes the rule for a scene."""

    def suited(self, compute: Compute) -> Compute:
        """The CPU, in float32."""
        return compute.on_cpu()

    def fit(
        self,
        patches: Sequence[PairPatch],
        imaging: ImagingModel,
        *,
        compute: Compute = CPU,  # noqa: ARG002 (the face of a method)
        seed: int = 0,  # noqa: ARG002
    ) -> FittedClassical:
        """Fit the scene's statistics."""
        return FittedClassical(self.fitting(patches, imaging))
