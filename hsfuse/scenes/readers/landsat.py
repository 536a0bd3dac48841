"""Landsat 4 to 9, level 1 and level 2: a folder or tar of one GeoTIFF a band with metadata in MTL.txt.

Layout: USGS, Landsat 8-9 Collection 2 Level 2 Science Product Guide (LSDS-1619), and LSDS-1618 for 4 to 7.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hsfuse.errors import SceneError
from hsfuse.scenes.raster import Raster
from hsfuse.scenes.readers.files import number_in
from hsfuse.scenes.readers.product import BandRecord, Product
from hsfuse.scenes.readers.quality import NO_DATA, Flag, FlagLayer
from hsfuse.scenes.readers.virtual import VirtualBand, VirtualRaster, look_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hsfuse.scenes.readers.files import ProductFiles

_TM = {"1": (485, 66), "2": (560, 82), "3": (660, 67), "4": (830, 128), "5": (1650, 217), "7": (2220, 252)}
_ETM = {"1": (479, 67), "2": (561, 78), "3": (661, 60), "4": (835, 120), "5": (1650, 190), "7": (2208, 251)}
_OLI = {
    "1": (443, 16),
    "2": (482, 60),
    "3": (561, 57),
    "4": (655, 37),
    "5": (865, 28),
    "6": (1609, 85),
    "7": (2201, 187),
}

BANDS = {"4": _TM, "5": _TM, "7": _ETM, "8": _OLI, "9": _OLI}
"""Reflective bands of 30 m by number of the satellite: band → centre and width in nm."""

# QA_PIXEL of collection 2.
_PIXEL = (
    Flag(NO_DATA, bits=1 << 0), Flag("cloud", bits=(1 << 1) | (1 << 3)), Flag("cirrus", bits=1 << 2),
    Flag("shadow", bits=1 << 4),
)  # fmt: skip


def read(files: ProductFiles) -> Product | None:
    """The reflective 30 m bands of a Landsat product; None where the files are none.

    Raises:
        SceneError: There are several products, or bands are missing.
    """
    texts = {name: files.text(name) for name in files.matching(r"[^/]*MTL\.txt")}
    found = [name for name, text in texts.items() if "SPACECRAFT_ID" in text]
    if not found:
        return None
    if len(found) > 1:
        raise SceneError(f"{files.root}: there are several Landsat products, {', '.join(found[:3])}: name one of them")
    values = _values(texts[found[0]])
    satellite = _first(values, "SPACECRAFT_ID") or ""
    bands = BANDS.get(satellite[-1:])
    if bands is None:
        raise SceneError(f"{files.root}: {satellite or 'this satellite'} is not one of Landsat 4, 5, 7, 8 and 9")
    images = {band: name for band in bands if (name := _image(files, values, band)) is not None}
    if not images:
        raise SceneError(f"{files.root}: none of the bands that {found[0]} names is there: unpack the product whole")
    virtual = tuple(
        VirtualBand(
            look_at(files.paths[name], f"{files.root}: {name}"), 0, _record(values, band, bands[band], files.root)
        )
        for band, name in images.items()
    )
    missing = [f"B{band}" for band in bands if band not in images]
    warnings = (f"{files.root}: {', '.join(missing)} are missing",) if missing else ()
    return Product(VirtualRaster(files.root, virtual, {"SPACECRAFT_ID": satellite}), _flags(files, bands), warnings)


def _values(text: str) -> dict[tuple[str, str], str]:
    """The metadata, (group, key) → value without quotation marks."""
    values: dict[tuple[str, str], str] = {}
    group = ""
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            group = value
        elif value:
            values.setdefault((group, key), value.strip('"'))
    return values


def _first(values: dict[tuple[str, str], str], key: str) -> str | None:
    return next((value for (_, own), value in values.items() if own == key), None)


def _image(files: ProductFiles, values: dict[tuple[str, str], str], band: str) -> str | None:
    listed = [value for (_, key), value in values.items() if key in {f"FILE_NAME_BAND_{band}", f"BAND{band}_FILE_NAME"}]
    return next((found for name in listed if (found := files.named(name)) is not None), None)


def _record(values: dict[tuple[str, str], str], band: str, spectral: tuple[float, float], shown: str) -> BandRecord:
    """Of the first group that rescales: surface reflectance, or else reflectance or radiance above the atmosphere."""
    common = BandRecord(f"B{band}", *spectral, nodata=0)
    for quantity in ("REFLECTANCE", "RADIANCE"):
        names = f"{quantity}_MULT_BAND_{band}", f"{quantity}_ADD_BAND_{band}"
        scale, offset = (_first(values, name) for name in names)
        if scale is not None:
            scaled, added = number_in(scale, names[0], shown), number_in(offset or "0", names[1], shown)
            return replace(common, scale=scaled or 1.0, offset=added)
    return common


def _flags(files: ProductFiles, bands: Iterable[str]) -> tuple[FlagLayer, ...]:
    saturated = sum(1 << (int(band) - 1) for band in bands)
    meant = {"QA_PIXEL": _PIXEL, "QA_RADSAT": (Flag("saturation", bits=saturated),)}
    return tuple(
        FlagLayer(Raster(files.paths[name]), flags)
        for layer, flags in meant.items()
        for name in files.matching(rf"[^/]*_{layer}\.tiff?")[:1]
    )
