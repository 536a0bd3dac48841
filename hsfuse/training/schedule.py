"""How long and how fast to train, and in what shares of a batch."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from hsfuse.training.recipe import OWN, Recipe

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
    """Its maximum."""

    batch: int = 8
    """Patches a step and process."""

    accumulate: int = 1
    """Parts in which a batch is computed, one after another, their gradients summed: less memory, the same step."""

    recipe: Recipe = OWN
    """Settings of the optimiser, and how the rate falls; the rate and batch here count, not its own."""

    steps_an_epoch: int = 1
    """For a recipe that counts in epochs."""

    seed: int = 0
    """Of everything that is drawn: step n draws from `default_rng((seed, n))`."""

    validations: int = 20
    """How many times to validate, evenly spread."""

    patience: int | None = None
    """Validations without a better one after which training stops; None for never."""

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.seconds is None):
            raise ValueError("a schedule has either steps or seconds")
        if not 1 <= self.accumulate <= self.batch:
            raise ValueError(f"a batch of {self.batch} cannot be computed in {self.accumulate} parts")

    def progress(self, step: int, elapsed: float) -> float:
        """How much of the training is done, 0 to 1."""
        done = step / self.steps if self.steps is not None else elapsed / (self.seconds or 1.0)
        return min(done, 1.0)

    def rate(self, progress: float, step: int = 0) -> float:
        """The learning rate at that point."""
        if not self.recipe.cosine:
            every = self.recipe.halved_every
            return self.learning_rate * 0.5 ** (0 if every is None else step // (every * self.steps_an_epoch))
        rise = min((progress + 1e-3) / _WARM, 1.0)
        fall = _LEAST_RATE + (1 - _LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * progress))
        return self.learning_rate * rise * fall

    def parts(self, share: slice) -> list[tuple[slice, float]]:
        """The parts of a process's share of a step, and how much each counts; as even as they can be."""
        cuts = [share.start + self.batch * part // self.accumulate for part in range(self.accumulate + 1)]
        return [(slice(first, last), (last - first) / self.batch) for first, last in itertools.pairwise(cuts)]
