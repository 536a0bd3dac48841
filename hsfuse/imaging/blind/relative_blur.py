"""The blur of coarse bands against finer ones of the same sensor, without a spectral response between them.

Sentinel-2's 20 m bands are no sums of its 10 m bands, so that nothing like P = R X says how wide their point spread is.
But blurred rightly the finer bands explain the coarser ones best: with Y ≈ W (P B) + noise of any covariance, the
likelihood of B, W and covariance left free, is that of the determinant of the residuals' covariance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from hsfuse.imaging.blind.samples import gather_pixels, sample_blocks
from hsfuse.imaging.psf import PointSpread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.imaging.blind.samples import PairSample, PatchLike

USUAL_FWHM = 1.0
"""Of a pixel against finer ones, in its own pixels: what is taken where the images do not tell."""

_SPREAD_FWHM, _SPREAD_SHIFT = 0.3, 0.3  # of what is usual: of ln(FWHM), and in coarse pixels
_ALIKE = 4  # neighbouring residuals are of one kind: so many pixels tell as much as one
_FEWEST = 10  # pixels by unknown, below which nothing is fitted
_WIDEST, _FARTHEST = 2.0, 1.0  # coarse pixels: the sample's windows hold no more


@dataclass(frozen=True)
class RelativeBlur:
    """How a coarse pixel sees the finer ones."""

    fwhm: float
    """Full width at half maximum of the Gaussian, in coarse pixels."""

    shift: tuple[float, float]
    """Where its centre lies beside its nominal place, (x, y) in coarse pixels."""

    ratio: int
    """Coarse over fine pixel."""

    @property
    def psf(self) -> PointSpread:
        """B, with the shift in it."""
        return PointSpread.gaussian(self.ratio, self.fwhm, shift=self.shift)

    @classmethod
    def fit(cls, patches: Sequence[PatchLike], ratio: int) -> RelativeBlur:
        """The most probable blur, on parts of the images.

        What is usual (a FWHM of one coarse pixel, no shift) rules where the images show too little.

        Args:
            patches: Y the coarse bands, P the finer ones.
            ratio: Coarse over fine pixel.

        Raises:
            ImagingError: A patch's images do not fit each other.
        """
        usual = cls(USUAL_FWHM, (0.0, 0.0), ratio)
        blocks = sample_blocks(patches, ratio)
        if not blocks:
            return usual
        sample = gather_pixels(blocks, ratio, (0, 0))
        count, unknown = len(sample.spectra), sample.surroundings.shape[1] + 1
        if count < _FEWEST * unknown:
            return usual

        def improbability(point: NDArray[np.float64]) -> float:
            blur = _at(point, ratio)
            if blur.fwhm > _WIDEST or max(map(abs, blur.shift)) > _FARTHEST:
                return math.inf
            return count / _ALIKE / 2 * _unexplained(sample, blur) + float(point @ point) / 2

        simplex = np.concatenate([np.zeros((1, 3)), np.diag([0.6, 0.3, 0.3])])
        settings = {"initial_simplex": simplex, "xatol": 0.01, "fatol": 0.01, "maxiter": 200}
        found = minimize(improbability, np.zeros(3), method="Nelder-Mead", options=settings)
        return _at(found.x, ratio) if np.isfinite(found.fun) else usual


def _at(point: NDArray[np.float64], ratio: int) -> RelativeBlur:
    """The blur at a point whose three numbers are of the order of one."""
    wide, x, y = (float(value) for value in point)
    return RelativeBlur(
        USUAL_FWHM * math.exp(_SPREAD_FWHM * wide), (_SPREAD_SHIFT * x, _SPREAD_SHIFT * y), ratio
    )  # fmt: skip


def _unexplained(sample: PairSample, blur: RelativeBlur) -> float:
    """Logarithm of the determinant of the covariance of what P B does not explain of Y, bands by their spread."""
    basis = sample.basis
    kernel = PointSpread.gaussian(blur.ratio, blur.fwhm, shift=blur.shift, taps=basis.taps).kernel
    seen = sample.degraded(basis.coefficients(kernel))
    seen = seen - seen.mean(axis=0)
    bands = sample.spectra - sample.spectra.mean(axis=0)
    bands = bands / np.maximum(bands.std(axis=0), 1e-300)
    gram = seen.T @ seen
    gram += np.diag(1e-9 * gram.diagonal() + 1e-300)
    rest = bands - seen @ np.linalg.solve(gram, seen.T @ bands)
    covariance = rest.T @ rest / len(rest)
    return float(np.linalg.slogdet(covariance + 1e-6 * np.eye(len(covariance)))[1])
