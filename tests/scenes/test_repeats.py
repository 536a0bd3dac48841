"""Bands that are coarser than their pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hsfuse.scenes import Scene, ScenePair

if TYPE_CHECKING:
    from conftest import WriteRaster
    from numpy.typing import NDArray

RNG = np.random.default_rng(7)
SHARP = RNG.integers(200, 4000, (3, 72, 60)).astype(np.uint16)


def repeated(factor: int, phase: tuple[int, int] = (0, 0)) -> NDArray[np.uint16]:
    coarse = np.random.default_rng(factor).integers(200, 4000, (80 // factor + 2, 80 // factor + 2))
    fine = np.kron(coarse, np.ones((factor, factor), int))
    return fine[phase[0] : phase[0] + 72, phase[1] : phase[1] + 60].astype(np.uint16)[None]


@pytest.mark.parametrize(("factor", "phase"), [(2, (0, 0)), (2, (1, 0)), (3, (2, 1)), (6, (0, 0)), (6, (5, 4))])
def test_repeated_pixels_are_found(write_raster: WriteRaster, factor: int, phase: tuple[int, int]) -> None:
    numbers = np.concatenate((SHARP, repeated(factor, phase)))
    assert dict(Scene.open(write_raster("a.tif", numbers)).repeats) == {3: factor}


def test_they_are_found_in_patches_of_a_large_scene(write_raster: WriteRaster) -> None:
    numbers = np.tile(np.concatenate((SHARP, repeated(6))), (1, 25, 30))
    assert dict(Scene.open(write_raster("a.tif", numbers)).repeats) == {3: 6}


@pytest.mark.parametrize("levels", [2, 4, 40])
def test_few_levels_are_no_repeats(write_raster: WriteRaster, levels: int) -> None:
    """A dark band of few numbers has many neighbours alike, but not in blocks."""
    dark = np.random.default_rng(1).integers(1, levels + 1, (1, 72, 60)).astype(np.uint16)
    assert not Scene.open(write_raster("a.tif", np.concatenate((SHARP, dark)))).repeats


def test_wide_fields_without_noise_are_no_repeats(write_raster: WriteRaster) -> None:
    fields = np.kron(np.array([[0.11, 0.25], [0.37, 0.42]]), np.ones((36, 30)))[None]
    numbers = np.concatenate((SHARP / 1e4, fields)).astype(np.float32)
    assert not Scene.open(write_raster("a.tif", numbers)).repeats


def test_a_collar_of_zeros_does_not_hide_them(write_raster: WriteRaster) -> None:
    numbers = np.concatenate((SHARP, repeated(2)))
    numbers[:, :30] = 0
    assert dict(Scene.open(write_raster("a.tif", numbers)).repeats) == {3: 2}


def pair(write_raster: WriteRaster, msi: NDArray[Any], **options: Any) -> ScenePair:
    hsi = RNG.integers(200, 4000, (6, 24, 20)).astype(np.int16)
    names = ["B2", "B3", "B4", "B11"][-len(msi) :]
    return ScenePair.open(
        Scene.open(write_raster("hsi.tif", hsi, pixel=30)),
        Scene.open(write_raster("msi.tif", msi, pixel=10, descriptions=names)),
        **options,
    )


def test_they_are_left_out_where_others_are_sharp(write_raster: WriteRaster) -> None:
    told = pair(write_raster, np.concatenate((SHARP, repeated(2))))
    assert told.msi_bands == (0, 1, 2)
    assert "B11 (2 x 2)" in " ".join(told.warnings)
    assert "left out" in " ".join(told.warnings)


def test_they_are_used_where_chosen_or_needed(write_raster: WriteRaster) -> None:
    numbers = np.concatenate((SHARP, repeated(2)))
    for used in (pair(write_raster, numbers, msi_bands=[0, 3]), pair(write_raster, numbers[2:])):
        assert len(used.msi_bands) == 2
        assert "B11 (2 x 2)" in " ".join(used.warnings)
