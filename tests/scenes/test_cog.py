"""The writer of results: a valid COG with everything a user's other programs look for, or nothing at all."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rio_cogeo.cogeo import cog_validate

from hsfuse.errors import OutputError, WorkError
from hsfuse.scenes import Bands, CogWriter, Encoding, Grid, PixelWindow, Scene
from hsfuse.scenes.cog import _check_whole

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RNG = np.random.default_rng(3)


def grid(width: int = 70, height: int = 50) -> Grid:
    return Grid(width, height, Affine(10, 0, 5e5, 0, -10, 5e6), CRS.from_epsg(32633))


def bands(count: int = 3) -> Bands:
    return Bands(
        np.array([450.5, 660.25, 2200.0, 2300.0])[:count], np.array([7.0, 8.5, 9.0, 9.5])[:count],
        np.ones(count, dtype=bool), ("",) * count,
    )  # fmt: skip


def writer(path: Path, **changes: Any) -> CogWriter:
    facts: dict[str, Any] = {
        "grid": grid(), "bands": bands(), "dtype": "int16", "nodata": -32768, "scales": 1e-4, "offsets": 0.0,
        "tags": {"made": "here"},
    } | changes  # fmt: skip
    encoding = [facts.pop(name) for name in ("dtype", "nodata", "scales", "offsets")]
    return CogWriter(path, encoding=Encoding.for_output(len(facts["bands"]), *encoding), **facts)


def fill(target: CogWriter, values: NDArray[Any], valid: NDArray[np.bool_] | None = None, step: int = 17) -> None:
    mask = np.ones(values.shape[1:], dtype=bool) if valid is None else valid
    for row in range(0, values.shape[1], step):
        target.write(row, values[:, row : row + step].astype(np.float32), mask[row : row + step])


def write(path: Path, values: NDArray[Any], valid: NDArray[np.bool_] | None = None, **changes: Any) -> Path:
    with writer(path, **changes) as target:
        fill(target, values, valid)
    return path


def cube(height: int = 50, width: int = 70) -> NDArray[np.float32]:
    return RNG.uniform(0.01, 0.9, (3, height, width)).astype(np.float32)


# --- what is in the file ---


def test_the_file_says_all_that_it_was_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", cube(), offsets=np.full(3, -0.1))
    with rasterio.open(path) as dataset:
        assert (dataset.width, dataset.height, dataset.count, dataset.dtypes) == (70, 50, 3, ("int16",) * 3)
        assert dataset.crs.to_epsg() == 32633
        assert dataset.transform == grid().transform
        assert dataset.nodatavals == (-32768,) * 3
        assert dataset.scales == (1e-4,) * 3
        assert dataset.offsets == (-0.1,) * 3
        assert dataset.tags()["made"] == "here"
        assert dataset.descriptions == ("Band 1 (450.5 nm)", "Band 2 (660.25 nm)", "Band 3 (2200 nm)")
        told = {name: value for name, value in dataset.tags(2).items() if not name.startswith("STATISTICS_")}
        assert told == {"wavelength": "660.25", "wavelength_units": "Nanometers", "fwhm": "8.5"}
        assert dataset.tags(2, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.66025", "FWHM_UM": "0.0085"}


@pytest.mark.parametrize("size", [(50, 70), (300, 700), (1100, 600)])
def test_it_is_a_valid_cog(tmp_path: Path, size: tuple[int, int]) -> None:
    height, width = size
    values = np.broadcast_to(np.linspace(0.1, 0.8, width, dtype=np.float32), (3, height, width))
    path = write(tmp_path / "a.tif", values, grid=grid(width, height))
    valid, errors, warnings = cog_validate(path)
    assert valid, errors
    assert not warnings
    with rasterio.open(path) as dataset:
        assert max(dataset.shape) // max(dataset.overviews(1), default=1) <= 512
        assert dataset.block_shapes[0] == (256, 256)
        assert dataset.compression.name == "deflate"
        assert dataset.interleaving.name != "pixel"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
def test_every_type_comes_back(tmp_path: Path, dtype: str) -> None:
    scale = 1.0 if dtype.startswith("float") else 0.005
    values, valid = cube(), RNG.random((50, 70)) < 0.9
    path = write(tmp_path / "a.tif", values, valid, dtype=dtype, nodata=None, scales=np.full(3, scale))
    scene = Scene.open(path)
    block = scene.read(scene.grid.window)
    assert scene.dtype == dtype
    np.testing.assert_array_equal(block.valid, valid)
    tolerance = 1e-6 if scale == 1 else scale / 2 + 1e-6
    np.testing.assert_allclose(block.values[:, valid], values[:, valid], atol=tolerance)
    assert scene.bands.wavelength_nm == pytest.approx([450.5, 660.25, 2200.0])
    assert scene.bands.fwhm_nm == pytest.approx([7, 8.5, 9])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.sampled_from([-32768, 0, 500, 32767]), st.integers(1, 60))
def test_a_scene_copied_through_the_writer_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, seed: int, nodata: int, step: int
) -> None:
    """Numbers survive being scaled and unscaled to the last bit; but nodata's own is not free."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(-32768, 32768, (3, 50, 70))
    numbers[numbers == nodata] = nodata - 1 if nodata > 0 else nodata + 1
    valid = rng.random((50, 70)) < 0.8
    path = tmp_path_factory.mktemp("copy") / "a.tif"
    with writer(path, nodata=nodata, offsets=np.full(3, 0.25)) as target:
        fill(target, numbers * 1e-4 + 0.25, valid, step)
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), np.where(valid, numbers, nodata))


def test_valid_values_never_read_as_nodata(tmp_path: Path) -> None:
    values = np.zeros((3, 50, 70), np.float32)
    for dtype, nodata in (("uint16", 0), ("int16", 0), ("float32", 0.0), ("uint8", None)):
        path = write(tmp_path / f"{dtype}.tif", values, dtype=dtype, nodata=nodata, scales=np.ones(3))
        with rasterio.open(path) as dataset:
            numbers = dataset.read()
        assert (numbers != 0).all()
        assert numbers.max() <= 1


def test_values_beyond_the_type_are_clipped(tmp_path: Path) -> None:
    values = np.full((3, 50, 70), 99.0, np.float32)
    values[0] = -99
    values[1, 0, 0] = np.nan
    valid = np.ones((50, 70), dtype=bool)
    valid[0, 0] = False
    with rasterio.open(write(tmp_path / "a.tif", values, valid, allow_clipping=True)) as dataset:
        numbers = dataset.read()
    assert numbers[:, 0, 0].tolist() == [-32768] * 3
    # -32768 is nodata, so the least valid number is the next one.
    assert numbers[:, 9, 9].tolist() == [-32767, 32767, 32767]


def test_what_is_not_finite_is_nodata_in_its_band_alone(tmp_path: Path) -> None:
    values = cube()
    values[1, 7, 8], values[2, 30, 40] = np.nan, np.inf
    with rasterio.open(write(tmp_path / "a.tif", values, nodata=None)) as dataset:
        lost = [np.argwhere(dataset.read(band) == dataset.nodata).tolist() for band in (1, 2, 3)]
    assert lost == [[], [[7, 8]], [[30, 40]]]


def test_nodata_is_declared_only_where_there_is_some(tmp_path: Path) -> None:
    valid = np.ones((50, 70), dtype=bool)
    with rasterio.open(write(tmp_path / "whole.tif", cube(), valid, nodata=None)) as dataset:
        assert dataset.nodata is None
    valid[44, 3] = False
    with rasterio.open(write(tmp_path / "holes.tif", cube(), valid, nodata=None)) as dataset:
        assert dataset.nodata == -32768
        assert (dataset.read_masks(1) == 0).sum() == 1


def test_overviews_average_valid_pixels_only(tmp_path: Path) -> None:
    values = np.full((3, 600, 600), 0.5, np.float32)
    valid = np.zeros((600, 600), dtype=bool)
    valid[::2, ::2] = True
    path = write(tmp_path / "a.tif", values, valid, grid=grid(600, 600))
    with rasterio.open(path, overview_level=0) as dataset:
        assert dataset.shape == (300, 300)
        assert (dataset.read() == 5000).all()


def test_options_of_the_cog_driver(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif", cube(300, 300), grid=grid(300, 300),
        creation_options={"compress": "ZSTD", "level": "3", "predictor": "STANDARD", "BLOCKSIZE": "128"},
    )  # fmt: skip
    with rasterio.open(path) as dataset:
        assert dataset.compression.name == "zstd"
        assert dataset.block_shapes[0] == (128, 128)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "2"


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_viewers_are_told_which_bands_are_red_green_and_blue(tmp_path: Path, dtype: str) -> None:
    nm = np.array([2200.0, 480.0, 850.0, 655.0, 565.0])
    five = Bands(nm, None, np.array([True, True, True, True, True]), ("",) * 5)
    values = RNG.uniform(1, 200, (5, 50, 70)).astype(np.float32)
    path = write(tmp_path / "a.tif", values, bands=five, dtype=dtype, nodata=0, scales=1.0)
    with rasterio.open(path) as dataset:
        assert [colour.name for colour in dataset.colorinterp] == ["undefined", "blue", "undefined", "red", "green"]
        np.testing.assert_array_equal(dataset.read_masks(2), 255)
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]  # in the file itself
    with rasterio.open(write(tmp_path / "b.tif", cube())) as dataset:  # nothing near green
        assert "red" not in [colour.name for colour in dataset.colorinterp]


def test_a_grid_without_crs_and_bands_without_wavelengths(tmp_path: Path) -> None:
    nowhere = Grid(70, 50, Affine.identity(), None)
    with rasterio.open(write(tmp_path / "a.tif", cube(), grid=nowhere, bands=Bands.unknown(3))) as dataset:
        assert dataset.crs is None
        assert not any("wave" in name or "fwhm" in name for name in dataset.tags(1))
        assert dataset.descriptions[0] == "Band 1"


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    values = cube(300, 300)
    one = write(tmp_path / "one.tif", values, grid=grid(300, 300))
    with writer(tmp_path / "two.tif", grid=grid(300, 300)) as target:
        fill(target, values, step=64)
    assert one.read_bytes() == (tmp_path / "two.tif").read_bytes()


# --- what is refused before any work ---


def test_an_existing_file_is_refused_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_text("precious")
    with pytest.raises(OutputError, match=r"a\.tif exists: pass `overwrite=True`"):
        writer(path)
    assert path.read_text() == "precious"
    (tmp_path / "a.tif.aux.xml").write_text("statistics of the old file")
    write(path, cube(), overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"nodata": float("nan")}, "nan is not one of int16"),
        ({"nodata": -9999, "dtype": "uint16"}, "-9999 is not one of uint16"),
        ({"dtype": "complex64"}, "cannot be of type complex64"),
        ({"creation_options": {"COMPRESS": "JPEG"}}, "COMPRESS=JPEG"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OutputError, match=sentence):
        writer(tmp_path / "a.tif", **changes)
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        writer(tmp_path / "nowhere" / "a.tif")
    with pytest.raises(OutputError, match="is a folder"):
        writer(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written to"):
        writer(tmp_path / "a.tif")


def test_a_disk_that_is_too_small_is_found_out_first(tmp_path: Path) -> None:
    side = int((shutil.disk_usage(tmp_path).free / 2) ** 0.5)
    with pytest.raises(WorkError, match=r"MB free where .* MB are needed"):
        writer(tmp_path / "a.tif", grid=grid(side, side))
    assert not list(tmp_path.iterdir())


# --- what goes wrong on the way ---


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_what_was_there(tmp_path: Path, interruption: type[BaseException]) -> None:
    path = write(tmp_path / "a.tif", cube())
    before = path.read_bytes()

    def interrupted() -> None:
        with writer(path, overwrite=True) as target:
            fill(target, cube()[:, :20])
            raise interruption

    with pytest.raises(interruption):
        interrupted()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


def test_missing_rows_are_an_error(tmp_path: Path) -> None:
    def incomplete() -> None:
        with writer(tmp_path / "a.tif") as target:
            fill(target, cube()[:, :20])

    with pytest.raises(WorkError, match="only 20 of 50 rows"):
        incomplete()
    assert not list(tmp_path.iterdir())


def test_rows_out_of_order_are_a_bug_of_the_caller(tmp_path: Path) -> None:
    target = writer(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="row 0 was due"):
        target.write(7, cube()[:, :5], np.ones((5, 70), dtype=bool))
    target.discard()
    assert not list(tmp_path.iterdir())


FULL_DISK = """
    import resource, signal, sys
    import numpy as np
    from affine import Affine
    from hsfuse.errors import WorkError
    from hsfuse.scenes import Bands, CogWriter, Encoding, Grid

    # A file may not grow beyond this limit, as on a full disk.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    values = np.random.default_rng(0).uniform(0, 9, (2, 600, 600)).astype(np.float32)
    grid = Grid(600, 600, Affine(10, 0, 0, 0, -10, 0), None)
    facts = grid, Bands.unknown(2), Encoding.for_output(2, "float32")
    try:
        with CogWriter(sys.argv[1], *facts, tags={}) as writer:
            writer.write(0, values, np.ones((600, 600), dtype=bool))
    except WorkError as error:
        print(error)
        sys.exit(1)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE") or not hasattr(signal, "SIGXFSZ"), reason="needs POSIX")
@pytest.mark.parametrize("limit", [50_000, 500_000, 2_500_000, 2_600_000, 3_230_000])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    """2.5 MB of blocks, 0.7 MB of overviews, 3.2 MB together: early, late, at the end and while they are laid out."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path / "a.tif"), str(limit)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.returncode == 1, run.stdout + run.stderr
    assert "could not be written" in run.stdout
    assert "Traceback" not in run.stderr
    assert not list(tmp_path.iterdir())


def test_a_copy_that_lost_its_end_is_noticed(tmp_path: Path) -> None:
    """On a disk that fills up during the copy GDAL may report success."""
    path = write(tmp_path / "a.tif", cube(600, 600), grid=grid(600, 600))
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(RasterioError):
        _check_whole(path)


def test_a_windowed_reading_of_the_result(tmp_path: Path) -> None:
    values = cube(600, 300)
    scene = Scene.open(write(tmp_path / "a.tif", values, grid=grid(300, 600)))
    block = scene.read(PixelWindow(250, 500, 40, 60), [2])
    np.testing.assert_allclose(block.values, values[2:, 500:560, 250:290], atol=6e-5)


# --- values that the type cannot hold ---


def test_an_output_that_cannot_hold_its_values_is_refused_early(tmp_path: Path) -> None:
    values = cube(1000)
    target = writer(tmp_path / "a.tif", grid=grid(height=1000), dtype="uint8", nodata=None)
    with (
        pytest.raises(OutputError, match=r"a\.tif: 9\d\.\d % of the values do not fit uint8, which .* to 0\.0255"),
        target,
    ):
        target.write(0, values[:, :256], np.ones((256, 70), dtype=bool))
    assert list(tmp_path.iterdir()) == []


def test_a_sample_tells_before_any_work(tmp_path: Path) -> None:
    with writer(tmp_path / "a.tif") as target:
        target.require_room(cube(), np.ones((50, 70), dtype=bool))
        with pytest.raises(OutputError, match=r"reaches from -3\.277 to 3\.277"):
            target.require_room(9 * cube(), np.ones((50, 70), dtype=bool))
        fill(target, cube())


@pytest.mark.parametrize(("allow", "share"), [(False, 0.005), (True, 0.5)])
def test_some_clipping_is_counted(tmp_path: Path, allow: bool, share: float) -> None:
    values = cube()
    values[:, : round(50 * share * 2), :35] = 4
    with writer(tmp_path / "a.tif", allow_clipping=allow) as target:
        fill(target, values)
    assert target.clipped == pytest.approx(round(50 * share * 2) / 100)
