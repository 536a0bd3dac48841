"""What a training starts from: a new network or weights that are there, the task that suits it, and the plan."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch

from hsfuse.errors import RequestError
from hsfuse.fusion.methods import DEFAULT_NETWORK, METHODS
from hsfuse.models import ARCHITECTURES, mgdunlss, ssrfn
from hsfuse.models.bands import BandNetwork
from hsfuse.models.weights import WeightsFile, bundled_weights, find_weights
from hsfuse.spelling import did_you_mean
from hsfuse.training.recipe import Recipe, recipe
from hsfuse.training.schedule import Schedule
from hsfuse.training.tasks import BandsTask, SubspaceTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from hsfuse.pairs.wald_level import WaldScene

PRESETS = {"mgdunlss": mgdunlss.PRESETS, "ssrfn": ssrfn.PRESETS}
"""Sizes of a new network by its name."""

ABLATIONS = {"mgdunlss": mgdunlss.ABLATIONS, "ssrfn": ssrfn.ABLATIONS}
"""What can be left out of a new network, as in its paper's ablations, by its name."""

DEFAULT_SECONDS = 1800.0
"""Of training, where neither epochs nor steps nor a time is given."""

_NEW_RATE, _FINE_TUNING_RATE = 1e-3, 5e-4


@dataclass(frozen=True, eq=False)
class StartingPoint:
    """A network, and what it is to be trained on."""

    name: str
    """A bundled name, a file, or `new weights`."""

    model: str
    """The network."""

    network: nn.Module
    """On the CPU."""

    architecture: str
    """Key of `ARCHITECTURES`."""

    config: Any
    """Of that architecture."""

    preset: str
    """Named size of the network, and what was left out of it."""

    ratios: tuple[int, ...]
    """That the network will have been trained on."""

    task: SubspaceTask | BandsTask
    """Patches."""

    learning_rate: float
    """That suits it."""


@dataclass(frozen=True)
class TrainingPlan:
    """How long, how fast and on what patches to train, and how much memory that may take.

    Raises:
        RequestError: More than one of epochs, steps and seconds is given.
    """

    epochs: int | None = None
    """Times that every pixel is seen; this, `steps` or `seconds`."""

    steps: int | None = None
    """Optimizer steps."""

    seconds: float | None = None
    """Of training; half an hour where neither epochs nor steps are given, nor by the paper's optimiser."""

    batch: int | None = None
    """Patches a step and process; by default 8, or the paper's with its optimiser."""

    accumulate: int = 1
    """Parts in which a batch is computed, one after another: less memory, the same weights within rounding."""

    gradient_checkpointing: bool = False
    """Compute activations within the network's stages again in the backward pass: less memory, the same gradients."""

    patch: int | None = None
    """Edge of a patch in HSI pixels of the degraded scene; by default about 36 MSI pixels."""

    learning_rate: float | None = None
    """Its maximum; by default 5e-4 for weights that are there, 1e-3 for new ones, or the paper's with its optimiser."""

    optimiser: str = "default"
    """`default`, or `paper`: Adam with the betas, rate, schedule, batch and epochs that the network's paper prints."""

    deterministic: bool = False
    """Algorithms alone that repeat bit for bit; on CUDA, where others are quicker."""

    val: float = 0.1
    """Share of each scene that is held back for validation."""

    patience: int | None = None
    """Validations without a better one after which training stops; by default it does not."""

    seed: int = 0
    """Of everything drawn."""

    def __post_init__(self) -> None:
        if sum(budget is not None for budget in (self.epochs, self.steps, self.seconds)) > 1:
            raise RequestError("`epochs`, `steps` and `seconds` say the same thing: give one of them")

    def check(self, model: str) -> None:
        """Refuse what cannot be had of a network, before anything is read.

        Raises:
            RequestError: No such optimiser, or more parts than patches in a batch.
        """
        batch = self._recipe_and_batch(model)[1]
        if self.accumulate > batch:
            raise RequestError(
                f"a batch of {batch} cannot be computed in {self.accumulate} parts: pass a smaller `accumulate`, or a "
                "larger `batch`"
            )

    def _recipe_and_batch(self, model: str) -> tuple[Recipe, int]:
        found = recipe(self.optimiser, model)
        return found, found.batch if self.batch is None else self.batch

    def schedule(self, start: StartingPoint, processes: int) -> Schedule:
        """The schedule of a training that starts there, on that many processes."""
        found, batch = self._recipe_and_batch(start.model)
        an_epoch = start.task.steps_an_epoch(batch * processes)
        epochs = self.epochs
        if epochs is None and self.steps is None and self.seconds is None:
            epochs = found.epochs
        steps = self.steps if epochs is None else epochs * an_epoch
        return Schedule(
            steps=steps,
            seconds=None if steps else self.seconds or DEFAULT_SECONDS,
            learning_rate=self.learning_rate or found.learning_rate or start.learning_rate,
            batch=batch,
            accumulate=self.accumulate,
            recipe=found,
            steps_an_epoch=an_epoch,
            seed=self.seed,
            patience=self.patience,
        )


@dataclass(frozen=True)
class NetworkRequest:
    """Which network to train, and from where."""

    model: str = DEFAULT_NETWORK
    """`mgdunlss` or `ssrfn`."""

    spectral: str = "subspace"
    """`subspace` (serves any pair) or `full` (on the bands of this pair, as in the papers)."""

    init: str | None = None
    """`universal`, `none`, a weights file, or None for the bundled weights unless bands, a preset or an ablation are
    asked for."""

    preset: str | None = None
    """Size of a new network, of `PRESETS`; by default `base`, of `mgdunlss` on bands `paper`."""

    ablate: str | None = None
    """What to leave out of a new network, of `ABLATIONS`."""

    def check(self) -> None:
        """Refuse what cannot be had, before anything is read.

        Raises:
            RequestError: No such network, preset or ablation, or no such weights.
        """
        entry = METHODS.get(self.model)
        if entry is None or not entry.network:
            networks = [name for name, known in METHODS.items() if known.network]
            near = did_you_mean(self.model, networks)
            raise RequestError(
                f"{self.model!r} is no network that could be trained{near}: choose one of {', '.join(networks)}"
            )
        if self.spectral not in {"subspace", "full"}:
            raise RequestError(f"`spectral` is {self.spectral!r}: choose subspace or full")
        weights = self._weights()
        for name, wanted, known in (
            ("preset", self.preset, PRESETS[self.model]), ("ablate", self.ablate, ABLATIONS[self.model]),
        ):  # fmt: skip
            if wanted is None:
                continue
            if wanted not in known:
                near = did_you_mean(wanted, known)
                raise RequestError(f"{self.model} has no `{name}` {wanted!r}{near}: choose one of {', '.join(known)}")
            if weights is not None:
                raise RequestError(f"`{name}` is for a new network: pass `init=none` with it")

    @property
    def start(self) -> str:
        """What training starts from: a bundled name, a file's, or `new weights`.

        Raises:
            RequestError: There are no such weights.
        """
        return self._name_of(self._weights())

    @staticmethod
    def _name_of(weights: WeightsFile | None) -> str:
        return "new weights" if weights is None else weights.name

    def build(
        self, scenes: Sequence[WaldScene], plan: TrainingPlan, *, memory: int, device: torch.device
    ) -> StartingPoint:
        """Make the network and split the scenes; see `ReducedTask`. The global random state is left as it was.

        Raises:
            RequestError: The weights or the scenes do not fit.
        """
        weights = self._weights()
        on = self._on_coefficients if self.spectral == "subspace" else self._on_bands
        with torch.random.fork_rng():
            torch.manual_seed(plan.seed)
            return on(weights, scenes, patch=plan.patch, share=plan.val, memory=memory, device=device)

    def _weights(self) -> WeightsFile | None:
        """What to start from; None for new weights."""
        asks_for_new = self.spectral == "full" or self.preset is not None or self.ablate is not None
        if self.init == "none" or (self.init is None and asks_for_new):
            return None
        if self.init in {None, "universal"}:
            bundled = [file for file in bundled_weights() if file.card.model == self.model]
            if self.init == "universal" and (self.spectral == "full" or not bundled):
                raise RequestError(
                    f"there are no universal weights for {self.model} with `spectral={self.spectral}`: pass `init=none`"
                )
            return bundled[0] if bundled else None
        file = find_weights(str(self.init), others=("universal", "none"))
        if (file.card.model, file.card.spectral) != (self.model, self.spectral):
            raise RequestError(
                f"{file.path} holds weights of {file.card.model} with `spectral={file.card.spectral}`, not of "
                f"{self.model} with `spectral={self.spectral}`: pass those options, or `init=none`"
            )
        return file

    def _on_coefficients(
        self, weights: WeightsFile | None, scenes: Sequence[WaldScene], **settings: Any
    ) -> StartingPoint:
        if weights is not None:
            architecture, preset = weights.card.architecture, weights.card.preset
            config = ARCHITECTURES[architecture][0](**weights.card.config)
        else:
            architecture = f"{self.model}-subspace"
            config, preset = self._new(architecture)
        network = ARCHITECTURES[architecture][1](config) if weights is None else weights.network().train()
        task = SubspaceTask(scenes, config.subspace, **settings)
        ratios = sorted({task.ratio, *(() if weights is None else weights.card.ratios)})
        return self._starting_point(weights, network, architecture, config, preset, tuple(ratios), task)

    def _new(self, architecture: str, **sizes: int) -> tuple[Any, str]:
        """The configuration of a new network, and what its size is called; `sizes` that it has not are left out."""
        preset = self.preset or ("paper" if architecture == "mgdunlss" else "base")
        cls = ARCHITECTURES[architecture][0]
        own = {entry.name for entry in fields(cls)}
        changes = {name: size for name, size in sizes.items() if name in own}
        if self.ablate is None:
            return cls.preset(preset, **changes), preset
        changes |= ABLATIONS[self.model][self.ablate]
        return cls.preset(preset, **changes), f"{preset} without {self.ablate}"

    def _on_bands(self, weights: WeightsFile | None, scenes: Sequence[WaldScene], **settings: Any) -> StartingPoint:
        task = BandsTask(scenes, squared=self.model == "ssrfn", **settings)
        if weights is not None:
            preset, config = weights.card.preset, ARCHITECTURES[self.model][0](**weights.card.config)
            if (config.bands, config.msi_bands) != (
                task.bands,
                task.msi_bands,
            ) or task.ratio not in weights.card.ratios:
                raise RequestError(
                    f"{weights.path} is for {config.bands} HSI bands, {config.msi_bands} MSI bands and ratio "
                    f"{weights.card.ratios[0]}, the pairs have {task.bands}, {task.msi_bands} and {task.ratio}: pass "
                    "`init=none`"
                )
        else:
            config, preset = self._new(self.model, bands=task.bands, msi_bands=task.msi_bands, ratio=task.ratio)
        network = ARCHITECTURES[self.model][1](config) if weights is None else weights.network().train()
        if weights is None:
            assert isinstance(network, BandNetwork)
            task.measure(network.to(settings["device"]))
        return self._starting_point(weights, network, self.model, config, preset, (task.ratio,), task)

    def _starting_point(
        self,
        weights: WeightsFile | None,
        network: nn.Module,
        architecture: str,
        config: Any,
        preset: str,
        ratios: tuple[int, ...],
        task: SubspaceTask | BandsTask,
    ) -> StartingPoint:
        return StartingPoint(
            name=self._name_of(weights),
            model=self.model,
            network=network,
            architecture=architecture,
            config=config,
            preset=preset,
            ratios=ratios,
            task=task,
            learning_rate=_NEW_RATE if weights is None else _FINE_TUNING_RATE,
        )
