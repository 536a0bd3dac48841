"""Where the imaging model of a pair comes from when the user says little."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio

from hsfuse.fusion.opening import open_pair
from hsfuse.imaging import load_srf

from ..commands.conftest import RESPONSE, WAVELENGTH

if TYPE_CHECKING:
    from pathlib import Path

    from hsfuse.pairs.pair import Pair

    from ..commands.conftest import MakePair

SENTINEL = {"SPACECRAFT_NAME": "Sentinel-2B"}


def opened(make_pair: MakePair, **msi: object) -> Pair:
    pair = make_pair(msi=msi)
    return open_pair(pair.hsi, pair.msi, psf="gaussian:0.7")


def test_a_sensor_that_the_msi_names_gives_its_table(make_pair: MakePair) -> None:
    found = opened(make_pair, tags=SENTINEL)
    assert found.srf_source == "sentinel-2b"
    np.testing.assert_array_equal(
        found.imaging.srf.matrix, load_srf("sentinel-2b", WAVELENGTH, np.full(20, 28.5)).response.matrix
    )


def test_band_names_choose_among_the_sensors_bands(make_pair: MakePair) -> None:
    """A file whose bands stand in another order than the sensor's."""
    pair = make_pair()
    with rasterio.open(pair.msi) as dataset:
        turned = dataset.read([4, 3, 2])
    for names in (["B08", "B04", "B03"], ["b8", "b4 (665 nm)", "b3, green"]):
        found = opened(make_pair, numbers=turned, tags=SENTINEL, descriptions=names)
        assert found.srf_source == "sentinel-2b:B8,B4,B3"
        centres = found.imaging.srf.matrix @ WAVELENGTH
        assert centres == pytest.approx([833, 665, 560], abs=15)


def test_names_that_only_count_the_files_bands_choose_nothing(make_pair: MakePair) -> None:
    """Sentinel-2's B1 to B4 are others than its four bands of 10 m, which a file of four bands means."""
    found = opened(make_pair, tags=SENTINEL, descriptions=[f"Band {number}" for number in range(1, 5)])
    assert found.imaging.srf.msi_bands == ("B2", "B3", "B4", "B8")


def test_bands_of_a_sensor_that_are_not_clear_are_estimated(make_pair: MakePair) -> None:
    pair = make_pair()
    with rasterio.open(pair.msi) as dataset:
        three = dataset.read([1, 2, 3])
    found = opened(make_pair, numbers=three, tags=SENTINEL)
    assert found.srf_source == "estimate"
    assert any("sentinel-2b" in warning and "`srf=sentinel-2b:BANDS`" in warning for warning in found.warnings)


def test_an_msi_of_no_known_sensor_is_estimated(make_pair: MakePair) -> None:
    found = opened(make_pair)
    assert (found.srf_source, found.estimate is None) == ("estimate", False)
    assert found.imaging.srf.matrix.shape == RESPONSE.shape


def test_a_band_that_the_hsi_does_not_see_is_left_out(make_pair: MakePair, tmp_path: Path) -> None:
    pair = make_pair()
    with rasterio.open(pair.msi) as dataset:
        numbers = np.concatenate([dataset.read(), dataset.read([1])[:, ::-1]])
    five = make_pair(msi={"numbers": numbers})
    found = open_pair(five.hsi, five.msi, srf="sentinel-2a:B2,B3,B4,B8,B11", psf="gaussian:0.7")
    assert found.scenes.msi_bands == (0, 1, 2, 3)
    assert any("B11 see nothing" in warning for warning in found.warnings)
