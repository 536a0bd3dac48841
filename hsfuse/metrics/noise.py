"""The noise of an image, out of the image alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_PIXELS = 20_000
_NEIGHBOURS = 8


def spatial_noise(image: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Standard deviation of the noise in each band of an image of few bands (c, H, W), where it is valid (H, W).

    Each band is regressed on its own four neighbours and on the other bands at the pixel and its neighbours, after
    the spatial and spectral decorrelation of Roger and Arnold (1996). What is left is noise and some texture, an
    upper bound; its spread is taken robustly, and the neighbours' own noise is taken out of it. Too few pixels give
    zeros.
    """
    bands = len(image)
    inner = valid[1:-1, 1:-1] & valid[:-2, 1:-1] & valid[2:, 1:-1] & valid[1:-1, :-2] & valid[1:-1, 2:]
    places = np.flatnonzero(inner)
    regressors = 5 * bands - 1
    if len(places) < 20 * regressors:
        return np.zeros(bands)
    places = places[:: -(-len(places) // _MOST_PIXELS)]
    shifts = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    rows, columns = inner.shape
    seen = np.stack(
        [image[:, top : top + rows, left : left + columns].reshape(bands, -1)[:, places] for top, left in shifts]
    ).astype(np.float64)  # (5, c, n): the pixel itself first
    seen -= seen.mean(axis=2, keepdims=True)
    flat = seen.reshape(5 * bands, -1)
    found = np.empty(bands)
    for band in range(bands):
        others = np.delete(flat, band, axis=0)
        weights, *_ = np.linalg.lstsq(others.T, flat[band], rcond=None)
        rest = flat[band] - weights @ others
        own = np.insert(weights, band, 0.0).reshape(5, bands)[:, band]
        found[band] = 1.4826 * np.median(np.abs(rest)) / np.sqrt(1 + (own**2).sum())
    return found


def spectral_noise(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of the noise in each of many bands of pixels (n, C).

    Each band is regressed on the others (HySime, Bioucas-Dias and Nascimento 2008), or on its eight neighbours where
    there are too few pixels for that. The spread of what is left is taken robustly, so that a rare spectrum does not
    count as noise.
    """
    count, bands = pixels.shape
    centred = pixels - pixels.mean(axis=0)
    gram = centred.T @ centred / count
    diagonal = np.diag(gram)
    gram += np.diag(1e-9 * diagonal + 1e-12 * diagonal.mean() + 1e-300)
    if count > 1.5 * bands:
        precision = np.linalg.inv(gram)
        predictors, unmix = bands, precision / np.diag(precision)
    else:
        predictors = min(_NEIGHBOURS, bands - 1, count // 4)
        unmix = _from_neighbours(gram, predictors)
    rest = centred[:: -(-count // _MOST_PIXELS)] @ unmix
    robust = 1.4826 * np.median(np.abs(rest), axis=0)
    spread = np.maximum(robust, 0.1 * np.sqrt((rest**2).mean(axis=0)))
    return np.asarray(spread * np.sqrt(count / max(count - predictors, 1)))


def _from_neighbours(gram: NDArray[np.float64], predictors: int) -> NDArray[np.float64]:
    """What takes from every band its regression on the nearest `predictors` others, (C, C) by columns."""
    bands = len(gram)
    index = np.arange(bands)
    distance = np.abs(index[:, None] - index[None, :]) + 2.0 * bands * np.eye(bands)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :predictors]  # (C, m)
    own = gram[nearest[:, :, None], nearest[:, None, :]]  # (C, m, m)
    weights = np.linalg.solve(own, gram[nearest, index[:, None]][:, :, None])[:, :, 0]  # (C, m)
    unmix = np.eye(bands)
    unmix[nearest, index[:, None]] = -weights
    return unmix
