"""Names of scenes that were written down in another folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsfuse.scenes import seen_from, short_name


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("a.tif", "in/a.tif"),
        ("sub/S2A.SAFE:20m", "in/sub/S2A.SAFE:20m"),
        ("B*.tif", "in/B*.tif"),
        ("/data/a.tif", "/data/a.tif"),
        ("/vsicurl/https://x.org/a.tif", "/vsicurl/https://x.org/a.tif"),
        ("https://x.org/a.tif", "https://x.org/a.tif"),
        ("s3://x/a.tif", "s3://x/a.tif"),
        ('netcdf:"emit.nc":reflectance', 'netcdf:"in/emit.nc":reflectance'),
        ("HDF5:a.h5://cube", "HDF5:in/a.h5://cube"),
        ("HDF5:/data/a.h5://cube", "HDF5:/data/a.h5://cube"),
    ],
)
def test_relative_names_begin_at_the_folder(source: str, seen: str) -> None:
    assert seen_from(Path("in"), source) == seen


def test_every_file_of_a_list_is_seen_from_the_folder(tmp_path: Path) -> None:
    for name in ("B2.tif", "B3.tif", "a,b.tif"):
        (tmp_path / name).touch()
    assert seen_from(tmp_path, "B2.tif, B3.tif") == f"{tmp_path}/B2.tif,{tmp_path}/B3.tif"
    assert seen_from(tmp_path, "a,b.tif") == f"{tmp_path}/a,b.tif"  # one file, whatever its name
    assert seen_from(tmp_path, "B2.tif,B4.tif") == f"{tmp_path}/B2.tif,B4.tif"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/data/PRS_L2D_STD_2021.v1.he5", "PRS_L2D_STD_2021.v1"),
        ("in/enmap.tar.gz", "enmap"),
        ("S2A.SAFE/", "S2A"),
        ("S2A.SAFE:20m", "S2A"),
        ("b/B2.tif,b/B3.tif", "B2"),
        ("B*.tif", "B_"),
        ('netcdf:"in/emit.nc":reflectance', "emit"),
    ],
)
def test_short_names(source: str, name: str) -> None:
    assert short_name(source) == name
