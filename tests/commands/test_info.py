"""What a scene is, and whether two can be fused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import rasterio

from hsfuse.commands.info import info

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteRaster

    from .conftest import KnownPair, MakePair


def test_a_pair_that_can_be_fused_in_either_order(pair: KnownPair) -> None:
    for paths in ((pair.hsi, pair.msi), (pair.msi, pair.hsi)):
        verdict = info(paths).pair
        assert verdict is not None
        assert (verdict.hsi, verdict.msi) == (str(pair.hsi), str(pair.msi))
        assert (verdict.fusible, verdict.reason, verdict.ratio) == (True, None, 3)
        assert (verdict.overlap, verdict.resampled) == ((48, 40), False)


def test_a_pair_is_only_of_two(pair: KnownPair) -> None:
    assert info([pair.hsi]).pair is None
    result = info([pair.hsi, pair.msi, pair.reference])
    assert result.pair is None
    assert [told.scene.count for told in result.scenes] == [20, 4, 20]


def test_a_pair_that_cannot_be_fused_says_why(make_pair: MakePair) -> None:
    apart = make_pair(msi={"origin": (7e5, 5e6)})
    verdict = info([apart.hsi, apart.msi]).pair
    assert verdict is not None
    assert not verdict.fusible
    assert verdict.reason is not None
    assert "do not overlap" in verdict.reason
    near = make_pair(msi={"pixel": 26.0})
    verdict = info([near.hsi, near.msi]).pair
    assert verdict is not None
    assert "next to nothing to sharpen" in str(verdict.reason)


def test_a_ratio_that_is_not_whole_is_told(make_pair: MakePair) -> None:
    odd = make_pair(msi={"pixel": 12.5})
    verdict = info([odd.hsi, odd.msi]).pair
    assert verdict is not None
    assert (verdict.fusible, verdict.ratio, verdict.resampled) == (True, 2, True)
    assert any("output's pixels are 15 m" in text and "the MSI's 12.5 m" in text for text in verdict.warnings)


def test_bad_bands_and_sensor_are_told(write_raster: WriteRaster) -> None:
    numbers = np.full((4, 9, 9), 7, np.uint16)
    numbers[2] = 0
    told = info([write_raster("S2A_x.tif", numbers, nodata=0)]).scenes[0]
    assert told.scene.bands.good.tolist() == [True, True, False, True]
    assert told.scene.bad_bands == {2: "no data"}
    assert told.scene.sensor == "sentinel-2a"
    assert {"B2", "B8A"} <= set(told.srf_table)


def test_where_a_pair_lies_and_what_to_type(pair: KnownPair) -> None:
    told = info([pair.msi, pair.hsi])
    for scene in told.scenes:
        assert scene.extent is not None
        assert -180 < scene.extent.west < scene.extent.east < 180
        assert -90 < scene.extent.south < scene.extent.north < 90
    assert told.pair is not None
    assert told.pair.overlap_share == 1
    assert told.pair.next_command == f"hsfuse fuse --hsi {pair.hsi} --msi {pair.msi} -o fused.tif"


def test_the_noise_that_was_added_is_told_for_many_and_for_few_bands(write_raster: WriteRaster) -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:60, :60] / 60
    wave = np.stack([np.sin(3 * rows + k) * np.cos(2 * columns - k) for k in range(4)])
    for bands, tolerance in ((30, 2.0), (4, 2.0)):
        clean = 0.3 + 0.05 * np.tensordot(rng.random((bands, 4)), wave, axes=1)
        snr = np.linspace(25, 40, bands)
        sigma = np.sqrt((clean**2).mean(axis=(1, 2)) / 10 ** (snr / 10))
        noisy = clean + sigma[:, None, None] * rng.standard_normal(clean.shape)
        found = info([write_raster(f"{bands}.tif", noisy.astype(np.float32))]).scenes[0].snr_db
        assert found is not None
        np.testing.assert_allclose(found, snr, atol=tolerance)


def test_a_few_pixels_tell_no_noise(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", np.full((4, 3, 3), 7, np.uint16))
    told = info([path]).scenes[0]
    assert told.snr_db is not None
    assert np.isnan(told.snr_db).all()  # nine pixels tell no noise


def test_an_hsi_of_finer_pixels_is_still_the_hsi(write_raster: WriteRaster) -> None:
    rng = np.random.default_rng(0)
    hsi = write_raster("hsi.tif", rng.integers(1, 99, (30, 60, 60)).astype(np.uint8), pixel=5)
    msi = write_raster("msi.tif", rng.integers(1, 99, (6, 10, 10)).astype(np.uint8), pixel=30)
    verdict = info([msi, hsi]).pair
    assert verdict is not None
    assert (verdict.hsi, verdict.fusible) == (str(hsi), False)


def test_which_srf_would_be_used(pair: KnownPair) -> None:
    verdict = info([pair.hsi, pair.msi]).pair
    assert verdict is not None
    assert verdict.srf == "estimate"
    with rasterio.open(pair.msi, "r+") as file:
        file.update_tags(SATELLITE="Sentinel-2A")
    verdict = info([pair.hsi, pair.msi]).pair
    assert verdict is not None
    assert verdict.srf is not None
    assert verdict.srf.startswith("sentinel-2a")


def test_the_command_that_gives_a_scene_its_crs(make_pair: MakePair) -> None:
    bare = make_pair(msi={"crs": None})
    verdict = info([bare.hsi, bare.msi]).pair
    assert verdict is not None
    assert (verdict.fusible, verdict.srf) == (False, None)
    assert verdict.next_command == f"rio edit-info --crs EPSG:32633 {bare.msi}"


def test_what_is_no_scene_is_refused(tmp_path: Path) -> None:
    found = info([tmp_path / "nowhere.tif"])
    assert not found.scenes
    assert "no such file" in found.unreadable[0]
