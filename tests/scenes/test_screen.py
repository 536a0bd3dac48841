"""The screen on reading: what no image holds is found, whatever it is written as; what is merely bright is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsfuse.scenes import PixelWindow, Scene

if TYPE_CHECKING:
    from conftest import WriteRaster
    from numpy.typing import NDArray

many = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def ground(bands: int, height: int = 40, width: int = 50, seed: int = 0) -> NDArray[np.float64]:
    """Reflectances (C, H, W): smooth spectra in patches with some shade and noise, water among them."""
    rng = np.random.default_rng(seed)
    place = np.linspace(0, 1, bands)
    spectra = np.array(
        [
            0.03 + 0.35 * rng.random() * np.exp(-(((place - rng.random()) / (0.1 + 0.4 * rng.random())) ** 2))
            for _ in range(6)
        ]
    )
    spectra[0] = 0.004 + 0.05 * np.exp(-place / 0.2)
    label = np.kron(rng.integers(0, 6, (-(-height // 5), -(-width // 5))), np.ones((5, 5), int))[:height, :width]
    shade = 1 + 0.1 * rng.standard_normal((height, width))
    return np.moveaxis(spectra[label], -1, 0) * shade * (1 + 0.01 * rng.standard_normal((bands, height, width)))


def counts(values: NDArray[np.float64], dtype: str = "uint16") -> NDArray[Any]:
    if dtype.startswith("float"):
        return values.astype(dtype)
    scale = 250 if dtype == "uint8" else 1e4
    return np.clip(np.rint(values * scale), 1, np.iinfo(dtype).max).astype(dtype)


def opened(write_raster: WriteRaster, numbers: NDArray[Any], name: str = "a.tif", **options: Any) -> Scene:
    return Scene.open(write_raster(name, numbers, photometric="MINISBLACK", **options))


def read(scene: Scene) -> Any:
    return scene.read(scene.grid.window)


def untouched(scene: Scene) -> bool:
    block = read(scene)
    return bool(block.valid.all()) and not block.suspect.any() and block.missing is None and not scene.warnings


# --- what must not trip it ---


@many
@given(st.integers(0, 10**6), st.sampled_from([3, 4, 12, 60]), st.sampled_from(["uint8", "uint16", "int16", "float32"]))
def test_a_clean_scene_is_left_alone(write_raster: WriteRaster, seed: int, bands: int, dtype: str) -> None:
    numbers = counts(ground(bands, seed=seed), dtype)
    scene = opened(write_raster, numbers)
    assert untouched(scene)
    np.testing.assert_array_equal(read(scene).values, numbers.astype(np.float32))


@many
@given(st.integers(0, 10**6), st.sampled_from([4, 40]), st.floats(5, 20), st.sampled_from(["uint16", "float32"]))
def test_roofs_snow_glint_and_flares_are_no_faults(
    write_raster: WriteRaster, seed: int, bands: int, times: float, dtype: str
) -> None:
    values = ground(bands, seed=seed)
    rng = np.random.default_rng(seed)
    roof, glint, flare = rng.integers(1, 38, 3), rng.integers(1, 38, 3), rng.integers(1, 38, 3)
    bright = times * np.median(values)
    values[:, roof[0] : roof[0] + 4, roof[1] : roof[1] + 4] = bright * np.linspace(0.9, 1.1, bands)[:, None, None]
    values[:, glint[0], glint[1]] = bright
    values[bands // 2 :, flare[0], flare[1]] += bright
    assert untouched(opened(write_raster, counts(values, dtype)))


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_snow_is_no_fault(write_raster: WriteRaster, share: float) -> None:
    values = ground(4)
    values[:, : int(40 * share)] = 0.85 + 0.02 * np.random.default_rng(0).standard_normal((4, int(40 * share), 50))
    assert untouched(opened(write_raster, counts(values)))


def test_roofs_that_saturate_bytes_are_no_fill(write_raster: WriteRaster) -> None:
    """255 in every band is what white looks like in a photograph."""
    numbers = counts(ground(3), "uint8")
    rng = np.random.default_rng(0)
    numbers[:, 10:20, 10:20], numbers[:, 0:6, 30:40] = 255, 255
    numbers[:, 10:20, 20:22] = rng.integers(235, 256, (3, 10, 2))
    assert untouched(opened(write_raster, numbers))


def test_a_boat_on_dark_water_is_no_fault(write_raster: WriteRaster) -> None:
    values = np.abs(0.02 * np.exp(-np.linspace(0, 3, 30)))[:, None, None] * np.ones((30, 40, 50))
    values *= 1 + 0.05 * np.random.default_rng(0).standard_normal(values.shape)
    values[:, 20, 20:22] = 0.4
    assert untouched(opened(write_raster, values.astype(np.float32)))


def test_water_that_is_zero_in_single_bands_is_data(write_raster: WriteRaster) -> None:
    numbers = counts(ground(20))
    numbers[12:, 10:20, 10:30] = 0
    numbers[3:, 25:30, 0:9] = 0
    assert read(opened(write_raster, numbers)).valid.all()


def test_one_black_pixel_is_data_but_no_fit_learns_from_it(write_raster: WriteRaster) -> None:
    numbers = counts(ground(20) + 0.05)
    numbers[:, 20, 20] = 0
    block = read(opened(write_raster, numbers))
    assert block.valid.all()
    assert np.argwhere(block.suspect).tolist() == [[20, 20]]


def test_noise_around_zero_is_no_fault(write_raster: WriteRaster) -> None:
    values = ground(30)
    values[20:] = 0.002 * np.random.default_rng(0).standard_normal((10, 40, 50))
    assert untouched(opened(write_raster, values.astype(np.float32)))


# --- what must be found ---


def wedge(height: int = 40, width: int = 50) -> NDArray[np.bool_]:
    row, column = np.mgrid[:height, :width]
    return row + 2 * column < 24


@many
@given(
    st.integers(0, 10**6),
    st.sampled_from([3, 4, 40]),
    st.sampled_from(
        [
            ("uint8", 0.0), ("uint16", 0.0), ("uint16", 65535.0), ("uint16", 55537.0), ("int16", 0.0),
            ("int16", -9999.0), ("int16", -32768.0), ("int16", -999.0), ("int32", -99999.0), ("float32", 0.0),
            ("float32", -9999.0), ("float32", -0.9999), ("float32", -1.0), ("float32", 1e20), ("float32", -3.4e38),
            ("float32", 9.96921e36),
        ]
    ),
    st.booleans(),
)  # fmt: skip
def test_fill_is_found_where_it_was_put(
    write_raster: WriteRaster, seed: int, bands: int, fill: tuple[str, float], block: bool
) -> None:
    dtype, value = fill
    numbers = counts(ground(bands, seed=seed) + 0.03, dtype)
    where = wedge()
    if block:
        where = np.zeros((40, 50), dtype=bool)
        where[15:22, 20:31] = True
    numbers[:, where] = value
    scene = opened(write_raster, numbers)
    np.testing.assert_array_equal(read(scene).valid, ~where)
    assert not read(scene).suspect.any()
    (found,) = scene.screen.findings
    assert (found.kind, found.share) == ("fill", pytest.approx(where.mean()))
    assert found.value == pytest.approx(value)
    assert "nodata" in scene.warnings[0]


@many
@given(
    st.integers(0, 39),
    st.integers(0, 49),
    st.sampled_from(
        [("int16", -9999.0), ("int16", -32768.0), ("uint16", 65535.0), ("float32", -9999.0), ("float32", 1e20)]
    ),
)
def test_one_pixel_of_it_is_enough(write_raster: WriteRaster, row: int, column: int, fill: tuple[str, float]) -> None:
    numbers = counts(ground(12), fill[0])
    numbers[:, row, column] = fill[1]
    block = read(opened(write_raster, numbers))
    assert np.argwhere(~block.valid).tolist() == [[row, column]]
    assert (block.values[:, row, column] == 0).all()


def test_fill_that_no_sample_shows_is_found_on_reading(write_raster: WriteRaster) -> None:
    numbers = np.tile(counts(ground(12, 60, 60), "int16"), (1, 15, 15))
    numbers[:, 333, 444] = -9999
    scene = opened(write_raster, numbers)
    assert scene.warnings == ()
    block = scene.read(PixelWindow(400, 300, 100, 100))
    assert np.argwhere(~block.valid).tolist() == [[33, 44]]
    assert "nodata" in scene.warnings[0]


def test_the_greatest_number_in_every_band_is_fill_also_where_no_sample_shows_it(write_raster: WriteRaster) -> None:
    numbers = np.tile(counts(ground(12, 60, 60)), (1, 15, 15))
    numbers[:, 333, 444] = 65535
    block = opened(write_raster, numbers).read(PixelWindow(400, 300, 100, 100))
    assert np.argwhere(~block.valid).tolist() == [[33, 44]]


def test_a_band_alone_does_not_decide_what_is_fill(write_raster: WriteRaster) -> None:
    numbers = counts(ground(12))
    numbers[:, wedge()] = 0
    numbers[7, 30:35, 30:35] = 0
    scene = opened(write_raster, numbers)
    np.testing.assert_array_equal(scene.read(scene.grid.window, [7]).valid, ~wedge())


def test_absurd_numbers_in_single_bands_cost_those_numbers(write_raster: WriteRaster) -> None:
    numbers = counts(ground(40), "int16")
    numbers[5, 10, 10] = numbers[6, 10, 10] = numbers[30, 3, 4] = -9999
    scene = opened(write_raster, numbers)
    block = read(scene)
    assert block.valid.all()
    assert np.argwhere(block.missing).tolist() == [[5, 10, 10], [6, 10, 10], [30, 3, 4]]
    assert np.abs(block.values - counts(ground(40), "int16")).max() < 600
    assert scene.screen.findings[0].bands == (5, 6, 30)


@pytest.mark.parametrize("factor", [300.0, 3000.0])
def test_a_spike_stays_but_is_suspect(write_raster: WriteRaster, factor: float) -> None:
    values = ground(40)
    values[11, 20, 30] = factor * np.median(values)
    scene = opened(write_raster, values.astype(np.float32))
    block = read(scene)
    assert np.argwhere(block.suspect).tolist() == [[20, 30]]
    assert block.valid.all()
    assert "kept out of every fit" in scene.warnings[0]


@pytest.mark.parametrize("limit", [65535, 16383])
def test_saturated_pixels_are_suspect(write_raster: WriteRaster, limit: int) -> None:
    """In some of the bands: the type's limit, or one of the detector at which numbers pile up."""
    numbers = counts(ground(4) / 4)
    where = np.zeros((40, 50), dtype=bool)
    where[5:9, 7:12] = True
    numbers[1:, where] = limit
    block = read(opened(write_raster, numbers))
    np.testing.assert_array_equal(block.suspect, where)


def test_every_number_can_be_taken_as_it_is(write_raster: WriteRaster) -> None:
    numbers = counts(ground(12), "int16")
    numbers[:, wedge()], numbers[3, 30, 30], numbers[:, 31, 31] = 0, -9999, -9999
    scene = Scene.open(write_raster("a.tif", numbers), screen=False)
    assert untouched(scene)
    np.testing.assert_array_equal(read(scene).values, numbers)


@many
@given(st.integers(0, 49), st.integers(0, 39), st.integers(1, 50), st.integers(1, 40))
def test_the_same_is_found_in_any_window(
    write_raster: WriteRaster, column: int, row: int, width: int, height: int
) -> None:
    numbers = counts(ground(12), "int16")
    numbers[:, wedge()], numbers[3, 30, 30], numbers[:, 31, 31], numbers[5, 9, 40] = 0, -9999, -9999, 32767
    scene = opened(write_raster, numbers)
    window = PixelWindow(column, row, min(width, 50 - column), min(height, 40 - row))
    part, whole = scene.read(window), read(scene)
    for name in ("values", "valid", "suspect"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[..., window.rows, window.columns])


def test_fill_after_a_gain_for_each_band_is_found(write_raster: WriteRaster) -> None:
    """Zeros of a sensor that a calibration has turned into negative radiances, one a band."""
    values = (ground(12) + 0.02) * np.linspace(1, 3, 12)[:, None, None]
    values[:, wedge()] = -0.01 * np.linspace(1, 3, 12)[:, None]
    scene = opened(write_raster, values.astype(np.float32))
    np.testing.assert_array_equal(read(scene).valid, ~wedge())
    values[:, wedge()], values[:, 30, 30] = ground(12)[:, wedge()], -9999 * np.linspace(1e-4, 3e-4, 12)
    assert np.argwhere(~read(opened(write_raster, values.astype(np.float32))).valid).tolist() == [[30, 30]]


def test_a_dark_lake_of_one_spectrum_is_no_fill(write_raster: WriteRaster) -> None:
    values = ground(12) + 0.02
    values[:, wedge()] = np.linspace(0.06, 0.001, 12)[:, None]
    assert untouched(opened(write_raster, values.astype(np.float32)))


def test_a_dead_detector_costs_its_own_numbers(write_raster: WriteRaster) -> None:
    numbers = counts(ground(40) + 0.2)
    where = np.zeros(numbers.shape, dtype=bool)
    where[[5, 20], :, 17] = where[31, :, 18] = True
    numbers[where] = 0
    block = read(opened(write_raster, numbers))
    np.testing.assert_array_equal(block.missing, where)
    assert not block.suspect.any()


def test_a_zero_among_dark_bands_is_dark(write_raster: WriteRaster) -> None:
    """Clamped to 0 by an atmospheric correction: its neighbours are nearly so."""
    numbers = counts(ground(40) + 0.2)
    numbers[18:23, 10, 10] = [300, 40, 0, 50, 400]
    assert read(opened(write_raster, numbers)).missing is None


def test_a_band_that_is_often_clamped_to_zero_has_zeros_as_values(write_raster: WriteRaster) -> None:
    numbers = counts(ground(40) + 0.2)
    numbers[0, :, 8:] = 0
    assert read(opened(write_raster, numbers)).missing is None


# --- bands that are no images ---


def stack(*extra: NDArray[Any]) -> NDArray[np.uint16]:
    return np.concatenate([counts(ground(4)), *(band[None].astype(np.uint16) for band in extra)])


def test_constant_bands_are_no_images(write_raster: WriteRaster) -> None:
    quality = np.full((40, 50), 21824)
    quality[3, 4] = 22280
    scene = opened(write_raster, stack(np.full((40, 50), 96), quality))
    assert scene.bands.good.tolist() == [True] * 4 + [False] * 2
    assert scene.idle_bands[4].startswith("constant")


def test_classes_are_no_image(write_raster: WriteRaster) -> None:
    classes = np.kron(np.random.default_rng(0).integers(1, 9, (2, 2)), np.ones((20, 25), int))
    scene = opened(write_raster, stack(classes))
    assert scene.idle_bands[4].startswith("classes")


@pytest.mark.parametrize("name", ["SCL", "QA_PIXEL", "AOT", "SR_QA_AEROSOL", "QA60", "MSK_CLDPRB", "WVP"])
def test_a_band_that_says_it_is_no_image(write_raster: WriteRaster, name: str) -> None:
    numbers = stack(np.random.default_rng(0).integers(0, 500, (40, 50)))
    scene = opened(write_raster, numbers, descriptions=["B2", "B3", "B4", "B8", name])
    assert scene.bands.good.tolist() == [True] * 4 + [False]


@pytest.mark.parametrize("name", ["B8A", "aqua 490 nm", "scale", "Band 3 (clouds masked) 560 nm", "blue"])
def test_other_names_say_nothing(write_raster: WriteRaster, name: str) -> None:
    numbers = counts(ground(4))
    assert opened(write_raster, numbers, descriptions=["B2", "B3", "B4", name]).bands.good.all()


def test_the_same_band_twice_is_used_once(write_raster: WriteRaster) -> None:
    numbers = counts(ground(4))
    scene = opened(write_raster, numbers[[0, 1, 1, 2, 3]])
    assert scene.bands.good.tolist() == [True, True, False, True, True]
    assert scene.idle_bands[2] == "the same as band 2"


# --- numbers missing in single bands ---


def test_missing_numbers_are_bridged_and_said(write_raster: WriteRaster) -> None:
    clean = counts(ground(40))
    numbers = clean.copy()
    where = np.random.default_rng(1).random(numbers.shape) < 0.002
    where[13:25] |= np.arange(50) == 17
    numbers[where] = 0
    scene = opened(write_raster, numbers, nodata=0)
    block = read(scene)
    assert block.valid.all()
    np.testing.assert_array_equal(block.missing, where)
    np.testing.assert_array_equal(block.values[~where], clean[~where])
    lone = where & ~(np.arange(50) == 17)
    error = np.abs(block.values - clean)[lone] / clean[lone]
    assert np.median(error) < 0.05
    assert "bands" not in scene.warnings[0].split("lack")[0].replace("band(s)", "")
    assert "nodata in these bands alone" in scene.warnings[0]


def test_half_of_the_bands_are_enough(write_raster: WriteRaster) -> None:
    numbers = counts(ground(20))
    numbers[:10, 3, 3] = 0
    numbers[:11, 4, 4] = 0
    assert np.argwhere(~read(opened(write_raster, numbers, nodata=0)).valid).tolist() == [[4, 4]]


def test_few_bands_are_not_bridged(write_raster: WriteRaster) -> None:
    numbers = counts(ground(4))
    numbers[2, 3, 3] = 0
    scene = opened(write_raster, numbers, nodata=0)
    block = read(scene)
    assert np.argwhere(~block.valid).tolist() == [[3, 3]]
    assert block.missing is None
    assert "0.05 % of the pixels have nodata in some bands and not in others (3)" in scene.warnings[0]


def test_bands_of_one_content_at_two_wavelengths_are_both_kept(write_raster: WriteRaster) -> None:
    """Two spectrometers may see the same thing where they overlap; without wavelengths a copy is a copy."""
    numbers = np.random.default_rng(3).integers(100, 4000, (3, 40, 40)).astype(np.int16)
    numbers[2] = numbers[1]
    named = Scene.open(write_raster("two.tif", numbers, wavelengths=[500.0, 600.0, 603.0]))
    assert named.bands.good.all()
    unnamed = Scene.open(write_raster("copy.tif", numbers))
    assert dict(unnamed.idle_bands) == {2: "the same as band 2"}
