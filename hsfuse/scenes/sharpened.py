"""What is to be told of bands that were sharpened to the pixels of finer ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SharpenedBands:
    """Bands of one coarse scene."""

    bands: tuple[str, ...]
    """Their names, or `band 3` where they have none."""

    pixel: str
    """Size of their own pixels, such as `20 m`."""

    ratio: int
    """Their own pixel over the one that they were sharpened to."""

    fwhm: float
    """Of their point spread against the finer bands, in their own pixels."""

    shift: tuple[float, float]
    """Where they look beside the finer bands, (x, y) in their own pixels."""

    @property
    def sentence(self) -> str:
        """`B05, B06 from 20 m, by the finer bands (FWHM 1.02 of their pixels)`."""
        names = ", ".join(self.bands)
        return f"{names} from {self.pixel}, by the finer bands (FWHM {self.fwhm:.2f} of their pixels)"
