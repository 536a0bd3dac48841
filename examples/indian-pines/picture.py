"""Make the README's picture: the example's HSI, its MSI and what `hsfuse fuse` makes of the two, side by side.

    python examples/indian-pines/picture.py

The HSI and the fused image are drawn at 2200, 850 and 660 nm, which the MSI's bands do not reach, by `hsfuse quicklook
--swir`; the MSI in natural colours. Every pixel of a scene is a square of the picture: nothing is smoothed.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

import hsfuse

HERE = Path(__file__).parent
EDGE, GAP = 288, 8


def main() -> None:
    """Write before-after.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "before-after.png")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hsfuse.fuse(HERE / "hsi.tif", HERE / "msi.tif", folder / "fused.tif")
        hsfuse.quicklook(HERE / "hsi.tif", folder / "hsi.png", swir=True)
        hsfuse.quicklook(HERE / "msi.tif", folder / "msi.png")
        hsfuse.quicklook(folder / "fused.tif", folder / "fused.png", swir=True)
        panels = [_enlarged(folder / f"{name}.png") for name in ("hsi", "msi", "fused")]
    gap = np.full((3, EDGE, GAP), 255, np.uint8)
    picture = np.concatenate((panels[0], gap, panels[1], gap, panels[2]), axis=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        profile = {"width": picture.shape[2], "height": EDGE, "count": 3, "dtype": "uint8"}
        with rasterio.open(options.output, "w", driver="PNG", **profile) as file:
            file.write(picture)


def _enlarged(path: Path) -> np.ndarray:
    """Colours (3, EDGE, EDGE), each pixel a square."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            colours = file.read((1, 2, 3))
    factor = EDGE // colours.shape[1]
    return colours.repeat(factor, axis=1).repeat(factor, axis=2)


if __name__ == "__main__":
    main()
