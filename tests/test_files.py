"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hsfuse.errors import OutputError, WorkError
from hsfuse.files import check_target, move_together, remove_abandoned, temporary_folder, written_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_with_the_mode_of_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        with written_whole(tmp_path / "a.csv") as temporary:
            temporary.write_text("1,2\n")
            assert temporary.suffix == ".csv"
            assert not (tmp_path / "a.csv").exists()
    finally:
        os.umask(previous)
    assert names(tmp_path) == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "1,2\n"
    assert (tmp_path / "a.csv").stat().st_mode & 0o777 == 0o640


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("old")

    def break_off() -> None:
        with written_whole(tmp_path / "a.csv", overwrite=True) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert names(tmp_path) == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "old"


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"a\.csv: cannot be written \(No space"), written_whole(tmp_path / "a.csv"):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "dangling", "pipe", "folder"):
        with pytest.raises(OutputError, match=name), written_whole(tmp_path / name, overwrite=True):
            pass
    with pytest.raises(OutputError, match="a device or pipe"):
        check_target("/dev/null", overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"
    assert len(names(tmp_path)) == 5


def test_a_link_that_comes_meanwhile_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine")

    def write() -> None:
        with written_whole(tmp_path / "a", overwrite=True) as temporary:
            temporary.write_text("new")
            (tmp_path / "a").symlink_to(tmp_path / "other")

    with pytest.raises(OutputError, match="a link"):
        write()
    assert (tmp_path / "other").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("x" * 256, "256 bytes"), ("ä" * 130 + ".tif", "264 bytes"), ("a\0b", "not the name"),
        ("nowhere/a.tif", "nowhere does not exist"), (".", "is a folder"), ("..", "is a folder"),
        ("a\udcff.tif", r"a\\xff\.tif: the name is not UTF-8"),
    ],
)  # fmt: skip
def test_names_that_cannot_be_written(tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(OutputError, match=sentence):
        check_target(tmp_path / name)


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    name = "ä" * 125 + ".json"
    with written_whole(tmp_path / name) as temporary:
        temporary.write_text("{}")
    assert names(tmp_path) == [name]


def test_an_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(OutputError, match="exists"):
        check_target(tmp_path / "a")
    check_target(tmp_path / "a", overwrite=True)


LEAVE = """
import os, sys
from pathlib import Path
from hsfuse.files import temporary_folder, written_whole
target = Path(sys.argv[1])
(temporary_folder(target) / "rows.tif").write_text("half")
with written_whole(target) as temporary:
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    (tmp_path / ".out.tif.mine").write_text("not ours")
    mine = temporary_folder(target)
    other = temporary_folder(tmp_path / "other.tif")
    ended = subprocess.run([sys.executable, "-c", LEAVE, target], check=False, cwd=Path(__file__).parents[1])
    assert ended.returncode == -9
    assert len(names(tmp_path)) == 5
    remove_abandoned(target)
    assert names(tmp_path) == sorted([".out.tif.mine", mine.name, other.name])


@pytest.mark.parametrize("old", [None, "old"])
def test_files_are_moved_together_or_not_at_all(tmp_path: Path, old: str | None) -> None:
    """The second one is gone when its turn comes: the first one's place is as it was."""
    targets = [tmp_path / "a", tmp_path / "b"]
    finished = [tmp_path / "made" / target.name for target in targets]
    (tmp_path / "made").mkdir()
    for path in finished[:1]:
        path.write_text("new")
    for target in targets if old else ():
        target.write_text("old")
    with pytest.raises(OSError, match="b"):
        move_together(dict(zip(finished, targets, strict=True)), overwrite=True)
    assert [path.read_text() if path.exists() else None for path in targets] == [old, old]
    for path in finished:
        path.write_text("new")
    move_together(dict(zip(finished, targets, strict=True)), overwrite=True)
    assert [path.read_text() for path in targets] == ["new", "new"]
