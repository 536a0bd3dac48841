"""B from a pair whose R is known: the kernel that turns the MSI into what the HSI's spectra say it should be.

For each MSI band b and HSI pixel i the model is q_bi = g_b Σ_k h_k z_bik + o_b, with q = R Y, z the MSI around
the pixel (`PairSample.surroundings`) and h the kernel (Simões et al. 2015, eq. 24, without its circular edges).
Its misfit for any kernel follows from the second moments of (z, q), so they are summed once and every trial
kernel costs microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg, optimize

from hsfuse.imaging.psf import FWHM_PER_SIGMA, PointSpread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.imaging.blind.samples import KernelBasis

_USUAL_FWHM = 1.0  # HSI pixels
_USUAL_SPREAD = 0.4  # of its logarithm
_WIDEST_FWHM = 2.4
_NARROWEST_FWHM = 0.35
_LEAST_MISFIT = 3e-5  # no band is so good that it alone decides
_SURELY_NOISE = 0.9
_INDEPENDENT_SHARE = 0.5  # neighbouring HSI pixels share their errors


@dataclass(frozen=True)
class KernelMoments:
    """Centred second moments of the MSI around the HSI pixels and of R Y."""

    gram: NDArray[np.float64]
    """Σ z zᵀ, shape (c, d, d)."""

    cross: NDArray[np.float64]
    """Σ z q, shape (c, d)."""

    energy: NDArray[np.float64]
    """Σ q², shape (c,)."""

    count: int
    """HSI pixels in the sums."""

    @classmethod
    def of(
        cls,
        surroundings: NDArray[np.float32],
        target: NDArray[np.float64],
        basis: KernelBasis,
        noise: NDArray[np.float64],
    ) -> KernelMoments:
        """Sum over pixels, without the noise's own share, which would widen the kernel.

        Args:
            surroundings: z, shape (N, c, d).
            target: R Y, shape (N, c).
            basis: Of the surroundings.
            noise: Variance of the MSI's noise, shape (c,).
        """
        products = np.asarray(np.kron(*[basis.functions.T @ basis.functions] * 2), dtype=np.float64)
        gram, cross, energy = [], [], []
        for band in range(target.shape[1]):
            seen = surroundings[:, band].astype(np.float64)
            seen -= seen.mean(axis=0)
            wanted = target[:, band] - target[:, band].mean()
            own, shared, power = seen.T @ seen, seen.T @ wanted, float(wanted @ wanted)
            least = _least_left(own - np.outer(shared, shared / max(power, 1e-300)), products)
            gram.append(own - min(len(target) * noise[band], _SURELY_NOISE * least) * products)
            cross.append(shared)
            energy.append(power)
        return cls(np.stack(gram), np.stack(cross), np.array(energy), len(target))

    def misfit(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """1 − ρ² of each band under a kernel, its best gain and offset: shape (c,)."""
        power = np.einsum("i,bij,j->b", coefficients, self.gram, coefficients)
        fit = self.cross @ coefficients
        return np.asarray(1 - np.sign(fit) * fit**2 / np.maximum(power * self.energy, 1e-300), dtype=np.float64)

    def cost(self, coefficients: NDArray[np.float64]) -> float:
        """Negative log likelihood with every band's noise variance at its best, up to a constant."""
        misfit = np.maximum(self.misfit(coefficients), 0) + _LEAST_MISFIT
        return 0.5 * _INDEPENDENT_SHARE * self.count * float(np.log(misfit).sum())

    @property
    def weight(self) -> float:
        """What a misfit of e times another's adds to the cost."""
        return 0.5 * _INDEPENDENT_SHARE * self.count * len(self.energy)


def _least_left(gram: NDArray[np.float64], products: NDArray[np.float64]) -> float:
    """The least that any kernel leaves of R Y: with more taken for noise some kernel would seem to fit perfectly."""
    least = linalg.eigh(gram, products, eigvals_only=True, subset_by_index=[0, 0])[0]
    return max(float(least), 0.0)


@dataclass(frozen=True)
class GaussianKernel:
    """An anisotropic Gaussian beside the window's centre."""

    log_covariance: tuple[float, float, float]
    """Matrix logarithm of its covariance in HSI pixels²: xx, yy, xy."""

    centre: tuple[float, float]
    """(x, y) in HSI pixels."""

    uncertainty: tuple[float, float, float] = (np.inf, np.inf, np.inf)
    """One standard deviation of its FWHM, as a share, and of its centre's x and y, in HSI pixels."""

    @property
    def covariance(self) -> NDArray[np.float64]:
        """In HSI pixels², shape (2, 2), x before y."""
        xx, yy, xy = self.log_covariance
        values, vectors = np.linalg.eigh(np.array([[xx, xy], [xy, yy]]))
        return np.asarray((vectors * np.exp(values)) @ vectors.T, dtype=np.float64)

    def point_spread(self, ratio: int, taps: int | None = None, *, centred: bool = True) -> PointSpread:
        """As a kernel on the fine pixels."""
        values, vectors = np.linalg.eigh(self.covariance)
        widths = FWHM_PER_SIGMA * np.sqrt(values)
        angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
        shift = (0.0, 0.0) if centred else self.centre
        fwhm = (float(widths[0]), float(widths[1]))
        return PointSpread.gaussian(ratio, fwhm, shift=shift, angle=angle, taps=taps)

    def coefficients(self, basis: KernelBasis) -> NDArray[np.float64]:
        """In the basis of the surroundings, shape (m²,)."""
        psf = self.point_spread(basis.ratio, basis.taps, centred=False)
        return basis.coefficients(psf.kernel)

    @classmethod
    def usual(cls, centre: tuple[float, float] = (0.0, 0.0)) -> GaussianKernel:
        """Round, one HSI pixel wide."""
        log_variance = 2 * np.log(_USUAL_FWHM / FWHM_PER_SIGMA)
        return cls((log_variance, log_variance, 0.0), centre)


def fit_gaussian(moments: KernelMoments, basis: KernelBasis, start: GaussianKernel) -> GaussianKernel:
    """The Gaussian of least misfit, held weakly near one HSI pixel's width (maximum a posteriori)."""
    initial = np.array([*start.log_covariance, *start.centre])
    usual = np.array(GaussianKernel.usual().log_covariance)
    narrow, wide = (2 * np.log(width / FWHM_PER_SIGMA) for width in (_NARROWEST_FWHM, _WIDEST_FWHM))

    def cost(values: NDArray[np.float64]) -> float:
        kernel = GaussianKernel((values[0], values[1], values[2]), (values[3], values[4]))
        distance = values[:3] - usual  # in log variance, twice the log width
        return moments.cost(kernel.coefficients(basis)) + float(distance @ distance) / (8 * _USUAL_SPREAD**2)

    bounds = [(narrow, wide), (narrow, wide), (-1.5, 1.5), (-1.2, 1.2), (-1.2, 1.2)]
    found = optimize.minimize(cost, initial, method="L-BFGS-B", bounds=bounds)
    values = found.x
    spread = _spread(cost, values)
    width = np.sqrt(spread[0] + spread[1]) / 2 / np.sqrt(2)
    uncertainty = (float(width), float(np.sqrt(spread[3])), float(np.sqrt(spread[4])))
    return GaussianKernel((values[0], values[1], values[2]), (values[3], values[4]), uncertainty)


def _spread(cost: object, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variances of the parameters from the curvature of the cost (Laplace)."""
    assert callable(cost)
    step = 0.02
    size = len(values)
    hessian = np.empty((size, size))
    here = cost(values)
    for i in range(size):
        for j in range(i, size):
            a, b = np.eye(size)[i] * step, np.eye(size)[j] * step
            if i == j:
                second = (cost(values + a) - 2 * here + cost(values - a)) / step**2
            else:
                corners = cost(values + a + b) - cost(values + a - b) - cost(values - a + b) + cost(values - a - b)
                second = corners / (4 * step**2)
            hessian[i, j] = hessian[j, i] = second
    curvature, directions = np.linalg.eigh(hessian)
    return np.asarray(directions**2 @ (1 / np.maximum(curvature, 1e-6)), dtype=np.float64)


def fit_centre(
    moments: KernelMoments,
    basis: KernelBasis,
    psf: PointSpread,
    start: tuple[float, float],
) -> tuple[float, float]:
    """Where a known point spread lies: the centre (x, y) in HSI pixels of least misfit."""

    def cost(centre: NDArray[np.float64]) -> float:
        return moments.cost(basis.coefficients(windowed(psf.shifted((centre[0], centre[1])), basis.taps)))

    found = optimize.minimize(cost, np.array(start), method="Nelder-Mead", options={"xatol": 2e-3, "fatol": 1e-2})
    return float(found.x[0]), float(found.x[1])


def windowed(psf: PointSpread, taps: int) -> NDArray[np.float64]:
    """A kernel cut or padded about its middle to (taps, taps), sum 1."""
    margin = (taps - psf.kernel.shape[0]) // 2
    kernel = np.pad(psf.kernel, max(margin, 0))
    cut_off = max(-margin, 0)
    kernel = kernel[cut_off : kernel.shape[0] - cut_off, cut_off : kernel.shape[1] - cut_off]
    return np.asarray(kernel / kernel.sum(), dtype=np.float64)


def fit_free(
    moments: KernelMoments,
    basis: KernelBasis,
    prior: NDArray[np.float64],
    strength: float,
) -> NDArray[np.float64]:
    """Coefficients of a kernel of any shape, non-negative, drawn to a prior kernel (Simões et al. 2015, eq. 24).

    Args:
        moments: What the pair says.
        basis: Of the kernels.
        prior: Coefficients of the Gaussian that fits best, shape (m²,).
        strength: Of the prior, relative to the data's own curvature.
    """
    power = np.einsum("i,bij,j->b", prior, moments.gram, prior)
    gain = (moments.cross @ prior) / power
    left = (np.maximum(moments.misfit(prior), 0) + _LEAST_MISFIT) * moments.energy
    weight = moments.count / left
    curvature = np.einsum("b,bij->ij", weight * gain**2, moments.gram)
    slope = (weight * gain) @ moments.cross - curvature @ prior
    # Far from the centre the prior is small and so is what it lets through.
    latitude = np.abs(prior) + 0.02 * np.abs(prior).max()
    hold = strength * np.trace(curvature) / len(prior) * np.diag(np.abs(prior).max() / latitude)
    kernel = np.clip(basis.kernel(prior + np.linalg.solve(curvature + hold, slope)), 0, None)
    return basis.coefficients(kernel / kernel.sum())
