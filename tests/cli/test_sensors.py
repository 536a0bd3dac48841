"""`hsfuse sensors`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.imaging import load_table

if TYPE_CHECKING:
    from .conftest import RunHere


def test_the_list_names_every_sensor_its_bands_and_its_source(hsfuse: RunHere) -> None:
    told = hsfuse("sensors")
    assert told.status == 0
    text = " ".join(told.stdout.split())
    assert "B8 833 (105)" in text
    content = json.loads(hsfuse("sensors", "--json").stdout)["sensors"]
    assert [sensor["name"] for sensor in content if not sensor["source"]] == []
    assert all(sensor["name"] in text for sensor in content)
    (landsat,) = [sensor for sensor in content if sensor["name"] == "landsat-8"]
    assert [band["name"] for band in landsat["bands"]] == list(load_table("landsat-8").bands)
    assert landsat["bands"][3] == {"name": "B4", "centre_nm": 654.6, "fwhm_nm": 37.5, "default": True}


def test_one_sensor_band_by_band(hsfuse: RunHere) -> None:
    told = hsfuse("sensors", "SENTINEL-2A").stdout
    rows = {line.split()[0]: line for line in told.splitlines() if line.split()[:1]}
    assert rows["B8"].split()[1:] == ["832.8", "105.0", "used"]
    assert rows["B8A"].rstrip().endswith("left out")
    assert "13 bands, 410 to 2325 nm, source: ESA, " in told
    content = json.loads(hsfuse("sensors", "sentinel-2a", "--json").stdout)
    assert np.array(content["response"]).shape == (13, len(content["wavelength_nm"]))


def test_a_name_that_is_near_is_proposed(hsfuse: RunHere) -> None:
    ended = hsfuse("sensors", "landsat8a", "--json")
    assert (ended.status, ended.stdout) == (2, "")
    assert "did you mean landsat-8?" in ended.stderr
