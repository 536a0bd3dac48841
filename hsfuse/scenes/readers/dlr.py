"""EnMAP and DESIS: a spectral image with METADATA.XML and quality layers beside it, all named alike.

Layouts: DLR, EnMAP HSI Level 1B/1C/2A Product Specification (EN-PCV-ICD-2009); DESIS product guide (DLR/Teledyne).
Physical value = DN · gain + offset, of each band.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hsfuse.errors import SceneError
from hsfuse.scenes.raster import Raster
from hsfuse.scenes.readers.files import ProductFiles, elements, number_of, parse_xml, text_of
from hsfuse.scenes.readers.product import BandRecord, Product
from hsfuse.scenes.readers.quality import NO_DATA, Flag, FlagLayer
from hsfuse.scenes.readers.virtual import RasterFacts, VirtualBand, VirtualRaster, look_at

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

_IMAGE = r"[^/]*SPECTRAL_IMAGE(?:_(?:VNIR|SWIR))?(?:_COG)?\.(?:tiff?|bsq|bil|bip|img|jp2)"
_PARTS = {"vnir": 1, "swir": 2}

# Names of quality layers between `-` and the suffix, in upper case, and what they mean.
_LAYERS = {
    "QL_QUALITY_CLOUD": (Flag("cloud", (1,)),),
    "QL_QUALITY_CIRRUS": (Flag("cirrus", (1, 2, 3)),),
    "QL_QUALITY_HAZE": (Flag("haze", (1,)),),
    "QL_QUALITY_CLOUDSHADOW": (Flag("shadow", (1,)),),
    "QL_QUALITY_CLASSES": (Flag(NO_DATA, (3,)),),
    # DESIS: shadow, land, snow, haze over land and water, cloud over land and water, water, background.
    "QL_QUALITY-2": (
        Flag("shadow", (1,), bands=(0,)), Flag("haze", (1,), bands=(3,)), Flag("haze", (1,), bands=(4,)),
        Flag("cloud", (1,), bands=(5,)), Flag("cloud", (1,), bands=(6,)),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class _Metadata:
    records: tuple[BandRecord, ...]
    sensor: str
    level: str | None


def read(files: ProductFiles) -> Product | None:
    """An EnMAP or DESIS product; None where the files are none.

    Raises:
        SceneError: There are several products, or the image does not fit its metadata.
    """
    contents = {name: files.read(name) for name in files.matching(r"[^/]*METADATA\.xml")}
    found = [name for name, content in contents.items() if _describes_bands(content)]
    if not found:
        return None
    if len(found) > 1:
        raise SceneError(f"{files.root}: there are several products, {', '.join(found[:3])}: name one SPECTRAL_IMAGE")
    stem = re.sub(r"METADATA\.xml$", "", found[0], flags=re.IGNORECASE)
    own = files.under(stem)
    images = sorted(own.matching(_IMAGE), key=_part)
    if not images:
        raise SceneError(f"{files.root}: {found[0]} is there, its SPECTRAL_IMAGE is not: unpack the product whole")
    if len(images) > 1 and (len(images) > 2 or _part(images[0]) == _part(images[1])):
        raise SceneError(f"{files.root}: several images, {', '.join(images)}: name one of them")
    metadata = _metadata(parse_xml(contents[found[0]], f"{files.root}: {found[0]}"), files.root)
    return _product(own, metadata, images, [look_at(files.paths[name], f"{files.root}: {name}") for name in images])


def read_beside(path: str) -> Product | None:
    """The product of a spectral image that the user named; None where no metadata of its own lie beside it.

    Metadata of another number of bands are those of what the image was cut from, and not its own.
    """
    image = Path(path)
    if re.fullmatch(_IMAGE, image.name, re.IGNORECASE) is None or not image.is_file():
        return None
    stem = re.split(r"SPECTRAL_IMAGE", image.name, maxsplit=1, flags=re.IGNORECASE)[0]
    beside = {other.name: str(other.absolute()) for other in image.parent.iterdir() if _of(other.name, stem)}
    metadata = next((name for name in beside if name.lower() == f"{stem}metadata.xml".lower()), None)
    if metadata is None:
        return None
    content = (image.parent / metadata).read_bytes()
    if not _describes_bands(content):
        return None
    found, facts = _metadata(parse_xml(content, f"{image.parent / metadata}"), path), look_at(path, path)
    if len(found.records) != facts.count and not _part(image.name):
        return None
    facts = replace(facts, path=beside[image.name])
    return _product(ProductFiles(path, image.parent, beside), found, [image.name], [facts])


def _describes_bands(content: bytes) -> bool:
    return b"bandcharacteri" in content.lower()


def _product(files: ProductFiles, metadata: _Metadata, images: list[str], facts: list[RasterFacts]) -> Product:
    if any(_part(name) for name in images) and facts[0].grid.crs is None:
        raise SceneError(
            f"{files.root}: an EnMAP product of level 1B, its spectrometers each in the geometry of the sensor: order "
            "the same scene as level L1C or L2A"
        )
    bands = [VirtualBand(one, band, BandRecord()) for one in facts for band in range(one.count)]
    records = _fitting(metadata.records, files.root, len(bands), images)
    virtual = tuple(
        replace(band, record=_with_own(record, band.file, band.band))
        for band, record in zip(bands, records, strict=True)
    )
    tags = {"SENSOR": metadata.sensor} | ({} if metadata.level is None else {"LEVEL": metadata.level})
    return Product(VirtualRaster(files.root, virtual, tags), _flags(files))


def _fitting(records: tuple[BandRecord, ...], root: str, count: int, images: list[str]) -> tuple[BandRecord, ...]:
    """The records of the bands that the images hold; one of two images has the first or the last of them."""
    part = _part(images[0])
    if len(images) == 1 and part and len(records) > count:
        return records[:count] if part == 1 else records[-count:]
    if len(records) != count:
        raise SceneError(
            f"{root}: METADATA.XML describes {len(records)} bands, the image has {count}: they are not of one product"
        )
    return records


def _with_own(record: BandRecord, facts: RasterFacts, band: int) -> BandRecord:
    """The file's own scale and nodata where it has them, for it may have been converted since."""
    nodata = record.nodata if facts.nodata[band] is None else facts.nodata[band]
    scaled = facts.scales[band] != 1 or facts.offsets[band] != 0
    scale, offset = (facts.scales[band], facts.offsets[band]) if scaled else (record.scale, record.offset)
    return replace(record, nodata=nodata, scale=scale, offset=offset)


def _metadata(root: ET.Element, shown: str) -> _Metadata:
    parents = [*elements(root, "bandCharacterisation"), *elements(root, "bandCharacterization")]
    bands = [band for parent in parents for name in ("bandID", "band") for band in elements(parent, name)]
    if not bands:
        raise SceneError(f"{shown}: METADATA.XML describes no bands: fetch the product again")
    desis = next(elements(parents[0], "wavelengthWidthOfBand"), None) is not None
    nodata = number_of(root, "backgroundValue", shown)
    records = tuple(_record(band, nodata, shown) for band in bands)
    return _Metadata(records, "DESIS" if desis else "EnMAP", text_of(root, "level"))


def _record(band: ET.Element, nodata: float | None, shown: str) -> BandRecord:
    names = ("wavelengthCenterOfBand", "FWHMOfBand", "wavelengthWidthOfBand", "GainOfBand", "OffsetOfBand")
    centre, fwhm, width, gain, offset = (number_of(band, name, shown) for name in names)
    return BandRecord(
        wavelength=centre, fwhm=width if fwhm is None else fwhm, scale=gain or 1.0, offset=offset or 0.0, nodata=nodata
    )


def _flags(files: ProductFiles) -> tuple[FlagLayer, ...]:
    return tuple(
        FlagLayer(Raster(files.paths[file]), flags)
        for name, flags in _LAYERS.items()
        for file in files.matching(rf"[^/]*{name}(?:_COG)?\.tiff?")[:1]
    )


def _of(name: str, stem: str) -> bool:
    return name.lower().startswith(stem.lower())


def _part(name: str) -> int:
    """0 for the image of both spectrometers, 1 for VNIR and 2 for SWIR."""
    match = re.search(r"SPECTRAL_IMAGE_(VNIR|SWIR)", name, re.IGNORECASE)
    return 0 if match is None else _PARTS[match[1].lower()]
