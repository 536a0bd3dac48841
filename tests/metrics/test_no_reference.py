"""D_λ, D_S, QNR, HQNR and consistency: known answers, masked, and the same however a scene is cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hsfuse.errors import RequestError
from hsfuse.metrics import FusedView, NoReference, NoReferenceScores

RATIO, BANDS, MSI_BANDS, ROWS, COLUMNS = 4, 5, 2, 24, 16


def refined(image: np.ndarray) -> np.ndarray:
    """Every pixel repeated."""
    return np.kron(image, np.ones((1, RATIO, RATIO)))


def perfect_view() -> FusedView:
    """A fused image whose blocks have the very moments of the HSI's, consistent with both inputs."""
    generator = np.random.default_rng(2)
    hsi, msi = generator.random((BANDS, ROWS, COLUMNS)) + 0.3, generator.random((MSI_BANDS, ROWS, COLUMNS)) + 0.3
    fine = (ROWS * RATIO, COLUMNS * RATIO)
    valid = np.ones((ROWS, COLUMNS), dtype=bool), np.ones(fine, dtype=bool)
    return FusedView(refined(hsi), hsi, refined(msi), hsi, refined(msi), msi, *valid)


def scores(view: FusedView) -> NoReferenceScores:
    """The scores of one tile."""
    found = NoReference(RATIO)
    found.update(view)
    return found.result()


def cut(view: FusedView, start: int, stop: int) -> FusedView:
    """Rows of HSI pixels out of a view."""
    fine = {"fused", "msi", "fused_as_msi", "msi_valid"}
    parts = {
        name: image[..., start * RATIO : stop * RATIO, :] if name in fine else image[..., start:stop, :]
        for name, image in vars(view).items()
    }
    return FusedView(**parts)


def q(x: np.ndarray, y: np.ndarray) -> float:
    """UIQI of two blocks, by its definition."""
    common = np.mean((x - x.mean()) * (y - y.mean()))
    return 4 * common * x.mean() * y.mean() / ((x.var() + y.var()) * (x.mean() ** 2 + y.mean() ** 2))


def test_a_fused_image_without_distortion() -> None:
    found = scores(perfect_view())
    assert (found.d_lambda, found.d_s, found.d_lambda_khan) == pytest.approx((0, 0, 0), abs=1e-12)
    assert (found.qnr, found.hqnr) == pytest.approx((1, 1))
    assert (found.consistency_hsi, found.consistency_msi) == (np.inf, pytest.approx(np.inf)) or (
        found.consistency_msi > 120
    )
    assert found.blocks == (ROWS // 8) * (COLUMNS // 8)


def test_distortions_are_their_definitions() -> None:
    view = perfect_view()
    noise = 0.2 * np.random.default_rng(3).standard_normal(view.fused.shape)
    view = cut(replace(view, fused=view.fused + noise, fused_as_hsi=view.hsi * 1.1 + 0.1), 0, 8)
    view = replace(view, **{name: image[..., : image.shape[-1] // 2] for name, image in vars(view).items()})
    found = scores(view)
    assert found.blocks == 1
    bands, msi_bands = range(BANDS), range(MSI_BANDS)
    between = [
        abs(q(view.fused[i], view.fused[j]) - q(view.hsi[i], view.hsi[j])) for i in bands for j in bands if i != j
    ]
    with_msi = [
        abs(q(view.fused[i], view.msi[m]) - q(view.hsi[i], view.msi_as_hsi[m])) for i in bands for m in msi_bands
    ]
    khan = 1 - np.mean([q(view.fused_as_hsi[i], view.hsi[i]) for i in bands])
    assert found.d_lambda == pytest.approx(np.mean(between))
    assert found.d_s == pytest.approx(np.mean(with_msi))
    assert found.d_lambda_khan == pytest.approx(khan)
    assert found.qnr == pytest.approx((1 - np.mean(between)) * (1 - np.mean(with_msi)))
    assert found.hqnr == pytest.approx((1 - khan) * (1 - np.mean(with_msi)))


def test_consistency_is_the_error_after_the_imaging_model() -> None:
    view = perfect_view()
    found = scores(replace(view, fused_as_hsi=view.hsi + 0.01, fused_as_msi=(view.msi - 0.2) / 7))
    expected = np.mean(20 * np.log10(view.hsi.max(axis=(1, 2)) / 0.01))
    assert found.consistency_hsi == pytest.approx(expected)
    assert found.consistency_msi > 120  # a gain and an offset are no inconsistency


def test_tiles_in_any_order_give_the_whole_and_holes_do_not_leak() -> None:
    view = perfect_view()
    noise = 0.2 * np.random.default_rng(3).standard_normal(view.fused.shape)
    holes = view.msi_valid.copy()
    holes[5, 6] = False
    fused = view.fused + noise
    fused[:, 5, 6] = np.nan
    view = replace(view, fused=fused, fused_as_msi=np.where(holes, view.fused_as_msi, np.nan), msi_valid=holes)
    found = NoReference(RATIO)
    for start in (16, 0, 8):
        found.update(cut(view, start, start + 8))
    assert found.result().summary() == pytest.approx(scores(view).summary(), rel=1e-9)
    assert found.result().blocks == 5
    assert found.result().pixels == ROWS * COLUMNS * RATIO**2 - 1


def test_a_scene_smaller_than_a_block_leaves_only_the_consistency() -> None:
    found = scores(cut(perfect_view(), 0, 4))
    assert np.isnan([found.d_lambda, found.d_s, found.qnr, found.hqnr]).all()
    assert found.consistency_hsi == np.inf


def test_refuses_what_does_not_fit() -> None:
    view = perfect_view()
    with pytest.raises(RequestError, match=r"fused_as_hsi has shape \(4, 24, 16\)"):
        replace(view, fused_as_hsi=view.fused_as_hsi[:4])
    with pytest.raises(RequestError, match="ratio 3"):
        NoReference(3).update(view)
    with pytest.raises(RequestError, match="no valid pixel"):
        NoReference(4).result()
    with pytest.raises(RequestError, match="2 or more"):
        NoReference(1)
