"""`--log FILE` keeps what a run says, however quiet the terminal is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from hsfuse.cli import console
from hsfuse.cli.console import Console, ProgressBar
from hsfuse.errors import SceneError
from hsfuse.progress import one_stage

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import RunHere


def test_a_quiet_run_is_told_in_its_log(hsfuse: RunHere, known_pair: list[str], tmp_path: Path) -> None:
    log, output = tmp_path / "run.log", tmp_path / "out.tif"
    ended = hsfuse("fuse", *known_pair, "-o", output, "-qq", "--log", log)
    assert (ended.status, ended.stderr) == (0, "")
    text = log.read_text(encoding="utf-8")
    assert "INFO fuse: 1 tiles" in text
    assert "INFO fuse: done in" in text
    assert all(f"INFO {stage}: done in" in text for stage in ("open", "imaging model", "fit"))
    assert "tiles of 24 HSI pixels" in text  # what -v says
    assert all(line[:4].isdigit() for line in text.splitlines())


def test_errors_are_appended_and_the_next_run_has_none(hsfuse: RunHere, known_pair: list[str], tmp_path: Path) -> None:
    log, output = tmp_path / "run.log", tmp_path / "out.tif"
    hsfuse("fuse", *known_pair, "-o", output, "--log", log)
    before = log.read_text(encoding="utf-8")
    assert hsfuse("fuse", *known_pair, "-o", output, "--log", log).status == 2
    after = log.read_text(encoding="utf-8")
    assert after.startswith(before)
    assert "ERROR " in after[len(before) :]
    assert "pass --overwrite" in after[len(before) :]
    hsfuse("info", output)
    assert log.read_text(encoding="utf-8") == after


def test_what_is_no_log_is_not_appended_to(hsfuse: RunHere, known_pair: list[str], tmp_path: Path) -> None:
    scene = tmp_path / "scene.tif"
    scene.write_bytes(b"II*\0 what a scene holds")
    ended = hsfuse("fuse", *known_pair, "-o", tmp_path / "out.tif", "--log", scene)
    assert ended.status == 2
    assert "is no log of hsfuse" in ended.stderr
    assert scene.read_bytes() == b"II*\0 what a scene holds"


def test_a_log_that_cannot_be_written(hsfuse: RunHere, known_pair: list[str], tmp_path: Path) -> None:
    ended = hsfuse("fuse", *known_pair, "-o", tmp_path / "out.tif", "--log", tmp_path / "no" / "run.log")
    assert ended.status == 2
    assert "the log cannot be written" in ended.stderr
    assert not (tmp_path / "out.tif").exists()


def test_what_takes_long_is_said_before_it_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    """And what is quick, or refused at once, is not."""
    bar = ProgressBar(silent=False)
    with one_stage(bar, "quick"):
        pass
    assert capsys.readouterr().err == ""
    with one_stage(bar, "imaging model"):
        deadline = time.monotonic() + 20
        said = ""
        while not said and time.monotonic() < deadline:
            time.sleep(0.1)
            said = capsys.readouterr().err
        assert said == "imaging model …\n"
    assert capsys.readouterr().err.startswith("imaging model: done in ")
    with one_stage(ProgressBar(silent=True), "imaging model"):
        time.sleep(3.3)
    assert capsys.readouterr().err == ""


def test_a_stage_that_broke_off_says_nothing_after_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_PATIENCE", 0.2)
    told = Console(as_json=False, quiet=0, verbose=0)
    with pytest.raises(SceneError), told.running({}, debug=False), one_stage(told.progress(), "open"):
        raise SceneError("no scene")
    time.sleep(0.4)
    assert capsys.readouterr().err == ""
