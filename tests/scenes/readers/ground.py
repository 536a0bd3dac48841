"""A ground of textured fields, for products that are to be fused."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .layouts import Content

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def spectra(nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reflectance of four materials: leaves, soil, concrete, water; (4, C)."""
    red_edge = 1 / (1 + np.exp(-(nm - 715) / 15))
    water = sum(depth * np.exp(-(((nm - centre) / 70) ** 2)) for centre, depth in ((1430, 0.6), (1930, 0.8)))
    leaves = 0.05 + 0.05 * np.exp(-(((nm - 550) / 40) ** 2)) + 0.4 * red_edge * np.exp(-((nm - 715).clip(0) / 1500))
    soil = 0.1 + 0.3 * (1 - np.exp(-(nm - 350) / 600))
    return np.stack((leaves * (1 - 0.7 * water), soil * (1 - 0.2 * water), 0.3 + 0 * nm, 0.04 * np.exp(-nm / 900)))


@lru_cache(maxsize=2)
def shares(height: int, width: int) -> NDArray[np.float64]:
    """What each material has of a pixel, (H, W, 4): fields a dozen pixels wide, with a little of their own in each."""
    chance = np.random.default_rng(3)
    row, column = np.mgrid[:height, :width]
    centres = chance.random((max(height * width // 120, 4), 2)) * (height, width)
    nearest, least = np.zeros((height, width), int), np.full((height, width), np.inf)
    for index, (y, x) in enumerate(centres):
        distance = (row - y) ** 2 + (column - x) ** 2
        nearest[distance < least], least = index, np.minimum(distance, least)
    fields = chance.dirichlet(np.full(4, 0.4), len(centres))
    return np.asarray(fields[nearest] * chance.normal(1, 0.03, (height, width, 1)))


@dataclass(frozen=True)
class Ground(Content):
    """Fields of four materials, known `finer` times as fine as the product's pixels."""

    finer: int = 1

    def seen(self, nm: Sequence[float], coarser: int) -> NDArray[np.float64]:
        """Reflectance (C, H, W), in pixels of `coarser` of the finest."""
        fine = shares(self.height * self.finer, self.width * self.finer)
        height, width, materials = fine.shape
        coarse = fine.reshape(height // coarser, coarser, width // coarser, coarser, materials).mean((1, 3))
        return np.asarray(np.einsum("hwk,kc->chw", coarse, spectra(np.asarray(nm, np.float64))))

    def numbers(
        self, nm: Sequence[float], low: int, high: int, scale: float, offset: float = 0.0, coarser: int = 1
    ) -> NDArray[Any]:
        """What `Content` says, of the ground."""
        return np.asarray(np.rint((self.seen(nm, self.finer * coarser) - offset) / scale)).clip(1)

    def reflectance(self, nm: Sequence[float]) -> NDArray[Any]:
        """What `Content` says, of the ground."""
        return self.seen(nm, self.finer)
