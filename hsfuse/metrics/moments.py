"""First and second moments of pairs of images, merged over tiles: what most metrics are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


_FLAT = 1e-13  # variance over squared mean below which a window of float32 numbers is flat


@dataclass(frozen=True)
class PairMoments:
    """Moments per band of two images x and y over one set of pixels, all float64 of shape (C,)."""

    count: int
    """Pixels n."""

    mean_x: NDArray[np.float64]
    """Mean of x."""

    mean_y: NDArray[np.float64]
    """Mean of y."""

    spread_x: NDArray[np.float64]
    """Sum of squares of x about its mean."""

    spread_y: NDArray[np.float64]
    """Sum of squares of y about its mean."""

    common: NDArray[np.float64]
    """Sum of products of x and y about their means."""

    error: NDArray[np.float64]
    """Sum of squares of the difference of x and y."""

    peak_y: NDArray[np.float64]
    """Maximum of y; minus infinity of no pixels."""

    @classmethod
    def empty(cls, bands: int) -> PairMoments:
        """Of no pixels."""
        zero = np.zeros(bands)
        return cls(0, zero, zero, zero, zero, zero, zero, np.full(bands, -np.inf))

    @classmethod
    def of(cls, x: NDArray[np.float64], y: NDArray[np.float64]) -> PairMoments:
        """Of pixels (C, n), n at least 1."""
        mean_x, mean_y = x.mean(axis=1), y.mean(axis=1)
        off_x, off_y, off = x - mean_x[:, None], y - mean_y[:, None], x - y
        return cls(
            x.shape[1],
            mean_x,
            mean_y,
            np.einsum("cn,cn->c", off_x, off_x),
            np.einsum("cn,cn->c", off_y, off_y),
            np.einsum("cn,cn->c", off_x, off_y),
            np.einsum("cn,cn->c", off, off),
            y.max(axis=1),
        )

    def merged(self, other: PairMoments) -> PairMoments:
        """Of the pixels of both (Chan, Golub and LeVeque 1983), free of cancellation."""
        count = self.count + other.count
        if not self.count or not other.count:
            return self if self.count else other
        step_x, step_y = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        share, between = other.count / count, self.count * other.count / count
        return PairMoments(
            count,
            self.mean_x + step_x * share,
            self.mean_y + step_y * share,
            self.spread_x + other.spread_x + step_x**2 * between,
            self.spread_y + other.spread_y + step_y**2 * between,
            self.common + other.common + step_x * step_y * between,
            self.error + other.error,
            np.maximum(self.peak_y, other.peak_y),
        )

    @property
    def mean_square_error(self) -> NDArray[np.float64]:
        """Mean of (x − y)² per band; NaN of no pixels."""
        return self.error / self.count if self.count else np.full_like(self.error, np.nan)

    @property
    def psnr(self) -> NDArray[np.float64]:
        """PSNR in dB with y's maximum as peak; ∞ without error, NaN without a positive peak."""
        with np.errstate(divide="ignore", invalid="ignore"):
            value = 10 * np.log10(np.square(self.peak_y) / self.mean_square_error)
        return np.where(np.isfinite(self.peak_y) & (self.peak_y > 0), value, np.nan)

    @property
    def correlation(self) -> NDArray[np.float64]:
        """Pearson's coefficient per band; NaN where x or y is constant."""
        varies = ~(_constant(self.spread_x, self.mean_x, self.count) | self.constant_y)
        scale = np.sqrt(self.spread_x * self.spread_y)
        return np.divide(self.common, scale, out=np.full_like(scale, np.nan), where=varies & (scale > 0))

    @property
    def fitted_psnr(self) -> NDArray[np.float64]:
        """As `psnr`, of x after the gain and offset that bring it nearest to y."""
        gain = np.divide(self.common, self.spread_x, out=np.zeros_like(self.common), where=self.spread_x > 0)
        left = np.maximum(self.spread_y - gain * self.common, 0)
        return replace(self, error=left).psnr

    @property
    def constant_y(self) -> NDArray[np.bool_]:
        """Where y does not vary beyond the rounding of float64."""
        return _constant(self.spread_y, self.mean_y, self.count)


def _constant(spread: NDArray[np.float64], mean: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    return spread <= 1e-24 * count * np.square(mean)


def mean_defined(values: NDArray[np.float64]) -> float:
    """Mean of the values that are not NaN; NaN of none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def universal_quality(
    mean_x: NDArray[np.float64],
    mean_y: NDArray[np.float64],
    variance_x: NDArray[np.float64],
    variance_y: NDArray[np.float64],
    common: NDArray[np.float64],
) -> NDArray[np.float64]:
    """UIQI of windows with these moments, whose shapes broadcast (Wang and Bovik 2002).

    Of windows that are flat in both images what is left, the likeness of their means, as in the authors' code.
    """
    square, variance = np.square(mean_x) + np.square(mean_y), variance_x + variance_y
    one = np.ones_like(square)
    luminance = np.divide(2 * mean_x * mean_y, square, out=one.copy(), where=square > 0)
    contrast = np.divide(2 * common, variance, out=one, where=variance > _FLAT * square)
    return np.asarray(luminance * contrast, dtype=np.float64)
