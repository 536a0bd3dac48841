"""PSNR, SAM, ERGAS, RMSE, CC: right (by independent oracles), masked, and the same however a scene is cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.image import (
    error_relative_global_dimensionless_synthesis,
    peak_signal_noise_ratio,
    spectral_angle_mapper,
)

from hsfuse.errors import RequestError
from hsfuse.metrics import FullReference, full_reference


def images(bands: int = 5, rows: int = 23, columns: int = 31, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A fused image and its reference, float32, bands of different brightness."""
    generator = np.random.default_rng(seed)
    level = np.linspace(0.2, 3, bands)[:, None, None]
    reference = level * (0.2 + generator.random((bands, rows, columns)))
    fused = reference + 0.05 * generator.standard_normal(reference.shape)
    return fused.astype(np.float32), reference.astype(np.float32)


def test_agrees_with_torchmetrics() -> None:
    fused, reference = images()
    found = full_reference(fused, reference, ratio=3)
    x, y = torch.from_numpy(fused).double()[None], torch.from_numpy(reference).double()[None]
    psnr = [float(peak_signal_noise_ratio(x[:, b], y[:, b], data_range=float(y[:, b].max()))) for b in range(5)]
    assert found.band_psnr == pytest.approx(psnr, abs=1e-5)
    assert found.psnr == pytest.approx(np.mean(psnr), abs=1e-5)
    assert found.sam == pytest.approx(float(torch.rad2deg(spectral_angle_mapper(x, y))), abs=1e-9)
    assert found.ergas == pytest.approx(float(error_relative_global_dimensionless_synthesis(x, y, ratio=3)))


def test_agrees_with_numpy() -> None:
    fused, reference = images()
    found = full_reference(fused, reference, ratio=3)
    x, y = fused.astype(float), reference.astype(float)
    assert found.rmse == pytest.approx(np.sqrt(np.mean((x - y) ** 2)))
    assert found.band_rmse == pytest.approx(np.sqrt(np.mean((x - y) ** 2, axis=(1, 2))))
    assert found.band_cc == pytest.approx([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(x, y, strict=True)])
    assert found.pixels == 23 * 31


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 22), st.integers(1, 30), st.permutations(range(4)), st.integers(0, 2**32 - 1))
def test_tiles_in_any_order_give_the_whole(row: int, column: int, order: list[int], seed: int) -> None:
    fused, reference = images()
    valid = np.random.default_rng(seed).random((23, 31)) < 0.7
    valid[0, 0] = True
    tiles = [np.s_[:row, :column], np.s_[row:, :column], np.s_[:row, column:], np.s_[row:, column:]]
    pieces = FullReference(3)
    for index in order:
        rows, columns = tiles[index]
        pieces.update(fused[:, rows, columns], reference[:, rows, columns], valid[rows, columns])
    whole = full_reference(fused, reference, valid, ratio=3, windows=False)
    assert pieces.result().summary() == pytest.approx(whole.summary(), rel=1e-12)
    assert pieces.result().band_cc == pytest.approx(whole.band_cc, rel=1e-12)


def test_what_is_not_valid_is_never_looked_at() -> None:
    fused, reference = images()
    valid = np.zeros((23, 31), dtype=bool)
    valid[2:20, 3:30] = True
    inside = full_reference(fused[:, 2:20, 3:30], reference[:, 2:20, 3:30], ratio=3)
    fused[:, ~valid], reference[:, ~valid] = np.nan, -9999
    outside = full_reference(fused, reference, valid, ratio=3)
    assert outside.summary() == pytest.approx(inside.summary(), rel=1e-12)
    assert outside.missing_pixels == 0


def test_valid_pixels_without_a_value_are_counted_and_left_out() -> None:
    fused, reference = images()
    fused[1, 4, 5] = np.nan
    found = full_reference(fused, reference, ratio=3)
    assert (found.missing_pixels, found.pixels) == (1, 23 * 31 - 1)
    assert np.isfinite(list(found.summary().values())).all()


def test_a_zero_pixel_is_left_out_of_sam_and_counted() -> None:
    fused, reference = images()
    valid = np.ones((23, 31), dtype=bool)
    valid[4, 5] = False
    without = full_reference(fused, reference, valid, ratio=3).sam
    reference[:, 4, 5] = 0
    found = full_reference(fused, reference, ratio=3)
    assert found.zero_pixels == 1
    assert found.sam == pytest.approx(without, rel=1e-12)


def test_sam_of_a_known_angle() -> None:
    reference = np.stack([np.ones((4, 4)), np.zeros((4, 4))]).astype(np.float32)
    fused = np.stack([np.ones((4, 4)), np.ones((4, 4))]).astype(np.float32)
    assert full_reference(fused, reference, ratio=2).sam == pytest.approx(45)


def test_a_perfect_image() -> None:
    _, reference = images()
    found = full_reference(reference, reference, ratio=3)
    assert found.psnr == np.inf
    assert found.sam == pytest.approx(0, abs=1e-5)
    assert (found.ergas, found.rmse) == (0, 0)
    assert found.summary() == pytest.approx(found.summary() | {"cc": 1, "uiqi": 1, "ssim": 1}, abs=1e-9)
    assert not found.undefined()


def test_constant_bands_are_undefined_where_they_are_and_nowhere_else() -> None:
    fused, reference = images()
    reference[1] = 0
    reference[2] = np.float32(0.1)
    found = full_reference(fused, reference, ratio=3)
    assert found.undefined() == {"psnr": (1,), "cc": (1, 2), "ssim": (1,), "ergas": (1,)}
    others = full_reference(fused[[0, 3, 4]], reference[[0, 3, 4]], ratio=3)
    assert found.cc == pytest.approx(others.cc)
    assert np.isfinite(list(found.summary().values())).all()


def test_an_image_of_constant_bands_only() -> None:
    flat = np.zeros((2, 12, 12), dtype=np.float32)
    found = full_reference(flat, flat, ratio=3)
    assert np.isnan([found.psnr, found.sam, found.ergas, found.cc]).all()
    assert (found.rmse, found.zero_pixels) == (0, 144)


def test_large_offsets_cost_no_digits() -> None:
    fused, reference = images()
    lifted = full_reference(fused.astype(float) + 1e6, reference.astype(float) + 1e6, ratio=3, windows=False)
    plain = full_reference(fused, reference, ratio=3, windows=False)
    assert lifted.band_cc == pytest.approx(plain.band_cc, rel=1e-7)
    assert lifted.rmse == pytest.approx(plain.rmse, rel=1e-7)


def test_refuses_what_cannot_be_compared() -> None:
    fused, reference = images()
    with pytest.raises(RequestError, match=r"\(5, 23, 31\).*\(5, 23, 30\)"):
        full_reference(fused, reference[..., :30], ratio=3)
    with pytest.raises(RequestError, match="mask of shape"):
        full_reference(fused, reference, np.ones((3, 3), dtype=bool), ratio=3)
    with pytest.raises(RequestError, match="no valid pixel"):
        full_reference(fused, reference, np.zeros((23, 31), dtype=bool), ratio=3)
    with pytest.raises(RequestError, match="positive"):
        FullReference(0)
    scores = FullReference(3)
    scores.update(fused, reference)
    with pytest.raises(RequestError, match="4 bands"):
        scores.update(fused[:4], reference[:4])


def test_wavelengths_are_handed_on() -> None:
    fused, reference = images()
    found = full_reference(fused, reference, ratio=3, wavelength_nm=[400, 500, 600, 700, 800])
    assert found.wavelength_nm is not None
    assert found.wavelength_nm.tolist() == [400, 500, 600, 700, 800]
    assert {name: values.shape for name, values in found.per_band().items()} == dict.fromkeys(
        ("psnr", "rmse", "cc", "uiqi", "ssim"), (5,)
    )
