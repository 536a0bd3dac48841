"""Every method on the validation grid, as Markdown tables for weights/README.md.

    python examples/training/validation_table.py DATA --write weights/README.md [--cases 60] [--methods stack,bayes,…]

The scenes are those that `universal.py` never trains on; each is seen by the bands of common sensors at several ratios
and levels of noise: 420 cases less those whose bands a scene does not cover, or an even, seeded part of them
(`--cases`). All methods are told the true imaging model. What was measured is kept in `--results` as lines of JSON, and
a second call goes on from there. With `--write` the tables replace what stands in that file between the two comments
that name this script.
"""

from __future__ import annotations

import argparse
import itertools
import json
import runpy
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hsfuse.fusion.methods import choose_method
from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, degrade, load_srf
from hsfuse.metrics import full_reference
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

SENSORS = {
    "pan": "pan",
    "IKONOS": "ikonos",
    "Sentinel-2, 4 bands": "sentinel-2a",
    "Sentinel-2, 10 bands": "sentinel-2a:B2,B3,B4,B5,B6,B7,B8,B8A,B11,B12",
    "Landsat 8": "landsat-8",
}
PAN = ([640.0], [300.0])
"""Centre and FWHM in nm of the panchromatic band."""

NOISES = ((30, 35), (35, 40), (45, 50))
"""SNR of the HSI and of the MSI in dB."""

RATIOS = (2, 3, 4, 6)
METRICS = ("psnr", "sam", "ergas", "uiqi", "ssim", "cc", "rmse")
METHODS = "bicubic,gsa,mtf-glp,cnmf,hysure,mtf-glp-subspace,bayes,mgdunlss,ssrfn,stack"
OF_OTHERS = ("bicubic", "gsa", "mtf-glp", "cnmf", "hysure")
"""Methods that others have too: the best of them in each case is what ours are held against."""

BEGIN, END = "<!-- validation_table.py -->", "<!-- end of validation_table.py -->"


@dataclass(frozen=True)
class Case:
    """One simulated pair."""

    scene: str
    sensor: str
    ratio: int
    snr_hsi: float
    snr_msi: float

    @property
    def noise(self) -> str:
        """Of both images."""
        return f"{self.snr_hsi:g}/{self.snr_msi:g} dB"


Results = dict[Case, dict[str, dict[str, float]]]
"""Metrics, and seconds of one thread, by method."""


def main() -> None:
    """Tell means over all cases, leads case by case, and PSNR by scene, sensor, noise and ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--cases", type=int, help="how many of the grid; all by default")
    parser.add_argument("--seed", type=int, default=0, help="of the choice")
    parser.add_argument("--results", type=Path, default=Path("validation.jsonl"), help="what was measured")
    parser.add_argument("--write", type=Path, help="file whose tables to replace")
    options = parser.parse_args()
    methods = options.methods.split(",")
    results = measure(options.data, methods, options.cases, options.seed, options.results)
    text = tables(results, methods)
    print(text)
    if options.write is not None:
        before, _, rest = options.write.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        options.write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def measure(data: Path, methods: Sequence[str], count: int | None, seed: int, path: Path) -> Results:
    """Every metric of every method in `count` cases, those that `path` has taken from there."""
    universal = runpy.run_path(str(Path(__file__).parent / "universal.py"))
    held_back = {r.name: r for r in universal["load_references"](data) if r.name in universal["VALIDATION"]}
    known = _read(path)
    results: Results = {}
    chosen = {method: choose_method(method).method for method in methods}
    for case in _cases(list(held_back), count, seed):
        reference = held_back[case.scene]
        srf = _response(case.sensor, reference.wavelength_nm)
        if srf is None:
            continue
        scores = known.setdefault(case, {})
        missing = [name for name in methods if name not in scores]
        if missing:
            model = ImagingModel(srf, PointSpread.gaussian(case.ratio, 1.0))
            pair = degrade(reference.image, model, snr_hsi=case.snr_hsi, snr_msi=case.snr_msi)
            hsi, msi = torch.from_numpy(pair.hsi), torch.from_numpy(pair.msi)
            for name in missing:
                begun = time.process_time()
                with torch.inference_mode():
                    fused = chosen[name].fit([PairPatch.all_valid(hsi, msi)], model)(hsi, msi).numpy()
                seconds = time.process_time() - begun
                scores[name] = full_reference(fused, pair.reference, ratio=case.ratio).summary() | {"seconds": seconds}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"case": asdict(case), "scores": scores}) + "\n")
        results[case] = {name: scores[name] for name in methods}
        print(len(results), case, file=sys.stderr, flush=True)
    return results


def _cases(scenes: Sequence[str], count: int | None, seed: int) -> list[Case]:
    """All of the grid, or a part of it in which every scene, sensor, noise and ratio occurs about as often."""
    grid = [
        Case(scene, sensor, ratio, *noise)
        for scene, sensor, noise, ratio in itertools.product(scenes, SENSORS, NOISES, RATIOS)
    ]
    if count is None:
        return grid
    generator = np.random.default_rng(seed)
    values: dict[str, int] = {}
    left = [grid[index] for index in generator.permutation(len(grid))]
    chosen: list[Case] = []
    while left and len(chosen) < count:  # next is the one whose values are the rarest so far
        case = min(left, key=lambda one: sum(values.get(f"{k}={v}", 0) for k, v in asdict(one).items()))
        left.remove(case)
        chosen.append(case)
        for name, value in asdict(case).items():
            values[f"{name}={value}"] = values.get(f"{name}={value}", 0) + 1
    return sorted(chosen, key=grid.index)


def _response(sensor: str, wavelength_nm: NDArray[np.float64]) -> SpectralResponse | None:
    """R of a sensor, None where the scene covers fewer than half of its bands."""
    if sensor == "pan":
        return SpectralResponse.from_gaussians(*PAN, wavelength_nm)
    loaded = load_srf(SENSORS[sensor], wavelength_nm)
    return loaded.response if 2 * len(loaded.msi_index) > loaded.source_bands else None


def _read(path: Path) -> Results:
    results: Results = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            entry: dict[str, Any] = json.loads(line)
            results.setdefault(Case(**entry["case"]), {}).update(entry["scores"])
    return results


def tables(results: Results, methods: Sequence[str]) -> str:
    """All of them, in Markdown."""
    columns = (*METRICS, "seconds")
    means = {m: [_mean(scores[m][metric] for scores in results.values()) for metric in columns] for m in methods}
    parts = [f"Means over {len(results)} cases:", _table(columns, means)]
    others = [name for name in OF_OTHERS if name in methods]
    if others:
        ours = [name for name in methods if name not in others]
        heads = ("PSNR dB, mean", "at least", "SAM °, mean", "at least", "ERGAS, mean", "cases behind by over 0.1 dB")
        parts += [
            f"Lead over the best of {', '.join(others)} in each case, metric by metric:",
            _table(heads, {name: _leads(results, name, others) for name in ours}),
        ]
    groupings: dict[str, Callable[[Case], str]] = {
        "scene": lambda case: case.scene,
        "sensor": lambda case: case.sensor,
        "noise": lambda case: case.noise,
        "ratio": lambda case: str(case.ratio),
    }
    for title, group_of in groupings.items():
        groups = list(dict.fromkeys(group_of(case) for case in results))
        rows = {
            m: [_mean(scores[m]["psnr"] for case, scores in results.items() if group_of(case) == g) for g in groups]
            for m in methods
        }
        parts += [f"PSNR in dB by {title}:", _table(groups, rows)]
    return "\n\n".join(parts)


def _leads(results: Results, name: str, others: Sequence[str]) -> list[float]:
    """By how much a method is ahead of the best of others, mean and least over cases."""
    psnr = [scores[name]["psnr"] - max(scores[o]["psnr"] for o in others) for scores in results.values()]
    sam = [min(scores[o]["sam"] for o in others) - scores[name]["sam"] for scores in results.values()]
    ergas = [min(scores[o]["ergas"] for o in others) - scores[name]["ergas"] for scores in results.values()]
    behind = sum(lead < -0.1 for lead in psnr)
    return [_mean(psnr), float(np.min(psnr)), _mean(sam), float(np.min(sam)), _mean(ergas), float(behind)]


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
