"""The noise of an image of few bands, out of the image alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_PIXELS = 20_000


def spatial_noise(image: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Standard deviation of the noise in each band of an image (c, H, W), where it is valid (H, W).

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
