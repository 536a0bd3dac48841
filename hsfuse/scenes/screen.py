"""The screen on reading: what a scene's numbers are like, found once on the sample that opening reads.

Three kinds of numbers ruin whatever is fitted to a scene, and no tag declares them:

* Fill. A pixel with one number in every band is fill where that number is 0 and such pixels touch the border or
  make up a block, where programs write it for no data (−9999 and its kin), or where it is the type's own least
  or greatest. It counts as nodata.
* Absurd numbers in single bands, −9999 among reflectances or 1e20. They count as nodata in their band.
* Gross values, a spike or a saturated detector. The pixel stays, but is `suspect`: no fit should learn from it.

What is merely bright is none of these: with b the bright level of the scene (the 99 % quantile, of the brighter
bands), a value is gross above 30 b or 20 times the span of its own band, a negative one below −b. Flares, snow,
glint and roofs lie at 5 to 20 times the median.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from hsfuse.scenes.bridge import FEWEST_BANDS
from hsfuse.scenes.findings import Finding
from hsfuse.scenes.rules import (
    CONSTANT_FILL,
    Ranges,
    Rules,
    Screened,
    castable,
    constant_everywhere,
    holds,
    outside,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.scenes.contents import Sample
    from hsfuse.scenes.encoding import Encoding

# Quantiles between which a band's values count as ordinary, and how many pixels they are taken from.
_LOW, _HIGH = 0.01, 0.99
_QUANTILE_PIXELS = 4096
_FEWEST_PIXELS = 16

_BRIGHT_BANDS = 0.9
_GROSS_BRIGHT, _GROSS_SPAN, _GROSS_DARK_SPAN = 30.0, 20.0, 10.0
_UNTHINKABLE = 100.0

# A saturated number repeats itself, and lies so many times above all others.
_SATURATED = 3.0
_REPEATS = 3
_CONVERTERS = tuple(float(2**bits - 1) for bits in range(15, 9, -1))

# Within this part of the bright level in all bands a pixel is as good as 0, or as the number asked about.
_NEAR = 0.02
_APART = 0.1

# Fewer pixels at the border, or farther inside, may be what they look like: black.
_EDGE_PIXELS = 3
_BLOCK_PIXELS = 9
_MOST_CANDIDATES = 8

# A band with more zeros than that has them as values, not from dead detectors.
_MOST_ZEROS = 0.05

# A collar of anything else than zeros has this part of the pixels at least, and for numbers that differ between
# bands there have to be some.
_COLLAR = 5e-3
_FEWEST_DIFFERENT = 3
_WITNESSES = 8

_RING = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Screen:
    """What a scene's numbers are like."""

    rules: Rules
    """For every block that is read."""
    findings: tuple[Finding, ...]
    """What the sample shows."""
    typical: NDArray[np.float64]
    """Shape (C,): the median of each band's values, NaN where it has none."""
    nonnegative: bool
    """Whether no valid value of the sample is below 0."""


def screen(sample: Sample, encoding: Encoding, images: Sequence[int], *, strict: bool = True) -> Screen:
    """Find a scene's rules, and what they say of the sample.

    Args:
        sample: Of the scene.
        encoding: Of its numbers.
        images: 0-based bands that hold images.
        strict: False to take every number as it is.
    """
    learner = _Learner(sample, encoding, list(images))
    rules = learner.rules() if strict else Rules.none(len(encoding))
    values = np.where(learner.present, learner.values, np.float32(np.nan))
    screened = rules.apply(learner.numbers, values, images)
    findings = _findings(learner.numbers, learner.present, screened, images)
    if screened.absent is not None:
        values[screened.absent] = np.nan
    values[:, screened.fill] = np.nan
    findings += _missing(learner.present & ~screened.fill, images)
    typical = np.full(len(encoding), np.nan)
    typical[list(images)] = _medians(values)
    return Screen(rules, findings, typical, not bool((values < 0).any()))


class _Learner:
    """The way from a sample to rules."""

    def __init__(self, sample: Sample, encoding: Encoding, images: list[int]) -> None:
        self.sample, self.images, self.encoding = sample, images, encoding.select(images)
        numbers, hidden = sample.flat()
        self.numbers: NDArray[Any] = numbers[images][:, ~hidden]
        self.values = self.encoding.decode(self.numbers)
        self.present = self.encoding.has_data(self.numbers) & np.isfinite(self.values)
        self.alike = constant_everywhere(self.numbers)
        self.low, self.middle, self.high = self._quantiles()
        with np.errstate(invalid="ignore"):
            ends = np.fmax(np.abs(self.low), np.abs(self.high))
        self.bright = float(np.quantile(ends[np.isfinite(ends)], _BRIGHT_BANDS)) if np.isfinite(ends).any() else 0.0

    def rules(self) -> Rules:
        """All rules."""
        count = len(self.sample.numbers[0])
        if not self.bright > 0:
            return Rules.none(count)
        ranges = self._ranges()
        fills, dark = self._fills(ranges)
        edge = np.zeros(count, dtype=bool)
        if (fills == 0).all(axis=1).any() and len(self.images) < FEWEST_BANDS:
            edge[self.images] = self._zero_stands_apart()
        ceiling = np.full(count, np.inf)
        ceiling[self.images] = self._ceiling(ranges)
        spread = np.linspace(0, len(self.images) - 1, min(_WITNESSES, len(self.images)))
        witnesses = tuple(self.images[int(place)] for place in np.rint(spread))
        images = np.zeros(count, dtype=bool)
        images[self.images] = True
        everywhere = np.full((len(fills), count), np.nan)
        everywhere[:, self.images] = fills
        return Rules(everywhere, dark, edge, ranges.among(self.images, count), ceiling, images, witnesses)

    # --- ranges ---

    def _quantiles(self) -> NDArray[np.float32]:
        """Low quantile, median and high quantile of each band, (3, C), NaN where it has no values.

        Numbers that may be fill are left out, whether they are or not.
        """
        step = max(1, self.numbers.shape[1] // _QUANTILE_PIXELS)
        numbers = self.numbers[:, ::step]
        ordinary = self.present[:, ::step] & ~self.alike[::step] & ~np.isin(numbers, _special(numbers.dtype))
        if ordinary.any(axis=0).sum() < _FEWEST_PIXELS:
            ordinary = self.present[:, ::step]
        values = np.where(ordinary, self.values[:, ::step], np.float32(np.nan))
        return _sorted_quantiles(values, (_LOW, 0.5, _HIGH))

    def _ranges(self) -> Ranges:
        middle, high, bright = self.middle, self.high, self.bright
        zeros = (self.numbers == 0) & ~self.alike
        often = zeros.sum(axis=1) > _MOST_ZEROS * self.numbers.shape[1]
        low = np.where(often, np.fmin(self.low, self._values_of(np.zeros(len(self.images)))), self.low)
        span = np.fmax(high - low, np.float32(_NEAR * bright))
        usual = low - span / 4 - _NEAR * bright, np.fmax(high + span, _SATURATED * high)
        least = low - np.fmax(np.float32(bright), _GROSS_DARK_SPAN * (middle - low))
        most = np.fmax(np.float32(_GROSS_BRIGHT * bright), high + _GROSS_SPAN * span)
        reach = _UNTHINKABLE * np.fmax(most - middle, middle - least)
        plausible = np.fmin(least, usual[0]), np.fmax(most, usual[1])
        return Ranges(_as_float32(*usual), _as_float32(*plausible), _as_float32(middle - reach, middle + reach))

    def _ceiling(self, ranges: Ranges) -> NDArray[np.float64]:
        """Numbers from which on a detector was saturated, (C,).

        The greatest of the type, or of a converter of 10 to 15 bits where numbers pile up at it; in either case far
        above all others.
        """
        dtype = self.numbers.dtype
        ceiling = np.full(len(self.images), np.inf)
        if dtype.kind == "f" or dtype.itemsize < 2:
            return ceiling
        ordinary = self.present & ~self.alike
        for limit in (float(np.iinfo(dtype).max) - 1, *_CONVERTERS):
            value = limit * self.encoding.scales + self.encoding.offsets
            far = (value > ranges.usual[1]) & (limit < ceiling)
            if limit in _CONVERTERS and far.any():
                at, above = self.numbers == limit, self.numbers > limit
                others = np.where(ordinary & ~at, self.values, np.float32(-np.inf)).max(axis=1, initial=-np.inf)
                far &= (at.sum(axis=1) >= _REPEATS) & ~(above & ordinary).any(axis=1) & (value > _SATURATED * others)
            ceiling[far] = limit
        return ceiling

    # --- fill ---

    def _fills(self, ranges: Ranges) -> tuple[NDArray[np.float64], bool]:
        """Spectra of pixels that are fill, (K, C), and whether such of zeros are suspect at least."""
        bands = len(self.images)
        fills = [np.full(bands, number) for number in self._candidates() if self._is_fill(number, ranges)]
        alone = bands > 1 and not any((fill == 0).all() for fill in fills) and self._near(np.zeros(bands)) == 0
        if not fills:
            fills = self._repeated()
        return np.array(fills).reshape(-1, bands), alone

    def _candidates(self) -> list[float]:
        """Numbers that stand in every band of some pixel, the most frequent first."""
        alike = self.alike if len(self.images) > 1 else np.isin(self.numbers[0], _special(self.numbers.dtype))
        found, counts = np.unique(self.numbers[0][alike & self.present[0]], return_counts=True)
        return [float(number) for number in found[np.argsort(-counts)][:_MOST_CANDIDATES]]

    def _is_fill(self, number: float, ranges: Ranges) -> bool:
        spectrum = np.full(len(self.images), number)
        value = self._values_of(spectrum)[:, None]
        far = bool(outside(value, ranges.usual).all())
        implausible = outside(value, ranges.plausible).mean() > 0.5
        if far and (implausible or number in castable(CONSTANT_FILL, self.numbers.dtype)):
            return True
        shape = self._shape_of(spectrum)
        apart = self._near(spectrum) < _APART * shape.pixels
        if number in {0.0, _least(self.numbers.dtype)}:
            if apart and len(self.images) > 1:
                return shape.touching > 0 or shape.blocks > 0
            return shape.touching > shape.pixels / 2 and shape.solid > shape.pixels / 2 and self._share(shape) > 1e-3
        return len(self.images) > 2 and apart and self._is_collar(shape)

    def _repeated(self) -> list[NDArray[np.float64]]:
        """Fill whose number differs from band to band: 0 or −9999 after a gain or an offset for each.

        It is the spectrum of many pixels along the border, and no other value is beyond its own in any band.
        """
        if len(self.images) < _FEWEST_DIFFERENT:
            return []
        pixels = np.ascontiguousarray(self.numbers[:, self.present.all(axis=0)].T)
        pixels = pixels[:: max(1, len(pixels) // _QUANTILE_PIXELS)]
        rows = np.ascontiguousarray(pixels).view(np.dtype((np.void, pixels.dtype.itemsize * pixels.shape[1]))).ravel()
        _, first, counts = np.unique(rows, return_index=True, return_counts=True)
        if not len(first) or counts.max() < max(_REPEATS, _COLLAR * len(rows)):
            return []
        spectrum = pixels[first[counts.argmax()]].astype(np.float64)
        others = self.present & ~holds(self.numbers, spectrum)
        value = self._values_of(spectrum)
        lowest = np.where(others, self.values, np.float32(np.inf)).min(axis=1)
        highest = np.where(others, self.values, np.float32(-np.inf)).max(axis=1)
        beyond = (value < lowest).all() or (value > highest).all()
        return [spectrum] if beyond and self._is_collar(self._shape_of(spectrum)) else []

    def _is_collar(self, shape: _Shape) -> bool:
        """Whether pixels lie as fill does: massed along the border."""
        massed = shape.touching > 0.9 * shape.pixels and shape.solid > shape.pixels / 2
        return massed and self._share(shape) > _COLLAR

    def _shape_of(self, spectrum: NDArray[np.float64]) -> _Shape:
        return _Shape.of([holds(part[self.images], spectrum) for part in self.sample.numbers], self._borders())

    def _values_of(self, spectrum: NDArray[np.float64]) -> NDArray[np.float32]:
        return self.encoding.decode(spectrum.astype(self.numbers.dtype))

    def _near(self, spectrum: NDArray[np.float64]) -> int:
        """How many pixels hold nearly the numbers of a spectrum, but not itself."""
        return int((self._close(spectrum).all(axis=0) & ~holds(self.numbers, spectrum)).sum())

    def _close(self, spectrum: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Where values (C, N) are nearly those of a spectrum."""
        margin = np.float32(_NEAR * self.bright)
        with np.errstate(over="ignore"):
            return np.asarray(np.abs(self.values - self._values_of(spectrum)[:, None]) <= margin)

    def _zero_stands_apart(self) -> NDArray[np.bool_]:
        """Bands (C,) in which few numbers are close to 0 without being it."""
        zero = self.numbers == 0
        near = self._close(np.zeros(len(self.images))) & ~zero & self.present
        alone = zero & ~zero.all(axis=0)
        return np.asarray(near.sum(axis=1) <= _APART * alone.sum(axis=1))

    def _borders(self) -> list[NDArray[np.bool_]]:
        """Where the windows' pixels lie on the border of the scene."""
        right = max(window.columns.stop for window in self.sample.windows)
        bottom = max(window.rows.stop for window in self.sample.windows)
        borders = []
        for window in self.sample.windows:
            row = np.arange(window.row, window.rows.stop)[:, None]
            column = np.arange(window.column, window.columns.stop)[None]
            borders.append((row == 0) | (row == bottom - 1) | (column == 0) | (column == right - 1))
        return borders

    def _share(self, shape: _Shape) -> float:
        return shape.pixels / max(1, len(self.alike))


@dataclass(frozen=True)
class _Shape:
    """How pixels of one number lie."""

    pixels: int
    touching: int
    """In patches of at least 3 that reach the border."""
    blocks: int
    """In patches of at least 3 × 3 pixels."""
    solid: int
    """With all neighbours alike."""

    @classmethod
    def of(cls, masks: Sequence[NDArray[np.bool_]], borders: Sequence[NDArray[np.bool_]]) -> _Shape:
        pixels = touching = blocks = solid = 0
        for mask, border in zip(masks, borders, strict=True):
            labels, number = ndimage.label(mask, _RING)
            if not number:
                continue
            size = np.bincount(labels.ravel(), minlength=number + 1)
            at_border = np.bincount(labels[border], minlength=number + 1) > 0
            inner = np.bincount(labels[ndimage.binary_erosion(mask, _RING, border_value=1)], minlength=number + 1)
            size[0] = inner[0] = 0
            pixels, touching = pixels + int(size.sum()), touching + int(size[at_border & (size >= _EDGE_PIXELS)].sum())
            blocks, solid = blocks + int(size[(inner > 0) & (size >= _BLOCK_PIXELS)].sum()), solid + int(inner.sum())
        return cls(pixels, touching, blocks, solid)


# --- findings ---


def _findings(
    numbers: NDArray[Any], present: NDArray[np.bool_], screened: Screened, images: Sequence[int]
) -> tuple[Finding, ...]:
    """What the rules say of the sample, beside what a tag declares."""
    fill = screened.fill & present.any(axis=0)
    alike = constant_everywhere(numbers) | (len(numbers) == 1)
    found, counts = np.unique(numbers[0][fill & alike], return_counts=True)
    findings = [Finding("fill", float(v), int(n) / fill.size) for v, n in zip(found, counts, strict=True)]
    if (fill & ~alike).any():
        findings.append(Finding("fill", None, float((fill & ~alike).mean())))
    if screened.absent is not None and (absent := screened.absent & ~fill & present).any():
        bands = tuple(images[band] for band in np.flatnonzero(absent.any(axis=1)).tolist())
        findings.append(Finding("absent", None, float(absent.mean()), bands))
    if (suspect := screened.suspect & present.any(axis=0)).any():
        findings.append(Finding("suspect", None, float(suspect.mean())))
    return tuple(findings)


def _missing(present: NDArray[np.bool_], images: Sequence[int]) -> tuple[Finding, ...]:
    """Numbers that pixels lack which have others."""
    pixels = present.any(axis=0)
    missing = ~present & pixels
    bands = tuple(images[band] for band in np.flatnonzero(missing.any(axis=1)).tolist())
    if not bands:
        return ()
    if len(images) < FEWEST_BANDS:
        return (Finding("lost", None, float(missing.any(axis=0).sum() / pixels.sum()), bands),)
    return (Finding("missing", None, float(missing.sum()) / (len(bands) * int(pixels.sum())), bands),)


def _medians(values: NDArray[np.float32]) -> NDArray[np.float64]:
    step = max(1, values.shape[1] // _QUANTILE_PIXELS)
    return np.asarray(_sorted_quantiles(values[:, ::step], (0.5,))[0], np.float64)


def _sorted_quantiles(values: NDArray[np.float32], quantiles: Sequence[float]) -> NDArray[np.float32]:
    """Quantiles of each row of (C, N) without its NaN, (Q, C); NaN for a row without numbers."""
    if not values.shape[1]:
        return np.full((len(quantiles), len(values)), np.nan, np.float32)
    # NaN is sorted to the end.
    ordered = np.sort(values, axis=1)
    known = np.isfinite(values).sum(axis=1)
    places = [np.rint(np.maximum(known - 1, 0) * quantile).astype(int) for quantile in quantiles]
    return np.stack([ordered[np.arange(len(values)), place] for place in places])


def _special(dtype: np.dtype[Any]) -> NDArray[Any]:
    """Numbers that may be fill: those that programs write, and 0; for bytes only 0."""
    return castable((0.0, *CONSTANT_FILL) if dtype.itemsize > 1 else (0.0,), dtype)


def _least(dtype: np.dtype[Any]) -> float:
    return 0.0 if dtype.kind == "f" else float(np.iinfo(dtype).min)


def _as_float32(
    low: NDArray[np.floating[Any]], high: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Ends of a range per band; endless where a band has no values to tell."""
    return (
        np.where(np.isfinite(low), low, -np.inf).astype(np.float32),
        np.where(np.isfinite(high), high, np.inf).astype(np.float32),
    )
