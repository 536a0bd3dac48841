"""Files of one band each, of any sensor: a folder of them, or as the user lists them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import SceneError
from hsfuse.scenes.readers import sentinel2
from hsfuse.scenes.readers.product import BandRecord, Product
from hsfuse.scenes.readers.virtual import (
    RasterFacts,
    SingleFile,
    VirtualBand,
    VirtualRaster,
    look_at,
    of_finest_grid,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsfuse.scenes.readers.files import ProductFiles

_NO_IMAGE = re.compile(
    r"(?:^|[_\-.])(?:qa\w*|scl|aot|wvp|tci|pvi|msk\w*|mask\w*|cloud\w*|fmask|bqa|udm2?|ql|quick\w*|thumb\w*|browse\w*|st"
    r"|angles?|sza|saa|vza|vaa|dem|pan)(?:$|[_\-.])",
    re.IGNORECASE,
)
_SENTINEL2 = re.compile(r"T\d{2}[A-Z]{3}_\d{8}T\d{6}_(B\d[0-9A])(?:_\d0m)?$", re.IGNORECASE)
_BAND = re.compile(r"(?:^|[_.\-])(B\d{1,3}A?)(?=[_.\-]|$)", re.IGNORECASE)
_WITH_UNIT = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)\s*_?(nm|um)(?![a-z])", re.IGNORECASE)
_BARE = re.compile(r"(?<![\d.A-Za-z])(\d{3,4}(?:\.\d+)?)(?![\d.A-Za-z])")
_PLAUSIBLE_NM = (350.0, 2600.0)


def read(files: ProductFiles) -> Product | None:
    """A folder or archive of single bands, or of one image; None where there are no rasters.

    Raises:
        SceneError: Several images of many bands, or bands that do not lie alike.
    """
    images = [name for name in files.rasters if _NO_IMAGE.search(_stem(name)) is None]
    if not images:
        return None
    if any(files.header_of(name) and files.paths[name].startswith("/vsisubfile/") for name in images):
        raise SceneError(f"{files.root}: an ENVI image cannot be read inside of a tar, away from its header: unpack it")
    if len(images) == 1:
        return Product(SingleFile(files.root, files.paths[images[0]]))
    facts = {name: look_at(files.paths[name], f"{files.root}: {name}") for name in images}
    many = [name for name in images if facts[name].count > 1]
    if many:
        raise SceneError(f"{files.root}: several images, {', '.join(images[:4])}: name one of them")
    kept = of_finest_grid(files.root, list(facts.values()))
    named = [name for name in images if facts[name] in kept]
    left = [name for name in files.rasters if name not in named]
    warnings = (f"{files.root}: {len(left)} files were left out: {', '.join(left[:5])}",) if left else ()
    return Product(_stack(files.root, named, kept), warnings=warnings)


def read_list(path: str, names: Sequence[str]) -> Product:
    """The files of a list, all bands of each, in the order given.

    Raises:
        SceneError: One cannot be read, or they lie on different grids.
    """
    return Product(_stack(path, names, [look_at(name, name) for name in names]))


def _stack(path: str, names: Sequence[str], files: Sequence[RasterFacts]) -> VirtualRaster:
    stems = [_stem(name) for name in names]
    alone = all(facts.count == 1 for facts in files)
    spectral = _sentinel2(stems) or _wavelengths(stems) if alone else {}
    short = _short_names(stems)
    bands = [
        VirtualBand(facts, band, _record(facts, band, short[stem] if alone else "", spectral.get(stem)))
        for stem, facts in zip(stems, files, strict=True)
        for band in range(facts.count)
    ]
    sensors = {facts.sensor for facts in files}
    sensor = sensors.pop() if len(sensors) == 1 else None
    return VirtualRaster(path, tuple(bands), {} if sensor is None else {"SENSOR": sensor})


def _record(facts: RasterFacts, band: int, stem: str, known: BandRecord | None) -> BandRecord:
    known = known or BandRecord(facts.descriptions[band] or stem)
    return BandRecord(
        known.description, known.wavelength, known.fwhm, known.units, True,
        facts.scales[band], facts.offsets[band], facts.nodata[band],
    )  # fmt: skip


def _short_names(stems: Sequence[str]) -> dict[str, str]:
    """`B4` of `LT05_…_B4`, where every name has such a part of its own; sensor tables name bands so."""
    found = [_BAND.findall(stem) for stem in stems]
    ends = [names[-1].upper() if names else "" for names in found]
    return dict(zip(stems, ends if all(ends) and len(set(ends)) == len(ends) else stems, strict=True))


def _sentinel2(stems: Sequence[str]) -> dict[str, BandRecord]:
    """What is known about bands of Sentinel-2, if all files are named as its tiles are."""
    found = {stem: match[1].upper() for stem in stems if (match := _SENTINEL2.search(stem))}
    if len(found) < len(stems) or not all(band in sentinel2.BANDS for band in found.values()):
        return {}
    return {stem: BandRecord(band, *sentinel2.BANDS[band][1:]) for stem, band in found.items()}


def _wavelengths(stems: Sequence[str]) -> dict[str, BandRecord]:
    """Out of the names: numbers with a unit, or bare ones where every name has exactly one, all different."""
    units = [_WITH_UNIT.findall(stem) for stem in stems]
    if all(len(found) == 1 for found in units):
        return {
            stem: BandRecord(stem, float(number), units=unit)
            for stem, ((number, unit),) in zip(stems, units, strict=True)
        }
    bare = [[float(text) for text in _BARE.findall(stem)] for stem in stems]
    usual = np.array([found[0] if len(found) == 1 else np.nan for found in bare])
    within = (usual >= _PLAUSIBLE_NM[0]) & (usual <= _PLAUSIBLE_NM[1])
    if len(stems) < 3 or not within.all() or len(set(usual.tolist())) < len(stems):
        return {}
    return {stem: BandRecord(stem, float(nm)) for stem, nm in zip(stems, usual, strict=True)}


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
