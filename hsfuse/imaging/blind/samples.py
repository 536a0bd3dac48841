"""What the estimators look at: evenly spread blocks of a pair, and the MSI around each of their HSI pixels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from scipy.interpolate import BSpline

from hsfuse.errors import ImagingError
from hsfuse.imaging.psf import BlurDecimate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from hsfuse.imaging.psf import PointSpread
    from hsfuse.imaging.srf import SpectralResponse

BLOCK = 32
"""Edge of a block in HSI pixels."""

MOST_PIXELS = 16_384
"""HSI pixels that are looked at; more of a larger scene teach little."""

_KNOTS_PER_PIXEL = 4  # a Gaussian of FWHM 0.8 HSI pixels and up is within 0.5 % of its spline
_FINEST_PLAIN = 4  # up to this ratio the fine pixels themselves are the basis
_DECILE = 0.65  # of white noise's variance, as windows of 8 × 8 pixels find it
_MOST_MISSING = (0.02, 0.2, 0.4)  # of the MSI around an HSI pixel: the first that leaves enough pixels
_ENOUGH = 100  # HSI pixels
_MOSTLY = 0.8  # of the kernel's weight lies on known MSI pixels
_NEIGHBOURHOOD = 12  # HSI pixels, edge of the neighbourhoods that are judged together


class PatchLike(Protocol):
    """Part of a pair on common ground."""

    @property
    def hsi(self) -> NDArray[np.float32]:
        """Y, shape (C, h, w)."""

    @property
    def hsi_valid(self) -> NDArray[np.bool_]:
        """Where Y is known, shape (h, w)."""

    @property
    def msi(self) -> NDArray[np.float32]:
        """P, shape (c, r·h, r·w)."""

    @property
    def msi_valid(self) -> NDArray[np.bool_]:
        """Where P is known, shape (r·h, r·w)."""


@dataclass(frozen=True)
class SampleBlock:
    """A square of a patch."""

    patch: PatchLike
    """Where it lies."""

    number: int
    """Which patch that is."""

    ratio: int
    """HSI pixel over MSI pixel."""

    row: int
    """First HSI row."""

    column: int
    """First HSI column."""

    rows: int
    """Height in HSI pixels."""

    columns: int
    """Width in HSI pixels."""

    @classmethod
    def whole(cls, patch: PatchLike, ratio: int) -> SampleBlock:
        """All of a patch.

        Raises:
            ImagingError: The patch's images do not fit each other.
        """
        _check(patch, ratio)
        return cls(patch, 0, ratio, 0, 0, *patch.hsi_valid.shape)

    def hsi(self) -> NDArray[np.float32]:
        """Y, shape (C, rows, columns), 0 where not known."""
        part = self.patch.hsi[:, self._rows, self._columns]
        return np.where(self.hsi_known(), part, np.float32(0))

    def hsi_known(self) -> NDArray[np.bool_]:
        """Where every band of Y is known, shape (rows, columns)."""
        finite = np.isfinite(self.patch.hsi[:, self._rows, self._columns]).all(axis=0)
        return np.asarray(self.patch.hsi_valid[self._rows, self._columns] & finite)

    def msi(self, margin: int, displaced: tuple[int, int] = (0, 0)) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """P under the block displaced by (x, y) and `margin` around it, all in fine pixels, and where it is known.

        Gaps are filled with the nearest known pixel, and the patch's rim is repeated beyond it.
        """
        rows = self._fine(self.row, self.rows, margin, displaced[1])
        columns = self._fine(self.column, self.columns, margin, displaced[0])
        height, width = self.patch.msi_valid.shape
        inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
        rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
        part = self.patch.msi[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        part = part[:, (rows - rows[0])[:, None], columns - columns[0]]
        known = self.patch.msi_valid[rows[:, None], columns] & np.isfinite(part).all(axis=0)
        return _filled(part, known), known & inside

    def projected(self, srf: SpectralResponse) -> NDArray[np.float64]:
        """R Y, shape (c, rows, columns)."""
        return np.tensordot(srf.matrix, self.hsi(), axes=1)

    def degraded(
        self, psf: PointSpread, displaced: tuple[int, int] = (0, 0)
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """P B, shape (c, rows, columns), and where the MSI under it is known.

        Args:
            psf: With the shift in it.
            displaced: Where to look beside the block, (x, y) in fine pixels, besides.
        """
        blur = BlurDecimate(psf)
        margin = max(blur.margin, 0)
        image, seen = self.msi(margin, displaced)
        stack = np.concatenate([image, seen[None].astype(np.float32)])
        # The block brings its own margin, so the operator's replicated one is cut off again.
        pad = -(-margin // psf.ratio) * psf.ratio - margin
        stack = np.pad(stack, ((0, 0), (pad, pad), (pad, pad)), mode="edge")
        coarse = blur(torch.from_numpy(stack)).numpy().astype(np.float64)
        rim = (margin + pad) // psf.ratio
        inner = coarse[:, rim : coarse.shape[1] - rim, rim : coarse.shape[2] - rim]
        return inner[:-1], np.asarray(inner[-1] > _MOSTLY)

    @property
    def _rows(self) -> slice:
        return slice(self.row, self.row + self.rows)

    @property
    def _columns(self) -> slice:
        return slice(self.column, self.column + self.columns)

    def _fine(self, first: int, count: int, margin: int, displaced: int) -> NDArray[np.int64]:
        start = first * self.ratio + displaced
        return np.arange(start - margin, start + count * self.ratio + margin)


@dataclass(frozen=True)
class KernelBasis:
    """One-dimensional functions whose products make up the kernels that are fitted.

    Up to ratio 4 they are the fine pixels; above, cubic B-splines a quarter of an HSI pixel apart, which keeps the
    number of unknowns from growing with the ratio.
    """

    ratio: int
    """HSI pixel over MSI pixel."""

    functions: NDArray[np.float64]
    """Their values at the fine pixels of a window around an HSI pixel, shape (taps, m)."""

    @classmethod
    def of(cls, ratio: int) -> KernelBasis:
        """The basis for a ratio: two HSI pixels to either side of the centre."""
        taps = ratio + 2 * int(np.ceil(1.5 * ratio))
        if ratio <= _FINEST_PLAIN:
            return cls(ratio, np.eye(taps))
        position = (np.arange(taps) - (taps - 1) / 2) / ratio * _KNOTS_PER_PIXEL
        reach = 2 * _KNOTS_PER_PIXEL
        knots = np.arange(-reach, reach + 1)
        spline = BSpline.basis_element(np.arange(-2, 3), extrapolate=False)
        return cls(ratio, np.nan_to_num(spline(position[:, None] - knots)))

    @property
    def taps(self) -> int:
        """Edge of the window in fine pixels."""
        return int(self.functions.shape[0])

    @property
    def margin(self) -> int:
        """How far the window reaches beyond the HSI pixel, in fine pixels."""
        return (self.taps - self.ratio) // 2

    def kernel(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """The kernel (taps, taps) of coefficients (m²,)."""
        size = self.functions.shape[1]
        return np.asarray(self.functions @ coefficients.reshape(size, size) @ self.functions.T, dtype=np.float64)

    def coefficients(self, kernel: NDArray[np.float64]) -> NDArray[np.float64]:
        """The coefficients (m²,) that come nearest to a kernel (taps, taps)."""
        inverse = np.linalg.pinv(self.functions)
        return np.asarray((inverse @ kernel @ inverse.T).ravel(), dtype=np.float64)

    def seen(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """What each function product sees around each HSI pixel.

        Args:
            image: (c, r·h + 2·margin, r·w + 2·margin).

        Returns:
            Shape (h·w, c, m²).
        """
        weights = torch.from_numpy(self.functions.T.astype(np.float32))
        size, bands = len(weights), len(image)
        fine = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[:, None]
        tall = F.conv2d(fine, weights[:, None, :, None], stride=(self.ratio, 1))
        wide = F.conv2d(
            tall.reshape(bands * size, 1, *tall.shape[-2:]), weights[:, None, None, :], stride=(1, self.ratio)
        )
        return wide.reshape(bands, size * size, -1).permute(2, 0, 1).numpy()


@dataclass(frozen=True)
class PairSample:
    """HSI pixels of a pair with the MSI around each."""

    spectra: NDArray[np.float64]
    """Y, shape (N, C)."""

    surroundings: NDArray[np.float32]
    """The MSI around each, by the basis, shape (N, c, m²)."""

    place: NDArray[np.int64]
    """Where each comes from: block, row and column in it, shape (N, 3)."""

    basis: KernelBasis
    """In which the surroundings are expressed."""

    displaced: tuple[int, int]
    """Where the windows look beside the nominal place, (x, y) in fine pixels."""

    def degraded(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """P B under a kernel's coefficients, shape (N, c)."""
        return np.asarray(self.surroundings @ coefficients.astype(np.float32), dtype=np.float64)

    @property
    def neighbourhood(self) -> NDArray[np.int64]:
        """Number of the small neighbourhood of each, shape (N,)."""
        block, row, column = self.place.T
        return np.asarray((block * 64 + row // _NEIGHBOURHOOD) * 64 + column // _NEIGHBOURHOOD)

    def where(self, kept: NDArray[np.bool_]) -> PairSample:
        """Only these pixels, mask of shape (N,)."""
        return replace(self, spectra=self.spectra[kept], surroundings=self.surroundings[kept], place=self.place[kept])


def sample_blocks(patches: Sequence[PatchLike], ratio: int) -> list[SampleBlock]:
    """Blocks of the patches, spread evenly, with about `MOST_PIXELS` HSI pixels that are known in both images.

    Raises:
        ImagingError: A patch's images do not fit each other.
    """
    blocks = []
    for number, patch in enumerate(patches):
        _check(patch, ratio)
        height, width = patch.hsi_valid.shape
        blocks += [
            SampleBlock(patch, number, ratio, row, column, rows, columns)
            for row, rows in _pieces(height)
            for column, columns in _pieces(width)
        ]
    chosen, pixels = [], 0
    for block in _spread(blocks):
        known = int(block.hsi_known().sum())
        if known * 4 < block.rows * block.columns:
            continue
        chosen.append(block)
        pixels += known
        if pixels >= MOST_PIXELS:
            break
    return chosen


def gather_pixels(blocks: Sequence[SampleBlock], ratio: int, displaced: tuple[int, int]) -> PairSample:
    """The pixels of the blocks that are known in both images, looked at beside their place by `displaced` (x, y)."""
    basis = KernelBasis.of(ratio)
    views = [block.msi(basis.margin, displaced) for block in blocks]
    shares = [
        np.where(block.hsi_known(), _share_known(known, ratio, basis.margin), 0)
        for block, (_, known) in zip(blocks, views, strict=True)
    ]
    missing = next((most for most in _MOST_MISSING if _count(shares, 1 - most) >= _ENOUGH), _MOST_MISSING[-1])
    spectra, surroundings, places = [], [], []
    for number, (block, (fine, _), share) in enumerate(zip(blocks, views, shares, strict=True)):
        usable = share >= 1 - missing
        spectra.append(block.hsi()[:, usable].T.astype(np.float64))
        surroundings.append(basis.seen(fine)[usable.ravel()])
        row, column = np.nonzero(usable)
        places.append(np.stack([np.full_like(row, number), row, column], axis=1))
    return PairSample(np.concatenate(spectra), np.concatenate(surroundings), np.concatenate(places), basis, displaced)


def noise_variance(blocks: Sequence[SampleBlock]) -> NDArray[np.float64]:
    """Variance of the white noise in each MSI band, shape (c,): what is left in the smoothest places.

    Immerkær's (1996) operator removes what is locally a plane, the other bands what texture they share, and the
    lower decile over small windows leaves out most of the rest. A resampled band gives next to nothing.
    """
    operator = np.outer([1, -2, 1], [1, -2, 1]) / 6.0
    rough, whole = [], []
    for block in blocks:
        image, known = block.msi(0)
        whole.append(ndimage.binary_erosion(known, np.ones((3, 3), dtype=bool), border_value=0))
        rough.append(np.stack([ndimage.convolve(band.astype(np.float64), operator) for band in image]))
    own = _unshared(np.concatenate([image[:, seen] for image, seen in zip(rough, whole, strict=True)], axis=1))
    found = []
    for image, seen in zip(rough, whole, strict=True):
        window = max(min(8, min(seen.shape) // 2), 1)
        share = _tiles(seen[None].astype(np.float64), window)[0]
        power = np.where(seen, np.tensordot(own, image, axes=1) ** 2, 0)
        found.append(_tiles(power, window)[:, share > 0.9] / share[share > 0.9])
    variances = np.concatenate(found, axis=1)
    return np.quantile(variances, 0.1, axis=1) / _DECILE if variances.size else np.zeros(len(variances))


def _unshared(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """What to make of bands (c, n) so that each is left without what the others predict of it: shape (c, c)."""
    if not images.shape[1]:
        return np.eye(len(images))
    covariance = images @ images.T
    covariance += 1e-9 * np.trace(covariance) / len(images) * np.eye(len(images)) + 1e-30 * np.eye(len(images))
    inverse = np.linalg.inv(covariance)
    return inverse / np.diagonal(inverse)[:, None]


def _tiles(images: NDArray[np.float64], edge: int) -> NDArray[np.float64]:
    """Means over squares: (c, h, w) to (c, h // edge, w // edge)."""
    rows, columns = images.shape[1] // edge, images.shape[2] // edge
    inner = images[:, : rows * edge, : columns * edge]
    return np.asarray(inner.reshape(-1, rows, edge, columns, edge).mean(axis=(2, 4)), dtype=np.float64)


def _count(shares: Sequence[NDArray[np.float64]], least: float) -> int:
    return sum(int((share >= least).sum()) for share in shares)


def _check(patch: PatchLike, ratio: int) -> None:
    height, width = patch.hsi_valid.shape
    fits = patch.hsi.shape[1:] == (height, width) and patch.msi.shape[1:] == (height * ratio, width * ratio)
    if not fits or patch.msi_valid.shape != patch.msi.shape[1:]:
        raise ImagingError(
            f"an HSI of {patch.hsi.shape} and an MSI of {patch.msi.shape} do not differ by the ratio {ratio}",
        )


def _pieces(length: int) -> list[tuple[int, int]]:
    count = max(round(length / BLOCK), 1)
    edges = np.linspace(0, length, count + 1).round().astype(int)
    return [(int(first), int(last - first)) for first, last in itertools.pairwise(edges) if last > first]


def _spread(blocks: list[SampleBlock]) -> Iterator[SampleBlock]:
    """The blocks in an order whose every beginning is spread over all of them (golden-ratio sequence)."""
    order = np.argsort((np.arange(len(blocks)) * 0.6180339887498949) % 1, kind="stable")
    # Position k of the sequence falls near share frac(k·φ) of the list: visit the list in that order.
    visit = np.empty(len(blocks), dtype=int)
    visit[order] = np.arange(len(blocks))
    return (blocks[index] for index in visit)


def _share_known(known: NDArray[np.bool_], ratio: int, margin: int) -> NDArray[np.float64]:
    """Share of the MSI that is known around each HSI pixel, out to one HSI pixel beyond its rim."""
    cut_off = max(margin - ratio, 0)
    inner = known[cut_off : known.shape[0] - cut_off, cut_off : known.shape[1] - cut_off]
    edge = ratio + 2 * (margin - cut_off)
    share = F.avg_pool2d(torch.from_numpy(inner.astype(np.float32))[None, None], edge, stride=ratio)[0, 0]
    return share.numpy().astype(np.float64)


def _filled(image: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    if known.all():
        return np.asarray(image, dtype=np.float32)
    if not known.any():
        return np.zeros_like(image, dtype=np.float32)
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(image[:, nearest[0], nearest[1]], dtype=np.float32)
