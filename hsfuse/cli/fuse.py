"""`hsfuse fuse`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from hsfuse.cli import options
from hsfuse.cli.fusing import fusing, tell

if TYPE_CHECKING:
    from hsfuse.cli.console import Console
    from hsfuse.pairs.pair import PairRequest


@options.command("fuse")
@fusing
def fuse(console: Console, pair: PairRequest, output: str, **choices: Any) -> None:
    """Fuse a hyperspectral and a multispectral scene of the same place.

    Writes a georeferenced Cloud Optimized GeoTIFF with the HSI's bands at the MSI's pixel size.

    \b
    Example:
      hsfuse fuse --hsi prisma.tif --msi s2.tif --srf sentinel-2a -o fused.tif
    """
    from hsfuse.commands.fuse import fuse as run  # noqa: PLC0415 (imports torch)

    if choices["resume"]:
        console.keeps("the finished rows were kept, and the same command goes on with the rest")
    result = run(pair, output, progress=console.progress(), **choices)
    tell(console, result)
    console.result(
        asdict(result),
        lambda: click.echo(
            f"{result.output}: {result.width}×{result.height} pixels, {result.bands} bands, ratio {result.ratio}, "
            f"{result.model}, {result.seconds:.1f} s, {result.peak_memory_mb:.0f} MB"
            + ("" if result.uncertainty is None else f"; standard deviations: {result.uncertainty}")
            + ("" if result.report is None else f"; report: {result.report}")
        ),
    )
