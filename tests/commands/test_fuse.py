"""The main job: a pair in, a COG with the HSI's spectra on the MSI's pixels out."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from hsfuse import __version__
from hsfuse.commands.fuse import FuseResult, fuse
from hsfuse.errors import OutputError, PairError, RequestError
from hsfuse.fusion.methods import METHODS
from hsfuse.fusion.opening import open_pair
from hsfuse.imaging import ImagingModel
from hsfuse.models.weights import bundled_weights
from hsfuse.scenes import PixelWindow

from .conftest import as_nouns

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .conftest import KnownPair, MakePair

NODATA = -32768


def ready_methods():
    """Methods that need no weights, or have bundled ones."""
    served = {file.card.model for file in bundled_weights()}
    return {name: entry for name, entry in METHODS.items() if not entry.network or name in served}


def run(pair: KnownPair, output: Path, **choices: Any) -> FuseResult:
    """Fuse with the true imaging model and a quick method unless a test says otherwise."""
    known: dict[str, Any] = {"model": "gsa", "srf": pair.imaging, "psf": pair.imaging}
    return fuse(pair.hsi, pair.msi, output, **as_nouns(known | choices))


def numbers(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as dataset:
        return dataset.read()


def reflectance(path: Path) -> NDArray[np.float64]:
    """Scale and offset undone, NaN where nodata."""
    with rasterio.open(path) as dataset:
        values = dataset.read(masked=True).astype(np.float64).filled(np.nan)
        return values * np.array(dataset.scales)[:, None, None] + np.array(dataset.offsets)[:, None, None]


def psnr(fused: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    error = np.nanmean((fused - truth) ** 2, axis=(1, 2))
    return float(np.mean(10 * np.log10(truth.max(axis=(1, 2)) ** 2 / error)))


# --- what comes out ---


def test_every_method_finds_detail_that_the_hsi_has_not(pair: KnownPair, tmp_path: Path) -> None:
    score = {}
    for model, method in ready_methods().items():
        result = run(pair, tmp_path / f"{model}.tif", model=model)
        assert (result.model, result.width, result.height, result.bands) == (model, 144, 120, 20)
        assert (result.weights is None) == (not method.takes_weights)
        score[model] = psnr(reflectance(tmp_path / f"{model}.tif"), pair.truth)
    bicubic = score.pop("bicubic")
    assert bicubic > 15
    assert min(score.values()) > bicubic + 4, (bicubic, score)
    assert score["mgdunlss"] > score["mtf-glp"]


def test_output_lies_and_reads_as_the_contract_says(pair: KnownPair, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    run(pair, output)
    valid, errors, warnings = cog_validate(output)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(pair.hsi) as hsi, rasterio.open(output) as fused:
        assert fused.transform == hsi.transform @ Affine.scale(1 / 3) == Affine(10, 0, 5e5, 0, -10, 5e6)
        assert fused.crs == CRS.from_epsg(32633)
        assert (fused.width, fused.height, fused.count) == (144, 120, 20)
        assert set(fused.dtypes) == {"int16"}
        assert set(fused.nodatavals) == {NODATA}
        assert (fused.scales, fused.offsets) == (hsi.scales, hsi.offsets)
        for band in range(1, 21):
            tags, told = fused.tags(band), hsi.tags(band)
            assert float(tags["wavelength"]) == pytest.approx(float(told["wavelength"]), abs=1e-3)
            assert tags["wavelength_units"] == "Nanometers"
            assert float(tags["fwhm"]) == 28.5
            imagery = fused.tags(band, ns="IMAGERY")
            assert float(imagery["CENTRAL_WAVELENGTH_UM"]) == pytest.approx(float(told["wavelength"]) / 1e3, abs=1e-3)
            assert float(imagery["FWHM_UM"]) == pytest.approx(0.0285, abs=1e-3)
        assert all(fused.descriptions)


def test_output_says_how_it_was_made(pair: KnownPair, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    result = run(pair, output, model="mgdunlss", window=PixelWindow(0, 0, 16, 16))
    with rasterio.open(output) as fused:
        tags = fused.tags()
    assert tags["HSFUSE_VERSION"] == __version__
    assert tags["HSFUSE_MODEL"] == "mgdunlss"
    assert tags["HSFUSE_WEIGHTS"] == result.weights
    assert len(tags["HSFUSE_WEIGHTS_SHA256"]) == 64
    assert tags["HSFUSE_RATIO"] == "3"
    assert "truth.json" in tags["HSFUSE_SRF"]
    assert "truth.json" in tags["HSFUSE_PSF"]
    assert (tags["HSFUSE_HSI"], tags["HSFUSE_MSI"]) == ("hsi.tif", "msi.tif")


def test_nothing_but_the_output_is_left_behind(pair: KnownPair, tmp_path: Path) -> None:
    before = set(tmp_path.rglob("*"))
    run(pair, tmp_path / "out.tif")
    assert set(tmp_path.rglob("*")) - before == {tmp_path / "out.tif"}


@pytest.mark.parametrize("model", ["gsa", "mgdunlss"])
def test_the_same_request_gives_the_same_bytes(pair: KnownPair, tmp_path: Path, model: str) -> None:
    choices = {"model": model, "window": PixelWindow(0, 0, 40, 30), "tile": 20, "overlap": 6}
    first, second = tmp_path / "first.tif", tmp_path / "second.tif"
    run(pair, first, **choices)
    run(pair, second, **choices)
    assert first.read_bytes() == second.read_bytes()


# --- holes ---


def test_holes_come_out_as_nodata_and_no_wider(make_pair: MakePair, tmp_path: Path) -> None:
    pair = make_pair(hsi_hole=(slice(5, 7), slice(10, 13)), msi_hole=(slice(60, 61), slice(90, 92)))
    expected = np.zeros((120, 144), dtype=bool)
    expected[15:21, 30:39] = True
    expected[60, 90:92] = True
    for model in ready_methods():
        output = tmp_path / f"{model}.tif"
        run(pair, output, model=model)
        holes = numbers(output) == NODATA
        assert (holes == expected).all(), model


def test_a_hole_leaves_its_surroundings_as_they_were(make_pair: MakePair, tmp_path: Path) -> None:
    whole, holed = tmp_path / "whole.tif", tmp_path / "holed.tif"
    run(make_pair(), whole)
    run(make_pair(msi_hole=(slice(60, 70), slice(60, 70))), holed)
    difference = np.abs(reflectance(whole) - reflectance(holed))
    assert np.nanmax(difference) < 0.05 * np.ptp(reflectance(whole))
    far = np.delete(difference, np.s_[50:80], axis=2)
    assert np.nanmedian(far) < 1e-3


def test_a_number_missing_in_one_band_is_nodata_in_that_band_alone(make_pair: MakePair, tmp_path: Path) -> None:
    spoiled = make_pair()
    values = reflectance(spoiled.hsi).astype(np.float32)
    values[7, 3, 4] = np.nan
    values[2, 0, 0] = np.inf
    pair = make_pair(hsi={"numbers": values, "scale": 1.0, "offset": 0.0, "nodata": None})
    output = tmp_path / "out.tif"
    result = run(pair, output)
    with rasterio.open(output) as fused:
        assert fused.dtypes[0] == "float32"
        assert math.isnan(fused.nodata)
        holes = np.isnan(fused.read())
    expected = np.zeros((20, 120, 144), dtype=bool)
    expected[7, 9:12, 12:15] = True
    expected[2, :3, :3] = True
    assert (holes == expected).all()
    assert any("2 band(s) lack 0.052 % of their numbers: 3,8" in warning for warning in result.warnings)


# --- parts ---


def test_a_window_is_that_part_of_the_whole(pair: KnownPair, tmp_path: Path) -> None:
    run(pair, tmp_path / "whole.tif", model="bicubic")
    result = run(pair, tmp_path / "part.tif", model="bicubic", window=PixelWindow(10, 5, 20, 12))
    assert (result.width, result.height) == (60, 36)
    with rasterio.open(tmp_path / "part.tif") as part:
        assert part.transform == Affine(10, 0, 5e5 + 300, 0, -10, 5e6 - 150)
    whole, part = numbers(tmp_path / "whole.tif")[:, 15:51, 30:90], numbers(tmp_path / "part.tif")
    rim = slice(9, -9)  # beyond it the cubic kernel feels the window's edge
    # the interpolation rounds in float32, so that a number in 300 falls on the other side of a half
    assert np.abs(part[:, rim, rim].astype(int) - whole[:, rim, rim]).max() <= 1


def test_a_window_over_the_edge_is_cut_with_a_warning(pair: KnownPair, tmp_path: Path) -> None:
    result = run(pair, tmp_path / "out.tif", window=PixelWindow(30, 20, 100, 100))
    assert (result.width, result.height) == (54, 60)
    assert any("30,20,100,100 was cut" in warning for warning in result.warnings)


def test_hsi_bands_in_the_order_asked_for(pair: KnownPair, tmp_path: Path) -> None:
    run(pair, tmp_path / "all.tif", model="bicubic")
    result = run(pair, tmp_path / "some.tif", model="bicubic", hsi_bands="18-20,3-12", psf="gaussian:1", srf="estimate")
    assert result.bands == 13
    order = [17, 18, 19, *range(2, 12)]
    with rasterio.open(tmp_path / "some.tif") as some, rasterio.open(pair.hsi) as hsi:
        found = [float(some.tags(band)["wavelength"]) for band in some.indexes]
        told = [float(hsi.tags(band + 1)["wavelength"]) for band in order]
        assert found == pytest.approx(told, abs=1e-3)
    np.testing.assert_array_equal(numbers(tmp_path / "some.tif"), numbers(tmp_path / "all.tif")[order])


def test_bands_flagged_bad_are_left_out(make_pair: MakePair, pair: KnownPair, tmp_path: Path) -> None:
    with rasterio.open(pair.hsi) as hsi:
        tags = [{**hsi.tags(band), "bbl": "0" if band in {1, 20} else "1"} for band in hsi.indexes]
    result = run(make_pair(hsi={"band_tags": tags}), tmp_path / "out.tif", srf="estimate", model="bicubic")
    assert result.bands == 18
    assert any("1,20" in warning for warning in result.warnings)


def test_msi_bands_choose_those_that_a_sensors_names_stand_for(pair: KnownPair, tmp_path: Path) -> None:
    result = run(pair, tmp_path / "out.tif", msi_bands="4,1-2", srf="sentinel-2a:B8,B2,B3")
    assert result.warnings == ()
    assert psnr(reflectance(tmp_path / "out.tif"), pair.truth) > 20


def test_a_response_for_another_number_of_bands_is_refused(pair: KnownPair, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"has 4 bands, .*msi.tif gives 3"):
        run(pair, tmp_path / "out.tif", msi_bands="1-3")


def test_fewer_bands_than_the_networks_subspace(pair: KnownPair, tmp_path: Path) -> None:
    """Five of the bands: enough for the linear methods, and for the network either enough or refused."""
    choices = {"hsi_bands": "3-7", "srf": "estimate", "psf": "gaussian:0.7"}
    assert run(pair, tmp_path / "gsa.tif", **choices).bands == 5
    with contextlib.suppress(RequestError):
        assert run(pair, tmp_path / "network.tif", **choices, model="mgdunlss").bands == 5


# --- tiles and memory ---


@pytest.mark.parametrize("model", ["gsa", "mtf-glp", "bicubic"])
def test_tiles_do_not_show(pair: KnownPair, tmp_path: Path, model: str) -> None:
    """The project's bound for methods of finite reach: 1e-3 of the range."""
    choices = {"model": model, "dtype": "float32", "nodata": -9.0}
    whole = run(pair, tmp_path / "whole.tif", **choices)
    tiled = run(pair, tmp_path / "tiled.tif", **choices, tile=30)
    assert (whole.tiles, tiled.tiles) == (1, 4)
    one, other = reflectance(tmp_path / "whole.tif"), reflectance(tmp_path / "tiled.tif")
    assert np.abs(one - other).max() < 1e-3 * np.ptp(one)


def test_tile_and_overlap_are_taken_as_given(pair: KnownPair, tmp_path: Path) -> None:
    result = run(pair, tmp_path / "out.tif", tile=12, overlap=4)
    assert (result.tile, result.overlap, result.tiles) == (12, 4, 6 * 5)
    with pytest.raises(RequestError, match=r"tile of 12 HSI pixels is too small for an overlap of 5.*at least 15"):
        run(pair, tmp_path / "other.tif", tile=12, overlap=5)
    assert not (tmp_path / "other.tif").exists()


def test_less_memory_means_smaller_tiles_and_then_a_refusal(pair: KnownPair, tmp_path: Path) -> None:
    plenty = run(pair, tmp_path / "plenty.tif", memory=8 * 2**30)
    little = run(pair, tmp_path / "little.tif", memory=775 * 2**20)
    assert plenty.tiles == 1
    assert little.tiles > 1
    with pytest.raises(RequestError, match=r"do not hold a tile.*`memory`.*`window`"):
        run(pair, tmp_path / "none.tif", memory=2**20)


# --- the output's own options ---


def test_dtype_and_nodata_of_the_users_choice(make_pair: MakePair, tmp_path: Path) -> None:
    pair = make_pair(hsi_hole=(slice(0, 1), slice(0, 1)))
    run(pair, tmp_path / "same.tif")
    run(pair, tmp_path / "float.tif", dtype="float32", nodata=-9999.0)
    with rasterio.open(tmp_path / "float.tif") as fused:
        assert (fused.dtypes[0], fused.nodata) == ("float32", -9999)
        assert (fused.read()[:, :3, :3] == -9999).all()
    same, floating = reflectance(tmp_path / "same.tif"), reflectance(tmp_path / "float.tif")
    assert np.nanmax(np.abs(same - floating)) < 1e-4  # half a step of the int16, and rounding


def test_nodata_that_the_type_cannot_hold_is_refused(pair: KnownPair, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"-32768 is not one of uint16.*`nodata`"):
        run(pair, tmp_path / "out.tif", dtype="uint16")
    with pytest.raises(OutputError, match="cannot be of type complex64"):
        run(pair, tmp_path / "out.tif", dtype="complex64")
    run(pair, tmp_path / "out.tif", dtype="uint16", nodata=65535)
    assert numbers(tmp_path / "out.tif").max() < 65535


def test_creation_options_reach_the_file(pair: KnownPair, tmp_path: Path) -> None:
    run(pair, tmp_path / "out.tif", creation_options={"compress": "LZW"})
    with rasterio.open(tmp_path / "out.tif") as fused:
        assert fused.compression.name == "lzw"
    assert cog_validate(tmp_path / "out.tif")[0]
    with pytest.raises(OutputError, match="COMPRESS=JPEG"):
        run(pair, tmp_path / "jpeg.tif", creation_options={"COMPRESS": "JPEG"})


def test_an_existing_output_stays_unless_told_otherwise(pair: KnownPair, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    output.write_text("mine")
    with pytest.raises(OutputError, match=r"out.tif exists: pass `overwrite=True`"):
        run(pair, output)
    assert output.read_text() == "mine"
    run(pair, output, overwrite=True)
    assert cog_validate(output)[0]


# --- pairs that do not lie well ---


def test_an_msi_beside_the_grid_is_resampled_onto_it(make_pair: MakePair, tmp_path: Path) -> None:
    pair = make_pair(msi={"origin": (5e5 + 4, 5e6 - 3)})
    result = run(pair, tmp_path / "out.tif", allow_shift=True)
    assert result.resampled
    with rasterio.open(tmp_path / "out.tif") as fused:
        assert (fused.transform.a, fused.transform.e) == (10, -10)
        assert (fused.transform.c - 5e5) % 30 == 0  # a corner of the HSI's grid
        assert (fused.transform.f - 5e6) % 30 == 0


def test_misregistration_is_told_refused_and_corrected(make_pair: MakePair, tmp_path: Path) -> None:
    """The MSI says it lies three HSI pixels east and one south of where it does."""
    pair = make_pair(msi={"origin": (5e5 + 90, 5e6 - 30)})
    with pytest.raises(PairError, match=r"misregistered by .* HSI pixels .*`coregister=True`.*`allow_shift=True`"):
        run(pair, tmp_path / "refused.tif")
    assert not (tmp_path / "refused.tif").exists()
    moved = run(pair, tmp_path / "moved.tif", coregister=True)
    assert moved.shift is not None
    assert np.hypot(*moved.shift) == pytest.approx(np.hypot(3, 1), abs=0.5)
    kept = run(pair, tmp_path / "kept.tif", allow_shift=True)
    assert any("misregistered" in warning for warning in kept.warnings)
    with rasterio.open(tmp_path / "moved.tif") as dataset:
        assert dataset.tags()["HSFUSE_SHIFT"].startswith('{"x": ')
        left = round((dataset.transform.c - (5e5 + 90)) / 10)  # the MSI's geolocation is the better one
        top = round((5e6 - 30 - dataset.transform.f) / 10)
    fused = reflectance(tmp_path / "moved.tif")
    truth = pair.truth[:, top : top + fused.shape[1], left : left + fused.shape[2]]
    assert psnr(fused, truth) > 25


# --- requests that cannot be served ---


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"model": "unet"}, "no model 'unet': choose one of stack, mgdunlss, ssrfn, gsa"),
        ({"weights": "mgdunlss-universal"}, "gsa is a classical method and takes no weights"),
        ({"device": "tpu"}, "'tpu' is no device"),
        ({"device": "meta"}, "'meta' is no device"),
        ({"precision": "fp16", "device": "cpu"}, "fp16 is for CUDA"),
        ({"srf": "sentinel-9z"}, "sentinel-9z: no such file and no known sensor"),
        ({"srf": "sentinel-2a:B99"}, "has no band B99"),
        ({"psf": "gaussian:wide"}, "expected gaussian:FWHM"),
        ({"psf": "nowhere.json"}, "nowhere.json: no such file"),
        ({"hsi_bands": "1-99"}, "the scene has bands 1 to 20"),
        ({"msi_bands": "0"}, "the scene has bands 1 to 4"),
        ({"window": PixelWindow(100, 0, 5, 5)}, "100,0,5,5 lies outside"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_is_written(
    pair: KnownPair, tmp_path: Path, choices: dict[str, Any], sentence: str
) -> None:
    before = set(tmp_path.rglob("*"))
    with pytest.raises(RequestError, match=sentence):
        run(pair, tmp_path / "out.tif", **choices)
    assert set(tmp_path.rglob("*")) == before


def test_weights_of_another_model_are_refused(pair: KnownPair, tmp_path: Path) -> None:
    from hsfuse.models.weights import find_weights, save_weights

    bundled = find_weights("mgdunlss-universal")
    other = tmp_path / "other.safetensors"
    save_weights(bundled.network().state_dict(), replace(bundled.card, model="another"), other)
    with pytest.raises(RequestError, match="holds weights of another, not of mgdunlss"):
        run(pair, tmp_path / "out.tif", model="mgdunlss", weights=str(other))


def test_the_imaging_model_is_kept_beside_the_output(pair: KnownPair, tmp_path: Path) -> None:
    known = {"srf": pair.imaging, "psf": pair.imaging}
    kept = tmp_path / "kept.json"
    made = open_pair(pair.hsi, pair.msi, **known)
    fuse(made, tmp_path / "out.tif", model="bicubic", save_imaging=kept)
    assert ImagingModel.load(kept).to_dict() == made.imaging_on_hsi.to_dict()
    fuse(pair.hsi, pair.msi, tmp_path / "again.tif", model="bicubic", srf=str(kept), psf=str(kept))
    with pytest.raises(RequestError, match=r"kept\.json exists"):
        fuse(made, tmp_path / "b.tif", model="bicubic", save_imaging=kept)
    with pytest.raises(RequestError, match="cannot be both"):
        fuse(made, tmp_path / "c.tif", model="bicubic", save_imaging=tmp_path / "c.tif")
    assert not (tmp_path / "b.tif").exists()
