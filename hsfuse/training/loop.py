"""The training loop of the subspace networks: steps, validation, averaging, checkpoints, resume."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from hsfuse.errors import WorkError
from hsfuse.training.episodes import Batch, Episode, cut_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor, nn

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    seconds: float
    """Time in which the learning rate runs its course."""

    learning_rate: float = 2e-3
    """Its maximum; it rises over the first 2 % and falls as a cosine."""

    batch: int = 8
    """Patches a step."""

    patch_pixels: int = 36
    """Edge of a patch in MSI pixels, about."""

    average: float = 0.998
    """Decay of the running mean of the weights, which is what is validated and kept."""

    seed: int = 0
    """Of the order of patches."""

    validate_every: float = 300.0
    """Seconds."""


@dataclass(frozen=True)
class Validation:
    """Gains over the linear estimate on scenes that are not trained on, means over them."""

    psnr: float
    """In dB, more is better."""

    sam: float
    """In degrees, less is better."""

    worst_psnr: float
    """Of the scene that gains least, in dB."""

    @property
    def score(self) -> float:
        """What decides which weights are best."""
        return self.psnr - self.sam


def relative_loss(network: nn.Module, batch: Batch) -> Tensor:
    """Root mean square error of each patch in units of the linear estimate's, bands alike, plus that of angles.

    Roots are taken per patch, so that no single patch of a difficult scene rules the step.
    """
    error = network(batch.inputs, batch.condition) - batch.truth
    bands = torch.einsum("bkj,bkhw->bjhw", batch.weight, error).square().sum(dim=1)
    angles = torch.einsum("bkj,bkhw->bjhw", batch.angle_metric, error).square().sum(dim=1) * batch.angle_weight
    per_patch = (bands.mean(dim=(1, 2)) + 1e-4).sqrt() + 0.5 * (angles.mean(dim=(1, 2)) + 1e-4).sqrt()
    return per_patch.mean()


class Trainer:
    """Trains a subspace network on episodes handed in by ratio, keeping the best averaged weights."""

    def __init__(self, network: nn.Module, schedule: Schedule, folder: Path) -> None:
        """Checkpoints go to `folder`; one that is there is resumed."""
        self.network = network
        self.schedule = schedule
        self.folder = folder
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=1e-4)
        self.averaged = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.elapsed, self.step, self.best = 0.0, 0, -math.inf
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    def run(
        self,
        draw: Callable[[np.random.Generator, int], Sequence[Episode]],
        validate: Callable[[nn.Module], Validation],
    ) -> None:
        """Train until the schedule's time is over.

        Args:
            draw: Gives that many episodes of one ratio.
            validate: Judges the network; called with the averaged weights in it.

        Raises:
            WorkError: The loss is not finite.
        """
        last, validated = time.monotonic(), self.elapsed
        losses: list[float] = []
        while self.elapsed < self.schedule.seconds:
            losses.append(self._step(draw))
            now = time.monotonic()
            self.elapsed, last = self.elapsed + now - last, now
            if self.elapsed - validated >= self.schedule.validate_every:
                self._judge(validate, float(np.mean(losses)))
                losses.clear()
                validated, last = self.elapsed, time.monotonic()
        self._judge(validate, float(np.mean(losses or [math.nan])))

    def _step(self, draw: Callable[[np.random.Generator, int], Sequence[Episode]]) -> float:
        generator = np.random.default_rng((self.schedule.seed, self.step))
        episodes = draw(generator, self.schedule.batch)
        patch = max(self.schedule.patch_pixels // episodes[0].psf.ratio, 4)
        batch = cut_batch(episodes, patch, generator)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        loss = relative_loss(self.network, batch)
        if not torch.isfinite(loss):
            raise WorkError(f"the loss is not finite at step {self.step}: lower the learning rate")
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self._average()
        self.step += 1
        return float(loss.detach())

    def _learning_rate(self) -> float:
        progress = min(self.elapsed / self.schedule.seconds, 1.0)
        warm = min((self.step + 1) / 100, 1.0)
        return self.schedule.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))

    def _average(self) -> None:
        decay = min(self.schedule.average, (self.step + 1) / (self.step + 10))
        for name, value in self.network.state_dict().items():
            self.averaged[name].lerp_(value.detach(), 1 - decay)

    def _judge(self, validate: Callable[[nn.Module], Validation], loss: float) -> None:
        current = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.averaged)
        judged = validate(self.network)
        self.network.load_state_dict(current)
        logger.info(
            "%6.0f s  step %6d  loss %.4f  PSNR %+.3f dB (worst %+.3f)  SAM %+.3f°",
            self.elapsed, self.step, loss, judged.psnr, judged.worst_psnr, judged.sam,
        )  # fmt: skip
        if judged.score > self.best:
            self.best = judged.score
            save_file(self.averaged, self.folder / "best.safetensors")
        self._checkpoint()

    def _checkpoint(self) -> None:
        state = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        state |= {f"averaged.{name}": value for name, value in self.averaged.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        state["progress"] = torch.tensor([self.elapsed, self.step, self.best], dtype=torch.float64)
        temporary = self.folder / "last.safetensors.part"
        save_file({name: value.contiguous() for name, value in state.items()}, temporary)
        temporary.replace(self.folder / "last.safetensors")

    def _resume(self) -> None:
        path = self.folder / "last.safetensors"
        if not path.exists():
            return
        state = load_file(path)
        self.elapsed, step, self.best = (float(value) for value in state["progress"])
        self.step = int(step)
        self.network.load_state_dict(_under(state, "network."))
        self.averaged = _under(state, "averaged.")
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _under(state, "optimizer.").items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        logger.info("resumed at %.0f s, step %d", self.elapsed, self.step)


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
