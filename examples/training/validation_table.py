"""Every method on the validation scenes, as a Markdown table for weights/README.md.

    python examples/training/validation_table.py DATA [--methods mgdunlss,hysure,…]

The scenes are those that `universal.py` never trains on; each is seen at ratios 3 and 4 by the bands of common sensors
with 30 dB in the HSI and 35 dB in the MSI. All methods are told the true imaging model.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

import numpy as np
import torch

from hsfuse.fusion.methods import choose_method
from hsfuse.imaging import ImagingModel, PointSpread, degrade, load_srf
from hsfuse.metrics import full_reference
from hsfuse.models.adapter import TensorPatch

SENSORS = {
    "Sentinel-2, 4 bands": "sentinel-2a",
    "Sentinel-2, 10 bands": "sentinel-2a:B2,B3,B4,B5,B6,B7,B8,B8A,B11,B12",
    "Landsat 8": "landsat-8",
    "IKONOS": "ikonos",
}
METRICS = ("psnr", "sam", "ergas", "uiqi", "ssim", "cc", "rmse")
METHODS = "bicubic,gsa,mtf-glp,cnmf,hysure,mtf-glp-subspace,mgdunlss"


def main() -> None:
    """Print a table of means over all cases, one of PSNR by scene, and one of PSNR by sensor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--ratios", default="3,4")
    options = parser.parse_args()
    universal = runpy.run_path(str(Path(__file__).parent / "universal.py"))
    held_back = [r for r in universal["load_references"](options.data) if r.name in universal["VALIDATION"]]
    methods = options.methods.split(",")
    scores: dict[str, list[dict[str, float]]] = {method: [] for method in methods}
    cases: list[tuple[str, str]] = []
    for reference in held_back:
        for sensor, source in SENSORS.items():
            for ratio in (int(part) for part in options.ratios.split(",")):
                cases.append((reference.name, sensor))
                srf = load_srf(source, reference.wavelength_nm).response
                model = ImagingModel(srf, PointSpread.gaussian(ratio, 1.0))
                pair = degrade(reference.image, model, snr_hsi=30, snr_msi=35)
                hsi, msi = torch.from_numpy(pair.hsi), torch.from_numpy(pair.msi)
                for method in methods:
                    fitted = choose_method(method).method.fit([TensorPatch.all_valid(hsi, msi)], model)
                    with torch.inference_mode():
                        fused = fitted(hsi, msi).numpy()
                    scores[method].append(full_reference(fused, pair.reference, ratio=ratio).summary())
    print(f"Means over {len(cases)} cases:\n")
    _table(METRICS, {method: [np.nanmean([case[m] for case in scores[method]]) for m in METRICS] for method in methods})
    for title, part in (("scene", 0), ("sensor", 1)):
        groups = list(dict.fromkeys(case[part] for case in cases))
        print(f"\nPSNR in dB by {title}:\n")
        _table(
            groups,
            {
                method: [
                    np.mean([s["psnr"] for s, case in zip(scores[method], cases, strict=True) if case[part] == group])
                    for group in groups
                ]
                for method in methods
            },
        )


def _table(columns: tuple[str, ...] | list[str], rows: dict[str, list[float]]) -> None:
    print("| method | " + " | ".join(columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(f"{value:.4g}" if value < 10 else f"{value:.2f}" for value in values) + " |")


if __name__ == "__main__":
    main()
