"""Many pairs, one after another in one process; a pair that fails does not stop the rest."""

from __future__ import annotations

import gc
import os
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from hsfuse.errors import OutputError
from hsfuse.files import shown
from hsfuse.fusion.job import WRITTEN_BESIDE, FuseOptions
from hsfuse.fusion.memory import give_back
from hsfuse.pairs.opening import scene_files
from hsfuse.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from hsfuse.pairs.pair import PairRequest, PathLike
    from hsfuse.progress import Progress

_CHOICES = frozenset(FuseOptions.__annotations__) - {"progress"}


class Fused(Protocol):
    """What is known of a pair that was fused."""

    @property
    def seconds(self) -> float:
        """How long it took."""


_Result = TypeVar("_Result", bound=Fused)


@dataclass(frozen=True)
class BatchEntry:
    """One pair of a batch, and what `fuse` is to do with it.

    Raises:
        TypeError: A choice that `fuse` does not know.
    """

    pair: PairRequest
    """The two scenes, not opened yet."""

    output: PathLike
    """The COG to write; its folder is made."""

    choices: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of `fuse`: `model`, `weights`, `compute`, …"""

    name: str = ""
    """How messages call it, such as `line 4`; by default its output."""

    writes: tuple[Path, ...] = ()
    """Files that are written beside the output; those that `choices` name are among them anyway."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.choices) - _CHOICES)
        if unknown:
            raise TypeError(f"fuse has no {', '.join(unknown)}: it has {', '.join(sorted(_CHOICES))}")
        object.__setattr__(self, "output", Path(self.output))
        object.__setattr__(self, "name", self.name or shown(self.output))
        chosen = (self.choices.get(name) for name in WRITTEN_BESIDE)
        written = (*self.writes, *(path for path in chosen if path is not None))
        object.__setattr__(self, "writes", tuple(dict.fromkeys(map(Path, written))))

    @property
    def targets(self) -> tuple[Path, ...]:
        """All files that are written, the output first."""
        return (Path(self.output), *self.writes)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do: files are moved into place whole, so what is there is whole."""
        return all(target.is_file() for target in self.targets) and not self.choices.get("overwrite", False)


@dataclass(frozen=True)
class BatchOutcome(Generic[_Result]):
    """What became of one pair."""

    entry: BatchEntry
    """What was asked for."""

    result: _Result | None = None
    """Of `fuse`; None for a pair that was skipped or failed."""

    error: Exception | None = None
    """Why it failed: an `HsfuseError`, or what nobody foresaw."""

    @property
    def status(self) -> str:
        """`done`, `skipped` or `failed`."""
        if self.error is not None:
            return "failed"
        return "skipped" if self.result is None else "done"


def run_batch(
    entries: Iterable[BatchEntry],
    fuse: Callable[..., _Result],
    *,
    shard: tuple[int, int] = (1, 1),
    progress: Progress = SILENT,
) -> Iterator[BatchOutcome[_Result]]:
    """Fuse many pairs, one after another; what one takes of memory is given back before the next.

    All but `fuse`, the verb that is called with the pair, the output, `progress` and the choices of each, is as of
    `hsfuse.batch`.
    """
    wanted = tuple(entries)
    _refuse_collisions(wanted)
    share = wanted[shard[0] - 1 :: shard[1]]
    _make_folders(share)
    return _run(share, fuse, progress)


def _run(
    entries: Sequence[BatchEntry], fuse: Callable[..., _Result], progress: Progress
) -> Iterator[BatchOutcome[_Result]]:
    for number, entry in enumerate(entries, start=1):
        where = f"{number} of {len(entries)}, {entry.name}"
        if not entry.finished:
            progress.note(f"{where}: {shown(entry.pair.hsi)} → {shown(entry.output)}")
        outcome = _outcome(entry, fuse, progress)
        progress.note(f"{where}: {_told(outcome)}")
        gc.collect()  # cycles hold arrays until then
        give_back()
        yield outcome


def _outcome(entry: BatchEntry, fuse: Callable[..., _Result], progress: Progress) -> BatchOutcome[_Result]:
    if entry.finished:
        return BatchOutcome(entry)
    try:
        return BatchOutcome(entry, fuse(entry.pair, entry.output, progress=progress, **entry.choices))
    except Exception as error:  # noqa: BLE001 (the rest of a night's work is not lost to what nobody foresaw)
        _let_go(error)
        return BatchOutcome(entry, error=error)


def _told(outcome: BatchOutcome[_Result]) -> str:
    if outcome.result is not None:
        return f"done in {outcome.result.seconds:.1f} s"
    return "skipped, the output is there" if outcome.error is None else "failed"


def _let_go(error: BaseException) -> None:
    """Empty the frames that an error and its causes hold, and with them the arrays of the pair."""
    seen: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        found = left.pop()
        if found is None or found in seen:
            continue
        traceback.clear_frames(found.__traceback__)
        seen.append(found)
        left += [found.__cause__, found.__context__]


def _refuse_collisions(entries: Sequence[BatchEntry]) -> None:
    """No file is written by two entries, and no scene of the batch is written over."""
    scenes = {os.path.realpath(scene): entry for entry in entries for scene in scene_files(entry.pair)}
    written: dict[str, BatchEntry] = {}
    for entry in entries:
        for path in entry.targets:
            real = os.path.realpath(path)
            if written.get(real) is entry:
                raise OutputError(f"{entry.name} would write {shown(path)} twice: give each file a name of its own")
            if real in written:
                raise OutputError(
                    f"{written[real].name} and {entry.name} both write {shown(path)}: give each an output of its own"
                )
            if real in scenes:
                raise OutputError(
                    f"{entry.name} would write {shown(path)}, which is a scene of {scenes[real].name}: choose another "
                    "folder or output"
                )
            written[real] = entry


def _make_folders(entries: Sequence[BatchEntry]) -> None:
    for folder in {target.parent for entry in entries for target in entry.targets}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise OutputError(f"{shown(folder)}: the folder cannot be made ({reason}): choose another") from error
