"""Scenes one level down are as noisy as the scenes themselves."""

import numpy as np
import pytest

from hsfuse.pairs.wald_level import ReducedPair
from hsfuse.scenes import PixelWindow

from ..training.conftest import imaging, known_pair, noise_pair


@pytest.fixture(scope="module")
def pair():
    return noise_pair(imaging(), 42, 60)


def test_a_degraded_scene_is_as_noisy_as_the_scene(pair):
    calm = ReducedPair(known_pair(pair, imaging()), restore_noise=False).read(PixelWindow(0, 0, 20, 14))
    noisy = ReducedPair(known_pair(pair, imaging())).read(PixelWindow(0, 0, 20, 14))
    spread = [float(image.std()) for image in (pair.whole.hsi, pair.whole.msi)]
    for before, after, own in zip(
        (calm.patch.hsi, calm.patch.msi), (noisy.patch.hsi, noisy.patch.msi), spread, strict=True
    ):
        added = (after - before).flatten(1).std(dim=1).numpy()
        # A scene of nothing but noise, which degrading takes away; its median is wider than that of a normal one.
        np.testing.assert_allclose(added, 1.2 * own, rtol=0.3)
    assert (noisy.truth == calm.truth).all()


def test_a_pixel_has_the_same_noise_in_whatever_part_it_is_read(pair):
    level = ReducedPair(known_pair(pair, imaging()))
    area, ratio = level.area, level.model.ratio
    whole, part = level.read(area), level.read(PixelWindow(2, 1, area.width - 3, area.height - 2))
    np.testing.assert_allclose(part.patch.hsi, whole.patch.hsi[:, 1:-1, 2:-1], rtol=1e-4, atol=1e-5)
    fine = whole.patch.msi[:, ratio:-ratio, 2 * ratio : -ratio]
    np.testing.assert_allclose(part.patch.msi, fine, rtol=1e-4, atol=1e-5)


def test_the_seed_says_which_noise_is_drawn():
    pair = known_pair(noise_pair(imaging(), 60, 48), imaging())
    window = PixelWindow(2, 3, 10, 8)
    first, again, other = (ReducedPair(pair, seed=seed).read(window).pair for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.hsi, again.hsi)
    np.testing.assert_array_equal(first.msi, again.msi)
    assert abs(first.hsi - other.hsi).max() > 0
    assert abs(first.msi - other.msi).max() > 0
