"""Whole scenes: wall and processor time, peak memory and the share of each stage, beside another version of hsfuse.

    python examples/benchmarks/whole_scenes.py --size 1000x1000x100 --model mtf-glp --model bayes [--against OLD]

Makes a pair with texture on the fly (Indian Pines turned and laid side by side, with a fine pattern over it), fuses it
by the command line in processes of their own, and prints a Markdown table. `--against` is the root of another checkout,
run in turn with this one. With `--pansharpen` GDAL's own sharpening of the same pair (a VRT, then written as GeoTIFF)
is timed too. `--at-once 2` runs each twice side by side, and times both together. Reading one band and one spectrum of
each result is timed at the end.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

HERE = Path(__file__).resolve().parents[2]
_STRIP = 120
_DTYPE = "uint16"


def make_pair(folder: Path, width: int, height: int, bands: int, ratio: int) -> tuple[Path, Path]:
    """An HSI of `width` / ratio pixels and a four-band MSI of `width` pixels, uint16, in strips."""
    with rasterio.open(HERE / "examples/indian-pines/hsi.tif") as source:
        cube, profile = source.read().astype(np.float32), source.profile
        tags = [source.tags(band) for band in range(1, source.count + 1)]
    index = np.linspace(0, len(cube) - 1, bands).round().astype(int)
    cube = cube[index]
    tile = np.concatenate(
        [np.concatenate([cube, cube[:, :, ::-1]], 2), np.concatenate([cube[:, ::-1], cube.transpose(0, 2, 1)], 2)], 1
    )
    rng = np.random.default_rng(0)
    pattern = rng.uniform(0.7, 1.3, (997, 991)).astype(np.float32)
    columns, rows = width // ratio, height // ratio
    width, height = columns * ratio, rows * ratio
    common = {key: profile[key] for key in ("crs",)} | {
        "driver": "GTiff", "dtype": _DTYPE, "tiled": True, "blockxsize": 256, "blockysize": 256, "BIGTIFF": "IF_SAFER",
        "interleave": "band",
    }  # fmt: skip
    fine = rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)
    hsi, msi = folder / "hsi.tif", folder / "msi.tif"
    group = np.array_split(np.arange(bands), 4)
    with (
        rasterio.open(hsi, "w", width=columns, height=rows, count=bands, transform=fine @ fine.scale(ratio), **common)
        as coarse_file,
        rasterio.open(msi, "w", width=width, height=height, count=4, transform=fine, **common) as fine_file,
    ):  # fmt: skip
        for row in range(0, rows, _STRIP):
            count = min(_STRIP, rows - row)
            y, x = np.arange(row * ratio, (row + count) * ratio), np.arange(width)
            texture = pattern[np.ix_(y % 997, x % 991)]
            under = np.ix_(range(bands), (y // ratio) % tile.shape[1], (x // ratio) % tile.shape[2])
            means = texture.reshape(count, ratio, columns, ratio).mean((1, 3))
            coarse = tile[:, under[1].ravel()[::ratio]][:, :, under[2].ravel()[::ratio]] * means
            window = Window(0, row, columns, count)
            coarse_file.write((coarse + rng.normal(0, 8, coarse.shape)).clip(1, 65535).astype(_DTYPE), window=window)
            broad = np.stack([tile[part].mean(0) for part in group])
            image = broad[:, under[1].ravel()][:, :, under[2].ravel()] * texture
            fine_file.write(
                (image + rng.normal(0, 15, image.shape)).clip(1, 65535).astype(_DTYPE),
                window=Window(0, row * ratio, width, count * ratio),
            )
        for band in range(bands):
            coarse_file.update_tags(band + 1, **tags[index[band]])
        for band, part in enumerate(group):
            nm = np.mean([float(tags[index[one]]["wavelength"]) for one in part])
            fine_file.update_tags(band + 1, wavelength=f"{nm:.1f}", wavelength_units="Nanometers")
    return hsi, msi


@dataclass(frozen=True)
class Cost:
    """Of one process with its children."""

    wall: float
    cpu: float
    peak_mb: float
    told: dict


def measured(*commands: list[str], root: Path | None = None) -> Cost:
    """Run commands at the same time and measure them together; what is told is the first one's.

    Raises:
        SystemExit: One failed.
    """
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    running = [
        subprocess.Popen(  # noqa: S603 (our own words)
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root
        )
        for command in commands
    ]
    told_by = [process.communicate() for process in running]
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    for command, process, (_, err) in zip(commands, running, told_by, strict=True):
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}: {err}")
    told = json.loads(told_by[0][0]) if told_by[0][0].startswith("{") else {}
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, told.get("peak_memory_mb", 0.0), told)


def fuse_command(hsi: Path, msi: Path, output: Path, model: str, options: list[str]) -> list[str]:
    return [
        sys.executable, "-m", "hsfuse", "fuse", "--hsi", str(hsi), "--msi", str(msi), "-o", str(output), "--model",
        model, "--overwrite", "--json", "-q", *options,
    ]  # fmt: skip


def reading(path: Path) -> tuple[float, float]:
    """Seconds for one band, and for one spectrum."""
    with rasterio.Env(GDAL_CACHEMAX=2**24), rasterio.open(path) as dataset:
        begun = time.perf_counter()
        dataset.read(dataset.count // 2)
        band = time.perf_counter() - begun
    with rasterio.Env(GDAL_CACHEMAX=2**24), rasterio.open(path) as dataset:
        begun = time.perf_counter()
        dataset.read(window=Window(dataset.width // 2, dataset.height // 2, 1, 1))
        return band, time.perf_counter() - begun


def pansharpened(folder: Path, hsi: Path, msi: Path) -> Cost:
    """GDAL's weighted Brovey with the MSI's mean as pan: a VRT, written as a compressed GeoTIFF without overviews."""
    pan = folder / "pan.tif"
    if not pan.exists():
        with rasterio.open(msi) as source, rasterio.open(pan, "w", **{**source.profile, "count": 1}) as target:
            for _, window in source.block_windows(1):
                target.write(source.read(window=window).mean(0).astype(_DTYPE), 1, window=window)
    with rasterio.open(hsi) as source:
        count = source.count
    spectral = "".join(
        f'<SpectralBand dstBand="{band}"><SourceFilename>{hsi}</SourceFilename><SourceBand>{band}</SourceBand>'
        "</SpectralBand>"
        for band in range(1, count + 1)
    )
    weights = ",".join([f"{1 / count:.6f}"] * count)
    (folder / "pan.vrt").write_text(
        '<VRTDataset subClass="VRTPansharpenedDataset"><PansharpeningOptions><Algorithm>WeightedBrovey</Algorithm>'
        f"<AlgorithmOptions><Weights>{weights}</Weights></AlgorithmOptions><Resampling>Cubic</Resampling>"
        f"<NumThreads>ALL_CPUS</NumThreads><PanchroBand><SourceFilename>{pan}</SourceFilename><SourceBand>1"
        f"</SourceBand></PanchroBand>{spectral}</PansharpeningOptions></VRTDataset>"
    )
    code = (
        "import sys, rasterio, rasterio.shutil; rasterio.shutil.copy(sys.argv[1], sys.argv[2], driver='GTiff', "
        "COMPRESS='DEFLATE', ZLEVEL=1, PREDICTOR=2, TILED='YES', INTERLEAVE='BAND', NUM_THREADS='ALL_CPUS', "
        "BIGTIFF='IF_SAFER')"
    )
    return measured([sys.executable, "-c", code, str(folder / "pan.vrt"), str(folder / "pansharpened.tif")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", action="append", help="WIDTHxHEIGHTxBANDS of the output", default=None)
    parser.add_argument("--model", action="append", default=None)
    parser.add_argument("--ratio", type=int, default=3)
    parser.add_argument("--against", type=Path, help="root of another checkout")
    parser.add_argument("--memory", default="4G")
    parser.add_argument("--pansharpen", action="store_true", help="time GDAL's own as well")
    parser.add_argument("--folder", type=Path, help="where pairs are made and kept; a temporary one by default")
    parser.add_argument("--at-once", type=int, default=1, help="how many of the same run share the machine")
    arguments, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        print("| output | method | version | wall, s | processor, s | 10⁶ numbers/s | peak, MB | stages, s worked |")
        print("| --- | --- | --- | ---: | ---: | ---: | ---: | --- |")
        for size in arguments.size or ["1000x1000x100"]:
            width, height, bands = (int(part) for part in size.split("x"))
            place = folder / size
            place.mkdir(parents=True, exist_ok=True)
            hsi, msi = place / "hsi.tif", place / "msi.tif"
            if not (hsi.exists() and msi.exists()):
                make_pair(place, width, height, bands, arguments.ratio)
            if arguments.pansharpen:
                cost = pansharpened(place, hsi, msi)
                rate = width * height * bands / cost.wall / 1e6
                print(f"| {size} | gdal_pansharpen | | {cost.wall:.1f} | {cost.cpu:.1f} | {rate:.1f} | | |", flush=True)
                (place / "pansharpened.tif").unlink()
            for model in arguments.model or ["mtf-glp"]:
                versions = [("this", HERE)] + ([("other", arguments.against)] if arguments.against else [])
                costs = {}
                for name, root in versions:
                    output = place / f"{model}-{name}.tif"
                    others = [output.with_suffix(f".{index}.tif") for index in range(1, arguments.at_once)]
                    commands = [
                        fuse_command(hsi, msi, path, model, ["--memory", arguments.memory, *options])
                        for path in (output, *others)
                    ]
                    costs[name] = cost = measured(*commands, root=root)
                    for path in others:
                        path.unlink()
                    stages = ", ".join(
                        f"{stage['name']} {stage['worked']:.1f}" for stage in cost.told.get("stages", ())
                    )
                    print(
                        f"| {size} | {model} | {name} | {cost.wall:.1f} | {cost.cpu:.1f} | "
                        f"{width * height * bands / cost.wall / 1e6:.1f} | {cost.peak_mb:.0f} | {stages} |",
                        flush=True,
                    )
                    band, spectrum = reading(output)
                    print(
                        f"<!-- {output.stat().st_size / 1e6:.0f} MB, band {band:.3f} s, spectrum {spectrum:.3f} s -->"
                    )
                    output.unlink()
                if len(costs) == 2:
                    this, other = costs["this"], costs["other"]
                    print(
                        f"| {size} | {model} | other over this | {other.wall / this.wall:.2f} | "
                        f"{other.cpu / this.cpu:.2f} | | {other.peak_mb / max(this.peak_mb, 1):.2f} | |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
