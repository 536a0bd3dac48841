"""The Bayesian estimate: its solver against a dense solution, its prior, and what it does at the rims of tiles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from hsfuse.classical import Bayes, SubspaceLinear
from hsfuse.classical.edge_prior import EDGE_CONTRAST, WHITE, EdgePrior, WeightedLaplacian
from hsfuse.classical.posterior import NormalEquations, Preconditioner, Stencil, conjugate_gradients
from hsfuse.imaging import BlurDecimate, PointSpread
from hsfuse.subspace.patch import PairPatch
from hsfuse.subspace.rim import data_precision

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import KnownPair
    from torch import Tensor


def equations(ratio: int = 3, edge: int = 6, fwhm: float = 1.0) -> tuple[NormalEquations, Tensor]:
    """A small problem of three images, one of them not seen by the MSI, in float64, and m."""
    generator = torch.Generator().manual_seed(1)
    shape = (edge * ratio, (edge + 1) * ratio)
    down = torch.rand(shape[0] - 1, shape[1], generator=generator, dtype=torch.float64)
    right = torch.rand(shape[0], shape[1] - 1, generator=generator, dtype=torch.float64)
    laplacian = WeightedLaplacian.of((down**3, right**3), torch.Size(shape))
    msi = torch.tensor([0.0, 0.4, 30.0], dtype=torch.float64)
    hsi = torch.tensor([[60.0, 1.0, 4.0], [1.0, 5.0, 0.5], [4.0, 0.5, 0.8]], dtype=torch.float64)
    blur = BlurDecimate(PointSpread.gaussian(ratio, fwhm))
    noise, beyond = torch.tensor([[1.0, 1.0, 1.0], [200.0, 20.0, 0.0]], dtype=torch.float64)
    precision = data_precision(noise, beyond, blur, hsi.new_empty(edge, edge + 1))
    mixing = torch.linalg.cholesky(hsi).T
    return NormalEquations(laplacian, laplacian.degree + msi[:, None, None], mixing, precision, blur), msi


def dense(operator: Callable[[Tensor], Tensor], shape: torch.Size) -> Tensor:
    """The matrix of a linear map of images."""
    units = torch.eye(shape.numel(), dtype=torch.float64).reshape(-1, *shape)
    return torch.stack([operator(unit).flatten() for unit in units], dim=1)


def test_the_normal_equations_are_those_of_the_sum_of_squares() -> None:
    problem, msi = equations()
    images = torch.rand(problem.diagonal.shape, dtype=torch.float64)
    coarse = problem.mixing @ problem.blur(images).flatten(1)
    lap = problem.laplacian
    steps = lap.down * (images[:, 1:] - images[:, :-1]) ** 2, lap.right * (images[..., 1:] - images[..., :-1]) ** 2
    energy = sum(step.sum() for step in steps) + (WHITE + msi) @ (images**2).sum(dim=(1, 2))
    energy = energy + (coarse.square() * problem.precision.flatten(1)).sum()
    assert torch.allclose((images * problem(images)).sum(), energy)


@pytest.mark.parametrize(("ratio", "fwhm"), [(2, 1.0), (3, 1.0), (4, 0.4), (3, 1.8)])
def test_the_stencil_is_what_blur_and_adjoint_do_at_the_rims_too(ratio: int, fwhm: float) -> None:
    problem, _ = equations(ratio, fwhm=fwhm)
    inverse = torch.cat([1 / problem.diagonal[:1], 1 / problem.diagonal])
    stencil = Stencil.probe(problem.blur, inverse, 2)
    images = torch.rand(4, 6, 7, dtype=torch.float64)
    assert torch.allclose(stencil(images), problem.blur(inverse * problem.blur.adjoint(images)), atol=1e-12)
    assert torch.allclose(stencil.sums, problem.blur(inverse * problem.blur.adjoint(torch.ones_like(images))))


@pytest.mark.parametrize("fwhm", [0.6, 1.0, 1.8])
def test_the_preconditioner_is_positive_and_near_the_inverse(fwhm: float) -> None:
    problem, _ = equations(fwhm=fwhm)
    shape = problem.diagonal.shape
    precondition = Preconditioner.of(problem, 1)
    matrix, inverse = dense(problem, shape), dense(precondition, shape)
    assert torch.allclose(inverse, inverse.T, atol=1e-10)
    root = torch.linalg.cholesky(matrix)
    spectrum = torch.linalg.eigvalsh(root.T @ inverse @ root)
    assert spectrum[0] > 0.02
    assert spectrum[-1] < 3.5
    # and that is what the HSI's stiff term takes it for: the diagonal alone has a far wider one
    jacobi = torch.linalg.eigvalsh(root.T @ (root / torch.diag(matrix)[:, None]))
    assert spectrum[-1] / spectrum[0] < 0.7 * jacobi[-1] / jacobi[0]


def test_conjugate_gradients_find_the_dense_solution() -> None:
    problem, _ = equations()
    shape = problem.diagonal.shape
    right = torch.rand(shape, dtype=torch.float64)
    expected = torch.linalg.solve(dense(problem, shape), right.flatten()).reshape(shape)
    found = conjugate_gradients(
        problem, Preconditioner.of(problem, 1), right, torch.zeros_like(right), steps=60, tolerance=1e-9
    )
    assert torch.allclose(found, expected, atol=1e-7)


def test_the_estimate_minimises_the_equation_of_the_docstring(known_pair: Callable[..., KnownPair]) -> None:
    pair = known_pair(6, noise=0.004, edge=20)
    fitted = replace(Bayes.fit([pair.patch], pair.model, 6), steps=200, tolerance=1e-4)
    inputs = fitted.linear_model.inputs(pair.hsi, pair.msi)
    found = fitted.coefficients(inputs, pair.msi)

    def cost(coefficients: Tensor) -> float:
        observation, place = fitted.observation, fitted.coordinates
        coefficients = coefficients.double()
        misfit = inputs.hsi.double() - fitted.linear_model.blur(coefficients)
        seen = torch.einsum("ck,khw->chw", observation.response, coefficients) + observation.offset[:, None, None]
        away = coefficients - inputs.msi.double()
        half = torch.einsum("kl,lhw->khw", place.from_coefficients.double(), away)
        weights = tuple(part.double() for part in fitted.prior.weights(pair.msi))
        laplacian = WeightedLaplacian.of(weights, away.shape[-2:])
        prior = (half * laplacian(half, laplacian.degree.expand_as(half))).sum()
        share = fitted.linear_model.blur.outside(20, 20).square()
        data = (misfit.square() / (fitted.hsi_noise + share[..., None] * fitted.beyond).permute(2, 0, 1)).sum()
        return float(data + ((pair.msi - seen).square() / observation.noise[:, None, None]).sum() + prior)

    least = cost(found)
    generator = torch.Generator().manual_seed(0)
    for smooth in (1, 8):
        for _ in range(5):
            change = torch.randn(found.shape, generator=generator)
            change = torch.nn.functional.avg_pool2d(change, smooth, 1, smooth // 2)[:, :60, :60]
            for sign in (-1, 1):
                assert cost(found + sign * 0.3 * change) > least


def test_weights_are_one_on_flat_ground_and_small_across_edges() -> None:
    msi = torch.zeros(2, 24, 24)
    msi[0, :, 12:] = 1.0
    msi[1] = 0.7
    prior = EdgePrior.fit([PairPatch.all_valid(msi[:, ::3, ::3], msi)], torch.zeros(2))
    down, right = prior.weights(msi)
    assert torch.equal(down, torch.ones_like(down))
    assert right[:, :9].min() == 1
    assert right[:, 11].max() < 1 / (1 + EDGE_CONTRAST)


def test_noise_in_the_msi_is_no_edge() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.linspace(0, 1, 60).expand(3, 60, 60).clone()
    noisy = clean + 0.05 * torch.randn(clean.shape, generator=generator)
    patch = PairPatch.all_valid(noisy[:, ::3, ::3], noisy)
    told, untold = (EdgePrior.fit([patch], torch.full((3,), variance)) for variance in (0.05**2, 0.0))
    assert told.contrast < 0.5 * untold.contrast


@pytest.mark.parametrize("ratio", [2, 4])
def test_beats_the_linear_estimate(ratio: int, known_pair: Callable[..., KnownPair]) -> None:
    pair = known_pair(8, ratio=ratio, edge=24, noise=0.004)

    def error(method: type[Bayes | SubspaceLinear]) -> float:
        fused = method.fit([pair.patch], pair.model)(pair.hsi, pair.msi)
        return float((fused - pair.truth).square().mean().sqrt())

    assert error(Bayes) < 0.93 * error(SubspaceLinear)


def test_stopping_early_costs_less_than_the_noise(mixed_pair: KnownPair) -> None:
    fitted = Bayes.fit([mixed_pair.patch], mixed_pair.model)
    stopped, solved = (
        way(mixed_pair.hsi, mixed_pair.msi) for way in (fitted, replace(fitted, steps=300, tolerance=1e-5))
    )
    errors = [float((image - mixed_pair.truth).square().mean()) for image in (stopped, solved)]
    assert errors[0] < 1.0046 * errors[1]  # 0.02 dB


def test_a_tile_is_the_whole_beyond_its_margin_where_the_solver_is_let_run(mixed_pair: KnownPair) -> None:
    fitted = replace(Bayes.fit([mixed_pair.patch], mixed_pair.model), steps=300, tolerance=1e-5)
    whole = fitted(mixed_pair.hsi, mixed_pair.msi)[..., 15:75]
    tile = fitted(mixed_pair.hsi[..., 5:25], mixed_pair.msi[..., 15:75])
    rim = 3 * fitted.margin
    assert (tile - whole)[..., rim:-rim].abs().max() < 1.2e-4 * whole.max()


def test_the_posterior_variance_is_the_errors(known_pair: Callable[..., KnownPair]) -> None:
    pair = known_pair(8, edge=30, noise=0.004)
    fitted = Bayes.fit([pair.patch], pair.model)
    error = (fitted(pair.hsi, pair.msi) - pair.truth).square().mean(dim=(1, 2)).sqrt()
    variance = fitted.posterior_variance(pair.msi)
    assert variance.shape == pair.truth.shape
    ratio = error / variance.mean(dim=(1, 2)).sqrt()
    assert ratio.min() > 0.4
    assert ratio.max() < 2.5


def test_more_msi_bands_than_coefficients_are_no_trouble(known_pair: Callable[..., KnownPair]) -> None:
    pair = known_pair(3, bands=5, msi_bands=7, noise=0.003)
    fused = Bayes.fit([pair.patch], pair.model)(pair.hsi, pair.msi)
    assert (fused - pair.truth).square().mean().sqrt() < 0.006


def test_without_noise_the_number_of_coefficients_grows(known_pair: Callable[..., KnownPair]) -> None:
    sizes = []
    for noise in (0.0, 0.02):
        pair = known_pair(12, noise=noise)
        sizes.append(Bayes.fit([pair.patch], pair.model).linear_model.size)
    assert sizes[0] >= 11 > sizes[1] >= 6
