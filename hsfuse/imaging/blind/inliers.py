"""Which pixels show the same thing in both images: what clouds, change and glint leave over.

Random sample consensus over places (after Fischler & Bolles 1981): the linear relation of the images is fitted on
one small neighbourhood at a time and the one that most of the scene's detail obeys is kept and refined. A cloud
covers some neighbourhoods and spares others, so one of them is clean even where half of the scene is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from hsfuse.imaging.radiometry import linear_fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STARTS = 24
_TOLERANCES = (0.3, 0.6, 1.2, 2.4)  # of the contrast within a neighbourhood: the first that suits enough pixels
_LEAST_SHARE = 0.25  # of the pixels
_MOST_OF_THEM = 0.5  # the first tolerance that suits so many is better than a strict one that suits the sea alone
_LIKE = 0.5  # of the usual correlation within a neighbourhood
_FEWEST_IN_NEIGHBOURHOOD = 9
_RIM_WIDTH = 2  # HSI pixels, as far as the kernels that are fitted reach
_RIM = 2.5  # dropped ones among a pixel's 3 × 3
_NARROWING = (3.0, 2.0, 1.5, 1.0, 1.0)  # times the tolerance, step by step
_FLAT = 0.3  # a neighbourhood with less than this share of the usual contrast proves nothing
_OUTLYING = 4.5  # robust standard deviations, before the model is known
_OUTLYING_LATER = 3.5
_MAD_TO_SIGMA = 1.4826


def principal(spectra: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Scores of the leading principal components, unit variance, with a column of ones first: (N, count + 1)."""
    centred = (spectra - np.median(spectra, axis=0)) / np.maximum(spectra.std(axis=0), 1e-12)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    scores = centred @ vectors[:, ::-1][:, : min(count, spectra.shape[1])]
    scores /= np.maximum(scores.std(axis=0), 1e-12)
    return np.column_stack([np.ones(len(scores)), scores])


def consensus_inliers(
    design: NDArray[np.float64],
    target: NDArray[np.float64],
    neighbourhood: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Pixels whose target follows linearly from the design as it does for most of the scene's detail.

    Args:
        design: Predictors, shape (N, K).
        target: What they should predict, shape (N, c).
        neighbourhood: The small neighbourhood of each pixel, shape (N,).

    Returns:
        Mask of shape (N,).
    """
    contrast, telling = neighbourhood_contrast(target, neighbourhood)
    starts = [np.ones(len(target), dtype=bool), *_starts(design, neighbourhood, telling)]
    for width in _TOLERANCES:
        tolerance = width * contrast
        trials = [_consensus(design, target, start, tolerance) for start in starts]
        chosen = trials[int(np.argmin([_disagreement(design, target, kept, tolerance, telling) for kept in trials]))]
        if chosen.mean() >= _LEAST_SHARE:
            break
    difference = _misfit(design, target, chosen)
    chosen = in_agreeing_neighbourhoods(target - difference, target, chosen, neighbourhood)
    misfit = np.abs(_misfit(design, target, chosen))
    bound = _OUTLYING * _MAD_TO_SIGMA * np.median(misfit[chosen], axis=0)
    near = np.asarray((misfit <= np.clip(bound, tolerance, 2 * tolerance)).all(axis=1))
    return in_agreeing_neighbourhoods(target - difference, target, near, neighbourhood)


def consensus_line(
    projected: NDArray[np.float64],
    degraded: NDArray[np.float64],
    neighbourhood: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Pixels that lie on the line between the images, band by band, on which most of the scene's detail lies.

    Args:
        projected: R Y, shape (N, c).
        degraded: P B, shape (N, c).
        neighbourhood: The small neighbourhood of each pixel, shape (N,).

    Returns:
        Mask of shape (N,).
    """
    (contrast, telling), (other, varied) = (
        neighbourhood_contrast(image, neighbourhood) for image in (projected, degraded)
    )
    telling = telling & varied if (telling & varied).any() else telling
    starts = [np.ones(len(projected), dtype=bool), *_starts(projected[:, :1], neighbourhood, telling)]
    best = np.zeros(len(projected), dtype=bool)
    for width in _TOLERANCES:
        trials = [_line_inliers(projected, degraded, start, (contrast, other), width) for start in starts]
        kept = trials[int(np.argmin([_bounded(misfit[telling], width) for misfit in trials]))] <= width
        if kept.mean() >= _MOST_OF_THEM:
            return kept
        best = kept if best.mean() < _LEAST_SHARE else best
    return best


def _line_inliers(
    projected: NDArray[np.float64],
    degraded: NDArray[np.float64],
    start: NDArray[np.bool_],
    contrast: tuple[NDArray[np.float64], NDArray[np.float64]],
    width: float,
) -> NDArray[np.float64]:
    """The misfit of each pixel, (N,), to the line that a start grows to, in the contrast of the image that has less.

    A flat cloud in one image fits a line of slope nought in its own contrast; in the other's it does not.
    """
    kept = start
    misfit = np.full(len(projected), np.inf)
    for narrowing in _NARROWING:
        slope, offset = linear_fit(degraded[kept], projected[kept])
        left = np.abs(projected - degraded * slope - offset)
        smaller = np.minimum(contrast[0], np.maximum(slope, 0) * contrast[1])
        misfit = np.median(left / np.maximum(smaller, 1e-300), axis=1)
        near = misfit <= narrowing * width
        if near.sum() < _FEWEST_IN_NEIGHBOURHOOD:
            break
        kept = near
    return misfit


def _bounded(misfit: NDArray[np.float64], most: float) -> float:
    return float(np.square(np.minimum(misfit, most)).mean())


def neighbourhood_contrast(
    target: NDArray[np.float64],
    neighbourhood: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The usual contrast within a neighbourhood, (c,), and which pixels lie in neighbourhoods with detail, (N,)."""
    _, number, counts = np.unique(neighbourhood, return_inverse=True, return_counts=True)
    mean = np.stack([np.bincount(number, band) for band in target.T], axis=1) / counts[:, None]
    square = np.square(target - mean[number])
    spread = np.sqrt(np.stack([np.bincount(number, band) for band in square.T], axis=1) / counts[:, None])
    usual = np.maximum(np.quantile(spread, 0.7, axis=0), 1e-12)
    telling = (spread / usual).mean(axis=1) > _FLAT
    return usual, telling[number]


def without_rims(kept: NDArray[np.bool_], place: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Drop the pixels beside patches of dropped ones: the blur mixes a cloud's edge into its neighbours.

    Args:
        kept: Mask of shape (N,).
        place: SampleBlock, row and column of each pixel, shape (N, 3).
    """
    edge = int(place[:, 1:].max()) + 3
    where = (place[:, 0], place[:, 1], place[:, 2])
    for _ in range(_RIM_WIDTH):
        dropped = np.zeros((int(place[:, 0].max()) + 1, edge, edge))
        dropped[where] = ~kept
        around = ndimage.uniform_filter(dropped, (0, 3, 3), mode="constant") * 9
        kept = kept & (around[where] < _RIM)
    return kept


def in_agreeing_neighbourhoods(
    expected: NDArray[np.float64],
    target: NDArray[np.float64],
    kept: NDArray[np.bool_],
    neighbourhood: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Drop whole neighbourhoods whose detail does not follow the other image's, however near their level is.

    An opaque cloud is flat, and flat water under it in the other image fits any relation that is free to shift.

    Args:
        expected: What the target should be, shape (N, c).
        target: What it is, shape (N, c).
        kept: Mask of shape (N,).
        neighbourhood: The neighbourhood of each pixel, shape (N,).
    """
    _, number = np.unique(neighbourhood, return_inverse=True)
    weight = kept.astype(np.float64)
    scale = np.maximum(target[kept].std(axis=0), 1e-12)
    wanted, given = (_less_mean(image / scale, number, weight) for image in (target, expected))
    both = np.bincount(number, weight * (wanted * given).sum(axis=1))
    power = np.bincount(number, weight * np.square(wanted).sum(axis=1))
    power *= np.bincount(number, weight * np.square(given).sum(axis=1))
    likeness = both / np.sqrt(np.maximum(power, 1e-300))
    counts = np.bincount(number, weight)
    usual = np.quantile(likeness[counts > 0], 0.8)
    good = (likeness >= _LIKE * usual) & (counts >= _FEWEST_IN_NEIGHBOURHOOD)
    agreeing = kept & good[number]
    return agreeing if agreeing.sum() >= 0.25 * kept.sum() else kept


def _less_mean(
    image: NDArray[np.float64],
    number: NDArray[np.int64],
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    total = np.maximum(np.bincount(number, weight), 1e-12)
    mean = np.stack([np.bincount(number, weight * band) for band in image.T], axis=1) / total[:, None]
    return np.asarray(image - mean[number])


def residual_inliers(
    misfit: NDArray[np.float64],
    trusted: NDArray[np.bool_],
    bound: float = _OUTLYING_LATER,
    *,
    allowed: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.bool_]:
    """Pixels whose misfits (N, c) all lie in the bulk of the trusted ones'."""
    scale = _MAD_TO_SIGMA * np.median(np.abs(misfit[trusted]), axis=0)
    return np.asarray((np.abs(misfit) <= np.maximum(bound * scale, allowed) + 1e-12).all(axis=1))


def _starts(
    design: NDArray[np.float64],
    neighbourhood: NDArray[np.int64],
    telling: NDArray[np.bool_],
) -> list[NDArray[np.bool_]]:
    names, counts = np.unique(neighbourhood[telling], return_counts=True)
    enough = names[counts >= 2 * design.shape[1]]
    picked = enough[np.linspace(0, len(enough) - 1, min(len(enough), _STARTS)).astype(int)] if len(enough) else []
    return [neighbourhood == name for name in picked]


def _consensus(
    design: NDArray[np.float64],
    target: NDArray[np.float64],
    start: NDArray[np.bool_],
    tolerance: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """The pixels that a start's relation grows to."""
    kept = start
    for width in _NARROWING:
        near = np.asarray((np.abs(_misfit(design, target, kept)) <= width * tolerance).all(axis=1))
        if near.sum() < 2 * design.shape[1]:
            return kept
        kept = near
    return kept


def _disagreement(
    design: NDArray[np.float64],
    target: NDArray[np.float64],
    kept: NDArray[np.bool_],
    tolerance: NDArray[np.float64],
    telling: NDArray[np.bool_],
) -> float:
    """Mean misfit of the scene's detail, each pixel's bounded."""
    misfit = _misfit(design[telling], target[telling], kept[telling]) if kept[telling].any() else target[telling]
    return float(np.minimum(np.square(misfit / tolerance).mean(axis=1), 4).mean())


def _misfit(
    design: NDArray[np.float64],
    target: NDArray[np.float64],
    kept: NDArray[np.bool_],
) -> NDArray[np.float64]:
    gram = design[kept].T @ design[kept]
    gram += 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))
    return target - design @ np.linalg.solve(gram, design[kept].T @ target[kept])
