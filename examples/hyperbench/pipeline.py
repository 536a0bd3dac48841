"""hsfuse as a pipeline of HyperBench: `hyperbench run --pipeline-module pipeline.py --pipeline-name METHOD …`.

This module is loaded by HyperBench and needs NumPy and SciPy alone. HyperBench pins a NumPy that hsfuse does not run
with, so the two live in environments of their own: the images go through files to `fuse_files.py`, which is started by
the Python that `HSFUSE_PYTHON` names.

METHOD is any of hsfuse's (`stack`, `bayes`, `hysure`, …), which is then told the SRF and the PSF that the harness hands
to every pipeline; `METHOD-blind` is told neither and estimates them. Without a name it is hsfuse's default.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.signal import convolve2d

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FUSE = Path(__file__).parent / "fuse_files.py"
"""What runs in hsfuse's environment."""

BLIND = "-blind"
"""Ends the name of a method that is told neither SRF nor PSF."""


def run_pipeline(
    HR_MSI: NDArray[np.float32],
    LR_HSI: NDArray[np.float32],
    srf: NDArray[np.float32],
    psf: NDArray[np.float32] | None = None,
    metadata: Mapping[str, Any] | None = None,  # noqa: ARG001 (the harness passes it)
    *,
    method: str | None = None,
    blind: bool = False,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Fuse one case, as HyperBench calls it.

    Args:
        HR_MSI: The MSI, (H, W, c), or (1, H, W, c) where the harness adds a batch's axis.
        LR_HSI: The HSI, (H/r, W/r, C), or with an axis more.
        srf: R, (c, C).
        psf: What the harness blurs with before it takes means of r×r pixels, (k, k).
        metadata: Not needed.
        method: As `hsfuse fuse --model`; None for the default.
        blind: Estimate SRF and PSF from the two images.

    Returns:
        The fused image, (H, W, C), and for the harness's table the seconds of the work itself and whether the PSF was
        `given` or `estimated`, which it also is where it has negative lobes.

    Raises:
        RuntimeError: hsfuse failed; with its words.
    """
    msi, hsi = HR_MSI.reshape(HR_MSI.shape[-3:]), LR_HSI.reshape(LR_HSI.shape[-3:])
    ratio = msi.shape[0] // hsi.shape[0]
    kernel = None if blind or psf is None else blur_of_hsi_pixel(psf, ratio)
    if kernel is not None and kernel.min() < 0:
        kernel = None
    if kernel is not None:
        hsi = lit_from_beyond(hsi, msi, psf, ratio)
    job = {
        "model": method,
        "srf": None if blind else np.asarray(srf, np.float64).tolist(),
        "kernel": None if kernel is None else kernel.tolist(),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "pair.npz", hsi=hsi.transpose(2, 0, 1), msi=msi.transpose(2, 0, 1))
        (folder / "job.json").write_text(json.dumps(job))
        _start(folder)
        seconds = json.loads((folder / "done.json").read_text())["seconds"]
        fused = np.load(folder / "fused.npy").transpose(1, 2, 0)
    return fused, {"psf": "estimated" if kernel is None else "given", "model_inference_time_sec": seconds}


def blur_of_hsi_pixel(psf: NDArray[np.floating[Any]], ratio: int) -> NDArray[np.float64]:
    """What one HSI pixel sees of the MSI's: the harness's PSF, then the mean of r×r pixels.

    The harness convolves, so its kernel is turned round. The sum is 1; where a PSF has negative lobes (`sinc`), this
    may have them too, which hsfuse does not take.
    """
    kernel = convolve2d(np.asarray(psf, np.float64)[::-1, ::-1], np.full((ratio, ratio), ratio**-2))
    return kernel / kernel.sum()


def lit_from_beyond(
    hsi: NDArray[np.floating[Any]], msi: NDArray[np.floating[Any]], psf: NDArray[np.floating[Any]], ratio: int
) -> NDArray[np.float32]:
    """The HSI as if the scene's edge went on beyond the scene, as hsfuse's blur takes it.

    The harness blurs against black, so its HSI grows dark towards the edges (with its default PSF over two HSI pixels),
    as no sensor's does; hsfuse would take that for spectra that differ from the MSI's. What is missing is known in the
    MSI's bands, and taken from there into the HSI's by the regression of the one image on the other, darkened alike.

    Args:
        hsi: (h, w, C).
        msi: (r·h, r·w, c).
        psf: The harness's, (k, k).
        ratio: r.
    """
    guide = np.concatenate([msi, np.ones((*msi.shape[:2], 1))], axis=2)
    dark = blurred(guide, psf, ratio, beyond="constant")
    missing = blurred(guide, psf, ratio, beyond="edge") - dark
    bands = guide.shape[2]
    weights = np.linalg.lstsq(dark.reshape(-1, bands), hsi.reshape(-1, hsi.shape[2]), rcond=None)[0]
    return (hsi + missing @ weights).astype(np.float32)


def blurred(
    image: NDArray[np.floating[Any]], psf: NDArray[np.floating[Any]], ratio: int, *, beyond: str
) -> NDArray[np.float64]:
    """An image (H, W, c) as the harness blurs and shrinks one, with `np.pad`'s mode `beyond` the edges (its: zeros)."""
    reach = len(psf) // 2
    bands = np.pad(np.moveaxis(image, 2, 0), ((0, 0), (reach, reach), (reach, reach)), mode=beyond)
    kernel = np.asarray(psf, np.float64)
    fine = np.stack([convolve2d(band, kernel, mode="valid") for band in bands], axis=2)
    rows, columns = (edge // ratio for edge in image.shape[:2])
    return fine.reshape(rows, ratio, columns, ratio, -1).mean(axis=(1, 3))


def _start(folder: Path) -> None:
    python = os.environ.get("HSFUSE_PYTHON")
    if not python:
        raise RuntimeError("set HSFUSE_PYTHON to the Python of the environment that hsfuse is installed in")
    ended = subprocess.run([python, str(FUSE), str(folder)], capture_output=True, text=True, check=False)  # noqa: S603
    if ended.returncode:
        told = ended.stderr.strip().splitlines() or [f"ended with status {ended.returncode} and no word"]
        raise RuntimeError(f"hsfuse: {told[-1]}")


def __getattr__(name: str) -> partial[tuple[NDArray[np.float32], dict[str, Any]]]:
    """The pipeline of a method, by its name."""
    if name.startswith("_"):
        raise AttributeError(name)
    return partial(run_pipeline, method=name.removesuffix(BLIND), blind=name.endswith(BLIND))
