"""`hsfuse simulate`: a Wald pair from a reference hyperspectral image, with the truth that was used."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine

from hsfuse.errors import OutputError, RequestError, WorkError
from hsfuse.files import check_target, move_into_place, temporary_folder
from hsfuse.imaging import ImagingModel, WaldPair, degrade, load_psf, load_srf, parse_sensor
from hsfuse.scenes import Bands, CogWriter, Encoding, Grid, PixelWindow, Scene, parse_band_list
from hsfuse.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FILES = ("hsi.tif", "msi.tif", "reference.tif", "imaging.json")
"""What a simulation leaves in its folder."""


@dataclass(frozen=True)
class Simulation:
    """What was made."""

    folder: Path
    """Holds `FILES`."""

    ratio: int
    """HSI pixel over MSI pixel."""

    hsi_shape: tuple[int, int, int]
    """(C, h, w)."""

    msi_shape: tuple[int, int, int]
    """(c, r·h, r·w)."""

    model: ImagingModel
    """The truth, as in `imaging.json`."""

    warnings: tuple[str, ...]
    """Sentences for the user."""


def simulate(
    reference: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    ratio: int,
    srf: str,
    psf: str = "gaussian:1.0",
    snr_hsi: float | None = None,
    snr_msi: float | None = None,
    shift: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
    hsi_bands: str | None = None,
    window: PixelWindow | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
) -> Simulation:
    """Degrade a reference into a pair by Wald's protocol.

    The reference is cropped to whole HSI pixels; both images keep its corner, CRS and scaling.

    Args:
        reference: A hyperspectral scene, anything that GDAL opens.
        folder: Where `FILES` go; made if it is missing.
        ratio: HSI pixel over MSI pixel, 2 to 20.
        srf: A sensor's name, with bands if wanted, or a file.
        psf: `gaussian:FWHM` in HSI pixels, or a file.
        snr_hsi: Signal-to-noise ratio of the HSI in dB; None for no noise.
        snr_msi: Likewise of the MSI.
        shift: Where the HSI looks beside its nominal place, (x, y) in HSI pixels.
        seed: Of the noise.
        hsi_bands: 1-based bands of the reference; by default all good ones.
        window: Part of the reference, in its pixels.
        dtype: Of the files; by default the reference's.
        overwrite: Replace files of an earlier simulation.

    Raises:
        RequestError: The reference, the SRF or the PSF cannot be used, or the output is there already.
        WorkError: Writing fails.
    """
    if not 2 <= ratio <= 20:
        raise RequestError(f"the ratio is a whole number from 2 to 20, got {ratio}")
    if not 0 <= seed < 2**63:
        raise RequestError(f"the seed of the noise is a whole number from 0 to 2⁶³ − 1, got {seed}")
    if any(snr is not None and math.isnan(snr) for snr in (snr_hsi, snr_msi)):
        raise RequestError(f"an SNR is a number of dB, got {snr_hsi} for the HSI and {snr_msi} for the MSI")
    scene = Scene.open(str(reference))
    folder = _checked_folder(Path(folder), overwrite=overwrite)
    chosen = _bands(scene, hsi_bands)
    bands = scene.bands.select(chosen)
    loaded = load_srf(srf, bands.wavelength_nm, bands.fwhm_nm)
    model = ImagingModel(loaded.response, load_psf(psf, ratio), shift)
    area = _whole_pixels(scene, window, ratio)
    block = scene.read(area, chosen)
    wald = degrade(block.values, model, valid=block.complete, snr_hsi=snr_hsi, snr_msi=snr_msi, seed=seed)
    sensor_bands = _sensor_bands(srf, model)
    with _temporary_folder(folder) as temporary:
        _write(temporary, scene, scene.grid.crop(area), bands, chosen, wald, block.complete, sensor_bands, dtype)
        for name in FILES:
            move_into_place(temporary / name, folder / name, overwrite=overwrite)
    unseen = [f"MSI band {name} sees nothing that the reference covers and was left out" for name in loaded.left_out]
    warnings = *scene.warnings, *unseen
    return Simulation(folder, ratio, wald.hsi.shape, wald.msi.shape, model, warnings)


def _checked_folder(folder: Path, *, overwrite: bool) -> Path:
    there = [name for name in FILES if os.path.lexists(folder / name)]
    if there and not overwrite:
        raise OutputError(f"{folder} holds {', '.join(there)} already: pass `overwrite=True`, or another folder")
    for name in there:
        check_target(folder / name, overwrite=overwrite)
    there_already = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there_already.is_dir():
        raise OutputError(f"{folder} cannot be made, {there_already} is a file: choose another folder")
    return folder


@contextlib.contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder inside `folder`, which is made and, should the work fail, taken away again."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written to ({error.strerror}): choose another folder") from error
        temporary = temporary_folder(folder / FILES[0])
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        _remove_empty(missing)
        reason = f"{folder} could not be written ({error.strerror})"
        raise WorkError(f"{reason}: see whether the disk is full") from error
    except BaseException:
        _remove_empty(missing)
        raise


def _remove_empty(folders: list[Path]) -> None:
    for path in folders:
        with contextlib.suppress(OSError):
            path.rmdir()


def _bands(scene: Scene, wanted: str | None) -> list[int]:
    if wanted is not None:
        return list(parse_band_list(wanted, scene.count))
    return [int(band) for band in np.flatnonzero(scene.bands.good)]


def _whole_pixels(scene: Scene, window: PixelWindow | None, ratio: int) -> PixelWindow:
    """The part wanted, cropped at its right and bottom to whole HSI pixels."""
    area = scene.grid.window if window is None else window.intersection(scene.grid.window)
    width, height = (0, 0) if area is None else (area.width // ratio * ratio, area.height // ratio * ratio)
    if area is None or not width or not height:
        raise RequestError(
            f"{scene.path}: no whole HSI pixel of {ratio}×{ratio} pixels lies in the part wanted "
            f"(the scene has {scene.grid.width}×{scene.grid.height})",
        )
    return PixelWindow(area.column, area.row, width, height)


def _sensor_bands(srf: str, model: ImagingModel) -> Bands:
    """The MSI's bands: names, and centres and widths out of its response where a table gives them."""
    names = model.srf.msi_bands
    unknown = Bands(None, None, np.ones(len(names), dtype=bool), names)
    if srf.lower().endswith(".json"):
        return unknown
    table = parse_sensor(srf)
    index = [table.bands.index(name) for name in names]
    response = table.response[index] / table.response[index].sum(axis=1, keepdims=True)
    centre = response @ table.wavelength_nm
    step = np.gradient(table.wavelength_nm)
    width = ((table.response[index] >= 0.5) * step).sum(axis=1)
    return replace(unknown, wavelength_nm=centre, fwhm_nm=width)


def _write(
    folder: Path,
    scene: Scene,
    fine: Grid,
    bands: Bands,
    chosen: list[int],
    wald: WaldPair,
    reference_valid: NDArray[np.bool_],
    msi_bands: Bands,
    dtype: str | None,
) -> None:
    height, width = wald.hsi.shape[1:]
    if scene.grid.has_transform:
        coarse = Grid(width, height, fine.transform @ fine.transform.scale(wald.model.ratio), fine.crs)
    else:  # with a transform of its own the HSI would seem to lie somewhere: both show the same, that is all
        fine = Grid(fine.width, fine.height, Affine.identity(), None)
        coarse = Grid(width, height, Affine.identity(), None)
    scales, offsets = scene.scales[chosen], scene.offsets[chosen]
    constant = np.full(len(msi_bands), scales[0]), np.full(len(msi_bands), offsets[0])
    images = {
        "hsi.tif": (coarse, bands, scales, offsets, wald.hsi, wald.hsi_valid),
        "msi.tif": (fine, msi_bands, *constant, wald.msi, wald.msi_valid),
        "reference.tif": (fine, bands, scales, offsets, wald.reference, reference_valid),
    }
    tags = {"HSFUSE_VERSION": __version__, "HSFUSE_REFERENCE": Path(scene.path).name}
    for name, (grid, its_bands, its_scales, its_offsets, values, valid) in images.items():
        with CogWriter(
            folder / name,
            grid,
            its_bands,
            Encoding.for_output(len(its_bands), dtype or scene.dtype, scene.nodata, its_scales, its_offsets),
            tags=tags,
        ) as writer:
            writer.write(0, values, valid)
    wald.model.save(folder / "imaging.json")
