"""`hsfuse quicklook`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from hsfuse.cli import completion, options

if TYPE_CHECKING:
    from hsfuse.cli.console import Console


@options.command("quicklook")
@click.argument("scene", shell_complete=completion.files)
@options.option("-o", "--output", required=True, metavar="q.png", help="The picture to write.", group="Output")
@options.option(
    "--bands",
    metavar="R,G,B",
    group="Picture",
    help="1-based bands as red, green and blue, or one as grey.  [default: nearest to 660, 560, 490 nm]",
)
@options.option("--swir", is_flag=True, help="Bands nearest to 2200, 850 and 660 nm.", group="Picture")
@options.option(
    "--size",
    type=click.IntRange(1, 16384),
    default=1024,
    metavar="N",
    group="Picture",
    help="Most pixels along an edge.",
)
@options.overwrite
def quicklook(console: Console, scene: str, output: str, **choices: Any) -> None:
    """Draw a scene as a PNG, stretched between percentiles; where it has no data the picture is transparent.

    \b
    Example:
      hsfuse quicklook fused.tif -o fused.png
    """
    from hsfuse.commands.quicklook import quicklook as run  # noqa: PLC0415 (imports rasterio)

    result = run(scene, output, **choices)
    console.warnings(result.warnings)
    bands = ", ".join(str(band) for band in result.bands)
    console.result(
        asdict(result),
        lambda: click.echo(f"{result.output}: {result.width}×{result.height} pixels, band(s) {bands}"),
    )
