"""Published spectral response tables: those that come with hsfuse, and files that a user brings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import ImagingError
from hsfuse.spelling import did_you_mean

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

TEN_METRE_BANDS = ("B2", "B3", "B4", "B8")
"""What Sentinel-2 means without a choice of bands."""

_MICROMETRES_BELOW = 20.0
_LONGEST_NM = 1e5  # beyond the thermal infrared
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
_BAND_COMMENT = re.compile(r"\bband\s+(?P<name>[\w.+-]+)", re.IGNORECASE)


@dataclass(frozen=True)
class SensorTable:
    """The relative spectral response of a sensor's bands.

    Raises:
        ImagingError: The wavelengths do not increase, a band's name comes twice, sizes disagree, or a band has no
            response.
    """

    name: str
    """Sensor, or the file that the table was read from."""

    wavelength_nm: NDArray[np.float64]
    """Where the responses are sampled, in nm, shape (n,), increasing, not necessarily evenly."""

    bands: tuple[str, ...]
    """Names of the c bands."""

    response: NDArray[np.float64]
    """Relative response, shape (c, n), non-negative, each band's maximum 1; zero outside the wavelengths."""

    source: str = ""
    """Who published it, in the words of the table's header."""

    def __post_init__(self) -> None:
        wavelength = np.asarray(self.wavelength_nm, dtype=np.float64)
        response = np.asarray(self.response, dtype=np.float64)
        if response.shape != (len(self.bands), wavelength.size) or not self.bands:
            raise ImagingError(
                f"{self.name}: {len(self.bands)} bands at {wavelength.size} wavelengths come with responses of "
                f"shape {response.shape}",
            )
        if not np.isfinite(wavelength).all() or (np.diff(wavelength) <= 0).any() or wavelength[0] <= 0:
            raise ImagingError(f"{self.name}: the wavelengths of a response table are positive and increase")
        if wavelength[-1] > _LONGEST_NM:
            raise ImagingError(f"{self.name}: a wavelength of {wavelength[-1]:.4g} nm is beyond {_LONGEST_NM:g} nm")
        doubles = sorted({band for band in self.bands if self.bands.count(band) > 1})
        if doubles:
            raise ImagingError(f"{self.name}: band {', '.join(doubles)} is there more than once")
        # Measured curves dip below zero where there is nothing but the instrument's noise.
        response = np.clip(response, 0, None)
        peak = response.max(axis=1, keepdims=True)
        empty = [band for band, top in zip(self.bands, peak[:, 0], strict=True) if not 0 < top < np.inf]
        if empty:
            raise ImagingError(f"{self.name}: band {', '.join(empty)} has no finite positive response")
        object.__setattr__(self, "wavelength_nm", wavelength)
        object.__setattr__(self, "response", response / peak)

    @property
    def centre_nm(self) -> NDArray[np.float64]:
        """Mean wavelength of each band, weighted by its response, in nm, shape (c,)."""
        weight = self.response * np.gradient(self.wavelength_nm)
        return np.asarray(weight @ self.wavelength_nm / weight.sum(axis=1), dtype=np.float64)

    @property
    def fwhm_nm(self) -> NDArray[np.float64]:
        """Width of each band between the outermost points at half of its maximum, in nm, shape (c,)."""
        return np.array([_width(self.wavelength_nm, row) for row in self.response])

    @property
    def default_bands(self) -> tuple[str, ...]:
        """The bands that a sensor's name means: Sentinel-2's four of 10 m, otherwise all."""
        return TEN_METRE_BANDS if self.name.startswith("sentinel-2") else self.bands

    def select(self, bands: Sequence[str]) -> SensorTable:
        """The table with these bands in this order; case, `-`, `_` and leading zeros (`B02`) do not matter.

        Raises:
            ImagingError: The sensor has no such band.
        """
        known = {_plain_band(band): index for index, band in enumerate(self.bands)}
        unknown = [band for band in bands if _plain_band(band) not in known]
        if unknown:
            raise ImagingError(f"{self.name} has no band {', '.join(unknown)}: it has {', '.join(self.bands)}")
        index = [known[_plain_band(band)] for band in bands]
        names = tuple(self.bands[i] for i in index)
        return SensorTable(self.name, self.wavelength_nm, names, self.response[index], self.source)

    def sampled(self, wavelength_nm: NDArray[np.float64]) -> NDArray[np.float64]:
        """The responses at other wavelengths (nm), linearly interpolated, shape (c, n)."""
        rows = [np.interp(wavelength_nm, self.wavelength_nm, row, left=0, right=0) for row in self.response]
        return np.stack(rows)


def _width(wavelength_nm: NDArray[np.float64], response: NDArray[np.float64]) -> float:
    """Between the outermost crossings of one half, linearly interpolated; what does not fall below ends at the end."""
    above = np.flatnonzero(response >= 0.5)
    edges = []
    for inside, step in ((above[0], -1), (above[-1], 1)):
        outside = inside + step
        if not 0 <= outside < response.size:
            edges.append(wavelength_nm[inside])
            continue
        share = (response[inside] - 0.5) / (response[inside] - response[outside])
        edges.append(wavelength_nm[inside] + share * (wavelength_nm[outside] - wavelength_nm[inside]))
    return float(edges[1] - edges[0])


def sensor_names() -> tuple[str, ...]:
    """The sensors whose tables come with hsfuse."""
    folder = files("hsfuse.imaging") / "sensors"
    return tuple(sorted(entry.name.removesuffix(".csv") for entry in folder.iterdir() if entry.name.endswith(".csv")))


def parse_sensor(text: str) -> SensorTable:
    """The bands of `sentinel-2a` or `sentinel-2a:B2,B3,B4,B8` (or a table's path in place of the name).

    Raises:
        ImagingError: No such sensor, file or band.
    """
    if Path(text).is_file():
        return load_table(text)
    source, _, chosen = text.rpartition(":") if ":" in text else (text, "", "")
    table = load_table(source)
    bands = [band.strip() for band in chosen.split(",") if band.strip()]
    return table.select(bands or table.default_bands)


def load_table(source: str | os.PathLike[str]) -> SensorTable:
    """A sensor's table by its name, or one from a file.

    A file is either columns (wavelength, then one column a band, with a line of names), or ACOLITE's text with one
    block a band under a comment `# ... Band NAME`. Separators are commas, semicolons, tabs or blanks; `#` and `;;`
    start comments; wavelengths are in nm, or in µm if the heading says so or they are below 20.

    Raises:
        ImagingError: No such sensor or file, or the file is not such a table.
    """
    wanted = _plain(str(source))
    for name in sensor_names():
        if _plain(name) == wanted:
            return _bundled(name)
    path = Path(source)
    if not path.is_file():
        near = did_you_mean(path.stem, sensor_names())
        raise ImagingError(f"{source}: no such file and no known sensor{near}; known are {', '.join(sensor_names())}")
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise ImagingError(f"{source}: cannot be read ({error.strerror})") from error
    return _parse(text, str(source))


@cache
def _bundled(name: str) -> SensorTable:
    text = (files("hsfuse.imaging") / "sensors" / f"{name}.csv").read_text(encoding="utf-8")
    return _parse(text, name)


def _parse(text: str, name: str) -> SensorTable:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    source = next((line.lstrip("#; ").partition(":")[2].strip() for line in lines if "source:" in line.lower()), "")
    first = next((line for line in lines if not _is_comment(line)), "")
    if not first:
        raise ImagingError(f"{name}: holds no response table")
    headed = not _NUMBER.match(_split(first)[0])
    blocks = _column_blocks(lines, name) if headed else _comment_blocks(lines, name)
    grid = np.unique(np.concatenate([wavelength for _, wavelength, _ in blocks]))
    rows = [np.interp(grid, wavelength, values, left=0, right=0) for _, wavelength, values in blocks]
    return SensorTable(name, grid, tuple(band for band, _, _ in blocks), np.stack(rows), source)


_BandCurve = tuple[str, "NDArray[np.float64]", "NDArray[np.float64]"]


def _column_blocks(lines: list[str], name: str) -> list[_BandCurve]:
    heading, *body = [line for line in lines if not _is_comment(line)]
    names = _split(heading)
    values = _numbers([_split(line) for line in body], len(names), name)
    wavelength = _in_nm(values[:, 0], names[0])
    order = np.argsort(wavelength)
    return [(band, wavelength[order], values[order, index + 1]) for index, band in enumerate(names[1:])]


def _comment_blocks(lines: list[str], name: str) -> list[_BandCurve]:
    """One block of (wavelength, response[, spread]) a band, named by the comment above it."""
    found: list[tuple[str, list[list[str]]]] = []
    label, comments = "", ""
    for line in lines:
        if _is_comment(line):
            match = _BAND_COMMENT.search(line)
            label = match["name"] if match else label
            comments += line
            continue
        if label or not found:
            found.append((f"B{label}" if label[:1].isdigit() else label or "B1", []))
            label = ""
        found[-1][1].append(_split(line)[:2])
    blocks = []
    for band, rows in found:
        values = _numbers(rows, 2, name)
        wavelength, index = np.unique(_in_nm(values[:, 0], ""), return_index=True)
        blocks.append((band, wavelength, values[index, 1]))
    return blocks


def _numbers(rows: list[list[str]], columns: int, name: str) -> NDArray[np.float64]:
    if columns < 2 or not rows:
        raise ImagingError(f"{name}: a response table has a column of wavelengths and one a band")
    wrong = next((row for row in rows if len(row) != columns), None)
    if wrong is not None:
        raise ImagingError(f"{name}: a line has {len(wrong)} columns where {columns} are expected: {wrong}")
    try:
        return np.array([[float(value or 0) for value in row] for row in rows], dtype=np.float64)
    except ValueError as error:
        raise ImagingError(f"{name}: a response table holds numbers only ({error})") from error


def _in_nm(wavelength: NDArray[np.float64], heading: str) -> NDArray[np.float64]:
    unit = heading.lower()
    micrometres = "um" in re.split(r"[^a-zµμ]+", unit) or "µm" in unit or "μm" in unit or "micro" in unit
    if micrometres or ("nm" not in unit and np.nanmax(wavelength) < _MICROMETRES_BELOW):
        return np.round(wavelength * 1000, 4)
    return wavelength


def _is_comment(line: str) -> bool:
    return line.startswith(("#", ";"))


def _split(line: str) -> list[str]:
    separator = next((mark for mark in (",", ";", "\t") if mark in line.strip()), None)
    return [part.strip() for part in line.strip().split(separator)]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.lower())


def _plain_band(name: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", _plain(name))
