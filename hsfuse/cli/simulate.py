"""`hsfuse simulate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hsfuse.cli import options
from hsfuse.cli.parameter_types import ShiftType, WindowType

if TYPE_CHECKING:
    from hsfuse.cli.console import Console

_INPUT, _SENSORS, _OUTPUT = "Input", "Sensors", "Output"


@options.command("simulate")
@options.option(
    "--reference", required=True, metavar="R", help="Hyperspectral scene to take as the truth.", group=_INPUT
)
@options.hsi_bands
@options.option("--window", type=WindowType(), help="Only this part, in pixels of the reference.", group=_INPUT)
@options.option("--ratio", type=click.IntRange(2, 20), required=True, help="HSI pixel over MSI pixel.", group=_SENSORS)
@options.option("--srf", required=True, metavar="SENSOR[:BANDS]",
                help="MSI sensor, such as sentinel-2a:B2,B3,B4,B8, or an SRF file.", group=_SENSORS)  # fmt: skip
@options.option("--psf", default="gaussian:1.0", metavar="SRC",
                help="gaussian:FWHM in HSI pixels, or a .json or .csv file.", group=_SENSORS)  # fmt: skip
@options.option(
    "--snr-hsi", type=float, metavar="DB", help="SNR of the HSI in dB.  [default: no noise]", group=_SENSORS
)
@options.option(
    "--snr-msi", type=float, metavar="DB", help="SNR of the MSI in dB.  [default: no noise]", group=_SENSORS
)
@options.option("--shift", type=ShiftType(), default=(0.0, 0.0), show_default="0,0", metavar="X,Y",
                help="Misregistration in HSI pixels.", group=_SENSORS)  # fmt: skip
@options.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Of the noise.", group=_SENSORS)
@options.option("-o", "--output", "folder", required=True, metavar="DIR",
                help="Folder for hsi.tif, msi.tif, reference.tif and imaging.json.", group=_OUTPUT)  # fmt: skip
@options.option("--dtype", metavar="NAME", help="Of the files.  [default: the reference's]", group=_OUTPUT)
@options.overwrite
def simulate(console: Console, reference: str, folder: str, **choices: Any) -> None:
    """Make a test pair from a reference by Wald's protocol, with the truth that was used.

    \b
    Example:
      hsfuse simulate --reference aviris.tif --ratio 3 --srf sentinel-2a -o pair/
    """
    from hsfuse.commands.simulate import FILES  # noqa: PLC0415 (imports torch)
    from hsfuse.commands.simulate import simulate as run  # noqa: PLC0415

    result = run(reference, folder, **choices)
    console.warnings(result.warnings)
    bands, rows, columns = result.hsi_shape
    msi_bands, msi_rows, msi_columns = result.msi_shape
    console.result(
        {
            "folder": str(result.folder),
            "files": [str(result.folder / name) for name in FILES],
            "ratio": result.ratio,
            "hsi": {"bands": bands, "width": columns, "height": rows},
            "msi": {"bands": msi_bands, "width": msi_columns, "height": msi_rows},
            "warnings": list(result.warnings),
        },
        lambda: click.echo(
            f"{result.folder}: HSI {columns}×{rows}×{bands}, MSI {msi_columns}×{msi_rows}×{msi_bands}, "
            f"ratio {result.ratio}"
        ),
    )
