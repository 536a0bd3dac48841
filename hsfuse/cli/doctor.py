"""`hsfuse doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from hsfuse.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hsfuse.cli.console import Console
    from hsfuse.commands.doctor import Diagnosis


@options.command("doctor")
def doctor(console: Console) -> None:
    """Say what will be used on this machine and why: Python, torch, CUDA, Mamba's scan, GDAL, threads.

    \b
    Example:
      hsfuse doctor
    """
    from hsfuse.commands.doctor import doctor as run  # noqa: PLC0415 (imports torch and rasterio)

    result = run()
    console.result(asdict(result), lambda: _print(result))


def _print(result: Diagnosis) -> None:
    from rich.console import Console as Terminal  # noqa: PLC0415 (only for people)
    from rich.markup import escape  # noqa: PLC0415 (a reason may hold brackets)
    from rich.table import Table  # noqa: PLC0415

    table = Table(show_header=False)
    for name, value in _rows(result):
        table.add_row(name, escape(value))
    Terminal().print(table)
    for sentence in result.problems:
        click.echo(f"problem: {sentence}")
    if not result.problems:
        click.echo("all is well")


def _rows(result: Diagnosis) -> Iterator[tuple[str, str]]:
    compute, scan, gdal, threads = result.compute, result.scan, result.gdal, result.threads
    yield "hsfuse", result.hsfuse
    yield "Python", result.python
    yield "platform", result.platform
    build = "without CUDA" if compute.cuda_build is None else f"for CUDA {compute.cuda_build}"
    yield "torch", f"{result.torch}, built {build}, {compute.instructions}"
    yield "CUDA devices", "\n".join(compute.cuda) or "none"
    yield "device", f"{compute.device} in {compute.precision}: {compute.reason}"
    yield "bfloat16", "in hardware (--precision bf16)" if compute.bf16 else "not in hardware"
    yield "TF32", "off, on with --precision tf32" if compute.tf32 else "not in hardware"
    yield "selective scan", f"{scan.backend or 'none'}: {scan.reason}"
    for name, why in scan.refused.items():
        yield "", f"not {name}: {why or 'it works too, but comes later in the order'}"
    there = [name for name, present in gdal.drivers.items() if present]
    missing = [name for name, present in gdal.drivers.items() if not present]
    yield (
        "GDAL",
        f"{gdal.version}, rasterio {gdal.rasterio}: reads scenes, packs blocks that hsfuse lays out as a COG",
    )
    yield "drivers", ", ".join(there) + (f"; missing: {', '.join(missing)}" if missing else "")
    yield "h5py", "there" if gdal.h5py else "missing: products in HDF5 and netCDF 4 cannot be read (pip install h5py)"
    yield "threads", f"{threads.torch} on {threads.cpus} CPUs: {threads.reason}"
    yield "free memory", f"{threads.memory_bytes / 2**30:.1f} GB, half of which fuse takes unless --memory says else"
    for name, files in result.weights.items():
        yield f"weights of {name}", ", ".join(files) or "none bundled: pass --weights"
