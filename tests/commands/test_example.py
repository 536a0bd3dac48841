"""The README's first command: the example pair, nothing else said, held against the scene it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from tensorly.datasets import load_indian_pines

from hsfuse.commands.fuse import fuse
from hsfuse.commands.info import info

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXAMPLE = Path(__file__).parents[2] / "examples" / "indian-pines"


@pytest.fixture(scope="module")
def truth() -> NDArray[np.float64]:
    """Counts (200, 144, 144)."""
    return np.asarray(load_indian_pines()["tensor"], np.float64).transpose(2, 0, 1)[:, :144, :144]


def psnr(path: Path, truth: NDArray[np.float64]) -> float:
    with rasterio.open(path) as dataset:
        error = ((dataset.read() - truth) ** 2).mean(axis=(1, 2))
    return float(np.mean(10 * np.log10(truth.max(axis=(1, 2)) ** 2 / error)))


def test_the_pair_is_small_and_can_be_fused() -> None:
    assert sum(path.stat().st_size for path in EXAMPLE.iterdir()) < 3e6
    pair = info([EXAMPLE / "hsi.tif", EXAMPLE / "msi.tif"]).pair
    assert pair is not None
    assert (pair.fusible, pair.ratio, pair.overlap, pair.resampled) == (True, 3, (48, 48), False)


def test_the_default_beats_bicubic_by_4_db_and_is_not_behind_mtf_glp(
    truth: NDArray[np.float64], tmp_path: Path
) -> None:
    score = {}
    for model in ("stack", "mtf-glp", "bicubic"):
        chosen = {} if model == "stack" else {"model": model}
        result = fuse(EXAMPLE / "hsi.tif", EXAMPLE / "msi.tif", tmp_path / f"{model}.tif", **chosen)
        assert (result.model, result.ratio, result.bands) == (model, 3, 200)
        score[model] = psnr(tmp_path / f"{model}.tif", truth)
    assert score["stack"] > score["bicubic"] + 4, score
    assert score["stack"] >= score["mtf-glp"], score
