"""Run methods of hsfuse in HyperBench on the scenes that no bundled weights were trained on, and print its tables.

    python3.11 -m venv bench && bench/bin/pip install hyperbench==0.1.0
    python examples/hyperbench/run.py DATA --hyperbench bench/bin/hyperbench

DATA is a folder of scenes as `examples/training/universal.py` reads it, or `HSFUSE_DATA` names it. This runs in
hsfuse's environment and starts `hyperbench run` in the other, once a scene and method; the scenes (as MATLAB files),
the configurations and the harness's own tables stay in `--folder`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.io

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

HERE = Path(__file__).parent

METHODS = "bicubic,gsa,mtf-glp,cnmf,hysure,bayes,stack"
METRICS = {"RMSE": ".4f", "PSNR": ".2f", "SSIM": ".4f", "UIQI": ".4f", "ERGAS": ".3f", "SAM": ".3f"}
"""The harness's, and how they are shown."""

RATIO = 4
CASES = [
    {"downsample_ratio": RATIO, "msi_band_count": bands, "spatial_snr_db": 35.0, "spectral_snr_db": 40.0}
    for bands in (4, 8)
]
"""IKONOS's and WorldView-2's bands as the harness lays them over a scene; PSF and noise are its defaults."""

Row = dict[str, str]


def main() -> None:
    """Run, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=os.environ.get("HSFUSE_DATA"))
    parser.add_argument("--hyperbench", default="hyperbench", help="its command, in its own environment")
    parser.add_argument("--folder", type=Path, default=Path("hyperbench-runs"))
    parser.add_argument("--methods", default=METHODS, help="METHOD or METHOD-blind, comma-separated")
    parser.add_argument("--scenes", default="", help="parts of scenes' names, comma-separated")
    options = parser.parse_args()
    if options.data is None:
        parser.error("name the folder of the scenes, or set HSFUSE_DATA")
    options.folder.mkdir(parents=True, exist_ok=True)
    wanted = [part for part in options.scenes.split(",") if part]
    methods = options.methods.split(",")
    rows: list[Row] = []
    for name, image in load_scenes(Path(options.data)):
        if not wanted or any(part in name for part in wanted):
            scene = write_scene(options.folder, name, image)
            rows += [row for method in methods for row in benchmark(options.hyperbench, scene, method)]
    print(by_scene(rows, methods))
    print()
    print(means(rows, methods))


def load_scenes(data: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Name and image (C, H, W) of every scene that the bundled weights were held back from."""
    training = runpy.run_path(str(HERE.parent / "training" / "universal.py"))
    for reference in training["load_references"](data):
        if reference.name in training["VALIDATION"]:
            yield reference.name, reference.image


def write_scene(folder: Path, name: str, image: NDArray[np.float32]) -> Path:
    """Write an image (C, H, W) as the harness reads it, cut to whole HSI pixels."""
    rows, columns = (edge // RATIO * RATIO for edge in image.shape[1:])
    path = folder / f"{name}.mat"
    scipy.io.savemat(path, {"scene": image[:, :rows, :columns].transpose(1, 2, 0)})
    return path


def benchmark(command: str, scene: Path, method: str) -> list[Row]:
    """The harness's rows of one scene and method; ends the script where a case failed."""
    table = scene.with_name(f"{scene.stem}-{method}.csv")
    config: dict[str, Any] = {
        "scene_path": str(scene.resolve()),
        "degradation_specs": CASES,
        "output_csv_path": str(table.resolve()),
    }
    told = table.with_suffix(".json")
    told.write_text(json.dumps(config, indent=1))
    print(f"{scene.stem}, {method}", file=sys.stderr, flush=True)
    ended = subprocess.run(  # noqa: S603
        [command, "run", "--config", str(told), "--pipeline-module", str(HERE / "pipeline.py"),
         "--pipeline-name", method, "--method-name", method, "--no-device-summary"],
        env={**os.environ, "HSFUSE_PYTHON": sys.executable}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ended.returncode:
        sys.exit(f"{command} failed: {ended.stderr.strip()[-500:]}")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["status"] != "success":
            sys.exit(f"{scene.stem}, {method}, {row['msi_band_count']} bands: {row['error']}")
    return rows


def by_scene(rows: Sequence[Row], methods: Sequence[str]) -> str:
    """A line a case, a column a method: PSNR, SAM and ERGAS."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        scores = (format(float(row[name]), METRICS[name]) for name in ("PSNR", "SAM", "ERGAS"))
        found.setdefault((row["scene_name"], row["msi_band_count"]), {})[row["method_name"]] = " / ".join(scores)
    head = ["scene", "MSI bands", *methods]
    return _markdown(head, [[*case, *(cells[method] for method in methods)] for case, cells in found.items()])


def means(rows: Sequence[Row], methods: Sequence[str]) -> str:
    """A line a method: the mean of every metric, and of the seconds that hsfuse itself took."""
    lines = []
    for method in methods:
        own = [row for row in rows if row["method_name"] == method]
        mean = {name: np.mean([float(row[name]) for row in own]) for name in (*METRICS, "model_inference_time_sec")}
        scores = [format(mean[name], shown) for name, shown in METRICS.items()]
        lines.append([method, *scores, f"{mean['model_inference_time_sec']:.1f}"])
    return _markdown(["method", *METRICS, "seconds"], lines)


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


if __name__ == "__main__":
    main()
