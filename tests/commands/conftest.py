"""A pair whose truth is known: fields of four materials under a box-shaped point spread and a known response."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage

from hsfuse.fusion.compute import Compute
from hsfuse.fusion.job import OutputFormat
from hsfuse.fusion.tiles import Tiling
from hsfuse.training.start import NetworkRequest, TrainingPlan

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteRaster
    from numpy.typing import NDArray

RATIO = 3
ROWS, COLUMNS = 40, 48  # of the HSI
WAVELENGTH = np.linspace(430.0, 1000.0, 20)
FWHM = 28.5
SCALE, OFFSET, NODATA = 1e-4, 0.02, -32768
CENTRES, WIDTHS = np.array([490.0, 560.0, 665.0, 842.0]), np.array([66.0, 36.0, 31.0, 106.0])


def _truth() -> NDArray[np.float64]:
    """Reflectance (C, H, W): smooth spectra, abundances with edges and with texture."""
    rng = np.random.default_rng(11)
    shape = (ROWS * RATIO, COLUMNS * RATIO)
    coarse = ndimage.gaussian_filter(rng.standard_normal((4, *shape)), (0, 5, 5))
    fine = ndimage.gaussian_filter(rng.standard_normal((4, *shape)), (0, 1, 1))
    strength = coarse / coarse.std() + 0.3 * fine / fine.std()
    share = np.exp(2 * strength)
    share /= share.sum(axis=0)
    spectra = ndimage.gaussian_filter1d(rng.uniform(0.05, 0.8, (4, len(WAVELENGTH))), 3, axis=1)
    return np.einsum("kc,khw->chw", spectra, share)


def _response() -> NDArray[np.float64]:
    rows = np.exp(-0.5 * ((WAVELENGTH - CENTRES[:, None]) / (WIDTHS[:, None] / 2.3548)) ** 2)
    return rows / rows.sum(axis=1, keepdims=True)


TRUTH = _truth()
RESPONSE = _response()
BOX = np.full((RATIO, RATIO), 1 / RATIO**2)


@dataclass(frozen=True)
class KnownPair:
    """Files of one pair."""

    hsi: Path
    msi: Path
    reference: Path
    imaging: str
    truth: NDArray[np.float64]


class MakePair:
    """Writes the known pair, with holes, types, or places of a test's own."""

    def __init__(self, write_raster: WriteRaster, folder: Path) -> None:
        self.write_raster = write_raster
        self.folder = folder

    def __call__(
        self,
        *,
        hsi_hole: tuple[slice, slice] | None = None,
        msi_hole: tuple[slice, slice] | None = None,
        hsi: dict[str, Any] | None = None,
        msi: dict[str, Any] | None = None,
    ) -> KnownPair:
        coarse = TRUTH.reshape(len(TRUTH), ROWS, RATIO, COLUMNS, RATIO).mean(axis=(2, 4))
        hsi_numbers = self._numbers(coarse, hsi_hole)
        msi_numbers = np.rint(np.einsum("bc,chw->bhw", RESPONSE, TRUTH) / SCALE).astype(np.uint16)
        if msi_hole is not None:
            msi_numbers[:, *msi_hole] = 0
        placed: dict[str, Any] = {"scale": SCALE, "offset": OFFSET, "nodata": NODATA}
        tags = [{"wavelength": f"{nm:.3f}", "wavelength_units": "nm", "fwhm": f"{FWHM}"} for nm in WAVELENGTH]
        imaging = self.folder / "truth.json"
        imaging.write_text(json.dumps(self._imaging()))
        hsi_facts = {"numbers": hsi_numbers, "pixel": 30.0, "band_tags": tags} | placed | (hsi or {})
        msi_facts = {"numbers": msi_numbers, "pixel": 10.0, "scale": SCALE, "nodata": 0} | (msi or {})
        reference_facts = {"numbers": self._numbers(TRUTH, None), "pixel": 10.0, "band_tags": tags} | placed
        return KnownPair(
            self.write_raster("hsi.tif", **hsi_facts),
            self.write_raster("msi.tif", **msi_facts),
            self.write_raster("reference.tif", **reference_facts),
            str(imaging),
            TRUTH,
        )

    @staticmethod
    def _numbers(values: NDArray[np.float64], hole: tuple[slice, slice] | None) -> NDArray[np.int16]:
        numbers = np.rint((values - OFFSET) / SCALE).astype(np.int16)
        if hole is not None:
            numbers[:, *hole] = NODATA
        return numbers

    @staticmethod
    def _imaging() -> dict[str, Any]:
        """In the words of the contract, not written by the program under test."""
        return {
            "format": "hsfuse-imaging/1",
            "ratio": RATIO,
            "srf": {
                "hsi_wavelength_nm": WAVELENGTH.tolist(),
                "msi_bands": ["B2", "B3", "B4", "B8"],
                "matrix": RESPONSE.tolist(),
            },
            "psf": {"kernel": BOX.tolist(), "fwhm_hsi_pixels": [1.0, 1.0], "pixel_size": "msi"},
            "shift_hsi_pixels": {"x": 0.0, "y": 0.0},
            "residual": {"srf": 0.0, "psf": 0.0},
        }


NOUNS = {
    "compute": (Compute, ("device", "precision", "memory")),
    "tiling": (Tiling, ("tile", "overlap")),
    "form": (OutputFormat, ("dtype", "nodata", "creation_options")),
    "network": (NetworkRequest, ("spectral", "init", "preset", "ablate")),
    "plan": (
        TrainingPlan,
        (
            "epochs",
            "steps",
            "seconds",
            "batch",
            "patch",
            "learning_rate",
            "val",
            "patience",
            "optimiser",
            "accumulate",
            "gradient_checkpointing",
            "deterministic",
        ),
    ),
}


def as_nouns(choices: dict[str, Any]) -> dict[str, Any]:
    """Keywords of `fuse`, those that belong to a noun made into it."""
    found = dict(choices)
    for name, (kind, fields) in NOUNS.items():
        given = {field: found.pop(field) for field in fields if field in found}
        if given:
            found[name] = kind(**given)
    return found


@pytest.fixture
def make_pair(write_raster: WriteRaster, tmp_path: Path) -> MakePair:
    return MakePair(write_raster, tmp_path)


@pytest.fixture
def pair(make_pair: MakePair) -> KnownPair:
    return make_pair()
