"""The training loop: steps, validation, averaging, early stopping, and checkpoints that resume bit for bit."""

from __future__ import annotations

import logging
import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import nn

from hsfuse.errors import WorkError
from hsfuse.fusion.memory import kept_memory
from hsfuse.progress import SILENT, Percent, Progress
from hsfuse.training.checkpoint import Checkpoint, Record, optimizer_moments
from hsfuse.training.distributed import Processes

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from hsfuse.training.schedule import Schedule

logger = logging.getLogger(__name__)

_MOST_SKIPPED = 25  # steps in a row: in half precision gradients overflow a few times until their scale is found


@dataclass(frozen=True)
class Validation:
    """How good a network is on what it is not trained on."""

    score: float
    """What decides which weights are best; more is better."""

    figures: dict[str, float]
    """By name, for the log."""


class Task(Protocol):
    """What is trained on, and how it is judged."""

    def draw(self, generator: np.random.Generator, batch: int, share: slice) -> Any:
        """Patches of a step. Called in a thread beside the training, for one step after another.

        Args:
            generator: Draws the patches of a step, the same in every process.
            batch: Patches of the step in all processes.
            share: Those that are wanted.
        """

    def loss(self, network: nn.Module, drawn: Any) -> Tensor:
        """The mean over patches of their loss.

        Args:
            network: To be trained; computes in the precision that was asked for.
            drawn: What `draw` gave.
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
        self._path, self._request = checkpoint, request
        self.half = half
        """float16 or bfloat16; None for float32."""
        self.device = next(network.parameters()).device
        """Where the network is."""
        # Before the processes meet in `wrap`: the first of them is not to have written a new one by then.
        saved: Checkpoint | None = None
        if checkpoint is not None and checkpoint.exists():
            saved = Checkpoint.read(checkpoint, request)
            saved.check_fits(network.state_dict(), checkpoint)
        self._wrapped = self._processes.wrap(network)
        self._in_precision = _InPrecision(self._wrapped, self.device, half)
        recipe = schedule.recipe
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=0.0, betas=recipe.betas, eps=recipe.eps, weight_decay=recipe.weight_decay
        )
        # Half precision underflows gradients without it; float32 and bfloat16 do not need it.
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=half == torch.float16)
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
        self.skipped = 0
        """Steps that changed nothing, since their loss or gradient was not finite."""
        self._skipped_in_a_row = 0
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
            WorkError: The loss or its gradient was not finite in many steps in a row.
        """
        ahead = ThreadPoolExecutor(1, "draw")
        try:
            with kept_memory():
                self._run(progress, Percent(progress, stage), ahead)
        finally:
            ahead.shutdown(cancel_futures=True)

    def _run(self, progress: Progress, percent: Percent, ahead: ThreadPoolExecutor) -> None:
        started = time.monotonic() - self.elapsed
        if not self.history:
            self._judge(progress)
        drawn: Future[list[Any]] | None = None
        while self.progress < 1 and not self._stale():
            now = drawn or ahead.submit(self._draw, self.step)
            more = self.schedule.progress(self.step + 1, self.elapsed) < 1
            drawn = ahead.submit(self._draw, self.step + 1) if more else None  # while this one is computed
            self._step(now.result())
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
        return self._processes.agree(elapsed, self.device) if self.schedule.seconds is not None else elapsed

    def _due(self) -> bool:
        return self.progress >= 1 or self.progress * self.schedule.validations >= len(self.history)

    def _stale(self) -> bool:
        patience = self.schedule.patience
        if patience is None:
            return False
        since = next((age for age, record in enumerate(reversed(self.history)) if record.best), 0)
        return since >= patience

    def _draw(self, step: int) -> list[Any]:
        """What this process computes of a step, part by part."""
        schedule, processes = self.schedule, self._processes
        return [
            self.task.draw(np.random.default_rng((schedule.seed, step)), schedule.batch * processes.count, part)
            for part, _ in schedule.parts(processes.share(schedule.batch))
        ]

    def _step(self, drawn: list[Any]) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.progress, self.step)
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._backward(drawn)
        self._scaler.unscale_(self._optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.schedule.recipe.clip or math.inf)
        told = torch.stack([loss, norm.to(loss)]).tolist()  # the one time that a step waits for the card
        if self._processes.every(all(map(math.isfinite, told)), self.device):
            self._scaler.step(self._optimizer)
            self._average()
            self._losses.append(told[0])
            self._skipped_in_a_row = 0
        else:
            self._skip(*told)
        self._scaler.update()
        self.step += 1

    def _backward(self, drawn: list[Any]) -> Tensor:
        """The loss of a step, its gradient left at the weights: the sum over its parts."""
        total = torch.zeros((), device=self.device)
        shares = [share for _, share in self.schedule.parts(self._processes.share(self.schedule.batch))]
        for index, (part, share) in enumerate(zip(drawn, shares, strict=True)):
            with self._processes.exchanging(self._wrapped, wanted=index == len(drawn) - 1):
                loss = self.task.loss(self._in_precision, part).float() * share
                self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            total += loss.detach()
        return total

    def _skip(self, loss: float, norm: float) -> None:
        """Leave the weights as they are.

        Raises:
            WorkError: That was so for many steps in a row.
        """
        self.skipped += 1
        self._skipped_in_a_row += 1
        logger.info("step %d skipped: its loss is %g, the norm of its gradient %g", self.step, loss, norm)
        if self._skipped_in_a_row >= _MOST_SKIPPED:
            raise WorkError(
                f"the loss or its gradient is not finite in {self._skipped_in_a_row} steps in a row, up to step "
                f"{self.step}: lower the learning rate (`learning_rate`, now {self.schedule.learning_rate:g}), or pass "
                "`precision=fp32`"
            )

    def _average(self) -> None:
        decay = min(self.schedule.recipe.average, (self.step + 1) / (self.step + 10))
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
        score = self._processes.agree(score, self.device)
        best = not self.history or score > self.best_score
        if best:
            self.best_score = score
            self.best_weights = {name: value.clone() for name, value in self.averaged.items()}
        loss = float(np.mean(self._losses)) if self._losses else None
        rate = self.schedule.rate(self.progress, self.step)
        record = Record(self.step, self.elapsed, loss, rate, figures, score, best, self.skipped)
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
            self.skipped,
            self._scaler.state_dict(),
            tuple(self.history),
            _copied(self.network),
            self.averaged,
            self.best_weights,
            optimizer_moments(self._optimizer),
        )

    def _restore(self, state: Checkpoint) -> None:
        self.step, self.elapsed, self.best_score = state.step, state.elapsed, state.best_score
        self.skipped = state.skipped
        self.history = list(state.history)
        self.network.load_state_dict(state.network)
        self.averaged, self.best_weights = (
            {name: value.to(self.device) for name, value in weights.items()}
            for weights in (state.averaged, state.best_weights)
        )
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state.moments, "param_groups": groups})
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(state.loss_scale)
        logger.info("resumed at step %d, %.0f s", self.step, self.elapsed)


class _InPrecision(nn.Module):
    """A network in half precision, and nothing beside it: losses and what patches are made of stay in float32."""

    def __init__(self, network: nn.Module, device: torch.device, half: torch.dtype | None) -> None:
        super().__init__()
        self._network, self._device, self._half = network, device, half

    def forward(self, *inputs: Any) -> Any:
        with torch.autocast(self._device.type, dtype=self._half or torch.bfloat16, enabled=self._half is not None):
            return self._network(*inputs)


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
