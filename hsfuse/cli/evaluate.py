"""`hsfuse evaluate`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from hsfuse.cli import options
from hsfuse.cli.console import infinite
from hsfuse.cli.words import figure
from hsfuse.errors import RequestError

if TYPE_CHECKING:
    from hsfuse.cli.console import Console
    from hsfuse.commands.evaluate import Evaluation

_ONE_OF_BOTH = "pass either the reference (`reference`) or the two images that were fused (`hsi` and `msi`)"
_OF_THE_PAIR = (
    "srf", "psf", "hsi_bands", "msi_bands", "wavelengths", "msi_wavelengths", "mask", "resolution", "allow_shift",
    "coregister",
)  # fmt: skip
"""Options that say nothing about a reference."""
_INPUT, _PAIR, _OUTPUT = "Input", "Without a reference", "Output"
_TITLES = {
    "d_lambda": "D_λ",
    "consistency_hsi": "consistency with the HSI",
    "consistency_msi": "consistency with the MSI",
}
_UNITS = {"psnr": "dB", "sam": "°", "consistency_hsi": "dB", "consistency_msi": "dB"}


@options.command("evaluate")
@options.option("--fused", required=True, metavar="F", help="Fused image.", group=_INPUT)
@options.option("--reference", metavar="R", help="The truth, on the same grid; or else --hsi and --msi.", group=_INPUT)
@options.option("--ratio", type=float, metavar="N",
                help="HSI over MSI pixel.  [default: as the fused image says, or measured on the pair]",
                group=_INPUT)  # fmt: skip
@options.option("--hsi", metavar="H", help="Hyperspectral scene that was fused.", group=_PAIR)
@options.option("--msi", metavar="M", multiple=True, show_default=False, group=_PAIR,
                help="Multispectral scene that was fused; repeatable, as of fuse.")  # fmt: skip
@options.option("--hsi-bands", metavar="LIST",
                help="HSI bands that were fused, 1-based: 1-4,8.  [default: all good]", group=_PAIR)  # fmt: skip
@options.option("--msi-bands", metavar="LIST",
                help="MSI bands to look at, 1-based.  [default: all]", group=_PAIR)  # fmt: skip
@options.option("--srf", metavar="SRC", group=_PAIR,
                help="Spectral response, as of fuse.  [default: the MSI's sensor if it says which, else "
                "estimate]")  # fmt: skip
@options.option("--psf", metavar="SRC", help="Point spread, as of fuse.  [default: estimate]", group=_PAIR)
@options.option("--allow-shift", is_flag=True, help="Go on above 2 HSI pixels of misregistration.", group=_PAIR)
@options.option(
    "--coregister", is_flag=True, help="Bring the HSI onto the MSI's geolocation, up to 10 HSI pixels off.", group=_PAIR
)
@options.option("--grid", type=click.Choice(["hsi", "msi"]), default="hsi", group=_PAIR,
                help="Whose grid the fused image has, where its tags do not say.")  # fmt: skip
@options.option("--resolution", type=float, metavar="METRES", group=_PAIR,
                help="Its pixel size, where it was asked for and its tags do not say.")  # fmt: skip
@options.wavelengths
@options.msi_wavelengths
@options.mask
@options.quality_mask
@options.screen
@options.option("--csv", metavar="FILE", help="Write the metrics per band to a CSV file.", group=_OUTPUT)
@options.report
@options.overwrite
def evaluate(
    console: Console,
    fused: str,
    reference: str | None,
    csv: str | None,
    report: str | None,
    overwrite: bool,
    **related: Any,
) -> None:
    """Score a fused image against its reference, or without one against the two images that it was made of.

    With a reference: PSNR, SAM, ERGAS, RMSE, CC, UIQI and SSIM, also per band. Without: D_λ, D_S, QNR, HQNR and the
    consistency with both images through their imaging model.

    \b
    Example:
      hsfuse evaluate --fused fused.tif --reference reference.tif
      hsfuse evaluate --fused fused.tif --hsi prisma.tif --msi s2.tif
    """
    from hsfuse.commands.evaluate import evaluate as run  # noqa: PLC0415 (imports rasterio)
    from hsfuse.pairs.pair import PairRequest  # noqa: PLC0415

    _refuse_contradictions(reference, related)
    files: dict[str, Any] = {"csv": csv, "report": report, "overwrite": overwrite}
    if reference is not None:
        result: Evaluation[Any] = run(fused, reference, ratio=related["ratio"], **files)
    else:
        result = run(fused, pair=PairRequest(**related), progress=console.progress(), **files)
    console.warnings(result.warnings)
    console.result(_content(result), lambda: _print(result))


def _refuse_contradictions(reference: str | None, related: dict[str, Any]) -> None:
    """Refuse anything but either a reference or a whole pair."""
    hsi, msi = related["hsi"], related["msi"] or None
    if reference is None:
        if hsi is None or msi is None:
            missing = "there is nothing to hold the fused image against"
            if (hsi is None) != (msi is None):
                missing = f"the {'HSI' if hsi is None else 'MSI'} is missing"
            raise RequestError(f"{missing}: {_ONE_OF_BOTH}")
        return
    if hsi is not None or msi is not None:
        raise RequestError(f"a reference and an image of the pair were both given: {_ONE_OF_BOTH}")
    given = [f"`{name}`" for name in _OF_THE_PAIR if related[name]] + ["`grid`"] * (related["grid"] != "hsi")
    if given:
        raise RequestError(f"{', '.join(given)} would say nothing about a reference: leave it out, or {_ONE_OF_BOTH}")


def _content(result: Evaluation[Any]) -> dict[str, Any]:
    scores = result.scores
    content: dict[str, Any] = {
        "metrics": scores.summary(),
        "infinite": infinite(scores.summary()),
        "bands": [_row(row) for row in result.bands],
        "pixels": scores.pixels,
    }
    if result.msi_bands:
        content |= {"msi_bands": [_row(row) for row in result.msi_bands], "blocks": scores.blocks}
    else:
        content["zero_pixels"] = scores.zero_pixels
    return content | {"warnings": list(result.warnings)}


def _row(values: dict[str, Any]) -> dict[str, Any]:
    """A band's figures; where some are infinite their names beside them."""
    names = infinite({name: value for name, value in values.items() if isinstance(value, float)})
    return values | ({"infinite": names} if names else {})


def _print(result: Evaluation[Any]) -> None:
    from rich.console import Console as Terminal  # noqa: PLC0415 (only for people)
    from rich.table import Table  # noqa: PLC0415

    scores = result.scores
    table = Table("metric", "value")
    for name, value in scores.summary().items():
        unit = "" if math.isnan(value) else _UNITS.get(name, "")
        text = f"{figure(value, '.4f', 'undefined')} {unit}".rstrip()
        table.add_row(_TITLES.get(name, name.upper()), text)
    Terminal().print(table)
    if result.msi_bands:
        click.echo(f"{scores.pixels} fused pixels compared with the MSI, {scores.blocks} blocks for D_λ and D_S")
    else:
        click.echo(f"{scores.pixels} pixels, {scores.zero_pixels} of them all zero and left out of SAM")
