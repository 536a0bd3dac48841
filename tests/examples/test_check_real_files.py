"""The script that opens every real file below a folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pytest
    from conftest import WriteRaster

SCRIPT = Path(__file__).parents[2] / "examples" / "check_real_files.py"


def test_a_line_a_file_and_no_end_at_a_bad_one(
    write_raster: WriteRaster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("check_real_files", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    write_raster("a/good.tif", np.arange(1, 217, dtype=np.int16).reshape(3, 9, 8), wavelengths=[400, 500, 600])
    (tmp_path / "a" / "bad.h5").write_bytes(b"nothing")
    assert script.main(tmp_path) == 0
    bad, good = capsys.readouterr().out.splitlines()
    assert bad.startswith("a/bad.h5: refused: ")
    assert good.startswith("a/good.tif: 8 x 9 x 3 (3 good) int16, 400-600 nm, pixel 30 m, EPSG:32633, 100% valid")
