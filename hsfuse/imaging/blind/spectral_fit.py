"""R from a pair whose B is known: which band-pass over the HSI's bands gives what the MSI shows.

Hyperspectral bands are so alike that least squares alone cannot tell one row of R from many others (the reason
for the regularisation in Simões et al. 2015, eq. 21). So a row is sought among band-passes (`BandShapes`) and is
their mean, each weighted by how well it explains the MSI band: the posterior mean, which minimises the expected
squared error of the row. It is non-negative, smooth and confined because they are.

How well: the least-squares coefficients of the MSI band on the HSI's principal components, and their errors, are
all that the pair says about the row. Components below the noise say nothing, and the noise's own share of the
others is taken off, or wide rows would win merely by averaging more noise away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.imaging.blind.band_shapes import BandShapes

_MOST_COMPONENTS = 40
_ABOVE_NOISE = 1.3  # times the Marchenko–Pastur edge
_INDEPENDENT_SHARE = 0.6  # neighbouring HSI pixels share their errors
_MODEL_ERROR = 1e-3  # of the MSI band's variance: B is not quite right, sensors are not quite linear
_SENSOR_ANGLE = 2.0  # degrees between sisters such as Sentinel-2A and 2B
_WHOLE_SENSOR_SHARE = 0.5  # prior probability that the MSI is one of the published sensors


@dataclass(frozen=True)
class SpectralMoments:
    """What the pixels say about R: the MSI's coefficients on the HSI's principal components."""

    scale: NDArray[np.float64]
    """Noise of each HSI band (standard deviation), shape (C,)."""

    components: NDArray[np.float64]
    """Principal directions of Y divided by `scale`, shape (C, K)."""

    power: NDArray[np.float64]
    """Their variances without the noise's share, shape (K,)."""

    cross: NDArray[np.float64]
    """Covariance of the components with the degraded MSI, shape (K, c)."""

    error: NDArray[np.float64]
    """Variance of each degraded MSI band that the components leave, shape (c,)."""

    variance: NDArray[np.float64]
    """Variance of each degraded MSI band, shape (c,)."""

    count: int
    """HSI pixels."""

    @classmethod
    def of(cls, spectra: NDArray[np.float64], degraded: NDArray[np.float64]) -> SpectralMoments:
        """Of Y (N, C) and P B (N, c)."""
        count, bands = spectra.shape
        spectra, degraded = spectra - spectra.mean(axis=0), degraded - degraded.mean(axis=0)
        scale = noise_scale(spectra)
        whitened = spectra / scale
        values, vectors = np.linalg.eigh(whitened.T @ whitened / count)
        values, vectors = values[::-1], vectors[:, ::-1]
        edge = (1 + np.sqrt(bands / count)) ** 2
        kept = int(
            np.clip((values > _ABOVE_NOISE * edge).sum(), min(3, bands), min(_MOST_COMPONENTS, count // 5, bands))
        )
        noise = values[kept:].sum() / max(bands - kept, 1)
        components = vectors[:, :kept]
        cross = components.T @ (whitened.T @ degraded) / count
        variance = np.square(degraded).mean(axis=0)
        left = variance - (cross**2 / values[:kept, None]).sum(axis=0)
        power = np.maximum(values[:kept] - noise, 0.05 * values[:kept])
        return cls(scale, components, power, cross, np.maximum(left, 1e-6 * variance), variance, count)

    @property
    def explained(self) -> NDArray[np.float64]:
        """Share of each MSI band's variance that follows linearly from the HSI, shape (c,)."""
        return np.asarray(1 - self.error / np.maximum(self.variance, 1e-300), dtype=np.float64)

    def cost(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Negative log likelihood of rows (n, C) for each MSI band at their best gain: shape (n, c)."""
        seen = (rows * self.scale) @ self.components
        power = np.maximum((seen**2) @ self.power, 1e-300)[:, None]
        fit = seen @ self.cross
        free = (self.cross**2 / self.power[:, None]).sum(axis=0)
        missed = free - np.sign(fit) * fit**2 / power
        error = np.maximum(self.error + _MODEL_ERROR * self.variance, 1e-300)
        return np.asarray(0.5 * _INDEPENDENT_SHARE * self.count * missed / error, dtype=np.float64)


@dataclass(frozen=True)
class SpectralFit:
    """Rows of R and how surely they are known."""

    rows: NDArray[np.float64]
    """Shape (c, C), non-negative, each summing to 1."""

    sensor: str
    """The published sensor that the MSI most likely is; empty if it is like none."""

    uncertainty: NDArray[np.float64]
    """Expected spectral angle between each row and the truth, in degrees, shape (c,)."""

    band_pass_misfit: NDArray[np.float64]
    """What the HSI's bands together explain of each MSI band and no band-pass does, over what nothing explains,
    shape (c,): near 0 where the HSI sees the band, large where it can only guess it from others."""


def fit_rows(moments: SpectralMoments, shapes: Sequence[BandShapes]) -> SpectralFit:
    """The posterior mean of each row, over single band-passes and over whole sensors.

    Args:
        moments: What the pair says.
        shapes: The candidates for each MSI band, often the same for all.
    """
    bands = len(moments.variance)
    same = all(candidates is shapes[0] for candidates in shapes)
    costs = moments.cost(shapes[0].rows) if same else None
    alone, evidence, spread, band_pass_misfit = [], 0.0, [], []
    for band, candidates in enumerate(shapes):
        cost = moments.cost(candidates.rows)[:, band] if costs is None else costs[:, band]
        weight, log_evidence = _normalised(candidates.log_prior - cost)
        alone.append(weight @ candidates.rows)
        spread.append(_expected_angle(alone[-1], candidates.rows, weight))
        evidence += log_evidence
        band_pass_misfit.append(cost.min() / (0.5 * _INDEPENDENT_SHARE * moments.count))
    rows, angles = np.stack(alone), np.array(spread)
    sensors = {name: known for name, known in shapes[0].sensors.items() if len(known) == bands}
    if not sensors:
        return SpectralFit(rows, "", angles, np.array(band_pass_misfit))
    fits = np.array([-np.trace(moments.cost(known)) for known in sensors.values()])
    prior = [np.log(1 - _WHOLE_SENSOR_SHARE), *([np.log(_WHOLE_SENSOR_SHARE / len(sensors))] * len(sensors))]
    weight, _ = _normalised(np.array([evidence, *fits]) + prior)
    mean = weight[0] * rows + np.tensordot(weight[1:], np.stack(list(sensors.values())), axes=1)
    best = int(weight[1:].argmax())
    sensor = list(sensors)[best] if weight[1:].sum() > 0.5 else ""
    angles = weight[0] * angles + (1 - weight[0]) * _SENSOR_ANGLE
    return SpectralFit(mean, sensor, angles, np.array(band_pass_misfit))


def noise_scale(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Noise of each band: what the other bands cannot predict (Bioucas-Dias & Nascimento 2008), (N, C) to (C,)."""
    count, bands = centred.shape
    covariance = centred.T @ centred / count
    if count > 2 * bands:
        covariance += 1e-10 * np.trace(covariance) / bands * np.eye(bands)
        left = 1 / np.diagonal(np.linalg.inv(covariance)) * count / (count - bands)
    else:
        kept = min(count // 4, 20, bands - 1)
        leading = np.linalg.eigh(covariance)[1][:, ::-1][:, :kept]
        left = np.square(centred - centred @ leading @ leading.T).mean(axis=0) * count / (count - kept)
    spread = np.diagonal(covariance)
    return np.asarray(np.sqrt(np.maximum(left, 1e-8 * spread + 1e-12 * spread.max() + 1e-300)), dtype=np.float64)


def _normalised(log_weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    top = float(log_weight.max())
    weight = np.exp(log_weight - top)
    total = float(weight.sum())
    return weight / total, top + float(np.log(total))


def _expected_angle(mean: NDArray[np.float64], rows: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    kept = weight > 1e-4
    rows, weight = rows[kept], weight[kept]
    cosine = rows @ mean / np.maximum(np.linalg.norm(rows, axis=1) * np.linalg.norm(mean), 1e-300)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))) @ weight / weight.sum())
