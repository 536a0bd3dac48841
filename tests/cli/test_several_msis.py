"""`--msi` given more than once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ..commands.conftest import make_pair, pair
from ..fusion.test_several_msis import FINE_NAMES, MakeCoarse, make_coarse

if TYPE_CHECKING:
    from pathlib import Path

    from ..commands.conftest import MakePair
    from .conftest import RunHere

__all__ = ["make_coarse", "make_pair", "pair"]


@pytest.fixture
def words(make_pair: MakePair, make_coarse: MakeCoarse) -> list[str | Path]:
    """A pair of two MSIs."""
    files = make_pair(msi=FINE_NAMES)
    return ["--hsi", files.hsi, "--msi", files.msi, "--msi", make_coarse(), "--srf", "sentinel-2a"]


def test_fuse_says_what_it_sharpened(hsfuse: RunHere, words: list[str | Path], tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    ended = hsfuse("fuse", *words, "-o", output, "--model", "gsa", "--json", "-v")
    assert ended.status == 0, ended.stderr
    (told,) = json.loads(ended.stdout)["sharpened"]
    assert (told["bands"], told["pixel"], told["ratio"]) == (["B5", "B6", "B7"], "20 m", 2)
    assert "sharpen B5, B6, B7: done" in ended.stderr
    assert "sharpened: B5, B6, B7 from 20 m" in ended.stderr
    scored = hsfuse("evaluate", "--fused", output, *words, "--json")
    assert scored.status == 0, scored.stderr
    assert [band["name"] for band in json.loads(scored.stdout)["msi_bands"]] == [
        "B2",
        "B3",
        "B4",
        "B8",
        "B5",
        "B6",
        "B7",
    ]


def test_estimate_and_compare_take_several(hsfuse: RunHere, words: list[str | Path], tmp_path: Path) -> None:
    imaging = tmp_path / "imaging.json"
    estimated = hsfuse("estimate", *words, "-o", imaging, "--json")
    assert estimated.status == 0, estimated.stderr
    assert len(json.loads(imaging.read_text())["srf"]["msi_bands"]) == 7
    compared = hsfuse("compare", *words, "--methods", "bicubic,gsa", "--json")
    assert compared.status == 0, compared.stderr
    assert json.loads(compared.stdout)["sharpened"] == json.loads(estimated.stdout)["sharpened"] != []
    assert np.isfinite(json.loads(compared.stdout)["methods"][1]["metrics"]["psnr"])


def test_a_refusal_is_one_sentence(hsfuse: RunHere, words: list[str | Path], tmp_path: Path) -> None:
    ended = hsfuse("fuse", *words, "--msi-wavelengths", "table.txt", "-o", tmp_path / "out.tif")
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert "(--msi-wavelengths) is for one MSI, and 2 were given" in ended.stderr


def test_evaluate_still_asks_for_both(hsfuse: RunHere) -> None:
    ended = hsfuse("evaluate", "--fused", "f.tif", "--hsi", "h.tif")
    assert ended.status == 2
    assert "the MSI is missing" in ended.stderr
