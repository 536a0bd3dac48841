"""`hsfuse train-reduced`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from hsfuse.cli import options
from hsfuse.cli.console import ExitStatus
from hsfuse.cli.parameter_types import DurationType, SizeType
from hsfuse.cli.words import figure
from hsfuse.errors import RequestError

if TYPE_CHECKING:
    from hsfuse.cli.console import Console
    from hsfuse.commands.train_reduced import TrainResult
    from hsfuse.pairs.pair import PairRequest

_NETWORK, _TRAINING, _RUN, _OUTPUT = "Network", "Training", "Run", "Output"


_network = options.noun(
    "network", "hsfuse.training.start.NetworkRequest",
    (
        options.option("--model", default="mgdunlss", metavar="NAME", help="mgdunlss or ssrfn.", group=_NETWORK),
        options.option("--spectral", default="subspace", type=click.Choice(["subspace", "full"]),
                    help="subspace: ten coefficients, serves any pair; full: the bands of this pair, as in the papers.",
                    group=_NETWORK),
        options.option("--init", metavar="SRC",
                    help="universal (the bundled weights), none, or a weights file.  [default: universal; none with "
                    "--preset, --ablate or --spectral full]", group=_NETWORK),
        options.option("--preset", metavar="NAME",
                    help="Size of a new network: paper, paper-unshared, base or tiny, of ssrfn also small or light.  "
                    "[default: base; paper for mgdunlss with --spectral full]", group=_NETWORK),
        options.option("--ablate", metavar="NAME",
                    help="Leave a part out of a new network, as its paper does: bsru or nlss (mgdunlss); dfe-mamba, "
                    "cfe-mamba, mamba, cnn, spar, sper or cfe-scm (ssrfn).  [default: nothing]", group=_NETWORK),
    ),
)  # fmt: skip
_plan = options.noun(
    "plan", "hsfuse.training.start.TrainingPlan",
    (
        options.option("--epochs", type=click.IntRange(1), metavar="N", help="Times that every pixel is seen.",
                    group=_TRAINING),
        options.option("--steps", type=click.IntRange(1), metavar="N", help="Optimizer steps.", group=_TRAINING),
        options.option("--time", "seconds", type=DurationType(), metavar="TIME",
                    help="How long: 90s, 30m or 2h.  [default: 30m without --epochs, --steps and --optimiser paper]",
                    group=_TRAINING),
        options.option("--batch", type=click.IntRange(1), metavar="N",
                    help="Patches a step and process.  [default: 8; the paper's with --optimiser paper]",
                    group=_TRAINING),
        options.option("--accumulate", type=click.IntRange(1), default=1, metavar="N",
                    help="Parts in which a batch is computed, their gradients summed: less memory, the same weights.",
                    group=_TRAINING),
        options.option("--gradient-checkpointing", is_flag=True,
                    help="Compute the activations of the network's stages again in the backward pass: less memory, "
                    "more time, the same gradients.", group=_TRAINING),
        options.option("--patch", type=click.IntRange(4), metavar="N",
                    help="Edge of a patch in HSI pixels of the degraded scene.  [default: about 36 MSI pixels]",
                    group=_TRAINING),
        options.option("--lr", "learning_rate", type=click.FloatRange(0, min_open=True), metavar="RATE",
                    help="Largest learning rate.  [default: 0.0005 for weights that are there, 0.001 for new ones; "
                    "the paper's with --optimiser paper]", group=_TRAINING),
        options.option("--optimiser", "--optimizer", default="default", type=click.Choice(["default", "paper"]),
                    help="default: AdamW, a cosine, the mean of the weights; paper: Adam with the betas, rate, "
                    "schedule, batch and epochs that the network's paper prints.", group=_TRAINING),
        options.option("--val", type=click.FloatRange(0, 0.5, min_open=True), default=0.1, metavar="SHARE",
                    help="Of each scene, held back for validation at one end.", group=_TRAINING),
        options.option("--patience", type=click.IntRange(1), metavar="N",
                    help="Validations (there are 20) without a better one after which to stop.  [default: never]",
                    group=_TRAINING),
        options.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, group=_RUN,
                       help="Makes a run of --steps or --epochs repeatable."),
        options.option("--deterministic", is_flag=True, group=_RUN,
                       help="Repeatable bit for bit on CUDA too, by slower algorithms; the CPU always is."),
    ),
)  # fmt: skip
_related = options.noun("related", "builtins.dict", options.relation)
_memory = options.option(
    "--memory", type=SizeType(), group=_RUN,
    help="Bound on the patches kept in memory, such as 4G.  [default: a quarter of what is free]",
)  # fmt: skip
_compute = options.noun("compute", "hsfuse.fusion.compute.Compute", (options.device, options.precision, _memory))


@options.command("train-reduced")
@options.several_hsi
@options.several_msi
@_related
@options.option("-o", "--output", required=True, metavar="W.safetensors",
                help="The weights file to write; a log and a picture of the curves lie beside it.",
                group=_OUTPUT)  # fmt: skip
@_network
@_plan
@_compute
@options.option("--data-licence", default="", metavar="TEXT", show_default=False,
                help="On what terms the scenes may be used, for the file's header.", group=_OUTPUT)  # fmt: skip
@options.report
@options.option(
    "--resume",
    is_flag=True,
    help="Go on with an interrupted training of the same request; one that has ended is left as it is.",
    group=_RUN,
)
@options.overwrite
def train_reduced(
    console: Console, hsi: tuple[str, ...], msi: tuple[str, ...], related: dict[str, Any], output: str, **values: Any
) -> None:
    """Train a network on a pair of sensors, from their scenes alone.

    By Wald's protocol: both images are degraded by their ratio, and the HSI itself is the truth. A part of each scene
    is held back; the weights whose PSNR in dB minus SAM in degrees is largest there (the score of the log) are kept,
    also on Ctrl-C, and shown beside the classical methods.
    `torchrun --nproc-per-node N -m hsfuse train-reduced …` shares every step among N processes.

    \b
    Example:
      hsfuse train-reduced --hsi prisma.tif --msi s2.tif --time 30m -o prisma-s2.safetensors
    """
    from hsfuse.commands.train_reduced import train_reduced as run  # noqa: PLC0415 (imports torch)

    result = run(_pairs(hsi, msi, related), output, progress=console.progress(), **values)
    if result is None:  # the first process of torchrun talks
        return
    console.warnings(result.warnings)
    if result.curves is None:
        console.detail("no picture of the curves: pip install 'hsfuse[report]'")
    console.result(asdict(result), lambda: _print(result))
    if result.interrupted:
        raise click.exceptions.Exit(ExitStatus.INTERRUPTED)


def _pairs(hsi: tuple[str, ...], msi: tuple[str, ...], related: dict[str, Any]) -> list[PairRequest]:
    from hsfuse.pairs.pair import PairRequest  # noqa: PLC0415 (imports rasterio)

    if len(hsi) != len(msi):
        raise RequestError(
            f"{len(hsi)} HSI and {len(msi)} MSI scenes: give one `msi` for each `hsi`, in the same order"
        )
    return [PairRequest(one, other, **related) for one, other in zip(hsi, msi, strict=True)]


def _print(result: TrainResult) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 (only for people)
    from rich.console import Console as Terminal  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table("on what was held back", box=SIMPLE_HEAD, pad_edge=False)
    for title in ("PSNR dB", "SAM °", "ERGAS", "score"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, figures in result.validation.items():
        style = "bold" if name == "trained" else None
        cells = (
            figure(figures.psnr, ".2f"), figure(figures.sam, ".3f"), figure(figures.ergas, ".3f"),
            figure(figures.score, ".2f"),
        )  # fmt: skip
        table.add_row(name, *cells, style=style)
    Terminal().print(table)
    click.echo(f"score: {result.criterion}; the weights with the largest are kept")
    click.echo(
        f"{result.output}: {result.model}, {result.parameters:,} parameters, from {result.start}, the best of "
        f"{result.steps} steps at step {result.best_step}, {result.seconds:.0f} s; log in {result.log}"
    )
    if result.interrupted:
        click.echo("interrupted: the best weights so far were kept; --resume goes on", err=True)
