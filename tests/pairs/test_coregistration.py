"""The HSI on the MSI's geolocation: by one shift, along a field, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage

from hsfuse.errors import ImagingError, PairError
from hsfuse.fusion.opening import open_pair
from hsfuse.pairs.coregistration import Coregistration
from hsfuse.scenes import PixelWindow

from ..commands.conftest import COLUMNS, OFFSET, RATIO, ROWS, SCALE, TRUTH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.pairs.pair import Pair

    from ..commands.conftest import MakePair


def field(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A displacement of 3 to 5 HSI pixels that varies over the scene."""
    return 3.4 + 1.1 * np.sin(x / 12), -1.9 + 0.9 * np.cos(y / 11 + x / 30)


def displaced(make_pair: MakePair, **options: object) -> Pair:
    """A pair whose HSI is displaced along the field."""
    row, column = np.mgrid[: ROWS * RATIO, : COLUMNS * RATIO] + 0.5
    across, down = field(column / RATIO, row / RATIO)
    looked = [row + RATIO * down - 0.5, column + RATIO * across - 0.5]
    warped = np.stack([ndimage.map_coordinates(band, looked, order=3, mode="mirror") for band in TRUTH])
    coarse = warped.reshape(len(TRUTH), ROWS, RATIO, COLUMNS, RATIO).mean(axis=(2, 4))
    pair = make_pair(hsi={"numbers": np.rint((coarse - OFFSET) / SCALE).astype(np.int16)})
    return open_pair(pair.hsi, pair.msi, coregister=True, **options)


def coarse_truth(pair: Pair) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The HSI as it was read, and as it would be where the MSI lies, at valid pixels (C, n)."""
    block = pair.read(pair.area)
    grid = pair.fine_grid
    column, row = round((grid.transform.c - 5e5) / 10), round((5e6 - grid.transform.f) / 10)
    truth = TRUTH[:, row : row + grid.height, column : column + grid.width]
    truth = truth.reshape(len(TRUTH), grid.height // RATIO, RATIO, grid.width // RATIO, RATIO).mean(axis=(2, 4))
    inner = ndimage.binary_erosion(block.hsi_valid, iterations=2, border_value=1)
    return block.hsi[:, inner], truth[:, inner].astype(np.float32)


@pytest.mark.parametrize(("east", "south"), [(90, 30), (-70, 20), (14, -8), (200, -150)])
def test_one_shift_moves_the_grid(make_pair: MakePair, east: int, south: int) -> None:
    """The MSI says that it lies beside where it does, by up to eight HSI pixels; its pixels stay as they are."""
    files = make_pair(msi={"origin": (5e5 + east, 5e6 - south)})
    pair = open_pair(files.hsi, files.msi, coregister=True)
    assert pair.coregistration is not None
    assert pair.coregistration.field is None
    assert pair.shift is not None
    assert (pair.shift.x, pair.shift.y) == pytest.approx((east / 30, south / 30), abs=0.1)
    assert not pair.scenes.resampled
    grid = pair.fine_grid
    pixels = (grid.transform.c - 5e5 - east) / 10
    assert pixels == pytest.approx(round(pixels), abs=1e-6)
    moved = (pair.scenes.hsi.grid.transform.c - 5e5, 5e6 - pair.scenes.hsi.grid.transform.f)
    assert moved == pytest.approx((east, south), abs=5.01)
    assert any("lies where the MSI lies" in text for text in pair.warnings)
    assert not any("`coregister=True`" in text for text in pair.warnings)
    block = pair.read(pair.area)
    assert block.hsi_valid.all()
    np.testing.assert_array_equal(block.hsi, pair.scenes.read(pair.area).hsi)


def test_a_field_is_taken_out(make_pair: MakePair) -> None:
    pair = displaced(make_pair)
    found = pair.coregistration
    assert found is not None
    assert found.field is not None
    x, y = np.meshgrid(np.arange(4.0, COLUMNS - 6), np.arange(4.0, ROWS - 4))
    assert np.quantile(np.hypot(*np.subtract(found.field.at(x, y), field(x, y))), 0.9) < 0.2
    hsi, truth = coarse_truth(pair)
    error = np.sqrt(np.mean((hsi - truth) ** 2))
    alone = pair.scenes.read(pair.area)
    inner = ndimage.binary_erosion(alone.hsi_valid, iterations=2, border_value=1)
    assert error < 0.5 * np.sqrt(np.mean((alone.hsi[:, inner] - truth) ** 2))  # what the MSI's help is worth
    assert error < 0.1 * truth.std()
    summary = found.summary()
    assert summary is not None
    assert summary["resampled"]
    assert 4 < summary["largest"] < 7
    assert any("varies, up to" in text and "resampled" in text for text in pair.warnings)


def test_tiles_of_a_displaced_pair_are_parts_of_the_whole(make_pair: MakePair) -> None:
    pair = displaced(make_pair, window=PixelWindow(2, 3, 44, 35))
    assert pair.guidance is not None
    whole = pair.guidance.read(pair.scenes, pair.area)
    np.testing.assert_allclose(pair.read(pair.area).hsi, whole.hsi)
    for window in (PixelWindow(0, 0, 9, 8), PixelWindow(17, 11, 7, 12), PixelWindow(pair.area.width - 5, 20, 5, 6)):
        part = pair.guidance.read(pair.scenes, window)
        expected = whole.crop(window)
        np.testing.assert_allclose(part.hsi, expected.hsi, atol=2e-5)
        np.testing.assert_array_equal(part.hsi_valid, expected.hsi_valid)
        np.testing.assert_array_equal(part.msi, expected.msi)


def test_tags_bring_the_scenes_to_the_same_place(make_pair: MakePair) -> None:
    pair = displaced(make_pair)
    assert pair.coregistration is not None
    tags = pair.coregistration.tags()
    assert set(json.loads(tags["HSFUSE_SHIFT"])) == {"x", "y"}
    again = Coregistration.of_tags(tags, "fused.tif")
    assert again is not None
    scenes = again.apply(pair.request.open_scenes())
    assert scenes.fine_grid == pair.fine_grid
    np.testing.assert_allclose(scenes.read(pair.area).hsi, pair.scenes.read(pair.area).hsi, atol=1e-3)
    assert Coregistration.of_tags({}, "fused.tif") is None
    for broken in ("{", "{}", '{"x": 1}', '{"x": 1, "y": NaN}', "[]"):
        with pytest.raises(PairError, match=r"fused\.tif: its tag"):
            Coregistration.of_tags({"HSFUSE_SHIFT": broken}, "fused.tif")
    with pytest.raises(PairError, match=r"fused\.tif: its tag"):
        Coregistration.of_tags(tags | {"HSFUSE_DISPLACEMENT": "{}"}, "fused.tif")


def test_a_pair_too_small_for_a_field_has_one_shift(make_pair: MakePair) -> None:
    files = make_pair(msi={"origin": (5e5 + 60, 5e6 - 30)})
    pair = open_pair(files.hsi, files.msi, coregister=True, window=PixelWindow(10, 10, 14, 13))
    assert pair.coregistration is not None
    assert (pair.coregistration.x, pair.coregistration.y) == pytest.approx((2, 1), abs=0.35)
    assert pair.coregistration.summary() is None


def test_other_ground_is_refused(make_pair: MakePair) -> None:
    rng = np.random.default_rng(0)
    other = ndimage.gaussian_filter(rng.standard_normal((4, ROWS * RATIO, COLUMNS * RATIO)), (0, 2, 2))
    files = make_pair(msi={"numbers": (3000 + 4000 * other / np.abs(other).max()).astype(np.uint16)})
    with pytest.raises(ImagingError, match=r"contradict each other|do they show the same place"):
        open_pair(files.hsi, files.msi, coregister=True)


def test_without_it_the_imaging_model_carries_the_shift_and_it_is_said(make_pair: MakePair) -> None:
    files = make_pair(msi={"origin": (5e5 + 30, 5e6)})
    pair = open_pair(files.hsi, files.msi)
    assert pair.coregistration is None
    assert pair.imaging.shift == pytest.approx((1, 0), abs=0.1)
    assert any(
        "the imaging model carries it, and the output lies where the HSI says that it lies; `coregister=True`" in text
        for text in pair.warnings
    )
