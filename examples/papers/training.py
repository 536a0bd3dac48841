"""Training one of the papers' networks on the bands of one pair of sensors, and judging it among the others."""

from __future__ import annotations

import sys
from dataclasses import asdict
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
from hsfuse.models.recomputing import recompute_stages
from hsfuse.models.ssrfn import SSRFNConfig, SSRFNNet
from hsfuse.models.weights import WeightsCard, save_weights
from hsfuse.pairs.wald_level import WaldBlock
from hsfuse.scenes import PixelWindow
from hsfuse.training.loop import Trainer
from hsfuse.training.recipe import PAPERS, recipe
from hsfuse.training.schedule import Schedule
from hsfuse.training.split import split
from hsfuse.training.start import ABLATIONS
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


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """What all scripts have in common; the defaults are the papers'."""
    parser.add_argument("--model", choices=list(PAPERS), default="mgdunlss", help="the network to train")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--steps", type=int, help="of the optimizer; by default as many epochs as the paper")
    budget.add_argument("--minutes", type=float, help="of training, instead of a number of steps")
    parser.add_argument("--patch", type=int, help="edge of a training patch in HSI pixels; the paper's by default")
    parser.add_argument("--batch", type=int, help="patches a step; the paper's by default")
    parser.add_argument("--lr", type=float, help="largest learning rate; the paper's by default")
    parser.add_argument("--share", type=float, default=0.1, help="of the training area that validates")
    parser.add_argument("--optimiser", choices=["paper", "default"], default="paper", help="paper (default) or default")
    parser.add_argument("--accumulate", type=int, default=1, metavar="N", help="parts of a batch: less memory")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="compute activations twice: less memory")
    parser.add_argument("--preset", default="paper", help="size of the network: paper, paper-unshared, base, tiny, …")
    parser.add_argument("--ablate", metavar="NAME", help="leave out a part, as in the paper's ablations")
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
    paper = PAPERS[options.model]  # its batch, rate and epochs also where its optimiser is not used
    device = Compute(options.device, "fp32").torch_device
    torch.manual_seed(options.seed)
    usable = [scene for scene in scenes if _can_be_split(scene, options.share)] or scenes
    task = BandsTask(usable, squared=options.model == "ssrfn", patch=patch, share=options.share, device=device)
    network = _build(task, options).to(device)
    task.measure(network)
    if options.gradient_checkpointing:
        recompute_stages(network)
    batch = options.batch or paper.batch
    if options.accumulate > batch:
        raise RequestError(f"a batch of {batch} cannot be computed in {options.accumulate} parts: lower --accumulate")
    steps, an_epoch = options.steps, task.steps_an_epoch(batch)
    if steps is None and options.minutes is None:
        steps = (paper.epochs or 1) * an_epoch
    schedule = Schedule(
        steps=steps,
        seconds=None if options.minutes is None else 60 * options.minutes,
        learning_rate=options.lr or paper.learning_rate or 1e-3,
        batch=batch,
        accumulate=options.accumulate,
        recipe=recipe(options.optimiser, options.model),
        steps_an_epoch=an_epoch,
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
        if options.ablate is not None:
            sizes |= ABLATIONS[options.model][options.ablate]
        bands = {"bands": task.bands, "msi_bands": task.msi_bands}
        if options.model == "ssrfn":
            return BandNetwork(SSRFNNet(SSRFNConfig.preset(options.preset, **bands | sizes)))
        bands["ratio"] = task.ratio
        return BandNetwork(MGDuNLSSNet(MGDuNLSSConfig.preset(options.preset, **bands | sizes)))
    except KeyError as error:
        known = ", ".join(ABLATIONS[options.model])
        raise RequestError(f"{options.model} has no --ablate {options.ablate}: choose one of {known}") from error
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
        preset=options.preset if options.ablate is None else f"{options.preset} without {options.ablate}",
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
