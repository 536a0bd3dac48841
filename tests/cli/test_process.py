"""What depends on the process: imports, exit status, and which stream says what."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
import rasterio

from hsfuse import __version__

from .conftest import ENVIRONMENT, EXAMPLE, spawn

if TYPE_CHECKING:
    from pathlib import Path


def test_help_of_every_command_imports_nothing_heavy() -> None:
    """Torch alone takes seconds; help is to answer within one."""
    script = textwrap.dedent("""
        import contextlib, io, sys
        from hsfuse.cli import COMMANDS, hsfuse
        helps = [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS),
                 *(["weights", name, "-h"] for name in ("list", "show", "verify"))]
        for words in helps:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                hsfuse.main(words, standalone_mode=False)
            assert out.getvalue(), words
        heavy = {"torch", "rasterio", "numba", "numpy", "scipy", "rich", "tqdm", "pyproj", "safetensors"}
        print(sorted(heavy & set(sys.modules)))
    """)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert (ended.stdout, ended.returncode) == ("[]\n", 0), ended.stderr


@pytest.mark.parametrize(("chosen", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "active"}, "ACTIVE")])
def test_threads_that_wait_leave_the_cores_to_others(chosen: dict[str, str], expected: str) -> None:
    script = textwrap.dedent("""
        import contextlib, sys
        from hsfuse.cli import main
        sys.argv[1:] = ["--version"]
        with contextlib.suppress(SystemExit):
            main()
        import torch
    """)
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "OMP_WAIT_POLICY"}
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={**environment, "OMP_DISPLAY_ENV": "true", **chosen},
    )  # fmt: skip
    shown = [line for line in ended.stderr.splitlines() if "OMP_WAIT_POLICY" in line]
    if not shown:
        pytest.skip("this OpenMP does not show its environment")
    assert expected in shown[0]


def test_version_and_help_as_a_process(tmp_path: Path) -> None:
    version = spawn(["--version"], tmp_path)
    assert (version.status, version.stdout.split()[-1], version.stderr) == (0, __version__, "")


def test_fuse_as_a_process(tmp_path: Path) -> None:
    """One JSON object on stdout; stages on stderr, a line at either end of each; paths as the user wrote them."""
    pair = ["--hsi", EXAMPLE / "hsi.tif", "--msi", EXAMPLE / "msi.tif", "--srf", "sentinel-2a", "--psf", "gaussian:1"]
    ended = spawn(["fuse", *pair, "-o", "fused.tif", "--json", "--window", "0,0,20,20"], tmp_path)
    assert ended.status == 0, ended.stderr
    content = json.loads(ended.stdout)
    assert ended.stdout.count("\n") == 1
    assert content["output"] == "fused.tif"
    said = ended.stderr.splitlines()
    assert "fuse: 1 tiles" in said
    assert said[said.index("fuse: 1 tiles") + 1].startswith("fuse: done in ")
    assert "\r" not in ended.stderr
    with rasterio.open(tmp_path / "fused.tif") as fused:
        assert (fused.count, fused.width, fused.height) == (200, 60, 60)
    assert [path.name for path in tmp_path.iterdir()] == ["fused.tif"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["info", "nowhere.tif"], "hsfuse: nowhere.tif: there is no such file: check the name\n"),
        (["fuse", "--hsi", "a.tif"], "Missing option"),
        (["melt"], "No such command 'melt'"),
    ],
)
def test_refusals_as_a_process(tmp_path: Path, words: list[str], sentence: str) -> None:
    ended = spawn(words, tmp_path)
    assert (ended.status, ended.stdout) == (2, "")
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())
