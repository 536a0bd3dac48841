"""At which resolution methods are compared: the pair against a reference, or one Wald level down."""

from __future__ import annotations

import math
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hsfuse.errors import RequestError, WorkError
from hsfuse.evaluation.cost import Cost
from hsfuse.evaluation.parts import InputParts
from hsfuse.evaluation.reference import Reference, undefined_bands
from hsfuse.fusion.arrays import BlockSource, FusedArray
from hsfuse.metrics import FullReferenceScores, full_reference
from hsfuse.pairs.wald_level import ReducedPair
from hsfuse.progress import SILENT, Renamed
from hsfuse.scenes import PixelWindow, Scene

if TYPE_CHECKING:
    from hsfuse.evaluation.reference import Seen
    from hsfuse.fusion.job import Job
    from hsfuse.pairs.pair import Pair
    from hsfuse.progress import Progress
    from hsfuse.report.gathering import Places
    from hsfuse.scenes import Bands

_MOST_NUMBERS = 2**25  # of both images before they are degraded, 128 MB: no image is streamed here
_LEAST_EDGE = 8  # degraded HSI pixels


@dataclass(frozen=True)
class Outcome:
    """What came of a method."""

    cost: Cost
    """Of fitting and fusing."""

    scores: FullReferenceScores
    """Against the truth."""

    warnings: tuple[str, ...]
    """Sentences for the user."""


class Resolution(ABC):
    """Fuses a pair by one method after another, and scores what comes out."""

    name: str
    """`full` or `reduced`."""

    note: str
    """What is held against what, a sentence for the user."""

    warnings: tuple[str, ...]
    """Sentences for the user."""

    truth: str
    """What the truth is called."""

    size: tuple[int, int]
    """Width and height of what is fused, in pixels."""

    bands: Bands
    """Of what is compared."""

    def judge(self, name: str, job: Job, progress: Progress = SILENT, seen: Seen | None = None) -> Outcome:
        """Fuse by a method and score the result, which is `seen` meanwhile; `name` is what messages call the method.

        Raises:
            RequestError: The method cannot serve the pair.
            WorkError: It failed on the way.
        """
        try:
            return self._judge(name, job, Renamed(progress, name), seen)
        except MemoryError as error:
            raise WorkError("out of memory: fuse a part (`window`)") from error

    @abstractmethod
    def _judge(self, name: str, job: Job, progress: Progress, seen: Seen | None) -> Outcome: ...

    @abstractmethod
    def inputs(self, places: Places, edge: int) -> InputParts:
        """Both images as the methods see them: spectra of the HSI at places, pictures of so many pixels an edge."""


class FullResolution(Resolution):
    """The pair as it is, against a reference, by way of temporary files."""

    name = "full"

    def __init__(self, pair: Pair, truth: Scene) -> None:
        """Match the reference with what the pair is fused to.

        Raises:
            PairError: It is on another grid, or has other bands.
        """
        self._pair = pair
        self._reference = Reference.of_pair(pair.scenes, truth)
        self.warnings = self._reference.warnings
        self.note = f"at full resolution, against {truth.path}"
        self.truth = "reference"
        self.size = pair.window.width * pair.ratio, pair.window.height * pair.ratio
        self.bands = truth.bands.select(self._reference.match.other)

    def inputs(self, places: Places, edge: int) -> InputParts:
        """The pair as it is."""
        found = InputParts(self._pair, places, edge)
        found.read()
        return found

    def _judge(self, name: str, job: Job, progress: Progress, seen: Seen | None) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="hsfuse-compare-") as folder:
            path = Path(folder) / "fused.tif"
            with Cost(job.suited.torch_device) as cost:
                run = job.write(self._pair, path, progress=progress)
            fused = Scene.open(str(path), screen=False)
            scores, warnings = self._reference.score(fused, self._pair.ratio, called=name, seen=seen)
        return Outcome(cost, scores, (*_by(name, run.warnings), *warnings))


class ReducedResolution(Resolution):
    """The pair degraded by its ratio, its noise restored, against the HSI itself, in memory."""

    name = "reduced"

    def __init__(self, pair: Pair, seed: int = 0) -> None:
        """Degrade the pair, or the middle of a large one.

        Args:
            pair: The scenes.
            seed: Of the noise that is restored.

        Raises:
            RequestError: Too few pixels are left.
        """
        self._pair, self.warnings = pair, ()
        scene = ReducedPair(pair, seed=seed)
        part = _middle(pair)
        self._model, self._block = scene.model, scene.read(part)
        self.truth = "truth (the HSI itself)"
        self.size, self.bands = (part.width * pair.ratio, part.height * pair.ratio), pair.hsi_bands
        window = pair.window
        self.note = (
            f"at reduced resolution (Wald's protocol): both images were degraded by {pair.ratio}, given their noise "
            "again, and the HSI itself is the truth"
        )
        if part != scene.area:
            self.note += (
                f"; only the middle {part.width * pair.ratio}×{part.height * pair.ratio} of {window.width}×"
                f"{window.height} HSI pixels was used"
            )

    def inputs(self, places: Places, edge: int) -> InputParts:
        """The degraded pair."""
        block = self._block.pair
        rows, columns = block.hsi_valid.shape
        found = InputParts(self._pair, places, edge, (columns, rows))
        found.add(block, PixelWindow(0, 0, columns, rows))
        return found

    def _judge(self, name: str, job: Job, progress: Progress, seen: Seen | None) -> Outcome:
        block, ratio = self._block, self._pair.ratio
        truth = block.truth.numpy()
        rows, columns = block.pair.hsi_valid.shape
        fused = FusedArray(truth.shape)
        with Cost(job.suited.torch_device) as cost:
            fitted = job.fit([block.patch], self._model)
            run = job.run(
                BlockSource(block.pair), PixelWindow(0, 0, columns, rows), fitted, fused,
                bands=len(truth), ratio=ratio, progress=progress,
            )  # fmt: skip
        scores = full_reference(
            fused.values, truth, fused.valid, ratio=ratio, wavelength_nm=self._pair.hsi_bands.wavelength_nm
        )
        if seen is not None:
            seen(fused.values, truth, (fused.valid, block.valid.numpy()), (0, 0))
        undefined = undefined_bands(scores, self._pair.scenes.hsi.path, self._pair.scenes.hsi_bands)
        return Outcome(cost, scores, (*_by(name, run.warnings), *undefined))


def _middle(pair: Pair) -> PixelWindow:
    """The middle of the area in use that fits into memory, in degraded HSI pixels."""
    ratio, area = pair.ratio, ReducedPair(pair).area
    bands = len(pair.scenes.hsi_bands) + len(pair.scenes.msi_bands) * ratio**2
    shrink = min(math.sqrt(_MOST_NUMBERS / max(area.width * area.height * ratio**2 * bands, 1)), 1.0)
    width, height = int(area.width * shrink), int(area.height * shrink)
    if min(width, height) < _LEAST_EDGE:
        window, least = pair.window, _LEAST_EDGE * ratio
        raise RequestError(
            f"the {window.width}×{window.height} HSI pixels that {pair.scenes.hsi.path} and {pair.scenes.msi.path} "
            f"have in common are too few at reduced resolution: give at least {least}×{least}, or a `reference`"
        )
    return PixelWindow((area.width - width) // 2, (area.height - height) // 2, width, height)


def _by(name: str, sentences: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}: {sentence}" for sentence in sentences)
