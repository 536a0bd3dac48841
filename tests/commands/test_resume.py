"""`fuse` with `resume`: a run that is killed goes on, with the same bytes in the end; a finished one is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hsfuse.commands.fuse import fuse
from hsfuse.errors import OutputError, RequestError, WorkError
from hsfuse.fusion.tiles import TilePlan, Tiling
from hsfuse.fusion.unfinished import Unfinished
from hsfuse.scenes.packed_rows import PackedRows

from .conftest import as_nouns

if TYPE_CHECKING:
    from .conftest import KnownPair, MakePair

SMALL_BLOCKS = {"BLOCKSIZE": "64"}


class Told:
    """Keeps what is noted, and counts the tiles."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.computed = 0

    def start(self, stage: str, total: int, unit: str = "tiles") -> None:
        pass

    def advance(self, steps: int = 1) -> None:
        self.computed += steps == 1

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def finish(self) -> None:
        pass


def run(pair: KnownPair, folder: Path, **choices: Any) -> Any:
    known: dict[str, Any] = {
        "model": "mtf-glp", "srf": pair.imaging, "psf": pair.imaging, "tile": 18, "overlap": 6,
        "creation_options": SMALL_BLOCKS, "resume": True,
    }  # fmt: skip
    return fuse(pair.hsi, pair.msi, folder / "out.tif", **as_nouns(known | choices))


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from types import SimpleNamespace

    from hsfuse.scenes.packed_rows import PackedRows
    from tests.commands.test_resume import run

    hsi, msi, imaging, folder, writes = sys.argv[1:6]
    honest, seen = PackedRows.write, []

    def write(self, values, valid):
        seen.append(1)
        if len(seen) > int(writes):
            os.kill(os.getpid(), signal.SIGKILL)
        honest(self, values, valid)

    PackedRows.write = write
    uncertainty = Path(folder) / "sigma.tif" if len(sys.argv) > 6 else None
    run(SimpleNamespace(hsi=hsi, msi=msi, imaging=imaging), Path(folder), uncertainty=uncertainty)
"""


def killed(pair: KnownPair, folder: Path, after: int, *more: str) -> None:
    """A run that gets SIGKILL after some writes of rows."""
    words = [sys.executable, "-c", textwrap.dedent(KILLED), pair.hsi, pair.msi, pair.imaging, folder, str(after), *more]
    root = str(Path(__file__).parents[2])
    ended = subprocess.run(
        [str(word) for word in words], env=os.environ | {"PYTHONPATH": os.pathsep.join([root, *sys.path])}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize("uncertainty", [False, True])
def test_a_killed_run_goes_on_and_gives_the_same_bytes(make_pair: MakePair, tmp_path: Path, uncertainty: bool) -> None:
    """With two outputs one may be a batch of rows ahead of the other."""
    pair = make_pair(hsi_hole=(slice(5, 7), slice(10, 13)))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    run(pair, whole, uncertainty=whole / "sigma.tif" if uncertainty else None)
    killed(pair, broken, 1, *(["two"] if uncertainty else []))
    assert not [path for path in broken.iterdir() if not path.name.startswith(".")]
    told = Told()
    run(pair, broken, uncertainty=broken / "sigma.tif" if uncertainty else None, progress=told)
    names = sorted(path.name for path in whole.iterdir())
    assert names == (["out.tif", "sigma.tif"] if uncertainty else ["out.tif"])
    assert sorted(path.name for path in broken.iterdir()) == names
    for name in names:
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    # with two outputs the first had rows and the second none
    assert told.notes == ([] if uncertainty else ["64 of 120 rows are there: going on"])


def test_a_finished_run_is_left_alone(make_pair: MakePair, tmp_path: Path) -> None:
    pair = make_pair()
    assert run(pair, tmp_path).tiles > 1
    before = (tmp_path / "out.tif").stat().st_mtime_ns
    again = run(pair, tmp_path, overwrite=True)
    assert (again.tiles, (again.width, again.height), again.model) == (0, (144, 120), "mtf-glp")
    assert any("is there already, whole" in sentence for sentence in again.warnings)
    assert (tmp_path / "out.tif").stat().st_mtime_ns == before
    with pytest.raises(OutputError, match="exists"):
        run(pair, tmp_path, seed=7)  # another request
    with pytest.raises(OutputError, match="exists"):
        run(pair, tmp_path, resume=False)


def test_what_is_missing_beside_a_finished_output_is_made(make_pair: MakePair, tmp_path: Path) -> None:
    pair = make_pair()
    run(pair, tmp_path)
    beside = {"save_imaging": tmp_path / "imaging.json", "stac": tmp_path / "item.json"}
    output = (tmp_path / "out.tif").stat().st_mtime_ns

    def times() -> list[int]:
        return [path.stat().st_mtime_ns for path in beside.values()]

    added = run(pair, tmp_path, **beside)
    assert added.tiles == 0
    assert any("the time of writing as its datetime" in sentence for sentence in added.warnings)
    made = times()
    again = run(pair, tmp_path, **beside)
    assert (times(), any("time of writing" in sentence for sentence in again.warnings)) == (made, False)
    run(pair, tmp_path, overwrite=True, **beside)
    assert all(after > before for after, before in zip(times(), made, strict=True))
    assert (tmp_path / "out.tif").stat().st_mtime_ns == output
    with pytest.raises(OutputError, match="does not exist: create it first"):
        run(pair, tmp_path, stac=tmp_path / "no" / "item.json")
    with pytest.raises(OutputError, match="cannot be both `output` and `stac`"):
        run(pair, tmp_path, stac=tmp_path / "out.tif")
    (tmp_path / "out.tif").unlink()
    with pytest.raises(OutputError, match=r"imaging\.json exists"):  # of a run that is to be done again
        run(pair, tmp_path, **beside)


def test_what_another_request_has_left_is_not_mixed_in(
    make_pair: MakePair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, told = make_pair(), Told()
    killed(pair, tmp_path, 1)
    clean = tmp_path / "clean"
    clean.mkdir()
    run(pair, clean, model="gsa")
    run(pair, tmp_path, model="gsa", progress=told)
    assert told.notes == ["what is there was made for another request: beginning anew"]
    assert (tmp_path / "out.tif").read_bytes() == (clean / "out.tif").read_bytes()
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_the_tiles_stay_those_of_the_first_run(tmp_path: Path) -> None:
    """What fits into memory may have changed since, and a network's numbers with the tile."""
    first = Unfinished.of(tmp_path / "out.tif", "key")
    assert first.tiling(Tiling(64, 10)) == Tiling(64, 10)
    first.close()
    second = Unfinished.of(tmp_path / "out.tif", "key")
    assert second.tiling(Tiling(48, 10)) == Tiling(64, 10)
    second.close()
    third = Unfinished.of(tmp_path / "out.tif", "another")
    assert third.begun_anew
    assert third.tiling(Tiling(48, 10)) == Tiling(48, 10)
    plan = TilePlan.make(200, 100, 3, tile=48, overlap=10, margin=3).tiled_as(Tiling(64, 8))
    assert (plan.rows.tile, plan.columns.overlap, plan.rows.margin, plan.columns.length) == (64, 8, 3, 200)


def test_a_failure_keeps_what_is_finished_and_says_so(
    make_pair: MakePair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make_pair()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hsfuse.scenes.cog.lay_out", full)
    with pytest.raises(WorkError, match="the finished rows were kept, and `resume` goes on"):
        run(pair, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(PackedRows, "write", full)
    told = Told()
    run(pair, tmp_path, progress=told)  # nothing is left to be written
    assert told.notes == ["120 of 120 rows are there: going on"]
    assert told.computed == 0


def test_two_processes_never_work_on_one_output(make_pair: MakePair, tmp_path: Path) -> None:
    pair = make_pair()
    other = Unfinished.of(tmp_path / "out.tif", "key")
    with pytest.raises(OutputError, match="another process is at work on it"):
        run(pair, tmp_path)
    other.close()
    run(pair, tmp_path)


def test_adapted_weights_cannot_be_gone_on_with(make_pair: MakePair, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="`resume` cannot go on with weights of `adapt_seconds`"):
        run(make_pair(), tmp_path, model="mgdunlss", adapt_seconds=1.0)
