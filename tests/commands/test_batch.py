"""Many pairs in one process."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rasterio

import hsfuse
from hsfuse.errors import OutputError, SceneError
from hsfuse.pairs.pair import Pair

if TYPE_CHECKING:
    from .conftest import KnownPair, MakePair


class Heard:
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, stage: str, total: int, unit: str = "tiles") -> None: ...
    def advance(self, steps: int = 1) -> None: ...
    def finish(self) -> None: ...

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


@pytest.fixture
def request_of(pair: KnownPair) -> hsfuse.PairRequest:
    return hsfuse.PairRequest(pair.hsi, pair.msi, srf=pair.imaging, psf=pair.imaging)


def quick(request: hsfuse.PairRequest, output: Path, **choices: Any) -> hsfuse.BatchEntry:
    return hsfuse.BatchEntry(request, output, {"model": "bicubic"} | choices)


def test_a_pair_that_fails_does_not_stop_the_rest_and_what_is_there_is_skipped(
    request_of: hsfuse.PairRequest, tmp_path: Path
) -> None:
    out, heard = tmp_path / "out" / "deep", Heard()
    nowhere = hsfuse.PairRequest(tmp_path / "nowhere.tif", request_of.msi)
    entries = [
        quick(request_of, out / "a.tif"),
        quick(nowhere, out / "b.tif"),
        quick(request_of, out / "c.tif", form=hsfuse.OutputFormat("float32")),
    ]
    outcomes = list(hsfuse.batch(entries, progress=heard))
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    assert [outcome.entry for outcome in outcomes] == entries
    assert isinstance(outcomes[1].error, SceneError)
    assert sorted(path.name for path in out.iterdir()) == ["a.tif", "c.tif"]
    with rasterio.open(out / "c.tif") as fused:
        assert fused.dtypes[0] == "float32"
    assert len(heard.notes) == 6
    assert heard.notes[2].startswith("2 of 3, ")
    before = (out / "a.tif").read_bytes()
    again = list(hsfuse.batch(entries))
    assert [outcome.status for outcome in again] == ["skipped", "failed", "skipped"]
    assert (out / "a.tif").read_bytes() == before
    (replaced,) = hsfuse.batch([quick(request_of, out / "a.tif", overwrite=True)])
    assert replaced.status == "done"


def test_an_outcome_comes_as_soon_as_its_pair_is_done(request_of: hsfuse.PairRequest, tmp_path: Path) -> None:
    outcomes = hsfuse.batch([quick(request_of, tmp_path / name) for name in ("a.tif", "b.tif")])
    assert not (tmp_path / "a.tif").exists()
    assert next(outcomes).status == "done"
    assert ((tmp_path / "a.tif").exists(), (tmp_path / "b.tif").exists()) == (True, False)


def test_no_pair_is_held_when_the_next_begins(
    request_of: hsfuse.PairRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by a result nor by the frames of an error, which nobody foresaw and which comes out of a third."""
    from hsfuse.commands import fuse as home

    def failing() -> None:
        try:
            {}["first"]
        except KeyError as error:
            raise ValueError("a fault of the program") from error

    def pairs() -> int:
        gc.collect()
        return sum(type(thing) is Pair for thing in gc.get_objects())

    before = pairs()
    monkeypatch.setattr(home, "peak_megabytes", failing)  # the last that fuse asks for
    outcomes = hsfuse.batch([quick(request_of, tmp_path / name) for name in ("a.tif", "b.tif")])
    failed = next(outcomes)
    assert isinstance(failed.error, ValueError)
    assert failed.error.__traceback__ is not None  # where it was is still told
    assert pairs() == before
    monkeypatch.undo()
    done = next(outcomes)
    assert (done.status, pairs()) == ("done", before)


def test_what_would_be_written_twice_or_over_a_scene_is_refused_before_anything_is_done(
    request_of: hsfuse.PairRequest, make_pair: MakePair, tmp_path: Path
) -> None:
    a, scene = tmp_path / "out" / "a.tif", Path(request_of.hsi)
    report = tmp_path / "report.html"
    for entries, words in (
        ([quick(request_of, a), quick(request_of, tmp_path / "out" / ".." / "out" / "a.tif")], "both write"),
        ([quick(request_of, a), quick(request_of, scene, overwrite=True)], "is a scene of"),
        ([quick(request_of, scene.parent / "x" / ".." / "hsi.tif")], "is a scene of"),
        (
            [hsfuse.BatchEntry(request_of, tmp_path / name, name=name, writes=(report,)) for name in ("x", "y")],
            "x and y both write",
        ),
        ([quick(request_of, name, uncertainty=report) for name in (a, tmp_path / "b.tif")], "both write"),
        ([quick(request_of, a, uncertainty=a)], "a.tif would write .*a.tif twice"),
        ([quick(request_of, a, uncertainty=scene, overwrite=True)], "is a scene of"),
        ([quick(request_of, a), quick(request_of, scene / "b.tif")], "the folder cannot be made"),
        ([quick(request_of, a, uncertainty=scene / "sigma.tif")], "the folder cannot be made"),
    ):
        with pytest.raises(OutputError, match=words):
            hsfuse.batch(entries)
    assert not a.exists()
    assert scene.stat().st_size > 1000


def test_a_pair_is_finished_when_all_of_its_files_are_there(request_of: hsfuse.PairRequest, tmp_path: Path) -> None:
    entry = quick(request_of, tmp_path / "a.tif", uncertainty=tmp_path / "sigma" / "a.tif")
    assert [outcome.status for outcome in hsfuse.batch([entry])] == ["done"]
    assert [outcome.status for outcome in hsfuse.batch([entry])] == ["skipped"]
    (tmp_path / "sigma" / "a.tif").unlink()
    (outcome,) = hsfuse.batch([entry])
    assert (outcome.status, "a.tif exists" in str(outcome.error)) == ("failed", True)


def test_choices_are_keywords_of_fuse(request_of: hsfuse.PairRequest, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"fuse has no modell: it has .*model"):
        hsfuse.BatchEntry(request_of, tmp_path / "a.tif", {"modell": "gsa"})


def test_no_entries_are_no_outcomes() -> None:
    assert list(hsfuse.batch([])) == []
