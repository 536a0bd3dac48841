"""What the screen finds in real scenes, to look for false alarms: `python screen.py DATA_FOLDER`.

Every raster under the folder that GDAL opens, and every MAT file with an image of rows, columns and bands, is
opened as a user would open it; the table says what was taken as fill, as absent numbers and as suspect, which
bands count as no images, and how long opening took.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from scipy.io import loadmat

from hsfuse.errors import SceneError
from hsfuse.scenes import Scene

_RASTERS = {".tif", ".tiff", ".bsq", ".bil", ".bip", ".img", ".dat", ".jp2", ""}


def from_mat(path: Path, folder: Path) -> Path | None:
    """The largest cube of a MAT file as a GeoTIFF; None if it holds none."""
    cubes = [value for value in loadmat(path).values() if isinstance(value, np.ndarray) and value.ndim == 3]
    if not cubes:
        return None
    cube = np.moveaxis(max(cubes, key=np.size), -1, 0)
    if cube.dtype.kind not in "iuf":
        return None
    target = folder / f"{path.stem}.tif"
    with rasterio.open(
        target, "w", driver="GTiff", width=cube.shape[2], height=cube.shape[1], count=len(cube), dtype=cube.dtype
    ) as dataset:
        dataset.write(cube)
    return target


def row(name: str, path: Path) -> str:
    """One line of the table."""
    started = time.monotonic()
    try:
        scene = Scene.open(path)
    except SceneError as error:
        return f"| {name} | not opened: {str(error).removeprefix(str(path))[:80]} | | | | |"
    seconds = time.monotonic() - started
    shares = {
        kind: ", ".join(
            (f"{finding.value:g}: " if finding.value is not None else "") + f"{100 * finding.share:.3g} %"
            for finding in scene.screen.findings
            if finding.kind == kind
        )
        for kind in ("fill", "absent", "suspect")
    }
    idle = "; ".join(f"{band + 1} {reason}" for band, reason in sorted(scene.idle_bands.items())[:4])
    return f"| {name} | {shares['fill']} | {shares['absent']} | {shares['suspect']} | {idle} | {seconds:.2f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with scenes")
    data: Path = parser.parse_args().data
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    print("| scene | fill | absent | suspect | no images | seconds |\n| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(data.rglob("*")):
            name = str(path.relative_to(data))
            if path.suffix.lower() == ".mat":
                raster = from_mat(path, Path(folder))
                if raster is not None:
                    print(row(name, raster), flush=True)
            elif path.is_file() and path.suffix.lower() in _RASTERS:
                print(row(name, path), flush=True)


if __name__ == "__main__":
    main()
