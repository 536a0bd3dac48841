"""DataArrays in and out, held against the same scenes as files."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

import hsfuse
from hsfuse.errors import PairError, RequestError, SceneError

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

rioxarray = pytest.importorskip("rioxarray", reason="needs the extra xarray")
KNOWN: dict[str, Any] = {"srf": "sentinel-2a", "psf": "gaussian:1", "model": "mtf-glp-subspace"}


def opened(path: Path, **choices: Any) -> xr.DataArray:
    """With what is known of its bands as coordinates."""
    array = rioxarray.open_rasterio(path, **choices)
    with rasterio.open(path) as dataset:
        told = {name: [float(dataset.tags(band)[name]) for band in dataset.indexes] for name in ("wavelength", "fwhm")}
    return array.assign_coords({name: ("band", values, {"units": "nm"}) for name, values in told.items()})


@pytest.fixture
def arrays(crops: list[tuple[Path, Path]]) -> tuple[xr.DataArray, xr.DataArray]:
    hsi, msi = crops[0]
    return opened(hsi), opened(msi)


@pytest.fixture(scope="module")
def of_files(crops: list[tuple[Path, Path]], tmp_path_factory: pytest.TempPathFactory) -> xr.DataArray:
    output = tmp_path_factory.mktemp("files") / "fused.tif"
    hsfuse.fuse(*crops[0], output, form=hsfuse.OutputFormat("float32", nodata=float("nan")), **KNOWN)
    return rioxarray.open_rasterio(output)


def test_it_is_asked_in_the_words_of_arrays() -> None:
    """Both say their keywords and defaults where people look for them; that they are the same is seen to here."""
    asked = [inspect.signature(function).parameters for function in (hsfuse.fuse_arrays, hsfuse.fuse_xarray)]
    arrays, xarrays = ([one for one in each.values() if one.kind is one.KEYWORD_ONLY] for each in asked)
    assert xarrays == arrays
    told = [inspect.getdoc(function) or "" for function in (hsfuse.fuse_arrays, hsfuse.fuse_xarray)]
    lines = [{line.strip() for line in text.splitlines() if line.startswith("    ")} for text in told]
    for option in arrays:
        assert {line for line in lines[0] & lines[1] if line.startswith(f"{option.name}: ")}, option.name


def test_it_is_what_files_give(arrays: tuple[xr.DataArray, xr.DataArray], of_files: xr.DataArray) -> None:
    hsi, msi = arrays
    fused = hsfuse.fuse_xarray(hsi, msi, **KNOWN)
    np.testing.assert_array_equal(fused.to_numpy(), of_files.to_numpy())
    assert fused.rio.crs == of_files.rio.crs == rasterio.CRS.from_epsg(32616)
    assert fused.rio.transform(recalc=True) == of_files.rio.transform()
    np.testing.assert_allclose(fused.x, of_files.x)
    np.testing.assert_allclose(fused.y, of_files.y)
    np.testing.assert_array_equal(fused.wavelength, hsi.wavelength)
    assert fused.dtype == np.float32
    assert (fused.dims, fused.name) == (hsi.dims, hsi.name)
    assert np.isnan(fused.rio.nodata)


def test_it_can_be_written_and_read_again(arrays: tuple[xr.DataArray, xr.DataArray], tmp_path: Path) -> None:
    fused = hsfuse.fuse_xarray(*arrays, **KNOWN)
    fused.rio.to_raster(tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as file:
        assert (file.count, file.width, file.height) == (12, 144, 72)
        assert np.isnan(file.nodata)


def test_other_names_orders_and_units_make_no_difference(
    arrays: tuple[xr.DataArray, xr.DataArray], of_files: xr.DataArray
) -> None:
    """Bands last and named by their wavelengths in µm, reflectance of dask chunks."""
    pytest.importorskip("dask")
    hsi, msi = arrays
    micrometres = ("band", hsi.wavelength.to_numpy() / 1000, {"units": "µm"})
    turned = hsi.assign_coords(wavelength=micrometres).swap_dims(band="wavelength").transpose("y", "x", "wavelength")
    fused = hsfuse.fuse_xarray(turned.chunk({"x": 16}), msi.chunk({"band": 1}), **KNOWN)
    assert fused.dims == ("y", "x", "wavelength")
    np.testing.assert_array_equal(fused.transpose("wavelength", "y", "x").to_numpy(), of_files.to_numpy())


def test_a_part_lies_where_its_coordinates_say(arrays: tuple[xr.DataArray, xr.DataArray]) -> None:
    """The common area of both is fused; what slicing leaves of rioxarray's GeoTransform counts for nothing."""
    hsi, msi = arrays
    fused = hsfuse.fuse_xarray(hsi.isel(x=slice(9, None), y=slice(3, 21)), msi.isel(x=slice(0, 117)), **KNOWN)
    assert (fused.sizes["x"], fused.sizes["y"]) == (90, 54)
    assert float(fused.x[0]) == float(msi.x[27])
    assert float(fused.y[-1]) == float(msi.y[62])
    every_third = slice(1, None, 3)
    with pytest.raises(PairError, match="same pixel size"):
        hsfuse.fuse_xarray(hsi, msi.isel(x=every_third, y=every_third), **KNOWN)


def test_what_is_missing_stays_missing(arrays: tuple[xr.DataArray, xr.DataArray]) -> None:
    hsi, msi = arrays
    hsi = hsi.rio.write_nodata(0).copy()
    hsi[:, 4:8, 10:14] = 0
    fused = hsfuse.fuse_xarray(hsi, msi, **KNOWN)
    missing = np.isnan(fused.to_numpy())
    assert missing[:, 12:24, 30:42].all()
    assert not missing[:, :12].any()


def test_without_coordinates_it_is_the_arrays(arrays: tuple[xr.DataArray, xr.DataArray]) -> None:
    bare = [one.drop_vars(["x", "y", "spatial_ref"]) for one in arrays]
    fused = hsfuse.fuse_xarray(*bare, **KNOWN)
    numbers = [one.to_numpy() for one in arrays]
    bands = {f"hsi_{name}_nm": arrays[0][name].to_numpy() for name in ("wavelength", "fwhm")}
    same = hsfuse.fuse_arrays(*numbers, **bands, **KNOWN)
    np.testing.assert_allclose(fused.to_numpy(), same, rtol=1e-4)


def test_what_is_no_image_is_one_sentence(arrays: tuple[xr.DataArray, xr.DataArray]) -> None:
    hsi, msi = arrays
    wrong = hsi.assign_coords(wavelength=hsi.wavelength.assign_attrs(units="cm-1"))
    with pytest.raises(SceneError, match="hsi: its coordinate wavelength is in 'cm-1'"):
        hsfuse.fuse_xarray(wrong, msi, **KNOWN)
    with pytest.raises(SceneError, match="an axis of bands, rows and columns"):
        hsfuse.fuse_xarray(hsi, msi.isel(band=0), **KNOWN)
    with pytest.raises(SceneError, match="call them y and x"):
        hsfuse.fuse_xarray(hsi.rename(x="i", y="j"), msi, **KNOWN)
    with pytest.raises(SceneError, match="along y are not evenly spaced"):
        hsfuse.fuse_xarray(hsi.isel(y=[0, 1, 3, 4]), msi, **KNOWN)
    with pytest.raises(PairError):
        hsfuse.fuse_xarray(hsi.assign_coords(x=hsi.x + 1e6), msi, **KNOWN)


def test_without_rioxarray_it_is_said_what_to_install() -> None:
    code = (
        "import sys; sys.modules['rioxarray'] = None\n"
        "import hsfuse\n"
        "try: hsfuse.fuse_xarray(None, None)\n"
        "except hsfuse.RequestError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "hsfuse[xarray]"' in done.stdout
    assert issubclass(hsfuse.RequestError, RequestError)
