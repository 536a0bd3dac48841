"""What the rim of a scene costs where the ground goes on beyond it, and where a simulation replicates its edge.

    python examples/benchmarks/rim.py DATA [--methods bayes,hysure,stack] [--noise 45,50]

The scenes are those that `examples/training/universal.py` never trains on, at ratio 3 under IKONOS' four bands, all
methods told the true imaging model. "beyond": the pair is simulated from the whole scene, and three HSI pixels a side
are cut off both images afterwards, so that the PSF has seen what was cut off. "replicated": the pair is simulated from
what was left. Prints a Markdown table of mean PSNR in dB by FWHM of the PSF in HSI pixels.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.fusion.methods import choose_method
from hsfuse.imaging import ImagingModel, PointSpread, degrade, load_srf
from hsfuse.metrics import full_reference
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.imaging import WaldPair

RATIO = 3
CUT = 3
"""HSI pixels cut off at each side: the widest PSF reaches 2.5."""
WIDTHS = (1.0, 1.3, 2.0)
KINDS = ("beyond", "replicated")


def simulated(image: NDArray[np.float32], model: ImagingModel, kind: str, noise: tuple[float, float]) -> WaldPair:
    """The pair of the inner part of a scene, whose rim is what `kind` says."""
    rows, columns = (edge // RATIO * RATIO for edge in image.shape[-2:])
    coarse, fine = slice(CUT, -CUT), slice(CUT * RATIO, -CUT * RATIO)
    image = image[:, :rows, :columns]
    if kind == "replicated":
        return degrade(image[:, fine, fine].copy(), model, snr_hsi=noise[0], snr_msi=noise[1])
    whole = degrade(image, model, snr_hsi=noise[0], snr_msi=noise[1])
    hsi, msi, reference = (
        np.ascontiguousarray(part[:, cut, cut])
        for part, cut in ((whole.hsi, coarse), (whole.msi, fine), (whole.reference, fine))
    )
    return replace(whole, hsi=hsi, msi=msi, reference=reference)


def quality(method: str, pair: WaldPair) -> float:
    """PSNR in dB of a method."""
    hsi, msi = torch.from_numpy(pair.hsi), torch.from_numpy(pair.msi)
    with torch.inference_mode():
        fused = choose_method(method).method.fit([PairPatch.all_valid(hsi, msi)], pair.model)(hsi, msi).numpy()
    return full_reference(fused, pair.reference, ratio=RATIO, windows=False).psnr


def main() -> None:
    """Print the table, and every scene's figures to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", default="bayes,hysure,stack")
    parser.add_argument("--noise", default="45,50", help="SNR of the HSI and of the MSI in dB")
    options = parser.parse_args()
    methods = options.methods.split(",")
    noise = tuple(float(part) for part in options.noise.split(","))
    universal = runpy.run_path(str(Path(__file__).parents[1] / "training" / "universal.py"))
    scenes = [one for one in universal["load_references"](options.data) if one.name in universal["VALIDATION"]]
    found: dict[tuple[str, float, str], list[float]] = {}
    for width in WIDTHS:
        for kind in KINDS:
            for scene in scenes:
                srf = load_srf("ikonos", scene.wavelength_nm).response
                pair = simulated(scene.image, ImagingModel(srf, PointSpread.gaussian(RATIO, width)), kind, noise)
                for method in methods:
                    found.setdefault((method, width, kind), []).append(quality(method, pair))
                scores = " ".join(f"{method} {found[method, width, kind][-1]:.2f}" for method in methods)
                print(f"{width} {kind} {scene.name}: {scores}", file=sys.stderr, flush=True)
    heads = [f"{width:g} {kind}" for width in WIDTHS for kind in KINDS]
    print("| method | " + " | ".join(heads) + " |\n| --- |" + " --- |" * len(heads))
    for method in methods:
        means = (np.mean(found[method, width, kind]) for width in WIDTHS for kind in KINDS)
        print(f"| {method} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")


if __name__ == "__main__":
    main()
