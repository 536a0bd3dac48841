"""Blind estimation of the imaging model: R, B, their shift and the images' units, from a pair and nothing else.

After Simões, Bioucas-Dias, Almeida & Chanussot (2015), "A convex formulation for hyperspectral image
superresolution via subspace-based regularization" (HySure), section IV: R and B in turn, each by least squares on
R Y = P B with the other held. What differs: the pair is registered first; pixels that do not show the same thing
in both images are left out; R's rows are sought among band-passes (`spectral_fit`), B among Gaussians and, where
held-out pixels ask for it, free forms (`spatial_fit`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import ImagingError
from hsfuse.imaging.blind.alternation import (
    initial_state,
    misfit,
    point_spread,
    update_psf,
    update_srf,
    with_usual_psf,
)
from hsfuse.imaging.blind.band_shapes import BandShapes
from hsfuse.imaging.blind.fallback import (
    ASSUMED_FWHM,
    BandMetadata,
    UndeterminedError,
    assumed_model,
    can_contradict,
    check_contrast,
)
from hsfuse.imaging.blind.inliers import residual_inliers
from hsfuse.imaging.blind.samples import sample_blocks
from hsfuse.imaging.blind.shift import Misregistration, coarse_shift, measure_shift
from hsfuse.imaging.model import ImagingModel
from hsfuse.imaging.psf import PointSpread
from hsfuse.imaging.radiometry import Radiometry, linear_fit
from hsfuse.imaging.srf import SpectralResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.imaging.blind.alternation import EstimationState
    from hsfuse.imaging.blind.fallback import AssumedModel
    from hsfuse.imaging.blind.samples import PatchLike, SampleBlock
    from hsfuse.imaging.blind.shift import CoarseShift


LEAST_AGREEMENT = 0.12
"""Share of the MSI's detail that the HSI's must explain beyond chance, or they do not show the same place."""

_LEAST_EXPLAINED = 0.02  # of an MSI band's variance by its row, or it is left out
_WEAKLY_EXPLAINED = 0.5
_OUTSIDE_MISFIT = 0.3  # `SpectralFit.band_pass_misfit` above which a band lies outside what the HSI sees ...
_MUCH_WORSE = 10.0  # for a band of which less than half is explained
_WORSE = 3.0  # ... if besides it is explained this many times worse than the better bands
_WELL_EXPLAINED = 0.5  # of the MSI's detail: no chance does that
_LENIENCY = (0.3, 0.2, 0.1, 0.05)
"""Of the scene's contrast, round by round: while R and B are coarse, their own errors must not look like change."""
_MUCH_DIFFERING = 0.2
_UNSURE_FWHM = 0.1
_UNSURE_SHIFT = 0.1  # HSI pixels
_UNDETERMINED = 0.25  # of the FWHM and of an HSI pixel, both
_NARROW, _WIDE = 0.5, 1.9  # HSI pixels of FWHM that are believed only where much detail says so
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
    deviation, a share), `shift_error` (HSI pixels), `srf_angle_error` (degrees); what was not estimated is absent."""

    warnings: tuple[str, ...]
    """Sentences for the user."""

    @property
    def differing(self) -> float:
        """Share of the pixels that do not show the same in both images, where it is more than a rough model's doing."""
        share = self.quality.get("differing", 0.0)
        return share if share > _MUCH_DIFFERING else 0.0


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
        ImagingError: The images contradict each other (different places), or there is nothing to go by at all.
            A pair that merely leaves its model open gets a usual one, and a warning.
    """
    blocks = sample_blocks(patches, ratio)
    if not blocks:
        raise ImagingError("the pair has 0 HSI pixels that are valid: nothing can be estimated")
    names = BandMetadata.band_names(msi_bands, patches[0].msi.shape[0])
    metadata = BandMetadata(hsi_wavelength_nm, hsi_fwhm_nm, names, msi_wavelength_nm, msi_fwhm_nm)
    shapes = [] if srf is not None else _candidates(patches[0], metadata, excluded_sensors)
    try:
        return _estimated(blocks, patches, metadata, shapes, srf, psf)
    except UndeterminedError as reason:
        return _assumed(assumed_model(blocks, metadata, shapes, reason, srf, psf), metadata)


def _estimated(
    blocks: Sequence[SampleBlock],
    patches: Sequence[PatchLike],
    metadata: BandMetadata,
    shapes: Sequence[BandShapes],
    srf: SpectralResponse | None,
    psf: PointSpread | None,
) -> Estimate:
    """The rounds of the estimation, and what became of them."""
    ratio, warnings = blocks[0].ratio, []
    check_contrast(blocks, len(metadata.msi_bands))
    coarse = coarse_shift(blocks, ratio)
    if coarse.agreement - max(coarse.background, 0) < LEAST_AGREEMENT:
        warnings.append(_ambiguous(blocks, coarse))
        psf = psf or PointSpread.gaussian(ratio, ASSUMED_FWHM)
    state = initial_state(blocks, ratio, coarse)
    for leniency in _LENIENCY:
        state = update_srf(state, shapes, srf)
        state = update_psf(state, blocks, psf, leniency)
    state = update_srf(state, shapes, srf)
    doubt = _doubted_blur(state, coarse) if psf is None else ""
    if doubt:
        warnings.append(
            f"the pair does not determine its blur ({doubt}): assumed a PSF of {ASSUMED_FWHM:.1f} HSI pixel FWHM"
        )
        state, psf = with_usual_psf(state, blocks, coarse), PointSpread.gaussian(ratio, ASSUMED_FWHM)
    found, shift = point_spread(state, ratio, psf)
    estimate = _estimate(blocks, patches, state, found, shift, metadata, coarse, srf)
    return replace(estimate, warnings=(*warnings, *estimate.warnings))


def _doubted_blur(state: EstimationState, coarse: CoarseShift) -> str:
    """Why the fitted Gaussian is not to be believed, if it is not.

    Smooth scenes and noise draw it wide, and a scene that varies in one direction alone tells its width in that.
    """
    fwhm, centre = state.gaussian.uncertainty[0], max(state.gaussian.uncertainty[1:])
    narrow, wide = sorted(state.gaussian.point_spread(state.sample.basis.ratio).fwhm)
    if np.isfinite(fwhm) and min(fwhm, centre) > _UNDETERMINED:
        return f"FWHM unsure by {fwhm:.0%}, shift by {centre:.2g} HSI pixels"
    if wide > _WIDE and narrow < 0.75 * wide:
        return f"FWHM {narrow:.2f} and {wide:.2f} HSI pixels by what varies in one direction"
    if coarse.agreement < _WELL_EXPLAINED and not _NARROW < narrow <= wide < _WIDE:
        return f"FWHM {narrow:.2f} and {wide:.2f} HSI pixels out of little detail"
    return ""


def _ambiguous(blocks: Sequence[SampleBlock], coarse: CoarseShift) -> str:
    """The warning for detail that fits at many displacements.

    Raises:
        ImagingError: There is detail in both images, and it fits at none.
        UndeterminedError: There is too little to tell.
    """
    best, chance = max(coarse.agreement, 0), max(coarse.background, 0)
    if best >= _WELL_EXPLAINED:
        return (
            f"the scene looks alike at many displacements (the HSI explains {best:.0%} of the MSI's detail at best, "
            f"{chance:.0%} at others): assumed the least of them and a PSF of {ASSUMED_FWHM:.1f} HSI pixel FWHM"
        )
    if can_contradict(blocks):
        raise ImagingError(
            f"the detail of the two images does not agree (the HSI explains {best:.0%} of the MSI's at best, "
            f"{chance:.0%} by chance): do they show the same place at about the same time, with enough contrast?",
        )
    raise UndeterminedError(
        f"the images have too little detail in common to compare them (the HSI explains {best:.0%} of the MSI's at "
        f"best, {chance:.0%} by chance)",
    )


def _assumed(found: AssumedModel, metadata: BandMetadata) -> Estimate:
    """An estimate that is none."""
    kept = set(found.msi_index)
    left_out = tuple(name for band, name in enumerate(metadata.msi_bands) if band not in kept)
    return Estimate(
        model=found.model,
        radiometry=found.radiometry,
        msi_index=found.msi_index,
        left_out=left_out,
        sensor=found.sensor,
        shift=Misregistration(0.0, 0.0, 0.0, np.empty((0, 5)), 0),
        quality={"pixels": float(found.pixels)},
        warnings=(
            found.warning,
            *(
                f"MSI band {name} is left out: by its wavelength it sees nothing that the HSI covers"
                for name in left_out
            ),
        ),
    )


def _candidates(patch: PatchLike, metadata: BandMetadata, excluded_sensors: Sequence[str]) -> list[BandShapes]:
    """The rows among which each MSI band's is sought."""
    wavelength = metadata.hsi_wavelength_nm
    shapes = BandShapes.of(patch.hsi.shape[0], wavelength, metadata.hsi_fwhm_nm, excluded_sensors)
    if wavelength is None or metadata.msi_wavelength_nm is None or metadata.msi_fwhm_nm is None:
        return [shapes] * patch.msi.shape[0]
    known = zip(metadata.msi_wavelength_nm, metadata.msi_fwhm_nm, strict=True)
    shapes = shapes.of_sensors_near(metadata.msi_wavelength_nm, metadata.msi_fwhm_nm, wavelength)
    return [shapes.near(float(centre), float(width), wavelength) for centre, width in known]


def _estimate(
    blocks: Sequence[SampleBlock],
    patches: Sequence[PatchLike],
    state: EstimationState,
    psf: PointSpread,
    shift: tuple[float, float],
    metadata: BandMetadata,
    coarse: CoarseShift,
    srf: SpectralResponse | None,
) -> Estimate:
    """Judge what was found and put it together."""
    names = metadata.msi_bands
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
    response = srf or SpectralResponse(state.rows[index], kept_names, metadata.hsi_wavelength_nm)
    residual = {
        "srf": float(np.sqrt(np.mean(_relative(degraded[:, index] - expected, degraded[:, index])))),
        "psf": float(np.sqrt(np.mean(1 - explained[index]))),
    }
    model = ImagingModel(response, psf, shift, residual)
    quality = _quality(state, coarse, index)
    field = _field(_masked_patches(blocks, patches, state, index, quality["differing"]), model)
    left_out = tuple(name for band, name in enumerate(names) if not seen[band])
    return Estimate(
        model=model,
        radiometry=radiometry,
        msi_index=tuple(index.tolist()),
        left_out=left_out,
        sensor=state.sensor,
        shift=field,
        quality=quality,
        warnings=_warnings(quality, left_out, explained, names, field),
    )


def _quality(state: EstimationState, coarse: CoarseShift, index: NDArray[np.int64]) -> dict[str, float]:
    found = {
        "agreement": coarse.agreement,
        "pixels": float(state.kept.sum()),
        "differing": _differing(state),
        "psf_fwhm_error": state.gaussian.uncertainty[0],
        "shift_error": max(state.gaussian.uncertainty[1:]),
        "srf_angle_error": float(state.row_error[index].mean()),
    }
    return {name: value for name, value in found.items() if np.isfinite(value)}


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
    best = float(explained.max())
    found = [
        f"MSI band {name} is left out: the HSI explains {max(explained[names.index(name)], 0):.1%} of it, and "
        f"{best:.1%} of others"
        for name in left_out
    ]
    if best < _WEAKLY_EXPLAINED:
        found.append(f"the HSI explains at most {best:.0%} of an MSI band: the SRF is little more than a guess")
    if quality.get("psf_fwhm_error", 0) > _UNSURE_FWHM:
        found.append(f"the pair leaves the PSF's FWHM unsure by {quality['psf_fwhm_error']:.0%}")
    if quality.get("shift_error", 0) > _UNSURE_SHIFT:
        found.append(f"the pair leaves the shift unsure by {quality['shift_error']:.2f} HSI pixel")
    if quality["srf_angle_error"] > _UNSURE_ROW:
        found.append(f"the pair leaves the SRF unsure by {quality['srf_angle_error']:.0f} degrees")
    if field.spread > 0.5:
        found.append(
            f"the shift varies over the scene by {field.spread:.2f} HSI pixel: a displacement field takes that out",
        )
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
