"""Cases whose answer is known exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hsfuse.classical import CNMF, GSA, MTFGLP, HySure
from hsfuse.classical.circulant import Circulant, differences, differences_adjoint
from hsfuse.classical.covariances import Covariances
from hsfuse.classical.vca import vertex_spectra
from hsfuse.imaging import BlurDecimate, ImagingModel, PointSpread, SpectralResponse
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import KnownPair


@pytest.fixture
def one_pattern(known_pair: Callable[..., KnownPair]) -> KnownPair:
    """Every band is one pattern with a gain and an offset: what one MSI band shows of it is everything."""
    return known_pair(2, bands=12, msi_bands=2)


@pytest.mark.parametrize("method", [GSA, MTFGLP])
def test_detail_injection_recovers_an_image_of_one_pattern(method: type[GSA | MTFGLP], one_pattern: KnownPair) -> None:
    pair = one_pattern
    fused = method.fit([pair.patch], pair.model)(pair.hsi, pair.msi)
    # The filled frame of the bicubic kernel is the same for ↑Y and ↑(P B), so even the rim is exact.
    assert (fused - pair.truth).abs().max() < 2e-4 * pair.truth.max()


def test_each_hsi_band_takes_the_msi_band_that_it_follows(known_pair: Callable[..., KnownPair]) -> None:
    generator = torch.Generator().manual_seed(3)
    msi = torch.rand(2, 60, 60, generator=generator)
    pair = known_pair(2, bands=12, msi_bands=2, edge=20)
    gains = torch.tensor([[2.0, 0], [0, -3], [0.5, 0]])
    truth = torch.einsum("bm,mhw->bhw", gains, msi)
    hsi = pair.model.blur(truth)
    model = ImagingModel(SpectralResponse(np.eye(2, 3), ("a", "b")), pair.model.psf)
    fitted = MTFGLP.fit([PairPatch.all_valid(hsi, msi)], model)
    assert torch.allclose(fitted.gains, gains, atol=1e-4)


def test_gsa_makes_its_intensity_of_the_bands_of_the_group(known_pair: Callable[..., KnownPair]) -> None:
    pair = known_pair(4, noise=0.002)
    fitted = GSA.fit([pair.patch], pair.model)
    groups = Covariances.of([pair.patch], pair.model).best_msi_band()
    outside = torch.arange(4)[:, None] != groups
    assert fitted.weights[outside].abs().max() == 0
    intensity = torch.einsum("mc,chw->mhw", fitted.weights, pair.hsi) + fitted.offset[:, None, None]
    seen = pair.model.blur(pair.msi)
    for ours, theirs in zip(intensity, seen, strict=True):
        assert np.corrcoef(ours.flatten(), theirs.flatten())[0, 1] > 0.99


def test_hysure_recovers_an_image_that_the_msi_determines(known_pair: Callable[..., KnownPair]) -> None:
    pair = known_pair(4)  # four materials, four MSI bands, no noise
    fitted = HySure.fit([pair.patch], pair.model, size=3, smoothness=0.0)
    fused = fitted(pair.hsi, pair.msi)
    assert (fused - pair.truth).square().mean().sqrt() < 2e-3 * pair.truth.std()


def test_hysure_leaves_less_noise_with_its_smoothness_than_without(known_pair: Callable[..., KnownPair]) -> None:
    pair = known_pair(6, noise=0.03)
    errors = []
    for smoothness in (0.0, 0.1):
        fitted = HySure.fit([pair.patch], pair.model, smoothness=smoothness)
        errors.append(float((fitted(pair.hsi, pair.msi) - pair.truth).square().mean()))
    assert errors[1] < 0.9 * errors[0]


def test_hysure_knows_a_shift(known_pair: Callable[..., KnownPair]) -> None:
    pair = known_pair(6, noise=0.004)
    model = type(pair.model)(pair.model.srf, pair.model.psf, (0.6, -0.4))
    hsi = model.blur(pair.truth)
    patch = PairPatch.all_valid(hsi, pair.msi)
    inner = (slice(None), slice(9, -9), slice(9, -9))

    def error(assumed: object) -> float:
        fused = HySure.fit([patch], assumed)(hsi, pair.msi)  # type: ignore[arg-type]  # either model
        return float((fused - pair.truth)[inner].square().mean().sqrt())

    assert error(model) < 0.7 * error(pair.model)


def test_cnmf_unmixes_what_is_mixed_of_pure_pixels(known_pair: Callable[..., KnownPair]) -> None:
    generator = np.random.default_rng(5)
    pair = known_pair(3, bands=20, edge=24)
    spectra = generator.random((20, 3)) + 0.05
    labels = np.kron(generator.integers(0, 3, (12, 12)), np.ones((6, 6), dtype=int))
    truth = torch.from_numpy(spectra[:, labels]).float()
    msi = pair.model.srf.project(truth)
    hsi = pair.model.blur(truth)
    fused = CNMF.fit([PairPatch.all_valid(hsi, msi)], pair.model, endmembers=3)(hsi, msi)
    assert (fused - truth).square().mean().sqrt() < 0.12 * truth.std()
    assert fused.min() >= 0


def test_cnmf_bears_a_hole_where_it_would_refit(known_pair: Callable[..., KnownPair]) -> None:
    pair = known_pair(4, edge=80, ratio=2)
    valid = torch.ones(80, 80, dtype=torch.bool)
    valid[4:76, 4:76] = False
    patch = PairPatch(pair.hsi, valid, pair.msi, torch.ones(160, 160, dtype=torch.bool))
    fused = CNMF.fit([patch], pair.model, endmembers=8)(pair.hsi, pair.msi)
    assert (fused - pair.truth).square().mean().sqrt() < 0.5 * pair.truth.std()


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 8), st.integers(0, 1000))
def test_vca_finds_the_pure_pixels(count: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    pure = generator.random((count, 15)) + 0.1
    mixtures = generator.dirichlet(np.full(count, 2.0), 200) @ pure
    places = generator.permutation(200)[:count]
    mixtures[places] = pure
    found = vertex_spectra(torch.from_numpy(mixtures), count, torch.Generator().manual_seed(seed))
    assert sorted(found[:, 0].tolist()) == pytest.approx(sorted(pure[:, 0].tolist()))


@settings(max_examples=20, deadline=None)
@given(
    st.integers(2, 5),
    st.floats(0.5, 1.5),
    st.tuples(st.floats(-0.8, 0.8), st.floats(-0.8, 0.8)),
)
def test_the_blur_under_the_fft_is_the_imaging_models(ratio: int, fwhm: float, shift: tuple[float, float]) -> None:
    psf = PointSpread.gaussian(ratio, fwhm).shifted(shift)
    image = torch.rand(2, 20 * ratio, 16 * ratio, dtype=torch.float64)
    blur = Circulant.of(psf, (20 * ratio, 16 * ratio), image)
    coarse = blur.back(torch.fft.rfft2(image) * blur.transfer)[:, ::ratio, ::ratio]
    rim = max(-(-BlurDecimate(psf).margin // ratio), 0)
    inner = (slice(None), slice(rim, 20 - rim), slice(rim, 16 - rim))
    assert torch.allclose(coarse[inner], BlurDecimate(psf)(image)[inner], atol=1e-10)


@pytest.mark.parametrize("shape", [(12, 15), (9, 8)])
def test_the_inverse_under_the_fft_solves_the_normal_equations(shape: tuple[int, int]) -> None:
    image = torch.rand(shape, dtype=torch.float64)
    blur = Circulant.of(PointSpread.gaussian(3, 1.2), shape, image)
    transform = torch.fft.rfft2(image)
    blurred = blur.back(transform * blur.transfer)
    normal = blur.back(torch.fft.rfft2(blurred) * blur.transfer.conj())
    normal = normal + differences_adjoint(differences(image)) + image
    assert torch.allclose(blur.back(torch.fft.rfft2(normal) * blur.inverse()), image, atol=1e-12)


def test_the_adjoint_of_the_differences_is_one() -> None:
    image, parts = torch.rand(3, 7, 6, dtype=torch.float64), torch.rand(2, 3, 7, 6, dtype=torch.float64)
    assert torch.allclose((differences(image) * parts).sum(), (image * differences_adjoint(parts)).sum())
