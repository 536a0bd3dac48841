"""Reading wavelengths, widths and bad-band flags out of the many places where programs put them.

The places are asked in this order, and each of wavelength, width and flags is taken from the first that has
it: a table that the user names; band tags in any domain; the ENVI domain, or lists like it in any other; the
IMAGERY domain, whose values GDAL itself rounds to whole nanometres; band descriptions; files beside the
raster (`.hdr`, EnMAP's `METADATA.XML`, prismaread's `.wvl`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np

from hsfuse.errors import SceneError
from hsfuse.files import shown
from hsfuse.scenes.bands import Bands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"

_NM_PER_UNIT = {
    "nanometer": 1.0, "nanometre": 1.0, "nm": 1.0,
    "micrometer": 1e3, "micrometre": 1e3, "micron": 1e3, "um": 1e3, "µm": 1e3, "μm": 1e3,
    "angstrom": 0.1, "millimeter": 1e6, "millimetre": 1e6, "mm": 1e6, "meter": 1e9, "metre": 1e9, "m": 1e9,
}  # fmt: skip

# From the far ultraviolet to the thermal infrared: a unit that leads out of this is a wrong one.
_PLAUSIBLE_NM = (50.0, 50_000.0)

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


def read_bands(dataset: Any, table: Path | None = None) -> Bands:
    """The bands of an open rasterio dataset.

    Args:
        dataset: the dataset, a `rasterio.DatasetReader`.
        table: a text file with the wavelengths (`read_band_table`), asked before the dataset itself.

    Raises:
        SceneError: `table` cannot be read, or does not have one row a band.
    """
    places = _places(dataset)
    if table is not None:
        places = (lambda: read_band_table(table, dataset.count), *places)
    wavelength, fwhm, good = _first_answers(places)
    names = tuple(description or "" for description in dataset.descriptions)
    if good is None:
        good = np.ones(dataset.count, dtype=bool)
    if wavelength is not None:
        good = good & np.isfinite(wavelength)
    return Bands(wavelength, fwhm, good, names)


def read_band_table(path: Path, count: int) -> BandTable:
    """A text table of band centres, one row a band.

    Columns are separated by commas, semicolons, tabs or spaces. A heading names them (`wavelength` or `wl`,
    `fwhm`, `bbl`; others are passed over); without one they are wavelength and, if there are two, width.
    Values below 20 are micrometres.

    Raises:
        SceneError: the file cannot be read, or does not have `count` rows.
    """
    try:
        # A pipe would be waited for.
        lines = _text(path).splitlines() if path.is_file() else []
    except (OSError, ValueError) as error:
        raise SceneError(f"{shown(path)}: the wavelength table cannot be read ({error})") from error
    rows = [re.split(r"[,;\s]+", line.strip().replace('"', "")) for line in lines if line.strip()]
    columns = _table_columns(rows)
    if columns is None or len(columns["wavelength"]) != count:
        found = 0 if columns is None else len(columns["wavelength"])
        raise SceneError(f"{path}: the table holds {found} wavelengths for {count} bands: give one row a band")
    return _table(columns, None)


def _places(dataset: Any) -> tuple[Callable[[], BandTable], ...]:
    """Where to look, in order; each is asked only if those before left something open."""
    return (
        lambda: _from_band_tags(dataset),
        lambda: _from_dataset_lists(dataset),
        lambda: _from_imagery(dataset),
        lambda: _from_descriptions(dataset),
        lambda: _from_siblings(dataset),
    )


def _first_answers(
    places: Iterable[Callable[[], BandTable]],
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None, NDArray[np.bool_] | None]:
    wavelength = fwhm = good = None
    for place in places:
        table = place()
        wavelength = table.wavelength_nm if wavelength is None else wavelength
        fwhm = table.fwhm_nm if fwhm is None else fwhm
        good = table.good if good is None else good
        if wavelength is not None and fwhm is not None and good is not None:
            break
    return wavelength, fwhm, good


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
        for key, value in dataset.tags(band, ns=domain).items():
            merged.setdefault(_plain(key), value)
    return merged


def _from_dataset_lists(dataset: Any) -> BandTable:
    domains = [domain for domain in dataset.tag_namespaces() if _is_plain_domain(domain)]
    domains.sort(key=lambda domain: domain.upper() != "ENVI")
    for domain in (*domains, None):
        table = _from_lists(dataset.tags(ns=domain), dataset.count)
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
    tags = [dataset.tags(band, ns="IMAGERY") for band in dataset.indexes]
    columns = {
        "wavelength": [tag.get("CENTRAL_WAVELENGTH_UM") for tag in tags],
        "fwhm": [tag.get("FWHM_UM") for tag in tags],
    }
    return _table(columns, ["um"] * len(tags), ["um"] * len(tags))


def _from_descriptions(dataset: Any) -> BandTable:
    found = [_wavelength_in(description or "") for description in dataset.descriptions]
    columns = {"wavelength": [number for number, _ in found]}
    return _table(columns, [unit for _, unit in found])


def _wavelength_in(description: str) -> tuple[str | None, str | None]:
    """The number with a unit of length in a description, or else the one in brackets at its end."""
    units = r"nm|nanomet\w*|um|[µμ]m|micro(?:n|met)\w*"
    match = re.search(rf"({_NUMBER})\s*({units})\b", description, re.IGNORECASE)
    if match:
        return match[1], match[2]
    match = re.search(rf"\(\s*({_NUMBER})\s*\)\s*$", description)
    return (match[1], None) if match else (None, None)


def _from_siblings(dataset: Any) -> BandTable:
    path = Path(dataset.name)
    if not path.is_file():
        return BandTable()
    for read in (_from_envi_header, _from_enmap_metadata, _from_wvl):
        table = read(path, dataset.count)
        if table.wavelength_nm is not None:
            return table
    return BandTable()


def _from_envi_header(path: Path, count: int) -> BandTable:
    for header in (path.with_suffix(".hdr"), path.with_name(path.name + ".hdr"), path.with_suffix(".HDR")):
        text = _text(header)
        if text.lstrip().startswith("ENVI"):
            pairs = re.findall(r"^\s*([^=\n{}]+?)\s*=\s*(\{[^}]*\}|[^\n]*)", text, re.MULTILINE)
            return _from_lists(dict(pairs), count)
    return BandTable()


def _from_enmap_metadata(path: Path, count: int) -> BandTable:
    metadata = path.with_name(re.sub(r"SPECTRAL_IMAGE.*$", "METADATA.XML", path.name, flags=re.IGNORECASE))
    text = _text(metadata) if metadata != path else ""
    if not text:
        return BandTable()
    try:
        # The file is one of the user's own beside the scene, and expat itself refuses entity bombs.
        root = ET.fromstring(text)  # noqa: S314
    except ET.ParseError:
        return BandTable()
    bands = [band for parent in root.iter("bandCharacterisation") for band in parent.iter("bandID")]
    if len(bands) != count:
        return BandTable()
    columns = {
        "wavelength": [band.findtext("wavelengthCenterOfBand") for band in bands],
        "fwhm": [band.findtext("FWHMOfBand") for band in bands],
    }
    return _table(columns, ["nm"] * count, ["nm"] * count)


def _from_wvl(path: Path, count: int) -> BandTable:
    for table in (path.with_suffix(".wvl"), path.with_name(path.name + ".wvl")):
        if table.is_file():
            try:
                return read_band_table(table, count)
            except SceneError:
                return BandTable()
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
        wavelength if _mostly_known(wavelength) else None,
        fwhm if _mostly_known(fwhm) else None,
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


def _mostly_known(values: NDArray[np.float64]) -> bool:
    return bool(len(values)) and bool(np.isfinite(values).mean() >= 0.5)


def _floats(texts: Sequence[str | None]) -> NDArray[np.float64]:
    return np.array([_float(text) for text in texts], dtype=np.float64)


def _float(text: str | None) -> float:
    match = re.match(rf"\s*({_NUMBER})", text or "")
    return float(match[1]) if match else float("nan")


def _numbers(text: str | None, count: int) -> list[str]:
    """The numbers of a list such as `{400, 410}`; none if there is not one a band."""
    numbers = re.findall(_NUMBER, text or "")
    return numbers if len(numbers) == count else []


def _table_columns(rows: list[list[str]]) -> dict[str, list[str]] | None:
    """The columns of a text table by name, None where there is no wavelength among them."""
    if not rows:
        return None
    heading = [_plain(cell) for cell in rows[0]]
    if any(re.fullmatch(_NUMBER, cell) is None for cell in rows[0]):
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


def _text(path: Path) -> str:
    """A text file of any encoding: UTF-8, or else Latin-1, in which every byte is a letter; empty if there is none."""
    try:
        content = path.read_bytes() if path.is_file() else b""
    except OSError:
        return ""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")
