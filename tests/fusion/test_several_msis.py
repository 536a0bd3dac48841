"""MSIs of several resolutions: what becomes of their bands, and what is refused."""

from __future__ import annotations

import pickle
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from hsfuse import fuse
from hsfuse.errors import PairError, RequestError
from hsfuse.fusion.compute import CPU
from hsfuse.fusion.opening import open_pair
from hsfuse.fusion.several_msis import open_scenes
from hsfuse.fusion.tiles import Tiling
from hsfuse.pairs.pair import PairRequest
from hsfuse.scenes import PixelWindow, Scene, resolutions

from ..commands.conftest import RATIO, SCALE, TRUTH, WAVELENGTH, make_pair, pair
from ..scenes.readers.conftest import write_safe

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteRaster
    from numpy.typing import NDArray

    from hsfuse.scenes import ScenePair

    from ..commands.conftest import KnownPair, MakePair
    from ..scenes.readers.conftest import Write

__all__ = ["make_pair", "pair", "write_safe"]

NAMES, CENTRES, WIDTHS = ["B5", "B6", "B7"], np.array([705.0, 740.0, 783.0]), np.array([15.0, 15.0, 20.0])


def sharp_bands() -> NDArray[np.float64]:
    """Three narrow bands at the fine pixel."""
    rows = np.exp(-0.5 * ((WAVELENGTH - CENTRES[:, None]) / (WIDTHS[:, None] / 2.3548 + 10)) ** 2)
    return np.einsum("bc,chw->bhw", rows / rows.sum(axis=1, keepdims=True), TRUTH)


SHARP = sharp_bands()


def coarser(image: NDArray[np.float64], ratio: int = 2) -> NDArray[np.float64]:
    return image.reshape(len(image), image.shape[1] // ratio, ratio, image.shape[2] // ratio, ratio).mean(axis=(2, 4))


class MakeCoarse:
    """Writes the three bands at 20 m."""

    def __init__(self, write_raster: WriteRaster) -> None:
        self.write_raster = write_raster

    def __call__(self, name: str = "twenty.tif", *, hole: Any = None, ratio: int = 2, **options: Any) -> Path:
        numbers = np.rint(coarser(SHARP, ratio) / SCALE).astype(np.uint16)
        if hole is not None:
            numbers[:, *hole] = 0
        told = {"pixel": 10.0 * ratio, "scale": SCALE, "nodata": 0, "descriptions": NAMES, "wavelengths": list(CENTRES)}
        return self.write_raster(name, numbers, **(told | options))


@pytest.fixture
def make_coarse(write_raster: WriteRaster) -> MakeCoarse:
    return MakeCoarse(write_raster)


FINE_NAMES = {"descriptions": ["B2", "B3", "B4", "B8"], "wavelengths": [490.0, 560.0, 665.0, 842.0]}


@pytest.fixture
def named(make_pair: MakePair) -> KnownPair:
    return make_pair(msi=FINE_NAMES)


def scenes(hsi: Path, *msis: Path | str, **options: Any) -> ScenePair:
    return open_scenes(PairRequest(hsi, msis, **options), compute=CPU)


def everything(scene: Scene) -> Any:
    return scene.read(scene.grid.window)


# --- what becomes of the bands ---


def test_coarse_bands_join_the_finer_ones_sharpened(named: KnownPair, make_coarse: MakeCoarse) -> None:
    pair = scenes(named.hsi, named.msi, make_coarse())
    msi, fine = pair.msi, Scene.open(named.msi)
    assert msi.bands.names == ("B2", "B3", "B4", "B8", "B5", "B6", "B7")
    assert (msi.grid, pair.ratio, pair.msi_bands) == (fine.grid, RATIO, tuple(range(7)))
    assert msi.bands.wavelength_nm is not None
    assert msi.bands.wavelength_nm[4:].tolist() == CENTRES.tolist()
    block = everything(msi)
    assert block.valid.all()
    np.testing.assert_array_equal(block.values[:4], everything(fine).values)
    bicubic = ndimage.zoom(coarser(SHARP), (1, 2, 2), order=3, mode="nearest", grid_mode=True)
    error, usual = (np.sqrt(np.mean((image - SHARP) ** 2)) for image in (block.values[4:], bicubic))
    assert error < 0.4 * usual
    np.testing.assert_allclose(coarser(block.values[4:]), coarser(SHARP), atol=0.01)


def test_it_does_not_matter_in_which_order_they_are_given(named: KnownPair, make_coarse: MakeCoarse) -> None:
    one, other = (scenes(named.hsi, *msis).msi for msis in ((named.msi, make_coarse()), (make_coarse(), named.msi)))
    assert one.bands.names == other.bands.names
    np.testing.assert_array_equal(everything(one).values, everything(other).values)


def test_a_scene_that_is_named_twice_counts_once(named: KnownPair) -> None:
    found = scenes(named.hsi, named.msi, str(named.msi))
    assert (found.msi.path, found.msi.count) == (str(named.msi), 4)


def test_what_was_sharpened_is_told(named: KnownPair, make_coarse: MakeCoarse, tmp_path: Path) -> None:
    coarse = make_coarse()
    result = fuse(PairRequest(named.hsi, (named.msi, coarse), srf="sentinel-2a"), tmp_path / "out.tif", model="gsa")
    (told,) = result.sharpened
    assert (told.bands, told.pixel, told.ratio) == (("B5", "B6", "B7"), "20 m", 2)
    assert told.fwhm == pytest.approx(0.59, abs=0.05)  # of two fine pixels' variance, a box as wide as a coarse one
    with rasterio.open(result.output) as fused:
        tags = fused.tags()
    assert tags["HSFUSE_SHARPENED"].startswith("B5, B6, B7 from 20 m")
    assert tags["HSFUSE_MSI"] == "msi.tif + twenty.tif"


def test_fusing_gains_by_them(write_raster: WriteRaster, tmp_path: Path) -> None:
    """A ground of more spectra than four bands can tell."""
    rng = np.random.default_rng(4)
    ground = ndimage.gaussian_filter(rng.standard_normal((30, 96, 96)), (2, 2, 2))
    ground = (0.3 + 0.1 * ground / ground.std()).astype(np.float32)
    nm = np.linspace(430, 2450, 30).tolist()
    hsi = write_raster("hsi.tif", coarser(ground, 4), pixel=40, wavelengths=nm)
    fine, narrow = [1, 2, 3, 6], [4, 5, 7, 8, 17, 26]
    csv = tmp_path / "srf.csv"
    error = []
    for number, bands in enumerate((fine, [*fine, *narrow])):
        rows = [f"{nm[band]}," + ",".join(str(float(band == own)) for own in bands) for band in range(30)]
        csv.write_text("\n".join(["wavelength," + ",".join(f"M{band}" for band in bands), *rows]))
        msi = [write_raster("ten.tif", ground[fine], pixel=10)]
        if number:
            msi.append(write_raster("twenty.tif", coarser(ground[narrow]), pixel=20))
        request = PairRequest(hsi, msi, srf=str(csv), psf="gaussian:0.4")
        with rasterio.open(fuse(request, tmp_path / f"{number}.tif", model="bayes").output) as fused:
            error.append(float(np.sqrt(np.mean((fused.read() - ground) ** 2))))
    assert error[1] < 0.9 * error[0]


def test_one_msi_is_fused_as_ever(pair: KnownPair, tmp_path: Path) -> None:
    outputs = []
    for number, msi in enumerate((pair.msi, [pair.msi], (str(pair.msi),))):
        request = PairRequest(pair.hsi, msi, srf=pair.imaging, psf=pair.imaging)
        assert request.msi == str(pair.msi)
        result = fuse(request, tmp_path / f"{number}.tif", model="gsa")
        assert result.sharpened == ()
        outputs.append(result.output.read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def test_three_resolutions_are_sharpened_one_after_another(
    write_raster: WriteRaster, named: KnownPair, make_coarse: MakeCoarse
) -> None:
    hsi = write_raster("far.tif", np.rint(coarser(TRUTH, 12) / SCALE).astype(np.int16), pixel=120, scale=SCALE)
    middle = make_coarse("forty.tif", ratio=4, descriptions=["B9", "B10", "B11"])
    msi = scenes(hsi, middle, make_coarse(), named.msi).msi
    assert [(group.pixel, group.ratio) for group in msi.sharpened] == [("20 m", 2), ("40 m", 4)]
    assert msi.bands.names[-6:] == ("B5", "B6", "B7", "B9", "B10", "B11")
    # The 20 m bands, sharpened before, show what the same bands at 40 m are to look like.
    values = everything(msi).values
    assert np.sqrt(np.mean((values[7:] - values[4:7]) ** 2)) < 0.015


def test_only_what_lies_under_the_hsi_is_sharpened(named: KnownPair, make_coarse: MakeCoarse) -> None:
    coarse = make_coarse()
    whole = scenes(named.hsi, named.msi, coarse)
    part = scenes(named.hsi, named.msi, coarse, window=PixelWindow(20, 15, 8, 8))
    assert part.msi.grid.width <= RATIO * (8 + 6) + 2
    assert part.msi.grid.height <= RATIO * (8 + 6) + 2
    assert part.window == PixelWindow(20, 15, 8, 8)
    ours = part.read(PixelWindow(0, 0, 8, 8)).msi
    theirs = whole.read(PixelWindow(20, 15, 8, 8)).msi
    np.testing.assert_array_equal(ours[:4], theirs[:4])
    assert np.sqrt(np.mean((ours[4:] - theirs[4:]) ** 2)) < 0.005  # statistics of another sample


def test_coregistering_leaves_room_around(named: KnownPair, make_coarse: MakeCoarse) -> None:
    plain, moved = (
        scenes(named.hsi, named.msi, make_coarse(), window=PixelWindow(20, 15, 4, 4), coregister=coregister)
        for coregister in (False, True)
    )
    assert moved.msi.grid.width == plain.msi.grid.width + 2 * 10 * RATIO


def test_where_either_has_no_data_nothing_is_invented(make_pair: MakePair, make_coarse: MakeCoarse) -> None:
    pair = make_pair(msi=FINE_NAMES, msi_hole=(slice(60, 61), slice(90, 92)))
    block = everything(scenes(pair.hsi, pair.msi, make_coarse(hole=(slice(10, 12), slice(5, 6)))).msi)
    expected = np.ones((120, 144), dtype=bool)
    expected[60, 90:92] = False
    expected[20:24, 10:12] = False
    np.testing.assert_array_equal(block.valid, expected)
    far = np.ones_like(expected)
    far[10:34, :24] = False
    assert np.abs(block.values[4:] - SHARP)[:, far & expected].max() < 0.15  # no zeros bled into their surroundings


def test_bands_are_chosen_through_all_of_them(named: KnownPair, make_coarse: MakeCoarse) -> None:
    coarse = make_coarse()
    assert scenes(named.hsi, named.msi, coarse, msi_bands="1,3,6").msi.bands.names == ("B2", "B4", "B6")
    assert scenes(named.hsi, coarse, named.msi, msi_bands="2,4-7").msi.bands.names == ("B2", "B3", "B4", "B8", "B6")
    fine = scenes(named.hsi, named.msi, coarse, msi_bands="1-4")
    assert (fine.msi.path, fine.msi.sharpened) == (str(named.msi), ())


def test_msis_of_one_resolution_are_stacked(named: KnownPair, write_raster: WriteRaster, tmp_path: Path) -> None:
    numbers = np.rint(SHARP / SCALE).astype(np.uint16)
    other = write_raster("other.tif", numbers, pixel=10, scale=SCALE, nodata=0, descriptions=NAMES)
    stacked = scenes(named.hsi, named.msi, other)
    listed = PairRequest(named.hsi, f"{named.msi},{other}").open_scenes()
    assert stacked.msi.sharpened == ()
    assert stacked.msi.bands.names == listed.msi.bands.names
    np.testing.assert_array_equal(everything(stacked.msi).values, everything(listed.msi).values)
    beside = write_raster("beside.tif", numbers, pixel=10, origin=(500_004.0, 5_000_000.0), descriptions=NAMES)
    with pytest.raises(
        PairError, match=r"msi\.tif and .*beside\.tif have pixels of one size, 10 m, that do not coincide"
    ):
        scenes(named.hsi, named.msi, beside)


def test_repeated_pixels_are_not_taken_for_fine_ones(
    make_pair: MakePair, make_coarse: MakeCoarse, write_raster: WriteRaster
) -> None:
    numbers = np.random.default_rng(2).integers(500, 4000, (3, 120, 144)).astype(np.uint16)
    numbers[2] = np.kron(numbers[2, ::2, ::2], np.ones((2, 2), np.uint16))
    stack = write_raster("stack.tif", numbers, pixel=10, descriptions=["B2", "B3", "B8A"])
    pair = scenes(make_pair().hsi, stack, make_coarse())
    assert pair.msi.bands.names == ("B2", "B3", "B5", "B6", "B7")
    assert any("stack.tif: its bands 3 are bad, empty or coarser than its pixels" in text for text in pair.warnings)


def test_misregistered_bands_are_put_right(named: KnownPair, write_raster: WriteRaster) -> None:
    moved = ndimage.shift(SHARP, (0, 0, 1), order=1, mode="nearest")  # half a coarse pixel
    numbers = np.rint(coarser(moved) / SCALE).astype(np.uint16)
    coarse = write_raster("moved.tif", numbers, pixel=20, scale=SCALE, descriptions=NAMES)
    pair = scenes(named.hsi, named.msi, coarse)
    assert any("moved.tif lies 0.5" in warning for warning in pair.warnings)
    inner = np.s_[:, 8:-8, 8:-8]
    straight = everything(pair.msi).values[4:][inner]
    assert np.sqrt(np.mean((straight - SHARP[inner]) ** 2)) < 0.5 * np.sqrt(np.mean((moved[inner] - SHARP[inner]) ** 2))


# --- Sentinel-2 products ---


@pytest.fixture
def hsi_of_safe(write_raster: WriteRaster) -> Path:
    numbers = np.random.default_rng(3).integers(500, 9000, (30, 8, 8)).astype(np.int16)
    return write_raster("hsi.tif", numbers, pixel=30, scale=1e-4, wavelengths=np.linspace(430, 2450, 30).tolist())


TEN = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")


def test_a_safe_gives_its_20_m_bands_too(write_safe: Write, hsi_of_safe: Path) -> None:
    safe = write_safe().path
    assert resolutions(str(safe)) == (f"{safe}:10m", f"{safe}:20m")
    for path in (safe, safe / "MTD_MSIL2A.xml"):
        pair = scenes(hsi_of_safe, path)
        assert pair.msi.bands.names == TEN
        assert (pair.msi.sensor, pair.msi.path) == ("sentinel-2b", str(path))
        assert [group.bands for group in pair.msi.sharpened] == [TEN[4:]]
        cloudy = everything(pair.msi).valid
        assert not cloudy[10:12, 12:14].any()  # flagged by the scene classification
    assert scenes(hsi_of_safe, f"{safe}:10m").msi.bands.names == TEN[:4]
    assert scenes(hsi_of_safe, f"{safe}:20m", ratio=2).msi.bands.names == TEN[4:]
    assert Scene.open(safe).bands.names == TEN[:4]  # alone it is its finest


def test_an_srf_of_four_bands_keeps_a_safe_at_10_m(write_safe: Write, hsi_of_safe: Path) -> None:
    safe = write_safe().path
    assert scenes(hsi_of_safe, safe, srf="sentinel-2b:B2,B3,B4,B8").msi.bands.names == TEN[:4]
    assert scenes(hsi_of_safe, safe, srf="sentinel-2b").msi.bands.names == TEN


def test_a_safe_without_20_m_bands_is_as_ever(write_safe: Write, hsi_of_safe: Path) -> None:
    safe = write_safe(classes=False).path
    for path in [*safe.rglob("*_20m.jp2")]:
        path.unlink()
    assert resolutions(str(safe)) == (str(safe),)
    assert scenes(hsi_of_safe, safe).msi.bands.names == TEN[:4]


def test_nameless_bands_of_sentinel_2_have_its_table(write_raster: WriteRaster) -> None:
    rng = np.random.default_rng(4)
    ground = ndimage.gaussian_filter(rng.standard_normal((30, 96, 96)), (2, 2, 2))
    ground = 0.3 + 0.1 * ground / ground.std()
    hsi = write_raster(
        "hsi.tif", coarser(ground, 4).astype(np.float32), pixel=40, wavelengths=np.linspace(430, 2450, 30).tolist()
    )
    said = {"tags": {"SENSOR": "Sentinel-2A"}}
    ten = write_raster("ten.tif", ground[[1, 2, 3, 6]].astype(np.float32), pixel=10, **said)
    twenty = write_raster("twenty.tif", coarser(ground[[4, 5, 7, 8, 17, 26]]).astype(np.float32), pixel=20, **said)
    found = open_pair(hsi, (ten, twenty), psf="gaussian:1")
    assert found.srf_source == "sentinel-2a:B2,B3,B4,B8,B5,B6,B7,B8A,B11,B12"
    assert open_pair(hsi, ten, psf="gaussian:1").srf_source == "sentinel-2a"


# --- the temporary raster ---


def test_nothing_is_left_behind(
    named: KnownPair, make_coarse: MakeCoarse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    request = PairRequest(named.hsi, (named.msi, make_coarse()), srf="sentinel-2a", psf=named.imaging)
    before = set(tmp_path.rglob("*"))
    fuse(request, tmp_path / "out.tif", model="gsa")
    with pytest.raises(RequestError):
        fuse(request, tmp_path / "other.tif", model="gsa", tiling=Tiling(tile=1, overlap=40))
    assert set(tmp_path.rglob("*")) - before == {tmp_path / "out.tif"}
    found = scenes(named.hsi, *request.msis)
    assert len(list(folder.iterdir())) == 1
    del found
    assert list(folder.iterdir()) == []


def test_a_pickled_scene_reads_the_same_and_removes_nothing(named: KnownPair, make_coarse: MakeCoarse) -> None:
    msi = scenes(named.hsi, named.msi, make_coarse()).msi
    again = pickle.loads(pickle.dumps(msi))  # noqa: S301 (our own)
    np.testing.assert_array_equal(everything(again).values, everything(msi).values)
    del again
    assert everything(msi).valid.all()


# --- what is refused ---


def test_grids_that_do_not_nest_are_refused(named: KnownPair, make_coarse: MakeCoarse) -> None:
    beside = make_coarse(origin=(500_003.0, 5_000_000.0))
    with pytest.raises(PairError, match=r"twenty\.tif \(20 m\) do not lie on whole ones of .*msi\.tif \(10 m\)"):
        scenes(named.hsi, named.msi, beside)
    odd = make_coarse("odd.tif", pixel=25.0)
    with pytest.raises(PairError, match=r"odd\.tif \(25 m\) are 2\.5 times those of .*msi\.tif \(10 m\)"):
        scenes(named.hsi, named.msi, odd)
    away = make_coarse("away.tif", origin=(600_000.0, 5_000_000.0))
    with pytest.raises(PairError, match=r"away\.tif has no pixel in common with what is fused of .*msi\.tif"):
        scenes(named.hsi, named.msi, away)


def test_a_band_that_two_hold_is_refused(named: KnownPair, make_coarse: MakeCoarse) -> None:
    coarse = make_coarse(descriptions=["B05", "B08", "B7"])
    with pytest.raises(RequestError, match=r"band B08 is in .*msi\.tif and in .*twenty\.tif: choose each band once"):
        scenes(named.hsi, named.msi, coarse)
    assert len(scenes(named.hsi, named.msi, coarse, msi_bands="1-5,7").msi_bands) == 6
    numbered = make_coarse("numbered.tif", descriptions=["Band 1", "Band 2", "Band 3"])
    again = make_coarse("again.tif", ratio=4, descriptions=["Band 1", "Band 2", "Band 3"])
    hsi = named.hsi
    assert len(scenes(hsi, named.msi, numbered).msi_bands) == 7
    assert any("again.tif was left out" in text for text in scenes(hsi, named.msi, numbered, again).warnings)


def test_what_is_no_finer_than_the_hsi_is_left_out(named: KnownPair, make_coarse: MakeCoarse) -> None:
    pair = scenes(named.hsi, named.msi, make_coarse("forty.tif", ratio=4))
    assert (pair.msi.path, pair.msi_bands) == (str(named.msi), (0, 1, 2, 3))
    assert any(
        "forty.tif was left out: its pixels (40 m) are no finer than the HSI's (30 m)" in w for w in pair.warnings
    )


def test_requests_that_make_no_sense(named: KnownPair, make_coarse: MakeCoarse) -> None:
    with pytest.raises(RequestError, match="there is no MSI"):
        PairRequest(named.hsi, ())
    with pytest.raises(RequestError, match="is for one MSI, and 2 were given"):
        PairRequest(named.hsi, ("a.tif", "b.tif"), msi_wavelengths="table.txt")
    with pytest.raises(RequestError, match=r"2 MSIs were given: `hsfuse\.open_pair` brings them together"):
        PairRequest(named.hsi, ("a.tif", "b.tif")).open()
    with pytest.raises(RequestError, match="the scene has bands 1 to 7"):
        scenes(named.hsi, named.msi, make_coarse(), msi_bands="1-8")
