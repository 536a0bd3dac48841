"""`hsfuse train-reduced`: weights for a pair of sensors, trained on pairs of theirs by Wald's protocol."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

import torch

from hsfuse.errors import HsfuseError, RequestError
from hsfuse.evaluation.pages import page_of_training
from hsfuse.files import already_there, refuse_one_file
from hsfuse.fusion.compute import Compute, peak_device_megabytes
from hsfuse.fusion.memory import available_bytes, peak_megabytes
from hsfuse.fusion.methods import choose_method
from hsfuse.fusion.opening import opened
from hsfuse.models.recomputing import recompute_stages
from hsfuse.models.weights import WeightsCard, save_weights
from hsfuse.pairs.opening import requested
from hsfuse.pairs.wald_level import ReducedPair
from hsfuse.progress import SILENT
from hsfuse.report.page import check_page, write_page
from hsfuse.training.distributed import joined, local_device, started_first
from hsfuse.training.files import TrainingFiles
from hsfuse.training.held_back import CRITERION, Figures
from hsfuse.training.loop import Trainer
from hsfuse.training.memory import within_memory
from hsfuse.training.repeatable import check_deterministic, deterministic_algorithms
from hsfuse.training.request import TrainingRequest
from hsfuse.training.start import NetworkRequest, StartingPoint, TrainingPlan

if TYPE_CHECKING:
    from typing import Unpack

    from hsfuse.pairs.pair import Pair, PairOptions, PairRequest, PathLike
    from hsfuse.progress import Progress
    from hsfuse.report.content import Page
    from hsfuse.training.checkpoint import Record
    from hsfuse.training.distributed import Processes
    from hsfuse.training.schedule import Schedule

logger = logging.getLogger(__name__)

OPPONENTS = ("bicubic", "gsa", "mtf-glp", "cnmf", "hysure", "bayes")
"""Methods that the trained network is held against, on the same patches."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What came of a training."""

    output: Path
    """The weights file."""

    model: str
    """The network."""

    spectral: str
    """`subspace` or `full`."""

    start: str
    """What the training started from."""

    parameters: int
    """Of the network."""

    steps: int
    """Optimizer steps done."""

    skipped: int
    """Of them, those that changed nothing: their loss or gradient was not finite."""

    seconds: float
    """Of training."""

    best_step: int
    """At which the weights kept were taken."""

    criterion: str
    """What was largest then on what was held back."""

    validation: dict[str, Figures]
    """PSNR, SAM and ERGAS by method, on what was held back; the trained network is `trained`."""

    log: Path
    """CSV of every validation."""

    curves: Path | None
    """Picture of them; None without matplotlib."""

    peak_memory_mb: float
    """Largest resident size of this process."""

    peak_device_memory_mb: float | None
    """Most memory of the card that torch held; None without one."""
    report: Path | None
    """The page about it; None where none was asked for."""

    interrupted: bool
    """Whether it was stopped before its end: the best so far was kept."""

    warnings: tuple[str, ...]
    """Sentences for the user."""


@overload
def train_reduced(
    pairs: Pair | PairRequest | Sequence[Pair | PairRequest],
    output: PathLike,
    /,
    *,
    network: NetworkRequest = ...,
    plan: TrainingPlan = ...,
    compute: Compute | None = ...,
    data_licence: str = ...,
    report: PathLike | None = ...,
    resume: bool = ...,
    overwrite: bool = ...,
    progress: Progress = ...,
) -> TrainResult | None: ...


@overload
def train_reduced(
    hsi: PathLike,
    msi: PathLike,
    output: PathLike,
    /,
    *,
    network: NetworkRequest = ...,
    plan: TrainingPlan = ...,
    compute: Compute | None = ...,
    data_licence: str = ...,
    report: PathLike | None = ...,
    resume: bool = ...,
    overwrite: bool = ...,
    progress: Progress = ...,
    **options: Unpack[PairOptions],
) -> TrainResult | None: ...


def train_reduced(
    pairs: Pair | PairRequest | Sequence[Pair | PairRequest] | PathLike,
    /,
    *paths: PathLike,
    network: NetworkRequest = NetworkRequest(),  # noqa: B008 (frozen)
    plan: TrainingPlan = TrainingPlan(),  # noqa: B008
    compute: Compute | None = None,
    data_licence: str = "",
    report: PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
    **options: Unpack[PairOptions],
) -> TrainResult | None:
    """Train a network on pairs of scenes alone: both images are degraded by the ratio, and the HSI is the truth.

    Args:
        pairs: Pairs of one pair of sensors, open or to be opened, or the path of an HSI.
        paths: The weights file to write, after the MSI if paths are given; a log and a checkpoint lie beside it.
        network: Which network to train, and from where.
        plan: How long, how fast and on what patches.
        compute: Device and precision; its memory is what patches may take, by default a quarter of what is free.
        data_licence: On what terms the scenes may be used, for the file's header.
        report: A page to write last, with the curves, what was held back, pictures and imaging model; needs the
            `report` extra.
        resume: Go on with an interrupted training of the same request; one that has ended is left as it is.
        overwrite: Replace an existing output.
        progress: Observer of the work.
        options: Of a pair that is given by its paths: the fields of `PairRequest`.

    Returns:
        What came of it; None in the processes of `torchrun` other than the first.

    Raises:
        RequestError: The request cannot be served; nothing was written.
        WorkError: The loss or its gradient was not finite in many steps in a row.
    """
    wanted, output = _requested(pairs, paths, options)
    compute = compute or Compute()
    on = local_device(compute.torch_device)
    files = TrainingFiles(Path(output))
    asked = TrainingRequest(wanted, network, plan, compute, data_licence)
    if resume:
        network.check()
        if (ended := _ended(files, asked, report)) is not None:
            return ended if started_first() else None
    files.check(resume=resume, overwrite=overwrite)
    if report is not None:
        check_page(report, overwrite=overwrite or resume)
        refuse_one_file({"output": files.output, "log": files.log, "curves": files.picture, "report": report})
    network.check()
    plan.check(network.model)
    if plan.deterministic:
        check_deterministic(on)
    logger.info("training %s on %s in %s", network.model, on, compute.exactness)
    found = [opened(one, compute=compute, progress=progress) for one in wanted]
    scenes = [ReducedPair(pair, seed=plan.seed) for pair in found]
    memory = compute.memory if compute.memory is not None else available_bytes() // 4
    start = network.build(scenes, plan, memory=memory, device=on)
    if plan.gradient_checkpointing:
        recompute_stages(start.network)
    if not resume:  # only now, when nothing is left to be refused
        files.checkpoint.unlink(missing_ok=True)
    with joined(on) as processes, deterministic_algorithms(wanted=plan.deterministic), compute.products():
        schedule, notes = _affordable(plan, start, on, processes)
        trainer = Trainer(
            start.network.to(on), start.task, schedule, checkpoint=files.checkpoint,
            request=asked.checkpoint_key, half=compute.half, processes=processes,
        )  # fmt: skip
        interrupted = _run(trainer, progress, processes)
        if not processes.first:
            return None
        made = _Made(files, asked, start, trainer, found, interrupted, notes)
        result = made.result(progress)
        if report is not None:
            write_page(report, made.page(result), overwrite=overwrite or resume)
        if not interrupted:  # last: until then `resume` makes what is missing
            files.checkpoint.unlink(missing_ok=True)
        return replace(result, report=None if report is None else Path(report))


def _affordable(
    plan: TrainingPlan, start: StartingPoint, device: torch.device, processes: Processes
) -> tuple[Schedule, tuple[str, ...]]:
    """The schedule, its batch in parts where memory does not hold it at once, and what is to be said of that."""
    schedule = plan.schedule(start, processes.count)
    # A card says itself what it does not hold; what is computed again is not counted.
    if device.type != "cpu" or plan.gradient_checkpointing:
        return schedule, ()
    schedule, note = within_memory(start, schedule, available_bytes() // processes.count)
    return schedule, () if note is None else (note,)


def _requested(
    pairs: Pair | PairRequest | Sequence[Pair | PairRequest] | PathLike,
    paths: tuple[PathLike, ...],
    options: PairOptions,
) -> tuple[Sequence[Pair | PairRequest], PathLike]:
    if isinstance(pairs, Sequence) and not isinstance(pairs, str):
        if not pairs:
            raise RequestError("there is no pair to train on: give at least one")
        _, (output,) = requested(pairs[0], paths, options, after=1)
        return pairs, output
    one, (output,) = requested(pairs, paths, options, after=1)
    return [one], output


def _ended(files: TrainingFiles, asked: TrainingRequest, report: PathLike | None) -> TrainResult | None:
    """What came of a training of the very request that has ended, with all of its files; None where none has."""
    if files.checkpoint.exists() or not files.output.exists() or not (report is None or Path(report).exists()):
        return None
    history = files.read_history()
    weights = asked.finished(files.output) if history else None
    if weights is None:
        return None
    return TrainResult(
        output=files.output,
        model=weights.card.model,
        spectral=weights.card.spectral,
        start=asked.network.start,
        parameters=sum(parameter.numel() for parameter in weights.network().parameters()),
        steps=history[-1].step,
        skipped=history[-1].skipped,
        seconds=history[-1].elapsed,
        best_step=weights.card.steps,
        criterion=CRITERION,
        validation={
            "before training": Figures(**history[0].figures),
            "trained": Figures(**weights.card.validation),
        },
        log=files.log,
        curves=files.picture if files.picture.exists() else None,
        peak_memory_mb=peak_megabytes(),
        peak_device_memory_mb=None,
        report=None if report is None else Path(report),
        interrupted=False,
        warnings=(already_there(files.output),),
    )


def _run(trainer: Trainer, progress: Progress, processes: Processes) -> bool:
    """Train; returns whether the user put an end to it."""
    told = progress if processes.first else SILENT
    told.note(f"score: {CRITERION} on what is held back; the weights with the largest are kept")
    try:
        trainer.run(told)
    except KeyboardInterrupt:
        if not trainer.history:
            raise
        return True
    return False


@dataclass(frozen=True, eq=False)
class _Made:
    """A training that has ended, to be written and told of."""

    files: TrainingFiles
    asked: TrainingRequest
    start: StartingPoint
    trainer: Trainer
    pairs: Sequence[Pair]
    interrupted: bool
    notes: tuple[str, ...]

    def result(self, progress: Progress) -> TrainResult:
        trainer, best = self.trainer, self._best
        trainer.network.load_state_dict(trainer.best_weights)
        trained = Figures(**{entry.name: best.figures[entry.name] for entry in fields(Figures)})
        self.files.write(
            lambda path: save_weights(trainer.network.state_dict(), self._card(trained, best), path), trainer.history
        )
        validation, warnings = self._opponents(progress)
        curves = self.files.draw(trainer.history, validation)
        validation["before training"] = Figures(**trainer.history[0].figures)
        validation["trained"] = trained
        warnings = [*(sentence for pair in self.pairs for sentence in pair.warnings), *self.notes, *warnings]
        if trainer.skipped:
            warnings.append(
                f"{trainer.skipped} of {trainer.step} steps were skipped, since their loss or gradient was not finite"
                + (": usual in fp16 until the scale of its loss is found" if trainer.half == torch.float16 else "")
            )
        if best.step == 0:
            warnings.append("training brought nothing better than what it started from: that is what was written")
        return TrainResult(
            output=self.files.output,
            model=self.asked.network.model,
            spectral=self.asked.network.spectral,
            start=self.start.name,
            parameters=sum(parameter.numel() for parameter in trainer.network.parameters()),
            steps=trainer.step,
            skipped=trainer.skipped,
            seconds=trainer.elapsed,
            best_step=best.step,
            criterion=CRITERION,
            validation=validation,
            log=self.files.log,
            curves=curves,
            peak_memory_mb=peak_megabytes(),
            peak_device_memory_mb=peak_device_megabytes(trainer.device),
            report=None,
            interrupted=self.interrupted,
            warnings=tuple(dict.fromkeys(warnings)),
        )

    def page(self, result: TrainResult) -> Page:
        """The report."""
        made = {
            "network": f"{result.model}, {result.spectral}, {result.parameters:,} parameters",
            "started from": result.start,
            "steps": f"{result.steps}, the best at {result.best_step}",
            "time": f"{result.seconds:.0f} s" + (", interrupted" if result.interrupted else ""),
            "weights": str(result.output),
        }
        return page_of_training(
            f"Trained: {result.output.name}",
            self.pairs[0],
            len(self.pairs) - 1,
            [{"step": record.step, "loss": record.loss, **record.figures} for record in self.trainer.history],
            {name: asdict(figures) for name, figures in result.validation.items()},
            made=made,
            warnings=result.warnings,
        )

    @property
    def _best(self) -> Record:
        return next(record for record in reversed(self.trainer.history) if record.best)

    def _opponents(self, progress: Progress) -> tuple[dict[str, Figures], list[str]]:
        """Classical methods on the same patches; one that cannot serve them, or is not waited for, is named."""
        found: dict[str, Figures] = {}
        warnings: list[str] = []
        try:
            if self.interrupted:
                progress.note("the best weights so far are written; comparing classical methods, which Ctrl-C ends")
            for name in OPPONENTS:
                method = choose_method(name).method
                try:
                    found[name] = Figures.of([held.score(held.fit(method)) for held in self.start.task.held_back])
                except HsfuseError as error:
                    warnings.append(f"{name} failed: {error}")
        except KeyboardInterrupt:
            missing = ", ".join(name for name in OPPONENTS if name not in found)
            warnings.append(f"interrupted in comparing with {missing}: the weights were written")
        return found, warnings

    def _card(self, trained: Figures, best: Record) -> WeightsCard:
        scenes = [pair.scenes for pair in self.pairs]
        srf = self.pairs[0].imaging.srf
        asked = self.asked
        full = asked.network.spectral == "full"
        wavelengths = srf.hsi_wavelength_nm if full else None
        return WeightsCard(
            model=asked.network.model,
            architecture=self.start.architecture,
            config=asdict(self.start.config),
            spectral=asked.network.spectral,
            ratios=self.start.ratios,
            trained_on=tuple(f"{Path(each.hsi.path).name} with {Path(each.msi.path).name}" for each in scenes),
            validated_on=tuple(f"{Path(each.hsi.path).name}, a part that was held back" for each in scenes),
            validation=asdict(trained),
            data_licence=asked.data_licence,
            steps=best.step,
            seed=self.trainer.schedule.seed,
            preset=self.start.preset,
            sensors=tuple(dict.fromkeys(each.msi.sensor for each in scenes if each.msi.sensor)),
            hsi_wavelength_nm=() if wavelengths is None else tuple(wavelengths.tolist()),
            msi_bands=tuple(srf.msi_bands) if full else (),
            request="" if self.interrupted else asked.checksum(),
        )
