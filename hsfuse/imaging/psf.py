"""The point spread function, and B of Y = X B: blurring and decimating a fine image to HSI pixels.

The sampling phase is explicit everywhere. With ratio r, HSI pixel i covers the fine pixels r·i … r·i + r − 1 and
its centre lies at r·i + (r − 1)/2. A kernel's middle sits on that centre, so its size has the parity of r.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from hsfuse.errors import ImagingError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian of standard deviation 1."""


MOST_HSI_PIXELS = 32
"""Edge of the largest kernel, in HSI pixels: a wide blur and a shift of ten pixels have room in it."""

_RIM = 4  # fine pixels, of noughts around a kernel that is interpolated

_NEGLIGIBLE = 1e-4  # of a PSF's weight: what its outermost taps may hold all together and be left out

_LEAST_SIGMA = 1e-3  # fine pixels, below which a Gaussian's samples would all be nought


@dataclass(frozen=True)
class PointSpread:
    """The blur of one HSI pixel, sampled on the fine (MSI) pixels.

    Raises:
        ImagingError: The kernel is not square, not finite, negative, of the wrong parity, larger than
            `MOST_HSI_PIXELS`, or does not sum to 1.
    """

    kernel: NDArray[np.float64]
    """Weights of the fine pixels, shape (k, k), non-negative, sum 1; k has the parity of `ratio`."""

    ratio: int
    """HSI pixel over fine pixel."""

    def __post_init__(self) -> None:
        if self.ratio < 1:
            raise ImagingError(f"the ratio of a PSF is 1 or more, not {self.ratio}")
        kernel = np.asarray(self.kernel, dtype=np.float64)
        object.__setattr__(self, "kernel", kernel)
        if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or not kernel.size:
            raise ImagingError(f"a PSF kernel is square, this one has shape {kernel.shape}")
        check_kernel_edge(kernel.shape[0], self.ratio)
        if (kernel.shape[0] - self.ratio) % 2:
            raise ImagingError(
                f"a PSF kernel of {kernel.shape[0]} pixels has no middle on an HSI pixel of ratio {self.ratio}: "
                "both are even or both are odd",
            )
        if not np.isfinite(kernel).all() or kernel.min() < 0 or not math.isclose(kernel.sum(), 1, abs_tol=1e-4):
            raise ImagingError(f"a PSF kernel is non-negative and sums to 1, this one sums to {kernel.sum():.6g}")

    @classmethod
    def gaussian(
        cls,
        ratio: int,
        fwhm: float | tuple[float, float],
        *,
        shift: tuple[float, float] = (0.0, 0.0),
        angle: float = 0.0,
        taps: int | None = None,
    ) -> PointSpread:
        """A Gaussian, sampled at the centres of the fine pixels.

        Args:
            ratio: HSI pixel over fine pixel.
            fwhm: Full width at half maximum in HSI pixels, one or (along x, along y).
            shift: Displacement (x, y) of its centre in HSI pixels.
            angle: Turns the (x, y) axes of `fwhm` from x towards y, in degrees.
            taps: Edge of the kernel in fine pixels; by default 3 standard deviations to either side.

        Raises:
            ImagingError: A width is not positive, or wider than `MOST_HSI_PIXELS` allow.
        """
        wide, high = (fwhm, fwhm) if isinstance(fwhm, (int, float)) else fwhm
        if not (wide > 0 and high > 0):
            raise ImagingError(f"the FWHM of a PSF is positive, got {wide:g} and {high:g} HSI pixels")
        sigma = np.maximum(np.array([wide, high]) * ratio / FWHM_PER_SIGMA, _LEAST_SIGMA)
        centre = np.array(shift) * ratio
        if taps is None:
            reach = 3 * sigma.max() + np.abs(centre).max()
            check_kernel_edge(2 * reach, ratio)
            taps = ratio + 2 * max(math.ceil(reach - ratio / 2), 0)
        axis = np.arange(taps) - (taps - 1) / 2
        x, y = np.meshgrid(axis - centre[0], axis - centre[1])
        turn = math.radians(angle)
        along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
        exponent = 0.5 * ((along / sigma[0]) ** 2 + (across / sigma[1]) ** 2)
        kernel = np.exp(exponent.min() - exponent)
        return cls(kernel / kernel.sum(), ratio)

    def shifted(self, shift: tuple[float, float]) -> PointSpread:
        """The same blur with its centre moved by (x, y) HSI pixels, its support widened to hold it."""
        x, y = shift[0] * self.ratio, shift[1] * self.ratio
        if x == 0 and y == 0:
            return self
        margin = math.ceil(max(abs(x), abs(y))) + 1
        check_kernel_edge(len(self.kernel) + 2 * margin, self.ratio)
        moved = ndimage.shift(np.pad(self.kernel, margin), (y, x), order=3, mode="constant")
        moved = np.clip(moved, 0, None)
        return PointSpread(moved / moved.sum(), self.ratio)

    def trimmed(self) -> PointSpread:
        """The same blur without outermost taps that hold less than 1e-4 of its weight, for speed.

        Estimated and shifted kernels have frames of next to nothing about them, and a blur costs as its taps.
        """
        reach = np.abs(np.arange(len(self.kernel)) - (len(self.kernel) - 1) / 2)
        frame = np.maximum.outer(reach, reach)
        within = np.array([self.kernel[frame <= edge].sum() for edge in reach[len(reach) // 2 :]])
        kept = int(np.argmax(within >= (1 - _NEGLIGIBLE) * within[-1]))  # a kernel's sum is 1 but for as much
        cut = len(reach) - len(reach) // 2 - 1 - kept
        if cut == 0:
            return self
        kernel = self.kernel[cut:-cut, cut:-cut]
        return PointSpread(kernel / kernel.sum(), self.ratio)

    def seen_from(self, matrix: NDArray[np.float64]) -> PointSpread:
        """The same blur on fine pixels of another size, shape or direction, its ratio kept.

        Args:
            matrix: Steps in these fine pixels of steps in the others, (x, y) to (x, y), shape (2, 2).

        Raises:
            ImagingError: The kernel would be too large.
        """
        reach = float(np.abs(np.linalg.inv(matrix)).sum(axis=1).max()) * len(self.kernel) / 2
        check_kernel_edge(2 * reach, self.ratio)
        taps = self.ratio + 2 * max(math.ceil(reach - self.ratio / 2), 0)
        axis = np.arange(taps) - (taps - 1) / 2
        x, y = np.einsum("ij,jhw->ihw", matrix, np.stack(np.meshgrid(axis, axis)))
        middle = _RIM + (len(self.kernel) - 1) / 2
        # A cubic spline leaves the width as it is; constant or linear pieces would add to it.
        kernel = ndimage.map_coordinates(np.pad(self.kernel, _RIM), [y + middle, x + middle], order=3, mode="constant")
        kernel = np.clip(kernel, 0, None)
        return PointSpread(kernel / kernel.sum(), self.ratio)

    @cached_property
    def fwhm(self) -> tuple[float, float]:
        """Full width at half maximum (along x, along y) in HSI pixels of the Gaussian with the same variances."""
        axis = np.arange(self.kernel.shape[0], dtype=np.float64)
        widths = []
        for profile in (self.kernel.sum(axis=0), self.kernel.sum(axis=1)):
            mean = float(profile @ axis)
            variance = float(profile @ (axis - mean) ** 2)
            widths.append(FWHM_PER_SIGMA * math.sqrt(variance) / self.ratio)
        return widths[0], widths[1]

    @property
    def margin(self) -> int:
        """How far the kernel reaches over the rim of its HSI pixel, in fine pixels (negative if it stays within)."""
        return (len(self.kernel) - self.ratio) // 2


def check_kernel_edge(edge: float, ratio: int) -> None:
    """See that a kernel is not larger than a blur can be, before it is made.

    Raises:
        ImagingError: It is.
    """
    most = MOST_HSI_PIXELS * ratio
    if not edge <= most:
        raise ImagingError(
            f"a PSF kernel of {edge:.4g} MSI pixels to a side is larger than {MOST_HSI_PIXELS} HSI pixels "
            f"({most} MSI pixels at ratio {ratio}): that is no blur of an HSI pixel",
        )


class BlurDecimate(torch.nn.Module):
    """B as a linear operator on torch tensors, differentiable, with its adjoint. Edges replicate.

    Every output is a mean of inputs with weights that sum to 1, so a constant image stays constant. The kernel is
    applied as it is: at stride r even a wide one costs some ten multiplications a fine pixel, fewer than the
    first pass of a separable one would.
    """

    kernel: Tensor
    """Kernels, float64 (1 or batch, k, k)."""

    def __init__(self, *psfs: PointSpread) -> None:
        """Prepare the operator for one PSF, or for one an image of a batch (then all of one ratio).

        Raises:
            ImagingError: The ratios differ.
        """
        super().__init__()
        if len({psf.ratio for psf in psfs}) != 1:
            raise ImagingError(f"the PSFs of a batch have one ratio, these have {[psf.ratio for psf in psfs]}")
        self.ratio: int = psfs[0].ratio
        self.margin = max(psf.margin for psf in psfs)
        kernels = np.stack([np.pad(psf.kernel, self.margin - psf.margin) for psf in psfs])
        self.register_buffer("kernel", torch.from_numpy(kernels), persistent=False)

    @property
    def noise_gain(self) -> float:
        """Variance of white noise of variance 1 after B (of the first PSF)."""
        return float((self.kernel[0] ** 2).sum())

    def outside(self, rows: int, columns: int) -> Tensor:
        """The share of each HSI pixel's kernel (of the first PSF) that lies beyond the rim, float32 (rows, columns)."""
        inner = torch.ones(1, 1, rows * self.ratio, columns * self.ratio, dtype=torch.float64)
        inner = F.pad(inner, (self.margin,) * 4)
        seen = F.conv2d(inner, self.kernel[:1, None].cpu(), stride=self.ratio)[0, 0]
        return torch.where(seen < 1 - 1e-9, 1 - seen, 0).float()

    def noise_gains(self, rows: int, columns: int) -> Tensor:
        """`noise_gain` of every HSI pixel (rows, columns): more at the rim, whose pixels stand for those beyond."""
        kernel = self.kernel[0].cpu()
        (down, row), (across, column) = (self._taps_shared(edge) for edge in (rows, columns))
        return torch.einsum("iab,jab->ij", down, kernel @ across @ kernel.T)[row][:, column]

    def _taps_shared(self, edge: int) -> tuple[Tensor, Tensor]:
        """Which taps meet in one fine pixel, (n, k, k), of the n kinds of HSI pixels of an axis; the kind of each."""
        reach = max(-(-self.margin // self.ratio), 0)
        pixels = torch.arange(edge)
        kinds = torch.cat([pixels[: reach + 1], pixels[reach + 1 :][-reach:]]) if reach else pixels[:1]
        taps = torch.arange(self.kernel.shape[-1]) - self.margin
        place = (kinds[:, None] * self.ratio + taps).clamp(0, edge * self.ratio - 1)
        kind = torch.minimum(pixels, torch.full_like(pixels, reach)).maximum(pixels - (edge - len(kinds)))
        return (place[:, :, None] == place[:, None, :]).to(self.kernel.dtype), kind

    def _weights(self, like: Tensor) -> Tensor:
        channels = like.shape[1] // self.kernel.shape[0]
        return self.kernel.to(like).repeat_interleave(channels, dim=0)[:, None]

    def forward(self, image: Tensor) -> Tensor:
        """Degrade `image`, shape (..., H, W) with H and W whole multiples of the ratio, to (..., H/r, W/r)."""
        shape = image.shape
        flat = image.reshape(1, -1, *shape[-2:])
        if self.margin > 0:
            flat = F.pad(flat, (self.margin,) * 4, mode="replicate")
        elif self.margin < 0:
            flat = flat[..., -self.margin : self.margin, -self.margin : self.margin]
        coarse = F.conv2d(flat, self._weights(flat), stride=self.ratio, groups=flat.shape[1])
        return coarse.reshape(*shape[:-2], *coarse.shape[-2:])

    def adjoint(self, image: Tensor) -> Tensor:
        """Bᵀ: shape (..., h, w) to (..., r·h, r·w), with ⟨B x, y⟩ = ⟨x, Bᵀ y⟩."""
        shape = image.shape
        flat = image.reshape(1, -1, *shape[-2:])
        fine = F.conv_transpose2d(flat, self._weights(flat), stride=self.ratio, groups=flat.shape[1])
        if self.margin > 0:
            fine = _fold(_fold(fine, self.margin, -1), self.margin, -2)
        elif self.margin < 0:
            fine = F.pad(fine, (-self.margin,) * 4)
        return fine.reshape(*shape[:-2], *fine.shape[-2:])


def _fold(image: Tensor, margin: int, axis: int) -> Tensor:
    """Adjoint of replicating `margin` pixels at both ends of `axis`."""
    length = image.shape[axis] - 2 * margin
    before, inner, after = torch.split(image, [margin, length, margin], dim=axis)
    inner = inner.clone()
    inner.narrow(axis, 0, 1).add_(before.sum(axis, keepdim=True))
    inner.narrow(axis, length - 1, 1).add_(after.sum(axis, keepdim=True))
    return inner


def upsample(image: Tensor, ratio: int, mode: str = "bicubic") -> Tensor:
    """Interpolate (..., h, w) to (..., r·h, r·w) with the phase of the imaging model; `mode` as in torch.

    HSI pixel i comes to lie at fine position r·i + (r − 1)/2, which is torch's `align_corners=False`.
    """
    shape = image.shape
    flat = image.reshape(1, -1, *shape[-2:])
    fine = F.interpolate(flat, scale_factor=ratio, mode=mode, align_corners=False)
    return fine.reshape(*shape[:-2], shape[-2] * ratio, shape[-1] * ratio)
