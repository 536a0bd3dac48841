"""`hsfuse fuse` from end to end, on the CPU and on the card in every precision, and a large scene."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from whole_scenes import make_pair

import hsfuse
from gpu.bench import megabytes
from gpu.scenes import RATIO, simulated
from hsfuse.fusion.compute import Compute, forget_device_peak
from hsfuse.fusion.tiles import Tiling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpu.bench import Bench
    from hsfuse.commands.fuse import FuseResult
    from hsfuse.pairs.pair import Pair

LOST_DB = {"fp32": 0.005, "tf32": 0.02, "fp16": 0.02, "bf16": 0.05}
"""What a precision may cost of PSNR against the truth, beside float32 on the CPU."""


def fuse(bench: Bench) -> None:
    """The same pair by each model, and held against its truth and against what the CPU makes of it in float32."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        pair = simulated(folder, bench.sized(480, 60))
        for model in bench.sized(("mgdunlss", "ssrfn", "stack"), ("mgdunlss",)):
            with bench.attempt(model):
                _by(bench, model, pair, folder)
    with tempfile.TemporaryDirectory() as text:
        for model in bench.sized(("mgdunlss", "ssrfn"), ()):
            if bench.enough(f"{model}, large scene", 30):
                with bench.attempt(f"{model}, large scene"):
                    _large(bench, model, Path(text))


def _by(bench: Bench, model: str, pair: Pair, folder: Path) -> None:
    on_cpu = Compute("cpu", "fp32")
    first: tuple[float, NDArray[np.float32]] | None = None
    for compute in (on_cpu, *(compute for compute in bench.computes if compute != on_cpu)):
        what = f"{model} {compute.device} {compute.precision}"
        if not bench.enough(what, 10):
            continue
        with bench.attempt(what):
            result = _fused(pair, folder / "fused.tif", model, compute, tile=bench.sized(64, None))
            psnr = float(hsfuse.evaluate(result.output, folder / "reference.tif").scores.psnr)
            with rasterio.open(result.output) as file:
                image = file.read().astype(np.float32)
            first = first or (psnr, image)
            figure, numbers = _told(result)
            off = float(np.abs(image - first[1]).max() / np.ptp(first[1]))
            told = f"PSNR {psnr:.3f} dB ({psnr - first[0]:+.3f}), at most {off:.1e} of the range apart, {figure}"
            good = abs(psnr - first[0]) <= LOST_DB[compute.precision]
            bench.judge(what, told, good=good, psnr=psnr, apart=off, **numbers)
    compute = bench.computes[-1]
    if bench.enough(f"{model} again", 10):
        made = [_fused(pair, folder / f"{name}.tif", model, compute).output.read_bytes() for name in "ab"]
        same = made[0] == made[1]
        bench.judge(f"{model} {compute.precision} again", "the same bytes" if same else "other bytes", good=same)


def _large(bench: Bench, model: str, folder: Path) -> None:
    size = bench.sized((1500, 1500, 200), (60, 60, 20))
    scenes = folder / "hsi.tif", folder / "msi.tif"
    if not scenes[0].exists():
        make_pair(folder, *size, RATIO)
    pair = hsfuse.open_pair(*scenes, srf="estimate", psf="gaussian:1")
    result = _fused(pair, folder / "fused.tif", model, bench.quick[-1])
    figure, numbers = _told(result)
    spent = ", ".join(f"{stage.name} {stage.worked:.1f}" for stage in result.stages)
    told = f"{figure}; seconds worked: {spent}"
    bench.tell(f"{model} {'×'.join(map(str, size))}, {result.precision}", told, **numbers)


def _fused(pair: Pair, output: Path, model: str, compute: Compute, tile: int | None = None) -> FuseResult:
    forget_device_peak(compute.torch_device)
    return hsfuse.fuse(pair, output, model=model, compute=compute, tiling=Tiling(tile), overwrite=True)


def _told(result: FuseResult) -> tuple[str, dict[str, float]]:
    """Time, tiles and memory."""
    redone = sum(
        int(found[1]) for warning in result.warnings if (found := re.match(r"(\d+) of \d+ tiles were not", warning))
    )
    held, number = megabytes(result.peak_device_memory_mb)
    figure = f"{result.seconds:.1f} s, {result.tiles} tiles of {result.tile}, {redone} of them redone{held}"
    return figure, {"seconds": result.seconds, "tiles": result.tiles, "redone": redone, **number}
