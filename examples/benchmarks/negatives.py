"""Where methods go below zero on real pairs whose HSI does not, before the output is clipped.

    python examples/benchmarks/negatives.py DATA [--plots MLBS_4,MLBS_9] [--methods bayes,hysure]

DATA holds `neon_pairs/`: forest, an HSI of 1 m and an RGB photograph of 0.1 m. For each plot and method the table holds
the share of the numbers below zero, the least, and of the pixels with any: how bright they are beside the mean of their
HSI pixel, and how many are darker, in every MSI band, than any HSI pixel's mean, so that the fit has to extrapolate.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

import hsfuse
from hsfuse.fusion.methods import choose_method


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--plots", default="MLBS_4,MLBS_9,MLBS_39,MLBS_11")
    parser.add_argument("--methods", default="mtf-glp-subspace,gsa,hysure,bayes,mgdunlss")
    options = parser.parse_args()
    print("| plot | method | below 0 | least | MSI beside its HSI pixel's mean | darker than any HSI pixel |")
    print("| --- | --- | --- | --- | --- | --- |")
    for plot in options.plots.split(","):
        folder = options.data / "neon_pairs"
        pair = hsfuse.open_pair(folder / "HSI" / f"{plot}.tif", folder / "RGB" / f"{plot}.tif", allow_shift=True)
        for name in options.methods.split(","):
            print(f"| {plot} | {name} | {_cells(pair, name)} |", flush=True)


def _cells(pair: hsfuse.Pair, name: str) -> str:
    block = pair.sample[0]
    rows, columns = block.hsi_valid.shape
    means = block.msi.reshape(len(block.msi), rows, pair.ratio, columns, pair.ratio).mean((2, 4))
    fitted = choose_method(name).method.fit(pair.patches, pair.imaging)
    fused = fitted(torch.from_numpy(block.hsi), torch.from_numpy(block.msi)).numpy()
    below = (fused < 0) & block.fine_valid
    pixels = below.any(axis=0)
    share = f"{below.sum() / (block.fine_valid.sum() * len(fused)):.3%}"
    least = f"{fused[:, block.fine_valid].min():.0f}"
    if not pixels.any():
        return f"{share} | {least} | – | –"
    beside = block.msi.mean(0) / np.kron(means.mean(0), np.ones((pair.ratio, pair.ratio)))
    darker = (block.msi < means.min((1, 2))[:, None, None]).all(axis=0)
    return f"{share} | {least} | {np.median(beside[pixels]):.2f} | {darker[pixels].mean():.0%}"


if __name__ == "__main__":
    main()
