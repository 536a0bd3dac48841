"""Files beside a raster that speak of it: an ENVI header, EnMAP's METADATA.XML, prismaread's .wvl, a STAC item.

Their names may be in any letter case. A header counts only if it is of the same image: folders keep `scene.hdr` of a
`scene.img` beside a `scene.tif` that was cut out of it.
"""

from __future__ import annotations

import codecs
import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

logger = logging.getLogger(__name__)

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
"""Pattern of a number in metadata."""


def envi_header(dataset: Any) -> dict[str, str]:
    """The ENVI header of an open rasterio dataset, keys in lower case; empty if it has none of its own."""
    return next((header for header, stale in _headers(dataset) if not stale), {})


def stale_header(dataset: Any) -> str | None:
    """Why the ENVI header beside a dataset is passed over; None if there is none, or one of its own."""
    found = list(_headers(dataset))
    if not found or any(stale is None for _, stale in found):
        return None
    return found[0][1]


def enmap_bands(dataset: Any) -> list[Mapping[str, str]]:
    """What EnMAP's METADATA.XML beside a dataset says of each band, keys in lower case; empty if there is none."""
    path = Path(dataset.name)
    stem, found, _ = (*re.split(r"(SPECTRAL_IMAGE)", path.name, maxsplit=1, flags=re.IGNORECASE), "", "")[:3]
    texts = [text_of(metadata) for metadata in _beside(path, f"{stem}METADATA.XML")] if found else []
    try:
        # The file is one of the user's own beside the scene, and expat itself refuses entity bombs.
        roots = [ET.fromstring(text) for text in texts if text]  # noqa: S314
    except ET.ParseError:
        logger.info("%s: the metadata beside it cannot be read as XML", path)
        return []
    parents = [parent for root in roots for parent in root.iter() if _local(parent) == "bandcharacterisation"]
    bands = [band for parent in parents for band in parent.iter() if _local(band) == "bandid"]
    return [{_local(part): part.text or "" for part in band} for band in bands]


def wvl_tables(dataset: Any) -> list[Path]:
    """Text tables of wavelengths that lie beside a dataset under its name."""
    path = Path(dataset.name)
    return _beside(path, f"{path.stem}.wvl", f"{path.name}.wvl")


def stac_bands(dataset: Any) -> list[Mapping[str, str]]:
    """What a STAC item beside a dataset, under its name, says of each band; empty if there is none of its own.

    Bands stand in the asset that is this file, or in the item's properties; an item that tells the shape of another
    image is passed over. STAC 1.0 with the eo extension, and 1.1.
    """
    path = Path(dataset.name)
    for place in _beside(path, f"{path.stem}.stac.json", f"{path.name}.stac.json", f"{path.stem}.json"):
        try:
            item = json.loads(text_of(place))
        except ValueError:
            continue
        if not isinstance(item, dict) or "stac_version" not in item:
            continue
        for said in _stac_places(item, path.name):
            shape, bands = said.get("proj:shape"), said.get("bands") or said.get("eo:bands")
            if isinstance(bands, list) and shape in (None, [dataset.height, dataset.width]):
                return [{key: str(value) for key, value in band.items()} for band in bands if isinstance(band, dict)]
    return []


def gains(dataset: Any) -> tuple[list[float], list[float]]:
    """Scales and offsets of the bands, those that files beside the dataset give where it has none of its own.

    ENVI's `data gain values`, `data offset values` and `reflectance scale factor`, EnMAP's `GainOfBand` and
    `OffsetOfBand`.
    """
    own = list(dataset.scales), list(dataset.offsets)
    if any(scale not in {0.0, 1.0} for scale in own[0]) or any(own[1]):
        return own
    header, enmap = envi_header(dataset), enmap_bands(dataset)
    factor = numbers_in(header.get("reflectance scale factor"))
    candidates: tuple[tuple[list[float], list[float]], ...] = (
        (numbers_in(header.get("data gain values")), numbers_in(header.get("data offset values"))),
        ([1 / factor[0]] * dataset.count if factor and factor[0] > 0 else [], []),
        ([_float(band.get("gainofband")) for band in enmap], [_float(band.get("offsetofband")) for band in enmap]),
    )
    for scales, offsets in candidates:
        if len(scales) == dataset.count and np.isfinite(scales).all() and all(scales):
            usable = len(offsets) == dataset.count and np.isfinite(offsets).all()
            return scales, offsets if usable else [0.0] * dataset.count
    return own


def text_of(path: Path) -> str:
    """A text file in UTF-8, or else in Latin-1, in which every byte is a letter; empty if there is none."""
    try:
        # A pipe would be waited for.
        content = path.read_bytes() if path.is_file() else b""
    except OSError:
        return ""
    return decode(content)


def decode(content: bytes) -> str:
    """Text in UTF-8, in UTF-16 that says so (what spreadsheets call Unicode), or else Latin-1, which reads anything."""
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return content.decode("utf-16")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def numbers_in(text: str | None) -> list[float]:
    """The numbers of a list such as `{400, 410}`."""
    return [float(number) for number in re.findall(NUMBER, text or "")]


def _headers(dataset: Any) -> Iterator[tuple[dict[str, str], str | None]]:
    """ENVI headers beside a dataset, each with a reason not to believe it."""
    path = Path(dataset.name)
    if not path.is_file():
        return
    for place in _beside(path, f"{path.stem}.hdr", f"{path.name}.hdr"):
        text = text_of(place)
        if text.lstrip().startswith("ENVI"):
            header = _parsed(text)
            yield header, _why_stale(place, header, (dataset.width, dataset.height, dataset.count))


def _beside(path: Path, *names: str) -> list[Path]:
    """The files of these names beside a file, in their order; in any letter case, the very name first."""
    wanted = {name.lower(): place for place, name in reversed(list(enumerate(names)))}
    try:
        beside = list(path.parent.iterdir()) if path.is_file() else []
        found = [other for other in beside if other.name.lower() in wanted and other.is_file()]
    except OSError:  # a folder may be closed to listing
        return []
    return sorted(found, key=lambda other: (wanted[other.name.lower()], other.name not in names, other.name))


def _local(element: ET.Element) -> str:
    """The name of an element without its namespace, in lower case."""
    return str(element.tag).rsplit("}", 1)[-1].lower()


def _stac_places(item: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    """Where a STAC item may describe the bands of the file of this name."""
    assets = item.get("assets")
    for asset in assets.values() if isinstance(assets, dict) else ():
        if isinstance(asset, dict) and str(asset.get("href", "")).rsplit("/", 1)[-1] == name:
            yield asset
    if isinstance(item.get("properties"), dict):
        yield item["properties"]


def _parsed(text: str) -> dict[str, str]:
    pairs = re.findall(r"^\s*([^=\n{}]+?)\s*=\s*(\{[^}]*\}|[^\n]*)", text, re.MULTILINE)
    return {re.sub(r"[\s_]+", " ", key).lower(): value.strip() for key, value in pairs}


def _why_stale(path: Path, header: Mapping[str, str], size: Sequence[int]) -> str | None:
    told = [numbers_in(header.get(key))[:1] for key in ("samples", "lines", "bands")]
    if all(not number or number[0] == pixels for number, pixels in zip(told, size, strict=True)):
        return None
    theirs = " x ".join(f"{number[0]:g}" if number else "?" for number in told)
    ours = " x ".join(str(pixels) for pixels in size)
    return f"the header {path.name} beside it is of another image ({theirs}, not {ours}): passed over"


def _float(text: str | None) -> float:
    found = numbers_in(text)
    return found[0] if found else float("nan")
