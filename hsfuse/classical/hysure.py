"""HySure: hyperspectral super-resolution by a convex problem with vector total variation.

Simões, Bioucas-Dias, Almeida, Chanussot (2015), A convex formulation for hyperspectral image superresolution
via subspace-based regularization: X = E A with A the minimiser of

    ½ ‖(Y - E A B M) g‖² + λ_m/2 ‖P - R E A‖² + λ_φ Σ √(Σ_k (A D_x)² + (A D_y)²),

solved by SALSA, a form of ADMM, with all convolutions by FFT (the appendix).

What is settled here: R, B and the phase of the decimation M are those of the imaging model; E and the data
terms are in units of the noise (see `hsfuse.subspace.linear_model`), so that the λ_m of 1 is the likelihood's and
λ_φ needs no tuning by scene: the authors' program has 5e-4 for images scaled to 1, which is 0.1 for noise of
0.005. Ten dimensions, as there. The iteration starts from the linear estimate instead of zero, so it takes 50
steps, not 200. What the subspace leaves out is added back. The weight g² of an HSI pixel is 1, and s² / n where its PSF
reaches beyond the tile (`hsfuse.subspace.rim`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from hsfuse.classical.circulant import Circulant, differences, differences_adjoint
from hsfuse.classical.covariances import Covariances
from hsfuse.classical.observation import MsiObservation
from hsfuse.subspace.basis import LEAST_NOISE
from hsfuse.subspace.linear_model import LinearModel
from hsfuse.subspace.outliers import screened
from hsfuse.subspace.rim import beyond_variance, data_precision

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from torch import Tensor

    from hsfuse.imaging import ImagingModel, PointSpread
    from hsfuse.subspace.patch import PairPatch

_FRAME = 4  # HSI pixels about a tile, where the FFT may wrap


@dataclass(frozen=True)
class HySure:
    """The minimiser over one tile. What lies far outside of it hardly matters, but nowhere not at all."""

    linear_model: LinearModel
    """The subspace E, and the linear estimate that the iteration starts from."""

    psf: PointSpread
    """B, with the shift in it."""

    response: Tensor
    """R E on coefficients, float32 (c, K)."""

    offset: Tensor
    """The constant part of P, float32 (c,)."""

    msi_weight: Tensor
    """The HSI coefficients' noise variance over the MSI bands', float32 (c,)."""

    beyond: Tensor
    """θ v over the HSI coefficients' noise variance: how much ground beyond the rim may differ from what is replicated
    there, float32 (K,)."""

    smoothness: float
    """λ_φ, in the coefficients' units."""

    penalty: float = 0.2
    """μ of the augmented Lagrangian: how fast it converges, not where to."""

    iterations: int = 50
    """Steps of SALSA."""

    margin: int = 6
    """HSI pixels at the rim of a tile over which the influence of what lies outside fades (measured)."""

    @classmethod
    def fit(cls, patches: Sequence[PairPatch], imaging: ImagingModel, size: int = 10, smoothness: float = 0.1) -> Self:
        """Fit the subspace, the radiometry and the noise on parts of a scene, holes filled and masked.

        Args:
            patches: Parts of the scene.
            imaging: R and B.
            size: L_s, the dimensions of the subspace.
            smoothness: λ_φ in units of the noise.

        Raises:
            SceneError: Too few valid pixels.
        """
        patches = screened(patches, imaging)
        linear_model = LinearModel.fit(patches, imaging, size)
        found = Covariances.of(patches, imaging)
        observation = MsiObservation.of(linear_model, found, imaging)
        noise = max(float((linear_model.subspace.noise**2).mean()), LEAST_NOISE)
        weight = noise / observation.noise
        psf = imaging.psf.shifted(imaging.shift)
        response, offset = observation.response.float(), observation.offset.float()
        beyond = beyond_variance(patches, linear_model.subspace) / noise
        return cls(linear_model, psf, response, offset, weight.float(), beyond.float(), smoothness * noise)

    @torch.no_grad()
    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse Y (C, h, w) and P (c, r·h, r·w) to float32 (C, r·h, r·w)."""
        inputs = self.linear_model.inputs(hsi, msi)
        coefficients = self._solve(inputs.hsi, self.linear_model.ranges.msi.mended(msi), inputs.initial)
        return self.linear_model.decode(coefficients, inputs, hsi)

    def _solve(self, coarse: Tensor, msi: Tensor, start: Tensor) -> Tensor:
        """A (K, r·h, r·w) of the HSI's coefficients (K, h, w), P and a first estimate."""
        frame, ratio = _FRAME * self.psf.ratio, self.psf.ratio
        framed_msi, framed_start = (F.pad(image[None], (frame,) * 4, mode="replicate")[0] for image in (msi, start))
        steps = _Salsa(self, coarse, framed_msi, framed_start, (frame, ratio))
        for _ in range(self.iterations):
            steps.step()
        return steps.image[:, frame:-frame, frame:-frame]


class _Salsa:
    """The split variables V of X = A B, A and its differences, and their scaled multipliers D (appendix)."""

    def __init__(self, problem: HySure, coarse: Tensor, msi: Tensor, start: Tensor, place: tuple[int, int]) -> None:
        frame, ratio = place
        self.blur = Circulant.of(problem.psf, (start.shape[-2], start.shape[-1]), start)
        self.inverse = self.blur.inverse()
        self.penalty, self.threshold = problem.penalty, problem.smoothness / problem.penalty
        # Where the decimation of the blurred image meets the tile's HSI pixels, and not the frame's.
        self.observed = tuple(slice(frame, frame + edge * ratio, ratio) for edge in coarse.shape[-2:])
        self.coarse = coarse
        ones = torch.ones_like(problem.beyond)
        self.trust = data_precision(ones, problem.beyond, problem.linear_model.blur, coarse)
        weighted = problem.response.to(start).T * problem.msi_weight.to(start)
        normal = weighted @ problem.response.to(start)
        identity = torch.eye(len(normal)).to(start)
        self.msi_solve = torch.linalg.inv(normal + self.penalty * identity)
        self.msi_part = torch.einsum("kc,chw->khw", weighted, msi - problem.offset.to(start)[:, None, None])
        self.image = start
        self.blurred = self.blur.back(torch.fft.rfft2(start) * self.blur.transfer)
        self.sharp, self.edges = start, differences(start)
        self.blurred_dual, self.sharp_dual = torch.zeros_like(start), torch.zeros_like(start)
        self.edges_dual = torch.zeros_like(self.edges)

    def step(self) -> None:
        """One round over X, V and D."""
        transform = self._image_transform()
        self.image = self.blur.back(transform)
        self._agree_with_hsi(self.blur.back(transform * self.blur.transfer))
        self._agree_with_msi()
        self._shrink_edges()

    def _image_transform(self) -> Tensor:
        """X under the FFT, where its quadratic problem is diagonal."""
        near = self.sharp + self.sharp_dual + differences_adjoint(self.edges + self.edges_dual)
        transform: Tensor = torch.fft.rfft2(near)
        transform += self.blur.transfer.conj() * torch.fft.rfft2(self.blurred + self.blurred_dual)
        return transform.mul_(self.inverse)

    def _agree_with_hsi(self, blurred: Tensor) -> None:
        """V1: moved towards Y where an HSI pixel was observed."""
        wanted = blurred - self.blurred_dual
        self.blurred = wanted.clone()
        seen = wanted[:, *self.observed]
        weighed = self.trust * self.coarse + self.penalty * seen
        self.blurred[:, *self.observed] = weighed / (self.trust + self.penalty)
        self.blurred_dual = self.blurred - wanted

    def _agree_with_msi(self) -> None:
        """V2: moved towards P."""
        wanted = self.image - self.sharp_dual
        self.sharp = torch.einsum("kl,lhw->khw", self.msi_solve, self.msi_part + self.penalty * wanted)
        self.sharp_dual = self.sharp - wanted

    def _shrink_edges(self) -> None:
        """V3 and V4: vector soft threshold, one length for all coefficients and both directions."""
        wanted = differences(self.image) - self.edges_dual
        length = wanted.square().sum(dim=(0, 1)).sqrt()
        self.edges = wanted * (1 - self.threshold / length.clamp_min(1e-12)).clamp_min(0)
        self.edges_dual = self.edges - wanted
