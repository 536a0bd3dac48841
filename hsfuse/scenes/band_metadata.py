"""Reading wavelengths, widths and bad-band flags out of the many places where programs put them.

The places are asked in this order, and each of wavelength, width and flags is taken from the first that has
it: a table that the user names; band tags in any domain; the ENVI domain, or lists like it in any other; the
IMAGERY domain, whose values GDAL itself rounds to whole nanometres; band descriptions; files beside the
raster (`.hdr`, EnMAP's `METADATA.XML`, prismaread's `.wvl`).
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hsfuse.errors import SceneError
from hsfuse.files import shown
from hsfuse.scenes.bands import Bands
from hsfuse.scenes.raster import descriptions_of, tags_of
from hsfuse.scenes.siblings import NUMBER, enmap_bands, envi_header, stale_header, text_of, wvl_tables
from hsfuse.scenes.wavelengths import believable, doubled, faults_of, mostly_known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_NM_PER_UNIT = {
    "nanometer": 1.0, "nanometre": 1.0, "nm": 1.0,
    "micrometer": 1e3, "micrometre": 1e3, "micron": 1e3, "um": 1e3, "µm": 1e3, "μm": 1e3,
    "angstrom": 0.1, "millimeter": 1e6, "millimetre": 1e6, "mm": 1e6, "meter": 1e9, "metre": 1e9, "m": 1e9,
}  # fmt: skip

# From the far ultraviolet to the thermal infrared: a unit that leads out of this is a wrong one.
_PLAUSIBLE_NM = (50.0, 50_000.0)

# Reflected light, in nm and in µm: what a number without a unit is believed in, and in how many bands at least.
_BARE_RANGES = ((350.0, 2600.0), (0.35, 2.6))
_FEWEST_BARE = 4

# Keys as `_plain` leaves them.
_WAVELENGTH_KEYS = (
    "wavelength", "wavelengths", "centerwavelength", "centrewavelength", "centralwavelength",
    "wavelengthnm", "wavelengthum", "netcdfdimwavelength", "netcdfdimwavelengths",
)  # fmt: skip
_FWHM_KEYS = ("fwhm", "fwhms", "fullwidthhalfmax", "bandwidth", "fwhmnm", "fwhmum")
_UNIT_KEYS = ("wavelengthunits", "wavelengthunit", "wavelengthsunits", "wavelengthsunit", "units")
_FWHM_UNIT_KEYS = ("fwhmunits", "fwhmunit", "bandwidthunit", "bandwidthunits")
_GOOD_KEYS = ("bbl", "goodwavelengths", "goodbands", "goodwavelength")


@dataclass(frozen=True, eq=False)
class BandTable:
    """What one place says about the bands; None where it says nothing."""

    wavelength_nm: NDArray[np.float64] | None = None
    """Shape (C,), NaN where a single band has none."""
    fwhm_nm: NDArray[np.float64] | None = None
    """Shape (C,), NaN where a single band has none."""
    good: NDArray[np.bool_] | None = None
    """Shape (C,)."""


_Place = tuple[str, "Callable[[], BandTable]"]  # what the user knows it by, and what it says


def read_bands(dataset: Any, table: Path | None = None) -> tuple[Bands, tuple[str, ...]]:
    """The bands of an open rasterio dataset, and sentences about what of the metadata was passed over.

    Args:
        dataset: The dataset, a `rasterio.DatasetReader`.
        table: A text file with the wavelengths (`read_band_table`), asked before the dataset itself.

    Raises:
        SceneError: `table` cannot be read, does not have one row a band, or holds no wavelengths of an imager.
    """
    places = _places(dataset)
    if table is not None:
        own = read_band_table(table, dataset.count)
        faults = faults_of(own.wavelength_nm)
        if faults:
            raise SceneError(f"{table}: {faults[0]}: give the centre of each band in nm")
        places = ((str(table), lambda: own), *places)
    wavelength, fwhm, good, source = _first_answers(places)
    names = _names(dataset)
    warnings = [*filter(None, [stale_header(dataset)]), *faults_of(wavelength)]
    wavelength, fwhm = believable(wavelength, fwhm)
    if good is None:
        good = np.ones(dataset.count, dtype=bool)
    if wavelength is not None:
        good = good & np.isfinite(wavelength) & ~doubled(wavelength)
    return Bands(wavelength, fwhm, good, names, "" if wavelength is None else source), tuple(warnings)


def _names(dataset: Any) -> tuple[str, ...]:
    """Descriptions of the bands, or the names in an ENVI header whose letters GDAL's callers cannot read."""
    names = tuple(description or "" for description in descriptions_of(dataset))
    listed = [name.strip() for name in envi_header(dataset).get("band names", "").strip("{}").split(",")]
    return tuple(listed) if not any(names) and len(listed) == len(names) else names


def read_band_table(path: Path, count: int) -> BandTable:
    """A text table of band centres, one row a band.

    Columns are separated by commas, semicolons, tabs or spaces. A heading names them (`wavelength` or `wl`,
    `fwhm`, `bbl`; others are passed over); without one they are wavelength and, if there are two, width.
    Values below 20 are micrometres.

    Raises:
        SceneError: The file cannot be read, or does not have `count` rows.
    """
    try:
        regular = path.is_file()
    except (OSError, ValueError) as error:
        raise SceneError(f"{shown(path)[:60]}: no file can have this name ({error})") from error
    if not regular:
        raise SceneError(f"{shown(path)}: the wavelength table cannot be read: there is no such file")
    lines = text_of(path).splitlines()
    rows = [re.split(r"[,;\s]+", line.strip().replace('"', "")) for line in lines if line.strip()]
    columns = _table_columns(rows)
    if columns is None or len(columns["wavelength"]) != count:
        found = 0 if columns is None else len(columns["wavelength"])
        raise SceneError(f"{path}: the table holds {found} wavelengths for {count} bands: give one row a band")
    return _table(columns, None)


def _places(dataset: Any) -> tuple[_Place, ...]:
    """Where to look, in order; each is asked only if those before left something open."""
    return (
        ("the bands' tags", lambda: _from_band_tags(dataset)),
        ("the lists in the file's tags", lambda: _from_dataset_lists(dataset)),
        ("the bands' IMAGERY tags", lambda: _from_imagery(dataset)),
        ("the bands' descriptions", lambda: _from_descriptions(dataset)),
        ("the ENVI header beside it", lambda: _from_lists(envi_header(dataset), dataset.count)),
        ("EnMAP's metadata beside it", lambda: _from_enmap(enmap_bands(dataset))),
        ("the .wvl table beside it", lambda: _from_wvl(wvl_tables(dataset), dataset.count)),
    )


def _first_answers(
    places: Iterable[_Place],
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None, NDArray[np.bool_] | None, str]:
    """Wavelengths, widths, flags, and where the wavelengths were found."""
    wavelength = fwhm = good = None
    source = ""
    for name, place in places:
        table = place()
        if wavelength is None and table.wavelength_nm is not None:
            source = name
        wavelength = table.wavelength_nm if wavelength is None else wavelength
        fwhm = table.fwhm_nm if fwhm is None else fwhm
        good = table.good if good is None else good
        if wavelength is not None and fwhm is not None and good is not None:
            break
    return wavelength, fwhm, good, source


# --- the places ---


def _from_band_tags(dataset: Any) -> BandTable:
    tags = [_merged_tags(dataset, band) for band in dataset.indexes]
    columns = {
        "wavelength": [_first(tag, _WAVELENGTH_KEYS) for tag in tags],
        "fwhm": [_first(tag, _FWHM_KEYS) for tag in tags],
        "good": [_first(tag, _GOOD_KEYS) for tag in tags],
    }
    units = [_first(tag, _UNIT_KEYS) for tag in tags]
    fwhm_units = [_first(tag, _FWHM_UNIT_KEYS) for tag in tags]
    return _table(columns, units, fwhm_units)


def _merged_tags(dataset: Any, band: int) -> dict[str, str]:
    """All tags of a band with plain keys, those of the default domain before those of others."""
    domains = [domain for domain in dataset.tag_namespaces(band) if _is_plain_domain(domain)]
    merged: dict[str, str] = {}
    for domain in (None, *domains):
        for key, value in tags_of(dataset, band, domain).items():
            merged.setdefault(_plain(key), value)
    return merged


def _from_dataset_lists(dataset: Any) -> BandTable:
    domains = [domain for domain in dataset.tag_namespaces() if _is_plain_domain(domain)]
    domains.sort(key=lambda domain: domain.upper() != "ENVI")
    for domain in (*domains, None):
        table = _from_lists(tags_of(dataset, 0, domain), dataset.count)
        if table.wavelength_nm is not None or table.good is not None:
            return table
    return BandTable()


def _from_lists(header: Mapping[str, str], count: int) -> BandTable:
    """Out of an ENVI header, or anything with its keys: `{400.0, 410.0}` under `wavelength`, and so on."""
    plain = {_plain(key): value for key, value in header.items()}
    columns = {
        name: _numbers(_first(plain, keys), count)
        for name, keys in (("wavelength", _WAVELENGTH_KEYS), ("fwhm", _FWHM_KEYS), ("good", _GOOD_KEYS))
    }
    return _table(columns, [_first(plain, _UNIT_KEYS)] * count, [_first(plain, _FWHM_UNIT_KEYS)] * count)


def _from_imagery(dataset: Any) -> BandTable:
    tags = [tags_of(dataset, band, "IMAGERY") for band in dataset.indexes]
    columns = {
        "wavelength": [tag.get("CENTRAL_WAVELENGTH_UM") for tag in tags],
        "fwhm": [tag.get("FWHM_UM") for tag in tags],
    }
    return _table(columns, ["um"] * len(tags), ["um"] * len(tags))


def _from_descriptions(dataset: Any) -> BandTable:
    descriptions = [description or "" for description in descriptions_of(dataset)]
    found = [_wavelength_in(description) for description in descriptions]
    if not any(number for number, _ in found):
        found = [(number, None) for number in _bare_wavelengths(descriptions)]
    columns = {"wavelength": [number for number, _ in found]}
    return _table(columns, [unit for _, unit in found])


def _wavelength_in(description: str) -> tuple[str | None, str | None]:
    """The number with a unit of length in a description, or else the one in brackets at its end."""
    units = r"nm|nanomet\w*|um|[µμ]m|micro(?:n|met)\w*"
    match = re.search(rf"({NUMBER})\s*({units})\b", description, re.IGNORECASE)
    if match:
        return match[1], match[2]
    match = re.search(rf"\(\s*({NUMBER})\s*\)\s*$", description)
    return (match[1], None) if match else (None, None)


def _bare_wavelengths(descriptions: Sequence[str]) -> list[str]:
    """The only number in each description, such as `b450` or `0.4505`, where all can be wavelengths in one unit.

    Numbers that count up one by one are those of bands, whatever their range.
    """
    found = [re.findall(NUMBER, description) for description in descriptions]
    if len(found) < _FEWEST_BARE or any(len(numbers) != 1 for numbers in found):
        return []
    values = np.array([float(numbers[0]) for numbers in found])
    in_one_range = any(bool(((values >= low) & (values <= high)).all()) for low, high in _BARE_RANGES)
    if not in_one_range or len(np.unique(values)) < len(values) or bool((np.diff(values) == 1).all()):
        return []
    return [numbers[0] for numbers in found]


def _from_enmap(bands: Sequence[Mapping[str, str]]) -> BandTable:
    columns = {
        "wavelength": [band.get("wavelengthCenterOfBand") for band in bands],
        "fwhm": [band.get("FWHMOfBand") for band in bands],
    }
    return _table(columns, ["nm"] * len(bands), ["nm"] * len(bands))


def _from_wvl(tables: Sequence[Path], count: int) -> BandTable:
    for table in tables:
        try:
            return read_band_table(table, count)
        except SceneError:
            logger.info("%s: no table of %d wavelengths", table, count)
    return BandTable()


# --- values ---


def _table(
    columns: Mapping[str, Sequence[str | None]],
    units: Sequence[str | None] | None,
    fwhm_units: Sequence[str | None] | None = None,
) -> BandTable:
    """Texts to numbers in nm; a column that fills fewer than half of the bands counts as none."""
    wavelength, factor = _in_nm(_floats(columns["wavelength"]), units)
    fwhm = _floats(columns.get("fwhm", ()))
    if len(fwhm):
        fwhm = fwhm * _fwhm_factor(fwhm, factor, fwhm_units)
        fwhm[~(fwhm > 0)] = np.nan
    flags = _floats(columns.get("good", ()))
    return BandTable(
        wavelength if mostly_known(wavelength) else None,
        fwhm if mostly_known(fwhm) else None,
        # A single flag of "bad" is worth having, so no half of the bands is asked for here.
        ~(flags == 0) if np.isfinite(flags).any() else None,
    )


def _in_nm(
    values: NDArray[np.float64], units: Sequence[str | None] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wavelengths in nm, and the factor of each. A unit that is missing, unknown or absurd is guessed."""
    # 20 divides micrometres up to the thermal infrared from nanometres down to the extreme ultraviolet.
    guess = np.where(values < 1e-3, 1e9, np.where(values < 20, 1e3, 1.0))
    if units is None or not len(values):
        factor = guess
    else:
        factor = np.array([_nm_per_unit(unit) for unit in units])
        absurd = ~((values * factor >= _PLAUSIBLE_NM[0]) & (values * factor <= _PLAUSIBLE_NM[1]))
        factor = np.where(absurd, guess, factor)
    in_nm = values * factor
    in_nm[~(in_nm > 0)] = np.nan
    return in_nm, factor


def _fwhm_factor(
    fwhm: NDArray[np.float64], wavelength_factor: NDArray[np.float64], units: Sequence[str | None] | None
) -> NDArray[np.float64]:
    own = np.array([_nm_per_unit(unit) for unit in units or [None] * len(fwhm)])
    # Without wavelengths beside them widths of hyperspectral bands tell by size: 0.01 µm or 10 nm.
    guess = np.where(fwhm < 0.5, 1e3, 1.0)
    beside = wavelength_factor if len(wavelength_factor) == len(fwhm) else guess
    factor = np.where(np.isfinite(own), own, beside)
    return np.where(np.isfinite(factor), factor, guess)


def _nm_per_unit(unit: str | None) -> float:
    text = (unit or "").strip().lower()
    return _NM_PER_UNIT.get(text, _NM_PER_UNIT.get(text.removesuffix("s"), float("nan")))


def _floats(texts: Sequence[str | None]) -> NDArray[np.float64]:
    return np.array([_float(text) for text in texts], dtype=np.float64)


def _float(text: str | None) -> float:
    match = re.match(rf"\s*({NUMBER})", text or "")
    return float(match[1]) if match else float("nan")


def _numbers(text: str | None, count: int) -> list[str]:
    """The numbers of a list such as `{400, 410}`; none if there is not one a band."""
    numbers = re.findall(NUMBER, text or "")
    return numbers if len(numbers) == count else []


def _table_columns(rows: list[list[str]]) -> dict[str, list[str]] | None:
    """The columns of a text table by name, None where there is no wavelength among them."""
    if not rows:
        return None
    heading = [_plain(cell) for cell in rows[0]]
    if any(re.fullmatch(NUMBER, cell) is None for cell in rows[0]):
        rows = rows[1:]
    else:
        heading = ["wavelength", "fwhm"][: len(heading)]
    names = {
        "wavelength": ("wl", *_WAVELENGTH_KEYS),
        "fwhm": _FWHM_KEYS,
        "good": _GOOD_KEYS,
    }
    columns = {
        name: [row[place] if place < len(row) else "" for row in rows]
        for name, keys in names.items()
        for place in _place_of(heading, keys)
    }
    return columns if "wavelength" in columns else None


def _place_of(heading: list[str], keys: tuple[str, ...]) -> Iterator[int]:
    places = [place for place, name in enumerate(heading) if name in keys]
    yield from places[:1]


def _first(tags: Mapping[str, str], keys: tuple[str, ...]) -> str | None:
    return next((tags[key] for key in keys if key in tags), None)


def _plain(key: str) -> str:
    return re.sub(r"[\s_\-()\[\]]+", "", key).lower()


def _is_plain_domain(domain: str) -> bool:
    """Domains with key=value pairs that may speak of wavelengths; IMAGERY has its own, later turn."""
    return domain not in {"IMAGERY", "IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "RPC"} and (
        not domain.startswith(("xml:", "json:"))
    )
