"""What a method is put to when methods are compared: the pair against a reference, or one Wald level down."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from hsfuse.commands.fuse import fit_on, fuse_imaged, plan_tiles
from hsfuse.errors import WorkError
from hsfuse.evaluation.cost import Cost
from hsfuse.evaluation.reference import Reference, undefined_bands
from hsfuse.fusion.engine import fuse_tiles
from hsfuse.metrics import FullReferenceScores, full_reference
from hsfuse.pairs.reduced import FusedArray, ReducedPair
from hsfuse.scenes import Scene
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from hsfuse.fusion.engine import Compute, Progress
    from hsfuse.fusion.methods import ChosenMethod
    from hsfuse.pairs.pair import Pair


@dataclass(frozen=True)
class Job:
    """What all methods are run with."""

    compute: Compute
    """Device and precision."""

    precision: str
    """The latter's name."""

    memory: int | None
    """Bound on the resident memory in bytes; None for half of what is free."""

    seed: int
    """Of whatever a method draws at random."""


@dataclass(frozen=True)
class Outcome:
    """What came of a method."""

    cost: Cost
    """Of fitting and fusing."""

    scores: FullReferenceScores
    """Against the truth."""

    warnings: tuple[str, ...]
    """Sentences for the user."""


class Trial(ABC):
    """Fuses a pair by one method after another, and scores what comes out."""

    resolution: str
    """`full` or `reduced`."""

    note: str
    """What is held against what, a sentence for the user."""

    warnings: tuple[str, ...]
    """Sentences for the user."""

    def run(self, name: str, method: ChosenMethod, job: Job, progress: Progress | None = None) -> Outcome:
        """Fuse by a method and score the result; `name` is what the method is called in messages.

        Raises:
            RequestError: The method cannot serve the pair.
            WorkError: It failed on the way.
        """
        torch.manual_seed(job.seed)
        try:
            return self._run(name, method, job, _Named(name, progress))
        except MemoryError as error:
            raise WorkError("out of memory: pass a part with --window") from error

    @abstractmethod
    def _run(self, name: str, method: ChosenMethod, job: Job, progress: Progress) -> Outcome: ...


class FullTrial(Trial):
    """The pair as it is, against a reference, by way of temporary files."""

    resolution = "full"

    def __init__(self, imaged: Pair, truth: Scene) -> None:
        """Match the reference with what the pair is fused to.

        Raises:
            PairError: It is on another grid, or has other bands.
        """
        self._imaged = imaged
        self._reference = Reference.of_pair(imaged.pair, truth)
        self.warnings = self._reference.match.warnings
        self.note = f"at full resolution, against {truth.path}"

    def _run(self, name: str, method: ChosenMethod, job: Job, progress: Progress) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="hsfuse-compare-") as folder:
            path = Path(folder) / "fused.tif"
            with Cost() as cost:
                plan, redone = fuse_imaged(
                    self._imaged, method, path, compute=job.compute, memory=job.memory, progress=progress
                )
            fused = Scene.open(str(path))
            scores, warnings = self._reference.score(fused, self._imaged.pair.ratio, called=name)
        return Outcome(cost, scores, (*_redone(name, redone, len(plan), job), *warnings))


class ReducedTrial(Trial):
    """The pair degraded by its ratio, against the HSI itself, in memory."""

    resolution = "reduced"

    def __init__(self, imaged: Pair) -> None:
        """Degrade the pair, or the middle of a large one.

        Raises:
            RequestError: Too few pixels are left.
        """
        self._pair = imaged.pair
        self._level = ReducedPair.of(imaged)
        self.warnings = ()
        part, window = self._level.part, imaged.pair.window
        self.note = (
            f"at reduced resolution (Wald's protocol): both images were degraded by {imaged.pair.ratio} and the HSI "
            "itself is the truth"
        )
        if not self._level.whole:
            self.note += (
                f"; only the middle {part.width}×{part.height} of {window.width}×{window.height} HSI pixels was used"
            )

    def _run(self, name: str, method: ChosenMethod, job: Job, progress: Progress) -> Outcome:
        level, wald = self._level, self._level.wald
        bands, ratio = len(wald.reference), wald.model.ratio
        with Cost() as cost:
            fused = FusedArray(wald.reference)
            fitted = fit_on(job.compute.device, method, [PairPatch.of(level.read(level.area))], wald.model)
            plan = plan_tiles(level.area, bands, ratio, fitted, memory=job.memory)
            redone = fuse_tiles(level, fitted, plan, fused, bands=bands, compute=job.compute, progress=progress)
        scores = full_reference(
            fused.values,
            wald.reference,
            fused.valid,
            ratio=ratio,
            wavelength_nm=self._pair.hsi.bands.select(self._pair.hsi_bands).wavelength_nm,
        )
        undefined = undefined_bands(scores, self._pair.hsi.path, self._pair.hsi_bands)
        return Outcome(cost, scores, (*_redone(name, redone, len(plan), job), *undefined))


def _redone(name: str, redone: int, tiles: int, job: Job) -> tuple[str, ...]:
    if not redone:
        return ()
    return (f"{name}: {redone} of {tiles} tiles were not finite in {job.precision} and were computed in fp32",)


class _Named:
    """Tells an observer which method is at work."""

    def __init__(self, name: str, progress: Progress | None) -> None:
        self._name, self._progress = name, progress

    def start(self, stage: str, total: int, unit: str = "tiles") -> None:
        if self._progress is not None:
            self._progress.start(f"{stage} by {self._name}", total, unit)

    def advance(self) -> None:
        if self._progress is not None:
            self._progress.advance()

    def finish(self) -> None:
        if self._progress is not None:
            self._progress.finish()
