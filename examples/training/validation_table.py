"""Every method on the validation scenes, as a Markdown table for weights/README.md.

    python examples/training/validation_table.py DATA --write weights/README.md [--methods mgdunlss,hysure,…]

The scenes are those that `universal.py` never trains on; each is seen at ratios 3 and 4 by the bands of common sensors
with 30 dB in the HSI and 35 dB in the MSI. All methods are told the true imaging model. With `--write` the tables
replace what stands in that file between the two comments that name this script.
"""

from __future__ import annotations

import argparse
import itertools
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.fusion.methods import choose_method
from hsfuse.imaging import ImagingModel, PointSpread, degrade, load_srf
from hsfuse.metrics import full_reference
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SENSORS = {
    "Sentinel-2, 4 bands": "sentinel-2a",
    "Sentinel-2, 10 bands": "sentinel-2a:B2,B3,B4,B5,B6,B7,B8,B8A,B11,B12",
    "Landsat 8": "landsat-8",
    "IKONOS": "ikonos",
}
METRICS = ("psnr", "sam", "ergas", "uiqi", "ssim", "cc", "rmse")
METHODS = "bicubic,gsa,mtf-glp,cnmf,hysure,mtf-glp-subspace,bayes,mgdunlss,ssrfn,stack"
BEGIN, END = "<!-- validation_table.py -->", "<!-- end of validation_table.py -->"


def main() -> None:
    """Tell means over all cases, PSNR by scene, and PSNR by sensor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--ratios", default="3,4")
    parser.add_argument("--write", type=Path, help="file whose tables to replace")
    options = parser.parse_args()
    ratios = [int(part) for part in options.ratios.split(",")]
    scores = measure(options.data, options.methods.split(","), ratios)
    text = tables(scores)
    print(text)
    if options.write is not None:
        before, _, rest = options.write.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        options.write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def measure(
    data: Path, methods: list[str], ratios: list[int]
) -> dict[tuple[str, str, int], dict[str, dict[str, float]]]:
    """Every metric of every method, by scene, sensor and ratio."""
    universal = runpy.run_path(str(Path(__file__).parent / "universal.py"))
    held_back = [r for r in universal["load_references"](data) if r.name in universal["VALIDATION"]]
    found: dict[tuple[str, str, int], dict[str, dict[str, float]]] = {}
    chosen = {method: choose_method(method).method for method in methods}
    for reference, (sensor, source), ratio in itertools.product(held_back, SENSORS.items(), ratios):
        srf = load_srf(source, reference.wavelength_nm).response
        model = ImagingModel(srf, PointSpread.gaussian(ratio, 1.0))
        pair = degrade(reference.image, model, snr_hsi=30, snr_msi=35)
        hsi, msi = torch.from_numpy(pair.hsi), torch.from_numpy(pair.msi)
        scores: dict[str, dict[str, float]] = {}
        for name, method in chosen.items():
            with torch.inference_mode():
                fused = method.fit([PairPatch.all_valid(hsi, msi)], model)(hsi, msi).numpy()
            scores[name] = full_reference(fused, pair.reference, ratio=ratio).summary()
        found[reference.name, sensor, ratio] = scores
        print(reference.name, sensor, ratio, file=sys.stderr, flush=True)
    return found


def tables(found: dict[tuple[str, str, int], dict[str, dict[str, float]]]) -> str:
    """Three of them, in Markdown."""
    methods = list(next(iter(found.values())))
    means = {m: [_mean(scores[m][metric] for scores in found.values()) for metric in METRICS] for m in methods}
    parts = [f"Means over {len(found)} cases:", _table(METRICS, means)]
    for title, place in (("scene", 0), ("sensor", 1)):
        groups = list(dict.fromkeys(case[place] for case in found))
        rows = {
            m: [_mean(scores[m]["psnr"] for case, scores in found.items() if case[place] == group) for group in groups]
            for m in methods
        }
        parts += [f"PSNR in dB by {title}:", _table(groups, rows)]
    return "\n\n".join(parts)


def _mean(values: Iterable[float]) -> float:
    return float(np.nanmean(list(values)))


def _table(columns: Sequence[str], rows: dict[str, list[float]]) -> str:
    lines = ["| method | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    for name, values in rows.items():
        cells = (f"{value:.4g}" if value < 10 else f"{value:.2f}" for value in values)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
