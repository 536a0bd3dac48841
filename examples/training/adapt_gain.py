"""What `hsfuse fuse --adapt` gains on a large scene, as a Markdown table for weights/README.md.

    python examples/training/adapt_gain.py DATA --folder runs/adapt --adapt 5m

A reference of 900 × 900 pixels is laid out of the scenes in DATA/abu (AVIRIS; the first 188 bands of each), turned and
mirrored at random, tile beside tile of 100 × 100. The pair made of it (ratio 3, the ten bands of Sentinel-2, 30 dB in
the HSI and 35 dB in the MSI) is fused with the universal weights as they are and adapted for a time, both told the
imaging model; both are held against the reference, which neither has seen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import rasterio
import scipy.io
from affine import Affine

from hsfuse.cli.options import DurationType
from hsfuse.commands.evaluate import evaluate
from hsfuse.commands.fuse import fuse
from hsfuse.commands.simulate import simulate

BANDS, TILE = 188, 100
SENSOR = "sentinel-2a:B2,B3,B4,B5,B6,B7,B8,B8A,B11,B12"


def mosaic(data: Path, tiles: int, seed: int = 0) -> np.ndarray:
    """A reference (C, H, W) of `tiles` × `tiles` scenes, no scene beside itself in one orientation."""
    scenes = [
        scipy.io.loadmat(path)["data"][:TILE, :TILE, :BANDS].transpose(2, 0, 1).astype(np.float32)
        for path in sorted(data.glob("abu/abu-*.mat"))
    ]
    scale = np.median([np.percentile(scene, 99) for scene in scenes])
    scenes = [scene * (scale / np.percentile(scene, 99)) for scene in scenes]
    generator = np.random.default_rng(seed)
    image = np.empty((BANDS, tiles * TILE, tiles * TILE), np.float32)
    order: list[tuple[int, int, bool]] = []
    for row in range(tiles):
        for column in range(tiles):
            if not order:
                every = [(s, turns, flip) for s in range(len(scenes)) for turns in range(4) for flip in (False, True)]
                order = [every[index] for index in generator.permutation(len(every))]
            which, turns, flip = order.pop()
            tile = np.rot90(scenes[which], turns, (1, 2))
            image[:, row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE] = (
                tile[..., ::-1] if flip else tile
            )
    return image


def write(image: np.ndarray, path: Path) -> None:
    """A GeoTIFF with wavelengths."""
    profile = {
        "driver": "GTiff", "dtype": "float32", "count": len(image), "height": image.shape[1], "width": image.shape[2],
        "crs": "EPSG:32633", "transform": Affine(10, 0, 400_000, 0, -10, 5_800_000),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(image)
        for band, nanometres in enumerate(np.linspace(400, 2500, len(image)), start=1):
            file.update_tags(band, wavelength=f"{nanometres:.2f}", wavelength_units="Nanometers")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--model", default="mgdunlss")
    parser.add_argument("--adapt", default="5m")
    parser.add_argument("--tiles", type=int, default=9)
    options = parser.parse_args()
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    write(mosaic(options.data, options.tiles), folder / "mosaic.tif")
    simulate(
        folder / "mosaic.tif", folder, ratio=3, srf=SENSOR, psf="gaussian:1.0", snr_hsi=30, snr_msi=35, overwrite=True
    )
    print("| weights | PSNR dB | SAM ° | ERGAS | UIQI | s |\n| --- | --- | --- | --- | --- | --- |")
    truth = str(folder / "imaging.json")
    for name, seconds in (
        ("universal", None),
        (f"adapted, {options.adapt}", DurationType().convert(options.adapt, None, None)),
    ):
        fused = folder / "fused.tif"
        result = fuse(
            folder / "hsi.tif", folder / "msi.tif", fused, model=options.model, srf=truth, psf=truth,
            adapt_seconds=seconds, overwrite=True,
        )  # fmt: skip
        scores = evaluate(fused, folder / "reference.tif").scores.summary()
        figures = " | ".join(f"{scores[metric]:.3f}" for metric in ("psnr", "sam", "ergas", "uiqi"))
        print(f"| {name} | {figures} | {result.seconds:.0f} |", flush=True)
        if result.adapted is not None:
            print(f"\n{result.adapted.sentence}")


if __name__ == "__main__":
    main()
