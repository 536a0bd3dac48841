"""The edge-adaptive Bayesian estimate: a Gaussian posterior in the scene's spectral subspace.

Its coefficients A minimise

    |Y − B A|² / n  +  |P − o − R A|² / s_m²  +  (A − W P)ᵀ Q (0.05 + Dᵀ w D) (A − W P).

It is the Bayesian fusion of Wei, Dobigeon and Tourneret (2015), Bayesian fusion of multi-band images, with two
differences: the prior's mean is the noise-aware linear prediction W P (`hsfuse.subspace.prediction`), and its
covariance is smooth in space, less so across the MSI's edges (`hsfuse.classical.edge_prior`). R, o and both noises are
those of HySure (Simões et al. 2015); n is s_h², and more at the rim (`hsfuse.subspace.rim`). Q is the inverse of the
low-resolution covariance of Y − B W P less the HSI's noise: what the prediction misses.

It is solved in coordinates A = W P + T Z in which Q is the identity, the MSI's term diagonal with c entries that are
not zero, and the HSI's term diagonal but for what couples those c with the others: K images that a preconditioner can
take one by one (`hsfuse.classical.posterior`). T comes from a Cholesky factor and two eigenproblems of K × K.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from hsfuse.classical.covariances import Covariances
from hsfuse.classical.edge_prior import WHITE, EdgePrior, WeightedLaplacian
from hsfuse.classical.observation import MsiObservation
from hsfuse.classical.posterior import NormalEquations, Preconditioner, conjugate_gradients, local_variance
from hsfuse.imaging import upsample
from hsfuse.subspace.basis import FEWEST_COEFFICIENTS, LEAST_NOISE
from hsfuse.subspace.linear_model import LinearModel
from hsfuse.subspace.outliers import screened
from hsfuse.subspace.patch import usable_pixels
from hsfuse.subspace.rim import beyond_variance, data_precision

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from torch import Tensor

    from hsfuse.imaging import BlurDecimate, ImagingModel
    from hsfuse.subspace.linear_model import SubspaceInputs
    from hsfuse.subspace.patch import PairPatch

_LEAST_MISSED = 1e-3  # of the largest eigenvalue of what the prediction misses
_LEAST_SEEN = 1e-9  # of the MSI's largest precision: below, a direction is one that it does not see


@dataclass(frozen=True)
class BayesCoordinates:
    """Z, in which the K coefficients decouple: A = W P + T Z."""

    to_coefficients: Tensor
    """T, float32 (K, K)."""

    from_coefficients: Tensor
    """T⁻¹, float32 (K, K)."""

    hsi: Tensor
    """S = Tᵀ diag(1 / s_h²) T, float32 (K, K): diagonal among the images that the MSI does not see."""

    msi: Tensor
    """m, the MSI's precision in each image, float32 (K,); ascending, zero for all but c."""

    @property
    def unseen(self) -> int:
        """How many images the MSI does not see; they come first."""
        return int((self.msi == 0).sum())

    @classmethod
    def fit(cls, missed: Tensor, hsi_noise: Tensor, msi_precision: Tensor) -> Self:
        """Diagonalise the prior with the MSI's term, and the HSI's term where the MSI sees nothing.

        Args:
            missed: Q⁻¹, float64 (K, K), positive definite.
            hsi_noise: s_h² of every coefficient, float64 (K,).
            msi_precision: Rᵀ diag(1 / s_m²) R, float64 (K, K).
        """
        half = torch.linalg.cholesky(missed)
        seen, turn = torch.linalg.eigh(half.T @ msi_precision @ half)
        unseen = int((seen <= _LEAST_SEEN * seen[-1].clamp_min(1e-300)).sum())
        basis = half @ turn
        hsi = basis.T @ (basis / hsi_noise[:, None])
        _, turn = torch.linalg.eigh(hsi[:unseen, :unseen])
        basis[:, :unseen] = basis[:, :unseen] @ turn
        hsi = basis.T @ (basis / hsi_noise[:, None])
        msi = torch.cat([seen.new_zeros(unseen), seen[unseen:]])
        return cls(basis.float(), torch.linalg.inv(basis).float(), hsi.float(), msi.float())


@dataclass(frozen=True)
class Bayes:
    """The posterior's mean over one tile. What lies far outside of it hardly matters, but nowhere not at all."""

    linear_model: LinearModel
    """The subspace, the prediction W that is the prior's mean, and B."""

    observation: MsiObservation
    """R and o on coefficients, and the MSI's noise."""

    hsi_noise: Tensor
    """s_h², float32 (K,)."""

    beyond: Tensor
    """θ v: how much ground beyond the rim may differ from what is replicated there, float32 (K,)."""

    coordinates: BayesCoordinates
    """Where it is solved."""

    prior: EdgePrior
    """The scene's scale of the weights w."""

    steps: int = 40
    """Of conjugate gradients, at most."""

    tolerance: float = 0.003
    """Error of the solution at which they stop, in the posterior's standard deviations."""

    margin: int = 6
    """HSI pixels at the rim of a tile over which the influence of what lies outside fades (measured)."""

    @classmethod
    def fit(
        cls,
        patches: Sequence[PairPatch],
        imaging: ImagingModel,
        size: int | None = None,
        *,
        fewest: int = FEWEST_COEFFICIENTS,
    ) -> Self:
        """Fit the subspace, the prior and both noises on parts of a scene, holes filled and masked.

        Args:
            patches: Parts of the scene.
            imaging: R and B.
            size: K; by default as many coefficients as stand out from the scene's noise.
            fewest: K at least, where the noise chooses.

        Raises:
            SceneError: Too few valid pixels.
        """
        patches = screened(patches, imaging)
        linear_model = LinearModel.fit(patches, imaging, size, fewest=fewest)
        observation = MsiObservation.of(linear_model, Covariances.of(patches, imaging), imaging)
        hsi_noise = linear_model.subspace.noise.double().square().clamp_min(LEAST_NOISE)
        missed = _missed(patches, linear_model, hsi_noise)
        coordinates = BayesCoordinates.fit(missed, hsi_noise, observation.precision())
        prior = EdgePrior.fit(patches, observation.noise)
        beyond = beyond_variance(patches, linear_model.subspace)
        return cls(linear_model, observation, hsi_noise.float(), beyond.float(), coordinates, prior)

    @torch.no_grad()
    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse Y (C, h, w) and P (c, r·h, r·w) to float32 (C, r·h, r·w)."""
        inputs = self.inputs(hsi, msi)
        return self.linear_model.decode(inputs.initial, inputs, hsi)

    def inputs(self, hsi: Tensor, msi: Tensor) -> SubspaceInputs:
        """What a network is given of a tile, Y (C, h, w) and P (c, r·h, r·w): this estimate is where it starts."""
        inputs = self.linear_model.inputs(hsi, msi)
        return replace(inputs, initial=self.coefficients(inputs, msi))

    @torch.no_grad()
    def coefficients(self, inputs: SubspaceInputs, msi: Tensor) -> Tensor:
        """A (K, r·h, r·w) of what the linear model makes of a tile, and of its P (c, r·h, r·w)."""
        place, msi = self.coordinates, self.linear_model.ranges.msi.mended(msi)
        equations = self._equations(inputs.hsi, msi)
        missed = inputs.hsi - self._blur(inputs.msi)
        right = equations.weighted(missed) + self._msi_term(msi)
        start = upsample(
            _mixed(place.from_coefficients, missed * self.linear_model.prediction.keep.to(msi)[:, None, None]),
            self._blur.ratio,
        )
        precondition = Preconditioner.of(equations, place.unseen)
        solution = conjugate_gradients(
            equations, precondition, right, start, steps=self.steps, tolerance=self.tolerance
        )
        return _mixed(place.to_coefficients, solution).add_(inputs.msi)

    @torch.no_grad()
    def posterior_variance(self, msi: Tensor) -> Tensor:
        """Variance of the posterior of the bands, about, (C, H, W): for P (c, H, W) with H and W multiples of r.

        Each Z_k alone, and each pixel as if the weights about it were those of the whole image: then L and Bᵀ B are
        diagonal under the Fourier transform (aliases left out), and the variance is the mean of the inverse: what the
        rim adds is left out. The bands have (E T)² of it, E the basis in the image's units; what the subspace leaves
        out has none.
        """
        place, msi = self.coordinates, self.linear_model.ranges.msi.mended(msi)
        degree = WeightedLaplacian.of(self.prior.weights(msi), msi.shape[-2:]).degree
        variance = local_variance(self._blur, torch.diag(place.hsi), place.msi, (degree - WHITE) / 4)
        subspace = self.linear_model.subspace
        to_bands = (subspace.basis * subspace.scale[:, None]) @ place.to_coefficients
        return _mixed(to_bands.square(), variance)

    @property
    def _blur(self) -> BlurDecimate:
        return self.linear_model.blur

    def _equations(self, hsi: Tensor, msi: Tensor) -> NormalEquations:
        laplacian = WeightedLaplacian.of(self.prior.weights(msi), msi.shape[-2:])
        diagonal = laplacian.degree + self.coordinates.msi.to(msi)[:, None, None]
        precision = data_precision(self.hsi_noise, self.beyond, self._blur, hsi)
        return NormalEquations(laplacian, diagonal, self.coordinates.to_coefficients.to(msi), precision, self._blur)

    def _msi_term(self, msi: Tensor) -> Tensor:
        """Tᵀ Rᵀ (P − o − R W P) / s_m², (K, H, W): what P shows beyond the prediction."""
        prediction, place = self.linear_model.prediction, self.coordinates
        response = self.observation.response.double()
        gather = place.to_coefficients.double().T @ (response / self.observation.noise.double()[:, None]).T  # (K, c)
        weights = prediction.weights.double()
        matrix = gather @ (torch.eye(len(response), dtype=torch.float64) - response @ weights)
        constant = gather @ (self.observation.offset.double() - response @ weights @ prediction.msi_mean.double())
        return _mixed(matrix.float(), msi) - constant.to(msi)[:, None, None]


def _mixed(matrix: Tensor, images: Tensor) -> Tensor:
    """Σ_l M_kl Z_l, (k, ...) of M (k, K)."""
    mixed: Tensor = (matrix.to(images) @ images.flatten(1)).reshape(-1, *images.shape[1:])
    return mixed


def _missed(patches: Sequence[PairPatch], linear_model: LinearModel, hsi_noise: Tensor) -> Tensor:
    """Q⁻¹: covariance of Y − B W P at low resolution less the HSI's noise, eigenvalues floored, float64 (K, K)."""
    pixels = []
    for patch in patches:
        predicted = linear_model.prediction.predict(linear_model.blur(patch.msi))
        missed = linear_model.subspace.encode(patch.hsi) - predicted
        pixels.append(missed[:, usable_pixels(patch, linear_model.blur)].double())
    rest = torch.cat(pixels, dim=1)
    covariance = rest @ rest.T / rest.shape[1] - torch.diag(hsi_noise)
    values, vectors = torch.linalg.eigh(covariance)
    least = max(_LEAST_MISSED * float(values[-1]), 1e-6)
    floored: Tensor = (vectors * values.clamp_min(least)) @ vectors.T
    return floored
