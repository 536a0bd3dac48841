"""Whatever a command writes: no link is followed, no device replaced, nothing of a killed run stays."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from hsfuse.training.files import TrainingFiles

from .conftest import listing

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Bench

ESTIMATE = ["estimate", "--hsi", "hsi.tif", "--msi", "msi.tif", "--srf", "imaging.json", "--psf", "imaging.json"]
EVALUATE = ["evaluate", "--fused", "hsi.tif", "--reference", "hsi.tif", "--ratio", "3"]
COMPARE = [
    "compare", "--hsi", "hsi.tif", "--msi", "msi.tif", "--srf", "imaging.json", "--psf", "imaging.json",
    "--methods", "bicubic", "--reference", "msi.tif",
]  # fmt: skip
TRAIN = ["train-reduced", "--hsi", "hsi.tif", "--msi", "msi.tif", "--srf", "imaging.json", "--psf", "imaging.json"]
SIMULATE = ["simulate", "--reference", "hsi.tif", "--ratio", "2", "--srf", "sentinel-2a:B3"]
OUTPUTS = {
    "fused.tif": ["-o", "fused.tif"],
    "found.json": [*ESTIMATE, "-o", "found.json"],
    "found.png": [*ESTIMATE, "-o", "other.json", "--plot", "found.png"],
    "scores.csv": [*EVALUATE, "--csv", "scores.csv"],
    "table.csv": [*COMPARE, "--csv", "table.csv"],
    "w.safetensors": [*TRAIN, "-o", "w.safetensors"],
    "w.checkpoint.safetensors": [*TRAIN, "-o", "w.safetensors"],
    "w.csv": [*TRAIN, "-o", "w.safetensors"],
    "w.png": [*TRAIN, "-o", "w.safetensors"],
    "pair/imaging.json": [*SIMULATE, "-o", "pair"],
}


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_overwriting_replaces_only_files(bench: Bench, name: str, kind: str) -> None:
    """Refused before any work is done."""
    target = bench.folder / name
    target.parent.mkdir(exist_ok=True)
    (bench.folder / "mine").write_text("mine")
    if kind == "pipe":
        os.mkfifo(target)
    else:
        target.symlink_to(bench.folder / ("mine" if kind == "link" else "nothing"))
    words = bench.fuse_words(output=name) if name == "fused.tif" else OUTPUTS[name]
    before = target.lstat()
    ended = bench.run(*words, "--overwrite")
    assert ended.status == 2
    assert ("a device or pipe" if kind == "pipe" else "a link") in ended.sentence
    assert (target.lstat().st_mode, target.lstat().st_ino) == (before.st_mode, before.st_ino)
    assert (bench.folder / "mine").read_text() == "mine"
    assert not (bench.folder / "nothing").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "--fused", "absent.tif", "--reference", "absent.tif", "--csv", "link"],
        ["compare", "--hsi", "absent.tif", "--msi", "absent.tif", "--csv", "link"],
        ["estimate", "--hsi", "absent.tif", "--msi", "absent.tif", "-o", "link"],
        ["simulate", "--reference", "hsi.tif", "--ratio", "2", "--srf", "nosuch", "-o", "pair"],
    ],
    ids=lambda words: words[0],
)
def test_what_cannot_be_replaced_is_refused_before_anything_else(bench: Bench, words: list[str]) -> None:
    (bench.folder / "pair").mkdir()
    for name in ("link", "pair/msi.tif"):
        (bench.folder / name).symlink_to("nothing")
    assert "is a link" in bench.run(*words, "--overwrite").sentence


@pytest.mark.parametrize("name", ["found.json", "scores.csv"])
def test_files_have_the_mode_of_the_umask(bench: Bench, name: str) -> None:
    before = os.umask(0o027)
    try:
        assert bench.run(*OUTPUTS[name]).status == 0
    finally:
        os.umask(before)
    assert (bench.folder / name).stat().st_mode & 0o777 == 0o640


def test_names_that_were_guessed_are_not_written_to(bench: Bench) -> None:
    """As someone else might lay out links in a shared folder."""
    for name in (".found.json.part", ".scores.csv.part", "found.json.part"):
        (bench.folder / name).symlink_to(bench.folder / "victim")
    for name in ("found.json", "scores.csv"):
        assert bench.run(*OUTPUTS[name]).status == 0
    assert not (bench.folder / "victim").exists()


def test_a_picture_of_an_unknown_kind_is_refused_before_the_work(bench: Bench) -> None:
    ended = bench.run(*ESTIMATE, "-o", "found.json", "--plot", "found.xyz")
    assert (ended.status, ended.changed) == (2, set())
    assert "found.xyz: the picture's name ends in none of" in ended.sentence


KILL = """
import os, sys
from pathlib import Path
import hsfuse.files as files
honest = files.move_into_place
def die(*words, **more):
    os.kill(os.getpid(), 9)
for name in ("hsfuse.files", "hsfuse.commands.simulate", "hsfuse.models.tensor_file"):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.modules[name].move_into_place = die
import runpy
runpy.run_module("hsfuse", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("name", ["found.json", "scores.csv", "pair/imaging.json"])
def test_the_next_run_clears_away_what_a_killed_one_left(bench: Bench, name: str) -> None:
    before = listing(bench.folder)
    with bench.start_python(KILL, *OUTPUTS[name]) as process:
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    left = listing(bench.folder).keys() - before.keys()
    assert any(".hsi.tif." in path or f".{name}." in path for path in left), left
    assert bench.run(*OUTPUTS[name]).status == 0
    assert not [path for path in listing(bench.folder) if path.rpartition("/")[2].startswith(".")]


def test_the_files_of_a_training_are_checked_early(tmp_path: Path) -> None:
    from hsfuse.errors import OutputError

    files = TrainingFiles(tmp_path / "w.safetensors")
    files.check(resume=False, overwrite=False)
    files.log.symlink_to(tmp_path / "nothing")
    with pytest.raises(OutputError, match=r"w\.csv is a link"):
        files.check(resume=False, overwrite=True)
