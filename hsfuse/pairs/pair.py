"""What every command on a pair begins with: the two scenes, and the imaging model between them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hsfuse.errors import ImagingError, PairError, RequestError
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
from hsfuse.scenes import PixelWindow, Scene, ScenePair, parse_band_list

if TYPE_CHECKING:
    import os

    from hsfuse.imaging import PointSpread
    from hsfuse.scenes import PairBlock

ESTIMATE = "estimate"
WARN_SHIFT = 0.3
"""HSI pixels of misregistration from which on the user is warned."""
REFUSE_SHIFT = 2.0
"""HSI pixels of misregistration from which on a pair is refused unless it is allowed."""


@dataclass(frozen=True)
class Pair:
    """A pair with its imaging model."""

    pair: ScenePair
    """The MSI's bands are those that have a row in the model."""

    imaging: ImagingModel
    """R and B of the pair."""

    srf_source: str
    """Where R comes from: `estimate`, a sensor or a file."""

    psf_source: str
    """Where B comes from."""

    shift: Misregistration | None
    """As measured; None where nothing could be measured."""

    estimate: Estimate | None
    """Of what was estimated; None where all was given."""

    warnings: tuple[str, ...]
    """Sentences for the user."""


def open_pair(
    hsi: str | os.PathLike[str],
    msi: str | os.PathLike[str],
    *,
    hsi_bands: str | None = None,
    msi_bands: str | None = None,
    window: PixelWindow | None = None,
    ratio: int | None = None,
) -> ScenePair:
    """Open two scenes and find out how they lie to each other; band lists are 1-based, such as `1-4,8`.

    Raises:
        SceneError: A scene cannot be read.
        PairError: They cannot be fused.
        RequestError: Bands or a window that do not exist.
    """
    hsi_scene, msi_scene = Scene.open(str(hsi)), Scene.open(str(msi))
    return ScenePair.open(
        hsi_scene,
        msi_scene,
        hsi_bands=None if hsi_bands is None else parse_band_list(hsi_bands, hsi_scene.count),
        msi_bands=None if msi_bands is None else parse_band_list(msi_bands, msi_scene.count),
        window=window,
        ratio=ratio,
    )


def image_pair(
    pair: ScenePair,
    *,
    srf: str | None = None,
    psf: str | None = None,
    allow_shift: bool = False,
    coregister: bool = False,
) -> Pair:
    """Load or estimate what lies between the two images, and measure how well they are registered.

    Args:
        pair: The scenes.
        srf: `estimate`, a sensor's name or a file; by default the sensor's table if the MSI says which it is.
        psf: `estimate` (the default), `gaussian:FWHM` or a file.
        allow_shift: Go on also above two HSI pixels of misregistration.
        coregister: Move the MSI by what was measured.

    Raises:
        ImagingError: A source cannot be read, or the pair does not determine what is to be estimated.
        PairError: The images are misregistered by more than two HSI pixels.
    """
    warnings = list(pair.warnings)
    loaded, srf_source = _load(pair, srf, warnings)
    if loaded is not None:
        pair = _with_rows(pair, loaded, srf_source, warnings)
    kernel = None if psf in {None, ESTIMATE} else load_psf(str(psf), pair.ratio)
    sample = pair.sample()
    estimate: Estimate | None = None
    shift: Misregistration | None = None
    if loaded is None or kernel is None:
        estimate = _estimate(pair, sample, loaded, kernel)
        imaging, shift = estimate.model, estimate.shift
        pair = replace(pair, msi_bands=tuple(pair.msi_bands[band] for band in estimate.msi_index))
        warnings += estimate.warnings
        if estimate.left_out:
            warnings.append(_unseen(estimate.left_out))
    else:
        imaging = ImagingModel(loaded.response, kernel)
        shift = _measured(sample, imaging)
        if shift is not None:
            imaging = replace(imaging, shift=(shift.x, shift.y))
    if shift is not None:
        _judge(shift, warnings, allowed=allow_shift or coregister)
    if coregister and shift is not None:
        pair = pair.shifted(-shift.x, -shift.y)
        imaging = replace(imaging, shift=(0.0, 0.0))
        warnings.append(f"the MSI was moved by {-shift.x:+.2f}, {-shift.y:+.2f} HSI pixels (x, y)")
    psf_source = psf or ESTIMATE
    return Pair(pair, imaging, srf_source, psf_source, shift, estimate, tuple(dict.fromkeys(warnings)))


def _load(pair: ScenePair, srf: str | None, warnings: list[str]) -> tuple[LoadedSrf | None, str]:
    """The response asked for, or that of the sensor which the MSI says it is; None to estimate it."""
    bands = pair.hsi.bands.select(pair.hsi_bands)
    if srf == ESTIMATE:
        return None, ESTIMATE
    if srf is not None:
        return _fitting(pair, load_srf(_by_names(pair, srf), bands.wavelength_nm, bands.fwhm_nm), srf), srf
    sensor = pair.msi.sensor
    if sensor not in sensor_names() or bands.wavelength_nm is None:
        return None, ESTIMATE
    source = _by_names(pair, str(sensor))
    loaded = load_srf(source, bands.wavelength_nm, bands.fwhm_nm)
    if loaded.source_bands != len(pair.msi_bands):
        warnings.append(
            f"the MSI says it is {sensor}, but which of its bands these {len(pair.msi_bands)} are is not clear: "
            f"the SRF was estimated (--srf {sensor}:BANDS names them)",
        )
        return None, ESTIMATE
    return loaded, source


def _fitting(pair: ScenePair, loaded: LoadedSrf, source: str) -> LoadedSrf:
    """The response, once it is clear that it is for as many HSI bands as there are: without wavelengths none says."""
    bands = loaded.response.matrix.shape[1]
    if bands != len(pair.hsi_bands):
        raise RequestError(
            f"the SRF {source} is for {bands} HSI bands, {pair.hsi.path} gives {len(pair.hsi_bands)}: choose the bands "
            "that it is for (--hsi-bands), or use --srf estimate",
        )
    return loaded


def _by_names(pair: ScenePair, source: str) -> str:
    """A sensor's name with the bands that the MSI's own band names say, where they all say one."""
    if ":" in source or source not in sensor_names():
        return source
    known = {_plain(name): name for name in load_table(source).bands}
    names = [pair.msi.bands.names[band] for band in pair.msi_bands]
    found = [known.get(_plain(re.split(r"[\s,(:]", name.strip())[0])) for name in names]
    return source if None in found else f"{source}:{','.join(str(name) for name in found)}"


def _plain(name: str) -> str:
    """`B02`, `b2` and `2` alike; a `Band 2` is only the file's second band."""
    return re.sub(r"^(?:band|b)?[_ ]?0*(?=\d)", "b", name.strip().lower())


def _with_rows(pair: ScenePair, loaded: LoadedSrf, source: str, warnings: list[str]) -> ScenePair:
    """The pair with the MSI bands that the response has rows for."""
    if loaded.source_bands != len(pair.msi_bands):
        raise RequestError(
            f"the SRF {source} has {loaded.source_bands} bands, {pair.msi.path} gives {len(pair.msi_bands)}: name the "
            f"sensor's bands in the file's order (--srf SENSOR:B2,B3,…) or choose the file's (--msi-bands)",
        )
    if loaded.left_out:
        warnings.append(_unseen(loaded.left_out))
    return replace(pair, msi_bands=tuple(pair.msi_bands[band] for band in loaded.msi_index))


def _unseen(bands: tuple[str, ...]) -> str:
    return f"MSI band(s) {', '.join(bands)} see nothing that the HSI covers and were left out"


def _estimate(
    pair: ScenePair, sample: list[PairBlock], loaded: LoadedSrf | None, kernel: PointSpread | None
) -> Estimate:
    hsi, msi = pair.hsi.bands.select(pair.hsi_bands), pair.msi.bands.select(pair.msi_bands)
    return estimate_imaging(
        sample,
        pair.ratio,
        hsi.wavelength_nm,
        hsi.fwhm_nm,
        srf=None if loaded is None else loaded.response,
        psf=kernel,
        msi_bands=msi.names,
        msi_wavelength_nm=msi.wavelength_nm,
        msi_fwhm_nm=msi.fwhm_nm,
    )


def _measured(sample: list[PairBlock], imaging: ImagingModel) -> Misregistration | None:
    """The misregistration, or None where the pair does not show it and the model is known anyway."""
    try:
        return measure_shift(sample, imaging)
    except ImagingError:
        return None


def _judge(shift: Misregistration, warnings: list[str], *, allowed: bool) -> None:
    size = math.hypot(shift.x, shift.y)
    text = f"the images are misregistered by {size:.2f} HSI pixels (x {shift.x:+.2f}, y {shift.y:+.2f})"
    if size > REFUSE_SHIFT and not allowed:
        raise PairError(f"{text}, more than {REFUSE_SHIFT:g}: pass --coregister to move the MSI, or --allow-shift")
    if size > WARN_SHIFT:
        warnings.append(f"{text}; --coregister moves the MSI by that")
