"""Where the two images show the same thing: the one mask by which clouds, change and glint stay out of every fit.

With R and B known, P B = gain · R Y + offset wherever both sensors saw the same ground. What is left over is judged
band by band against what noise, the model's own errors and a shift below half an HSI pixel leave over; what
exceeds that is a cloud in either image, a change between the dates, glint, a shadow or a broken pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from hsfuse.imaging.blind.inliers import consensus_line, neighbourhood_contrast
from hsfuse.imaging.blind.samples import SampleBlock, sample_blocks
from hsfuse.imaging.radiometry import Radiometry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.imaging.blind.samples import PatchLike
    from hsfuse.imaging.model import ImagingModel

_FEWEST_PIXELS = 30
_LEAST_CONSENSUS = 0.15  # of the pixels, or nothing says which of them are right
_ROUNDS = 4
_OUTLYING = 5.0  # robust standard deviations
_RELATIVE = 0.08  # of a pixel's value: R's own errors
_OF_RANGE = 0.5  # of the range among a pixel's neighbours: a shift of half a pixel, an error of the PSF
_OF_CONTRAST = 0.15  # of a band's contrast within neighbourhoods
_CONNECTED = 0.75  # of the tolerance: pixels beside a disagreeing one that disagree as well
_PATCH = 5  # HSI pixels, edge of what is a patch; a single broken MSI pixel shows in 3 × 3 HSI pixels and has no rim
_DENSE = 0.6  # of such a square disagrees
_RIM_WIDTH = 2  # HSI pixels
_NEIGHBOURHOOD = 6  # HSI pixels: a line needs few, and small ones lie clear of a cloud more often
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, eq=False)
class Agreement:
    """What two images of the same ground may differ by; make one with `Agreement.fit`."""

    model: ImagingModel
    """R, B and the shift between the images."""

    radiometry: Radiometry
    """P B ≈ gain · R Y + offset, fitted on the pixels that agree."""

    noise: NDArray[np.float64]
    """Robust standard deviation of P B − gain · R Y − offset where the images agree, in the MSI's units, shape (c,);
    infinite where nothing is known, so that nothing disagrees."""

    contrast: NDArray[np.float64]
    """Usual standard deviation of P B within a small neighbourhood, in the MSI's units, shape (c,)."""

    share: float
    """Share of the sample's pixels, known in both images, at which they disagree, 0 to 1."""

    @classmethod
    def fit(cls, patches: Sequence[PatchLike], model: ImagingModel) -> Agreement:
        """Fit units and tolerances on a sample of the pair.

        Args:
            patches: Parts of the pair on their nominal ground; a large scene is sampled.
            model: R and B, estimated or given, the shift included.

        Raises:
            ImagingError: A patch's images do not differ by the model's ratio.
        """
        blocks = sample_blocks(patches, model.ratio)
        views = [_View.of(block, model) for block in blocks]
        pixels = sum(int(view.known.sum()) for view in views)
        if pixels < _FEWEST_PIXELS:
            return cls._undetermined(model)
        projected = np.concatenate([view.projected[:, view.known] for view in views], axis=1).T
        degraded = np.concatenate([view.degraded[:, view.known] for view in views], axis=1).T
        number = np.concatenate([view.neighbourhood()[view.known] + 4096 * i for i, view in enumerate(views)])
        agreeing = consensus_line(projected, degraded, number)
        if agreeing.mean() < _LEAST_CONSENSUS:
            return cls._undetermined(model)
        found = cls._of(model, projected, degraded, agreeing, number)
        for _ in range(_ROUNDS):
            agreeing = np.concatenate([_agreeing(found, view)[view.known] for view in views])
            if agreeing.sum() < max(_FEWEST_PIXELS, _LEAST_CONSENSUS * pixels):
                return cls._undetermined(model)
            found = cls._of(model, projected, degraded, agreeing, number)
        return found

    @classmethod
    def _of(
        cls,
        model: ImagingModel,
        projected: NDArray[np.float64],
        degraded: NDArray[np.float64],
        agreeing: NDArray[np.bool_],
        neighbourhood: NDArray[np.int64],
    ) -> Agreement:
        radiometry = Radiometry.fit(projected[agreeing], degraded[agreeing])
        misfit = degraded - radiometry.to_msi_units(projected.T).T
        noise = _MAD_TO_SIGMA * np.median(np.abs(misfit[agreeing]), axis=0)
        noise = np.where(radiometry.follows, noise, np.inf)
        # Of all pixels, lest it shrink with what is dropped, and in the image that has less: a fault adds to one.
        own, _ = neighbourhood_contrast(projected, neighbourhood)
        contrast = np.minimum(neighbourhood_contrast(degraded, neighbourhood)[0], radiometry.gain * own)
        return cls(model, radiometry, noise, contrast, float(1 - agreeing.mean()))

    @classmethod
    def _undetermined(cls, model: ImagingModel) -> Agreement:
        bands = len(model.srf.msi_bands)
        return cls(model, Radiometry.same(bands), np.full(bands, np.inf), np.zeros(bands), 0.0)

    def where(self, block: PatchLike) -> NDArray[np.bool_]:
        """Where a window of the pair shows the same thing in both images.

        Args:
            block: Any window of the pair, at any place; at its edges the MSI beyond it is not seen.

        Returns:
            Mask of shape (h, w): False where the HSI pixel disagrees with the MSI under it, or lies on the rim of
            a patch that does. What cannot be judged, such as pixels that are not valid, is True.

        Raises:
            ImagingError: The block's images do not differ by the model's ratio.
        """
        if not np.isfinite(self.noise).any():
            return np.ones(block.hsi_valid.shape, dtype=bool)
        return _agreeing(self, _View.of(SampleBlock.whole(block, self.model.ratio), self.model))


@dataclass(frozen=True)
class _View:
    """Both images of a block, as MSI bands of HSI pixels."""

    projected: NDArray[np.float64]
    """R Y, shape (c, h, w)."""

    degraded: NDArray[np.float64]
    """P B, shape (c, h, w)."""

    known: NDArray[np.bool_]
    """Where both are, shape (h, w)."""

    @classmethod
    def of(cls, block: SampleBlock, model: ImagingModel) -> _View:
        degraded, seen = block.degraded(model.psf.shifted(model.shift))
        return cls(block.projected(model.srf), degraded, block.hsi_known() & seen)

    def neighbourhood(self) -> NDArray[np.int64]:
        """Number of each pixel's small neighbourhood, shape (h, w)."""
        row, column = (np.arange(edge) // _NEIGHBOURHOOD for edge in self.known.shape)
        return np.asarray(64 * row[:, None] + column)


def _range(images: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Greatest less least value among the known 3 × 3 pixels, (c, h, w)."""
    high = ndimage.maximum_filter(np.where(known, images, -np.inf), (1, 3, 3), mode="nearest")
    low = ndimage.minimum_filter(np.where(known, images, np.inf), (1, 3, 3), mode="nearest")
    return np.where(known, high - low, 0)


def _agreeing(agreement: Agreement, view: _View) -> NDArray[np.bool_]:
    """Where a block's images agree, (h, w), rims of what disagrees left out."""
    excess = np.where(view.known, _excess(agreement, view), 0)
    # A seed of disagreement takes its neighbours along that disagree less, and a patch its rim.
    differing = ndimage.binary_propagation(excess > 1, mask=excess > _CONNECTED, structure=np.ones((3, 3)))
    core = ndimage.uniform_filter(differing.astype(np.float64), _PATCH, mode="nearest") > _DENSE
    patch = ndimage.binary_propagation(core & differing, mask=differing, structure=np.ones((3, 3)))
    rim = ndimage.binary_dilation(patch, np.ones((3, 3)), iterations=_RIM_WIDTH)
    return np.asarray(~(differing | rim))


def _excess(agreement: Agreement, view: _View) -> NDArray[np.float64]:
    """The misfit over its tolerance, the worst band's, shape (h, w): above 1 the images disagree."""
    expected = agreement.radiometry.to_msi_units(view.projected)
    # An edge that is in both images may be displaced; one that is in a single image is what is looked for.
    edge = np.minimum(_range(expected, view.known), _range(view.degraded, view.known))
    level = np.abs(expected - agreement.radiometry.offset[:, None, None])
    fixed = _OUTLYING * agreement.noise + _OF_CONTRAST * agreement.contrast
    tolerance = fixed[:, None, None] + _OF_RANGE * edge + _RELATIVE * level
    worst = (np.abs(view.degraded - expected) / np.maximum(tolerance, 1e-300)).max(axis=0)
    return np.asarray(worst, dtype=np.float64)
