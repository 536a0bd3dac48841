"""Every method fuses within `--memory`, in a process that gets little more: one that outgrows it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

import hsfuse as package
from hsfuse.fusion.methods import METHODS

if TYPE_CHECKING:
    from conftest import WriteRaster

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="RLIMIT_DATA bounds what is mapped on Linux alone"
)
EXAMPLE = Path(__file__).parents[2] / "examples" / "indian-pines"

RUN = """
import resource, sys
limit = int(sys.argv.pop(1)) * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
from hsfuse.cli import main
main()
"""


def told(hsi: Path, msi: Path, output: Path, *words: str, memory_mb: int, limit_mb: int) -> dict[str, Any]:
    """What `hsfuse fuse --json` says, in a process that can have no more memory of its own than a limit."""
    known = ["--srf", "sentinel-2a", "--psf", "gaussian:1", "--memory", f"{memory_mb}M", "--json", "-q"]
    ended = subprocess.run(
        [sys.executable, "-c", RUN, str(limit_mb), "fuse", "--hsi", hsi, "--msi", msi, "-o", output,
         *known, *words],
        capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"PYTHONPATH": str(Path(package.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    content: dict[str, Any] = json.loads(ended.stdout)
    return content


@pytest.mark.parametrize("model", METHODS)
def test_every_method_keeps_to_the_memory_that_it_is_given(model: str, tmp_path: Path) -> None:
    part = ["--hsi-bands", "3-102", "--window", "0,0,48,30", "--model", model]
    ended = told(EXAMPLE / "hsi.tif", EXAMPLE / "msi.tif", tmp_path / "out.tif", *part, memory_mb=1200, limit_mb=1250)
    assert (ended["model"], ended["width"], ended["height"], ended["bands"]) == (model, 144, 90, 100)
    assert 100 < ended["peak_memory_mb"] < 1200


def test_nothing_holds_the_whole_image(write_raster: WriteRaster, tmp_path: Path) -> None:
    """As float32 it would take 475 MB beside the 450 that a small one takes."""
    with rasterio.open(EXAMPLE / "hsi.tif") as hsi, rasterio.open(EXAMPLE / "msi.tif") as msi:
        nm = [float(hsi.tags(band)["wavelength"]) for band in range(3, 103)]
        coarse, fine = np.tile(hsi.read(range(3, 103)), (1, 20, 3)), np.tile(msi.read(), (1, 20, 3))
    tiled = {"tiled": True, "blockxsize": 128, "blockysize": 128}
    paths = write_raster("hsi.tif", coarse, wavelengths=nm, **tiled), write_raster("msi.tif", fine, pixel=10, **tiled)
    ended = told(*paths, tmp_path / "out.tif", "--model", "bicubic", memory_mb=1000, limit_mb=800)
    assert (ended["width"], ended["height"], ended["bands"]) == (432, 2880, 100)
    assert ended["peak_memory_mb"] < 1000
