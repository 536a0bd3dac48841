"""Displacement that varies over the scene: found to a fraction of a pixel, and refused where there is none."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage

from hsfuse.errors import ImagingError
from hsfuse.imaging import DisplacementField, ImagingModel, PointSpread, degrade, load_srf, measure_displacement

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

RATIO, EDGE = 3, 72
WAVELENGTH = np.arange(420.0, 2450.0, 90.0)


def true_field(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """An irregular displacement of 3 to 8 HSI pixels at positions in HSI pixels."""
    along_x = 4.9 + 2.0 * np.sin(x / 17 + 0.5) * np.cos(y / 23) + 0.9 * np.exp(-((x - 20) ** 2 + (y - 50) ** 2) / 200)
    along_y = -2.2 + 1.9 * np.cos(x / 19 + y / 31) - 0.7 * np.exp(-((x - 55) ** 2 + (y - 18) ** 2) / 250)
    return along_x, along_y


@pytest.fixture(scope="module")
def displaced() -> tuple[SimpleNamespace, ImagingModel]:
    """A pair whose HSI is displaced irregularly."""
    from ..conftest import reference

    image = reference(RATIO * EDGE, 3, WAVELENGTH)
    model = ImagingModel(load_srf("landsat-8:B2,B3,B4,B5,B6,B7", WAVELENGTH).response, PointSpread.gaussian(RATIO, 1.0))
    row, column = np.mgrid[: RATIO * EDGE, : RATIO * EDGE] + 0.5
    along_x, along_y = true_field(column / RATIO, row / RATIO)
    looked = np.stack([row - 0.5 + RATIO * along_y, column - 0.5 + RATIO * along_x])
    warped = np.stack([ndimage.map_coordinates(band, looked, order=3, mode="reflect") for band in image])
    hsi, msi = degrade(warped, model, snr_hsi=30), degrade(image, model, snr_msi=35)
    pair = SimpleNamespace(hsi=hsi.hsi, hsi_valid=hsi.hsi_valid, msi=msi.msi, msi_valid=msi.msi_valid)
    return pair, model


def spoilt(pair: SimpleNamespace) -> SimpleNamespace:
    """A copy that a test may change."""
    return SimpleNamespace(**{name: value.copy() for name, value in vars(pair).items()})


def residuals(field: DisplacementField) -> NDArray[np.float64]:
    """Distance from the truth in HSI pixels, (rows, columns), at places that both images show."""
    x, y = np.meshgrid(np.arange(EDGE - 8.0), np.arange(EDGE) + 0.0)
    return np.asarray(np.hypot(*(np.subtract(field.at(x, y), true_field(x, y)))))[6:]


@pytest.mark.parametrize("case", ["clear", "cloud"])
def test_an_irregular_field_is_found(case: str, displaced: tuple[SimpleNamespace, ImagingModel]) -> None:
    pair, model = spoilt(displaced[0]), displaced[1]
    if case == "cloud":
        pair.msi[:, 60:130, 60:120] = 0.9
    found = measure_displacement([pair], [(0, 0)], model)
    left = residuals(found)
    if case == "cloud":
        left = np.concatenate([left[:10].ravel(), left[40:].ravel(), left[:, :12].ravel(), left[:, 42:].ravel()])
    assert np.quantile(left, 0.9) < 0.1
    x, y = np.array([10.0, 30.0]), np.array([40.0, 50.0])
    fine_x, fine_y = found.msi_points(RATIO * x, RATIO * y, RATIO)
    along_x, along_y = found.at(x, y)
    np.testing.assert_allclose([fine_x / RATIO - x, fine_y / RATIO - y], [along_x, along_y])
    np.testing.assert_allclose(found.hsi_points(x + along_x, y + along_y), [x, y], atol=0.01)


def test_patches_of_a_scene_have_their_places(displaced: tuple[SimpleNamespace, ImagingModel]) -> None:
    pair, model = displaced
    parts, places = [], [(0, 0), (24, 0), (0, 24), (24, 24)]
    for column, row in places:
        rows, columns = slice(row, row + 48), slice(column, column + 48)
        low, right = slice(3 * row, 3 * row + 144), slice(3 * column, 3 * column + 144)
        parts.append(SimpleNamespace(
            hsi=pair.hsi[:, rows, columns], hsi_valid=pair.hsi_valid[rows, columns],
            msi=pair.msi[:, low, right], msi_valid=pair.msi_valid[low, right],
        ))  # fmt: skip
    assert np.quantile(residuals(measure_displacement(parts, places, model)), 0.9) < 0.25


def test_it_survives_json(displaced: tuple[SimpleNamespace, ImagingModel]) -> None:
    found = measure_displacement([displaced[0]], [(0, 0)], displaced[1])
    again = DisplacementField.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    x, y = np.random.default_rng(0).uniform(0, EDGE, (2, 50))
    np.testing.assert_allclose(again.at(x, y), found.at(x, y), atol=1e-3)
    for broken in ({}, {**found.to_dict(), "x_hsi_pixels": [[1.0], [2.0, 3.0]]}, {**found.to_dict(), "format": "x"}):
        with pytest.raises(ImagingError):
            DisplacementField.from_dict(broken)


def test_cells_that_contradict_each_other_are_refused(
    displaced: tuple[SimpleNamespace, ImagingModel], make_reference: Callable[..., Any]
) -> None:
    pair, model = spoilt(displaced[0]), displaced[1]
    pair.msi = degrade(make_reference(RATIO * EDGE, 11, WAVELENGTH), model, snr_msi=35).msi
    with pytest.raises(ImagingError, match=r"contradict each other|enough detail"):
        measure_displacement([pair], [(0, 0)], model)
    pair.msi[:] = 0.3
    with pytest.raises(ImagingError, match="enough detail"):
        measure_displacement([pair], [(0, 0)], model)
