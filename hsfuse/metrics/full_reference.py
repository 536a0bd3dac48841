"""How far a fused image is from its reference: PSNR, SAM, ERGAS, RMSE and CC, streamed over tiles.

The definitions are those of Khader et al. (2023), equations 23, 25 and 27, with what the literature leaves
open settled: PSNR has each reference band's maximum as its peak, ERGAS the reference's means (Wald 2000;
the equation as printed divides by the fused image's), SAM is in degrees. UIQI and SSIM (equations 24 and 26)
look at windows: see `hsfuse.metrics.windowed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import RequestError
from hsfuse.metrics.moments import PairMoments, mean_defined
from hsfuse.metrics.windowed import WindowedReference, WindowScores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

_CHUNK_VALUES = 2**22  # of each image held in float64 at a time, 32 MB


@dataclass(frozen=True)
class FullReferenceScores:
    """The metrics of a fused image; a band in which one is undefined is NaN there, and not in its mean."""

    psnr: float
    """Mean of the bands' in dB; ∞ if a band is without error."""

    sam: float
    """Spectral angle in degrees, mean over the valid pixels that are not all zero."""

    ergas: float
    """100/ratio · √ mean((RMSE_b / mean_b)²) over the bands."""

    rmse: float
    """Root of the mean squared error over all bands, in the images' units."""

    cc: float
    """Mean of the bands' correlation coefficients."""

    band_psnr: NDArray[np.float64]
    """In dB, shape (C,)."""

    band_rmse: NDArray[np.float64]
    """In the images' units, shape (C,)."""

    band_cc: NDArray[np.float64]
    """Correlation coefficients, shape (C,)."""

    band_relative_rmse: NDArray[np.float64]
    """RMSE over the reference band's mean, shape (C,): a band's part in ERGAS."""

    pixels: int
    """Pixels that were compared."""

    zero_pixels: int
    """Those of them that SAM leaves out, because all bands are zero in either image."""

    missing_pixels: int
    """Valid pixels that were not compared, because either image has a value there that is not finite."""

    wavelength_nm: NDArray[np.float64] | None = None
    """Centres of the bands in nm, shape (C,), where known."""

    windows: WindowScores | None = None
    """UIQI and SSIM, where they were computed."""

    def summary(self) -> dict[str, float]:
        """The metrics of the whole image by their names, NaN where undefined."""
        values = {"psnr": self.psnr, "sam": self.sam, "ergas": self.ergas, "rmse": self.rmse, "cc": self.cc}
        return values if self.windows is None else values | self.windows.summary()

    def per_band(self) -> dict[str, NDArray[np.float64]]:
        """The metrics that bands have, each of shape (C,), NaN where undefined."""
        values = {"psnr": self.band_psnr, "rmse": self.band_rmse, "cc": self.band_cc}
        return values if self.windows is None else values | self.windows.per_band()

    def undefined(self) -> dict[str, tuple[int, ...]]:
        """The bands (0-based) in which a metric is undefined and which its mean leaves out."""
        columns = self.per_band() | {"ergas": self.band_relative_rmse}
        found = {name: tuple(np.flatnonzero(np.isnan(values)).tolist()) for name, values in columns.items()}
        return {name: bands for name, bands in found.items() if bands}


class FullReference:
    """Accumulates the pixel-wise metrics over tiles that do not overlap, in any order, in float64."""

    def __init__(self, ratio: float, wavelength_nm: ArrayLike | None = None) -> None:
        """Begin.

        Args:
            ratio: HSI pixel over MSI pixel, the d of ERGAS.
            wavelength_nm: Centres of the bands, to be handed on to the scores.

        Raises:
            RequestError: The ratio is not positive.
        """
        if not ratio > 0:
            raise RequestError(f"the ratio of HSI pixel to MSI pixel is positive, got {ratio:g}")
        self._ratio = ratio
        self._wavelength = None if wavelength_nm is None else np.asarray(wavelength_nm, dtype=np.float64)
        self._moments: PairMoments | None = None
        self._angles = 0.0  # Σ in radians
        self._zero = 0
        self._missing = 0

    def update(
        self,
        fused: NDArray[np.floating],
        reference: NDArray[np.floating],
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take in one tile.

        Args:
            fused: The image to judge, shape (C, h, w).
            reference: The truth, shape (C, h, w), in the same units.
            valid: Where both are known, shape (h, w); by default everywhere. What stands elsewhere, NaN too,
                is never looked at.

        Raises:
            RequestError: The shapes disagree among each other or with earlier tiles.
        """
        bands = None if self._moments is None else len(self._moments.error)
        _check_shapes(fused, reference, valid, bands)
        moments = PairMoments.empty(fused.shape[0]) if self._moments is None else self._moments
        for x, y in _chunks(fused, reference, valid):
            finite = np.isfinite(x).all(axis=0) & np.isfinite(y).all(axis=0)
            self._missing += int(finite.size - finite.sum())
            if not finite.all():
                x, y = x[:, finite], y[:, finite]  # noqa: PLW2901 - the same pixels without the broken ones
            if x.size:
                moments = moments.merged(PairMoments.of(x, y))
                self._add_angles(x, y)
        self._moments = moments

    def _add_angles(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        lengths = np.sqrt(np.einsum("cn,cn->n", x, x) * np.einsum("cn,cn->n", y, y))
        some = lengths > 0
        cosine = np.einsum("cn,cn->n", x, y)[some] / lengths[some]
        self._angles += float(np.arccos(np.clip(cosine, -1, 1)).sum())
        self._zero += int(some.size - some.sum())

    @property
    def peak(self) -> NDArray[np.float64]:
        """Maximum of each reference band so far, shape (C,); `WindowedReference` needs the whole scene's.

        Raises:
            RequestError: No valid pixel has been seen.
        """
        return self._seen().peak_y

    def result(self, windows: WindowScores | None = None) -> FullReferenceScores:
        """The scores of all tiles so far, with UIQI and SSIM if they are handed over.

        Raises:
            RequestError: No valid pixel has been seen.
        """
        moments = self._seen()
        error = moments.mean_square_error
        relative = np.divide(np.sqrt(error), moments.mean_y, out=np.full_like(error, np.nan), where=moments.mean_y != 0)
        angles = moments.count - self._zero
        return FullReferenceScores(
            psnr=mean_defined(moments.psnr),
            sam=float(np.degrees(self._angles / angles)) if angles else float("nan"),
            ergas=100 / self._ratio * mean_defined(relative**2) ** 0.5,
            rmse=float(np.sqrt(error.mean())),
            cc=mean_defined(moments.correlation),
            band_psnr=moments.psnr,
            band_rmse=np.sqrt(error),
            band_cc=moments.correlation,
            band_relative_rmse=np.abs(relative),
            pixels=moments.count,
            zero_pixels=self._zero,
            missing_pixels=self._missing,
            wavelength_nm=self._wavelength,
            windows=windows,
        )

    def _seen(self) -> PairMoments:
        if self._moments is None or not self._moments.count:
            missing = f" ({self._missing} have values that are not finite)" if self._missing else ""
            raise RequestError(f"the fused image and its reference have no valid pixel in common{missing}")
        return self._moments


def full_reference(
    fused: NDArray[np.floating],
    reference: NDArray[np.floating],
    valid: NDArray[np.bool_] | None = None,
    *,
    ratio: float,
    wavelength_nm: ArrayLike | None = None,
    windows: bool = True,
) -> FullReferenceScores:
    """All metrics of one image in memory.

    Args:
        fused: The image to judge, shape (C, h, w).
        reference: The truth, shape (C, h, w).
        valid: Where both are known, shape (h, w); by default everywhere.
        ratio: HSI pixel over MSI pixel, the d of ERGAS.
        wavelength_nm: Centres of the bands, to be handed on.
        windows: Compute UIQI and SSIM too.

    Raises:
        RequestError: The shapes disagree, or no pixel is valid.
    """
    scores = FullReference(ratio, wavelength_nm)
    scores.update(fused, reference, valid)
    if not windows:
        return scores.result()
    windowed = WindowedReference(scores.peak)
    windowed.update(fused, reference, valid)
    return scores.result(windowed.result())


def _check_shapes(
    fused: NDArray[np.floating],
    reference: NDArray[np.floating],
    valid: NDArray[np.bool_] | None,
    bands: int | None,
) -> None:
    """Refuse images that cannot be compared pixel by pixel.

    Raises:
        RequestError: The shapes disagree, or the number of bands is not `bands`.
    """
    if fused.ndim != 3 or fused.shape != reference.shape:
        raise RequestError(
            f"the fused image has shape {fused.shape} and its reference {reference.shape}: as (bands, rows, "
            "columns) they must agree, so crop or resample one of them"
        )
    if valid is not None and valid.shape != fused.shape[1:]:
        raise RequestError(f"a mask of shape {valid.shape} does not fit an image of shape {fused.shape}")
    if bands is not None and fused.shape[0] != bands:
        raise RequestError(f"this tile has {fused.shape[0]} bands, those before it had {bands}")


def _chunks(
    fused: NDArray[np.floating], reference: NDArray[np.floating], valid: NDArray[np.bool_] | None
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Valid pixels of both images, (C, n) in float64, some rows at a time."""
    bands, rows, columns = fused.shape
    step = max(_CHUNK_VALUES // max(bands * columns, 1), 1)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        use = np.ones(fused[0, part].shape, dtype=bool) if valid is None else valid[part]
        if use.any():
            yield fused[:, part][:, use].astype(np.float64), reference[:, part][:, use].astype(np.float64)
