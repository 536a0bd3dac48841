"""`fuse --adapt`: fine-tune the weights on the very pair that is to be fused, and keep that only if it is better."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hsfuse.errors import RequestError
from hsfuse.fusion.network import FittedNetwork, NetworkMethod, least_squares_trust
from hsfuse.pairs.wald_level import PairLevel
from hsfuse.training.held_back import Figures
from hsfuse.training.loop import Schedule, Trainer
from hsfuse.training.tasks import SubspaceTask

if TYPE_CHECKING:
    from torch import nn

    from hsfuse.fusion.engine import Compute, Progress
    from hsfuse.fusion.methods import ChosenMethod
    from hsfuse.pairs.pair import Pair
    from hsfuse.training.checkpoint import Record

RATE = 5e-4
"""Largest learning rate."""

_SHARE = 0.15  # held back: it has to tell two good networks apart
_VALIDATIONS = 10


@dataclass(frozen=True)
class Adaptation:
    """What it brought, on the part of the pair that is held back, one level down."""

    kept: bool
    """Whether the adapted weights are used."""

    before: Figures
    """Of the weights as they were."""

    after: Figures
    """Of the adapted ones."""

    steps: int
    """Optimizer steps done."""

    @property
    def sentence(self) -> str:
        """What the user is told."""
        figures = (
            f"PSNR {self.before.psnr:.2f} → {self.after.psnr:.2f} dB and SAM {self.before.sam:.3f} → "
            f"{self.after.sam:.3f}° on the held-back part of the pair, one level down, after {self.steps} steps"
        )
        return f"adapted weights {'kept' if self.kept else 'not kept, the weights stay as they were'}: {figures}"


def adapt(
    imaged: Pair,
    chosen: ChosenMethod,
    seconds: float,
    *,
    compute: Compute,
    memory: int,
    seed: int,
    progress: Progress,
) -> tuple[ChosenMethod, Adaptation]:
    """Fine-tune a network of the spectral subspace on a pair, one Wald level down.

    Args:
        imaged: The pair.
        chosen: The network with its weights.
        seconds: Of training, validations included.
        compute: Device and precision.
        memory: Bytes of patches to keep.
        seed: Of everything drawn.
        progress: Observer of the work.

    Returns:
        The method to fuse with, adapted if that is better and else as it was, and what was found.

    Raises:
        RequestError: The method has no such weights, or the pair is too small to train and validate on.
        WorkError: The loss is not finite.
    """
    if chosen.weights is None or not isinstance(chosen.method, NetworkMethod):
        raise RequestError(
            "--adapt fine-tunes the weights of a network in the spectral subspace: leave it out, or choose such a "
            "--model"
        )
    method = chosen.method
    task = SubspaceTask(
        [PairLevel(imaged.pair, imaged.imaging)],
        method.coefficients,
        share=_SHARE,
        memory=memory,
        device=compute.device,
    )
    network = chosen.weights.network().to(compute.device)
    _, before = _judged(network, task, method.coefficients)
    schedule = Schedule(seconds=seconds, learning_rate=RATE, seed=seed, validations=_VALIDATIONS, average=0.99)
    trainer = Trainer(network.train(), task, schedule, half=compute.half)
    progress.start("adapt", 100, "percent")
    trainer.run(_Percent(progress))
    progress.finish()
    network.load_state_dict(trainer.best_weights)
    trust, after = _judged(network.eval(), task, method.coefficients)
    kept = after.score > before.score
    adapted = replace(chosen, method=NetworkMethod(network, method.coefficients, trust))
    return adapted if kept else chosen, Adaptation(kept, before, after, trainer.step)


def _judged(network: nn.Module, task: SubspaceTask, size: int) -> tuple[float, Figures]:
    """Trust in a network's correction and its figures, both on what is held back.

    Elsewhere, where `fuse` fits the trust as a rule, what an adapted network was trained on would speak for it.
    """
    adapter, held = task.adapters[0], task.held_back[0]
    known = [(part.patch, part.truth, part.valid) for part in held.parts]
    trust = least_squares_trust(network, adapter, size, known)
    return trust, Figures.of([held.score(FittedNetwork(network, adapter, size, trust))])


class _Percent:
    """Tells an observer of stages how far a training is."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._done = progress, 0

    def stepped(self, progress: float, loss: float) -> None:  # noqa: ARG002 (the face of an observer)
        while self._done < int(progress * 100):
            self._done += 1
            self._progress.advance()

    def judged(self, record: Record) -> None:
        """The end says what came of it."""
