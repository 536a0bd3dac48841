"""Rows that are packed as they come, their overviews, and the COG that is laid out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rio_cogeo.cogeo import cog_validate

from hsfuse.errors import WorkError
from hsfuse.scenes import Bands, CogWriter, Encoding, Grid
from hsfuse.scenes.cog_layout import BrokenTiffError, Level, lay_out
from hsfuse.scenes.overviews import halved
from hsfuse.scenes.packed_rows import create_raster

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def grid(width: int, height: int) -> Grid:
    return Grid(width, height, Affine(10, 0, 5e5, 0, -10, 5e6), CRS.from_epsg(32633))


def image(bands: int, height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.integers(1, 3000, (bands, height, width)).astype(np.float32)


def writer(path: Path, values: NDArray[np.float32], dtype: str = "uint16", **more: Any) -> CogWriter:
    bands, height, width = values.shape
    encoding = Encoding.for_output(bands, dtype, more.pop("nodata", None))
    return CogWriter(path, grid(width, height), Bands.unknown(bands), encoding, tags={"made": "here"}, **more)


def write(path: Path, values: NDArray[np.float32], valid: NDArray[np.bool_], step: int, **more: Any) -> Path:
    with writer(path, values, **more) as target:
        for row in range(0, values.shape[1], step):
            target.write(row, values[:, row : row + step], valid[row : row + step])
    return path


@settings(max_examples=12, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 400), st.integers(1, 400), st.sampled_from([64, 100, 256, 999]),
    st.sampled_from(["NO", "YES"]), st.sampled_from([64, 128, 256]), st.sampled_from([0.0, 0.3, 0.999]),
)  # fmt: skip
def test_whatever_its_size_it_reads_as_it_was_written_and_is_a_cog(
    tmp_path_factory: pytest.TempPathFactory,
    bands: int, height: int, width: int, step: int, bigtiff: str, block: int, holes: float,
) -> None:  # fmt: skip
    values = image(bands, height, width)
    valid = np.random.default_rng(1).random((height, width)) >= holes
    options = {"BIGTIFF": bigtiff, "BLOCKSIZE": str(block)}
    path = write(tmp_path_factory.mktemp("cog") / "a.tif", values, valid, step, creation_options=options)
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), np.where(valid, values, 0))
        assert dataset.block_shapes[0] == (block, block)
        assert dataset.tags()["made"] == "here"
    assert cog_validate(path, strict=True) == (True, [], [])
    assert path.read_bytes()[2:4] == (b"\x2b\0" if bigtiff == "YES" else b"\x2a\0")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("nodata", [None, 120])
def test_overviews_are_those_that_gdal_makes(tmp_path: Path, dtype: str, nodata: float | None) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 100, (3, 704, 1032)).astype(np.float32)
    valid = rng.random((704, 1032)) > 0.3
    valid[:300, :300] = False
    path = write(tmp_path / "a.tif", values, valid, 256, dtype=dtype, nodata=nodata)
    with rasterio.open(path) as dataset:
        numbers, profile, factors = dataset.read(), dataset.profile, dataset.overviews(1)
    own = tmp_path / "gdal.tif"
    with rasterio.open(own, "w", **{**profile, "driver": "GTiff"}) as dataset:
        dataset.write(numbers)
        dataset.build_overviews(factors, Resampling.average)
    assert len(factors) == 3
    for level in range(3):
        means, known = zip(*(overview(file, level) for file in (path, own)), strict=True)
        np.testing.assert_array_equal(*known)
        # Each level of integers is rounded anew. Of odd edges GDAL makes windows that are not of whole pixels.
        difference = np.abs(means[0] - means[1])
        assert difference.max() <= (1e-4 if dtype == "float32" else 1 if level else 0)


def overview(path: Path, level: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Its numbers, 0 where there are none, and where there are some."""
    with rasterio.open(path, overview_level=level) as dataset:
        known = dataset.read_masks() > 0
        return np.where(known, dataset.read().astype(float), 0), known


def test_means_stay_off_nodata_and_of_the_type() -> None:
    encoding = Encoding.for_output(2, "int16", 0)
    numbers = np.array([[[-2, 2], [-3, 3]], [[0, 0], [0, 9]]], np.int16)
    np.testing.assert_array_equal(halved(numbers, encoding), [[[1]], [[9]]])
    np.testing.assert_array_equal(halved(numbers[:1], encoding.select([0]), whole=True), [[[1]]])
    floats = Encoding.for_output(1, "float32")
    np.testing.assert_array_equal(halved(np.array([[[np.nan, 1, 5]]], np.float32), floats), [[[1, 5]]])
    large = np.full((1, 2, 2), 2**31 - 1, np.int32)
    assert halved(large, Encoding.for_output(1, "int32")).tolist() == [[[2**31 - 1]]]


def test_statistics_are_those_of_the_valid_numbers(tmp_path: Path) -> None:
    values, valid = image(2, 200, 180), np.ones((200, 180), dtype=bool)
    valid[:100] = False
    with rasterio.open(write(tmp_path / "a.tif", values, valid, 64)) as dataset:
        told = {name: float(value) for name, value in dataset.tags(2).items() if name.startswith("STATISTICS_")}
    own = values[1, 100:]
    assert told == pytest.approx({
        "STATISTICS_MINIMUM": own.min(), "STATISTICS_MAXIMUM": own.max(), "STATISTICS_MEAN": own.mean(),
        "STATISTICS_STDDEV": own.std(), "STATISTICS_VALID_PERCENT": 50,
    })  # fmt: skip
    large = np.broadcast_to(np.float32(9), (1, 600, 600))
    with rasterio.open(write(tmp_path / "b.tif", large, np.ones((600, 600), dtype=bool), 256)) as dataset:
        assert dataset.tags(1)["STATISTICS_APPROXIMATE"] == "YES"
        assert float(dataset.tags(1)["STATISTICS_MEAN"]) == 9
    no = {"STATISTICS": "NO"}
    with rasterio.open(write(tmp_path / "c.tif", values, valid, 64, creation_options=no)) as dataset:
        assert not any(name.startswith("STATISTICS_") for name in dataset.tags(1))


def test_blocks_without_data_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    values, valid = image(2, 512, 512), np.zeros((512, 512), dtype=bool)
    valid[300:, :100] = True
    sparse = write(
        tmp_path / "a.tif", values, valid, 256, nodata=0, creation_options={"SPARSE_OK": "TRUE", "COMPRESS": "NONE"}
    )
    with rasterio.open(sparse) as dataset:
        np.testing.assert_array_equal(dataset.read(), np.where(valid, values, 0))
    assert sparse.stat().st_size < 2 * 2 * 65536 * 2 + 20_000  # a block a band, the overviews, the directories
    assert cog_validate(sparse)[0]


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_writer_goes_on_where_an_earlier_one_was_killed(tmp_path: Path, kept: int) -> None:
    """The same bytes as without interruption, also of overviews, statistics and what was clipped."""
    values = image(3, 1000, 700)
    values[:, 100:110] = -5
    valid = np.random.default_rng(1).random((1000, 700)) > 0.1
    whole = write(tmp_path / "whole.tif", values, valid, 256, allow_clipping=True).read_bytes()
    folder = tmp_path / "kept"
    folder.mkdir()
    first = writer(tmp_path / "a.tif", values, allow_clipping=True, folder=folder)
    for row in range(0, 256 * kept, 256):
        first.write(row, values[:, row : row + 256], valid[row : row + 256])
    first.discard()
    (folder / "rows-00000999.unfinished").write_text("what a kill has left")
    second = writer(tmp_path / "a.tif", values, allow_clipping=True, folder=folder)
    assert second.next_row == 256 * kept
    for row in range(second.next_row, 1000, 256):
        second.write(row, values[:, row : row + 256], valid[row : row + 256])
    second.finish()
    assert (tmp_path / "a.tif").read_bytes() == whole
    assert not folder.exists()


def test_what_is_broken_is_told(tmp_path: Path) -> None:
    values = image(2, 300, 300)
    path = tmp_path / "rows.tif"
    with create_raster(path, grid(300, 300), 2, "uint16", None, COMPRESS="DEFLATE") as dataset:
        dataset.write(values.astype("uint16"))
    level = Level(path, (path,))
    lay_out(level, [], tmp_path / "whole.tif")
    with rasterio.open(tmp_path / "whole.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(), values)
    with pytest.raises(OSError, match="exists"):
        lay_out(level, [], tmp_path / "whole.tif")
    with pytest.raises(BrokenTiffError, match="blocks came where"):
        lay_out(Level(path, (path, path)), [], tmp_path / "twice.tif")
    content = path.read_bytes()
    for length, words in (
        (0, "no little-endian TIFF"),
        (len(content) // 2, "rows.tif"),
        (len(content) - 9, "rows.tif"),
    ):
        path.write_bytes(content[:length])
        with pytest.raises(BrokenTiffError, match=words):
            lay_out(level, [], tmp_path / "broken.tif")
    empty = tmp_path / "empty.tif"
    with create_raster(empty, grid(300, 300), 2, "uint16", None, SPARSE_OK="YES"):
        pass
    with pytest.raises(BrokenTiffError, match="a block was not written"):
        lay_out(Level(empty, (empty,)), [], tmp_path / "empty-cog.tif")


def test_four_gigabytes_that_must_suffice_and_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hsfuse.scenes import cog_layout

    monkeypatch.setattr(cog_layout, "_CLASSIC_END", 50_000)
    values, valid = image(2, 300, 300), np.ones((300, 300), dtype=bool)
    with pytest.raises(WorkError, match="more than 4 GB, and BIGTIFF=NO"):
        write(tmp_path / "a.tif", values, valid, 256, creation_options={"BIGTIFF": "NO"})
    assert not list(tmp_path.iterdir())
    path = write(tmp_path / "a.tif", values, valid, 256)
    assert path.read_bytes()[2:4] == b"\x2b\0"
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), values)


def test_overviews_that_fail_in_their_thread_fail_the_rows(tmp_path: Path) -> None:
    values = image(3, 600, 600)
    target = writer(tmp_path / "a.tif", values)
    target._rows.overviews.close()
    with pytest.raises(ValueError, match="closed"):
        target.write(0, values, np.ones((600, 600), dtype=bool))
    target.discard()
    assert not list(tmp_path.iterdir())
