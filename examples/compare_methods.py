"""Fuse one simulated pair by several methods and print a Markdown table of quality and time.

    pip install tensorly                                    # comes with the scene of the Indian Pines example
    python examples/compare_methods.py
    python examples/compare_methods.py --reference R.tif --ratio 4 --srf landsat-8

Without a reference the truth of `examples/indian-pines` is made again first. Every method gets the pair alone and
estimates what lies between the two images.
"""

from __future__ import annotations

import argparse
import importlib.util
import runpy
import tempfile
from pathlib import Path

from hsfuse.commands.evaluate import evaluate
from hsfuse.commands.fuse import fuse
from hsfuse.commands.simulate import simulate

METHODS = ("bicubic", "gsa", "mtf-glp", "cnmf", "hysure", "mtf-glp-subspace", "bayes", "mgdunlss", "ssrfn", "stack")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, help="a hyperspectral scene to simulate from")
    parser.add_argument("--ratio", type=int, default=3)
    parser.add_argument("--srf", default="sentinel-2a")
    parser.add_argument("--snr-hsi", type=float, default=35)
    parser.add_argument("--snr-msi", type=float, default=40)
    parser.add_argument("--methods", default=",".join(METHODS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        reference = options.reference or _indian_pines(Path(folder))
        pair = simulate(
            reference,
            Path(folder) / "pair",
            ratio=options.ratio,
            srf=options.srf,
            snr_hsi=options.snr_hsi,
            snr_msi=options.snr_msi,
        ).folder
        print("| method | PSNR dB | SAM ° | ERGAS | CC | seconds |")
        print("| --- | --- | --- | --- | --- | --- |")
        for method in options.methods.split(","):
            fused = Path(folder) / f"{method}.tif"
            result = fuse(pair / "hsi.tif", pair / "msi.tif", fused, model=method)
            scores = evaluate(fused, pair / "reference.tif").scores
            print(
                f"| {method} | {scores.psnr:.2f} | {scores.sam:.2f} | {scores.ergas:.3f} | {scores.cc:.4f} "
                f"| {result.seconds:.1f} |",
                flush=True,
            )


def _indian_pines(folder: Path) -> Path:
    """The scene that the example pair was made of."""
    if importlib.util.find_spec("tensorly") is None:
        raise SystemExit(
            "the scene of the example comes with tensorly: `pip install tensorly`, or give --reference R.tif"
        )
    script = runpy.run_path(str(Path(__file__).parent / "indian-pines" / "make.py"))
    path = folder / "indian-pines.tif"
    script["write_reference"](path)
    return path


if __name__ == "__main__":
    main()
