"""Published response tables, files that users bring, and R over an HSI's bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hsfuse.errors import ImagingError
from hsfuse.imaging import SensorTable, SpectralResponse, load_srf, load_table, parse_sensor, sensor_names
from hsfuse.imaging.blind.band_shapes import BandShapes

if TYPE_CHECKING:
    from pathlib import Path

# Band centres in nm as the operators publish them.
PUBLISHED = {
    "sentinel-2a": {"B2": 492.7, "B3": 559.8, "B4": 664.6, "B8": 832.8, "B8A": 864.7, "B11": 1613.7, "B12": 2202.4},
    "landsat-8": {"B1": 443, "B2": 482, "B3": 561, "B4": 655, "B5": 865, "B6": 1609, "B7": 2201},
    "landsat-7": {"B1": 479, "B4": 837, "B7": 2209},
    "worldview-2": {"Coastal": 427, "Yellow": 608, "RedEdge": 723, "NIR2": 922},
    "planetscope": {"CoastalBlue": 443, "Red": 665, "NIR": 865},
    "spot-4": {"XS1": 545, "SWIR": 1665},
    "eo1-ali": {"B4": 565, "B10": 2215},
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_bands_lie_where_the_operator_says(name: str) -> None:
    table = load_table(name)
    centre = dict(zip(table.bands, table.centre_nm, strict=True))
    for band, wanted in PUBLISHED[name].items():
        assert centre[band] == pytest.approx(wanted, abs=12 if wanted > 2000 else 8), band


@pytest.mark.parametrize("name", sensor_names())
def test_bundled_tables_are_complete(name: str) -> None:
    table = load_table(name)
    assert table.source
    assert table.response.max(axis=1) == pytest.approx(1)
    assert table.wavelength_nm[0] > 300
    assert table.wavelength_nm[-1] < 2600
    # Nothing is cut off: each band ends in the dark.
    assert table.response[:, [0, -1]].max() < 0.05


def test_names_are_read_kindly() -> None:
    assert parse_sensor("Sentinel_2A").bands == ("B2", "B3", "B4", "B8")
    assert parse_sensor("sentinel-2a:b08,B8a,B02").bands == ("B8", "B8A", "B2")
    assert len(parse_sensor("landsat-8").bands) == 8


def test_unknown_sensors_and_bands_are_refused_with_what_there_is() -> None:
    with pytest.raises(ImagingError, match=r"known are .*sentinel-2a"):
        parse_sensor("sentinel-9")
    with pytest.raises(ImagingError, match=r"no band B77: it has B1, B2"):
        parse_sensor("landsat-8:B77")


@pytest.mark.parametrize(
    "text",
    [
        "wavelength_nm,red,nir\n600,0,0\n650,1,0\n700,0,0\n800,0,2\n900,0,0\n",
        "wavelength (um);red;nir\n0.6;0;0\n0.65;1;0\n0.7;0;0\n0.8;0;2\n0.9;0;0\n",
        "wl\tred\tnir\n0.9\t0\t0\n0.8\t0\t2\n0.7\t0\t0\n0.65\t1\t0\n0.6\t0\t0\n",
        "# A sensor Band red\n0.6 0\n0.65 0.5\n0.7 0\n# A sensor Band nir\n0.7 0\n0.8 2\n0.9 0\n",
        ";; BAND red\n600\t0\t0.1\n650\t1\t0.1\n700\t0\t0\n;; BAND nir\n700\t0\t0\n800\t2\t0\n900\t0\t0\n",
    ],
    ids=["nm, commas", "µm, semicolons", "µm by size, tabs, falling", "blocks in µm", "blocks with spread"],
)
def test_tables_are_read_from_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    table = load_table(path)
    assert table.bands == ("red", "nir")
    assert table.centre_nm == pytest.approx([650, 800], abs=1)
    assert table.sampled(np.array([625.0, 650.0, 850.0])) == pytest.approx(np.array([[0.5, 1, 0], [0, 0, 0.5]]))
    chosen = load_srf(f"{path}:nir", np.arange(500.0, 1000.0, 10))
    assert chosen.response.msi_bands == ("nir",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no response table"),
        ("wavelength\n600\n", "column of wavelengths"),
        ("wavelength,red\n600,0\n650,x\n", "numbers only"),
        ("wavelength,red\n600,0\n650,0\n", "no finite positive response"),
        ("wavelength,red\n600,0\n650,1,2\n", "3 columns where 2"),
        ("wavelength,red,red\n600,0,1\n650,1,2\n", "more than once"),
    ],
)
def test_broken_tables_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ImagingError, match=reason):
        load_table(path)


def _box(low: float, high: float) -> SensorTable:
    grid = np.arange(low - 50, high + 51)
    return SensorTable("box", grid, ("B",), ((grid >= low) & (grid <= high))[None].astype(float))


def test_an_even_response_weighs_every_nanometre_alike() -> None:
    # Dense bands on the left half, sparse ones on the right: the mean of λ under the box must stay its middle.
    wavelength = np.concatenate([np.arange(500.0, 600.0, 2.5), np.arange(600.0, 705.0, 10.0)])
    response, _ = SpectralResponse.from_table(_box(520, 680), wavelength)
    assert (response.matrix @ wavelength)[0] == pytest.approx(600, abs=1.5)


def test_overlapping_detectors_in_any_order_do_not_count_twice() -> None:
    single = np.arange(500.0, 705.0, 5.0)
    overlap = np.arange(590.0, 640.0, 5.0) + 2.0
    doubled = np.concatenate([overlap, single])
    response, _ = SpectralResponse.from_table(_box(520, 680), doubled, np.full(doubled.size, 6.0))
    assert (response.matrix @ doubled)[0] == pytest.approx(600, abs=1.5)
    shuffled = np.random.default_rng(0).permutation(doubled.size)
    again, _ = SpectralResponse.from_table(_box(520, 680), doubled[shuffled], np.full(doubled.size, 6.0))
    np.testing.assert_allclose(again.matrix[0], response.matrix[0][shuffled], atol=1e-12)


def test_an_hsi_band_sees_the_response_through_its_own_width() -> None:
    wavelength = np.arange(500.0, 700.0, 10.0)
    narrow, _ = SpectralResponse.from_table(_box(595, 605), wavelength, np.full(20, 2.0))
    wide, _ = SpectralResponse.from_table(_box(595, 605), wavelength, np.full(20, 30.0))
    assert narrow.matrix[0].max() > 0.95
    assert wide.matrix[0].max() < 0.5


def test_bands_beyond_the_hsi_or_in_its_gaps_get_no_row() -> None:
    visible = np.arange(420.0, 900.0, 10.0)
    loaded = load_srf("landsat-8", visible)
    assert loaded.left_out == ("B6", "B7", "B9")
    assert loaded.msi_index == (0, 1, 2, 3, 4)
    water = np.concatenate([np.arange(420.0, 1340.0, 10.0), np.arange(1440.0, 2400.0, 10.0)])
    assert load_srf("landsat-8", water).left_out == ("B9",)
    with pytest.raises(ImagingError, match="see none of"):
        load_srf("landsat-8:B6,B7", visible)


def test_a_table_needs_wavelengths_and_an_estimate_does_not(tmp_path: Path) -> None:
    with pytest.raises(ImagingError, match="needs the HSI's wavelengths"):
        load_srf("sentinel-2a")
    from hsfuse.imaging import ImagingModel, PointSpread

    ImagingModel(SpectralResponse(np.full((1, 4), 0.25), ("pan",)), PointSpread.gaussian(2, 1.0)).save(
        tmp_path / "imaging.json"
    )
    assert load_srf(str(tmp_path / "imaging.json")).response.msi_bands == ("pan",)


def test_wavelengths_that_are_none_cost_neither_memory_nor_time() -> None:
    table = load_table("sentinel-2a")
    for wavelength, sentence in ((np.array([500.0, 1e9]), "beyond"), (np.array([500.0, np.nan]), "positive")):
        with pytest.raises(ImagingError, match=sentence):
            SpectralResponse.from_table(table, wavelength)
        with pytest.raises(ImagingError, match=sentence):
            BandShapes.of(2, wavelength)
    with pytest.raises(ImagingError, match="beyond"):
        SensorTable("far", np.array([500.0, 1e9]), ("a",), np.ones((1, 2)))
    assert len(BandShapes.of(3, np.array([500.0, 9e4, 600.0])).rows) < 50_000
