"""What other programs and libraries see of a result: wavelengths, names, grid and numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.crs import CRS

from hsfuse.scenes import Bands, CogWriter, Encoding, Grid, Scene

if TYPE_CHECKING:
    from pathlib import Path

NM = np.array([490.5, 560.25, 664.9, 2200.0])
NUMBERS = np.random.default_rng(5).integers(100, 9000, (4, 50, 70)).astype(np.float32)


@pytest.fixture
def result(tmp_path: Path) -> Path:
    path = tmp_path / "fused.tif"
    bands = Bands(NM, np.full(4, 10.0), np.ones(4, dtype=bool), tuple(f"{nm:.2f} nm" for nm in NM))
    grid = Grid(70, 50, Affine(10, 0, 5e5, 0, -10, 5e6), CRS.from_epsg(32633))
    with CogWriter(path, grid, bands, Encoding.for_output(4, "uint16", 0), tags={}) as writer:
        writer.write(0, NUMBERS, np.ones((50, 70), dtype=bool))
    return path


@pytest.fixture
def envi(result: Path) -> Path:
    """What `gdal_translate -of ENVI` makes of it."""
    path = result.with_name("converted.img")
    rasterio.shutil.copy(result, path, driver="ENVI")
    path.with_name("converted.img.aux.xml").unlink(missing_ok=True)
    return path


def test_wavelengths_survive_the_way_to_envi(envi: Path) -> None:
    """GDAL writes no `wavelength` there, but the names of the bands, which say it as well."""
    found = Scene.open(envi).bands
    assert found.wavelength_nm == pytest.approx(NM, abs=0.005)


def test_spectral_python_reads_the_envi_file(envi: Path) -> None:
    spectral = pytest.importorskip("spectral")
    image = spectral.open_image(str(envi.with_suffix(".hdr")))
    np.testing.assert_array_equal(np.moveaxis(np.asarray(image.load()), 2, 0), NUMBERS)
    told = [float(re.findall(r"[0-9.]+", name)[0]) for name in image.metadata["band names"]]
    assert told == pytest.approx(NM, abs=0.005)


def test_rioxarray_sees_grid_and_wavelengths(result: Path) -> None:
    rioxarray = pytest.importorskip("rioxarray")
    scene = rioxarray.open_rasterio(result, band_as_variable=True)
    assert scene.rio.crs == CRS.from_epsg(32633)
    assert scene.rio.transform() == Affine(10, 0, 5e5, 0, -10, 5e6)
    assert [float(band.attrs["wavelength"]) for band in scene.data_vars.values()] == pytest.approx(NM)
    assert {band.attrs["wavelength_units"] for band in scene.data_vars.values()} == {"Nanometers"}
