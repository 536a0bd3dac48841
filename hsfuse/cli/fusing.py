"""What a command that fuses is asked for, and what it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hsfuse.cli import options
from hsfuse.cli.parameter_types import DurationType

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsfuse.cli.console import Console
    from hsfuse.commands.fuse import FuseResult

_TOLD_SECONDS = 0.05
_MODEL, _RUN, _OUTPUT = "Model", "Run", "Output"


_tiling = options.noun(
    "tiling", "hsfuse.fusion.tiles.Tiling",
    (
        options.option("--tile", type=click.IntRange(1), metavar="N", group=_RUN,
                       help="Tile edge in HSI pixels.  [default: from the memory at hand]"),
        options.option("--overlap", type=click.IntRange(0), metavar="N", group=_RUN,
                       help="Overlap of tiles in HSI pixels.  [default: what the method needs]"),
    ),
)  # fmt: skip
_form = options.noun(
    "form", "hsfuse.fusion.job.OutputFormat",
    (
        options.option("--dtype", metavar="NAME", group=_OUTPUT,
                       help="Of the output, such as int16.  [default: the HSI's]"),
        options.option("--nodata", type=float, metavar="V", help="Of the output.  [default: the HSI's]", group=_OUTPUT),
        options.option("--scale", type=float, metavar="S", group=_OUTPUT,
                       help="Of the output's numbers: value = number · scale + offset.  [default: the HSI's]"),
        options.option("--offset", type=float, metavar="O", help="As --scale.  [default: the HSI's]", group=_OUTPUT),
        options.option("--allow-clipping", is_flag=True, group=_OUTPUT,
                       help="Go on where the type cannot hold more than 1 % of the values."),
        options.pairs("--co", "creation_options", group=_OUTPUT,
                      help="Creation option of GDAL's COG driver, repeatable."),
    ),
)  # fmt: skip
_OPTIONS = (
    options.pair,
    options.option("-o", "--output", required=True, metavar="OUT.tif", help="The COG to write.", group=_OUTPUT),
    options.option("--model", default="stack", metavar="NAME",
                   help="stack (several, weighted as suits the scene), mgdunlss, ssrfn, bayes, hysure, cnmf, gsa, "
                   "mtf-glp, mtf-glp-subspace or bicubic.",
                   group=_MODEL),
    options.option("--weights", metavar="FILE",
                   help="Weights file, or the name of a bundled one.  [default: the model's universal weights]",
                   group=_MODEL),
    options.option("--adapt", "adapt_seconds", type=DurationType(), metavar="TIME",
                   help="First fine-tune the weights on this pair at reduced resolution, such as 5m; kept only if "
                   "better on a held-back part.  [default: off]", group=_MODEL),
    options.option("--adapt-weights", metavar="FILE.safetensors", group=_OUTPUT,
                   help="Keep the weights that --adapt has found, if they are better, for --weights.  [default: off]"),
    options.option("--uncertainty", metavar="FILE.tif", group=_OUTPUT,
                   help="Also write the standard deviation of every value, calibrated on the scene itself: a float32 "
                   "COG on the same grid.  [default: off]"),
    options.option("--save-imaging", metavar="FILE.json", group=_OUTPUT,
                   help="Also write the SRF, PSF and shift that were used, as estimate does.  [default: off]"),
    options.option("--stac", metavar="FILE.json", group=_OUTPUT,
                   help="Also write a STAC item: where the output lies, when it was taken, its bands.  "
                   "[default: off]"),
    options.report,
    _tiling,
    options.compute,
    options.seed,
    options.option("--dask", metavar="ADDRESS", group=_RUN,
                   help="Let the workers of a Dask cluster compute the tiles: address of its scheduler, or its JSON "
                   "file.  [default: this process]"),
    _form,
    options.option("--resume", is_flag=True, group=_OUTPUT,
                   help="Keep finished rows where the run breaks off, and go on with those of an earlier run of the "
                   "same request; an output that it has finished is left as it is."),
    options.overwrite,
)  # fmt: skip


def fusing(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `hsfuse fuse`, in the order of its help."""
    for add in reversed(_OPTIONS):
        function = add(function)
    return function


@options.command("fuse")
@fusing
def fuse_words(console: Console, **choices: Any) -> None:
    """What `hsfuse fuse` is asked in, for those who parse its words or name its options; it does nothing."""


def tell(console: Console, result: FuseResult) -> None:
    """What a user should know of one fused pair, and its details, on stderr."""
    console.warnings(result.warnings)
    if result.adapted is not None:
        console.note(result.adapted.sentence)
    console.detail(
        f"{result.tiles} tiles of {result.tile} HSI pixels, overlap {result.overlap}, on {result.device} in "
        f"{result.precision}; HSI {'resampled' if result.hsi_resampled else 'as it is'}, "
        f"MSI {'resampled' if result.resampled else 'as it is'}"
    )
    for stage in result.stages:
        if max(stage.worked, stage.waited) >= _TOLD_SECONDS:
            console.detail(
                f"{stage.name:<20}{stage.worked:7.1f} s"
                + (f", waited {stage.waited:.1f} s" if stage.waited >= _TOLD_SECONDS else "")
                + (f", {stage.megabytes:.0f} MB" if stage.megabytes else "")
            )
    for group in result.sharpened:
        console.detail(f"sharpened: {group.sentence}")
    for name, value in result.fitted.items():
        console.detail(f"{name}: {value}")
