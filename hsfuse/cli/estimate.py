"""`hsfuse estimate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hsfuse.cli import options

if TYPE_CHECKING:
    from hsfuse.cli.console import Console
    from hsfuse.commands.estimate import EstimateResult
    from hsfuse.pairs.pair import PairRequest


_srf = options.option(
    "--srf", metavar="SRC", default="estimate", group="Imaging model",
    help="estimate, or a sensor or file where it is known.",
)  # fmt: skip
_NOT_OF_ESTIMATE = (options.allow_shift, options.coregister)
_pair = options.noun(
    "pair", "hsfuse.pairs.pair.PairRequest",
    (
        options.hsi,
        options.msi,
        *(_srf if each is options.srf else each for each in options.relation if each not in _NOT_OF_ESTIMATE),
    ),
)  # fmt: skip


@options.command("estimate")
@_pair
@options.option("-o", "--output", required=True, metavar="imaging.json", help="The file to write.", group="Output")
@options.option("--plot", metavar="p.png", help="Picture of the model; needs hsfuse[report].", group="Output")
@options.overwrite
def estimate(console: Console, pair: PairRequest, output: str, **choices: Any) -> None:
    """Estimate the spectral response, the point spread and the shift between two scenes.

    \b
    Example:
      hsfuse estimate --hsi prisma.tif --msi s2.tif -o imaging.json
    """
    from hsfuse.commands.estimate import estimate as run  # noqa: PLC0415 (imports torch)

    result = run(pair, output, progress=console.progress(), **choices)
    console.warnings(result.pair.warnings)
    console.result(_content(result), lambda: _print(result))


def _content(result: EstimateResult) -> dict[str, Any]:
    imaging, found = result.pair.imaging_on_hsi, result.pair.estimate
    return {
        "output": str(result.output),
        "ratio": imaging.ratio,
        "msi_bands": list(imaging.srf.msi_bands),
        "fwhm_hsi_pixels": list(imaging.psf.fwhm),
        "shift_hsi_pixels": {"x": imaging.shift[0], "y": imaging.shift[1]},
        "residual": imaging.residual,
        "quality": {} if found is None else found.quality,
        "sensor": "" if found is None else found.sensor,
        "sharpened": list(result.pair.scenes.msi.sharpened),
        "warnings": list(result.pair.warnings),
    }


def _print(result: EstimateResult) -> None:
    content = _content(result)
    fwhm, shift = content["fwhm_hsi_pixels"], content["shift_hsi_pixels"]
    click.echo(
        f"{result.output}: ratio {content['ratio']}, PSF FWHM {fwhm[0]:.2f} × {fwhm[1]:.2f} HSI pixels, "
        f"shift x {shift['x']:+.2f}, y {shift['y']:+.2f} HSI pixels, SRF of {len(content['msi_bands'])} MSI bands"
    )
    for name, value in {**content["residual"], **content["quality"]}.items():
        click.echo(f"  {name.replace('_', ' ')}: {value:.4g}")
