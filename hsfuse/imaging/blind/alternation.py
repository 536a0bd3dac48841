"""The rounds of the estimation: R with B held, B with R held, and the pixels that agree with both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import ImagingError
from hsfuse.imaging.blind.fallback import UndeterminedError
from hsfuse.imaging.blind.inliers import (
    consensus_inliers,
    in_agreeing_neighbourhoods,
    principal,
    residual_inliers,
    without_rims,
)
from hsfuse.imaging.blind.samples import gather_pixels, noise_variance
from hsfuse.imaging.blind.spatial_fit import (
    GaussianKernel,
    KernelMoments,
    fit_centre,
    fit_free,
    fit_gaussian,
    windowed,
)
from hsfuse.imaging.blind.spectral_fit import SpectralMoments, fit_rows
from hsfuse.imaging.psf import PointSpread
from hsfuse.imaging.radiometry import linear_fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.imaging.blind.band_shapes import BandShapes
    from hsfuse.imaging.blind.samples import PairSample, SampleBlock
    from hsfuse.imaging.blind.shift import CoarseShift
    from hsfuse.imaging.srf import SpectralResponse

FEWEST_PIXELS = 30
"""HSI pixels, valid and alike in both images, below which nothing is estimated."""
_COMPONENTS = 8
_LEAST_STRICT = 0.15  # of the pixels: with fewer the images are alike only loosely, and the strict rules do not hold
_ENOUGH_TO_CONTRADICT = 10 * FEWEST_PIXELS  # HSI pixels
_UNSURE_CENTRE = 0.05  # HSI pixels, one standard deviation, with a wide kernel that says less than it should
_FREE_GAIN = 0.04  # a free kernel must cut the held-out residual variance by this share
_FREE_STRENGTHS = (1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class EstimationState:
    """What the rounds pass on."""

    sample: PairSample
    kept: NDArray[np.bool_]
    rows: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    gaussian: GaussianKernel
    sensor: str
    row_error: NDArray[np.float64]
    band_pass_misfit: NDArray[np.float64]
    noise: NDArray[np.float64]


def initial_state(blocks: Sequence[SampleBlock], ratio: int, coarse: CoarseShift) -> EstimationState:
    """The registered sample, and its pixels that agree under a usual blur."""
    sample = gather_pixels(blocks, ratio, (coarse.x, coarse.y))
    if len(sample.spectra) < FEWEST_PIXELS:
        raise UndeterminedError(
            f"the pair has {len(sample.spectra)} HSI pixels with a valid MSI around them, fewer than the "
            f"{FEWEST_PIXELS} that an estimate needs",
        )
    usual = GaussianKernel.usual()
    coefficients = usual.coefficients(sample.basis)
    kept = _alike(sample, coefficients)
    bands = sample.surroundings.shape[1]
    empty = np.zeros((bands, sample.spectra.shape[1]))
    return EstimationState(
        sample, _enough(kept), empty, coefficients, usual, "", np.zeros(bands), np.zeros(bands), noise_variance(blocks)
    )


def _alike(sample: PairSample, coefficients: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Pixels that agree under a kernel, before R is known: all but the worst, where nothing agrees well."""
    design = principal(sample.spectra, min(_COMPONENTS, len(sample.spectra) // 8))
    degraded = sample.degraded(coefficients)
    kept = without_rims(consensus_inliers(design, degraded, sample.neighbourhood), sample.place)
    if kept.sum() >= max(_LEAST_STRICT * len(kept), FEWEST_PIXELS):
        return kept
    everything = np.ones(len(degraded), dtype=bool)
    left = degraded - design @ np.linalg.lstsq(design, degraded, rcond=None)[0]
    return _enough(residual_inliers(left, everything))


def _enough(kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if kept.sum() < FEWEST_PIXELS:
        kind = ImagingError if kept.size >= _ENOUGH_TO_CONTRADICT else UndeterminedError
        raise kind(
            f"only {int(kept.sum())} of {kept.size} HSI pixels show the same in both images, fewer than the "
            f"{FEWEST_PIXELS} that an estimate needs: clouds, change or another place",
        )
    return kept


def update_srf(state: EstimationState, shapes: Sequence[BandShapes], srf: SpectralResponse | None) -> EstimationState:
    """R with B held."""
    if srf is not None:
        return replace(state, rows=srf.matrix)
    kept = state.kept
    degraded = state.sample.degraded(state.coefficients)
    fit = fit_rows(SpectralMoments.of(state.sample.spectra[kept], degraded[kept]), shapes)
    return replace(
        state, rows=fit.rows, sensor=fit.sensor, row_error=fit.uncertainty, band_pass_misfit=fit.band_pass_misfit
    )


def update_psf(
    state: EstimationState, blocks: Sequence[SampleBlock], psf: PointSpread | None, leniency: float
) -> EstimationState:
    """B with R held, the windows displaced after it, and the pixels that agree with both."""
    sample = state.sample
    target = sample.spectra @ state.rows.T
    moments = KernelMoments.of(sample.surroundings[state.kept], target[state.kept], sample.basis, state.noise)
    if psf is None:
        gaussian = fit_gaussian(moments, sample.basis, state.gaussian)
        coefficients = gaussian.coefficients(sample.basis)
    else:
        centre = fit_centre(moments, sample.basis, psf, state.gaussian.centre)
        gaussian = replace(state.gaussian, centre=centre)
        coefficients = sample.basis.coefficients(windowed(psf.shifted(centre), sample.basis.taps))
    step = np.round(np.array(gaussian.centre) * sample.basis.ratio).astype(int)
    if np.abs(gaussian.centre).max() > 0.6 and step.any():
        return _moved(state, blocks, gaussian, (int(step[0]), int(step[1])))
    degraded = sample.degraded(coefficients)
    allowed = leniency * target[state.kept].std(axis=0)
    kept = residual_inliers(misfit(target, degraded, state.kept), state.kept, allowed=allowed)
    strict = in_agreeing_neighbourhoods(target, degraded, without_rims(kept, sample.place), sample.neighbourhood)
    kept = _enough(strict if strict.sum() >= _LEAST_STRICT * len(strict) else kept)
    return replace(state, gaussian=gaussian, coefficients=coefficients, kept=kept)


def with_usual_psf(state: EstimationState, blocks: Sequence[SampleBlock], coarse: CoarseShift) -> EstimationState:
    """The state with a round PSF of one HSI pixel where the windows look, in place of what was fitted.

    Along an axis in which the scene hardly varies, such as that of its rows, noise alone has moved the windows: there
    they look where the coarse search left them.
    """
    x, y = state.sample.displaced
    _, unsure_x, unsure_y = state.gaussian.uncertainty
    step = (
        coarse.x - x if unsure_x > _UNSURE_CENTRE else 0,
        coarse.y - y if unsure_y > _UNSURE_CENTRE else 0,
    )
    if any(step):
        state = _moved(state, blocks, state.gaussian, step)
    usual = replace(GaussianKernel.usual(), uncertainty=state.gaussian.uncertainty)
    return replace(state, gaussian=usual, coefficients=usual.coefficients(state.sample.basis))


def _moved(
    state: EstimationState, blocks: Sequence[SampleBlock], gaussian: GaussianKernel, step: tuple[int, int]
) -> EstimationState:
    """The same with windows that look elsewhere: the pixels are gathered and judged anew."""
    ratio = state.sample.basis.ratio
    displaced = (state.sample.displaced[0] + step[0], state.sample.displaced[1] + step[1])
    sample = gather_pixels(blocks, ratio, displaced)
    centre = (gaussian.centre[0] - step[0] / ratio, gaussian.centre[1] - step[1] / ratio)
    gaussian = replace(gaussian, centre=centre)
    coefficients = gaussian.coefficients(sample.basis)
    kept = _alike(sample, coefficients)
    return replace(state, sample=sample, gaussian=gaussian, coefficients=coefficients, kept=kept)


def misfit(
    target: NDArray[np.float64],
    degraded: NDArray[np.float64],
    kept: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """R Y less the best gain and offset of P B, (N, c), fitted on the kept pixels."""
    gain, offset = linear_fit(degraded[kept], target[kept])
    return target - degraded * gain - offset


def point_spread(
    state: EstimationState,
    ratio: int,
    psf: PointSpread | None,
) -> tuple[PointSpread, tuple[float, float]]:
    """The centred point spread and the shift: the Gaussian, unless a free form does better on held-out pixels."""
    displaced = np.array(state.sample.displaced) / ratio
    shift = displaced + state.gaussian.centre
    if psf is not None:
        return psf, (float(shift[0]), float(shift[1]))
    free = _free_kernel(state)
    if free is None:
        return state.gaussian.point_spread(ratio), (float(shift[0]), float(shift[1]))
    kernel = PointSpread(free, ratio)
    axis = (np.arange(len(free)) - (len(free) - 1) / 2) / ratio
    centroid = (float(free.sum(axis=0) @ axis), float(free.sum(axis=1) @ axis))
    shift = displaced + centroid
    return kernel.shifted((-centroid[0], -centroid[1])), (float(shift[0]), float(shift[1]))


def _free_kernel(state: EstimationState) -> NDArray[np.float64] | None:
    """A kernel of any shape, shape (taps, taps), if pixels that it was not fitted on are better for it."""
    sample, basis = state.sample.where(state.kept), state.sample.basis
    target = sample.spectra @ state.rows.T
    if len(target) < 2 * len(state.coefficients):
        return None
    half = np.arange(len(target)) // 16 % 2 == 0
    fitted, held = (
        KernelMoments.of(sample.surroundings[part], target[part], basis, state.noise) for part in (half, ~half)
    )
    gaussian = fit_gaussian(fitted, basis, state.gaussian).coefficients(basis)
    trials = [fit_free(fitted, basis, gaussian, strength) for strength in _FREE_STRENGTHS]
    costs = [held.cost(trial) for trial in [gaussian, *trials]]
    best = int(np.argmin(costs[1:]))
    share = np.exp((costs[best + 1] - costs[0]) / held.weight)
    if share > 1 - _FREE_GAIN:
        return None
    whole = KernelMoments.of(sample.surroundings, target, basis, state.noise)
    kernel = basis.kernel(fit_free(whole, basis, state.coefficients, _FREE_STRENGTHS[best]))
    kernel = np.clip(kernel, 0, None)
    return np.asarray(kernel / kernel.sum(), dtype=np.float64)
