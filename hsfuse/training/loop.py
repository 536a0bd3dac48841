"""The training loop: steps, validation, averaging, early stopping, and checkpoints that resume bit for bit."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from hsfuse.errors import WorkError
from hsfuse.fusion.memory import kept_memory
from hsfuse.progress import SILENT, Percent, Progress
from hsfuse.training.checkpoint import Checkpoint, Record, optimizer_moments
from hsfuse.training.distributed import Processes

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

logger = logging.getLogger(__name__)

_WARM = 0.03  # part of the training in which the learning rate rises
_LEAST_RATE = 0.01  # of its maximum, at the end


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; either `steps` or `seconds` is given."""

    steps: int | None = None
    """Optimizer steps: the same in every run."""

    seconds: float | None = None
    """Wall time, validations included: how many steps that makes depends on the machine."""

    learning_rate: float = 2e-3
    """Its maximum; it rises over the first 3 % and falls as a cosine."""

    batch: int = 8
    """Patches a step and process."""

    average: float = 0.998
    """Decay of the running mean of the weights, which is what is validated and kept."""

    seed: int = 0
    """Of everything that is drawn: step n draws from `default_rng((seed, n))`."""

    validations: int = 20
    """How many times to validate, evenly spread."""

    patience: int | None = None
    """Validations without a better one after which training stops; None for never."""

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.seconds is None):
            raise ValueError("a schedule has either steps or seconds")

    def progress(self, step: int, elapsed: float) -> float:
        """How much of the training is done, 0 to 1."""
        done = step / self.steps if self.steps is not None else elapsed / (self.seconds or 1.0)
        return min(done, 1.0)

    def rate(self, progress: float) -> float:
        """The learning rate at that point."""
        rise = min((progress + 1e-3) / _WARM, 1.0)
        fall = _LEAST_RATE + (1 - _LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * progress))
        return self.learning_rate * rise * fall


@dataclass(frozen=True)
class Validation:
    """How good a network is on what it is not trained on."""

    score: float
    """What decides which weights are best; more is better."""

    figures: dict[str, float]
    """By name, for the log."""


class Task(Protocol):
    """What is trained on, and how it is judged."""

    def loss(self, network: nn.Module, generator: np.random.Generator, batch: int, share: slice) -> Tensor:
        """The mean over patches of their loss.

        Args:
            network: To be trained.
            generator: Draws the patches of a step, the same in every process.
            batch: Patches of the step in all processes.
            share: Those of this process.
        """

    def validate(self, network: nn.Module) -> Validation:
        """Judge a network."""


class Trainer:
    """Trains a network on a task and keeps the weights that were best on validation."""

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        schedule: Schedule,
        *,
        checkpoint: Path | None = None,
        request: str = "",
        half: torch.dtype | None = None,
        processes: Processes | None = None,
    ) -> None:
        """A checkpoint that is there is resumed.

        Args:
            network: On the device where it is to be trained.
            task: What to train on.
            schedule: How long and how fast.
            checkpoint: Where to write the state at every validation; None for nowhere.
            request: What was asked for; a checkpoint of another request is refused.
            half: float16 or bfloat16 for autocast; None for float32.
            processes: Those that train together; by default this one alone.

        Raises:
            RequestError: The checkpoint cannot be read, or belongs to another request.
        """
        self.network, self.task, self.schedule = network, task, schedule
        self._processes = processes or Processes()
        self._path, self._request, self._half = checkpoint, request, half
        self._device = next(network.parameters()).device
        # Before the processes meet in `wrap`: the first of them is not to have written a new one by then.
        saved: Checkpoint | None = None
        if checkpoint is not None and checkpoint.exists():
            saved = Checkpoint.read(checkpoint, request)
            saved.check_fits(network.state_dict(), checkpoint)
        self._wrapped = self._processes.wrap(network)
        # With torch's eps of 1e-8 Adam makes whole steps of rounding errors where a gradient is zero but for them, as
        # that of the bias of attention's keys: results would depend on how a batch is shared out.
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=0.0, betas=(0.9, 0.99), eps=1e-6, weight_decay=1e-4
        )
        # Half precision underflows gradients without it; float32 and bfloat16 do not need it.
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=half == torch.float16)
        self.averaged = _copied(network)
        """The running mean of the weights."""
        self.best_weights = _copied(network)
        """The weights that were best on validation."""
        self.best_score = -math.inf
        """Of these."""
        self.step = 0
        """Steps done."""
        self.elapsed = 0.0
        """Seconds of training."""
        self.history: list[Record] = []
        """Every validation so far."""
        self._losses: list[float] = []
        if saved is not None:
            self._restore(saved)

    def run(self, progress: Progress = SILENT, stage: str = "train") -> None:
        """Train to the end of the schedule, or until validation has stopped getting better.

        What the training starts from is validated first, so the best is never worse than that.

        Args:
            progress: Observer of the work: it is told every validation in a line.
            stage: What the work is called.

        Raises:
            WorkError: The loss is not finite.
        """
        with kept_memory():
            self._run(progress, Percent(progress, stage))

    def _run(self, progress: Progress, percent: Percent) -> None:
        started = time.monotonic() - self.elapsed
        if not self.history:
            self._judge(progress)
        while self.progress < 1 and not self._stale():
            self._step()
            self.elapsed = self._agreed(time.monotonic() - started)
            percent.reach(self.progress)
            if self._due():
                self._judge(progress)
                self.elapsed = self._agreed(time.monotonic() - started)
        percent.finish()

    @property
    def progress(self) -> float:
        """How much of the training is done, 0 to 1."""
        return self.schedule.progress(self.step, self.elapsed)

    def _agreed(self, elapsed: float) -> float:
        """One clock for all processes where the clock decides."""
        return self._processes.agree(elapsed, self._device) if self.schedule.seconds is not None else elapsed

    def _due(self) -> bool:
        return self.progress >= 1 or self.progress * self.schedule.validations >= len(self.history)

    def _stale(self) -> bool:
        patience = self.schedule.patience
        if patience is None:
            return False
        since = next((age for age, record in enumerate(reversed(self.history)) if record.best), 0)
        return since >= patience

    def _step(self) -> None:
        schedule, processes = self.schedule, self._processes
        generator = np.random.default_rng((schedule.seed, self.step))
        for group in self._optimizer.param_groups:
            group["lr"] = schedule.rate(self.progress)
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device.type, dtype=self._half or torch.bfloat16, enabled=self._half is not None):
            loss = self.task.loss(
                self._wrapped, generator, schedule.batch * processes.count, processes.share(schedule.batch)
            )
        if not torch.isfinite(loss):
            raise WorkError(
                f"the loss is not finite at step {self.step}: lower the learning rate (`learning_rate`, now "
                f"{schedule.learning_rate:g}), or train in fp32"
            )
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._average()
        self.step += 1
        self._losses.append(float(loss.detach()))

    def _average(self) -> None:
        decay = min(self.schedule.average, (self.step + 1) / (self.step + 10))
        for name, value in self.network.state_dict().items():
            self.averaged[name].lerp_(value.detach(), 1 - decay)

    def _judge(self, progress: Progress) -> None:
        """Validate the averaged weights in the first process, and keep them if they are the best."""
        score, figures = 0.0, {}
        if self._processes.first:
            current = _copied(self.network)
            self.network.load_state_dict(self.averaged)
            self.network.eval()
            judged = self.task.validate(self.network)
            self.network.train()
            self.network.load_state_dict(current)
            score, figures = judged.score, judged.figures
        score = self._processes.agree(score, self._device)
        best = not self.history or score > self.best_score
        if best:
            self.best_score = score
            self.best_weights = {name: value.clone() for name, value in self.averaged.items()}
        loss = float(np.mean(self._losses)) if self._losses else None
        record = Record(self.step, self.elapsed, loss, self.schedule.rate(self.progress), figures, best)
        self._losses.clear()
        self.history.append(record)
        if self._processes.first:
            if self._path is not None:
                self._state().write(self._path)
            progress.note(record.sentence)

    def _state(self) -> Checkpoint:
        return Checkpoint(
            self._request,
            self.step,
            self.elapsed,
            self.best_score,
            self._scaler.state_dict(),
            tuple(self.history),
            _copied(self.network),
            self.averaged,
            self.best_weights,
            optimizer_moments(self._optimizer),
        )

    def _restore(self, state: Checkpoint) -> None:
        self.step, self.elapsed, self.best_score = state.step, state.elapsed, state.best_score
        self.history = list(state.history)
        self.network.load_state_dict(state.network)
        self.averaged, self.best_weights = (
            {name: value.to(self._device) for name, value in weights.items()}
            for weights in (state.averaged, state.best_weights)
        )
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state.moments, "param_groups": groups})
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(state.loss_scale)
        logger.info("resumed at step %d, %.0f s", self.step, self.elapsed)


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
