"""Reading wavelengths, widths and bad-band flags out of the many places where programs put them.

The places are asked in this order, and each of wavelength, width and flags is taken from the first that has
it: a table that the user names; band tags in any domain; the ENVI domain, or lists like it in any other; the
IMAGERY domain, whose values GDAL itself rounds to whole nanometres; band descriptions; files beside the
raster (`.hdr`, EnMAP's `METADATA.XML`, prismaread's `.wvl`, a STAC item). A later place that gives other
wavelengths is of another image: nothing is taken from it, and that is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hsfuse.errors import SceneError
from hsfuse.scenes.band_table import (
    FWHM_KEYS,
    FWHM_UNIT_KEYS,
    GOOD_KEYS,
    UNIT_KEYS,
    WAVELENGTH_KEYS,
    BandTable,
    plain_key,
    read_band_table,
)
from hsfuse.scenes.bands import Bands
from hsfuse.scenes.raster import descriptions_of, tags_of
from hsfuse.scenes.siblings import NUMBER, enmap_bands, envi_header, stac_bands, stale_header, wvl_tables
from hsfuse.scenes.wavelengths import believable, differ, doubled, faults_of, range_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

# Reflected light, in nm and in µm: what a number without a unit is believed in, and in how many bands at least.
_BARE_RANGES = ((350.0, 2600.0), (0.35, 2.6))
_FEWEST_BARE = 4


# Of wavelength and width, in EnMAP's METADATA.XML (in lower case) and in STAC's bands (eo extension 1.1 and 2.0).
_COLUMNS = ("wavelength", "fwhm")
_ENMAP_KEYS = (("wavelengthcenterofband",), ("fwhmofband",))
_STAC_KEYS = (("eo:center_wavelength", "center_wavelength"), ("eo:full_width_half_max", "full_width_half_max"))

_UNITS = r"nm|nanomet\w*|um|[µμ]m|micro(?:n|met)\w*"
_UNSIGNED = r"(?:\d+\.?\d*|\.\d+)"
_BOUNDS = rf"({_UNSIGNED})\s*(?:{_UNITS})?\s*(?:-|\u2013|to)\s*({_UNSIGNED})\s*({_UNITS})\b"

_Place = tuple[str, "Callable[[], BandTable]"]  # what the user knows it by, and what it says


@dataclass(frozen=True, eq=False)
class _Answers:
    """What all places say together."""

    table: BandTable
    """Wavelengths, widths and flags."""
    source: str
    """Where the wavelengths were found, and what they were taken for."""
    warnings: tuple[str, ...]
    """What was passed over."""


def read_bands(dataset: Any, table: Path | None = None) -> tuple[Bands, tuple[str, ...]]:
    """The bands of an open rasterio dataset, and sentences about what of the metadata was passed over.

    Args:
        dataset: The dataset, a `rasterio.DatasetReader`.
        table: A text file with the wavelengths (`read_band_table`), asked before the dataset itself.

    Raises:
        SceneError: `table` cannot be read, does not have one row a band, or holds no wavelengths of an imager.
    """
    places = _places(dataset)
    own = None if table is None else read_band_table(table, dataset.count)
    if own is not None:
        faults = [own.passed_over] if own.passed_over else faults_of(own.wavelength_nm)
        if faults:
            raise SceneError(f"{table}: {faults[0]}: give the centre of each band in nm")
        places = tuple((name, _flags_only(place)) for name, place in places)
        places = ((str(table), lambda: own), *places)
    answers = _gather(places)
    found = answers.table
    stale = stale_header(dataset)
    warnings = (*([] if stale is None else [stale]), *answers.warnings, *faults_of(found.wavelength_nm))
    wavelength, fwhm = believable(found.wavelength_nm, found.fwhm_nm)
    good = np.ones(dataset.count, dtype=bool) if found.good is None else found.good
    if wavelength is not None:
        good = good & np.isfinite(wavelength) & ~doubled(wavelength)
    names = tuple(description or "" for description in descriptions_of(dataset))
    return Bands(wavelength, fwhm, good, names, "" if wavelength is None else answers.source), warnings


def _places(dataset: Any) -> tuple[_Place, ...]:
    """Where to look, in order."""
    count = dataset.count
    return (
        ("the bands' tags", lambda: _from_band_tags(dataset)),
        ("the lists in the file's tags", lambda: _from_dataset_lists(dataset)),
        ("the bands' IMAGERY tags", lambda: _from_imagery(dataset)),
        ("the bands' descriptions", lambda: _from_descriptions(dataset)),
        ("the ENVI header beside it", lambda: _from_lists(envi_header(dataset), count)),
        ("EnMAP's metadata beside it", lambda: _from_records(enmap_bands(dataset), _ENMAP_KEYS, "nm", count)),
        ("the .wvl table beside it", lambda: _from_wvl(wvl_tables(dataset), count)),
        ("the STAC item beside it", lambda: _from_records(stac_bands(dataset), _STAC_KEYS, "um", count)),
    )


def _flags_only(place: Callable[[], BandTable]) -> Callable[[], BandTable]:
    """A place behind a table of the user's, which overrules its wavelengths and with them its widths."""
    return lambda: BandTable(good=place().good)


def _gather(places: Iterable[_Place]) -> _Answers:
    """Wavelengths, widths and flags of the first place that has them and is not contradicted by an earlier one."""
    lead, absurd = BandTable(), BandTable()
    source = absurd_source = ""
    said: dict[str, str] = {}
    for name, place in places:
        table = place()
        nm = table.wavelength_nm
        if table.passed_over:
            said.setdefault(table.passed_over, f"{name}: {table.passed_over}: passed over")
        if nm is not None and believable(nm, None)[0] is None:
            # Perhaps a later place has wavelengths of an imager.
            if absurd.wavelength_nm is None:
                absurd, absurd_source = table, name
            table = BandTable(good=table.good)
        elif nm is not None and lead.wavelength_nm is None:
            lead, source = replace(lead, wavelength_nm=nm), _with_doubt(name, table.taken_for)
        elif nm is not None and lead.wavelength_nm is not None and differ(lead.wavelength_nm, nm):
            ours = range_text(lead.wavelength_nm)
            said[name] = f"{name}: other wavelengths ({range_text(nm)}) than {source} ({ours}): passed over"
            continue
        lead = replace(
            lead,
            fwhm_nm=table.fwhm_nm if lead.fwhm_nm is None else lead.fwhm_nm,
            good=table.good if lead.good is None else lead.good,
        )
    if lead.wavelength_nm is None:
        lead, source = replace(lead, wavelength_nm=absurd.wavelength_nm), absurd_source
    elif absurd.wavelength_nm is not None:
        told = range_text(absurd.wavelength_nm)
        said[absurd_source] = f"{absurd_source}: wavelengths ({told}) that are not those of an imager: passed over"
    return _Answers(lead, source, tuple(said.values()))


def _with_doubt(name: str, doubt: str) -> str:
    return f"{name} ({doubt})" if doubt else name


# --- the places ---


def _from_band_tags(dataset: Any) -> BandTable:
    tags = [_merged_tags(dataset, band) for band in dataset.indexes]
    columns = {
        "wavelength": [_first(tag, WAVELENGTH_KEYS) for tag in tags],
        "fwhm": [_first(tag, FWHM_KEYS) for tag in tags],
        "good": [_first(tag, GOOD_KEYS) for tag in tags],
    }
    units = [_first(tag, UNIT_KEYS) for tag in tags]
    fwhm_units = [_first(tag, FWHM_UNIT_KEYS) for tag in tags]
    return BandTable.of_texts(columns, units, fwhm_units)


def _merged_tags(dataset: Any, band: int) -> dict[str, str]:
    """All tags of a band with plain keys, those of the default domain before those of others."""
    domains = [domain for domain in dataset.tag_namespaces(band) if _is_plain_domain(domain)]
    merged: dict[str, str] = {}
    for domain in (None, *domains):
        for key, value in tags_of(dataset, band, domain).items():
            merged.setdefault(plain_key(key), value)
    return merged


def _from_dataset_lists(dataset: Any) -> BandTable:
    domains = [domain for domain in dataset.tag_namespaces() if _is_plain_domain(domain)]
    domains.sort(key=lambda domain: domain.upper() != "ENVI")
    for domain in (*domains, None):
        table = _from_lists(tags_of(dataset, 0, domain), dataset.count)
        if table.wavelength_nm is not None or table.good is not None or table.passed_over:
            return table
    return BandTable()


def _from_lists(header: Mapping[str, str], count: int) -> BandTable:
    """Out of an ENVI header, or anything with its keys: `{400.0, 410.0}` under `wavelength`, and so on."""
    plain = {plain_key(key): value for key, value in header.items()}
    listed = {
        name: re.findall(NUMBER, _first(plain, keys) or "")
        for name, keys in (("wavelength", WAVELENGTH_KEYS), ("fwhm", FWHM_KEYS), ("good", GOOD_KEYS))
    }
    found = len(listed["wavelength"])
    if found > 1 and found != count:
        return BandTable(passed_over=f"{found} wavelengths for {count} bands")
    columns = {name: numbers if len(numbers) == count else [] for name, numbers in listed.items()}
    return BandTable.of_texts(columns, [_first(plain, UNIT_KEYS)] * count, [_first(plain, FWHM_UNIT_KEYS)] * count)


def _from_imagery(dataset: Any) -> BandTable:
    tags = [tags_of(dataset, band, "IMAGERY") for band in dataset.indexes]
    columns = {
        "wavelength": [tag.get("CENTRAL_WAVELENGTH_UM") for tag in tags],
        "fwhm": [tag.get("FWHM_UM") for tag in tags],
    }
    return BandTable.of_texts(columns, ["um"] * len(tags), ["um"] * len(tags))


def _from_descriptions(dataset: Any) -> BandTable:
    descriptions = [description or "" for description in descriptions_of(dataset)]
    found = [_wavelength_in(description) for description in descriptions]
    if not any(number for number, _ in found):
        found = [(number, None) for number in _bare_wavelengths(descriptions)]
    columns = {"wavelength": [number for number, _ in found]}
    return BandTable.of_texts(columns, [unit for _, unit in found])


def _wavelength_in(description: str) -> tuple[str | None, str | None]:
    """The number with a unit of length in a description, or the middle of two that bound the band."""
    match = re.search(_BOUNDS, description, re.IGNORECASE)
    if match and float(match[1]) < float(match[2]) < 2 * float(match[1]):  # else the first is that of the band
        return f"{(float(match[1]) + float(match[2])) / 2:.10g}", match[3]
    match = re.search(rf"({_UNSIGNED})\s*({_UNITS})\b", description, re.IGNORECASE)
    return (match[1], match[2]) if match else (None, None)


def _bare_wavelengths(descriptions: Sequence[str]) -> list[str]:
    """The number in brackets at the end of each description, as GDAL names the bands of ENVI files, or the only one
    in it, such as `b450` or `0.4505`; all of them can be wavelengths in one unit.

    Numbers that count up or down one by one are those of bands, whatever their range.
    """
    in_brackets = [re.findall(rf"\(\s*({NUMBER})\s*\)\s*$", description) for description in descriptions]
    fewest = 2 if all(in_brackets) else _FEWEST_BARE
    found = in_brackets if all(in_brackets) else [re.findall(NUMBER, description) for description in descriptions]
    if len(found) < fewest or any(len(numbers) != 1 for numbers in found):
        return []
    values = np.array([float(numbers[0]) for numbers in found])
    in_one_range = any(bool(((values >= low) & (values <= high)).all()) for low, high in _BARE_RANGES)
    if not in_one_range or len(np.unique(values)) < len(values) or bool((np.abs(np.diff(values)) == 1).all()):
        return []
    return [numbers[0] for numbers in found]


def _from_records(
    bands: Sequence[Mapping[str, str]], keys: tuple[tuple[str, ...], tuple[str, ...]], unit: str, count: int
) -> BandTable:
    """Out of one record a band; `keys` are those of wavelength and width."""
    if bands and len(bands) != count:
        return BandTable(passed_over=f"it describes {len(bands)} bands, not {count}")
    columns = {name: [_first(band, names) for band in bands] for name, names in zip(_COLUMNS, keys, strict=True)}
    return BandTable.of_texts(columns, [unit] * len(bands), [unit] * len(bands))


def _from_wvl(tables: Sequence[Path], count: int) -> BandTable:
    passed_over = ""
    for table in tables:
        try:
            return read_band_table(table, count)
        except SceneError as error:
            passed_over = passed_over or str(error)
    return BandTable(passed_over=passed_over)


def _first(tags: Mapping[str, str], keys: tuple[str, ...]) -> str | None:
    return next((tags[key] for key in keys if key in tags), None)


def _is_plain_domain(domain: str) -> bool:
    """Domains with key=value pairs that may speak of wavelengths; IMAGERY has its own, later turn."""
    return domain not in {"IMAGERY", "IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "RPC"} and (
        not domain.startswith(("xml:", "json:"))
    )
