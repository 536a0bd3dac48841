"""Open every product and raster below a folder and print what was read of each.

    python examples/check_real_files.py FOLDER

Exit status 1 where a file made anything but a scene or one sentence why it is none.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from hsfuse.errors import HsfuseError
from hsfuse.scenes import PixelWindow, Scene

_SUFFIXES = {".tif", ".tiff", ".jp2", ".h5", ".he5", ".nc", ".hdr", ".vrt", ".zip", ".gz", ".tar", ".safe"}
_PATCH = 64


def describe(scene: Scene) -> str:
    """Size, bands, wavelengths, place, valid share of a patch, sensor and quality in one line."""
    grid, nm = scene.grid, scene.bands.wavelength_nm
    patch = PixelWindow(0, 0, min(_PATCH, grid.width), min(_PATCH, grid.height))
    block = scene.read(patch, [band for band in range(scene.count) if scene.bands.good[band]] or None)
    values = block.values[:, block.valid]
    spectral = "no wavelengths" if nm is None else f"{nm.min():.0f}-{nm.max():.0f} nm"
    numbers = f"{values.min():.4g} to {values.max():.4g}" if values.size else "nothing valid"
    place = "no CRS" if grid.crs is None else grid.crs.to_string()[:30]
    return (
        f"{grid.width} x {grid.height} x {scene.count} ({int(scene.bands.good.sum())} good) {scene.dtype}, {spectral}, "
        f"pixel {grid.describe_pixel()}, {place}, {block.valid.mean():.0%} valid, {numbers}, sensor {scene.sensor}, "
        f"{'with' if scene.quality else 'without'} quality layers"
    )


def main(folder: Path) -> int:
    """Print a line a scene; return the number of files that failed in an unforeseen way."""
    unforeseen = 0
    candidates = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _SUFFIXES]
    folders = [path for path in sorted(folder.rglob("*")) if path.is_dir() and any(path.glob("*MTL.txt"))]
    for path in (*candidates, *folders):
        try:
            said = describe(Scene.open(path))
        except HsfuseError as error:
            said = f"refused: {error}"
        except Exception:  # noqa: BLE001 (what is looked for is just what nobody foresaw)
            said = f"UNFORESEEN: {traceback.format_exc()}"
            unforeseen += 1
        print(f"{path.relative_to(folder)}: {said}")
    return unforeseen


if __name__ == "__main__":
    sys.exit(min(1, main(Path(sys.argv[1]))))
