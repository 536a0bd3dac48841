"""Classical methods on a fixed protocol, beside the scores of their public implementations.

Reference: AVIRIS Indian Pines as the PyPI package `tensorly` ships it, pixels [0:144, 0:144], 200 bands,
divided by 10,000. MSI: six Gaussian bands. HSI: ratio 4, Gaussian PSF of FWHM 1 HSI pixel, 8 taps. Noise:
none, or white at 35 dB in the MSI and 30 dB in the HSI.

    python examples/benchmarks/protocol.py [METHOD ...]

prints a Markdown table of PSNR, SAM, ERGAS and seconds.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import tensorly.datasets
import torch

from hsfuse.classical import CNMF, GSA, MTFGLP, HySure, SubspaceLinear
from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, degrade, upsample
from hsfuse.metrics import full_reference
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from hsfuse.imaging import WaldPair

RATIO = 4
MSI_CENTRES_NM = (490, 560, 665, 842, 1610, 2190)
MSI_FWHM_NM = (66, 36, 31, 106, 91, 175)

METHODS = {
    "gsa": GSA,
    "mtf-glp": MTFGLP,
    "mtf-glp-subspace": SubspaceLinear,
    "cnmf": CNMF,
    "hysure": HySure,
}

PUBLIC = {
    "hysure": ("38.66 / 1.85 / 0.77, 38 s", "31.44 / 2.47 / 1.15, 37 s"),
    "cnmf": ("37.14 / 1.72 / 0.75, 215 s", "33.91 / 1.87 / 0.88, 116-183 s"),
}
"""Public Python ports of HySure (R and B known) and CNMF (SRF estimated), measured once on two cores."""


def scene(snr_hsi: float | None, snr_msi: float | None) -> WaldPair:
    """The protocol's pair."""
    bunch = tensorly.datasets.load_indian_pines()
    cube = np.ascontiguousarray(np.moveaxis(np.asarray(bunch.tensor), -1, 0)[:, :144, :144], dtype=np.float32)
    wavelength = np.array([float(tick) for tick in bunch.ticks[1]])
    srf = SpectralResponse.from_gaussians(MSI_CENTRES_NM, MSI_FWHM_NM, wavelength)
    model = ImagingModel(srf, PointSpread.gaussian(RATIO, 1.0, taps=8))
    return degrade(cube / 10_000, model, snr_hsi=snr_hsi, snr_msi=snr_msi, seed=0)


def scores(pair: WaldPair, fuse: Callable[[Tensor, Tensor], Tensor]) -> str:
    """PSNR / SAM / ERGAS and seconds of one method on one pair."""
    start = time.perf_counter()
    fused = fuse(torch.from_numpy(pair.hsi), torch.from_numpy(pair.msi)).numpy()
    seconds = time.perf_counter() - start
    found = full_reference(fused, pair.reference, ratio=RATIO, windows=False)
    return f"{found.psnr:.2f} / {found.sam:.2f} / {found.ergas:.2f}, {seconds:.1f} s"


def fitted(name: str, pair: WaldPair) -> Callable[[Tensor, Tensor], Tensor]:
    """A method that is fitted when it is called, so that the fit's time counts."""
    if name == "bicubic":
        return lambda hsi, _: upsample(hsi, RATIO)
    return lambda hsi, msi: METHODS[name].fit([PairPatch.all_valid(hsi, msi)], pair.model)(hsi, msi)


def main() -> None:
    """Print the table."""
    chosen = sys.argv[1:] or ["bicubic", *METHODS]
    pairs = scene(None, None), scene(30, 35)
    print("| method | noise-free | noisy | public port, noise-free | public port, noisy |")
    print("| --- | --- | --- | --- | --- |")
    for name in chosen:
        cells = [scores(pair, fitted(name, pair)) for pair in pairs] + list(PUBLIC.get(name, ("", "")))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
