"""The STAC item beside an output, held against the published schema and against the COG."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import rasterio

import hsfuse
from hsfuse.errors import RequestError
from hsfuse.scenes import Scene
from hsfuse.scenes.stac import when_taken

if TYPE_CHECKING:
    from pathlib import Path

KNOWN: dict[str, Any] = {"model": "bicubic", "srf": "sentinel-2a", "psf": "gaussian:1"}


def test_an_item_is_valid_and_says_what_the_cog_is(crops: list[tuple[Path, Path]], tmp_path: Path) -> None:
    pystac = pytest.importorskip("pystac", reason="needs pystac[validation]")
    validation = pytest.importorskip("pystac.validation")
    pytest.importorskip("jsonschema")
    (tmp_path / "items").mkdir()
    output, place = tmp_path / "fused.tif", tmp_path / "items" / "fused.json"
    made = hsfuse.fuse(*crops[0], output, uncertainty=tmp_path / "sigma.tif", stac=place, **KNOWN)
    told = json.loads(place.read_text())
    validation.validate_dict(told, extensions=[])  # the schemas of extensions are on the network only
    item = pystac.Item.from_dict(told, preserve_dict=True)
    assert item.id == "fused"
    assert (place.parent / told["assets"]["data"]["href"]).resolve() == output
    assert told["assets"]["uncertainty"]["href"] == "../sigma.tif"
    with rasterio.open(output) as cog:
        own = told["properties"]
        assert own["proj:code"] == "EPSG:32616"
        assert own["proj:shape"] == [cog.height, cog.width]
        assert own["proj:transform"] == list(cog.transform)[:6]
        assert own["gsd"] == 20
        bands = told["assets"]["data"]["bands"]
        assert [1000 * band["eo:center_wavelength"] for band in bands] == pytest.approx(
            [float(cog.tags(band)["wavelength"]) for band in cog.indexes]
        )
        assert told["assets"]["data"]["data_type"] == cog.dtypes[0]
        assert told["assets"]["data"]["nodata"] == cog.nodata
    assert sorted(band["eo:common_name"] for band in bands if "eo:common_name" in band) == ["blue", "green", "red"]
    west, south, east, north = item.bbox
    assert -87.1 < west < east < -87.0
    assert 40.4 < south < north < 40.5
    assert told["assets"]["uncertainty"]["nodata"] == "nan"
    assert any("does not say when it was taken" in sentence for sentence in made.warnings)


def test_hsfuse_reads_the_wavelengths_of_its_item(crops: list[tuple[Path, Path]], tmp_path: Path) -> None:
    """Where a program has lost the bands' tags, the item beside the image still says them."""
    output = tmp_path / "fused.tif"
    hsfuse.fuse(*crops[0], output, stac=tmp_path / "fused.json", **KNOWN)
    with rasterio.open(output) as whole:
        numbers, profile = whole.read(), {**whole.profile, "driver": "GTiff"}
        nm = [float(whole.tags(band)["wavelength"]) for band in whole.indexes]
    output.unlink()
    with rasterio.open(output, "w", **profile) as bare:
        bare.write(numbers)
    assert Scene.open(output).bands.wavelength_nm == pytest.approx(nm, abs=0.1)


def test_what_cannot_be_said_is_refused_before_anything_is_fused(
    crops: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    (tmp_path / "there.json").write_text("mine")
    with pytest.raises(RequestError, match=r"there\.json exists"):
        hsfuse.fuse(*crops[0], tmp_path / "fused.tif", stac=tmp_path / "there.json", **KNOWN)
    nowhere = []
    for path in crops[0]:
        with rasterio.open(path) as placed:
            profile, numbers = {**placed.profile, "crs": None}, placed.read()
        nowhere.append(tmp_path / path.name)
        with rasterio.open(nowhere[-1], "w", **profile) as bare:
            bare.write(numbers)
    with pytest.raises(RequestError, match="no CRS: leave out `stac`"):
        hsfuse.fuse(*nowhere, tmp_path / "fused.tif", stac=tmp_path / "item.json", **{**KNOWN, "srf": "estimate"})
    assert {path.name for path in tmp_path.iterdir()} == {"there.json", *(path.name for path in nowhere)}


@pytest.mark.parametrize(
    ("tags", "name", "taken"),
    [
        ({"ACQUISITION_DATE": "2020-07-25T10:31:22Z"}, "a.tif", "2020-07-25T10:31:22+00:00"),
        ({"acquisition time": "2020-07-25T12:31:22+02:00"}, "a.tif", "2020-07-25T10:31:22+00:00"),
        ({"DATE_ACQUIRED": "2020-07-25"}, "a.tif", "2020-07-25T00:00:00+00:00"),
        ({}, "PRS_L2D_STD_20200725103122_20200725103126_0001.he5", "2020-07-25T10:31:22+00:00"),
        ({}, "ENMAP01-____L2A-DT0000001234_20230707T192008Z_001.ZIP", "2023-07-07T19:20:08+00:00"),
        ({"ACQUISITION_DATE": "yesterday"}, "scene_20201399250000.tif", None),
        ({"TIFFTAG_DATETIME": "2020:07:25 10:31:22"}, "a.tif", None),
    ],
)
def test_the_time_is_the_scenes(tags: dict[str, str], name: str, taken: str | None) -> None:
    found = when_taken(tags, name)
    assert (None if found is None else found.isoformat()) == taken
