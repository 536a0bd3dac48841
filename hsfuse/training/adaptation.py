"""`fuse --adapt`: fine-tune the weights on the very pair that is to be fused, and keep that only if it is better."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hsfuse.errors import RequestError
from hsfuse.fusion.network import FittedNetwork, SubspaceCorrection
from hsfuse.fusion.trust import least_squares_trust
from hsfuse.models.weights import save_weights
from hsfuse.pairs.wald_level import ReducedPair
from hsfuse.progress import SILENT
from hsfuse.training.held_back import Figures
from hsfuse.training.loop import Trainer
from hsfuse.training.recipe import OWN
from hsfuse.training.schedule import Schedule
from hsfuse.training.tasks import SubspaceTask
from hsfuse.version import __version__

if TYPE_CHECKING:
    from hsfuse.fusion.job import Job
    from hsfuse.pairs.pair import Pair, PathLike
    from hsfuse.progress import Progress

RATE = 5e-4
"""Largest learning rate."""

_SHARE = 0.15  # held back: it has to tell two good networks apart
_VALIDATIONS = 10
_RECIPE = replace(OWN, average=0.99)  # a few hundred steps at most


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
        """A sentence for the user."""
        figures = (
            f"PSNR {self.before.psnr:.2f} → {self.after.psnr:.2f} dB and SAM {self.before.sam:.3f} → "
            f"{self.after.sam:.3f}° on the held-back part of the pair, one level down, after {self.steps} steps"
        )
        return f"adapted weights {'kept' if self.kept else 'not kept, the weights stay as they were'}: {figures}"


def adapt(
    pair: Pair, job: Job, seconds: float, *, keep: PathLike | None = None, progress: Progress = SILENT
) -> tuple[Job, Adaptation]:
    """Fine-tune a network of the spectral subspace on a pair, one Wald level down.

    Args:
        pair: The scenes.
        job: The network with its weights, and what it is to be run with.
        seconds: Of training, validations included.
        keep: A weights file to write, or to replace, if the adapted weights are better; `fuse` takes it as any other.
        progress: Observer of the work.

    Returns:
        The job to fuse with, its network adapted if that is better and else as it was, and what was found.

    Raises:
        RequestError: The method has no such weights, or the pair is too small to train and validate on.
        WorkError: The loss was not finite in many steps in a row, or the weights cannot be written.
    """
    weights = job.method.weights
    if weights is None or not job.method.adaptable:
        raise RequestError(
            "`adapt_seconds` fine-tunes the weights of a network in the spectral subspace: leave it out, or choose "
            "such a `model`"
        )
    device, size = job.compute.torch_device, int(weights.card.config["subspace"])
    scene = ReducedPair(pair, seed=job.seed)
    task = SubspaceTask([scene], size, share=_SHARE, memory=job.compute.budget // 2, device=device)
    network = weights.network().to(device)
    _, before = _judged(SubspaceCorrection(network, size), task)
    schedule = Schedule(seconds=seconds, learning_rate=RATE, seed=job.seed, validations=_VALIDATIONS, recipe=_RECIPE)
    trainer = Trainer(network.train(), task, schedule, half=job.compute.half)
    with job.compute.products():
        trainer.run(progress, "adapt")
    network.load_state_dict(trainer.best_weights)
    trust, after = _judged(SubspaceCorrection(network.eval(), size), task)
    kept = after.score > before.score
    if kept and keep is not None:
        hsi, msi = (Path(scene.path).name for scene in (pair.scenes.hsi, pair.scenes.msi))
        card = replace(
            weights.card, trained_on=(*weights.card.trained_on, f"{hsi} with {msi}, one Wald level down"),
            validated_on=(f"{hsi}, a part that was held back",), validation=asdict(after),
            ratios=tuple(sorted({*weights.card.ratios, pair.ratio})), steps=weights.card.steps + trainer.step,
            seed=job.seed, hsfuse=__version__,
        )  # fmt: skip
        save_weights(trainer.best_weights, card, keep)
    method = job.method.with_network(network, trust)
    adapted = replace(job, method=method, unadapted=job.method) if kept else job
    return adapted, Adaptation(kept, before, after, trainer.step)


def _judged(correction: SubspaceCorrection, task: SubspaceTask) -> tuple[float, Figures]:
    """Trust in a network's correction and its figures, both on what is held back.

    Elsewhere, where `fuse` fits the trust as a rule, what an adapted network was trained on would speak for it.
    """
    estimate, held = task.estimates[0], task.held_back[0]
    trust = least_squares_trust(correction, estimate, held.parts)
    return trust, Figures.of([held.score(FittedNetwork(correction, estimate, trust))])
