"""The units of the two images: P B ≈ gain · R Y + offset, band by band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import ImagingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.imaging.srf import SpectralResponse

_SAME_UNITS = 1.05  # residual variance with gain 1 and offset 0, over that of the best ones


def linear_fit(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gain and offset of the least-squares line y ≈ gain · x + offset, column by column, (N, c) to (c,)."""
    middle_x, middle_y = x.mean(axis=0), y.mean(axis=0)
    spread = np.maximum(np.square(x - middle_x).mean(axis=0), 1e-300)
    gain = ((x - middle_x) * (y - middle_y)).mean(axis=0) / spread
    return gain, middle_y - gain * middle_x


@dataclass(frozen=True, eq=False)
class Radiometry:
    """What brings the HSI's numbers into the MSI's units and back, for each MSI band.

    Raises:
        ImagingError: Numbers are not finite, sizes disagree, or a band that follows the HSI has no positive gain.
    """

    gain: NDArray[np.float64]
    """MSI units per HSI unit, shape (c,); 1 where both images have the same units."""

    offset: NDArray[np.float64]
    """In the MSI's units, shape (c,)."""

    follows: NDArray[np.bool_]
    """Bands that rise with the HSI's, shape (c,); the others keep gain 1 and offset 0."""

    def __post_init__(self) -> None:
        gain, offset = np.asarray(self.gain, dtype=np.float64), np.asarray(self.offset, dtype=np.float64)
        follows = np.asarray(self.follows, dtype=bool)
        if gain.ndim != 1 or not gain.shape == offset.shape == follows.shape:
            raise ImagingError(
                f"a radiometry has one gain and offset a band, these have shapes {gain.shape} and {offset.shape}",
            )
        if not (np.isfinite(gain) & np.isfinite(offset) & (gain > 0)).all():
            raise ImagingError(
                f"the gains of a radiometry are positive and all its numbers finite, got {gain.tolist()} and "
                f"{offset.tolist()}",
            )
        object.__setattr__(self, "gain", gain)
        object.__setattr__(self, "offset", offset)
        object.__setattr__(self, "follows", follows)

    @classmethod
    def same(cls, bands: int) -> Radiometry:
        """Both images in the same units."""
        return cls(np.ones(bands), np.zeros(bands), np.ones(bands, dtype=bool))

    @classmethod
    def fit(cls, hsi_pixels: NDArray[np.float64], msi_pixels: NDArray[np.float64]) -> Radiometry:
        """Least squares over pixels that show the same in both images; exactly (1, 0) where that serves as well.

        R Y is the side that is regressed, on P B: it is the noisier one, and the other way round its noise would
        lower the gain.

        Args:
            hsi_pixels: R Y, shape (N, c).
            msi_pixels: P B of the same pixels, shape (N, c).
        """
        bands = msi_pixels.shape[1]
        if len(msi_pixels) < 2:
            return cls.same(bands)
        slope, intercept = linear_fit(msi_pixels, hsi_pixels)
        left = np.square(hsi_pixels - msi_pixels * slope - intercept).mean(axis=0)
        if (np.square(hsi_pixels - msi_pixels).mean(axis=0) <= _SAME_UNITS * left).all():
            return cls.same(bands)
        contrast = hsi_pixels.std(axis=0) / np.maximum(msi_pixels.std(axis=0), 1e-300)
        follows = (slope > 1e-6 * contrast) & np.isfinite(slope)
        slope = np.where(follows, slope, 1.0)
        return cls(1 / slope, np.where(follows, -intercept / slope, 0.0), follows)

    def to_msi_units(self, projected: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gain · R Y + offset: what is in the HSI's units, shape (c, ...), in the MSI's."""
        return np.asarray(projected * _along(self.gain, projected) + _along(self.offset, projected))

    def to_hsi_units(self, msi: NDArray[np.float32]) -> NDArray[np.float32]:
        """(P − offset) / gain: an MSI, shape (c, ...), in the HSI's units, its dtype kept."""
        scale, constant = (_along(value, msi).astype(msi.dtype) for value in (1 / self.gain, -self.offset / self.gain))
        return np.asarray(msi * scale + constant)

    def response(self, srf: SpectralResponse) -> NDArray[np.float64]:
        """R with each row in the MSI's units, shape (c, C): P ≈ response · X + offset."""
        return np.asarray(self.gain[:, None] * srf.matrix)

    def select(self, msi_bands: tuple[int, ...] | list[int]) -> Radiometry:
        """Only these bands (0-based)."""
        index = list(msi_bands)
        return Radiometry(self.gain[index], self.offset[index], self.follows[index])


def _along(values: NDArray[np.float64], image: NDArray[np.floating]) -> NDArray[np.float64]:
    """Numbers (c,) ready to meet an image (c, ...)."""
    return values.reshape(-1, *(1,) * (image.ndim - 1))
