"""`hsfuse train-reduced`: weights for a pair of sensors, trained on pairs of theirs by Wald's protocol."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from hsfuse.commands.fuse import HALF, choose_compute
from hsfuse.errors import HsfuseError, RequestError
from hsfuse.fusion.memory import available_bytes
from hsfuse.fusion.methods import DEFAULT_METHOD, choose_method
from hsfuse.models.weights import WeightsCard, save_weights
from hsfuse.pairs.pair import image_pair, open_pair
from hsfuse.pairs.wald_level import PairLevel
from hsfuse.training.distributed import joined, local_device
from hsfuse.training.files import TrainingFiles
from hsfuse.training.held_back import Figures
from hsfuse.training.loop import Schedule, Trainer
from hsfuse.training.start import NetworkRequest, StartingPoint

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from hsfuse.pairs.pair import Pair
    from hsfuse.scenes import PixelWindow
    from hsfuse.training.checkpoint import Record
    from hsfuse.training.distributed import Processes
    from hsfuse.training.loop import Observer
    from hsfuse.training.tasks import BandsTask, SubspaceTask

OPPONENTS = ("bicubic", "gsa", "mtf-glp", "cnmf", "hysure")
"""Methods that the trained network is held against, on the same patches."""

DEFAULT_SECONDS = 1800.0
"""Of training, where neither epochs nor steps nor a time is given."""


@dataclass(frozen=True)
class TrainResult:
    """What came of a training."""

    output: Path
    """The weights file."""

    model: str
    """As of `--model`."""

    spectral: str
    """`subspace` or `full`."""

    start: str
    """What the training started from."""

    parameters: int
    """Of the network."""

    steps: int
    """Optimizer steps done."""

    seconds: float
    """Of training."""

    best_step: int
    """At which the weights kept were taken."""

    validation: dict[str, Figures]
    """PSNR, SAM and ERGAS by method, on what was held back; the trained network is `trained`."""

    log: Path
    """CSV of every validation."""

    curves: Path | None
    """Picture of them; None without matplotlib."""

    interrupted: bool
    """Whether it was stopped before its end: the best so far was kept."""

    warnings: tuple[str, ...]
    """Sentences for the user."""


def train_reduced(
    hsi: Sequence[str | os.PathLike[str]],
    msi: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    model: str = DEFAULT_METHOD,
    spectral: str = "subspace",
    init: str | None = None,
    preset: str | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    batch: int = 8,
    patch: int | None = None,
    learning_rate: float | None = None,
    val: float = 0.1,
    patience: int | None = None,
    srf: str | None = None,
    psf: str | None = None,
    hsi_bands: str | None = None,
    msi_bands: str | None = None,
    window: PixelWindow | None = None,
    ratio: int | None = None,
    allow_shift: bool = False,
    coregister: bool = False,
    device: str = "auto",
    precision: str = "auto",
    memory: int | None = None,
    seed: int = 0,
    data_licence: str = "",
    resume: bool = False,
    overwrite: bool = False,
    observer: Observer | None = None,
) -> TrainResult | None:
    """Train a network on pairs of scenes alone: both images are degraded by the ratio, and the HSI is the truth.

    Args:
        hsi: Hyperspectral scenes of one sensor.
        msi: Multispectral scenes, one to each.
        output: The weights file to write; a log and a checkpoint lie beside it.
        model: `mgdunlss` or `ssrfn`.
        spectral: `subspace` (serves any pair) or `full` (on the bands of this pair, as in the papers).
        init: `universal`, `none` or a weights file; by default the bundled weights, but new ones
            with a preset or `full`.
        preset: Size of a new `ssrfn`.
        epochs: Times that every pixel is seen; this, `steps` or `seconds`.
        steps: Optimizer steps.
        seconds: Of training, half an hour by default.
        batch: Patches a step and process.
        patch: Edge of a patch in HSI pixels of the degraded scene; by default about 36 MSI pixels.
        learning_rate: Its maximum; by default 5e-4 for weights that are there, 1e-3 for new ones.
        val: Share of each scene that is held back for validation.
        patience: Validations without a better one after which training stops; by default it does not.
        srf: As of `fuse`, for every pair.
        psf: Likewise.
        hsi_bands: Likewise.
        msi_bands: Likewise.
        window: Likewise.
        ratio: Likewise.
        allow_shift: Likewise.
        coregister: Likewise.
        device: As of `fuse`.
        precision: As of `fuse`.
        memory: Bytes of patches to keep; by default a quarter of what is free.
        seed: Of everything drawn.
        data_licence: On what terms the scenes may be used, for the file's header.
        resume: Go on with an interrupted training of the same request.
        overwrite: Replace an existing output.
        observer: Is told how it goes.

    Returns:
        What came of it; None in the processes of `torchrun` other than the first.

    Raises:
        RequestError: The request cannot be served; nothing was written.
        WorkError: The loss is not finite.
    """
    files = TrainingFiles(Path(output))
    files.check(resume=resume, overwrite=overwrite)
    _check_budget(hsi, msi, epochs, steps, seconds)
    request = json.dumps(
        {
            "hsi": [str(path) for path in hsi], "msi": [str(path) for path in msi], "model": model,
            "spectral": spectral, "init": init, "preset": preset, "epochs": epochs, "steps": steps, "batch": batch,
            "patch": patch, "learning_rate": learning_rate, "val": val, "seed": seed, "srf": srf, "psf": psf,
            "hsi_bands": hsi_bands, "msi_bands": msi_bands, "window": str(window), "ratio": ratio,
            "coregister": coregister,
        }
    )  # fmt: skip
    compute, precision = choose_compute(device, precision)
    on = local_device(compute.device)
    torch.manual_seed(seed)
    start = NetworkRequest(model, spectral, init, preset)
    start.check()
    pairs = [
        image_pair(
            open_pair(one, other, hsi_bands=hsi_bands, msi_bands=msi_bands, window=window, ratio=ratio),
            srf=srf, psf=psf, allow_shift=allow_shift, coregister=coregister,
        )
        for one, other in zip(hsi, msi, strict=True)
    ]  # fmt: skip
    levels = [PairLevel(imaged.pair, imaged.imaging) for imaged in pairs]
    start_at = start.build(
        levels, patch=patch, share=val, memory=memory if memory is not None else available_bytes() // 4, device=on
    )
    if not resume:  # only now, when nothing is left to be refused
        files.checkpoint.unlink(missing_ok=True)
    with joined(on) as processes:
        schedule = Schedule(
            steps=_steps(start_at.task, epochs, steps, batch * processes.count),
            seconds=None if epochs or steps else seconds or DEFAULT_SECONDS,
            learning_rate=learning_rate or start_at.learning_rate,
            batch=batch,
            seed=seed,
            patience=patience,
        )
        trainer = Trainer(
            start_at.network.to(on), start_at.task, schedule, checkpoint=files.checkpoint, request=request,
            half=HALF[precision], processes=processes,
        )  # fmt: skip
        interrupted = _run(trainer, observer, processes)
        if not processes.first:
            return None
        made = _Made(files, start, start_at, trainer, pairs, data_licence, interrupted)
        return made.result()


def _check_budget(
    hsi: Sequence[object], msi: Sequence[object], epochs: int | None, steps: int | None, seconds: float | None
) -> None:
    if not hsi or len(hsi) != len(msi):
        raise RequestError(
            f"{len(hsi)} HSI and {len(msi)} MSI scenes: give one --msi for each --hsi, in the same order"
        )
    if sum(budget is not None for budget in (epochs, steps, seconds)) > 1:
        raise RequestError("--epochs, --steps and --time say the same thing: give one of them")


def _steps(task: SubspaceTask | BandsTask, epochs: int | None, steps: int | None, batch: int) -> int | None:
    return epochs * task.steps_an_epoch(batch) if epochs is not None else steps


def _run(trainer: Trainer, observer: Observer | None, processes: Processes) -> bool:
    """Train; returns whether the user put an end to it."""
    try:
        trainer.run(observer if processes.first else None)
    except KeyboardInterrupt:
        if not trainer.history:
            raise
        return True
    return False


@dataclass(frozen=True, eq=False)
class _Made:
    """A training that has ended, to be written and told of."""

    files: TrainingFiles
    start: NetworkRequest
    start_at: StartingPoint
    trainer: Trainer
    pairs: Sequence[Pair]
    data_licence: str
    interrupted: bool

    def result(self) -> TrainResult:
        trainer, best = self.trainer, self._best
        trainer.network.load_state_dict(trainer.best_weights)
        trained = Figures(**{entry.name: best.figures[entry.name] for entry in fields(Figures)})
        self.files.write(
            lambda path: save_weights(trainer.network.state_dict(), self._card(trained, best), path), trainer.history
        )
        validation, warnings = ({}, []) if self.interrupted else self._opponents()
        curves = self.files.draw(trainer.history, validation)
        validation["before training"] = Figures(**trainer.history[0].figures)
        validation["trained"] = trained
        if not self.interrupted:
            self.files.checkpoint.unlink(missing_ok=True)
        warnings = [sentence for imaged in self.pairs for sentence in imaged.warnings] + warnings
        if best.step == 0:
            warnings.append("training brought nothing better than what it started from: that is what was written")
        return TrainResult(
            self.files.output,
            self.start.model,
            self.start.spectral,
            self.start_at.name,
            sum(parameter.numel() for parameter in trainer.network.parameters()),
            trainer.step,
            trainer.elapsed,
            best.step,
            validation,
            self.files.log,
            curves,
            self.interrupted,
            tuple(dict.fromkeys(warnings)),
        )

    @property
    def _best(self) -> Record:
        return next(record for record in reversed(self.trainer.history) if record.best)

    def _opponents(self) -> tuple[dict[str, Figures], list[str]]:
        """Classical methods on the same patches; one that cannot serve them, or is not waited for, is named."""
        task, found, warnings = self.start_at.task, {}, []
        for name in OPPONENTS:
            method = choose_method(name).method
            try:
                found[name] = Figures.of([held.score(held.fit(method)) for held in task.held_back])
            except HsfuseError as error:
                warnings.append(f"{name} failed: {error}")
            except KeyboardInterrupt:
                warnings.append(f"interrupted in comparing with {name}: the weights were written")
                break
        return found, warnings

    def _card(self, trained: Figures, best: Record) -> WeightsCard:
        scenes = [imaged.pair for imaged in self.pairs]
        srf = self.pairs[0].imaging.srf
        full = self.start.spectral == "full"
        wavelengths = srf.hsi_wavelength_nm if full else None
        return WeightsCard(
            model=self.start.model,
            architecture=self.start_at.architecture,
            config=asdict(self.start_at.config),
            spectral=self.start.spectral,
            ratios=self.start_at.ratios,
            trained_on=tuple(f"{Path(pair.hsi.path).name} with {Path(pair.msi.path).name}" for pair in scenes),
            validated_on=tuple(f"{Path(pair.hsi.path).name}, a part that was held back" for pair in scenes),
            validation=asdict(trained),
            data_licence=self.data_licence,
            steps=best.step,
            seed=self.trainer.schedule.seed,
            preset=self.start_at.preset,
            sensors=tuple(dict.fromkeys(pair.msi.sensor for pair in scenes if pair.msi.sensor)),
            hsi_wavelength_nm=() if wavelengths is None else tuple(wavelengths.tolist()),
            msi_bands=tuple(srf.msi_bands) if full else (),
        )
