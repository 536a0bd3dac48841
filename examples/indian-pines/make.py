"""Make this folder's example pair out of the AVIRIS Indian Pines scene.

    pip install "hsfuse[example]"
    python examples/indian-pines/make.py --reference reference.tif

The scene (Baumgardner, Biehl, Landgrebe 2015, doi:10.4231/R7RX991C, CC-BY 3.0) comes with the PyPI package
tensorly. It has no georeference; it is put at its published centre in UTM 16N, so its place is approximate. The
pair is what `hsfuse simulate` makes of it; `--reference` keeps the truth as well.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS
from tensorly.datasets import load_indian_pines

from hsfuse.commands.simulate import simulate
from hsfuse.scenes import Bands, CogWriter, Encoding, Grid

CENTRE = (-87.03, 40.46)
"""Longitude and latitude, published to two decimals (about one kilometre)."""
PIXEL = 20.0
"""Metres."""


def write_reference(path: Path) -> None:
    """Write the scene as a GeoTIFF: 145 × 145 pixels, 200 bands, uint16 radiance counts."""
    scene = load_indian_pines()
    image = np.asarray(scene["tensor"], np.float32).transpose(2, 0, 1)
    wavelength = np.array(scene["ticks"][1])
    bands, rows, columns = image.shape
    x, y = Transformer.from_crs(4326, 32616, always_xy=True).transform(*CENTRE)
    corner = round((x - columns / 2 * PIXEL) / PIXEL) * PIXEL, round((y + rows / 2 * PIXEL) / PIXEL) * PIXEL
    grid = Grid(columns, rows, Affine(PIXEL, 0, corner[0], 0, -PIXEL, corner[1]), CRS.from_epsg(32616))
    names = tuple(f"{nm:.2f} nm" for nm in wavelength)
    described = Bands(wavelength, np.full(bands, 10.0), np.ones(bands, dtype=bool), names)
    encoding = Encoding.for_output(bands, "uint16", 0)
    tags = {"SOURCE": str(scene["reference"]), "LICENCE": "CC-BY 3.0", "PLACEMENT": "approximate"}
    with CogWriter(path, grid, described, encoding, tags=tags, overwrite=True) as writer:
        writer.write(0, image, np.ones((rows, columns), dtype=bool))


def main() -> None:
    """Write hsi.tif, msi.tif and imaging.json beside this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, help="also keep the truth, as this file")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="where the pair goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "indian-pines.tif"
        write_reference(source)
        pair = simulate(source, Path(folder) / "pair", ratio=3, srf="sentinel-2a", snr_hsi=35, snr_msi=40).folder
        options.folder.mkdir(parents=True, exist_ok=True)
        for name in ("hsi.tif", "msi.tif", "imaging.json"):
            (options.folder / name).write_bytes((pair / name).read_bytes())
        if options.reference is not None:
            options.reference.write_bytes((pair / "reference.tif").read_bytes())


if __name__ == "__main__":
    main()
