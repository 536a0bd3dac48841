"""How well `estimate` finds R, B and the shift: simulated pairs of real scenes, real pairs, time and memory.

    python examples/benchmarks/imaging.py [--unlisted] [DATA]        # DATA, or HSFUSE_DATA

DATA holds the scenes that the pairs are made of (`abu/`, `enmap_potsdam/`, `small/`, `neon_pairs/`, `neon_sjer_h5/`).
With `--unlisted` the sensor that a pair was made with is kept from the estimator, as if it were not in the tables:
the rows of R are then sought among band-passes alone.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import rasterio
import torch
from scipy import io

from hsfuse.errors import ImagingError
from hsfuse.fusion.methods import choose_method
from hsfuse.imaging import ImagingModel, PointSpread, WaldPair, degrade, estimate_imaging, load_srf, sensor_names
from hsfuse.metrics import full_reference
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

FUSED_BY = ("mtf-glp-subspace", "hysure")


@dataclass(frozen=True)
class Case:
    """A simulated pair."""

    scene: str
    ratio: int
    sensor: str
    fwhm: float | tuple[float, float]
    angle: float
    shift: tuple[float, float]


CASES = [
    Case("abu-airport-1", 3, "sentinel-2a", 1.0, 0, (0.4, -0.3)),
    Case("abu-airport-4", 4, "landsat-8", (1.3, 0.9), 30, (1.0, 1.0)),
    Case("abu-beach-1", 4, "worldview-2", (1.3, 0.9), 30, (-0.8, 0.2)),
    Case("abu-beach-2", 3, "spot-5", 1.4, 0, (0.0, 0.0)),
    Case("abu-beach-3", 4, "eo1-ali", (0.8, 1.2), 45, (0.3, 0.3)),
    Case("abu-urban-1", 3, "spot-6", (0.8, 1.2), 45, (-0.3, -0.9)),
    Case("abu-urban-2", 4, "planetscope", 1.1, 0, (0.6, -0.2)),
    Case("abu-urban-3", 6, "quickbird", 1.4, 0, (0.5, -1.0)),
    Case("abu-urban-5", 6, "sentinel-2b", 0.8, 0, (0.9, 0.1)),
    Case("enmap", 3, "landsat-9", 0.8, 0, (-0.8, 0.2)),
    Case("enmap", 4, "sentinel-2a", (1.2, 1.0), 0, (0.2, 0.7)),
    Case("samson", 3, "ikonos", 1.2, 0, (0.0, 0.45)),
]


def read_scene(data: Path, name: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """A reference (C, H, W) and its wavelengths in nm, approximate where the file does not tell them."""
    if name == "enmap":
        return _enmap(data / "enmap_potsdam")
    if name == "samson":
        cube = io.loadmat(data / "small" / "real_data_samson.mat")["r_cube"]
        return _bands_first(cube), np.linspace(401, 889, cube.shape[2])
    cube = io.loadmat(data / "abu" / f"{name}.mat")["data"]
    known = np.sort(io.loadmat(data / "small" / "AVIRIS_wavelengths.mat")["AVIRIS_wavlen"].ravel().astype(float))
    known = known * (1000 if known.max() < 20 else 1)
    dry = known[((known < 1340) | (known > 1450)) & ((known < 1790) | (known > 1970)) & (known < 2480)]
    return _bands_first(cube), dry[np.linspace(0, len(dry) - 1, cube.shape[2]).round().astype(int)]


def _bands_first(cube: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.moveaxis(cube, 2, 0), dtype=np.float32)


def _enmap(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    image = np.zeros((224, 64, 96), np.float32)
    for path in folder.glob("*.tif"):
        x, y = map(int, path.stem.split("_")[-2:])
        if 64 <= x <= 128 and y <= 32:
            with rasterio.open(path) as file:
                image[:, y : y + 32, x - 64 : x - 32] = file.read()
                centre = np.array([float(file.tags(band)["wavelength"]) for band in file.indexes])
    good = (image > -1000).all(axis=(1, 2)) & (image.std(axis=(1, 2)) > 0)
    return image[good], centre[good] * (1000 if centre.max() < 20 else 1)


def make_pair(data: Path, case: Case) -> tuple[WaldPair, NDArray[np.float64]]:
    """The case's pair, HSI at 30 dB, MSI at 35 dB."""
    image, wavelength = read_scene(data, case.scene)
    response = load_srf(case.sensor, wavelength).response
    model = ImagingModel(response, PointSpread.gaussian(case.ratio, case.fwhm, angle=case.angle), case.shift)
    return degrade(image, model, snr_hsi=30, snr_msi=35), wavelength


def fused_psnr(pair: WaldPair, imaging: ImagingModel, msi: NDArray[np.float32], method: str) -> float:
    """PSNR of a method under an imaging model."""
    patch = PairPatch(*map(torch.from_numpy, (pair.hsi, pair.hsi_valid, msi, pair.msi_valid)))
    fused = choose_method(method).method.fit([patch], imaging)(patch.hsi, patch.msi).numpy()
    # HSI pixels at the rim look beyond the scene: left out for both models alike.
    inner = slice(2 * imaging.ratio, -2 * imaging.ratio)
    part = (slice(None), inner, inner)
    return float(full_reference(fused[part], pair.reference[part], ratio=imaging.ratio, windows=False).psnr)


def row_angles(found: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spectral angles of rows in degrees."""
    cosine = (found * truth).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(truth, axis=1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def sisters(sensor: str) -> list[str]:
    """The sensor's tables and those of its twins, which would give it away."""
    kin = next((group for group in ("sentinel-2", "landsat-8", "spot-4") if sensor.startswith(group)), sensor)
    twins = {"landsat-8": ["landsat-8", "landsat-9"], "landsat-9": ["landsat-8", "landsat-9"]}
    twins |= {"spot-4": ["spot-4", "spot-5"], "spot-5": ["spot-4", "spot-5"]}
    return twins.get(sensor) or [name for name in sensor_names() if name.startswith(kin)]


def simulated(data: Path, *, unlisted: bool) -> None:
    """The table of simulated pairs."""
    columns = ["scene", "sensor", "ratio", "HSI pixels", "FWHM true", "FWHM error %", "shift true", "shift error",
               "angle of rows °", *(f"ΔPSNR {method} dB" for method in FUSED_BY), "s"]  # fmt: skip
    print("| " + " | ".join(columns) + " |\n" + "| --- " * len(columns) + "|", flush=True)
    widths, shifts, angles, losses = [], [], [], []
    for case in CASES:
        pair, wavelength = make_pair(data, case)
        start = time.perf_counter()
        found = estimate_imaging(
            [pair], case.ratio, wavelength, excluded_sensors=sisters(case.sensor) if unlisted else ()
        )
        seconds = time.perf_counter() - start
        truth, index = pair.model, list(found.msi_index)
        widths.append(100 * np.abs(np.array(found.model.psf.fwhm) / truth.psf.fwhm - 1).max())
        shifts.append(np.hypot(*(np.array(found.model.shift) - truth.shift)))
        angles.append(row_angles(found.model.srf.matrix, truth.srf.matrix[index]).mean())
        msi = found.radiometry.to_hsi_units(pair.msi[index])
        kept = ImagingModel(truth.srf.select(index), truth.psf, truth.shift)
        losses.append([
            fused_psnr(pair, kept, pair.msi[index], method) - fused_psnr(pair, found.model, msi, method)
            for method in FUSED_BY
        ])  # fmt: skip
        height, width = pair.hsi_valid.shape
        wide, high = truth.psf.fwhm
        print(
            f"| {case.scene} | {case.sensor} | {case.ratio} | {width}×{height} | {wide:.2f}, {high:.2f} | "
            f"{widths[-1]:.1f} | {case.shift[0]:g}, {case.shift[1]:g} | {shifts[-1]:.3f} | {angles[-1]:.1f} | "
            + " | ".join(f"{loss:+.2f}" for loss in losses[-1])
            + f" | {seconds:.1f} |",
            flush=True,
        )
    within = np.mean(np.array(widths) <= 10), np.mean(np.array(shifts) <= 0.1)
    print(
        f"\nFWHM within 10 %: {within[0]:.0%}; shift within 0.1 HSI pixel: {within[1]:.0%}; "
        f"rows {np.mean(angles):.1f}° on average; PSNR lost at most "
        + ", ".join(f"{most:.2f} dB ({name})" for most, name in zip(np.max(losses, axis=0), FUSED_BY, strict=True))
        + "\n",
    )


def neon_pairs(data: Path) -> None:
    """The table of real pairs: HSI 1 m, RGB 0.1 m."""
    wavelength = _neon_wavelength(data / "neon_sjer_h5" / "ex.h5")
    print("| plot | shift x, y | PSF FWHM x, y | agreement | residual SRF, PSF | centres R, G, B nm | warnings |")
    print("| --- " * 7 + "|")
    for path in sorted((data / "neon_pairs" / "HSI").glob("*.tif"), key=lambda path: int(path.stem.split("_")[-1])):
        with rasterio.open(path) as hsi, rasterio.open(path.parents[1] / "RGB" / path.name) as rgb:
            image, fine = hsi.read().astype(np.float32) / 10_000, rgb.read().astype(np.float32)
        valid = ((image > -0.5) & (image < 5)).all(axis=0)
        patch = SimpleNamespace(hsi=image, hsi_valid=valid, msi=fine, msi_valid=(fine >= 0).all(axis=0))
        try:
            found = estimate_imaging([patch], 10, wavelength, msi_bands=("R", "G", "B"))
        except ImagingError as error:
            print(f"| {path.stem} | refused: {error} |")
            continue
        wide, high = found.model.psf.fwhm
        centres = dict(zip(found.model.srf.msi_bands, found.model.srf.matrix @ wavelength, strict=True))
        print(
            f"| {path.stem} | {found.model.shift[0]:+.2f}, {found.model.shift[1]:+.2f} | {wide:.2f}, {high:.2f} | "
            f"{found.quality.get('agreement', np.nan):.2f} | "
            f"{found.model.residual['srf']:.3f}, {found.model.residual['psf']:.2f} | "
            + ", ".join(f"{centres[band]:.0f}" if band in centres else "–" for band in ("R", "G", "B"))
            + f" | {len(found.warnings)} |",
            flush=True,
        )


def _neon_wavelength(path: Path) -> NDArray[np.float64]:
    found: list[NDArray[np.float64]] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append(item[:]) if name.lower().endswith("wavelength") else None)
    kept = np.r_[0:192, 210:283, 315:419]
    return np.asarray(found[0][kept] * (1000 if found[0].max() < 20 else 1), dtype=np.float64)


def large(data: Path) -> None:
    """Time and memory of a 1000 × 1000-pixel HSI of 188 bands and its MSI at ratio 3, in a process of its own."""
    pair, wavelength = make_pair(data, Case("abu-beach-1", 3, "sentinel-2a", 1.1, 0, (0.4, -0.6)))
    edge = pair.hsi.shape[1]
    count = -(-1000 // edge)
    # Copies side by side: at their seams the images contradict each other, so those are masked.
    hsi = np.empty((len(pair.hsi), 1000, 1000), np.float32)
    msi = np.empty((len(pair.msi), 3000, 3000), np.float32)
    valid = np.zeros((1000, 1000), dtype=bool)
    for row in range(count):
        for column in range(count):
            y, x = row * edge, column * edge
            hsi[:, y : y + edge, x : x + edge] = pair.hsi[:, : 1000 - y, : 1000 - x]
            msi[:, 3 * y : 3 * (y + edge), 3 * x : 3 * (x + edge)] = pair.msi[:, : 3000 - 3 * y, : 3000 - 3 * x]
            valid[y + 2 : y + edge - 2, x + 2 : x + edge - 2] = True
    patch = SimpleNamespace(hsi=hsi, hsi_valid=valid, msi=msi, msi_valid=np.ones(msi.shape[1:], dtype=bool))
    start = time.perf_counter()
    found = estimate_imaging([patch], 3, wavelength)
    seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    wide, high = found.model.psf.fwhm
    images = (hsi.nbytes + msi.nbytes) / 1e9
    print(
        f"\n{hsi.shape[2]}×{hsi.shape[1]}×{len(hsi)} at ratio 3: {seconds:.1f} s, {torch.get_num_threads()} thread(s), "
        f"{peak:.2f} GB at most, {images:.2f} GB of which are the images; FWHM {wide:.3f}, {high:.3f} (1.1), shift "
        f"{found.model.shift[0]:.3f}, {found.model.shift[1]:.3f} (0.4, -0.6)",
    )


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=os.environ.get("HSFUSE_DATA"))
    parser.add_argument("--unlisted", action="store_true", help="keep the true sensor from the estimator")
    parser.add_argument("--only", choices=["simulated", "neon", "large"])
    chosen = parser.parse_args()
    if chosen.data is None:
        parser.error("give the data folder, or set HSFUSE_DATA")
    data = Path(chosen.data)
    if chosen.only in {None, "simulated"}:
        simulated(data, unlisted=chosen.unlisted)
    if chosen.only in {None, "neon"}:
        neon_pairs(data)
    if chosen.only == "large":
        large(data)
    elif chosen.only is None:
        sys.stdout.flush()
        subprocess.run([sys.executable, __file__, "--only", "large", str(data)], check=True)  # noqa: S603 - itself


if __name__ == "__main__":
    main()
