"""Synthetic reference scenes for the imaging tests: fields of mixed materials, with spectra that are smooth."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage

from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, WaldPair, degrade

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

WAVELENGTH = np.arange(420.0, 2450.0, 20.0)


def reference(edge: int = 120, seed: int = 0, wavelength: NDArray[np.float64] = WAVELENGTH) -> NDArray[np.float32]:
    """Reflectance (C, edge, edge): a dozen materials in patches, each pixel lit a little differently."""
    random = np.random.default_rng(seed)
    bumps = random.uniform(wavelength.min(), wavelength.max(), (12, 8))
    widths = random.uniform(40, 400, (12, 8))
    heights = random.uniform(-0.25, 0.35, (12, 8))
    shape = np.exp(-0.5 * ((wavelength - bumps[..., None]) / widths[..., None]) ** 2)
    spectra = np.clip(0.25 + (heights[..., None] * shape).sum(axis=1), 0.02, 0.9)  # (12, C)
    fields = ndimage.gaussian_filter(random.standard_normal((12, edge, edge)), (0, 2.5, 2.5))
    material = np.exp(6 * fields / fields.std())
    material /= material.sum(axis=0)
    light = 1 + 0.15 * ndimage.gaussian_filter(random.standard_normal((edge, edge)), 1.0)
    return np.asarray(np.tensordot(spectra.T, material, axes=1) * light, dtype=np.float32)


def noisy_pair(
    srf: SpectralResponse,
    ratio: int = 3,
    fwhm: float | tuple[float, float] = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    *,
    angle: float = 0.0,
    edge: int = 120,
    seed: int = 0,
) -> WaldPair:
    """A pair (HSI 30 dB, MSI 35 dB) of such a scene."""
    model = ImagingModel(srf, PointSpread.gaussian(ratio, fwhm, angle=angle), shift)
    return degrade(reference(edge, seed), model, snr_hsi=30, snr_msi=35, seed=seed)


def row_angles(found: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spectral angles of rows in degrees."""
    cosine = (found * truth).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(truth, axis=1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def editable(pair: WaldPair) -> SimpleNamespace:
    """A patch whose arrays a test may spoil."""
    return SimpleNamespace(
        hsi=pair.hsi.copy(), hsi_valid=pair.hsi_valid.copy(), msi=pair.msi.copy(), msi_valid=pair.msi_valid.copy()
    )


@pytest.fixture
def wavelength() -> NDArray[np.float64]:
    return WAVELENGTH


@pytest.fixture
def make_reference() -> Callable[..., NDArray[np.float32]]:
    return reference


@pytest.fixture
def make_pair() -> Callable[..., WaldPair]:
    return noisy_pair


@pytest.fixture
def angles() -> Callable[..., NDArray[np.float64]]:
    return row_angles


@pytest.fixture
def spoil() -> Callable[[WaldPair], Any]:
    return editable
