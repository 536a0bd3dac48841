"""MSIs of several resolutions as one: the finest leads, the bands of coarser ones are sharpened by those of finer ones.

Sentinel-2 takes four bands at 10 m and six at 20 m. Interpolated to 10 m the six do harm, sharpened first they help
(`examples/benchmarks/README.md` has the figures). Only what lies under the HSI is sharpened.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import PairError, RequestError
from hsfuse.fusion.sharpening import MsiBands, Workplace, joined, sharpened, times, window_over
from hsfuse.imaging import load_srf, sensor_names
from hsfuse.pairs.imaging_source import ESTIMATE, plain_name
from hsfuse.progress import SILENT, one_stage
from hsfuse.scenes import parse_band_list, resolutions
from hsfuse.scenes.bands import band_list_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsfuse.fusion.compute import Compute
    from hsfuse.pairs.pair import PairRequest, PathLike
    from hsfuse.progress import Progress
    from hsfuse.scenes import Scene, ScenePair

_MARGIN, _COREGISTERED = 3, 10  # HSI pixels around what is fused: what its blur reaches, how far it may be moved
_SAME = 1.02  # times as large: pixels of one size
_NUMBERED = re.compile(r"band[ _]?\d+.*", re.IGNORECASE)


def open_scenes(
    request: PairRequest, *, compute: Compute, beside: PathLike | None = None, progress: Progress = SILENT
) -> ScenePair:
    """The scenes of a request, several MSIs brought together.

    Args:
        request: Of one MSI or more; a Sentinel-2 product stands for its 10 m and its 20 m bands.
        compute: Its memory is what sharpening may use.
        beside: A file beside which the result lies for as long as it is in use; by default it lies in the system's
            folder for temporary files.
        progress: Observer of the work.

    Raises:
        SceneError: A scene cannot be read.
        PairError: They do not fit each other.
        RequestError: Bands or a window that do not exist, or a band that two of the MSIs hold.
        WorkError: The work failed on the way.
    """
    with one_stage(progress, "open"):
        paths = _paths(request)
        if len(paths) == 1:
            return request.open_scenes()
        hsi = request.open_scene(request.hsi, request.wavelengths)
        scenes = [request.open_scene(path) for path in paths]
    if len(request.msis) == 1 and _is_of_the_finest(request, hsi, scenes[0]):
        return request.open_scenes()
    lead, others, said = _in_order(hsi, _chosen(request, scenes))
    pair = request.related(hsi, lead.scene, lead.index)
    _refuse_doubles([lead, *others])
    margin = _MARGIN + (_COREGISTERED if request.coregister else 0)
    pixels = math.ceil(margin * times(hsi.grid, lead.scene.grid))
    area = window_over(pair.grid, lead.scene.grid, pixels) or lead.scene.grid.window
    place = Workplace(_name(request), None if beside is None else Path(beside), compute, request.screen, progress)
    for part in others:
        bring = joined if times(part.scene.grid, lead.scene.grid) < _SAME else sharpened
        lead, remarks = bring(lead, part, area, place)
        area, said = lead.scene.grid.window, [*said, *remarks]
    if others:
        pair = request.related(hsi, lead.scene)
    return replace(pair, notes=tuple(dict.fromkeys((*said, *pair.notes))))


def _paths(request: PairRequest) -> tuple[str, ...]:
    """The MSIs, products of several resolutions apart; a table of wavelengths is for what one path stands for alone."""
    if request.msi_wavelengths is not None:
        return request.msis
    return tuple(dict.fromkeys(part for path in request.msis for part in resolutions(path)))


def _is_of_the_finest(request: PairRequest, hsi: Scene, finest: Scene) -> bool:
    """Whether the SRF that was asked for is one of a product's finest bands alone, as `sentinel-2a:B2,B3,B4,B8` is."""
    source = request.srf
    if source is None or source == ESTIMATE or source in sensor_names() or request.msi_bands is not None:
        return False
    bands = hsi.bands.select([int(band) for band in np.flatnonzero(hsi.bands.good)])
    if request.hsi_bands is not None:
        bands = hsi.bands.select(parse_band_list(request.hsi_bands, hsi.count))
    return load_srf(source, bands.wavelength_nm, bands.fwhm_nm).source_bands == int(finest.bands.good.sum())


def _chosen(request: PairRequest, scenes: Sequence[Scene]) -> list[tuple[MsiBands, list[str]]]:
    """The bands in use of each scene, those without any left out, with sentences for the user."""
    if request.msi_bands is None:
        return [_good(scene) for scene in scenes]
    places = [(scene, band) for scene in scenes for band in range(scene.count)]
    wanted = [places[place] for place in parse_band_list(request.msi_bands, len(places))]
    index = [tuple(band for own, band in wanted if own is scene) for scene in scenes]
    return [(MsiBands(scene, bands), []) for scene, bands in zip(scenes, index, strict=True) if bands]


def _good(scene: Scene) -> tuple[MsiBands, list[str]]:
    good = tuple(int(band) for band in np.flatnonzero(scene.bands.good) if band not in scene.repeats)
    if not good:
        raise PairError(f"{scene.path}: none of its {scene.count} bands is good and sharp: leave it out")
    left = [band for band in range(scene.count) if band not in good]
    said = f"{scene.path}: its bands {band_list_text(left)} are bad, empty or coarser than its pixels and were left out"
    return MsiBands(scene, good), [said] if left else []


def _in_order(hsi: Scene, parts: Sequence[tuple[MsiBands, list[str]]]) -> tuple[MsiBands, list[MsiBands], list[str]]:
    """The finest, the others from fine to coarse, and sentences about them; what is no finer than the HSI is left."""
    for part, _ in parts:
        if not part.scene.grid.has_transform:
            raise PairError(f"{part.scene.path} has no geotransform, and MSIs of several files need one: give it one")
    sizes = {id(part): times(hsi.grid, part.scene.grid) for part, _ in parts}
    ordered = sorted((part for part, _ in parts), key=lambda part: -sizes[id(part)])
    useful = [part for part in ordered[1:] if sizes[id(part)] > _SAME]
    left = [part for part in ordered[1:] if part not in useful]
    said = [sentence for part, own in parts for sentence in (*part.scene.warnings, *own) if part not in left]
    said += [
        f"{part.scene.path} was left out: its pixels ({part.scene.grid.describe_pixel()}) are no finer than the HSI's "
        f"({hsi.grid.describe_pixel()})"
        for part in left
    ]
    return ordered[0], useful, said


def _refuse_doubles(parts: Sequence[MsiBands]) -> None:
    """Refuse a band that two MSIs hold; names such as `Band 1` are only places in files."""
    seen: dict[str, MsiBands] = {}
    for part in parts:
        for name in part.bands.names:
            if not name or _NUMBERED.fullmatch(name):
                continue
            first = seen.setdefault(plain_name(name), part)
            if first is not part:
                raise RequestError(
                    f"band {name} is in {first.scene.path} and in {part.scene.path}: choose each band once, counted "
                    "through the MSIs in the order given (`msi_bands`)"
                )


def _name(request: PairRequest) -> str:
    """What messages and tags call all of it."""
    first, *others = request.msis
    return " + ".join([first, *(Path(other).name for other in others)])
