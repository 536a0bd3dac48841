"""What Sentinel-2's 20 m bands are worth: four bands of 10 m against ten, six of which are taken at 20 m.

    python examples/benchmarks/several_msis.py DATA [--ratios 3,4] [--snr 30,35] [--methods bayes,hysure,cnmf,stack]

On the scenes that no network was trained on (those of `../training/universal.py`), a pixel standing for 10 m. The 20 m
bands are blurred by a Gaussian as wide as their pixel, which the sharpening has to find; noise is the MSI's. All
methods are told the true imaging model of the HSI.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.classical.band_sharpening import BandSharpening
from hsfuse.fusion.methods import choose_method
from hsfuse.imaging import BlurDecimate, ImagingModel, PointSpread, RelativeBlur, add_noise, load_srf, upsample
from hsfuse.metrics import full_reference
from hsfuse.scenes import PairBlock
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FINE, COARSE = ("B2", "B3", "B4", "B8"), ("B5", "B6", "B7", "B8A", "B11", "B12")
MSIS = ("4 bands", "10, interpolated", "10, sharpened", "10 at 10 m (bound)")


class Case:
    """One scene as the HSI and the two MSIs see it."""

    def __init__(
        self, image: NDArray[np.float32], wavelength_nm: NDArray[np.float64], ratio: int, snr: Sequence[float]
    ) -> None:
        """Simulate it, cropped to whole pixels of all three."""
        edge = 2 * ratio if ratio % 2 else ratio
        rows, columns = (length // edge * edge for length in image.shape[1:])
        self.truth = np.ascontiguousarray(image[:, :rows, :columns])
        response = load_srf(f"sentinel-2a:{','.join(FINE + COARSE)}", wavelength_nm).response
        fine = [row for row, name in enumerate(response.msi_bands) if name in FINE]
        coarse = [row for row, name in enumerate(response.msi_bands) if name in COARSE]
        self.response, self.ratio, self.four = response.select([*fine, *coarse]), ratio, len(fine)
        self._generator = np.random.default_rng(0)
        bands = self.response.project(torch.from_numpy(self.truth)).numpy()
        self.sharp = bands[self.four :].copy()
        self.at_10 = np.concatenate([self._noisy(bands[: self.four], snr[1]), self._noisy(self.sharp, snr[1])])
        seen = BlurDecimate(PointSpread.gaussian(2, 1.0))(torch.from_numpy(self.sharp)).numpy()
        self.at_20 = self._noisy(seen, snr[1])
        self.psf = PointSpread.gaussian(ratio, 1.0)
        self.hsi = self._noisy(BlurDecimate(self.psf)(torch.from_numpy(self.truth)).numpy(), snr[0])

    def _noisy(self, image: NDArray[np.float32], snr: float) -> NDArray[np.float32]:
        image = image.copy()
        add_noise(image, np.ones(image.shape[1:], dtype=bool), snr, self._generator)
        return image

    def six(self) -> dict[str, NDArray[np.float32]]:
        """The 20 m bands at 10 m, in two ways."""
        finer = self.at_10[: self.four]
        block = PairBlock(self.at_20, np.ones(self.at_20.shape[1:], bool), finer, np.ones(finer.shape[1:], bool))
        sharpening = BandSharpening.fit([PairPatch.of(block)], RelativeBlur.fit([block], 2).psf)
        coarse = torch.from_numpy(self.at_20)
        return {
            "interpolated": upsample(coarse, 2).numpy(),
            "sharpened": sharpening(coarse, torch.from_numpy(finer)).numpy(),
        }

    def msis(self) -> dict[str, NDArray[np.float32]]:
        """Every MSI to fuse with, by name."""
        finer, six = self.at_10[: self.four], self.six()
        ten = [np.concatenate([finer, bands]) for bands in six.values()]
        return dict(zip(MSIS, (finer, *ten, self.at_10), strict=True))

    def score(self, method: str, msi: NDArray[np.float32]) -> tuple[float, float]:
        """PSNR in dB and SAM in degrees."""
        model = ImagingModel(self.response.select(range(len(msi))), self.psf)
        hsi, fine = torch.from_numpy(self.hsi), torch.from_numpy(np.ascontiguousarray(msi))
        fused = choose_method(method).method.fit([PairPatch.all_valid(hsi, fine)], model)(hsi, fine).numpy()
        found = full_reference(fused, self.truth, ratio=self.ratio).summary()
        return found["psnr"], found["sam"]


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--ratios", default="3,4")
    parser.add_argument("--snr", default="30,35", help="of the HSI and of the MSI in dB")
    parser.add_argument("--methods", default="bayes,hysure,cnmf,stack")
    options = parser.parse_args()
    universal = runpy.run_path(str(Path(__file__).parents[1] / "training" / "universal.py"))
    scenes = [scene for scene in universal["load_references"](options.data) if scene.name in universal["VALIDATION"]]
    snr = [float(level) for level in options.snr.split(",")]
    print("| scene | ratio | six bands interpolated | sharpened |", "| --- | --- | --- | --- |", sep="\n")
    found: dict[tuple[int, str, str], list[tuple[float, float]]] = {}
    for ratio in (int(text) for text in options.ratios.split(",")):
        for scene in scenes:
            case = Case(scene.image, scene.wavelength_nm, ratio, snr)
            quality = [full_reference(bands, case.sharp, ratio=2).summary()["psnr"] for bands in case.six().values()]
            print(f"| {scene.name} | {ratio} | {quality[0]:.2f} | {quality[1]:.2f} |", flush=True)
            for name, msi in case.msis().items():
                for method in options.methods.split(","):
                    found.setdefault((ratio, method, name), []).append(case.score(method, msi))
    print("", "| ratio | method | " + " | ".join(MSIS) + " | gain |", "|" + " --- |" * 7, sep="\n")
    for ratio, method in dict.fromkeys((ratio, method) for ratio, method, _ in found):
        means = [np.mean(found[ratio, method, name], axis=0) for name in MSIS]
        four, sharpened = (found[ratio, method, name] for name in (MSIS[0], MSIS[2]))
        gains = [ten[0] - own[0] for own, ten in zip(four, sharpened, strict=True)]
        cells = " | ".join(f"{psnr:.2f} / {sam:.2f}" for psnr, sam in means)
        print(f"| {ratio} | {method} | {cells} | {np.mean(gains):+.2f} ({min(gains):+.2f} to {max(gains):+.2f}) |")


if __name__ == "__main__":
    main()
