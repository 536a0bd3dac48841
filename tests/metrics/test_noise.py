"""The noise of an image of few bands is found out of the image."""

import numpy as np
import pytest

from hsfuse.metrics import spatial_noise, spectral_noise


def smooth(bands=4, edge=60):
    rows, columns = np.mgrid[:edge, :edge] / 10
    return np.stack([1000 + 100 * np.sin(rows + band) * np.cos(columns - band) for band in range(bands)])


@pytest.mark.parametrize("sigma", [2.0, 20.0])
def test_white_noise_is_measured(sigma):
    image = smooth() + np.random.default_rng(0).normal(0, sigma, (4, 60, 60))
    found = spatial_noise(image.astype(np.float32), np.ones((60, 60), dtype=bool))
    np.testing.assert_allclose(found, sigma, rtol=0.15)


def test_an_image_without_noise_has_hardly_any():
    found = spatial_noise(smooth().astype(np.float32), np.ones((60, 60), dtype=bool))
    assert (found < 0.5).all()


def test_invalid_pixels_are_not_looked_at():
    image = (smooth() + np.random.default_rng(0).normal(0, 5, (4, 60, 60))).astype(np.float32)
    valid = np.ones((60, 60), dtype=bool)
    valid[20:40, 10:30] = False
    expected = spatial_noise(image, valid)
    image[:, ~valid] = np.nan
    np.testing.assert_allclose(spatial_noise(image, valid), expected)


def test_too_few_pixels_say_nothing():
    assert not spatial_noise(smooth(edge=8).astype(np.float32), np.ones((8, 8), dtype=bool)).any()


@pytest.mark.parametrize(("count", "tolerance"), [(150, 0.5), (4000, 0.2)])
def test_noise_is_found_in_every_band_with_many_and_with_few_pixels(count, tolerance):
    generator = np.random.default_rng(1)
    sigma = np.linspace(0.01, 0.1, 100)
    smooth = np.sin(np.linspace(0, 3, 100)[None] * np.arange(1, 6)[:, None])
    clean = generator.normal(size=(count, 5)) @ smooth
    clean[:3] += 5 * (np.arange(100) == 40)  # a rare spectrum is not noise
    pixels = clean + sigma * generator.normal(size=clean.shape)
    found = spectral_noise(pixels)
    assert np.median(np.abs(found / sigma - 1)) < tolerance / 2
    np.testing.assert_allclose(found[45:], sigma[45:], rtol=tolerance)
    assert count < 1000 or found[40] < 2 * sigma[40]
