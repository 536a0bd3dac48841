"""Streams that go away, fill up or know few letters: the work goes on, and only a lost result is a failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

from hsfuse.cli.console import ProgressBar

from .conftest import ENVIRONMENT, EXAMPLE

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteRaster

INFO = ["info", str(EXAMPLE / "hsi.tif")]


def in_shell(words: list[str], redirect: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`hsfuse WORDS` under a shell's redirection."""
    command = " ".join(f"'{word}'" for word in [sys.executable, "-m", "hsfuse", *words])
    return subprocess.run(
        ["/bin/sh", "-c", f"{command} {redirect}"],
        capture_output=True, text=True, check=False, cwd=folder, timeout=120, env=ENVIRONMENT | environment,
    )  # fmt: skip


def test_a_closed_stderr_does_not_end_the_work(known_pair: list[str], tmp_path: Path) -> None:
    """Nor do files get its number, into which a library's warnings would be written."""
    ended = in_shell(["fuse", *known_pair, "-o", "out.tif"], "2>&-", tmp_path)
    assert ended.returncode == 0
    assert ended.stdout.startswith("out.tif: ")
    with rasterio.open(tmp_path / "out.tif") as fused:
        assert fused.read().any()
    assert in_shell(["info", "nowhere.tif"], "2>&-", tmp_path).returncode == 2


@pytest.mark.parametrize("words", [["info", "nowhere.tif"], ["fuse"], [*INFO, "--json"]])
def test_nobody_who_reads_stderr_does_not_change_the_status(tmp_path: Path, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-m", "hsfuse", *words, "-v"], stdout=subprocess.PIPE, stderr=writer, check=False,
        cwd=tmp_path, env=ENVIRONMENT,
    )  # fmt: skip
    os.close(writer)
    assert ended.returncode == (0 if "--json" in words else 2)
    assert bool(ended.stdout) == ("--json" in words)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")  # noqa: PTH110
@pytest.mark.parametrize("words", [[*INFO, "--json"], INFO, ["--help"]], ids=["JSON", "table", "help"])
@pytest.mark.parametrize(
    ("redirect", "why"), [(">/dev/full", "No space left on device"), (">&-", "it is closed")], ids=["full", "closed"]
)
def test_a_lost_result_is_one_sentence_and_status_1(tmp_path: Path, words: list[str], redirect: str, why: str) -> None:
    ended = in_shell(words, redirect, tmp_path)
    assert ended.returncode == 1
    assert ended.stderr == f"hsfuse: the result could not be written to standard output: {why}\n"


def test_nobody_who_reads_the_result(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-m", "hsfuse", *INFO], stdout=writer, stderr=subprocess.PIPE, check=False, cwd=tmp_path,
        env=ENVIRONMENT, text=True,
    )  # fmt: skip
    os.close(writer)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert ended.stderr.startswith("hsfuse: the result could not be written to standard output: Broken pipe")


def test_letters_that_ascii_has_not(tmp_path: Path) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    told = in_shell(INFO, "", tmp_path, **ascii_only)
    assert (told.returncode, told.stderr) == (0, "")
    assert "48 \\xd7 48 pixels" in told.stdout
    refused = in_shell(["info", "µ×.tif"], "", tmp_path, **ascii_only)
    assert refused.returncode == 2
    assert refused.stderr.startswith("hsfuse: ")
    assert refused.stderr.count("\n") == 1


def test_names_that_are_no_utf8(tmp_path: Path, write_raster: WriteRaster) -> None:
    path = write_raster("plain.tif", np.ones((2, 9, 9), np.float32))
    odd = os.fsdecode(b"sc\xe8ne.tif")
    path.rename(tmp_path / odd)
    for words in (["info", odd], ["info", odd, "--json"]):
        ended = subprocess.run(
            [sys.executable, "-m", "hsfuse", *words], capture_output=True, check=False, cwd=tmp_path, env=ENVIRONMENT
        )
        assert ended.returncode in {0, 2}
        assert b"Traceback" not in ended.stderr
        assert b"--debug" not in ended.stderr


def test_bars_on_a_terminal_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    from hsfuse.cli import streams

    primary, secondary = os.openpty()
    termios.tcsetwinsize(primary, (24, 80))  # a terminal without rows gets no bar
    stream: Any = streams._text(secondary, "utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    bar = ProgressBar(silent=False)
    bar.start("fuse", 3)
    bar.advance()
    assert b"fuse" in os.read(primary, 1000)
    os.close(primary)
    bar.advance()
    bar.note("a line")
    bar.finish()
    assert stream.buffer.raw.failure is not None
    os.close(secondary)


def test_details_are_hsfuse_s_alone(known_pair: list[str], tmp_path: Path) -> None:
    """What rasterio and numba log at that level is pages."""
    ended = in_shell(["fuse", *known_pair, "-o", "out.tif", "-vv", "--json"], "", tmp_path)
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["output"] == "out.tif"
    assert ended.stderr.count("\n") < 20, ended.stderr
    for word in ("rasterio", "Dataset", "GDAL", "env", "bytecode", "matplotlib"):
        assert word not in ended.stderr


TALK = """
import logging
from hsfuse.cli.console import Console
with Console(as_json=False, quiet={quiet}, verbose={verbose}).running({{}}, debug=False):
    for name in ("hsfuse.scenes", "library", "rasterio._env"):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logging.getLogger(name).log(level, "%s %s", name, logging.getLevelName(level))
"""


@pytest.mark.parametrize(
    ("quiet", "verbose", "ours", "theirs"),
    [(0, 2, 4, 2), (0, 1, 3, 2), (0, 0, 2, 2), (1, 0, 1, 1), (1, 2, 1, 1)],
)
def test_loggers_by_how_much_is_asked_for(quiet: int, verbose: int, ours: int, theirs: int) -> None:
    """Those of libraries have warnings and errors at most, rasterio's nothing: what matters of it is raised."""
    code = TALK.format(quiet=quiet, verbose=verbose)
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT
    ).stderr  # fmt: skip
    assert [said.count(name) for name in ("hsfuse.scenes", "library", "rasterio")] == [ours, theirs, 0]
