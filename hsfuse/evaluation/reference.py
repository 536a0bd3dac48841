"""A reference image as fused images are held against it: which of its bands and pixels are theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hsfuse.errors import PairError, RequestError
from hsfuse.metrics import FullReference, FullReferenceScores, WindowedReference
from hsfuse.pairs.coregistration import SHIFT_TAG
from hsfuse.scenes import OutputGrid, PixelWindow, nesting_offset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hsfuse.scenes import Bands, Grid, Scene, ScenePair

Seen = Callable[
    [NDArray[np.float32], NDArray[np.float32], tuple[NDArray[np.bool_], NDArray[np.bool_]], tuple[int, int]], None
]
"""Is shown a part of a fused image and of the truth, (C, h, w), where each is valid, and its column and row."""

_STRIP_NUMBERS = 2**24  # of each image held at a time
_SAME_BAND_NM = 1.0
_MOST_NAMED = 8


@dataclass(frozen=True)
class BandMatch:
    """Which bands of two images are the same, all 0-based and in one order."""

    fused: tuple[int, ...]
    """Of the fused image."""

    other: tuple[int, ...]
    """Of the image that it is compared with, shape as `fused`."""

    warnings: tuple[str, ...]
    """Sentences for the user about bands that are left out."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The truth, matched with what is fused."""

    scene: Scene
    """The reference image."""

    match: BandMatch
    """Bands of the fused image and of the reference."""

    offset: tuple[int, int]
    """Column and row of the reference at which the fused image begins; negative where it begins outside."""

    warnings: tuple[str, ...] = ()
    """Sentences for the user about what is left out."""

    @classmethod
    def of_image(cls, fused: Scene, reference: Scene) -> Reference:
        """The reference of a fused image on the very same grid, or of one that was moved and shares pixels with it:
        coregistered, or on a grid other than the HSI's.

        Raises:
            PairError: Grids or bands do not match.
        """
        offset, left_out = (0, 0), ""
        output = OutputGrid.of_tags(fused.tags, fused.path)
        if SHIFT_TAG in fused.tags or not (output is None or output.refines_hsi):
            offset, left_out = _common_pixels(fused, reference)
        else:
            _require_one_grid(fused, reference)
        images = [band for band in range(fused.count) if band != fused.alpha_band]
        match = match_bands(fused.path, fused.bands, images, reference)
        return cls(reference, match, offset, (*match.warnings, *([left_out] if left_out else [])))

    @classmethod
    def of_pair(cls, pair: ScenePair, reference: Scene) -> Reference:
        """The reference of what a pair will be fused to; it may reach beyond.

        Raises:
            PairError: The reference does not cover the fused image pixel by pixel, or has other bands.
        """
        fine, theirs = pair.fine_grid, reference.grid
        place: tuple[int, int] | None = pair.window.column * pair.ratio, pair.window.row * pair.ratio
        if pair.was_moved or pair.led_by_hsi is not None:
            place = pair.msi_offset
        if theirs.has_transform:
            place = None if _other_crs(fine, theirs) else nesting_offset(fine, theirs)
        inside = None if place is None else PixelWindow(*place, fine.width, fine.height)
        if inside is None or not theirs.window.contains(inside):
            raise PairError(
                f"{reference.path} ({theirs.width}×{theirs.height} pixels of {theirs.describe_pixel()}) is not on the "
                f"grid of what will be fused ({fine.width}×{fine.height} pixels of {fine.describe_pixel()}, of ratio "
                f"{pair.ratio} to the HSI's): give a reference that covers it pixel by pixel"
            )
        chosen = pair.hsi.bands.select(pair.hsi_bands)
        match = match_bands(pair.hsi.path, chosen, range(len(chosen)), reference)
        return cls(reference, match, (inside.column, inside.row), match.warnings)

    def score(
        self, fused: Scene, ratio: float, *, called: str | None = None, seen: Seen | None = None
    ) -> tuple[FullReferenceScores, tuple[str, ...]]:
        """The scores of a fused image, and sentences about what they leave out, where it is `called` so.

        Streamed by strips, twice, since SSIM needs each band's maximum first: no whole image is held. Every strip is
        `seen` once.

        Raises:
            RequestError: The two have no valid pixel in common, or the ratio is not positive.
        """
        wavelength = self.scene.bands.wavelength_nm
        full = FullReference(ratio, None if wavelength is None else wavelength[list(self.match.other)])
        unseen = 0
        for row, (image, expected, ours, theirs) in self._strips(fused):
            full.update(image, expected, ours & theirs)
            unseen += int((theirs & ~ours).sum())
            if seen is not None:
                seen(image, expected, (ours, theirs), (0, row))
        windowed = WindowedReference(full.peak)
        for _, (image, expected, ours, theirs) in self._strips(fused):
            windowed.update(image, expected, ours & theirs)
        scores = full.result(windowed.result())
        warnings = undefined_bands(scores, self.scene.path, self.match.other)
        if unseen:
            warnings.insert(
                0, f"{called or fused.path} has no data at {unseen} pixels that the reference knows: not compared"
            )
        return scores, tuple(warnings)

    def area(self, fused: Scene) -> PixelWindow:
        """What of a fused image the reference covers.

        Raises:
            RequestError: Nothing.
        """
        column, row = self.offset
        area = fused.grid.window.intersection(self.scene.grid.window.shifted(-column, -row))
        if area is None:
            raise RequestError(f"{fused.path} and {self.scene.path} have no pixel in common")
        return area

    def _strips(
        self, fused: Scene
    ) -> Iterator[tuple[int, tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]]]:
        """First row, both images and where each is valid, by strips of full width, whole blocks of rows at a time."""
        area = self.area(fused)
        rows = max(_STRIP_NUMBERS // (area.width * len(self.match.fused)) // 256 * 256, 64)
        for first in range(0, area.height, rows):
            window = PixelWindow(area.column, area.row + first, area.width, min(rows, area.height - first))
            image = fused.read(window, self.match.fused)
            expected = self.scene.read(window.shifted(*self.offset), self.match.other)
            yield first, (image.values, expected.values, image.complete, expected.complete)


def match_bands(
    path: str, ours: Bands, images: Sequence[int], other: Scene, *, among: Sequence[int] | None = None
) -> BandMatch:
    """Match bands by wavelength where both images know theirs, else by order.

    Args:
        path: Of the fused image, for what is said to the user.
        ours: Its bands.
        images: Those of them that are images, 0-based.
        other: What it is compared with; its bad bands are left out.
        among: The other's bands to match with, 0-based; by default all good ones.

    Raises:
        PairError: The bands are at other wavelengths, or without wavelengths their numbers differ.
    """
    usable = [band for band in range(other.count) if other.bands.good[band] or band in other.idle_bands]
    theirs = usable if among is None else list(among)
    pairs = _by_wavelength(path, ours, images, other, theirs)
    if pairs is None:
        pairs = _by_order(path, images, other, theirs)
    fused, others = zip(*pairs, strict=True)
    there = len(theirs) if among is not None else other.count - (other.alpha_band is not None)
    warnings = []
    if len(pairs) < max(len(images), there):
        warnings.append(
            f"{len(pairs)} bands are in both images (of {len(images)} fused and {there} reference bands)"
            + _left_out(path, sorted(set(images) - set(fused)))
        )
    return BandMatch(fused, others, tuple(warnings))


def _by_wavelength(
    path: str, ours: Bands, images: Sequence[int], other: Scene, theirs: list[int]
) -> list[tuple[int, int]] | None:
    """Pairs of bands that are at most a nanometre apart; None where either image does not know its wavelengths."""
    if ours.wavelength_nm is None or other.bands.wavelength_nm is None:
        return None
    own = [band for band in images if np.isfinite(ours.wavelength_nm[band])]
    known = [band for band in theirs if np.isfinite(other.bands.wavelength_nm[band])]
    if not own or not known:
        return None
    distance = np.abs(ours.wavelength_nm[own][:, None] - other.bands.wavelength_nm[known])
    if len(own) == len(known) and np.diagonal(distance).max() <= _SAME_BAND_NM:
        return list(zip(own, known, strict=True))  # also where two bands share a wavelength
    nearest, near = distance.argmin(axis=1), distance.min(axis=1) <= _SAME_BAND_NM
    if not near.any():
        raise PairError(f"the bands of {path} and {other.path} are at different wavelengths")
    if len(set(nearest[near])) < near.sum():
        raise PairError(
            f"several bands of {path} are within {_SAME_BAND_NM:g} nm of one band of {other.path}: give images "
            "with the same bands"
        )
    return [(band, known[place]) for band, place, fits in zip(own, nearest, near, strict=True) if fits]


def _by_order(path: str, images: Sequence[int], other: Scene, theirs: list[int]) -> list[tuple[int, int]]:
    """First with first: of all bands, or of those that are good."""
    everything = [band for band in range(other.count) if band != other.alpha_band]
    if len(images) == len(theirs):
        return list(zip(images, theirs, strict=True))
    if len(images) == len(everything):
        good = set(theirs)
        return [pair for pair in zip(images, everything, strict=True) if pair[1] in good]
    raise PairError(
        f"{path} has {len(images)} bands, {other.path} {len(everything)}, and without wavelengths in both they cannot "
        "be matched"
    )


def _left_out(path: str, bands: list[int]) -> str:
    return f"; {named(bands)} of {path} not compared" if bands else ""


def named(bands: Sequence[int]) -> str:
    """0-based bands as users count them, the first few of many."""
    numbers = ", ".join(str(band + 1) for band in bands[:_MOST_NAMED])
    more = f" and {len(bands) - _MOST_NAMED} more" if len(bands) > _MOST_NAMED else ""
    return f"band{'s' if len(bands) > 1 else ''} {numbers}{more}"


def undefined_bands(scores: FullReferenceScores, path: str, bands: Sequence[int]) -> list[str]:
    """A sentence for each set of bands in which metrics are undefined.

    Args:
        scores: Of an image.
        path: Of the reference.
        bands: The reference's bands, 0-based, in the order of the scores.
    """
    metrics: dict[tuple[int, ...], list[str]] = {}
    for name, where in scores.undefined().items():
        metrics.setdefault(where, []).append(name.upper())
    sentences = []
    for where, names in metrics.items():
        what = f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} undefined in"
        if len(where) == len(bands):
            sentences.append(f"{what} every band")
            continue
        found = named([bands[index] for index in where])
        sentences.append(f"{what} {found} of {path}, constant or without a positive value, and left out of the mean")
    return sentences


def _common_pixels(fused: Scene, reference: Scene) -> tuple[tuple[int, int], str]:
    """Column and row of the reference at which an image that was moved begins, and a sentence about what is left out.

    Raises:
        PairError: Their pixels do not coincide, or they have none in common.
    """
    ours, theirs = fused.grid, reference.grid
    place = None if _other_crs(ours, theirs) else nesting_offset(ours, theirs)
    if place is None:
        why = "was coregistered" if SHIFT_TAG in fused.tags else "has another grid than the HSI's"
        raise PairError(
            f"{fused.path} (pixels of {ours.describe_pixel()}) {why}, but its pixels are not those of "
            f"{reference.path} ({theirs.describe_pixel()}): give a reference on the MSI's grid"
        )
    common = ours.window.shifted(*place).intersection(theirs.window)
    if common is None:
        raise PairError(f"{fused.path} and {reference.path} have no pixel in common")
    share = common.width * common.height / (ours.width * ours.height)
    return place, "" if share == 1 else f"{share:.0%} of {fused.path} lie on {reference.path}: they alone are compared"


def _require_one_grid(fused: Scene, reference: Scene) -> None:
    ours, theirs = fused.grid, reference.grid
    if (ours.width, ours.height) != (theirs.width, theirs.height):
        raise PairError(
            f"{fused.path} has {ours.width}×{ours.height} pixels, {reference.path} {theirs.width}×{theirs.height}: "
            "crop one of them to the other",
        )
    if _other_crs(ours, theirs):
        raise PairError(f"{fused.path} and {reference.path} are in different CRS: warp one of them to the other")
    if ours.has_transform and theirs.has_transform:
        size = min(ours.pixel_size)
        apart = np.abs(np.array(ours.transform[:6]) - np.array(theirs.transform[:6]))
        if apart[[2, 5]].max() > 0.05 * size or apart[[0, 1, 3, 4]].max() > 1e-3 * size:
            raise PairError(
                f"{fused.path} and {reference.path} do not lie on one grid: their corners are "
                f"{apart[2] / size:.2f} and {apart[5] / size:.2f} pixels apart",
            )


def _other_crs(one: Grid, other: Grid) -> bool:
    return one.crs is not None and other.crs is not None and bool(one.crs != other.crs)
