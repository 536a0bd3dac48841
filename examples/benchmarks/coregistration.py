"""What misregistration costs, and what `coregister` wins back: pairs simulated out of scenes whose truth is known.

    python examples/benchmarks/coregistration.py [DATA] [--scenes NAME ...]        # DATA, or HSFUSE_DATA

DATA holds the scenes (`abu/`, …, as for `agreement.py`), absent ones are passed over; a synthetic scene of 216 × 216
pixels comes first. The HSI is displaced: not at all, by constant shifts, by a field that varies irregularly between 3
and 8 of its pixels. `residual` is the 0.9-quantile, over cells of 12 × 12 HSI pixels, of the distance of the measured
displacement from the true one (its median in a cell), in HSI pixels. PSNR and SAM are those of `hsfuse evaluate`
against the truth on the MSI's geolocation, `aligned` those of the aligned pair over the same pixels.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from affine import Affine
from agreement import scenes
from scipy import ndimage

from hsfuse import evaluate, fuse
from hsfuse.errors import HsfuseError
from hsfuse.fusion.opening import open_pair
from hsfuse.imaging import ImagingModel, PointSpread, degrade, load_srf
from hsfuse.metrics import full_reference
from hsfuse.scenes import Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Shift = Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]

BANDS = "sentinel-2a:B2,B3,B4,B8,B11,B12"
CELL = 12


def irregular(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """An irregular displacement of 3 to 8 HSI pixels at positions in HSI pixels."""
    along_x = 4.9 + 2.0 * np.sin(x / 17 + 0.5) * np.cos(y / 23) + 0.9 * np.exp(-((x - 20) ** 2 + (y - 50) ** 2) / 200)
    along_y = -2.2 + 1.9 * np.cos(x / 19 + y / 31) - 0.7 * np.exp(-((x - 55) ** 2 + (y - 18) ** 2) / 250)
    return along_x, along_y


def constant(across: float, down: float) -> Shift:
    """The same displacement everywhere."""
    return lambda x, y: (np.full(x.shape, across), np.full(y.shape, down))


CASES = {
    "0.4 pixels": constant(0.3, -0.27),
    "1.5 pixels": constant(1.2, 0.9),
    "6.3 pixels": constant(-5.4, 3.3),
    "field of 3 to 8": irregular,
}


def synthetic(edge: int = 216) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Fields of six materials with texture, (C, edge, edge), and wavelengths in nm."""
    rng = np.random.default_rng(3)
    nm = np.arange(420.0, 2450.0, 45.0)
    layers = [
        ndimage.gaussian_filter(rng.standard_normal((6, edge, edge)), (0, sigma, sigma)) for sigma in (9, 2.5, 0.8)
    ]
    strength = sum(weight * layer / layer.std() for weight, layer in zip((1.0, 0.6, 0.3), layers, strict=True))
    share = np.exp(2 * strength)
    share /= share.sum(axis=0)
    spectra = ndimage.gaussian_filter1d(rng.uniform(0.05, 0.8, (6, len(nm))), 3, axis=1)
    return np.einsum("kc,khw->chw", spectra, share).astype(np.float32), nm


def references(data: Path | None, wanted: list[str]) -> Iterator[tuple[str, int, NDArray[np.float32], Any]]:
    """Name, ratio, reference (C, H, W) from 0 to about 1 and wavelengths in nm."""
    if not wanted or "synthetic" in wanted:
        yield "synthetic", 3, *synthetic()
    for name, image, nm in scenes(data) if data is not None else ():
        if name in wanted or (not wanted and min(image.shape[1:]) >= 100):
            yield name, 2, image / np.quantile(image, 0.999), nm


def simulated(image: NDArray[np.float32], model: ImagingModel, shift: Shift) -> tuple[Any, Any]:
    """HSI of the displaced scene, and MSI where it lies."""
    ratio = model.ratio
    row, column = np.mgrid[: image.shape[1], : image.shape[2]] + 0.5
    across, down = shift(column / ratio, row / ratio)
    looked = np.stack([row - 0.5 + ratio * down, column - 0.5 + ratio * across])
    moved = np.stack([ndimage.map_coordinates(band, looked, order=3, mode="mirror") for band in image])
    there = image if not np.abs(across).max() + np.abs(down).max() else moved.astype(np.float32)
    return degrade(there, model, snr_hsi=35).hsi, degrade(image, model, snr_msi=40).msi


def write(path: Path, image: NDArray[np.float32], pixel: float, nm: NDArray[np.float64] | None = None) -> Path:
    """An image (C, H, W) as a GeoTIFF whose first pixel lies where that of all others does."""
    profile: dict[str, Any] = {
        "driver": "GTiff", "dtype": "float32", "count": len(image), "height": image.shape[1], "width": image.shape[2],
        "crs": "EPSG:32633", "transform": Affine(pixel, 0, 5e5, 0, -pixel, 5e6),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(image)
        for band in range(len(image)) if nm is not None else ():
            file.update_tags(band + 1, wavelength=f"{nm[band]:.2f}", wavelength_units="nm")
    return path


def residual(pair: Any, shift: Shift) -> float:
    """Nine of ten cells lie closer to the truth, in HSI pixels."""
    x, y = np.meshgrid(np.arange(pair.scenes.hsi.grid.width) + 0.5, np.arange(pair.scenes.hsi.grid.height) + 0.5)
    truth, found = shift(x, y), pair.coregistration
    there = (x + truth[0] > 0) & (x + truth[0] < x.max()) & (y + truth[1] > 0) & (y + truth[1] < y.max())
    measured = (pair.imaging.shift[0] + found.x, pair.imaging.shift[1] + found.y)
    along = found.field.at(x, y) if found.field is not None else measured
    away = np.where(there, np.hypot(along[0] - truth[0], along[1] - truth[1]), np.nan)
    cells = [
        np.nanmedian(part)
        for row, column in product(range(0, x.shape[0], CELL), range(0, x.shape[1], CELL))
        if np.isfinite(part := away[row : row + CELL, column : column + CELL]).mean() > 0.5
    ]
    return float(np.quantile(cells, 0.9))


def scored(path: Path, truth: Path, over: Path) -> tuple[float, float]:
    """PSNR and SAM of an image against the truth, over the pixels that another one has too."""
    one, other, expected = (Scene.open(path, screen=False) for path in (path, over, truth))
    place = other.grid.transform
    column, row = (round(offset) for offset in ~one.grid.transform @ (place.c, place.f))
    inside = one.grid.window.shifted(-column, -row).intersection(other.grid.window)
    assert inside is not None
    ours, theirs = one.read(inside.shifted(column, row)), other.read(inside)
    column, row = (round(offset) for offset in ~expected.grid.transform @ (place.c, place.f))
    scores = full_reference(
        ours.values, expected.read(inside.shifted(column, row)).values, ours.valid & theirs.valid, ratio=3
    )
    return scores.psnr, scores.sam


def main() -> None:
    """Print a line per scene, displacement and method."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, nargs="?", default=os.environ.get("HSFUSE_DATA"))
    parser.add_argument("--scenes", nargs="*", default=[])
    parser.add_argument("--methods", nargs="*", default=["mtf-glp-subspace", "mgdunlss"])
    choices = parser.parse_args()
    warnings.simplefilter("ignore")
    data = None if choices.data is None else Path(choices.data)
    print("scene | displacement | residual | method | aligned | before | after")
    print("--- | --- | --- | --- | --- | --- | ---")
    for name, ratio, image, nm in references(data, choices.scenes):
        image = image[:, : image.shape[1] // ratio * ratio, : image.shape[2] // ratio * ratio]  # noqa: PLW2901
        model = ImagingModel(load_srf(BANDS, nm).response, PointSpread.gaussian(ratio, 1.0))
        with tempfile.TemporaryDirectory() as folder:
            for line in lines(Path(folder), image, nm, model, choices.methods):
                print(f"{name} | {line}")
                sys.stdout.flush()


def lines(
    folder: Path, image: NDArray[np.float32], nm: NDArray[np.float64], model: ImagingModel, methods: list[str]
) -> Iterator[str]:
    """The rest of the lines of a scene."""
    ratio = model.ratio
    hsi, msi = simulated(image, model, constant(0, 0))
    truth = write(folder / "truth.tif", image, 10.0, nm)
    straight = write(folder / "straight.tif", hsi, 10.0 * ratio, nm), write(folder / "msi.tif", msi, 10.0)
    for method in methods:
        fuse(*straight, folder / f"aligned-{method}.tif", model=method, overwrite=True)
    for case, shift in CASES.items():
        path = write(folder / "hsi.tif", simulated(image, model, shift)[0], 10.0 * ratio, nm)
        try:
            pair = open_pair(path, straight[1], coregister=True)
        except HsfuseError as error:
            yield f"{case} | refused: {error}"
            continue
        for method in methods:
            after = folder / "after.tif"
            fuse(pair, after, model=method, overwrite=True)
            scores = evaluate(after, truth).scores
            aligned = scored(folder / f"aligned-{method}.tif", truth, after)
            try:
                fuse(path, straight[1], folder / "before.tif", model=method, overwrite=True, allow_shift=True)
                before = "{:.2f} / {:.2f}".format(*scored(folder / "before.tif", truth, after))
            except HsfuseError:
                before = "refused"
            yield (
                f"{case} | {residual(pair, shift):.2f} | {method} | {aligned[0]:.2f} dB / {aligned[1]:.2f}° | "
                f"{before} | {scores.psnr:.2f} / {scores.sam:.2f}"
            )


if __name__ == "__main__":
    main()
