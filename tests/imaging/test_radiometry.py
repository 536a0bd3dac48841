"""Gain and offset between the images: exact where they are the same, both ways, and bands that do not follow."""

from __future__ import annotations

import numpy as np
import pytest

from hsfuse.errors import ImagingError
from hsfuse.imaging import Radiometry, SpectralResponse


def test_gain_and_offset_are_found_and_undone() -> None:
    random = np.random.default_rng(0)
    seen = random.random((500, 3))
    msi = seen * [2000, 1, 0.5] + [100, 0, -3]
    noisy = seen + 0.01 * random.standard_normal(seen.shape)
    found = Radiometry.fit(noisy, msi)
    assert found.gain == pytest.approx([2000, 1, 0.5], rel=0.02)
    assert found.offset == pytest.approx([100, 0, -3], abs=15)
    exact = Radiometry.fit(seen, msi)
    image = msi.T.reshape(3, 25, 20).astype(np.float32)
    np.testing.assert_allclose(exact.to_hsi_units(image), seen.T.reshape(3, 25, 20), atol=1e-3)
    np.testing.assert_allclose(exact.to_msi_units(seen.T), msi.T, atol=1e-6)
    assert exact.to_hsi_units(image).dtype == np.float32


def test_noise_alone_is_no_difference_of_units() -> None:
    random = np.random.default_rng(1)
    seen = random.random((500, 2))
    found = Radiometry.fit(seen + 0.05 * random.standard_normal(seen.shape), seen)
    assert (found.gain == 1).all()
    assert (found.offset == 0).all()


def test_a_band_that_does_not_follow_keeps_its_numbers() -> None:
    random = np.random.default_rng(2)
    seen = random.random((400, 3))
    msi = 3 * seen
    msi[:, 1], msi[:, 2] = 5 - seen[:, 1], 7.0
    found = Radiometry.fit(seen, msi)
    assert found.follows.tolist() == [True, False, False]
    assert found.gain == pytest.approx([3, 1, 1])
    srf = SpectralResponse(np.full((3, 4), 0.25), ("a", "b", "c"))
    assert found.response(srf)[0] == pytest.approx(np.full(4, 0.75))
    assert found.select([1]).follows.tolist() == [False]


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ImagingError, match="positive"):
        Radiometry(np.array([0.0]), np.zeros(1), np.ones(1, dtype=bool))
    with pytest.raises(ImagingError, match="shapes"):
        Radiometry(np.ones(2), np.zeros(1), np.ones(1, dtype=bool))
