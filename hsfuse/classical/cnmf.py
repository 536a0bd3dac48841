"""CNMF: coupled non-negative matrix factorisation.

Yokoya, Yairi, Iwasaki (2012), Coupled nonnegative matrix factorization unmixing for hyperspectral and
multispectral data fusion: Y ≈ W H_h and P ≈ R W H_m are unmixed in turn by multiplicative updates (Lee and
Seung 2001), each started from the other: the MSI's spectra are R W, the HSI's abundances are H_m B.

The defaults are the authors' program's: 30 endmembers from VCA, 200 inner iterations (three times as many for
the first abundances), one outer one, the weight of the sum-to-one row from the MSI's mean. R is known here,
so R W is held in the MSI's unmixing. That leaves only per-pixel updates to the tiles: all spectra are the
scene's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from hsfuse.classical.covariances import Covariances
from hsfuse.classical.injection import BILINEAR_REACH
from hsfuse.classical.vca import vertex_spectra
from hsfuse.errors import SceneError
from hsfuse.imaging import upsample
from hsfuse.subspace.outliers import screened
from hsfuse.subspace.patch import PairPatch, low_resolution, usable_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from torch import Tensor

    from hsfuse.imaging import BlurDecimate, ImagingModel

ENDMEMBERS = 30
"""The authors' least number of endmembers."""

ITERATIONS = 200
"""The authors' number of inner iterations."""

_MOST_PIXELS = 16_384  # valid HSI pixels in the unmixing of the sample
_MOST_FINE_PIXELS = 4_096  # HSI pixels of the patches that are unmixed at the MSI's resolution
_CHUNK = 4_096  # pixels whose abundances are iterated while they are in the cache
_TINY = 1e-12


@dataclass(frozen=True)
class CNMF:
    """X̂ = W H_m with the scene's spectra W; abundances depend on a pixel and the HSI pixels about it."""

    start: Tensor
    """W of the first unmixing, float32 (C, M), in the HSI's units."""

    final: Tensor
    """W refitted to the MSI's abundances, float32 (C, M), in the HSI's units."""

    response: Tensor
    """R, float32 (c, C); zero rows for MSI bands that do not rise with it."""

    gain: Tensor
    """Of P = gain · R X + offset, float32 (c,)."""

    offset: Tensor
    """Of P = gain · R X + offset, float32 (c,)."""

    sum_weight: float
    """Weight of the sum-to-one row, in the HSI's units."""

    blur: BlurDecimate
    """B."""

    iterations: int = ITERATIONS
    """Updates in each inner loop."""

    @classmethod
    def fit(
        cls,
        patches: Sequence[PairPatch],
        imaging: ImagingModel,
        endmembers: int = ENDMEMBERS,
        iterations: int = ITERATIONS,
        seed: int = 0,
    ) -> Self:
        """Find the scene's spectra on parts of it, holes filled and masked.

        Args:
            patches: Parts of the scene.
            imaging: R and B.
            endmembers: M, at most.
            iterations: Updates in each inner loop.
            seed: Of the directions in which VCA looks for pure spectra.

        Raises:
            SceneError: Too few valid pixels, or a constant MSI.
        """
        patches = screened(patches, imaging)
        gain, offset = Covariances.of(patches, imaging).radiometry(imaging)
        if not (gain > 0).any():
            raise SceneError("the MSI is constant, or shows nothing that the HSI shows: cnmf has nothing to unmix")
        response = torch.from_numpy(imaging.srf.matrix).float() * (gain > 0)[:, None]
        spectra = torch.cat([low_resolution(patch, imaging.blur)[0] for patch in patches]).clamp_min(0)
        spectra = spectra[:: -(-len(spectra) // _MOST_PIXELS)]
        weight = _sum_weight(spectra, response)
        count = min(endmembers, spectra.shape[1], len(spectra) // 2)
        generator = torch.Generator().manual_seed(seed)
        start = vertex_spectra(spectra.double(), count, generator).float().T.clamp_min(_TINY)
        start = _unmixed(spectra.T, start, weight, iterations)
        first = cls(start, start, response, gain.float(), offset.float(), weight, imaging.blur, iterations)
        return replace(first, final=first._refitted(_centres(patches)))

    @property
    def margin(self) -> int:
        """HSI pixels at the rim of a tile that depend on what lies outside."""
        return BILINEAR_REACH

    @torch.no_grad()
    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse Y (C, h, w) and P (c, r·h, r·w) to float32 (C, r·h, r·w)."""
        abundances = self._unmix(self.final, self._seen(msi), self._first_abundances(hsi, msi))
        return (self.final.to(hsi) @ abundances).reshape(-1, *msi.shape[-2:])

    def _first_abundances(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """H_m (M, r·h · r·w) of the first W: the HSI's abundances, interpolated and fitted to P."""
        count = self.start.shape[1]
        even = hsi.new_full((count, hsi[0].numel()), 1 / count)
        spectra = hsi.flatten(1).clamp_min(0)
        coarse = _fit_abundances(self.start, spectra, even, self.sum_weight, 3 * self.iterations)
        fine = upsample(coarse.reshape(count, *hsi.shape[-2:]), self.blur.ratio, "bilinear")
        return self._unmix(self.start, self._seen(msi), fine.flatten(1))

    def _seen(self, msi: Tensor) -> Tensor:
        """P in the units of R X, (c, r·h · r·w), non-negative; zero for bands that are not used."""
        usable = self.gain > 0
        gain = torch.where(usable, self.gain, torch.ones_like(self.gain)).to(msi)
        seen = (msi.flatten(1) - self.offset.to(msi)[:, None]) / gain[:, None]
        return seen.clamp_min(0) * usable.to(msi)[:, None]

    def _unmix(self, spectra: Tensor, seen: Tensor, abundances: Tensor) -> Tensor:
        return _fit_abundances(self.response @ spectra, seen, abundances, self.sum_weight, self.iterations)

    @torch.no_grad()
    def _refitted(self, patches: Sequence[PairPatch]) -> Tensor:
        """W fitted to Y with the abundances that the MSI shows, seen through B."""
        spectra, abundances = [], []
        for patch in patches:
            fine = self._first_abundances(patch.hsi, patch.msi)
            coarse = self.blur(fine.reshape(-1, *patch.msi.shape[-2:]))
            use = usable_pixels(patch, self.blur)
            spectra.append(patch.hsi[:, use].clamp_min(0))
            abundances.append(coarse[:, use])
        pixels = torch.cat(spectra, dim=1)
        if pixels.shape[1] < self.start.shape[1]:  # a hole where we looked: nothing to refit on
            return self.start
        return _fit_spectra(self.start, pixels, torch.cat(abundances, dim=1), self.iterations)


def _sum_weight(spectra: Tensor, response: Tensor) -> float:
    """The authors' weight of the sum-to-one row, for images scaled to a maximum of 1."""
    peak = float(spectra.max().clamp_min(_TINY))
    mean = float((spectra @ response.T).mean()) / peak
    return float(2 * peak * (mean / 0.7455) ** 0.5 / len(response) ** 3)


def _with_sum(matrix: Tensor, weight: float) -> Tensor:
    """The matrix with a last row of the weight: abundances that sum to one cost nothing."""
    return torch.cat([matrix, matrix.new_full((1, matrix.shape[1]), weight)])


def _fit_abundances(spectra: Tensor, pixels: Tensor, abundances: Tensor, weight: float, iterations: int) -> Tensor:
    """H ← H ∘ Wᵀ V / Wᵀ W H, some pixels after others: (M, n) of W (C, M) and V (C, n)."""
    known = _with_sum(spectra.to(pixels), weight)
    gram, fitted = known.T @ known, torch.empty_like(abundances)
    for start in range(0, pixels.shape[1], _CHUNK):
        part = slice(start, start + _CHUNK)
        target = known.T @ _with_sum(pixels[:, part], weight)
        current = abundances[:, part].clamp_min(_TINY)
        for _ in range(iterations):
            current = current.mul_(target / (gram @ current).clamp_min_(_TINY))
        fitted[:, part] = current
    return fitted


def _fit_spectra(spectra: Tensor, pixels: Tensor, abundances: Tensor, iterations: int) -> Tensor:
    """W ← W ∘ V Hᵀ / W H Hᵀ."""
    target, gram = pixels @ abundances.T, abundances @ abundances.T
    for _ in range(iterations):
        spectra = spectra * target / (spectra @ gram).clamp_min(_TINY)
    return spectra


def _unmixed(pixels: Tensor, spectra: Tensor, weight: float, iterations: int) -> Tensor:
    """W of V ≈ W H, both updated in turn, from abundances fitted first."""
    count = spectra.shape[1]
    abundances = pixels.new_full((count, pixels.shape[1]), 1 / count)
    abundances = _fit_abundances(spectra, pixels, abundances, weight, 3 * iterations)
    for _ in range(iterations):
        spectra = _fit_spectra(spectra, pixels, abundances, 1)
        abundances = _fit_abundances(spectra, pixels, abundances, weight, 1)
    return spectra


def _centres(patches: Sequence[PairPatch]) -> list[PairPatch]:
    """The middle of every patch, so that all of them together stay within the most pixels."""
    edge = max(int((_MOST_FINE_PIXELS / len(patches)) ** 0.5), 8)
    return [patch.middle(edge) for patch in patches]
