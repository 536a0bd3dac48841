"""UIQI and SSIM: right (by independent oracles), masked, and the same however the rows are cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.image import structural_similarity_index_measure

from hsfuse.errors import RequestError
from hsfuse.metrics import WindowedReference


def images() -> tuple[np.ndarray, np.ndarray]:
    """A fused image and its reference, float32 (3, 26, 21)."""
    generator = np.random.default_rng(1)
    reference = generator.random((3, 26, 21)) + np.array([0.1, 1, 10])[:, None, None]
    return (reference + 0.1 * generator.standard_normal(reference.shape)).astype(np.float32), reference.astype(
        np.float32
    )


def peak(reference: np.ndarray) -> np.ndarray:
    """The reference's band maxima."""
    return reference.max(axis=(1, 2)).astype(float)


def uiqi_of_windows(x: np.ndarray, y: np.ndarray, size: int) -> np.ndarray:
    """Q of every window of two bands, by its definition."""
    a, b = (np.lib.stride_tricks.sliding_window_view(band.astype(float), (size, size)) for band in (x, y))
    a, b = (windows.reshape(*windows.shape[:2], -1) for windows in (a, b))
    mean_a, mean_b = a.mean(-1), b.mean(-1)
    common = ((a - mean_a[..., None]) * (b - mean_b[..., None])).mean(-1)
    return 4 * common * mean_a * mean_b / ((a.var(-1) + b.var(-1)) * (mean_a**2 + mean_b**2))


def test_uiqi_is_its_definition() -> None:
    fused, reference = images()
    scores = WindowedReference(peak(reference), window=7)
    scores.update(fused, reference)
    expected = [uiqi_of_windows(x, y, 7).mean() for x, y in zip(fused, reference, strict=True)]
    assert scores.result().band_uiqi == pytest.approx(expected, abs=1e-9)


def test_ssim_agrees_with_torchmetrics() -> None:
    fused, reference = images()
    scores = WindowedReference(peak(reference))
    scores.update(fused, reference)
    x, y = torch.from_numpy(fused).double()[:, None, None], torch.from_numpy(reference).double()[:, None, None]
    # torchmetrics reflects the image at its rim and counts those windows too.
    full = [
        structural_similarity_index_measure(a, b, data_range=float(b.max()), return_full_image=True)[1]
        for a, b in zip(x, y, strict=True)
    ]
    expected = [float(image[..., 5:-5, 5:-5].mean()) for image in full]
    assert scores.result().band_ssim == pytest.approx(expected, abs=1e-6)


def test_ssim_agrees_with_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    fused, reference = images()
    scores = WindowedReference(peak(reference))
    scores.update(fused, reference)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = [
        metrics.structural_similarity(x.astype(float), y.astype(float), data_range=float(y.max()), **options)
        for x, y in zip(fused, reference, strict=True)
    ]
    assert scores.result().band_ssim == pytest.approx(expected, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 26), max_size=6), st.integers(0, 2**32 - 1))
def test_strips_of_any_height_give_the_whole(cuts: list[int], seed: int) -> None:
    fused, reference = images()
    valid = np.random.default_rng(seed).random((26, 21)) < 0.995
    whole, strips = WindowedReference(peak(reference)), WindowedReference(peak(reference))
    whole.update(fused, reference, valid)
    edges = [0, *sorted(cuts), 26]
    for start, stop in pairwise(edges):
        strips.update(fused[:, start:stop], reference[:, start:stop], valid[start:stop])
    assert strips.result().summary() == pytest.approx(whole.result().summary(), rel=1e-12, nan_ok=True)


def test_windows_that_touch_a_hole_do_not_count() -> None:
    fused, reference = images()
    qualities = uiqi_of_windows(fused[0], reference[0], 8)
    counts = np.ones(qualities.shape, dtype=bool)
    counts[max(0, 10 - 7) : 11, max(0, 9 - 7) : 10] = False
    valid = np.ones((26, 21), dtype=bool)
    valid[10, 9] = False
    fused[:, 10, 9] = np.nan
    scores = WindowedReference(peak(reference))
    scores.update(fused, reference, valid)
    assert scores.result().band_uiqi[0] == pytest.approx(qualities[counts].mean(), abs=1e-9)


def test_an_image_smaller_than_the_windows_is_undefined() -> None:
    fused, reference = images()
    scores = WindowedReference(peak(reference))
    scores.update(fused[:, :5], reference[:, :5])
    assert np.isnan(list(scores.result().summary().values())).all()


def test_flat_windows_compare_their_means() -> None:
    one, two = np.full((1, 12, 12), 1, np.float32), np.full((1, 12, 12), 2, np.float32)
    scores = WindowedReference(np.array([2.0]))
    scores.update(one, two)
    assert scores.result().uiqi == pytest.approx(2 * 1 * 2 / (1 + 4))


def test_refuses_strips_that_do_not_fit() -> None:
    fused, reference = images()
    scores = WindowedReference(peak(reference))
    scores.update(fused, reference)
    with pytest.raises(RequestError, match="20 pixels wide, the one before was 21"):
        scores.update(fused[..., :20], reference[..., :20])
    with pytest.raises(RequestError, match="3 bands were announced"):
        scores.update(fused[:2], reference[:2])
    with pytest.raises(RequestError, match="at least 2"):
        WindowedReference(peak(reference), window=1)
