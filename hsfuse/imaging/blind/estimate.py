"""Blind estimation of the imaging model: R, B, their shift and the images' units, from a pair and nothing else.

After Simões, Bioucas-Dias, Almeida & Chanussot (2015), "A convex formulation for hyperspectral image
superresolution via subspace-based regularization" (HySure), section IV: R and B in turn, each by least squares on
R Y = P B with the other held. What differs: the pair is registered first; pixels that do not show the same thing
in both images are left out; R's rows are sought among band-passes (`spectral_fit`), B among Gaussians and, where
held-out pixels ask for it, free forms (`spatial_fit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import ImagingError
from hsfuse.imaging.blind.alternation import (
    FEWEST_PIXELS,
    initial_state,
    misfit,
    point_spread,
    update_psf,
    update_srf,
)
from hsfuse.imaging.blind.band_shapes import BandShapes
from hsfuse.imaging.blind.inliers import residual_inliers
from hsfuse.imaging.blind.samples import sample_blocks
from hsfuse.imaging.blind.shift import Misregistration, coarse_shift, measure_shift
from hsfuse.imaging.model import ImagingModel
from hsfuse.imaging.radiometry import Radiometry, linear_fit
from hsfuse.imaging.srf import SpectralResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.imaging.blind.alternation import EstimationState
    from hsfuse.imaging.blind.samples import PatchLike, SampleBlock
    from hsfuse.imaging.blind.shift import CoarseShift
    from hsfuse.imaging.psf import PointSpread


LEAST_AGREEMENT = 0.12
"""Share of the MSI's detail that the HSI's must explain beyond chance, or they do not show the same place."""

_LEAST_EXPLAINED = 0.02  # of an MSI band's variance by its row, or it is left out
_WEAKLY_EXPLAINED = 0.5
_OUTSIDE_MISFIT = 0.3  # `SpectralFit.band_pass_misfit` above which a band lies outside what the HSI sees ...
_MUCH_WORSE = 10.0  # for a band of which less than half is explained
_WORSE = 3.0  # ... if besides it is explained this many times worse than the better bands
_LEAST_CONTRAST = 2e-3  # standard deviation over mean
_LENIENCY = (0.3, 0.2, 0.1, 0.05)
"""Of the scene's contrast, round by round: while R and B are coarse, their own errors must not look like change."""
_MUCH_DIFFERING = 0.2
_UNSURE_FWHM = 0.1
_UNSURE_SHIFT = 0.1  # HSI pixels
_UNDETERMINED = 0.25  # of the FWHM and of an HSI pixel, both
_UNSURE_ROW = 20.0  # degrees


@dataclass(frozen=True)
class Estimate:
    """What the pair tells of its imaging model, and how well."""

    model: ImagingModel
    """R, B and the shift; `model.residual` holds the relative residuals."""

    radiometry: Radiometry
    """P B = gain · R Y + offset for each kept MSI band."""

    msi_index: tuple[int, ...]
    """The MSI bands (0-based) that have a row in R."""

    left_out: tuple[str, ...]
    """Names of those that the HSI does not see."""

    sensor: str
    """The published sensor whose bands the MSI's rows look like; empty where they look like none or were given."""

    shift: Misregistration
    """Measured cell by cell with the estimated model."""

    quality: dict[str, float]
    """`agreement` of the images' detail (0 to 1), `pixels` used, `differing` share of the
    pixels that were looked at, `psf_fwhm_error` (one standard
    deviation, a share), `shift_error` (HSI pixels), `srf_angle_error` (degrees)."""

    warnings: tuple[str, ...]
    """Sentences for the user."""


def estimate_imaging(
    patches: Sequence[PatchLike],
    ratio: int,
    hsi_wavelength_nm: NDArray[np.float64] | None = None,
    hsi_fwhm_nm: NDArray[np.float64] | None = None,
    *,
    srf: SpectralResponse | None = None,
    psf: PointSpread | None = None,
    msi_bands: Sequence[str] | None = None,
    msi_wavelength_nm: NDArray[np.float64] | None = None,
    msi_fwhm_nm: NDArray[np.float64] | None = None,
    excluded_sensors: Sequence[str] = (),
) -> Estimate:
    """Estimate R, B, the shift and the units of a pair.

    Args:
        patches: Parts of the pair on their nominal ground; a large scene is sampled.
        ratio: HSI pixel over MSI pixel.
        hsi_wavelength_nm: Band centres of the HSI, shape (C,), not sorted.
        hsi_fwhm_nm: Their widths.
        srf: R, where it is known: one row for each MSI band.
        psf: B's kernel, where it is known.
        msi_bands: Names of the MSI's bands.
        msi_wavelength_nm: Band centres of the MSI, shape (c,), where they are known.
        msi_fwhm_nm: Their widths; both together confine the rows of R.
        excluded_sensors: Sensors that the MSI is known not to be.

    Raises:
        ImagingError: The pair cannot determine the model: too few valid pixels, no contrast, or different places.
    """
    names = tuple(msi_bands or (f"B{band + 1}" for band in range(patches[0].msi.shape[0] if patches else 0)))
    blocks = sample_blocks(patches, ratio)
    _refuse_empty(blocks, names)
    coarse = coarse_shift(blocks, ratio)
    _refuse_strangers(coarse)
    shapes = _candidates(
        patches[0], hsi_wavelength_nm, hsi_fwhm_nm, msi_wavelength_nm, msi_fwhm_nm, excluded_sensors, srf
    )
    state = initial_state(blocks, ratio, coarse)
    for leniency in _LENIENCY:
        state = update_srf(state, shapes, srf)
        state = update_psf(state, blocks, psf, leniency)
    state = update_srf(state, shapes, srf)
    _refuse_undetermined(state)
    found, shift = point_spread(state, ratio, psf)
    return _estimate(blocks, patches, state, found, shift, names, hsi_wavelength_nm, coarse, srf)


def _refuse_empty(blocks: Sequence[SampleBlock], names: Sequence[str]) -> None:
    pixels = sum(int(block.hsi_known().sum()) for block in blocks)
    if pixels < FEWEST_PIXELS:
        raise ImagingError(
            f"the pair has {pixels} HSI pixels that are valid in both images, fewer than the {FEWEST_PIXELS} that an "
            "estimate needs: give --srf and --psf",
        )
    hsi, msi = (
        _contrast([block.hsi()[:, block.hsi_known()] for block in blocks]),
        _contrast([image[:, seen] for image, seen in (block.msi(0) for block in blocks)]),
    )
    for label, contrast in (("HSI", hsi), ("MSI", msi)):
        if contrast < _LEAST_CONTRAST:
            raise ImagingError(
                f"the {label} is flat (standard deviation {contrast:.1g} of its mean), so that nothing tells its "
                f"{len(names)}-band response or its blur: give --srf and --psf",
            )


def _contrast(parts: list[NDArray[np.float32]]) -> float:
    pixels = np.concatenate(parts, axis=1).astype(np.float64)
    mean = np.abs(pixels.mean(axis=1))
    return float((pixels.std(axis=1) / np.maximum(mean, 1e-30)).max()) if pixels.size else 0.0


def _refuse_strangers(coarse: CoarseShift) -> None:
    if coarse.agreement - max(coarse.background, 0) < LEAST_AGREEMENT:
        raise ImagingError(
            f"the detail of the two images does not agree (the HSI explains {max(coarse.agreement, 0):.0%} of the "
            f"MSI's at best, {max(coarse.background, 0):.0%} by chance): do they show the same place at about the same "
            "time, with enough contrast?",
        )


def _refuse_undetermined(state: EstimationState) -> None:
    fwhm, centre = state.gaussian.uncertainty
    if np.isfinite(fwhm) and min(fwhm, centre) > _UNDETERMINED:
        raise ImagingError(
            f"the pair does not determine its blur (FWHM unsure by {fwhm:.0%}, shift by {centre:.2g} HSI pixels): too "
            "few pixels agree between the images, or clouds hide them; give --srf and --psf",
        )


def _candidates(
    patch: PatchLike,
    wavelength: NDArray[np.float64] | None,
    fwhm: NDArray[np.float64] | None,
    msi_wavelength: NDArray[np.float64] | None,
    msi_fwhm: NDArray[np.float64] | None,
    excluded_sensors: Sequence[str],
    srf: SpectralResponse | None,
) -> list[BandShapes]:
    """The rows among which each MSI band's is sought."""
    if srf is not None:
        return []
    shapes = BandShapes.of(patch.hsi.shape[0], wavelength, fwhm, excluded_sensors)
    bands = patch.msi.shape[0]
    if wavelength is None or msi_wavelength is None or msi_fwhm is None:
        return [shapes] * bands
    known = zip(msi_wavelength, msi_fwhm, strict=True)
    return [shapes.near(float(centre), float(width), wavelength) for centre, width in known]


def _estimate(
    blocks: Sequence[SampleBlock],
    patches: Sequence[PatchLike],
    state: EstimationState,
    psf: PointSpread,
    shift: tuple[float, float],
    names: tuple[str, ...],
    wavelength: NDArray[np.float64] | None,
    coarse: CoarseShift,
    srf: SpectralResponse | None,
) -> Estimate:
    """Judge what was found and put it together."""
    sample = state.sample.where(state.kept)
    degraded = sample.degraded(state.coefficients)
    target = sample.spectra @ state.rows.T
    left = np.square(misfit(target, degraded, np.ones(len(target), dtype=bool))).mean(axis=0)
    explained = 1 - left / np.maximum(target.var(axis=0), 1e-300)
    rising = linear_fit(degraded, target)[0] > 0
    seen = np.ones(len(names), dtype=bool) if srf is not None else _seen(explained, rising, state.band_pass_misfit)
    if not seen.any():
        raise ImagingError(
            f"no MSI band follows from the HSI's (at best {explained.max():.0%} of its variance is explained): are "
            "the band lists right?",
        )
    index = np.flatnonzero(seen)
    radiometry = Radiometry.fit(target[:, index], degraded[:, index])
    expected = radiometry.to_msi_units(target[:, index].T).T
    kept_names = tuple(names[band] for band in index)
    response = srf or SpectralResponse(state.rows[index], kept_names, wavelength)
    residual = {
        "srf": float(np.sqrt(np.mean(_relative(degraded[:, index] - expected, degraded[:, index])))),
        "psf": float(np.sqrt(np.mean(1 - explained[index]))),
    }
    model = ImagingModel(response, psf, shift, residual)
    quality = _quality(state, coarse, index)
    field = _field(_masked_patches(blocks, patches, state, index, quality["differing"]), model)
    left_out = tuple(name for band, name in enumerate(names) if not seen[band])
    return Estimate(
        model,
        radiometry,
        tuple(index.tolist()),
        left_out,
        state.sensor,
        field,
        quality,
        _warnings(quality, left_out, explained, names, field),
    )


def _quality(state: EstimationState, coarse: CoarseShift, index: NDArray[np.int64]) -> dict[str, float]:
    return {
        "agreement": coarse.agreement,
        "pixels": float(state.kept.sum()),
        "differing": _differing(state),
        "psf_fwhm_error": state.gaussian.uncertainty[0],
        "shift_error": state.gaussian.uncertainty[1],
        "srf_angle_error": float(state.row_error[index].mean()),
    }


def _differing(state: EstimationState) -> float:
    """Share of the pixels at which the images contradict each other; those that merely prove nothing are not it."""
    contradiction = misfit(state.sample.spectra @ state.rows.T, state.sample.degraded(state.coefficients), state.kept)
    return float(1 - residual_inliers(contradiction, state.kept).mean())


def _field(patches: Sequence[PatchLike], model: ImagingModel) -> Misregistration:
    """The shift cell by cell; the model's alone where no cell is large enough to tell."""
    try:
        return measure_shift(patches, model)
    except ImagingError:
        return Misregistration(*model.shift, 0.0, np.empty((0, 5)), 0)


def _seen(
    explained: NDArray[np.float64],
    rising: NDArray[np.bool_],
    band_pass_misfit: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """MSI bands that lie within the HSI's: a band-pass explains them about as well as it does the others."""
    left = 1 - explained
    usual = np.quantile(left, 0.25)
    outside = (band_pass_misfit > _OUTSIDE_MISFIT) & (left > _WORSE * usual)
    outside |= (explained < _WEAKLY_EXPLAINED) & (left > _MUCH_WORSE * usual)
    return np.asarray((explained >= _LEAST_EXPLAINED) & rising & ~outside)


def _relative(residual: NDArray[np.float64], image: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.square(residual).mean(axis=0) / np.maximum(np.square(image).mean(axis=0), 1e-300))


def _warnings(
    quality: dict[str, float],
    left_out: tuple[str, ...],
    explained: NDArray[np.float64],
    names: tuple[str, ...],
    field: Misregistration,
) -> tuple[str, ...]:
    found = [
        f"MSI band {name} is left out: the HSI explains {max(explained[names.index(name)], 0):.0%} of it"
        for name in left_out
    ]
    best = float(explained.max())
    if best < _WEAKLY_EXPLAINED:
        found.append(f"the HSI explains at most {best:.0%} of an MSI band: the SRF is little more than a guess")
    if quality["differing"] > _MUCH_DIFFERING:
        found.append(
            f"{quality['differing']:.0%} of the HSI pixels differ between the images (clouds, change): left out",
        )
    if np.isfinite(quality["psf_fwhm_error"]) and quality["psf_fwhm_error"] > _UNSURE_FWHM:
        found.append(f"the pair leaves the PSF's FWHM unsure by {quality['psf_fwhm_error']:.0%}")
    if np.isfinite(quality["shift_error"]) and quality["shift_error"] > _UNSURE_SHIFT:
        found.append(f"the pair leaves the shift unsure by {quality['shift_error']:.2f} HSI pixel")
    if quality["srf_angle_error"] > _UNSURE_ROW:
        found.append(f"the pair leaves the SRF unsure by {quality['srf_angle_error']:.0f} degrees")
    if field.spread > 0.5:
        found.append(f"the shift varies over the scene by {field.spread:.2f} HSI pixel")
    return tuple(found)


@dataclass(frozen=True)
class _MaskedPatch:
    """A patch with the MSI bands that have a row, and without what is clouded or changed."""

    hsi: NDArray[np.float32]
    hsi_valid: NDArray[np.bool_]
    msi: NDArray[np.float32]
    msi_valid: NDArray[np.bool_]


def _masked_patches(
    blocks: Sequence[SampleBlock],
    patches: Sequence[PatchLike],
    state: EstimationState,
    index: NDArray[np.int64],
    differing: float,
) -> list[_MaskedPatch]:
    """The patches for the shift's cells.

    Only in a scene that is clouded or changed at large do the dropped pixels stay out of them: where there is
    little of that, pixels may have been dropped because their shift is another one, which the cells should tell.
    """
    valid = [patch.hsi_valid.copy() for patch in patches]
    if differing > _MUCH_DIFFERING:
        for number, row, column in state.sample.place[~state.kept]:
            block = blocks[number]
            valid[block.number][block.row + row, block.column + column] = False
    return [
        _MaskedPatch(patch.hsi, mask, patch.msi if len(index) == len(patch.msi) else patch.msi[index], patch.msi_valid)
        for patch, mask in zip(patches, valid, strict=True)
    ]
