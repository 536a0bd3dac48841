"""The normal equations of the Bayesian estimate over one tile, and their solution by conjugate gradients.

In the coordinates of `hsfuse.classical.bayes` they read

    (L + m_k) Z_k + Σ_l Bᵀ S_kl B Z_l = b_k,    S = Tᵀ N⁻¹ T at every HSI pixel,

with L sparse, B the blur and decimation, N the variance of Y − B A (`hsfuse.subspace.rim`) and m_k zero for all but
c of the K images. The preconditioner inverts M_k = Bᵀ S_kk B + G⁻¹, G⁻¹ the diagonal of L + m_k, by the Woodbury
identity,

    M⁻¹ = G − G Bᵀ (1/S_kk + B G Bᵀ)⁻¹ B G;

what stands in brackets lives on the HSI's grid and couples neighbouring HSI pixels only: it is kept as a stencil and
inverted by a fixed number of Chebyshev steps. A Jacobi preconditioner needs four times as many steps, because an
HSI of little noise makes Bᵀ B stiff against the prior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from hsfuse.classical.edge_prior import WHITE

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from torch import Tensor

    from hsfuse.classical.edge_prior import WeightedLaplacian
    from hsfuse.imaging import BlurDecimate

_MOST_INNER_STEPS = 30
_FREQUENCIES, _LEVELS = 32, 13  # of the table of local variances
_INNER_ERROR = 0.25  # of the preconditioner's largest eigenvalue: conjugate gradients take the rest


@dataclass(frozen=True)
class NormalEquations:
    """The left side of the normal equations over one tile."""

    laplacian: WeightedLaplacian
    """L."""

    diagonal: Tensor
    """Of L + m_k, (K, H, W)."""

    mixing: Tensor
    """T, (K, K)."""

    precision: Tensor
    """The diagonal of N⁻¹ at every HSI pixel, (K, h, w)."""

    blur: BlurDecimate
    """B."""

    def __call__(self, images: Tensor) -> Tensor:
        """The left side for images (K, H, W)."""
        coarse = self.blur(images)
        weighted = self.weighted((self.mixing @ coarse.flatten(1)).reshape(coarse.shape))
        return self.laplacian(images, self.diagonal).add_(weighted)

    def weighted(self, missed: Tensor) -> Tensor:
        """Bᵀ Tᵀ N⁻¹ of what is missed of Y (K, h, w), (K, H, W)."""
        turned = self.mixing.T @ (self.precision * missed).flatten(1)
        adjoint: Tensor = self.blur.adjoint(turned.reshape(missed.shape))
        return adjoint

    def hsi_diagonal(self) -> Tensor:
        """S_kk at every HSI pixel, (K, h, w)."""
        return (self.mixing.square().T @ self.precision.flatten(1)).reshape(self.precision.shape)


@dataclass(frozen=True)
class Preconditioner:
    """M⁻¹ over one tile: symmetric and positive definite, the same linear map in every step."""

    inverse: Tensor
    """G, (K, H, W)."""

    blur: BlurDecimate
    """B."""

    stencil: Stencil
    """B G Bᵀ, exactly."""

    noise: Tensor
    """1 / S_kk at every HSI pixel, (K, h, w)."""

    steps: int
    """Of Chebyshev's iteration."""

    lowest: float
    """Lower end of the spectrum that it is made for, over the upper end."""

    @classmethod
    def of(cls, equations: NormalEquations, unseen: int) -> Self:
        """Of the normal equations, the first `unseen` of whose images have the same G."""
        inverse = 1 / equations.diagonal
        stencil = Stencil.probe(equations.blur, inverse, unseen)
        precision = equations.hsi_diagonal()
        gain = float((precision.amax(dim=(1, 2)) * stencil.sums.mean(dim=(1, 2))).max())
        lowest = 0.7 * (stencil.flattest + 1 / gain) / (1 + 1 / gain)
        wanted = _INNER_ERROR / (2 * max(gain, 1.0))
        steps = min(max(math.ceil(math.log(wanted) / math.log(_falloff(lowest))), 2), _MOST_INNER_STEPS)
        return cls(inverse, equations.blur, stencil, 1 / precision, steps, lowest)

    def __call__(self, residual: Tensor) -> Tensor:
        """M⁻¹ of residuals (K, H, W)."""
        direction = self.inverse * residual
        coarse = self._coarse_inverse(self.blur(direction))
        return direction.addcmul_(self.inverse, self.blur.adjoint(coarse), value=-1)

    def _coarse_inverse(self, right: Tensor) -> Tensor:
        """(1/S + B G Bᵀ)⁻¹ of (K, h, w), from below: Jacobi-scaled Chebyshev from zero."""
        scaling = 1 / (self.noise + self.stencil.sums)
        solution = chebyshev(self._coarse_system, scaling, right, steps=self.steps, lowest=self.lowest)
        # Chebyshev errs by at most this to either side; below the inverse M⁻¹ stays positive.
        falloff = _falloff(self.lowest)
        return solution.mul_(1 / (1 + 2 * falloff**self.steps / (1 + falloff ** (2 * self.steps))))

    def _coarse_system(self, images: Tensor) -> Tensor:
        return self.stencil(images).addcmul_(self.noise, images)


def _falloff(lowest: float) -> float:
    """By how much one of Chebyshev's steps shrinks the error for spectra in (`lowest`, 1)."""
    return (1 - math.sqrt(lowest)) / (1 + math.sqrt(lowest))


@dataclass(frozen=True)
class Stencil:
    """A symmetric operator on the HSI's grid that couples each pixel with those near it."""

    weights: Tensor
    """Of the neighbours at each offset, (2R + 1, 2R + 1, n, h, w)."""

    sums: Tensor
    """Of the weights about each pixel, (K, h, w)."""

    shared: int
    """How many of the K images take the first of the n; the others have one each."""

    flattest: float
    """The least of the first transfer function over its largest, means over the tile."""

    @classmethod
    def probe(cls, blur: BlurDecimate, inner: Tensor, shared: int) -> Self:
        """B diag(inner) Bᵀ for `inner` (K, H, W), exact at the rims too: read off combs of single pixels."""
        distinct = inner[max(shared - 1, 0) :]
        ratio, shape = blur.ratio, (inner.shape[-2] // blur.ratio, inner.shape[-1] // blur.ratio)
        reach = (ratio + 2 * max(blur.margin, 0) - 1) // ratio
        edge = 2 * reach + 1
        rows, columns = (torch.arange(length, device=inner.device) for length in shape)
        offset = torch.arange(edge, device=inner.device)[:, None]
        comb = (rows % edge == offset)[:, None, :, None] & (columns % edge == offset)[None, :, None]
        spread = blur.adjoint(comb.flatten(0, 1).to(inner))  # (edge², H, W)
        # At pixel (i, j) the neighbour at (a, b) is a tooth of the comb that starts at (i + a, j + b) modulo the edge.
        down, right = ((places + offset - reach) % edge for places in (rows, columns))
        tooth = (down[:, None, :, None] * edge + right[None, :, None, :]).flatten(0, 1)  # (edge², h, w)
        weights = torch.stack([blur(spread * image).gather(0, tooth) for image in distinct], dim=1)
        sums = weights.sum(dim=0)
        sums = torch.cat([sums[:1].expand(shared, -1, -1), sums[1:]]) if shared else sums
        kernel = weights[:, 0].mean(dim=(1, 2)).reshape(edge, edge)
        return cls(weights.reshape(edge, edge, -1, *shape), sums, shared, _flattest(kernel.double()))

    def __call__(self, images: Tensor) -> Tensor:
        """Of images (K, h, w)."""
        reach, shared = (len(self.weights) - 1) // 2, self.shared
        rows, columns = images.shape[-2:]
        framed = F.pad(images, (reach,) * 4)
        result = torch.zeros_like(images)
        for down, line in enumerate(self.weights):
            for right, weight in enumerate(line):
                near = framed[:, down : down + rows, right : right + columns]
                result[:shared].addcmul_(weight[:1], near[:shared])
                result[shared:].addcmul_(weight[1 if shared else 0 :], near[shared:])
        return result


def _flattest(kernel: Tensor) -> float:
    """The least of a symmetric kernel's transfer function over its largest, not below zero."""
    reach = (len(kernel) - 1) // 2
    wave = torch.exp(
        1j * torch.linspace(-torch.pi, torch.pi, 33, dtype=torch.float64)[:, None] * torch.arange(-reach, reach + 1)
    )
    transfer = (wave @ kernel.cpu().to(wave) @ wave.T).real
    return max(float(transfer.min() / transfer.max().clamp_min(1e-300)), 0.0)


def chebyshev(
    system: Callable[[Tensor], Tensor], scaling: Tensor, right: Tensor, *, steps: int, lowest: float
) -> Tensor:
    """Solve `system` x = `right` from zero for scaled spectra in (`lowest`, 1) (Saad 2003, algorithm 12.1)."""
    middle, half = (1 + lowest) / 2, (1 - lowest) / 2
    ratio = middle / half
    rho = 1 / ratio
    residual = right.clone()
    step = scaling * residual / middle
    solution = step.clone()
    for _ in range(steps - 1):
        residual -= system(step)
        following = 1 / (2 * ratio - rho)
        step = (step * (rho * following)).addcmul_(scaling, residual, value=2 * following / half)
        rho = following
        solution += step
    return solution


def conjugate_gradients(
    system: Callable[[Tensor], Tensor],
    precondition: Callable[[Tensor], Tensor],
    right: Tensor,
    start: Tensor,
    *,
    steps: int,
    tolerance: float,
) -> Tensor:
    """Solve `system` x = `right` for all images at once, from a first estimate.

    Args:
        system: A symmetric positive definite map of (K, H, W).
        precondition: About its inverse.
        right: The right side, (K, H, W).
        start: The first estimate, (K, H, W).
        steps: At most.
        tolerance: Stop when rᵀ M⁻¹ r, the error in units of the posterior's standard deviation, is below its
            square a pixel.
    """
    solution = start.clone()
    residual = right - system(solution)
    step = precondition(residual)
    energy = torch.vdot(residual.flatten(), step.flatten())
    enough = tolerance**2 * right.numel()
    for _ in range(steps):
        if float(energy) <= enough:
            break
        image = system(step)
        length = energy / torch.vdot(step.flatten(), image.flatten())
        solution.addcmul_(length, step)
        residual.addcmul_(-length, image)
        direction = precondition(residual)
        former, energy = energy, torch.vdot(residual.flatten(), direction.flatten())
        step = torch.addcmul(direction, energy / former, step)
    return solution


def local_variance(blur: BlurDecimate, hsi: Tensor, msi: Tensor, weights: Tensor) -> Tensor:
    """Variance of Z_k at each pixel if the weights of the differences about it were everywhere, (K, H, W).

    The mean over frequencies of 1 / (S_kk |b|² / r² + m_k + 0.05 + w λ), λ of the Laplacian, b of the blur.

    Args:
        blur: B.
        hsi: S_kk, (K,).
        msi: m, (K,).
        weights: w, (H, W), 0 to 1.
    """
    frequency = (torch.arange(_FREQUENCIES, dtype=torch.float64) + 0.5) / _FREQUENCIES * torch.pi
    place = torch.arange(blur.kernel.shape[-1], dtype=torch.float64)
    wave = torch.exp(1j * frequency[:, None] * place)
    transfer = (wave @ blur.kernel[0].cpu().to(wave) @ wave.T).abs().square() / blur.ratio**2
    bend = 2 - 2 * torch.cos(frequency)
    bend = bend[:, None] + bend
    levels = torch.logspace(-3, 0, _LEVELS, dtype=torch.float64)[:, None, None, None]
    known = hsi.double().cpu()[:, None, None] * transfer + msi.double().cpu()[:, None, None] + WHITE
    table = (1 / (known + levels * bend)).mean(dim=(2, 3)).T.to(weights)  # (K, levels)
    position = (weights.clamp(1e-3, 1).log10() / 3 + 1) * (_LEVELS - 1)
    lower = position.floor().clamp(max=_LEVELS - 2)
    below = lower.long().flatten()
    return torch.lerp(table[:, below], table[:, below + 1], (position - lower).flatten()).reshape(-1, *weights.shape)
