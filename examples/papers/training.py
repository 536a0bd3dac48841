"""Training one of the papers' networks on the bands of one pair of sensors, and judging it among the others."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from hsfuse.errors import RequestError
from hsfuse.fusion.arrays import BlockSource, FusedArray
from hsfuse.fusion.compute import Compute
from hsfuse.fusion.job import Job
from hsfuse.fusion.tiles import Tiling
from hsfuse.metrics import full_reference
from hsfuse.models.bands import BandNetwork
from hsfuse.models.mgdunlss import MGDuNLSSConfig, MGDuNLSSNet
from hsfuse.models.ssrfn import SSRFNConfig, SSRFNNet
from hsfuse.models.weights import WeightsCard, save_weights
from hsfuse.pairs.wald_level import WaldBlock
from hsfuse.scenes import PixelWindow
from hsfuse.training.loop import Schedule, Trainer
from hsfuse.training.split import split
from hsfuse.training.tasks import BandsTask

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from hsfuse.fusion.methods import ChosenMethod
    from hsfuse.imaging import WaldPair
    from hsfuse.pairs.wald_level import WaldScene

METHODS = "bicubic,gsa,mtf-glp,mtf-glp-subspace,cnmf,hysure,mgdunlss"
"""What stands beside the network that is trained; `mgdunlss` is the one with bundled weights."""


@dataclass(frozen=True)
class Recipe:
    """How a paper trains its network."""

    batch: int
    """Patches a step."""

    learning_rate: float
    """Its maximum."""

    epochs: int
    """Times that every pixel is seen."""

    squared: bool
    """Whether the loss is the squared error, not the absolute one."""


RECIPES = {"mgdunlss": Recipe(16, 1e-3, 100, squared=False), "ssrfn": Recipe(8, 1e-4, 200, squared=True)}
"""By network: Khader et al. 2023, IV-D, and Zhao et al. 2024, III-A."""


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """What all scripts have in common; the defaults are the papers'."""
    parser.add_argument("--model", choices=list(RECIPES), default="mgdunlss", help="the network to train")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--steps", type=int, help="of the optimizer; by default as many epochs as the paper")
    budget.add_argument("--minutes", type=float, help="of training, instead of a number of steps")
    parser.add_argument("--patch", type=int, help="edge of a training patch in HSI pixels; the paper's by default")
    parser.add_argument("--batch", type=int, help="patches a step; the paper's by default")
    parser.add_argument("--lr", type=float, help="largest learning rate; the paper's by default")
    parser.add_argument("--share", type=float, default=0.1, help="of the training area that validates")
    parser.add_argument("--preset", default="paper", help="size of ssrfn: paper, base, small or tiny")
    parser.add_argument("--set", metavar="NAME=N", action="append", default=[], help="a size of the network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--tile", type=int, help="edge of a tile in HSI pixels when fusing; by default what memory takes"
    )
    parser.add_argument("--methods", default=METHODS, help=f"to compare with ({METHODS})")
    parser.add_argument("--csv", help="also write the table to this file")


def remaining(area: PixelWindow, test: PixelWindow) -> list[PixelWindow]:
    """What is left of an area below a test region in its upper right corner, and to the left of it."""
    left = (area.column, area.row, area.width - test.width, test.height)
    below = (area.column, area.row + test.height, area.width, area.height - test.height)
    return [PixelWindow(*window) for window in (below, left) if min(window[2:]) > 0]


def upper_right(area: PixelWindow, rows: int, columns: int) -> PixelWindow:
    """The test region.

    Raises:
        RequestError: It is as large as the area, so that nothing is left to train on.
    """
    if rows > area.height or columns > area.width or (rows, columns) == (area.height, area.width):
        raise RequestError(
            f"a test region of {rows}×{columns} leaves nothing to train on of {area.height}×{area.width} pixels: "
            "pass a smaller one with --test ROWSxCOLUMNS"
        )
    return PixelWindow(area.columns.stop - columns, area.row, columns, rows)


def train(scenes: Sequence[WaldScene], options: argparse.Namespace, *, patch: int, title: str, output: Path) -> Path:
    """Train on scenes of one pair of sensors and write the weights that were best on what is held back of them.

    Raises:
        RequestError: The scenes are too small, or a size of the network is none of its.
        WorkError: The loss is not finite.
    """
    recipe = RECIPES[options.model]
    device = Compute(options.device, "fp32").torch_device
    torch.manual_seed(options.seed)
    usable = [scene for scene in scenes if _can_be_split(scene, options.share)] or scenes
    task = BandsTask(usable, squared=recipe.squared, patch=patch, share=options.share, device=device)
    network = _build(task, options).to(device)
    task.measure(network)
    batch = options.batch or recipe.batch
    steps = options.steps
    if steps is None and options.minutes is None:
        steps = recipe.epochs * task.steps_an_epoch(batch)
    schedule = Schedule(
        steps=steps,
        seconds=None if options.minutes is None else 60 * options.minutes,
        learning_rate=options.lr or recipe.learning_rate,
        batch=batch,
        seed=options.seed,
    )
    trainer = Trainer(network, task, schedule)
    trainer.run(Log())
    _save(trainer, network, usable, options, title, output)
    return output


def _can_be_split(scene: WaldScene, share: float) -> bool:
    """Whether there is enough of it to train and to validate on: a narrow strip beside the test region is left out."""
    try:
        split(scene, share)
    except RequestError:
        return False
    return True


def _build(task: BandsTask, options: argparse.Namespace) -> BandNetwork:
    """A new network of the paper's size, or of the sizes asked for."""
    try:
        sizes: dict[str, Any] = {name: int(size) for name, size in (change.split("=") for change in options.set)}
        if options.model == "ssrfn":
            bands = {"bands": task.bands, "msi_bands": task.msi_bands}
            return BandNetwork(SSRFNNet(SSRFNConfig.preset(options.preset, **bands, **sizes)))
        config = MGDuNLSSConfig(task.bands, task.msi_bands, task.ratio)
        return BandNetwork(MGDuNLSSNet(replace(config, **sizes)))
    except (TypeError, ValueError) as error:
        raise RequestError(f"--set {' '.join(options.set)} is no size of {options.model} ({error})") from error


def _save(
    trainer: Trainer,
    network: BandNetwork,
    scenes: Sequence[WaldScene],
    options: argparse.Namespace,
    title: str,
    path: Path,
) -> None:
    best = next(record for record in reversed(trainer.history) if record.best)
    srf = scenes[0].model.srf
    card = WeightsCard(
        model=options.model,
        architecture=options.model,
        config=asdict(network.network.config),
        spectral="full",
        ratios=(scenes[0].model.ratio,),
        trained_on=(title,),
        validated_on=(f"{title}, a part that was held back",),
        validation=best.figures,
        steps=best.step,
        seed=options.seed,
        preset=options.preset if options.model == "ssrfn" else "",
        hsi_wavelength_nm=() if srf.hsi_wavelength_nm is None else tuple(srf.hsi_wavelength_nm.tolist()),
        msi_bands=srf.msi_bands,
    )
    save_weights(trainer.best_weights, card, path)


def evaluate(test: WaldPair, chosen: ChosenMethod, options: argparse.Namespace) -> dict[str, float]:
    """Fuse a simulated pair by one method, in tiles where it is large, and score it against its truth."""
    rows, columns = test.hsi_valid.shape
    block, ratio = WaldBlock.of(test), test.model.ratio
    job = Job(chosen, Compute(options.device, "fp32"), Tiling(options.tile), options.seed)
    fused = FusedArray(test.reference.shape)
    fitted = job.fit([block.patch], test.model)
    area = PixelWindow(0, 0, columns, rows)
    job.run(BlockSource(block.pair), area, fitted, fused, bands=len(test.reference), ratio=ratio)
    return full_reference(fused.values, test.reference, fused.valid, ratio=ratio).summary()


class Log:
    """Says on stderr how training goes."""

    def start(self, stage: str, total: int, unit: str = "tiles") -> None:
        """Training begins."""

    def advance(self, steps: int = 1) -> None:
        """Steps are not worth a line."""

    def note(self, sentence: str) -> None:
        """The network was validated."""
        print(sentence, file=sys.stderr)

    def finish(self) -> None:
        """It is over."""
