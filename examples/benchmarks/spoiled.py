"""What is wrong in a file stays where it is: errors far from what is spoiled, over those of the clean pair.

    python examples/benchmarks/spoiled.py [--methods stack,bayes,gsa] [--kinds cloud]

Indian Pines (from the package tensorly) seen at ratio 3 by an HSI at 35 dB and Sentinel-2's four bands at 40 dB, as
files of 16-bit reflectance without any nodata tag. Each kind spoils the pair in its left half; the table holds the
root mean square error in the right quarter over that of the clean pair, and whether a warning was given. Runs of one
process, imaging model estimated.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from rasterio.transform import from_origin
from tensorly.datasets import load_indian_pines

import hsfuse
from hsfuse.imaging import ImagingModel, PointSpread, degrade, load_srf

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

METHODS = "mtf-glp-subspace,gsa,mtf-glp,cnmf,hysure,bayes,ssrfn,mgdunlss,stack"
RATIO = 3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--kinds", default="", help="parts of their names, comma-separated")
    options = parser.parse_args()
    methods = options.methods.split(",")
    wanted = [part for part in options.kinds.split(",") if part]
    truth, wavelength = _scene()
    model = ImagingModel(load_srf("sentinel-2a", wavelength).response, PointSpread.gaussian(RATIO, 1.0))
    clean = degrade(truth, model, snr_hsi=35, snr_msi=40)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        errors = {name: _error(folder, name, clean.hsi, clean.msi, wavelength, truth)[0] for name in methods}
        print(f"| spoiled | {' | '.join(methods)} | warning |\n|{' --- |' * (len(methods) + 2)}")
        print(
            f"| nothing (RMSE, reflectance) | {' | '.join(f'{errors[name]:.5f}' for name in methods)} | |", flush=True
        )
        for kind, spoil in KINDS.items():
            if wanted and not any(part in kind for part in wanted):
                continue
            hsi, msi = clean.hsi.copy(), clean.msi.copy()
            spoil(hsi, msi)
            cells, said = [], False
            for name in methods:
                error, warnings = _error(folder, name, hsi, msi, wavelength, truth)
                cells.append(f"{error / errors[name]:.2f}")
                said |= bool(warnings)
            print(f"| {kind} | {' | '.join(cells)} | {'yes' if said else 'no'} |", flush=True)


def _scene() -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    bunch = load_indian_pines()
    image = np.asarray(bunch["tensor"], np.float32).transpose(2, 0, 1)[:, :144, :144] / 1e4
    return np.ascontiguousarray(image), np.array(bunch["ticks"][1], np.float64)


def _one_pixel(hsi: NDArray[np.float32], msi: NDArray[np.float32]) -> None:  # noqa: ARG001
    hsi[:, 20, 6] = -0.9999


def _zeros_in_the_msi(hsi: NDArray[np.float32], msi: NDArray[np.float32]) -> None:  # noqa: ARG001
    msi[:, :9, :6] = 0


def _collar(hsi: NDArray[np.float32], msi: NDArray[np.float32]) -> None:  # noqa: ARG001
    hsi[:, :, :13] = 0


def _msi_cloud(hsi: NDArray[np.float32], msi: NDArray[np.float32]) -> None:  # noqa: ARG001
    row, column = np.mgrid[: msi.shape[1], : msi.shape[2]]
    cloud = ((row - 60) / 40) ** 2 + ((column - 32) / 25) ** 2 < 1
    msi[:, cloud] = 0.7 + 0.02 * np.sin(row[cloud] / 5)


def _hsi_cloud(hsi: NDArray[np.float32], msi: NDArray[np.float32]) -> None:  # noqa: ARG001
    row, column = np.mgrid[: hsi.shape[1], : hsi.shape[2]]
    cloud = ((row - 20) / 13) ** 2 + ((column - 10) / 8) ** 2 < 1
    hsi[:, cloud] = 0.7 + 0.02 * np.sin(row[cloud] / 2)


def _saturated(hsi: NDArray[np.float32], msi: NDArray[np.float32]) -> None:  # noqa: ARG001
    generator = np.random.default_rng(1)
    msi[:, generator.integers(0, 144, 20), generator.integers(0, 60, 20)] = 6.5535


def _dead_columns(hsi: NDArray[np.float32], msi: NDArray[np.float32]) -> None:  # noqa: ARG001
    for band in range(40, 52):
        hsi[band, :, (5 * band) % 24] = 0


def _hsi_garbage(hsi: NDArray[np.float32], msi: NDArray[np.float32]) -> None:  # noqa: ARG001
    generator = np.random.default_rng(2)
    bad = generator.random(hsi.shape[1:]) < 0.02
    bad[:, 24:] = False
    hsi[:, bad] = generator.uniform(0, 1.5, (len(hsi), int(bad.sum())))


def _msi_garbage(hsi: NDArray[np.float32], msi: NDArray[np.float32]) -> None:  # noqa: ARG001
    generator = np.random.default_rng(3)
    bad = generator.random(msi.shape[1:]) < 0.02
    bad[:, 72:] = False
    msi[:, bad] = generator.uniform(0, 1.5, (len(msi), int(bad.sum())))


def _change(hsi: NDArray[np.float32], msi: NDArray[np.float32]) -> None:  # noqa: ARG001
    msi[:, 30:75, 12:60] = msi[::-1, 75:30:-1, 12:60]


KINDS: dict[str, Callable[[NDArray[np.float32], NDArray[np.float32]], None]] = {
    "one HSI pixel of −9999": _one_pixel,
    "0.26 % zeros in the MSI": _zeros_in_the_msi,
    "27 % zeros in the HSI (collar)": _collar,
    "cloud over 15 % of the MSI": _msi_cloud,
    "cloud over 14 % of the HSI": _hsi_cloud,
    "20 MSI pixels saturated": _saturated,
    "dead columns in 12 bands": _dead_columns,
    "1 % garbage in the HSI": _hsi_garbage,
    "1 % garbage in the MSI": _msi_garbage,
    "changed fields, 10 %": _change,
}


def _error(
    folder: Path, method: str, hsi: NDArray[np.float32], msi: NDArray[np.float32],
    wavelength: NDArray[np.float64], truth: NDArray[np.float32],
) -> tuple[float, tuple[str, ...]]:  # fmt: skip
    """Root mean square error in the right quarter, and the warnings."""
    _write(folder / "hsi.tif", hsi, 30.0, wavelength)
    _write(folder / "msi.tif", msi, 10.0, None)
    result = hsfuse.fuse(folder / "hsi.tif", folder / "msi.tif", folder / "out.tif", model=method, overwrite=True)
    with rasterio.open(folder / "out.tif") as file:
        fused = file.read(masked=True)[:, :, 108:].astype(np.float64) * 1e-4
        bands = [int(np.abs(wavelength - float(file.tags(band)["wavelength"])).argmin()) for band in file.indexes]
    error = np.ma.sqrt(np.ma.mean(np.ma.power(fused - truth[bands][:, :, 108:], 2)))
    return float(error), result.warnings


def _write(path: Path, image: NDArray[np.float32], pixel: float, wavelength: NDArray[np.float64] | None) -> None:
    numbers = np.clip(np.rint(image * 1e4), -32768 if image.min() < 0 else 0, 65535)
    profile = {
        "driver": "GTiff", "count": len(image), "height": image.shape[1], "width": image.shape[2],
        "dtype": "int16" if numbers.min() < 0 else "uint16", "crs": "EPSG:32616",
        "transform": from_origin(5e5, 4.5e6, pixel, pixel),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(numbers.astype(profile["dtype"]))
        file.scales = (1e-4,) * len(image)
        for band, nm in enumerate(() if wavelength is None else wavelength.tolist(), start=1):
            file.update_tags(band, wavelength=f"{nm:.3f}", wavelength_units="Nanometers")


if __name__ == "__main__":
    main()
