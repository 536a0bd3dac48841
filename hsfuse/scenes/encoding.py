"""Numbers in a file and the physical values they stand for, both ways.

    value = number · scale + offset,    number = (value − offset) / scale

for each band with a scale and an offset of its own. Which numbers are none at all (nodata, NaN, infinity) is
told here, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hsfuse.errors import OutputError, SceneError
from hsfuse.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

WRITABLE = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")
"""Types that an output may have."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """How the values of a raster's bands are written as numbers."""

    dtype: str
    """numpy's name of the numbers' type: an integer or a float of any width."""
    nodata: NDArray[np.float64]
    """Shape (C,), in the file's numbers. NaN: only NaN and infinity are no data."""
    scales: NDArray[np.float64]
    """Shape (C,), finite and not 0."""
    offsets: NDArray[np.float64]
    """Shape (C,), finite."""
    clip_negative: bool = False
    """On encoding: values below 0 become 0, and are not counted as clipped."""
    declared: bool = True
    """On writing: whether the file names its nodata value from the start, or only once a pixel needs it."""

    def __post_init__(self) -> None:
        if np.dtype(self.dtype).kind not in "iuf":
            raise SceneError(f"Numbers of type {self.dtype} are not those of an image: give integers or floats")
        if not self.nodata.shape == self.scales.shape == self.offsets.shape or self.nodata.ndim != 1:
            raise SceneError(
                f"Nodata, scales and offsets of shapes {self.nodata.shape}, {self.scales.shape} and "
                f"{self.offsets.shape} do not belong together: give one of each a band"
            )
        if not (np.isfinite(self.scales).all() and (self.scales != 0).all() and np.isfinite(self.offsets).all()):
            raise SceneError("A scale of 0, or a scale or offset that is not finite, cannot be undone: give others")

    @classmethod
    def of_file(
        cls,
        dtype: str,
        nodata: Sequence[float | None],
        scales: ArrayLike,
        offsets: ArrayLike,
    ) -> Self:
        """What a file says of itself; a scale of 0 or NaN says nothing that could be undone and counts as 1."""
        per_band, shift = np.array(scales, np.float64), np.array(offsets, np.float64)
        per_band[~np.isfinite(per_band) | (per_band == 0)] = 1.0
        shift[~np.isfinite(shift)] = 0.0
        return cls(dtype, np.array([math.nan if value is None else value for value in nodata]), per_band, shift)

    @classmethod
    def for_output(
        cls,
        bands: int,
        dtype: str,
        nodata: float | None = None,
        scales: ArrayLike = 1.0,
        offsets: ArrayLike = 0.0,
        *,
        clip_negative: bool = False,
    ) -> Self:
        """What an output is to be written with.

        Args:
            bands: C.
            dtype: One of `WRITABLE`.
            nodata: In the file's numbers. None: NaN for floats, the least number of an integer type.
            scales: One for all bands, or shape (C,).
            offsets: One for all bands, or shape (C,).
            clip_negative: Write values below 0 as 0, as for an image of which none of the inputs has negatives.

        Raises:
            OutputError: A type that cannot be written, or a nodata value that it cannot hold.
        """
        if dtype not in WRITABLE:
            near = did_you_mean(str(dtype), WRITABLE)
            raise OutputError(f"The output cannot be of type {dtype}{near}: choose one of {', '.join(WRITABLE)}")
        value = _checked_nodata(nodata, np.dtype(dtype))
        each = (np.broadcast_to(np.asarray(part, np.float64), bands) for part in (value, scales, offsets))
        values, per_band, shift = each
        return cls(dtype, values, per_band, shift, clip_negative, declared=nodata is not None)

    def __len__(self) -> int:
        return len(self.scales)

    def select(self, bands: Sequence[int] | slice) -> Self:
        """The encoding of some bands, in that order."""
        index = bands if isinstance(bands, slice) else np.asarray(bands, dtype=int)
        return replace(self, nodata=self.nodata[index], scales=self.scales[index], offsets=self.offsets[index])

    def has_data(self, numbers: NDArray[Any]) -> NDArray[np.bool_]:
        """Where numbers (C, …) are neither nodata nor NaN nor infinite, (C, …)."""
        present: NDArray[np.bool_] = np.isfinite(numbers)
        native = [_native(value, numbers.dtype) for value in self.nodata]
        if any(value is not None for value in native):
            a_band = (-1, *(1,) * (numbers.ndim - 1))
            known = np.array([value is not None for value in native]).reshape(a_band)
            fill = np.array([value or 0 for value in native], dtype=numbers.dtype).reshape(a_band)
            present &= (numbers != fill) | ~known
        return present

    def decode(self, numbers: NDArray[Any]) -> NDArray[np.float32]:
        """The values of numbers (C, …), float32; what float32 cannot hold becomes infinite."""
        with np.errstate(over="ignore"):
            if (self.scales == 1).all() and (self.offsets == 0).all():
                return numbers.astype(np.float32)
            # float32 holds 16-bit integers exactly; wider types would lose digits before the offset takes them.
            kind: type[np.floating[Any]] = np.float32 if np.can_cast(numbers.dtype, np.float32) else np.float64
            scales, offsets = self._as(kind, numbers.ndim)
            values: NDArray[Any] = numbers.astype(kind)
            values = np.multiply(values, scales, out=values)
            values = np.add(values, offsets, out=values)
            return values.astype(np.float32, copy=False)

    def encode(
        self, values: NDArray[np.float32], valid: NDArray[np.bool_], *, whole: bool = False
    ) -> tuple[NDArray[Any], int]:
        """The numbers of values (C, …), none of which reads as nodata unless it has to.

        Args:
            values: Physical values; one that is not finite becomes nodata in its band alone.
            valid: Shape (…); pixels that become nodata in all bands where False.
            whole: Whether it is known that all are valid and finite, so that none becomes nodata.

        Returns:
            The numbers, shape (C, …), and how many of them the type could not hold and were clipped.
        """
        dtype = np.dtype(self.dtype)
        lost = None if whole else ~np.isfinite(values) | ~valid
        numbers = self._unrounded(values)
        clipped = 0
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                encoded = numbers.astype(dtype, copy=False)
        else:
            limits = np.iinfo(dtype)
            np.rint(numbers, out=numbers)
            if lost is not None:
                numbers[lost] = 0
            if numbers.size and not (limits.min <= numbers.min() and numbers.max() <= limits.max):
                clipped = int(np.count_nonzero((numbers < limits.min) | (numbers > limits.max)))
                np.clip(numbers, limits.min, limits.max, out=numbers)
            encoded = numbers.astype(dtype)
        return self._with_nodata(encoded, lost), clipped

    def rounded(self, numbers: NDArray[np.floating[Any]], lost: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """Valid numbers (C, …) between those of the type, such as means of them, as the nearest of the type's that
        does not read as nodata; halves go up.

        Args:
            numbers: Changed in place.
            lost: Shape (C, …); what becomes nodata. None: nothing.
        """
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f":
            encoded = numbers.astype(dtype, copy=False)
        else:
            encoded = np.floor(numbers + numbers.dtype.type(0.5), out=numbers).astype(dtype)
        return self._with_nodata(encoded, lost)

    def _with_nodata(self, encoded: NDArray[Any], lost: NDArray[np.bool_] | None) -> NDArray[Any]:
        for band, nodata in enumerate(self.nodata.tolist()):
            if not math.isnan(nodata):
                here = encoded[band]
                here[here == nodata] = _beside(nodata, encoded.dtype)
            if lost is not None:
                encoded[band][lost[band]] = nodata
        return encoded

    def share_clipped(self, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> float:
        """Which part of the valid values (C, …) the type cannot hold, 0 to 1."""
        number = int(valid.sum()) * len(values)
        return self.encode(values, valid)[1] / number if number else 0.0

    def refusal(self, share: float) -> str:
        """Why an output with so many clipped values is refused, and the way out."""
        low, high = self.limits()
        return (
            f"{100 * share:.3g} % of the values do not fit {self.dtype}, which reaches from {low:.4g} to {high:.4g} "
            "with this scale and offset: choose another `dtype`, or another `scale` or `offset` for the output"
        )

    def limits(self) -> tuple[float, float]:
        """Least and greatest value that every band's numbers can stand for."""
        dtype = np.dtype(self.dtype)
        bounds = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        with np.errstate(over="ignore"):
            ends = np.stack([float(end) * self.scales + self.offsets for end in (bounds.min, bounds.max)])
        return float(ends.min(axis=0).max()), float(ends.max(axis=0).min())

    def _unrounded(self, values: NDArray[np.float32]) -> NDArray[Any]:
        narrow = np.dtype(self.dtype).itemsize <= 2 or self.dtype == "float32"
        kind: type[np.floating[Any]] = np.float32 if narrow else np.float64
        scales, offsets = self._as(kind, values.ndim)
        numbers: NDArray[Any] = values.astype(kind)
        if self.clip_negative:
            np.maximum(numbers, 0, out=numbers)
        np.subtract(numbers, offsets, out=numbers)
        np.divide(numbers, scales, out=numbers)
        return numbers

    def _as(self, kind: type[np.floating[Any]], dimensions: int) -> tuple[NDArray[Any], NDArray[Any]]:
        a_band = (-1, *(1,) * (dimensions - 1))
        return self.scales.astype(kind).reshape(a_band), self.offsets.astype(kind).reshape(a_band)


def _native(nodata: float, dtype: np.dtype[Any]) -> float | None:
    """Nodata as the type holds it; None where it cannot (−9999 in uint16), for then no number equals it."""
    if math.isnan(nodata):
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(dtype.type(nodata))
    limits = np.iinfo(dtype)
    return int(nodata) if nodata == np.floor(nodata) and limits.min <= nodata <= limits.max else None


def _checked_nodata(nodata: float | None, dtype: np.dtype[Any]) -> float:
    if nodata is None:
        return math.nan if dtype.kind == "f" else float(np.iinfo(dtype).min)
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        if not (math.isfinite(nodata) and nodata == round(nodata) and limits.min <= nodata <= limits.max):
            raise OutputError(
                f"The nodata value {nodata:g} is not one of {dtype.name} ({limits.min} to {limits.max}): "
                "choose another with `nodata`, or another `dtype`"
            )
    elif math.isfinite(nodata) and abs(nodata) > float(np.finfo(dtype).max):
        raise OutputError(f"The nodata value {nodata:g} does not fit {dtype.name}: choose another with `nodata`")
    return float(dtype.type(nodata))


def _beside(nodata: float, dtype: np.dtype[Any]) -> float:
    """The number next to nodata, for valid values that fall on it."""
    if dtype.kind == "f":
        return float(np.nextafter(dtype.type(nodata), dtype.type(0 if nodata else 1)))
    return nodata - 1 if nodata == np.iinfo(dtype).max else nodata + 1
