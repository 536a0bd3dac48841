"""The scenes that are fused: the example's, and pairs made of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio

import hsfuse

if TYPE_CHECKING:
    from hsfuse.pairs.pair import Pair

EXAMPLE = Path(__file__).parents[2] / "indian-pines"
RATIO = 3


@cache
def example() -> Pair:
    """The example pair, its imaging model known."""
    return hsfuse.open_pair(EXAMPLE / "hsi.tif", EXAMPLE / "msi.tif", srf="sentinel-2a", psf="gaussian:1")


def simulated(folder: Path, edge: int) -> Pair:
    """A pair of which the truth, `reference.tif` in the folder, is known: the example's HSI, mirrored to `edge`²."""
    with rasterio.open(EXAMPLE / "hsi.tif") as source:
        cube, profile = source.read(), source.profile
        tags = [source.tags(band) for band in source.indexes]
    more = [(0, 0), *((0, edge - size) for size in cube.shape[1:])]
    cube = np.pad(cube, more, "symmetric")
    layout = {"driver": "GTiff", "width": edge, "height": edge, "compress": None}
    with rasterio.open(folder / "reference.tif", "w", **{**profile, **layout}) as target:
        target.write(cube)
        for band, told in enumerate(tags, 1):
            target.update_tags(band, **told)
    made = folder / "pair"
    hsfuse.simulate(folder / "reference.tif", made, ratio=RATIO, srf="sentinel-2a:B2,B3,B4,B8", snr_hsi=35, snr_msi=40)
    return hsfuse.open_pair(made / "hsi.tif", made / "msi.tif", srf="sentinel-2a:B2,B3,B4,B8", psf="gaussian:1")
