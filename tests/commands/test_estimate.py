"""The imaging model of a pair, estimated and written in the contract's format."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio

from hsfuse.commands.estimate import estimate
from hsfuse.commands.fuse import fuse
from hsfuse.errors import OutputError, PairError

from .conftest import RESPONSE, WAVELENGTH

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import KnownPair, MakePair


def test_a_pair_gives_its_imaging_model_which_fuse_takes(pair: KnownPair, tmp_path: Path) -> None:
    path = tmp_path / "imaging.json"
    result = estimate(pair.hsi, pair.msi, path)
    assert result.output == path
    found = json.loads(path.read_text())
    assert (found["format"], found["ratio"], found["psf"]["pixel_size"]) == ("hsfuse-imaging/1", 3, "msi")
    assert found["srf"]["hsi_wavelength_nm"] == pytest.approx(WAVELENGTH.tolist(), abs=1e-3)
    matrix, kernel = np.array(found["srf"]["matrix"]), np.array(found["psf"]["kernel"])
    assert matrix.shape == RESPONSE.shape
    assert len(found["srf"]["msi_bands"]) == 4
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    assert kernel.sum() == pytest.approx(1)
    # a box of three pixels, as wide as a Gaussian of the same standard deviation √((3² − 1) / 12)
    assert found["psf"]["fwhm_hsi_pixels"] == pytest.approx([0.641, 0.641], abs=0.15)
    assert abs(found["shift_hsi_pixels"]["x"]) + abs(found["shift_hsi_pixels"]["y"]) < 0.1
    assert set(found["residual"]) == {"srf", "psf"}
    assert max(found["residual"].values()) < 0.05
    # what the response is for: the MSI as the HSI sees it
    degraded = np.einsum("bc,chw->bhw", matrix, pair.truth)
    exact = np.einsum("bc,chw->bhw", RESPONSE, pair.truth)
    assert np.abs(degraded - exact).mean() < 0.02 * exact.mean()

    fuse(pair.hsi, pair.msi, tmp_path / "fused.tif", model="gsa", srf=str(path), psf=str(path))
    with rasterio.open(tmp_path / "fused.tif") as fused:
        assert "imaging.json" in fused.tags()["HSFUSE_SRF"]


def test_a_known_response_is_kept(pair: KnownPair, tmp_path: Path) -> None:
    estimate(pair.hsi, pair.msi, tmp_path / "imaging.json", srf=pair.imaging)
    found = json.loads((tmp_path / "imaging.json").read_text())
    np.testing.assert_allclose(found["srf"]["matrix"], RESPONSE, atol=1e-6)
    assert found["srf"]["msi_bands"] == ["B2", "B3", "B4", "B8"]


def test_an_existing_file_stays_unless_told_otherwise(pair: KnownPair, tmp_path: Path) -> None:
    path = tmp_path / "imaging.json"
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"imaging.json exists: pass `overwrite=True`"):
        estimate(pair.hsi, pair.msi, path)
    assert path.read_text() == "mine"
    estimate(pair.hsi, pair.msi, path, srf=pair.imaging, psf=pair.imaging, overwrite=True)
    assert json.loads(path.read_text())["ratio"] == 3


def test_where_nothing_can_be_written_nothing_is(make_pair: MakePair, tmp_path: Path) -> None:
    pair = make_pair()
    known = {"srf": pair.imaging, "psf": pair.imaging}
    with pytest.raises(OutputError, match="does not exist"):
        estimate(pair.hsi, pair.msi, tmp_path / "missing" / "imaging.json", **known)
    with pytest.raises(OutputError, match="cannot be written"):
        estimate(pair.hsi, pair.msi, "/proc/imaging.json", **known)
    apart = make_pair(msi={"origin": (7e5, 5e6)})
    with pytest.raises(PairError, match="do not overlap"):
        estimate(apart.hsi, apart.msi, tmp_path / "imaging.json")
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".tif", ".tif", ".tif"]
