"""The noise of a pair, and what degrading takes of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.metrics import spatial_noise, spectral_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.imaging import ImagingModel

LEAST_SPECTRA = 64
"""Valid HSI pixels below which its noise cannot be told."""


def noise_averaged_out(
    hsi: NDArray[np.float32],
    hsi_valid: NDArray[np.bool_],
    msi: NDArray[np.float32],
    msi_valid: NDArray[np.bool_],
    model: ImagingModel,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Standard deviations (C,) and (c,) of the noise that Y and P lose when both are degraded by B.

    What is fitted one Wald level down meets images calmer than those that it is used on, unless they are given this
    noise again.

    Args:
        hsi: Y, shape (C, h, w).
        hsi_valid: Where Y is known, shape (h, w); too few pixels give zeros.
        msi: P, shape (c, r·h, r·w).
        msi_valid: Where P is known, shape (r·h, r·w).
        model: Has B.
    """
    spectra = hsi[:, hsi_valid].T.astype(np.float64)
    enough = len(spectra) >= LEAST_SPECTRA
    of_hsi = spectral_noise(spectra) if enough else np.zeros(len(hsi))
    of_msi = spatial_noise(msi, msi_valid)
    lost = math.sqrt(max(1 - model.blur.noise_gain, 0.0))
    return (of_hsi * lost).astype(np.float32), (of_msi * lost).astype(np.float32)
