"""The classical methods and their mean on simulated pairs of real scenes, as a plain table.

    python examples/benchmarks/methods.py DATA [--methods mtf-glp-subspace,bayes] [--cases urban,pond]

DATA is a folder of scenes; those that it lacks are left out. Each case is a scene seen at a ratio by an MSI at a noise
level, with the true imaging model and with CPU seconds (set OMP_NUM_THREADS=1 for comparable ones). The last row of a
case is the plain mean of bayes, hysure and cnmf, where all three were run.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import scipy.io
import torch

from hsfuse.fusion.methods import choose_method
from hsfuse.imaging import ImagingModel, PointSpread, degrade, load_srf
from hsfuse.metrics import full_reference
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from hsfuse.imaging import WaldPair

FILES = {
    "abu-urban-3": "abu/abu-urban-3.mat",
    "abu-airport-4": "abu/abu-airport-4.mat",
    "abu-beach-2": "abu/abu-beach-2.mat",
    "salinas": "aviris_salinas_a/salinas_a.tif",
    "pond": "aviris_pond/aviris_pond.tif",
    "salton-sea": "aviris_salton_sea/salton_sea.tif",
    "urban": "hydice_urban_crop/hydice_urban_crop.tif",
    "spectir": "spectir_more/beltsville_half_50.tif",
    "enmap": "enmap_potsdam",
}


@dataclass(frozen=True)
class Case:
    """How a scene is seen."""

    scene: str
    """Of `FILES`."""

    msi: str
    """The MSI's response, as of `load_srf`."""

    ratio: int
    """HSI pixel over MSI pixel."""

    snr: tuple[float, float] | None
    """Of HSI and MSI, in dB."""

    def __str__(self) -> str:
        """As the table shows it."""
        noise = "none" if self.snr is None else f"{self.snr[0]:g}/{self.snr[1]:g}"
        return f"{self.scene}, {self.msi}, ratio {self.ratio}, {noise}"


CASES = (
    Case("abu-urban-3", "sentinel-2a", 4, (30, 35)),
    Case("abu-airport-4", "landsat-8", 3, (35, 40)),
    Case("abu-beach-2", "sentinel-2a", 3, None),
    Case("salinas", "landsat-8", 3, (30, 35)),
    Case("pond", "sentinel-2a", 3, (35, 40)),
    Case("pond", "landsat-8", 4, (45, 50)),
    Case("salton-sea", "sentinel-2a", 3, (30, 35)),
    Case("urban", "sentinel-2a", 4, (35, 40)),
    Case("urban", "landsat-8", 4, (45, 50)),
    Case("spectir", "landsat-8", 3, (35, 40)),
    Case("enmap", "sentinel-2a", 4, (45, 50)),
    Case("enmap", "landsat-8", 3, None),
)

METHODS = "mtf-glp-subspace,cnmf,hysure,bayes"
AVERAGED = ("bayes", "hysure", "cnmf")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--cases", default="", help="parts of scenes' names, comma-separated")
    options = parser.parse_args()
    methods = options.methods.split(",")
    wanted = [part for part in options.cases.split(",") if part]
    print(f"{'case':44} {'method':18} {'PSNR':>7} {'SAM':>7} {'ERGAS':>7} {'CPU s':>6}")
    found: dict[str, list[tuple[float, ...]]] = {}
    for case in CASES:
        if (options.data / FILES[case.scene]).exists() and (not wanted or any(part in case.scene for part in wanted)):
            for method, scores in measure(options.data, case, methods):
                found.setdefault(method, []).append(scores)
                print(_row(str(case), method, scores), flush=True)
    for method, rows in found.items():
        print(_row(f"mean of {len(rows)}", method, tuple(np.mean(rows, axis=0))))


def measure(data: Path, case: Case, methods: list[str]) -> Iterator[tuple[str, tuple[float, ...]]]:
    """PSNR, SAM, ERGAS and CPU seconds of every method, and of the mean."""
    image, wavelength = load_scene(data / FILES[case.scene])
    model = ImagingModel(load_srf(case.msi, wavelength).response, PointSpread.gaussian(case.ratio, 1.0))
    snr_hsi, snr_msi = case.snr or (None, None)
    pair = degrade(image, model, snr_hsi=snr_hsi, snr_msi=snr_msi)
    hsi, msi = torch.from_numpy(pair.hsi), torch.from_numpy(pair.msi)
    fused = {}
    for name in methods:
        method, start = choose_method(name).method, time.process_time()
        with torch.inference_mode():
            fused[name] = method.fit([PairPatch.all_valid(hsi, msi)], model)(hsi, msi).numpy()
        yield name, (*_scores(fused[name], pair), time.process_time() - start)
    if set(AVERAGED) <= set(fused):
        mean = np.mean([fused[name] for name in AVERAGED], axis=0, dtype=np.float32)
        yield "mean of three", (*_scores(mean, pair), 0.0)


def load_scene(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """An image (C, H, W) and its wavelengths in nm; spread evenly over 400–2500 nm where the file has none."""
    if path.suffix == ".mat":
        image = scipy.io.loadmat(path)["data"].transpose(2, 0, 1)
        return np.ascontiguousarray(image, np.float32), np.linspace(400, 2500, len(image))
    if path.is_dir():  # tiles of EnMAP: those that make one block
        parts = [load_scene(path / f"enmap_potsdam_tile_{x}_0.tif") for x in (64, 96, 128)]
        return np.concatenate([image for image, _ in parts], axis=2), parts[0][1]
    with rasterio.open(path) as source:
        image = source.read().astype(np.float32)
        tags = [source.tags(band + 1) for band in range(source.count)]
        wavelength = np.array([float(tag["wavelength"]) for tag in tags])
        empty = (image == source.nodata).all(axis=(1, 2))
    wavelength = wavelength * 1000 if wavelength.max() < 100 else wavelength
    return image[~empty], wavelength[~empty]


def _scores(fused: NDArray[np.float32], pair: WaldPair) -> tuple[float, float, float]:
    found = full_reference(fused, pair.reference, ratio=pair.model.ratio, windows=False)
    return found.psnr, found.sam, found.ergas


def _row(case: str, method: str, scores: tuple[float, ...]) -> str:
    psnr, sam, ergas, seconds = scores
    return f"{case:44} {method:18} {psnr:7.2f} {sam:7.3f} {ergas:7.3f} {seconds:6.1f}"


if __name__ == "__main__":
    main()
