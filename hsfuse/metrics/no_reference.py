"""Quality without a reference, at full resolution: D_λ, D_S, QNR, HQNR and the consistency with both inputs.

Alparone, Aiazzi, Baronti, Garzelli, Nencini, Selva (2008), Multispectral and panchromatic data fusion
assessment without reference; Aiazzi et al. (2014), Full-scale assessment of pansharpening methods and data
products. What they write for one panchromatic band is written here for an HSI and an MSI, with p = q = 1 and
Q = UIQI over blocks of the same ground at both scales:

- D_λ, mean over pairs of HSI bands of |Q(F_i, F_j) - Q(Y_i, Y_j)|;
- D_S, mean over HSI bands i and MSI bands m of |Q(F_i, P_m) - Q(Y_i, (P B)_m)|;
- QNR = (1 - D_λ)(1 - D_S);
- HQNR = (1 - D)(1 - D_S) with Khan's D = 1 - mean over bands of Q((F B)_i, Y_i), where Aiazzi has the Q of
  hypercomplex numbers, which hundreds of bands do not make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import RequestError
from hsfuse.metrics.moments import PairMoments, mean_defined, universal_quality

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_BLOCK = 32  # fused pixels, Alparone 2008
_LEAST_BLOCK = 8  # HSI pixels: fewer make Q a matter of chance
_CHUNK_VALUES = 2**23  # of the largest array at a time, 64 MB


@dataclass(frozen=True)
class FusedView:
    """A tile of a fused image beside both inputs, and what the imaging model makes of each.

    F B and P B are blurred with enough around the tile that its rim does not show, or the tile is the scene.

    Raises:
        RequestError: The shapes disagree.
    """

    fused: NDArray[np.floating]
    """F, shape (C, r·h, r·w)."""

    hsi: NDArray[np.floating]
    """Y, shape (C, h, w)."""

    msi: NDArray[np.floating]
    """P in the HSI's units (gain and offset undone), shape (c, r·h, r·w)."""

    fused_as_hsi: NDArray[np.floating]
    """F B, shape (C, h, w)."""

    fused_as_msi: NDArray[np.floating]
    """R F, shape (c, r·h, r·w)."""

    msi_as_hsi: NDArray[np.floating]
    """P B, shape (c, h, w)."""

    hsi_valid: NDArray[np.bool_]
    """Where all that stands on HSI pixels is known, shape (h, w)."""

    msi_valid: NDArray[np.bool_]
    """Where all that stands on fused pixels is known, shape (r·h, r·w)."""

    def __post_init__(self) -> None:
        coarse, fine = self.hsi.shape[1:], self.fused.shape[1:]
        bands, msi_bands = self.hsi.shape[0], self.msi.shape[0]
        wanted = {
            "fused": (bands, *fine),
            "msi": (msi_bands, *fine),
            "fused_as_hsi": (bands, *coarse),
            "fused_as_msi": (msi_bands, *fine),
            "msi_as_hsi": (msi_bands, *coarse),
            "hsi_valid": coarse,
            "msi_valid": fine,
        }
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                found = getattr(self, name).shape
                raise RequestError(f"{name} has shape {found}, the other images ask for {shape}")


@dataclass(frozen=True)
class NoReferenceScores:
    """The metrics of a fused image without a reference; NaN where undefined."""

    d_lambda: float
    """Spectral distortion, 0 is best."""

    d_lambda_khan: float
    """Spectral distortion as HQNR has it, 0 is best."""

    d_s: float
    """Spatial distortion, 0 is best."""

    consistency_hsi: float
    """PSNR in dB of F B against Y, mean over bands."""

    consistency_msi: float
    """PSNR in dB of R F against P, mean over bands, each after its best gain and offset."""

    band_consistency_hsi: NDArray[np.float64]
    """In dB, shape (C,)."""

    band_consistency_msi: NDArray[np.float64]
    """In dB, shape (c,)."""

    blocks: int
    """Blocks without a hole, on which Q was computed."""

    pixels: int
    """Fused pixels that were compared with the MSI."""

    @property
    def qnr(self) -> float:
        """Quality with no reference, 1 is best."""
        return (1 - self.d_lambda) * (1 - self.d_s)

    @property
    def hqnr(self) -> float:
        """Hybrid quality with no reference, 1 is best."""
        return (1 - self.d_lambda_khan) * (1 - self.d_s)

    def summary(self) -> dict[str, float]:
        """The metrics by their names."""
        names = ("d_lambda", "d_s", "qnr", "hqnr", "consistency_hsi", "consistency_msi")
        return {name: getattr(self, name) for name in names}


class NoReference:
    """Accumulates over tiles that do not overlap, in any order, in float64."""

    def __init__(self, ratio: int) -> None:
        """Begin.

        Args:
            ratio: HSI pixel over MSI pixel.

        Raises:
            RequestError: The ratio is less than 2.
        """
        if ratio < 2:
            raise RequestError(f"the ratio of HSI pixel to MSI pixel is 2 or more, got {ratio}")
        self._ratio = ratio
        self.block = max(round(_BLOCK / ratio), _LEAST_BLOCK)
        """Edge of Q's blocks in HSI pixels: tiles whose edges are multiples of it lose none."""
        self._sums: list[NDArray[np.float64]] | None = None
        self._blocks = 0
        self._hsi: PairMoments | None = None
        self._msi: PairMoments | None = None

    def update(self, view: FusedView) -> None:
        """Take in one tile.

        Raises:
            RequestError: The ratio is another one, or the bands are not those of earlier tiles.
        """
        rows, columns = view.hsi_valid.shape
        if view.msi_valid.shape != (rows * self._ratio, columns * self._ratio):
            raise RequestError(
                f"tiles of {view.hsi_valid.shape} HSI and {view.msi_valid.shape} fused pixels do not have the "
                f"ratio {self._ratio}"
            )
        self._hsi = _merged(self._hsi, view.fused_as_hsi, view.hsi, view.hsi_valid)
        self._msi = _merged(self._msi, view.fused_as_msi, view.msi, view.msi_valid)
        for coarse, fine in self._batches(view):
            sums = [quality.sum(axis=0) for quality in _block_qualities(coarse, fine, view.hsi.shape[0])]
            before = self._sums or [np.zeros_like(total) for total in sums]
            self._sums = [total + more for total, more in zip(before, sums, strict=True)]
            self._blocks += len(coarse)

    def result(self) -> NoReferenceScores:
        """The scores of all tiles so far.

        Raises:
            RequestError: No valid pixel has been seen.
        """
        if self._hsi is None or self._msi is None or not self._hsi.count or not self._msi.count:
            raise RequestError("the fused image has no valid pixel in common with both inputs")
        return NoReferenceScores(
            *self._distortions(),
            mean_defined(self._hsi.psnr),
            mean_defined(self._msi.fitted_psnr),
            self._hsi.psnr,
            self._msi.fitted_psnr,
            self._blocks,
            self._msi.count,
        )

    def _distortions(self) -> tuple[float, float, float]:
        """D_λ, Khan's D and D_S."""
        if self._sums is None:
            return float("nan"), float("nan"), float("nan")
        fused, hsi, fused_msi, hsi_msi, same = (total / self._blocks for total in self._sums)
        bands = len(fused)
        pairs = bands * (bands - 1)  # the diagonal is zero
        between = float(np.abs(fused - hsi).sum() / pairs) if pairs else float("nan")
        return between, float(1 - same.mean()), float(np.abs(fused_msi - hsi_msi).mean())

    def _batches(self, view: FusedView) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Whole blocks, some at a time: (n, 2·C + c, pixels) of Y, F B, P B and (n, C + c, pixels) of F, P."""
        size, fine_size = self.block, self.block * self._ratio
        keep = _whole_blocks(view.hsi_valid, size) & _whole_blocks(view.msi_valid, fine_size)
        places = np.argwhere(keep)
        bands = view.hsi.shape[0] + view.msi.shape[0]
        step = max(_CHUNK_VALUES // (bands * max(bands, fine_size**2)), 1)
        for start in range(0, len(places), step):
            chosen = places[start : start + step]
            yield (
                _blocks([view.hsi, view.fused_as_hsi, view.msi_as_hsi], size, chosen),
                _blocks([view.fused, view.msi], fine_size, chosen),
            )


def _merged(
    moments: PairMoments | None,
    ours: NDArray[np.floating],
    given: NDArray[np.floating],
    valid: NDArray[np.bool_],
) -> PairMoments:
    moments = PairMoments.empty(len(ours)) if moments is None else moments
    if len(ours) != len(moments.error):
        raise RequestError(f"this tile has {len(ours)} bands, those before it had {len(moments.error)}")
    step = max(_CHUNK_VALUES // max(len(ours) * ours.shape[2], 1), 1)
    for start in range(0, ours.shape[1], step):
        part = slice(start, start + step)
        use = valid[part]
        if use.any():
            x, y = ours[:, part][:, use].astype(np.float64), given[:, part][:, use].astype(np.float64)
            moments = moments.merged(PairMoments.of(x, y))
    return moments


def _whole_blocks(valid: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    rows, columns = valid.shape[0] // size, valid.shape[1] // size
    blocks = valid[: rows * size, : columns * size].reshape(rows, size, columns, size)
    return np.asarray(blocks.all(axis=(1, 3)))


def _blocks(images: list[NDArray[np.floating]], size: int, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """The blocks at (row, column) of all images' bands, (n, bands, size²) in float64."""
    rows = places[:, :1] * size + np.arange(size)
    columns = places[:, 1:] * size + np.arange(size)
    parts = [image[:, rows[:, :, None], columns[:, None]] for image in images]  # (bands, n, size, size)
    together = np.concatenate(parts).astype(np.float64)
    return np.moveaxis(together, 0, 1).reshape(len(places), len(together), -1)


def _block_qualities(
    coarse: NDArray[np.float64], fine: NDArray[np.float64], bands: int
) -> tuple[NDArray[np.float64], ...]:
    """Q of every block: F with F, Y with Y, F with P, Y with P B, each (n, ., .), and F B with Y (n, C)."""
    hsi, ours, msi = coarse[:, :bands], coarse[:, bands : 2 * bands], coarse[:, 2 * bands :]
    fused = fine[:, :bands]
    return (
        _quality(fused, fused),
        _quality(hsi, hsi),
        _quality(fused, fine[:, bands:]),
        _quality(hsi, msi),
        _quality(ours[:, :, None], hsi[:, :, None])[..., 0, 0],
    )


def _quality(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """UIQI of every band of x (..., a, n) with every one of y (..., b, n), shape (..., a, b)."""
    mean_x, mean_y = x.mean(axis=-1), y.mean(axis=-1)
    off_x, off_y = x - mean_x[..., None], y - mean_y[..., None]
    return universal_quality(
        mean_x[..., :, None],
        mean_y[..., None, :],
        np.square(off_x).mean(axis=-1)[..., :, None],
        np.square(off_y).mean(axis=-1)[..., None, :],
        off_x @ np.swapaxes(off_y, -1, -2) / x.shape[-1],
    )
