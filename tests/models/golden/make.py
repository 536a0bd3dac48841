"""Make the golden file of every bundled weights file: a pair, its imaging model, and what fusing it gave.

    python tests/models/golden/make.py

The pair is simulated from a corner of the Indian Pines scene (tensorly, CC-BY 3.0). Run this only when weights are
replaced, or when what a network computes is meant to change.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tensorly.datasets import load_indian_pines

from hsfuse.fusion.methods import choose_method
from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, degrade
from hsfuse.models.weights import bundled_weights
from hsfuse.subspace.patch import PairPatch

FOLDER = Path(__file__).parent


def pair() -> dict[str, torch.Tensor]:
    """Y (20, 12, 12), P (4, 36, 36), R and B."""
    scene = load_indian_pines()
    image = np.asarray(scene["tensor"], np.float32).transpose(2, 0, 1)[::10, 20:56, 20:56]
    wavelength = np.array(scene["ticks"][1])[::10]
    srf = SpectralResponse.from_gaussians([490, 560, 665, 842], [66, 36, 31, 106], wavelength)
    model = ImagingModel(srf, PointSpread.gaussian(3, 1.0))
    wald = degrade(np.ascontiguousarray(image), model, snr_hsi=30, snr_msi=35)
    arrays = {"hsi": wald.hsi, "msi": wald.msi, "srf": srf.matrix, "psf": model.psf.kernel}
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def fused(weights: str | None, model: str, given: dict[str, torch.Tensor]) -> torch.Tensor:
    """X by a method, a network with bundled weights or another."""
    srf = given["srf"].numpy()
    response = SpectralResponse(srf, tuple(f"B{band + 1}" for band in range(len(srf))))
    imaging = ImagingModel(response, PointSpread(given["psf"].numpy(), 3))
    method = choose_method(model, weights).method
    fitted = method.fit([PairPatch.all_valid(given["hsi"], given["msi"])], imaging)
    with torch.inference_mode():
        return fitted(given["hsi"], given["msi"])


def golden(name: str) -> dict[str, torch.Tensor]:
    """What is kept for a weights file."""
    return load_file(FOLDER / f"{name}.safetensors")


if __name__ == "__main__":
    for file in bundled_weights():
        given = pair()
        given["fused"] = fused(file.name, file.card.model, given).contiguous()
        save_file(given, FOLDER / f"{file.name}.safetensors")
