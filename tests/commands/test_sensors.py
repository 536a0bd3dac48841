"""The tables that come with hsfuse, as Python gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import hsfuse
from hsfuse.errors import ImagingError

if TYPE_CHECKING:
    from pathlib import Path


def test_every_sensor_has_bands_with_centres_widths_and_a_source() -> None:
    tables = hsfuse.list_sensors()
    names = [table.name for table in tables]
    assert names == sorted(names)
    assert {"sentinel-2a", "landsat-8", "worldview-3"} <= set(names)
    for table in tables:
        assert table.source
        assert (np.diff(np.argsort(table.centre_nm)) != 0).all()
        assert (table.fwhm_nm > 5).all()
        assert (table.fwhm_nm < 400).all()


def test_one_sensor_as_its_agency_describes_it() -> None:
    """ESA's centres and widths of Sentinel-2A, from the user guide; they differ by how an edge is defined."""
    table = hsfuse.show_sensor("Sentinel_2A")
    found = dict(zip(table.bands, zip(table.centre_nm, table.fwhm_nm, strict=True), strict=True))
    for band, centre, width in (("B2", 492.7, 65), ("B4", 664.6, 30), ("B8A", 864.7, 21), ("B11", 1613.7, 90)):
        assert found[band] == (pytest.approx(centre, abs=1), pytest.approx(width, abs=2)), band


def test_a_table_of_ones_own_and_one_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("nm,A,B\n500,0,1\n510,1,1\n520,0,0.5\n530,0,0\n")
    table = hsfuse.show_sensor(str(path))
    assert table.fwhm_nm.tolist() == [10.0, 20.0]  # B starts high at the table's first wavelength
    with pytest.raises(ImagingError, match=r"did you mean sentinel-2"):
        hsfuse.show_sensor("sentinel-2")
