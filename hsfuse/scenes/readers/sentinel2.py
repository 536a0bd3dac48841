"""Sentinel-2 L1C and L2A in the SAFE format, a folder or a zip.

Layout: ESA, Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD). Reflectance = (DN + offset) /
quantification value, with an offset since processing baseline 04.00; 0 is no data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsfuse.errors import SceneError
from hsfuse.scenes.raster import Raster
from hsfuse.scenes.readers.files import ProductFiles, elements, number_in, number_of, text_of
from hsfuse.scenes.readers.product import BandRecord, Product
from hsfuse.scenes.readers.quality import NO_DATA, Flag, FlagLayer
from hsfuse.scenes.readers.virtual import VirtualBand, VirtualRaster, look_at

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

BANDS = {
    "B01": (60, 442.7, 20), "B02": (10, 492.7, 65), "B03": (10, 559.8, 35), "B04": (10, 664.6, 30),
    "B05": (20, 704.1, 14), "B06": (20, 740.5, 14), "B07": (20, 782.8, 19), "B08": (10, 832.8, 105),
    "B8A": (20, 864.7, 21), "B09": (60, 945.1, 19), "B10": (60, 1373.5, 29), "B11": (20, 1613.7, 90),
    "B12": (20, 2202.4, 174),
}  # fmt: skip
"""Pixel in metres, centre and width in nm (of Sentinel-2A) of each band; in the order of `band_id` in the metadata."""

_QUANTIFICATION = 10_000.0
_SCENE_CLASSES = (
    Flag(NO_DATA, (0,)), Flag("saturation", (1,)), Flag("shadow", (3,)), Flag("cloud", (8, 9)), Flag("cirrus", (10,)),
)  # fmt: skip
_L1C_CLASSES = (Flag("cloud", not_zero=True, bands=(0,)), Flag("cirrus", not_zero=True, bands=(1,)))


def read(files: ProductFiles, pixel_m: int = 10) -> Product | None:
    """The bands of one resolution out of a SAFE product; None where the files are none.

    Args:
        files: Of the product.
        pixel_m: 10, 20 or 60; the bands taken by the instrument at this resolution.

    Raises:
        SceneError: There are several products, or bands are missing.
    """
    found = files.matching(r"MTD_MSIL(?:1C|2A)\.xml")
    if not found:
        return None
    if len(found) > 1:
        raise SceneError(
            f"{files.root}: there are several Sentinel-2 products, {', '.join(found[:3])}: name one of them"
        )
    metadata = files.xml(found[0])
    inside = files.under(found[0].removesuffix(found[0].rpartition("/")[2]))
    images = _images(inside, pixel_m)
    records = _records(metadata, list(images), files.root)
    bands = tuple(
        VirtualBand(look_at(files.paths[name], f"{files.root}: {name}"), 0, records[band])
        for band, name in images.items()
    )
    level = "L2A" if "2A" in found[0].upper() else "L1C"
    tags = {"SENSOR": text_of(metadata, "SPACECRAFT_NAME") or "Sentinel-2", "LEVEL": level}
    said = f"the {pixel_m} m bands were taken ({', '.join(images)})"
    warnings = () if pixel_m == 10 else (said,)
    return Product(VirtualRaster(files.root, bands, tags), _flags(inside), warnings)


def pixel_sizes(files: ProductFiles) -> tuple[int, ...]:
    """Which of 10 and 20 m a product has bands of; none where the files are no SAFE product."""
    if not files.matching(r"MTD_MSIL(?:1C|2A)\.xml"):
        return ()
    return tuple(size for size in (10, 20) if any(_files_of(files, band, size) for band in _taken_at(size)))


def _taken_at(pixel_m: int) -> list[str]:
    return [band for band, (own, *_) in BANDS.items() if own == pixel_m]


def _files_of(files: ProductFiles, band: str, pixel_m: int) -> list[str]:
    found = files.matching(rf"[^/]*_{band}(?:_{pixel_m}m)?\.(?:jp2|tiff?)")
    return [name for name in found if "MSK_" not in name.upper()]


def _images(files: ProductFiles, pixel_m: int) -> dict[str, str]:
    """The file of each band that the instrument takes at a resolution, in the order of `BANDS`."""
    names: dict[str, str] = {}
    for band in _taken_at(pixel_m):
        found = _files_of(files, band, pixel_m)
        if len(found) > 1:
            raise SceneError(
                f"{files.root}: several tiles ({', '.join(found[:3])}): name the folder of one (GRANULE/…)"
            )
        if found:
            names[band] = found[0]
    if not names:
        raise SceneError(f"{files.root}: the product holds no bands of {pixel_m} m: unpack it again, or fetch it whole")
    return names


def _records(metadata: ET.Element, bands: list[str], shown: str) -> dict[str, BandRecord]:
    names = ("BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
    quantification = next((value for name in names if (value := number_of(metadata, name, shown))), _QUANTIFICATION)
    offsets = {
        element.get("band_id"): number_in(element.text, name, shown)
        for name in ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")
        for element in elements(metadata, name)
    }
    return {
        band: BandRecord(
            band,
            *BANDS[band][1:],
            scale=1 / quantification,
            offset=offsets.get(str(place), 0.0) / quantification,
            nodata=0,
        )
        for place, band in enumerate(BANDS)
        if band in bands
    }


def _flags(files: ProductFiles) -> tuple[FlagLayer, ...]:
    for pattern, flags in (
        (r"[^/]*_SCL_20m\.(?:jp2|tiff?)", _SCENE_CLASSES),
        (r"[^/]*_SCL_60m\.(?:jp2|tiff?)", _SCENE_CLASSES),
        (r"MSK_CLASSI_B00\.jp2", _L1C_CLASSES),
    ):
        for name in files.matching(pattern)[:1]:
            return (FlagLayer(Raster(files.paths[name]), flags),)
    return ()
