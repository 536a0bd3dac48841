"""The imaging model Y = X B, P = R X: one object for simulation, estimation, fusion and evaluation alike."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsfuse.errors import ImagingError
from hsfuse.files import written_whole
from hsfuse.imaging.psf import BlurDecimate, PointSpread
from hsfuse.imaging.srf import SpectralResponse

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

FORMAT = "hsfuse-imaging/1"

_MOST_BYTES = 2**26
_MOST_RATIO = 100
_SAME_PIXELS = 1e-3  # of a pixel


@dataclass(frozen=True)
class ImagingModel:
    """What the two sensors see of one fine hyperspectral image X.

    Raises:
        ImagingError: A shift is not finite.
    """

    srf: SpectralResponse
    """R: the MSI's bands out of the HSI's."""

    psf: PointSpread
    """The blur of an HSI pixel, centred."""

    shift: tuple[float, float] = (0.0, 0.0)
    """Where the HSI looks beside its nominal place on the MSI, (x, y) in HSI pixels: the HSI pixel that its grid
    puts at position p shows what the MSI shows at p + shift."""

    residual: dict[str, float] = field(default_factory=dict)
    """Relative residual of an estimated SRF and PSF (`srf`, `psf`); empty where they were given."""

    def __post_init__(self) -> None:
        if not np.isfinite(self.shift).all():
            raise ImagingError(f"the shift between the images is not finite: {self.shift}")

    @property
    def ratio(self) -> int:
        """HSI pixel over MSI pixel."""
        return self.psf.ratio

    @cached_property
    def blur(self) -> BlurDecimate:
        """B, with the shift in it, and without taps that weigh next to nothing."""
        return BlurDecimate(self.psf.shifted(self.shift).trimmed())

    def seen_from(self, matrix: NDArray[np.float64]) -> ImagingModel:
        """The same two sensors with Y on other pixels of the same ratio; see `PointSpread.seen_from`."""
        if np.abs(matrix - np.eye(2)).max() < _SAME_PIXELS:
            return self
        x, y = np.linalg.solve(matrix, np.array(self.shift)).tolist()
        return replace(self, psf=self.psf.seen_from(matrix), shift=(x, y))

    def to_dict(self) -> dict[str, Any]:
        """The content of an `hsfuse-imaging/1` file."""
        wavelength = self.srf.hsi_wavelength_nm
        return {
            "format": FORMAT,
            "ratio": self.ratio,
            "srf": {
                "hsi_wavelength_nm": None if wavelength is None else [float(value) for value in wavelength],
                "msi_bands": list(self.srf.msi_bands),
                "matrix": self.srf.matrix.tolist(),
            },
            "psf": {
                "kernel": self.psf.kernel.tolist(),
                "fwhm_hsi_pixels": list(self.psf.fwhm),
                "pixel_size": "msi",
            },
            "shift_hsi_pixels": {"x": self.shift[0], "y": self.shift[1]},
            "residual": {name: value if math.isfinite(value) else None for name, value in self.residual.items()},
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any], source: str = "imaging model") -> ImagingModel:
        """Read what `to_dict` wrote.

        Raises:
            ImagingError: The content is of another format or incomplete; `source` names it.
        """
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            found = content.get("format") if isinstance(content, dict) else type(content).__name__
            raise ImagingError(f"{source}: format is {found!r}, expected {FORMAT!r} as hsfuse estimate writes it")
        try:
            return cls(
                _read_srf(content["srf"]),
                PointSpread(_numbers(content["psf"]["kernel"], 2), _read_ratio(content["ratio"])),
                _read_shift(content.get("shift_hsi_pixels")),
                _read_residual(content.get("residual")),
            )
        except ImagingError as error:
            raise ImagingError(f"{source}: {error}") from error
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ImagingError(f"{source}: not a complete imaging model ({error})") from error

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Write the model as JSON, whole or not at all: a file that is there is replaced once the new one is complete.

        Args:
            path: The file.
            overwrite: Replace one that is there.

        Raises:
            OutputError: It cannot be written there, or is there already.
            WorkError: The disk is full or fails.
        """
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"
        with written_whole(path, overwrite=overwrite) as temporary:
            temporary.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ImagingModel:
        """Read a JSON file of `hsfuse estimate` or `simulate`.

        Raises:
            ImagingError: The file is missing, not JSON or not such a model.
        """
        try:
            content = json.loads(read_small_text(Path(path), "imaging model"))
        except json.JSONDecodeError as error:
            raise ImagingError(f"{path}: cannot be read as an imaging model ({error})") from error
        except RecursionError as error:
            raise ImagingError(f"{path}: cannot be read as an imaging model (nested too deeply)") from error
        return cls.from_dict(content, str(path))


def read_small_text(path: Path, kind: str) -> str:
    """The text of a regular file that is not larger than any `kind` could be.

    Raises:
        ImagingError: It is missing, not a regular file, too large or not text.
    """
    try:
        if not path.is_file():
            raise ImagingError(f"{path}: no such file, where an {kind} is expected")
        if path.stat().st_size > _MOST_BYTES:
            raise ImagingError(f"{path}: {path.stat().st_size / 1e6:.0f} MB are more than an {kind} holds")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ImagingError(f"{path}: cannot be read as an {kind} ({error})") from error


def _numbers(values: Any, dimensions: int) -> NDArray[np.float64]:
    """A JSON array of numbers, its shape seen before an array is made of it."""
    rows = values if dimensions == 2 else [values]
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) and row for row in rows):
        raise ImagingError("a list of numbers is empty or missing")
    if len({len(row) for row in rows}) != 1:
        raise ImagingError("the rows of a matrix differ in length")
    if not all(isinstance(value, (int, float)) for row in rows for value in row):
        raise ImagingError("a list of numbers holds something else")
    return np.array(values, dtype=np.float64)


def _read_srf(content: Any) -> SpectralResponse:
    if not isinstance(content, dict) or not isinstance(content["msi_bands"], list):
        raise ImagingError("its SRF is not an object with a list of MSI bands")
    if not all(isinstance(name, str) for name in content["msi_bands"]):
        raise ImagingError("the names of its MSI bands are not text")
    wavelength = content.get("hsi_wavelength_nm")
    centres = None if wavelength is None else _numbers(wavelength, 1)
    if centres is not None and not (np.isfinite(centres) & (centres > 0)).all():
        raise ImagingError("its wavelengths are not positive numbers of nm")
    return SpectralResponse(_numbers(content["matrix"], 2), tuple(content["msi_bands"]), centres)


def _read_ratio(value: Any) -> int:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 1 <= value <= _MOST_RATIO or value % 1:
        raise ImagingError(f"its ratio is a whole number from 1 to {_MOST_RATIO}, not {str(value)[:40]}")
    return int(value)


def _read_shift(content: Any) -> tuple[float, float]:
    if content is None:
        return 0.0, 0.0
    return float(content["x"]), float(content["y"])


def _read_residual(content: Any) -> dict[str, float]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ImagingError("its residual is not an object")
    return {str(name): float(value) for name, value in content.items() if value is not None}
