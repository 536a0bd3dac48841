"""Small pairs with known truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class KnownPair:
    """What the sensors see of a known image."""

    truth: Tensor
    """X, float32 (C, r·h, r·w)."""

    hsi: Tensor
    """Y, float32 (C, h, w)."""

    msi: Tensor
    """P, float32 (c, r·h, r·w)."""

    model: ImagingModel
    """R and B."""

    @property
    def patch(self) -> PairPatch:
        """The whole pair as a patch without holes."""
        return PairPatch.all_valid(self.hsi, self.msi)


def make_pair(
    materials: int,
    *,
    ratio: int = 3,
    bands: int = 24,
    msi_bands: int = 4,
    edge: int = 30,
    noise: float = 0.0,
    fwhm: float = 1.0,
    seed: int = 0,
) -> KnownPair:
    """A linear mixture of smooth spectra with textured abundances that sum to 1, and what is seen of it."""
    generator = np.random.default_rng(seed)
    wavelength = np.linspace(450, 900, bands)
    fields = generator.standard_normal((materials, edge * ratio, edge * ratio))
    fields = 8 * ndimage.gaussian_filter(fields, (0, 1.0, 1.0)) + 60 * ndimage.gaussian_filter(fields, (0, 7, 7))
    abundances = np.exp(fields)
    abundances /= abundances.sum(axis=0)
    spectra = 0.1 + ndimage.gaussian_filter1d(generator.random((materials, bands)), 2, axis=1)
    truth = torch.from_numpy(np.einsum("mc,mhw->chw", spectra, abundances)).float()
    centres = np.linspace(480, 870, msi_bands)
    srf = SpectralResponse.from_gaussians(centres, np.full(msi_bands, 60.0), wavelength)
    model = ImagingModel(srf, PointSpread.gaussian(ratio, fwhm))
    torch.manual_seed(seed)
    hsi, msi = model.blur(truth), model.srf.project(truth)
    return KnownPair(truth, hsi + noise * torch.randn_like(hsi), msi + noise / 2 * torch.randn_like(msi), model)


@pytest.fixture(scope="session")
def known_pair() -> Callable[..., KnownPair]:
    """Makes a `KnownPair`; see `make_pair`."""
    return make_pair


@pytest.fixture(scope="session")
def mixed_pair() -> KnownPair:
    """Six materials, four MSI bands, a little noise."""
    return make_pair(6, noise=0.004)
