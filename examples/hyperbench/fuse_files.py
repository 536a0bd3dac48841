"""hsfuse's side of `pipeline.py`: fuse the pair that lies in a folder.

    python fuse_files.py FOLDER

FOLDER holds `pair.npz` (`hsi` (C, h, w), `msi` (c, H, W)) and `job.json` (`model`, and as far as they are known `srf`,
(c, C), and `kernel`, the blur of an HSI pixel on MSI pixels). Writes `fused.npy` (C, H, W) and `done.json` with the
seconds that it took.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

import hsfuse
from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse


def fuse(folder: Path) -> None:
    """Fuse the pair in the folder."""
    job = json.loads((folder / "job.json").read_text())
    with np.load(folder / "pair.npz") as pair:
        hsi, msi = pair["hsi"], pair["msi"]
    told = {}
    if job["model"] is not None:
        told["model"] = job["model"]
    if job["srf"] is not None:
        told["srf"] = str(folder / "imaging.json")
        ratio = msi.shape[1] // hsi.shape[1]
        response = SpectralResponse(np.array(job["srf"]), tuple(f"band {band + 1}" for band in range(len(msi))))
        psf = PointSpread.gaussian(ratio, 1.0)  # not looked at where the kernel is not known
        if job["kernel"] is not None:
            told["psf"] = told["srf"]
            psf = PointSpread(np.array(job["kernel"]), ratio)
        ImagingModel(response, psf).save(told["srf"])
    start = time.perf_counter()
    # Nothing to screen for: what lies at the ends of the range was clipped there by the harness.
    fused = hsfuse.fuse_arrays(hsi, msi, screen=False, **told)
    (folder / "done.json").write_text(json.dumps({"seconds": time.perf_counter() - start}))
    np.save(folder / "fused.npy", fused)


if __name__ == "__main__":
    try:
        fuse(Path(sys.argv[1]))
    except hsfuse.HsfuseError as error:
        sys.exit(str(error))
