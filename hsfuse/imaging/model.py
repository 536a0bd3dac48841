"""The imaging model Y = X B, P = R X: one object for simulation, estimation, fusion and evaluation alike."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsfuse.errors import ImagingError
from hsfuse.imaging.psf import BlurDecimate, PointSpread
from hsfuse.imaging.srf import SpectralResponse

if TYPE_CHECKING:
    import os

FORMAT = "hsfuse-imaging/1"


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
        """B, with the shift in it."""
        return BlurDecimate(self.psf.shifted(self.shift))

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
            "residual": self.residual,
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
            srf, shift = content["srf"], content.get("shift_hsi_pixels") or {"x": 0.0, "y": 0.0}
            wavelength = srf.get("hsi_wavelength_nm") or None
            return cls(
                SpectralResponse(
                    np.array(srf["matrix"], dtype=np.float64),
                    tuple(srf["msi_bands"]),
                    None if wavelength is None else np.array(wavelength, dtype=np.float64),
                ),
                PointSpread(np.array(content["psf"]["kernel"], dtype=np.float64), int(content["ratio"])),
                (float(shift["x"]), float(shift["y"])),
                dict(content.get("residual") or {}),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ImagingError(f"{source}: not a complete imaging model ({error})") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ImagingModel:
        """Read a JSON file of `hsfuse estimate` or `simulate`.

        Raises:
            ImagingError: The file is missing, not JSON or not such a model.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ImagingError(f"{path}: cannot be read as an imaging model ({error})") from error
        return cls.from_dict(content, str(path))
