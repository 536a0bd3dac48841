"""UIQI and SSIM: metrics on sliding windows, streamed over strips of rows.

UIQI after Wang and Bovik (2002), equation 24 of Khader et al. (2023): on every window of 8×8 pixels. SSIM
after Wang et al. (2004), equation 26: Gaussian windows of 11×11 pixels, σ = 1.5, K1 = 0.01, K2 = 0.03, the
reference band's maximum as data range. A window counts if it lies in the image and all its pixels are valid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from hsfuse.errors import RequestError
from hsfuse.metrics.moments import mean_defined, universal_quality

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_K1, _K2 = 0.01, 0.03  # Wang et al. 2004, section III.C
_SIGMA, _TAPS = 1.5, 11
_CHUNK_VALUES = 2**19  # of each image filtered at a time, 4 MB


@dataclass(frozen=True)
class WindowScores:
    """UIQI and SSIM; NaN of a band in which no window counts or the metric is undefined."""

    uiqi: float
    """Mean over the bands, at most 1."""

    ssim: float
    """Mean over the bands, at most 1."""

    band_uiqi: NDArray[np.float64]
    """Mean over the windows, shape (C,)."""

    band_ssim: NDArray[np.float64]
    """Mean over the windows, shape (C,)."""

    def summary(self) -> dict[str, float]:
        """The two by their names."""
        return {"uiqi": self.uiqi, "ssim": self.ssim}

    def per_band(self) -> dict[str, NDArray[np.float64]]:
        """The two per band, each of shape (C,)."""
        return {"uiqi": self.band_uiqi, "ssim": self.band_ssim}


class WindowedReference:
    """Accumulates UIQI and SSIM over strips of rows of the full width, handed over from top to bottom.

    The rows that a later window needs are kept here, so strips come without overlap, of any height, and the
    result is that of the whole image.
    """

    def __init__(self, peak: NDArray[np.float64], *, window: int = 8) -> None:
        """Begin.

        Args:
            peak: Maximum of each reference band over the whole scene, shape (C,): `FullReference.peak`.
            window: Edge of UIQI's window in pixels.

        Raises:
            RequestError: The window has fewer than two pixels a side.
        """
        if window < 2:
            raise RequestError(f"UIQI's window is at least 2 pixels wide, got {window}")
        self._peak = np.asarray(peak, dtype=np.float64)
        box = np.full(window, 1 / window)
        axis = np.arange(_TAPS) - _TAPS // 2
        bell = np.exp(-0.5 * (axis / _SIGMA) ** 2)
        self._uiqi = _Sliding(box, len(self._peak), _uiqi)
        self._ssim = _Sliding(bell / bell.sum(), len(self._peak), self._ssim_of)

    def update(
        self,
        fused: NDArray[np.floating],
        reference: NDArray[np.floating],
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take in the next rows: images (C, h, W) and their mask (h, W), as in `FullReference.update`.

        Raises:
            RequestError: The shapes disagree among each other or with earlier strips.
        """
        if fused.ndim != 3 or fused.shape != reference.shape or fused.shape[0] != len(self._peak):
            raise RequestError(
                f"the fused image has shape {fused.shape}, its reference {reference.shape} and "
                f"{len(self._peak)} bands were announced: all must agree"
            )
        known = np.isfinite(fused).all(axis=0) & np.isfinite(reference).all(axis=0)
        if valid is not None:
            known &= valid
        x, y = np.where(known, fused, 0), np.where(known, reference, 0)
        self._uiqi.update(x, y, known)
        self._ssim.update(x, y, known)

    def result(self) -> WindowScores:
        """The scores of all windows so far."""
        uiqi = self._uiqi.mean()
        ssim = np.where(self._peak > 0, self._ssim.mean(), np.nan)
        return WindowScores(mean_defined(uiqi), mean_defined(ssim), uiqi, ssim)

    def _ssim_of(self, m: _WindowMoments, bands: slice) -> NDArray[np.float64]:
        c1 = np.square(_K1 * self._peak[bands])[:, None, None]
        c2 = np.square(_K2 * self._peak[bands])[:, None, None]
        structure = (2 * m.mean_x * m.mean_y + c1) * (2 * m.common + c2)
        size = (np.square(m.mean_x) + np.square(m.mean_y) + c1) * (m.variance_x + m.variance_y + c2)
        return np.divide(structure, size, out=np.zeros_like(size), where=size > 0)


@dataclass(frozen=True)
class _WindowMoments:
    """Moments of every window, each (C, rows, columns)."""

    mean_x: NDArray[np.float64]
    mean_y: NDArray[np.float64]
    variance_x: NDArray[np.float64]
    variance_y: NDArray[np.float64]
    common: NDArray[np.float64]


class _Sliding:
    """The mean of a quality over all valid windows, with the rows that windows across strips need."""

    def __init__(
        self,
        weights: NDArray[np.float64],
        bands: int,
        quality: Callable[[_WindowMoments, slice], NDArray[np.float64]],
    ) -> None:
        self._weights = weights
        self._quality = quality
        self._sum = np.zeros(bands)
        self._count = 0
        self._rows: tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]] | None = None

    def update(self, x: NDArray[np.floating], y: NDArray[np.floating], valid: NDArray[np.bool_]) -> None:
        if self._rows is not None:
            if self._rows[2].shape[1] != valid.shape[1]:
                raise RequestError(
                    f"this strip is {valid.shape[1]} pixels wide, the one before was {self._rows[2].shape[1]}"
                )
            x = np.concatenate([self._rows[0], x], axis=1)
            y = np.concatenate([self._rows[1], y], axis=1)
            valid = np.concatenate([self._rows[2], valid])
        taps = len(self._weights)
        if min(valid.shape) >= taps:
            whole = np.lib.stride_tricks.sliding_window_view(valid, (taps, taps)).all(axis=(2, 3))
            self._count += int(whole.sum())
            step = max(_CHUNK_VALUES // valid.size, 1)
            for start in range(0, len(x), step):
                bands = slice(start, start + step)
                quality = self._quality(self._moments(x[bands].astype(float), y[bands].astype(float)), bands)
                self._sum[bands] += np.where(whole, quality, 0).sum(axis=(1, 2))
        keep = taps - 1
        self._rows = (x[:, -keep:].copy(), y[:, -keep:].copy(), valid[-keep:].copy())

    def mean(self) -> NDArray[np.float64]:
        return self._sum / self._count if self._count else np.full_like(self._sum, np.nan)

    def _moments(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> _WindowMoments:
        mean_x, mean_y = self._filter(x), self._filter(y)
        return _WindowMoments(
            mean_x,
            mean_y,
            np.maximum(self._filter(x * x) - mean_x * mean_x, 0),
            np.maximum(self._filter(y * y) - mean_y * mean_y, 0),
            self._filter(x * y) - mean_x * mean_y,
        )

    def _filter(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weighted means of the windows that lie within the image."""
        taps = len(self._weights)
        before, after = taps // 2, (taps - 1) // 2
        for axis in (1, 2):
            image = ndimage.correlate1d(image, self._weights, axis=axis, mode="constant")
        return image[:, before : image.shape[1] - after, before : image.shape[2] - after]


def _uiqi(m: _WindowMoments, _: slice) -> NDArray[np.float64]:
    return universal_quality(m.mean_x, m.mean_y, m.variance_x, m.variance_y, m.common)
