"""How well what disagrees between two images is found: recall and false alarms on simulated pairs of real scenes.

    python examples/benchmarks/agreement.py [DATA]        # DATA, or HSFUSE_DATA

DATA holds the scenes that the pairs are made of (`abu/`, `aviris_salinas_a/`, `spectir_more/`, …), absent ones are
passed over. Recall is the share of the HSI pixels that a fault lies on (the cloud, the field, the shadow; for MSI
pixels those whose P B it alters by more than a fifth) which are masked; false alarms are the share of the untouched
pixels, three and more away from the fault, which are masked too.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import torch
from scipy import io, ndimage

from hsfuse.errors import ImagingError
from hsfuse.imaging import Agreement, ImagingModel, PointSpread, degrade, estimate_imaging, load_srf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

FEWEST_PIXELS = 200
"""HSI pixels below which a scene is not used."""

FOLDERS = (
    "aviris_salinas_a",
    "aviris_pond",
    "aviris_salton_sea",
    "hydice_urban_crop",
    "spectir_more",
    "spectir_red_sea",
)


def scenes(data: Path) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.float64]]]:
    """Name, reference (C, H, W) and wavelengths in nm of each scene."""
    for path in sorted((data / "abu").glob("abu-*.mat")):
        cube = np.moveaxis(io.loadmat(path)["data"], 2, 0).astype(np.float32)
        yield path.stem, cube, np.linspace(400, 2500, len(cube))
    for folder in FOLDERS:
        for path in sorted((data / folder).glob("*.tif")):
            with rasterio.open(path) as file:
                image = file.read().astype(np.float32)
                centre = np.array([float(file.tags(band)["wavelength"]) for band in file.indexes])
            good = np.isfinite(image).all(axis=(1, 2)) & (image.std(axis=(1, 2)) > 0)
            yield path.stem, image[good], centre[good] * (1000 if centre.max() < 20 else 1)


def spot(shape: tuple[int, ...], share: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """An irregular patch that covers a share of an image."""
    field = ndimage.gaussian_filter(generator.standard_normal(shape), min(shape) / 8)
    return np.asarray(field > np.quantile(field, 1 - share))


def fine(mask: NDArray[np.bool_], ratio: int) -> NDArray[np.bool_]:
    """A mask of HSI pixels on the MSI's."""
    return np.kron(mask, np.ones((ratio, ratio))).astype(bool)


def clean(_pair: Any, _ratio: int, _generator: np.random.Generator) -> None:
    """Nothing."""


def msi_cloud(pair: Any, ratio: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """A bright cloud with some texture over 15 % of the MSI."""
    mask = spot(pair.hsi_valid.shape, 0.15, generator)
    bright = np.quantile(pair.msi, 0.98, axis=(1, 2))[:, None] * 1.3
    texture = 1 + 0.05 * ndimage.gaussian_filter(generator.standard_normal(pair.msi_valid.shape), 3)
    pair.msi[:, fine(mask, ratio)] = (bright * texture[fine(mask, ratio)]).astype(np.float32)
    return mask


def thin_cloud(pair: Any, ratio: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """A veil that hides half of the ground over 15 % of the MSI."""
    mask = spot(pair.hsi_valid.shape, 0.15, generator)
    bright = np.quantile(pair.msi, 0.98, axis=(1, 2))[:, None] * 1.3
    pair.msi[:, fine(mask, ratio)] = (0.5 * pair.msi[:, fine(mask, ratio)] + 0.5 * bright).astype(np.float32)
    return mask


def hsi_cloud(pair: Any, _ratio: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """A bright cloud over 15 % of the HSI."""
    mask = spot(pair.hsi_valid.shape, 0.15, generator)
    bright = np.quantile(pair.hsi, 0.98, axis=(1, 2))[:, None] * 1.3
    pair.hsi[:, mask] = (bright * (1 + 0.05 * generator.standard_normal(int(mask.sum())))).astype(np.float32)
    return mask


def shadow(pair: Any, ratio: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """A cloud's shadow over a tenth of the MSI."""
    mask = spot(pair.hsi_valid.shape, 0.1, generator)
    pair.msi[:, fine(mask, ratio)] *= np.float32(0.4)
    return mask


def changed_fields(pair: Any, ratio: int, _generator: np.random.Generator) -> NDArray[np.bool_]:
    """Two rectangles of the MSI show another place of the scene, 1.4 times as bright."""
    height, width = pair.hsi_valid.shape
    mask = np.zeros((height, width), dtype=bool)
    for row, column in ((height // 8, width // 8), (height // 2, width // 2)):
        mask[row : row + height // 5, column : column + width // 5] = True
    other = 1.4 * np.roll(pair.msi, (ratio * height // 3, ratio * width // 4), axis=(1, 2))
    pair.msi[:, fine(mask, ratio)] = other[:, fine(mask, ratio)]
    return mask


def saturated(pair: Any, _ratio: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Twenty MSI pixels at 6.5 times the brightest."""
    places = generator.choice(pair.msi_valid.size, 20, replace=False)
    pair.msi.reshape(len(pair.msi), -1)[:, places] = 6.5 * pair.msi.max()
    return _at(pair.msi_valid.shape, places)


def garbage(pair: Any, _ratio: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """One MSI pixel in a hundred holds any number up to twice the brightest."""
    places = generator.choice(pair.msi_valid.size, pair.msi_valid.size // 100, replace=False)
    pair.msi.reshape(len(pair.msi), -1)[:, places] = 2 * pair.msi.max() * generator.random((len(pair.msi), len(places)))
    return _at(pair.msi_valid.shape, places)


def hsi_garbage(pair: Any, _ratio: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """One HSI pixel in a hundred holds any number up to twice the brightest."""
    places = generator.choice(pair.hsi_valid.size, max(pair.hsi_valid.size // 100, 1), replace=False)
    pair.hsi.reshape(len(pair.hsi), -1)[:, places] = 2 * pair.hsi.max() * generator.random((len(pair.hsi), len(places)))
    return _at(pair.hsi_valid.shape, places)


def _at(shape: tuple[int, ...], places: NDArray[np.int64]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    mask.ravel()[places] = True
    return mask


FAULTS: dict[str, Callable[[Any, int, np.random.Generator], NDArray[np.bool_] | None]] = {
    "clean": clean,
    "MSI cloud": msi_cloud,
    "MSI veil": thin_cloud,
    "HSI cloud": hsi_cloud,
    "shadow": shadow,
    "changed fields": changed_fields,
    "20 saturated": saturated,
    "1 % garbage in the MSI": garbage,
    "1 % garbage in the HSI": hsi_garbage,
}


def judged(pair: Any, before: NDArray[np.float32], mask: NDArray[np.bool_] | None, model: ImagingModel) -> Any:
    """What must be masked and what must not, as HSI pixels."""
    shape = pair.hsi_valid.shape
    if mask is None:
        return np.zeros(shape, dtype=bool), np.ones(shape, dtype=bool)
    if mask.shape != shape:
        with torch.no_grad():
            old, new = (model.blur(torch.from_numpy(image)).numpy() for image in (before, pair.msi))
        altered = np.abs(new - old)
        return (altered > 0.2 * np.abs(old)).all(axis=0), (altered <= 1e-3 * np.abs(old)).all(axis=0)
    return mask, ~ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=3)


def models(pair: Any, wavelength: NDArray[np.float64], *, given: bool) -> Iterator[tuple[str, ImagingModel]]:
    """The true model, one that is wrong by half an HSI pixel and a fifth of the FWHM, and the estimated one."""
    truth = pair.model
    yield "true", truth
    wide, high = truth.psf.fwhm
    psf = PointSpread.gaussian(truth.ratio, (1.2 * wide, 1.2 * high))
    yield "wrong", replace(truth, psf=psf, shift=(truth.shift[0] + 0.35, truth.shift[1] - 0.35))
    if given:
        return
    try:
        yield "estimated", estimate_imaging([pair], truth.ratio, wavelength, msi_bands=truth.srf.msi_bands).model
    except ImagingError as error:
        print(f"<!-- not estimated: {error} -->")


def main() -> None:
    """Print the table, and its means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=os.environ.get("HSFUSE_DATA"))
    parser.add_argument("--every", type=int, default=1, help="only each n-th scene")
    parser.add_argument("--given", action="store_true", help="do not estimate the model as well, which takes longest")
    parser.add_argument("--all", action="store_true", help="print each scene, not only the means")
    chosen = parser.parse_args()
    if chosen.data is None:
        parser.error("give the data folder, or set HSFUSE_DATA")
    found: dict[tuple[str, str], list[tuple[float, float, str]]] = {}
    for number, (name, image, wavelength) in enumerate(list(scenes(Path(chosen.data)))[:: chosen.every]):
        ratio, sensor = ((3, "sentinel-2a"), (4, "landsat-8"))[number % 2]
        if image.shape[1] * image.shape[2] < FEWEST_PIXELS * ratio**2:
            ratio = 3
        response = load_srf(sensor, wavelength).response
        snr = (30.0, 45.0)[number // 2 % 2]
        truth = ImagingModel(response, PointSpread.gaussian(ratio, 1.0), (0.2, -0.1))
        for label, spoil in FAULTS.items():
            pair = degrade(image, truth, snr_hsi=snr, snr_msi=snr + 5)
            patch = SimpleNamespace(
                hsi=pair.hsi, hsi_valid=pair.hsi_valid, msi=pair.msi.copy(), msi_valid=pair.msi_valid, model=truth
            )
            mask = spoil(patch, ratio, np.random.default_rng(number))
            wanted, untouched = judged(patch, pair.msi, mask, truth)
            for kind, model in models(patch, wavelength, given=chosen.given):
                bands = [truth.srf.msi_bands.index(band) for band in model.srf.msi_bands]
                seen = SimpleNamespace(**{**vars(patch), "msi": patch.msi[bands]})
                masked = ~Agreement.fit([seen], model).where(seen)
                recall = float(masked[wanted].mean()) if wanted.any() else np.nan
                alarms = float(masked[untouched].mean()) if untouched.any() else np.nan
                found.setdefault((label, kind), []).append((recall, alarms, name))
                if chosen.all:
                    print(
                        f"| {name} | {ratio} | {snr:g} | {label} | {kind} | {recall:.1%} | {alarms:.2%} |", flush=True
                    )
    print("| fault | model | recall, mean | least | false alarms, mean | most | in |\n" + "| --- " * 7 + "|")
    for (label, kind), rows in found.items():
        recall, alarms = (np.array([row[index] for row in rows], dtype=float) for index in (0, 1))
        worst = int(np.nanargmax(alarms))
        least = f"{np.nanmean(recall):.1%} | {np.nanmin(recall):.1%}" if np.isfinite(recall).any() else "– | –"
        print(f"| {label} | {kind} | {least} | {np.nanmean(alarms):.2%} | {alarms[worst]:.2%} | {rows[worst][2]} |")


if __name__ == "__main__":
    main()
