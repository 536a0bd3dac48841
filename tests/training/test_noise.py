"""The noise of an image is found out of the image, and degraded scenes get theirs back."""

import numpy as np
import pytest

from hsfuse.scenes import PixelWindow
from hsfuse.training.levels import PairLevel
from hsfuse.training.noise import spatial_noise

from .conftest import imaging, noise_pair


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


@pytest.fixture(scope="module")
def pair():
    return noise_pair(imaging(), 42, 60)


def test_a_degraded_scene_is_as_noisy_as_the_scene(pair):
    calm = PairLevel(pair, imaging(), noisy=False).read(PixelWindow(0, 0, 20, 14))
    noisy = PairLevel(pair, imaging()).read(PixelWindow(0, 0, 20, 14))
    spread = [float(image.std()) for image in (pair.whole.hsi, pair.whole.msi)]
    for before, after, own in zip(
        (calm.patch.hsi, calm.patch.msi), (noisy.patch.hsi, noisy.patch.msi), spread, strict=True
    ):
        added = (after - before).flatten(1).std(dim=1).numpy()
        # A scene of nothing but noise, which degrading takes away; its median is wider than that of a normal one.
        np.testing.assert_allclose(added, 1.2 * own, rtol=0.3)
    assert (noisy.truth == calm.truth).all()


def test_a_pixel_has_the_same_noise_in_whatever_part_it_is_read(pair):
    level = PairLevel(pair, imaging())
    area, ratio = level.area, level.model.ratio
    whole, part = level.read(area), level.read(PixelWindow(2, 1, area.width - 3, area.height - 2))
    np.testing.assert_allclose(part.patch.hsi, whole.patch.hsi[:, 1:-1, 2:-1], rtol=1e-4, atol=1e-5)
    fine = whole.patch.msi[:, ratio:-ratio, 2 * ratio : -ratio]
    np.testing.assert_allclose(part.patch.msi, fine, rtol=1e-4, atol=1e-5)
