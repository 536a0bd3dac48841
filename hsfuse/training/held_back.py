"""What is held back of a scene: every method is judged there, networks and classical ones alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hsfuse.errors import RequestError, WorkError
from hsfuse.metrics import FullReference
from hsfuse.training.split import PART_EDGE, pieces, some_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsfuse.fusion.method import FittedMethod, Method
    from hsfuse.imaging import ImagingModel
    from hsfuse.metrics import FullReferenceScores
    from hsfuse.pairs.wald_level import WaldBlock, WaldScene
    from hsfuse.scenes import PixelWindow
    from hsfuse.subspace.patch import PairPatch

CRITERION = "PSNR in dB minus SAM in degrees"
"""What decides between two sets of weights: a decibel weighs as much as a degree."""

_MOST_PIXELS = 4 * PART_EDGE**2
_MOST_PATCHES = 8


@dataclass(frozen=True, eq=False)
class HeldBack:
    """The validation part of a scene."""

    name: str
    """Of the scene."""

    parts: tuple[WaldBlock, ...]
    """Of what is held back, evenly spread."""

    patches: tuple[PairPatch, ...]
    """Of the whole scene, without truth: what a method is fitted on."""

    model: ImagingModel
    """R and B."""

    @classmethod
    def of(cls, scene: WaldScene, window: PixelWindow, edge: int = PART_EDGE) -> HeldBack:
        """Read what is needed of a scene.

        Args:
            scene: The scene.
            window: What is held back of it.
            edge: Of the parts that are fused at a time, to twice that, in degraded HSI pixels.

        Raises:
            RequestError: No pixel of the window is valid.
        """
        parts = tuple(
            part for part in map(scene.read, some_of(pieces(window, edge), _MOST_PIXELS // edge**2)) if part.valid.any()
        )
        if not parts:
            raise RequestError(
                f"no pixel is valid in the part of {scene.name} that is held back for validation: choose another "
                "part of the scene (`window`)"
            )
        patches = tuple(scene.read(place).patch for place in some_of(pieces(scene.area), _MOST_PATCHES))
        return cls(scene.name, parts, patches, scene.model)

    def fit(self, method: Method) -> FittedMethod:
        """A method that knows the scene, on the CPU in float32."""
        return method.fit(self.patches, self.model)

    def score(self, fitted: FittedMethod) -> FullReferenceScores:
        """Of a method that is fitted to the scene.

        Raises:
            WorkError: What it fuses is not finite.
        """
        scores = FullReference(self.model.ratio)
        for part in self.parts:
            with torch.inference_mode():
                fused = fitted(part.patch.hsi, part.patch.msi).cpu()
            if not torch.isfinite(fused).all():
                raise WorkError(f"what was fused of {self.name} is not finite")
            scores.update(fused.numpy(), part.truth.numpy(), part.valid.numpy())
        return scores.result()


@dataclass(frozen=True)
class Figures:
    """Means over scenes."""

    psnr: float
    """In dB."""

    sam: float
    """In degrees."""

    ergas: float
    """Without unit."""

    @classmethod
    def of(cls, scores: Sequence[FullReferenceScores]) -> Figures:
        """The mean of each."""
        psnr, sam, ergas = (
            sum(getattr(score, name) for score in scores) / len(scores) for name in ("psnr", "sam", "ergas")
        )
        return cls(psnr, sam, ergas)

    @property
    def score(self) -> float:
        """`CRITERION`; more is better."""
        return self.psnr - self.sam
