"""Shares of true values within one and two of the standard deviations that `--uncertainty` writes, as Markdown tables.

    python examples/benchmarks/uncertainty.py DATA [--scenes held-back|training] [--models bayes,mgdunlss,stack,hysure]

Pairs are simulated as in `examples/training/validation_table.py`, by default of scenes that no network was
trained on: ratios 3 and 4, 30/35 and 40/45 dB in the HSI and the MSI, Sentinel-2 (four bands), Landsat 8 and IKONOS in
turn. The truth is without noise. Scenes that are too small to calibrate on have a table of their own.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.fusion.methods import choose_method
from hsfuse.fusion.uncertainty import Uncertainty
from hsfuse.imaging import ImagingModel, PointSpread, degrade, load_srf
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from hsfuse.imaging import WaldPair

SENSORS = ("sentinel-2a", "landsat-8", "ikonos")
VIEWS = ((3, 30, 35), (4, 40, 45), (3, 40, 45), (4, 30, 35))
"""Ratio, and SNR of the HSI and the MSI in dB."""

GROUPS = {"VIS": (0, 700), "NIR": (700, 1000), "SWIR 1": (1000, 1800), "SWIR 2": (1800, np.inf)}
"""Bands by wavelength in nm."""

Shares = dict[tuple[bool, str, str], list[tuple[float, float]]]
"""Within one and two standard deviations, case by case, by whether it was calibrated, model and group of bands."""


def main() -> None:
    """Print a table for cases with a calibration, and one for those without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--scenes", choices=["held-back", "training"], default="held-back")
    parser.add_argument("--models", default="bayes,mgdunlss,stack,hysure")
    options = parser.parse_args()
    models, found = options.models.split(","), Shares()
    for name, pair, wavelength_nm in _cases(options.data, options.scenes):
        for model in models:
            for key, shares in _shares(model, pair, wavelength_nm).items():
                found.setdefault(key, []).append(shares)
        print(name, file=sys.stderr, flush=True)
    for calibrated in (True, False):
        print(f"\n{'Calibrated on the scene' if calibrated else 'Too small to calibrate on'}:\n")
        print(_table(found, calibrated=calibrated, models=models))


def _cases(data: Path, which: str) -> Iterator[tuple[str, WaldPair, NDArray[np.float64]]]:
    """Simulated pairs: all held-back scenes, or every third of the others, and not more than nine."""
    universal = runpy.run_path(str(Path(__file__).parents[1] / "training" / "universal.py"))
    references = universal["load_references"](data)
    held_back = [one for one in references if one.name in universal["VALIDATION"]]
    others = [one for one in references if one.name not in universal["VALIDATION"]][::3][:9]
    for number, reference in enumerate(held_back if which == "held-back" else others):
        for view, (ratio, snr_hsi, snr_msi) in enumerate(VIEWS):
            sensor = SENSORS[(number + view) % len(SENSORS)]
            loaded = load_srf(sensor, reference.wavelength_nm)
            if 2 * len(loaded.msi_index) <= loaded.source_bands:
                continue
            model = ImagingModel(loaded.response, PointSpread.gaussian(ratio, 1.0))
            pair = degrade(reference.image, model, snr_hsi=snr_hsi, snr_msi=snr_msi)
            name = f"{reference.name} {sensor} ratio {ratio} {snr_hsi}/{snr_msi} dB"
            yield name, pair, reference.wavelength_nm


def _shares(name: str, pair: WaldPair, wavelength_nm: NDArray[np.float64]) -> Shares:
    """Of one model on one pair."""
    hsi, msi = torch.from_numpy(pair.hsi), torch.from_numpy(pair.msi)
    patches, method = [PairPatch.all_valid(hsi, msi)], choose_method(name).method
    with torch.inference_mode():
        fitted = method.fit(patches, pair.model)
        uncertainty = Uncertainty.fit(method, fitted, patches, pair.model)
        off = np.abs(fitted(hsi, msi).numpy() - pair.reference) / uncertainty(hsi, msi).numpy()
    found = {}
    for group, (low, high) in GROUPS.items():
        bands = (wavelength_nm >= low) & (wavelength_nm < high)
        if bands.any():
            found[uncertainty.pixels > 0, name, group] = tuple(float((off[bands] <= most).mean()) for most in (1, 2))
    return found


def _table(found: Shares, *, calibrated: bool, models: Sequence[str]) -> str:
    """Means over cases, and the least and the largest share within one standard deviation."""
    lines = ["| model | " + " | ".join(GROUPS) + " |", "| --- |" + " --- |" * len(GROUPS)]
    for model in models:
        cells = []
        for group in GROUPS:
            shares = np.array(found.get((calibrated, model, group), []))
            if not len(shares):
                cells.append("–")
                continue
            one, two = 100 * shares.mean(axis=0)
            least, most = 100 * shares[:, 0].min(), 100 * shares[:, 0].max()
            cells.append(f"{one:.0f} / {two:.1f} ({least:.0f} to {most:.0f})")
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
