"""Where R and B of a pair come from: a sensor's table, a file, or the pair itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hsfuse.errors import ImagingError, RequestError
from hsfuse.imaging import (
    Estimate,
    ImagingModel,
    LoadedSrf,
    Misregistration,
    estimate_imaging,
    load_psf,
    load_srf,
    load_table,
    measure_shift,
    sensor_names,
)
from hsfuse.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsfuse.imaging import PointSpread, SensorTable
    from hsfuse.scenes import PairBlock, ScenePair

SENTINEL2_BANDS = "B2,B3,B4,B8,B5,B6,B7,B8A,B11,B12"
"""Sentinel-2's bands of 10 m and of 20 m in the order of its products."""

ESTIMATE = "estimate"
"""Source of an SRF or a PSF that is estimated from the pair."""


@dataclass(frozen=True)
class FoundImaging:
    """The imaging model of a pair, and how it was found."""

    imaging: ImagingModel
    """R and B, with the shift in B."""

    msi_index: tuple[int, ...]
    """Which of the pair's MSI bands, 0-based, have a row in R."""

    srf_source: str
    """`estimate`, a sensor or a file."""

    psf_source: str
    """`estimate`, `gaussian:FWHM` or a file."""

    shift: Misregistration | None
    """As measured; None where nothing could be measured."""

    estimate: Estimate | None
    """Of what was estimated; None where all was given."""

    warnings: tuple[str, ...]
    """Sentences for the user."""


def find_imaging(scenes: ScenePair, sample: Sequence[PairBlock], *, srf: str | None, psf: str | None) -> FoundImaging:
    """Load or estimate what lies between the two images, and measure how well they are registered.

    Args:
        scenes: The two scenes.
        sample: Of them, all bands in use.
        srf: `estimate`, a sensor's name or a file; None for the sensor's table if the MSI says which it is.
        psf: `estimate`, `gaussian:FWHM` or a file; None for `estimate`.

    Raises:
        RequestError: The SRF is for other bands.
        ImagingError: A source cannot be read, or the pair does not determine what is to be estimated.
    """
    warnings: list[str] = []
    srf, psf = (None if source is None else str(source) for source in (srf, psf))  # people pass a `Path`, too
    loaded, srf_source = load_response(scenes, srf, warnings)
    index = tuple(range(len(scenes.msi_bands)))
    if loaded is not None:
        index = _rows(scenes, loaded, srf_source, warnings)
        sample = [block.with_msi_bands(index) for block in sample]
    kernel = None if psf in {None, ESTIMATE} else load_psf(_no_misspelt_estimate(str(psf)), scenes.ratio)
    if loaded is not None and kernel is not None:
        imaging = ImagingModel(loaded.response, kernel)
        shift = _measured(sample, imaging)
        if shift is not None:
            imaging = replace(imaging, shift=(shift.x, shift.y))
        return FoundImaging(imaging, index, srf_source, str(psf), shift, None, tuple(warnings))
    estimate = _estimate(scenes, index, sample, loaded, kernel)
    index = tuple(index[band] for band in estimate.msi_index)
    warnings += estimate.warnings
    return FoundImaging(estimate.model, index, srf_source, psf or ESTIMATE, estimate.shift, estimate, tuple(warnings))


def published_response(srf_source: str, estimate: Estimate | None) -> SensorTable | None:
    """The response that is published of the sensor that was given, or that the MSI was found to look like."""
    name = srf_source.partition(":")[0] if estimate is None or not estimate.sensor else estimate.sensor
    return load_table(name) if name in sensor_names() else None


def load_response(
    scenes: ScenePair, srf: str | None, warnings: list[str] | None = None
) -> tuple[LoadedSrf | None, str]:
    """The response asked for, or that of the sensor which the MSI says it is, and its name; None to estimate it.

    Args:
        scenes: The two scenes.
        srf: `estimate`, a sensor's name or a file; None for the MSI's own sensor.
        warnings: Takes a sentence for the user where the MSI's own sensor could not be used.

    Raises:
        RequestError: The SRF is for other bands.
        ImagingError: It cannot be read, or does not lie in the HSI's range.
    """
    warnings = [] if warnings is None else warnings
    bands = scenes.hsi.bands.select(scenes.hsi_bands)
    if srf == ESTIMATE:
        return None, ESTIMATE
    if srf is not None:
        named = _by_names(scenes, _no_misspelt_estimate(srf))
        return _fitting(scenes, load_srf(named, bands.wavelength_nm, bands.fwhm_nm), srf), srf
    sensor = scenes.msi.sensor
    if sensor not in sensor_names() or bands.wavelength_nm is None:
        return None, ESTIMATE
    source = _by_names(scenes, str(sensor))
    loaded = load_srf(source, bands.wavelength_nm, bands.fwhm_nm)
    if loaded.source_bands != len(scenes.msi_bands):
        warnings.append(
            f"the MSI says it is {sensor}, but which of its bands these {len(scenes.msi_bands)} are is not clear: "
            f"the SRF was estimated (`srf={sensor}:BANDS` names them)",
        )
        return None, ESTIMATE
    return loaded, source


def _no_misspelt_estimate(source: str) -> str:
    """A source that is no slip of `estimate`, of which those that load files know nothing."""
    near = did_you_mean(source, (ESTIMATE,))
    if near and not Path(source).exists():
        raise ImagingError(f"{source}{near}: there is no such file")
    return source


def _fitting(scenes: ScenePair, loaded: LoadedSrf, source: str) -> LoadedSrf:
    """The response, once it is clear that it is for as many HSI bands as there are: without wavelengths none says."""
    bands = loaded.response.matrix.shape[1]
    if bands != len(scenes.hsi_bands):
        raise RequestError(
            f"the SRF {source} is for {bands} HSI bands, {scenes.hsi.path} gives {len(scenes.hsi_bands)}: choose the "
            "bands that it is for (`hsi_bands`), or use `srf=estimate`",
        )
    return loaded


def _by_names(scenes: ScenePair, source: str) -> str:
    """A sensor's name with the bands that the MSI's own band names say, where they all say one."""
    if ":" in source or source not in sensor_names():
        return source
    known = {plain_name(name): name for name in load_table(source).bands}
    names = [scenes.msi.bands.names[band] for band in scenes.msi_bands]
    found = [known.get(plain_name(re.split(r"[\s,(:]", name.strip())[0])) for name in names]
    if None not in found:
        return f"{source}:{','.join(str(name) for name in found)}"
    return f"{source}:{SENTINEL2_BANDS}" if _are_sentinel2(scenes, source) else source


def _are_sentinel2(scenes: ScenePair, source: str) -> bool:
    """Whether nameless bands can be none but Sentinel-2's four of 10 m and, sharpened, its six of 20 m."""
    groups = [(len(group.bands), group.ratio) for group in scenes.msi.sharpened]
    return source.startswith("sentinel-2") and groups == [(6, 2)] and len(scenes.msi_bands) == 10


def plain_name(name: str) -> str:
    """A band's name as it is compared: `B02`, `b2` and `2` alike; a `Band 2` is only the file's second band."""
    return re.sub(r"^(?:band|b)?[_ ]?0*(?=\d)", "b", name.strip().lower())


def _rows(scenes: ScenePair, loaded: LoadedSrf, source: str, warnings: list[str]) -> tuple[int, ...]:
    """Which of the pair's MSI bands the response has rows for."""
    if loaded.source_bands != len(scenes.msi_bands):
        raise RequestError(
            f"the SRF {source} has {loaded.source_bands} bands, {scenes.msi.path} gives {len(scenes.msi_bands)}: name "
            f"the sensor's bands in the file's order (`srf=SENSOR:B2,B3,…`) or choose the file's (`msi_bands`)",
        )
    if loaded.left_out:
        bands = ", ".join(loaded.left_out)
        warnings.append(f"MSI band(s) {bands} see nothing that the HSI covers and were left out")
    return loaded.msi_index


def _estimate(
    scenes: ScenePair,
    index: Sequence[int],
    sample: Sequence[PairBlock],
    loaded: LoadedSrf | None,
    kernel: PointSpread | None,
) -> Estimate:
    hsi = scenes.hsi.bands.select(scenes.hsi_bands)
    msi = scenes.msi.bands.select([scenes.msi_bands[band] for band in index])
    return estimate_imaging(
        sample,
        scenes.ratio,
        hsi.wavelength_nm,
        hsi.fwhm_nm,
        srf=None if loaded is None else loaded.response,
        psf=kernel,
        msi_bands=msi.names,
        msi_wavelength_nm=msi.wavelength_nm,
        msi_fwhm_nm=msi.fwhm_nm,
    )


def _measured(sample: Sequence[PairBlock], imaging: ImagingModel) -> Misregistration | None:
    """The misregistration, or None where the pair does not show it and the model is known anyway."""
    try:
        return measure_shift(sample, imaging)
    except ImagingError:
        return None
