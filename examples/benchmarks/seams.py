"""How far a tile's result depends on the tile: each method tiled against untiled, by the margin that weighs nothing.

    pip install "hsfuse[example]"
    python examples/benchmarks/seams.py

On a real texture (Indian Pines, mirrored to four times its size, ratio 3). The table gives the largest and the root
mean square difference in parts of the image's range, a hundredth of a percent (1e-4) being one unit; the overlap of
`fuse` is twice the method's margin and four pixels more.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from tensorly.datasets import load_indian_pines

from hsfuse.fusion.methods import choose_method
from hsfuse.imaging import ImagingModel, PointSpread, degrade, load_srf
from hsfuse.subspace.patch import PairPatch

RATIO, TILE = 3, 48


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="bicubic,gsa,mtf-glp,mtf-glp-subspace,hysure,mgdunlss")
    options = parser.parse_args()
    scene = load_indian_pines()
    image = np.asarray(scene["tensor"], np.float32).transpose(2, 0, 1)[:, :144, :144]
    image = np.concatenate([image, image[:, ::-1]], axis=1)
    image = np.ascontiguousarray(np.concatenate([image, image[:, :, ::-1]], axis=2))
    loaded = load_srf("sentinel-2a", np.array(scene["ticks"][1]))
    model = ImagingModel(loaded.response, PointSpread.gaussian(RATIO, 1.0))
    pair = degrade(image, model, snr_hsi=35, snr_msi=40)
    hsi, msi = torch.from_numpy(pair.hsi), torch.from_numpy(pair.msi)
    margins = (0, 1, 2, 3, 4, 6, 8, 12)
    print("| method | " + " | ".join(f"margin {margin}" for margin in margins) + " |")
    print("| --- |" + " --- |" * len(margins))
    for name in options.methods.split(","):
        fitted = choose_method(name).method.fit([PairPatch.all_valid(hsi, msi)], model)
        whole = fitted(hsi, msi)
        # One tile in the middle, all of whose rims are inner ones.
        start = (hsi.shape[-1] - TILE) // 2
        inside, fine = slice(start, start + TILE), slice(start * RATIO, (start + TILE) * RATIO)
        tile = fitted(hsi[:, inside, inside].contiguous(), msi[:, fine, fine].contiguous())
        difference = (tile - whole[:, fine, fine]).abs() / float(whole.max() - whole.min())
        cells = []
        for margin in margins:
            rim = margin * RATIO
            kept = difference[:, rim : TILE * RATIO - rim, rim : TILE * RATIO - rim]
            cells.append(f"{1e4 * float(kept.max()):.2f}, {1e4 * float(kept.square().mean().sqrt()):.3f}")
        print(f"| {name} (margin {fitted.margin}) | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
