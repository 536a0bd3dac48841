"""What one place says about the bands: texts of metadata as numbers in nanometres."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import SceneError
from hsfuse.files import shown
from hsfuse.scenes.siblings import NUMBER, text_of
from hsfuse.scenes.wavelengths import mostly_known

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_NM_PER_UNIT = {
    "nanometer": 1.0, "nanometre": 1.0, "nm": 1.0,
    "micrometer": 1e3, "micrometre": 1e3, "micron": 1e3, "um": 1e3, "µm": 1e3, "μm": 1e3,
    "angstrom": 0.1, "millimeter": 1e6, "millimetre": 1e6, "mm": 1e6, "meter": 1e9, "metre": 1e9, "m": 1e9,
}  # fmt: skip

# What ENVI allows as a unit of its `wavelength` and no length is.
_OTHER_QUANTITIES = {"index", "wavenumber", "ghz", "mhz"}

# From the far ultraviolet to the thermal infrared: a unit that leads out of this is a wrong one.
_PLAUSIBLE_NM = (50.0, 50_000.0)

# Keys as `plain_key` leaves them.
WAVELENGTH_KEYS = (
    "wavelength", "wavelengths", "centerwavelength", "centrewavelength", "centralwavelength", "wavelengthcenter",
    "wavelengthcentre", "wavelengthnm", "wavelengthum", "netcdfdimwavelength", "netcdfdimwavelengths",
)  # fmt: skip
FWHM_KEYS = ("fwhm", "fwhms", "fullwidthhalfmax", "bandwidth", "fwhmnm", "fwhmum")
UNIT_KEYS = ("wavelengthunits", "wavelengthunit", "wavelengthsunits", "wavelengthsunit", "units")
FWHM_UNIT_KEYS = ("fwhmunits", "fwhmunit", "bandwidthunit", "bandwidthunits")
GOOD_KEYS = ("bbl", "goodwavelengths", "goodbands", "goodwavelength")

# Names of columns that no tag has.
_COLUMN_KEYS = (*WAVELENGTH_KEYS, "wl", "nm", "um", "µm", "lambda", "center", "centre")
_DECIMAL_COMMA = r"[-+]?\d+(?:,\d+)?"
_UNIT_IN_NAME = r"(?:nm|um|[µμ]m|nanomet(?:er|re)s?|micromet(?:er|re)s?)$"


@dataclass(frozen=True, eq=False)
class BandTable:
    """What one place says about the bands; None where it says nothing."""

    wavelength_nm: NDArray[np.float64] | None = None
    """Shape (C,), NaN where a single band has none."""
    fwhm_nm: NDArray[np.float64] | None = None
    """Shape (C,), NaN where a single band has none."""
    good: NDArray[np.bool_] | None = None
    """Shape (C,)."""
    taken_for: str = ""
    """How wavelengths that could mean several things were understood; empty where there is no doubt."""
    passed_over: str = ""
    """What was there and could not be used, and why; empty where nothing."""

    @classmethod
    def of_texts(
        cls,
        columns: Mapping[str, Sequence[str | None]],
        units: Sequence[str | None] | None,
        fwhm_units: Sequence[str | None] | None = None,
    ) -> BandTable:
        """Texts to numbers in nm; a column that fills fewer than half of the bands counts as none.

        Args:
            columns: `wavelength`, and where there are any `fwhm` and `good`, of one text a band.
            units: Of each wavelength; None where nobody says.
            fwhm_units: Of each width, else they are those of the wavelengths.
        """
        numbers = _floats(columns["wavelength"])
        passed_over = _no_wavelengths(numbers, units)
        if passed_over:
            numbers = np.full_like(numbers, np.nan)
        wavelength, factor, taken_for = _in_nm(numbers, units)
        fwhm = _floats(columns.get("fwhm", ()))
        if len(fwhm):
            fwhm = fwhm * _fwhm_factor(fwhm, factor, fwhm_units)
            fwhm[~(fwhm > 0)] = np.nan
        flags = _floats(columns.get("good", ()))
        known = mostly_known(wavelength)
        return cls(
            wavelength if known else None,
            fwhm if mostly_known(fwhm) else None,
            # A single flag of "bad" is worth having, so no half of the bands is asked for here.
            ~(flags == 0) if np.isfinite(flags).any() else None,
            taken_for if known else "",
            passed_over,
        )


def read_band_table(path: Path, count: int) -> BandTable:
    """A text table of band centres, one row a band.

    Columns are separated by commas, semicolons, tabs or spaces; between other separators a comma is that of decimals.
    A heading names them (`wavelength` or `wl`, also with its unit, `fwhm`, `bbl`; others are passed over); without one
    they are wavelength and, if there are two, width, behind a column that numbers or names the bands if there is one.
    Without a unit values below 20 are micrometres.

    Raises:
        SceneError: The file cannot be read, or does not have `count` rows.
    """
    try:
        regular = path.is_file()
    except (OSError, ValueError) as error:
        raise SceneError(f"{shown(path)[:60]}: no file can have this name ({error})") from error
    if not regular:
        raise SceneError(f"{shown(path)}: the wavelength table cannot be read: there is no such file")
    columns, units = _columns(_rows(text_of(path)))
    found = len(columns.get("wavelength", ()))
    if found != count:
        raise SceneError(f"{path}: the table holds {found} wavelengths for {count} bands: give one row a band")
    return BandTable.of_texts(columns, [units.get("wavelength")] * count, [units.get("fwhm")] * count)


def plain_key(key: str) -> str:
    """A key of metadata without letter case, blanks, brackets and the like."""
    return re.sub(r"[\s_\-()\[\]]+", "", key).lower()


# --- tables of text ---


def _rows(text: str) -> list[list[str]]:
    lines = [line.replace('"', "").rstrip(" ,;\t").lstrip(" ") for line in text.splitlines()]
    # A heading may stand behind the sign of a comment, as numpy writes it.
    lines = [line.lstrip("# ") for line in lines if line and (line[0] != "#" or _is_heading(line))]
    for separator in (";", "\t"):
        if lines and all(separator in line for line in lines):
            return [[_with_point(cell.strip()) for cell in line.split(separator)] for line in lines]
    words = [line.split() for line in lines]
    if all(len(row) > 1 and all(re.fullmatch(_DECIMAL_COMMA, word) for word in row) for row in words):
        return [[_with_point(word) for word in row] for row in words]
    return [_cells(line) for line in lines]


def _with_point(cell: str) -> str:
    return cell.replace(",", ".") if re.fullmatch(_DECIMAL_COMMA, cell) else cell


def _cells(line: str) -> list[str]:
    cells = [cell.strip() for cell in re.split(r"[,;\t]", line)]
    if len(cells) > 1 and not any(re.match(NUMBER, cell) for cell in cells):
        return cells  # a heading, of which one name may be several words
    return re.split(r"[,;\s]+", re.sub(r"\s+(?=[(\[])", "", line))


def _is_heading(line: str) -> bool:
    return any(_column_of(cell) == "wavelength" for cell in _cells(line.lstrip("# ")))


def _columns(rows: list[list[str]]) -> tuple[dict[str, list[str]], dict[str, str | None]]:
    """The columns of a text table by name, and the units in their headings; none where none is of wavelengths."""
    if not rows:
        return {}, {}
    names = [] if _are_numbers(rows[0][1:] or rows[0]) else rows[0]
    unnamed = [*[None] * _has_labels(rows), "wavelength", "fwhm"]
    heading = [_column_of(name) for name in names] or unnamed[: len(rows[0])]
    if "wavelength" not in heading:
        return {}, {}
    places = {name: heading.index(name) for name in heading if name is not None}
    cells = rows[1:] if names else rows
    columns = {name: [row[place] if place < len(row) else "" for row in cells] for name, place in places.items()}
    units = {name: re.search(_UNIT_IN_NAME, plain_key(names[place])) for name, place in places.items() if names}
    return columns, {name: unit and unit[0] for name, unit in units.items()}


def _column_of(name: str) -> str | None:
    """Which column a heading stands over."""
    plain = plain_key(name)
    without_unit = re.sub(_UNIT_IN_NAME, "", plain)
    known = (("wavelength", _COLUMN_KEYS), ("fwhm", FWHM_KEYS), ("good", GOOD_KEYS))
    return next((column for column, keys in known if plain in keys or without_unit in keys), None)


def _has_labels(rows: list[list[str]]) -> bool:
    """Whether the first of several columns numbers or names the bands."""
    if len(rows) < 2 or any(len(row) < 2 for row in rows):
        return False
    first = [row[0] for row in rows]
    return not _are_numbers(first) or _are_ordinals(_floats(first))


def _are_numbers(cells: Sequence[str]) -> bool:
    return all(re.fullmatch(NUMBER, cell) is not None for cell in cells)


# --- values ---


def _no_wavelengths(numbers: NDArray[np.float64], units: Sequence[str | None] | None) -> str:
    """Why numbers are no wavelengths, where that is plain."""
    if len(numbers) > 1 and _are_ordinals(numbers):
        return "what it gives as wavelengths counts the bands"
    # The unit of the first number speaks for all.
    unit = next((unit for unit in units or () if unit), "")
    if np.isfinite(numbers).any() and unit.strip().lower() in _OTHER_QUANTITIES:
        return f"what it gives as wavelengths is in '{unit.strip()}', which is no length"
    return ""


def _are_ordinals(numbers: NDArray[np.float64]) -> bool:
    return any(np.array_equal(numbers, np.arange(first, first + len(numbers))) for first in (0, 1))


def _in_nm(
    values: NDArray[np.float64], units: Sequence[str | None] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Wavelengths in nm, the factor of each, and what was taken for what.

    A unit that is missing, unknown or absurd is guessed.
    """
    if not len(values):
        return values, values, ""
    # 20 divides micrometres up to the thermal infrared from nanometres down to the extreme ultraviolet.
    guess = np.where(values < 1e-3, 1e9, np.where(values < 20, 1e3, 1.0))
    factor = np.array([_nm_per_unit(unit) for unit in units or [None] * len(values)])
    absurd = ~((values * factor >= _PLAUSIBLE_NM[0]) & (values * factor <= _PLAUSIBLE_NM[1]))
    factor = np.where(absurd, guess, factor)
    in_nm = values * factor
    in_nm[~(in_nm > 0)] = np.nan
    guessed = absurd & np.isfinite(in_nm)
    if not guessed.any():
        return in_nm, factor, ""
    names = {1.0: "nm", 1e3: "µm", 1e9: "m"}
    return in_nm, factor, f"no usable unit, taken for {' and '.join(names[one] for one in np.unique(factor[guessed]))}"


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


def _floats(texts: Iterable[str | None]) -> NDArray[np.float64]:
    return np.array([_float(text) for text in texts], dtype=np.float64)


def _float(text: str | None) -> float:
    match = re.match(rf"\s*({NUMBER})", text or "")
    return float(match[1]) if match else float("nan")
