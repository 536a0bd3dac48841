"""What a report shows of images, gathered while they are read tile by tile."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hsfuse.evaluation.signal_to_noise import MANY_BANDS
from hsfuse.metrics import spectral_noise
from hsfuse.report.content import ErrorMap, Picture, SpectraAt
from hsfuse.report.gathering import ImageParts, Places, Spectra, map_edge, picture_edge
from hsfuse.report.quicklook import levels, stretched
from hsfuse.scenes import PixelWindow
from hsfuse.scenes.composite import INFRARED_NM, NATURAL_NM, BlockMeans, guessed_bands, nearest_bands

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from hsfuse.evaluation.consistency import FusedViews, PlacedView
    from hsfuse.evaluation.reference import Seen
    from hsfuse.metrics import FusedView
    from hsfuse.pairs.pair import Pair
    from hsfuse.scenes import Bands, PairBlock, Scene

NATURAL, INFRARED, GUESSED = "natural colours", "infrared (vegetation is red)", "bands as they come"
_STRIP_NUMBERS = 2**24


def composites_of(bands: Bands) -> dict[str, tuple[int, ...]]:
    """Which bands, 0-based, make a picture in natural and in false colours."""
    found = {NATURAL: nearest_bands(bands, NATURAL_NM), INFRARED: nearest_bands(bands, INFRARED_NM)}
    known = {name: chosen for name, chosen in found.items() if chosen is not None}
    return dict(known) or {GUESSED: guessed_bands(bands)}


class InputParts:
    """Both images of a pair."""

    def __init__(self, pair: Pair, places: Places, edge: int, size: tuple[int, int] | None = None) -> None:
        """Make room.

        Args:
            pair: The two scenes.
            places: Where spectra of the HSI are kept.
            edge: Most pixels along an edge of a picture.
            size: Width and height in HSI pixels, where it is not the area in use.
        """
        self.pair = pair
        ratio, (width, height) = pair.ratio, size or (pair.window.width, pair.window.height)
        hsi, msi = composites_of(pair.hsi_bands), composites_of(pair.msi_bands)
        self.hsi = ImageParts(len(pair.hsi_bands), (width, height), hsi, edge=edge, places=places, scale=ratio)
        self.msi = ImageParts(len(pair.msi_bands), (width * ratio, height * ratio), msi, edge=edge)

    def add(self, block: PairBlock, window: PixelWindow) -> None:
        """A window of the pair, in HSI pixels of the area in use."""
        fine = window.scaled(self.pair.ratio)
        self.hsi.add(block.hsi, block.hsi_valid, window.column, window.row)
        self.msi.add(block.msi, block.msi_valid, fine.column, fine.row)

    def read(self) -> None:
        """The whole pair, strip by strip."""
        area, ratio = self.pair.area, self.pair.ratio
        numbers = len(self.pair.hsi_bands) + len(self.pair.msi_bands) * ratio**2
        rows = max(_STRIP_NUMBERS // (area.width * numbers), 1)
        for row in range(0, area.height, rows):
            window = PixelWindow(0, row, area.width, min(rows, area.height - row))
            self.add(self.pair.read(window), window)

    def pictures(self) -> tuple[Picture, Picture]:
        """HSI and MSI, each stretched by itself."""
        return picture("HSI", self.hsi, scale=self.pair.ratio), picture("MSI", self.msi)


class PairParts:
    """A fused image beside both images that it was made of."""

    def __init__(self, views: FusedViews, deviation: Scene | None = None) -> None:
        """Make room.

        Args:
            views: The three images.
            deviation: The standard deviations of the fused one, on its grid.
        """
        self.views, self.deviation = views, deviation
        pair = views.pair
        self.size = pair.window.width * pair.ratio, pair.window.height * pair.ratio
        bands, composites = len(views.fused_bands), composites_of(pair.hsi_bands)
        self.places = Places.of(*self.size, bands * (2 if deviation is None else 3))
        edge, self._map_edge = picture_edge(3 * len(composites)), map_edge(5)
        self.inputs = InputParts(pair, self.places, edge)
        self.fused = ImageParts(bands, self.size, composites, edge=edge, places=self.places)
        self._sigma = Spectra(bands, self.places)
        coarse = pair.window.width, pair.window.height
        self._maps = {
            name: BlockMeans(1, *extent, self._map_edge)
            for name, extent in (
                ("angle", coarse), ("hsi", coarse), ("msi", self.size), ("inputs", coarse), ("sigma", self.size),
            )
        }  # fmt: skip
        self._squares, self._msi_squares, self._msi_power = np.zeros(bands), 0.0, 0.0
        self._compared = self._fused_pixels = 0
        self._detail = np.zeros(2)

    def add(self, placed: PlacedView) -> None:
        """Take in a tile."""
        view, core = placed.view, placed.core
        fine = core.scaled(self.views.pair.ratio)
        at, fine_at = (core.column, core.row), (fine.column, fine.row)
        self.inputs.hsi.add(view.hsi, placed.hsi_valid, *at)
        self.inputs.msi.add(view.msi, placed.msi_valid, *fine_at)
        self.fused.add(view.fused, placed.fused_valid, *fine_at)
        self._fused_pixels += int(placed.fused_valid.sum())
        self._maps["angle"].add(angles(view.fused_as_hsi, view.hsi)[None], view.hsi_valid, *at)
        self._maps["hsi"].add(relative(view.fused_as_hsi, view.hsi)[None], view.hsi_valid, *at)
        self._maps["msi"].add(relative(view.fused_as_msi, view.msi)[None], view.msi_valid, *fine_at)
        srf = self.views.pair.imaging.srf.matrix.astype(np.float32)
        projected = np.tensordot(srf, view.hsi, axes=1)
        self._maps["inputs"].add(relative(projected, view.msi_as_hsi)[None], view.hsi_valid, *at)
        self._count(view)
        if self.deviation is not None:
            self._add_sigma(fine, view.fused)

    def _count(self, view: FusedView) -> None:
        missed = (view.fused_as_hsi - view.hsi)[:, view.hsi_valid]
        self._squares += np.square(missed, dtype=np.float64).sum(axis=1)
        self._compared += missed.shape[1]
        missed = (view.fused_as_msi - view.msi)[:, view.msi_valid]
        self._msi_squares += float(np.square(missed, dtype=np.float64).sum())
        self._msi_power += float(np.square(view.msi[:, view.msi_valid], dtype=np.float64).sum())
        ratio = self.views.pair.ratio
        smooth = np.kron(blocks_of(view.msi, ratio).mean(axis=(2, 4)), np.ones((1, ratio, ratio), np.float32))
        covered = np.asarray(blocks_of(view.msi_valid[None], ratio).all(axis=(2, 4)))[0]
        whole = np.kron(covered, np.ones((ratio, ratio), bool))
        self._detail += np.array(
            [
                float(np.square((image - view.msi)[:, whole], dtype=np.float64).sum())
                for image in (view.fused_as_msi, smooth)
            ]
        )

    def _add_sigma(self, fine: PixelWindow, values: NDArray[np.floating]) -> None:
        assert self.deviation is not None
        block = self.deviation.read(fine.shifted(*self.views.offset), self.views.fused_bands)
        self._maps["sigma"].add(shares(length(block.values), values)[None], block.valid, fine.column, fine.row)
        self._sigma.add(block.values, block.valid, fine.column, fine.row)

    @property
    def off_hsi(self) -> NDArray[np.float64]:
        """Root of the mean squared difference of F B from Y, band by band; NaN where nothing could be compared."""
        return np.sqrt(self._squares / self._compared if self._compared else np.full_like(self._squares, np.nan))

    @property
    def off_msi(self) -> float:
        """The same of R F from P over all bands, as a share of P."""
        return math.sqrt(self._msi_squares / self._msi_power) if self._msi_power > 0 else math.nan

    @property
    def detail(self) -> float:
        """Share of what the MSI shows within HSI pixels that R F follows, at most 1; NaN where that is nothing."""
        missed, all_of_it = self._detail.tolist()
        return 1 - missed / all_of_it if all_of_it > 0 else math.nan

    @property
    def filled(self) -> float:
        """Share of the fused image without data, 0 to 1."""
        return 1 - self._fused_pixels / (self.size[0] * self.size[1])

    @property
    def deviating(self) -> float:
        """Median of the standard deviations as a share of the values in %; NaN where there are none."""
        shares = self._maps["sigma"].means
        return float(np.nanmedian(shares)) if np.isfinite(shares).any() else math.nan

    def pictures(self) -> list[Picture]:
        """HSI, MSI and result; HSI and result alike, so that their colours can be compared."""
        black_white = levels_of(self.fused)
        scale = self.views.pair.ratio
        return [
            picture("HSI", self.inputs.hsi, black_white, scale=scale),
            picture("MSI", self.inputs.msi),
            picture("result", self.fused, black_white),
        ]

    def spectra(self) -> SpectraAt:
        """HSI and result, with its standard deviation where there is one."""
        curves = {"HSI": self.inputs.hsi.spectra, "result": self.fused.spectra}
        spread = {} if self.deviation is None else {"result": self._sigma.values}
        nm = self.views.pair.hsi_bands.wavelength_nm
        return SpectraAt(self.places.columns, self.places.rows, nm, curves, spread)

    def maps(self) -> list[ErrorMap]:
        """Disagreement with both images, and of them with each other."""
        ratio = self.views.pair.ratio
        names = {
            "angle": ("Result, blurred, against the HSI: spectral angle", "spectral angle (°)", ratio),
            "hsi": ("Result, blurred, against the HSI", "difference (% of the pixel)", ratio),
            "msi": ("Result, seen by the MSI, against the MSI", "difference (% of the pixel)", 1),
            "inputs": ("HSI against MSI: clouds, change, shift", "difference (% of the pixel)", ratio),
            "sigma": ("Uncertainty of the result", "standard deviation (% of the pixel)", 1),
        }
        return [
            error_map(title, unit, self._maps[name], scale)
            for name, (title, unit, scale) in names.items()
            if name != "sigma" or self.deviation is not None
        ]


class ReferenceParts:
    """Fused images, by name, beside the truth."""

    def __init__(self, names: Sequence[str], bands: Bands, size: tuple[int, int], more_pictures: int = 0) -> None:
        """Make room.

        Args:
            names: Of the fused images.
            bands: Of the truth.
            size: Of the images in pixels.
            more_pictures: Which the page has beside these.
        """
        self.bands, self.size = bands, size
        composites = composites_of(bands)
        self.edge = picture_edge((len(names) + 1 + more_pictures) * len(composites))
        self.places = Places.of(*size, len(bands) * (len(names) + 1 + bool(more_pictures)))
        self.truth = self._parts(composites)
        self.fused = {name: self._parts(composites) for name in names}
        edge = map_edge(2 * len(names))
        self._angles = {name: BlockMeans(1, *size, edge) for name in names}
        self._off = {name: BlockMeans(1, *size, edge) for name in names}
        self._seen: set[str] = set()

    def _parts(self, composites: Mapping[str, tuple[int, ...]]) -> ImageParts:
        return ImageParts(len(self.bands), self.size, composites, edge=self.edge, places=self.places)

    def add(
        self,
        name: str,
        fused: NDArray[np.floating],
        truth: NDArray[np.floating],
        valid: tuple[NDArray[np.bool_], NDArray[np.bool_]],
        place: tuple[int, int],
    ) -> None:
        """Take in a tile of a fused image.

        Args:
            name: Of the image.
            fused: Shape (C, h, w).
            truth: Shape (C, h, w).
            valid: Of each, shape (h, w).
            place: Column and row at which the tile begins.
        """
        first = self._seen <= {name}
        self._seen.add(name)
        if first:
            self.truth.add(truth, valid[1], *place)
        self.fused[name].add(fused, valid[0], *place)
        both = valid[0] & valid[1]
        self._angles[name].add(angles(fused, truth)[None], both, *place)
        self._off[name].add(relative(fused, truth)[None], both, *place)

    def observer(self, name: str) -> Seen:
        """`add` for one of the fused images."""
        return partial(self.add, name)

    @property
    def black_white(self) -> dict[str, NDArray[np.float64] | None]:
        """Of the truth's pictures, which all have."""
        return levels_of(self.truth)

    def pictures(self, truth: str) -> list[Picture]:
        """The truth, by that name, and every fused image."""
        between = self.black_white
        fused = [picture(name, parts, between) for name, parts in self._fused_seen()]
        return [picture(truth, self.truth, between), *fused]

    def spectra(self, truth: str, more: Mapping[str, NDArray[np.float32]] | None = None) -> SpectraAt:
        """The truth, by that name, every fused image, and more curves at the same places."""
        curves = {truth: self.truth.spectra, **dict(more or {})}
        curves |= {name: parts.spectra for name, parts in self._fused_seen()}
        return SpectraAt(self.places.columns, self.places.rows, self.bands.wavelength_nm, curves)

    def maps(self, *, off: bool) -> list[ErrorMap]:
        """The spectral angle of every fused image to the truth and, if wanted, how far it is off."""
        names = [name for name in self.fused if name in self._seen]
        found = [
            error_map(f"{name}: spectral angle", "spectral angle (°)", self._angles[name], 1, alike=True)
            for name in names
        ]
        if off:
            unit = "difference (% of the pixel)"
            found += [error_map(f"{name}: difference", unit, self._off[name], 1, alike=True) for name in names]
        return found

    def _fused_seen(self) -> Iterator[tuple[str, ImageParts]]:
        return ((name, parts) for name, parts in self.fused.items() if name in self._seen)


def picture(
    name: str, parts: ImageParts, between: Mapping[str, NDArray[np.float64] | None] | None = None, *, scale: int = 1
) -> Picture:
    """The pictures of an image.

    Args:
        name: What it shows.
        parts: The image.
        between: Black and white of a picture by its name; by default its own.
        scale: Pixels of the output along a pixel of the image.
    """
    drawn, extent = {}, (1.0, 1.0)
    for title, values in parts.composites.items():
        valid = known(values)
        image = stretched(values, valid, None if between is None else between.get(title))
        coloured = image if len(image) == 4 else np.concatenate([image[:1]] * 3 + [image[-1:]])
        drawn[title] = np.ascontiguousarray(np.moveaxis(coloured, 0, -1))
        rows, columns = valid.shape
        extent = float(columns * parts.factor * scale), float(rows * parts.factor * scale)
    return Picture(name, drawn, extent)


def blocks_of(image: NDArray[Any], ratio: int) -> NDArray[Any]:
    """(c, r·h, r·w) cut into HSI pixels, (c, h, r, w, r)."""
    bands, rows, columns = image.shape
    return image.reshape(bands, rows // ratio, ratio, columns // ratio, ratio)


def known(image: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Where all bands of (C, h, w) have a number, (h, w)."""
    return np.asarray(np.isfinite(image).all(axis=0))


def levels_of(parts: ImageParts) -> dict[str, NDArray[np.float64] | None]:
    """Black and white of each of an image's pictures."""
    return {name: levels(values, known(values)) for name, values in parts.composites.items()}


def error_map(name: str, unit: str, means: BlockMeans, scale: int, *, alike: bool = False) -> ErrorMap:
    """A map out of what was gathered; those that are `alike` share the colours of their unit."""
    values = means.means[0]
    rows, columns = values.shape
    step = means.factor * scale
    return ErrorMap(name, unit, values, (float(columns * step), float(rows * step)), unit if alike else "")


def length(image: NDArray[np.floating]) -> NDArray[np.float32]:
    """Of every pixel's spectrum, (C, h, w) to (h, w)."""
    return np.asarray(np.sqrt(np.einsum("chw,chw->hw", image, image)), np.float32)


def angles(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float32]:
    """Spectral angle in degrees, (C, h, w) to (h, w); NaN where a spectrum is all zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.einsum("chw,chw->hw", one, other) / (length(one) * length(other))
        return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))), np.float32)


def relative(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float32]:
    """Length of the difference as a share of the other image's spectrum in %, (C, h, w) to (h, w); as of `shares`."""
    return shares(length(one - other), other)


def shares(lengths: NDArray[np.floating], image: NDArray[np.floating]) -> NDArray[np.float32]:
    """Lengths (h, w) in % of those of an image's spectra (C, h, w); NaN where a spectrum is all zero."""
    whole = length(image)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(whole > 0, 100 * lengths / whole, np.nan), np.float32)


def noise_of(pair: Pair) -> NDArray[np.float64] | None:
    """Standard deviation of the HSI's noise in each band, in its units; None where there are too few bands to tell."""
    pixels = np.concatenate([block.hsi[:, block.hsi_valid] for block in map(pair.for_fits, pair.sample)], axis=1).T
    if pixels.shape[1] < MANY_BANDS or len(pixels) < 2 * MANY_BANDS:
        return None
    return spectral_noise(pixels.astype(np.float64))
