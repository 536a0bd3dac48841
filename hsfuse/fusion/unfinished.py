"""What an interrupted run has finished, kept beside its output for a later run of the same request."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from hsfuse.errors import OutputError
from hsfuse.files import refuse_one_file, shown, written_whole
from hsfuse.fusion.tiles import Tiling
from hsfuse.pairs.opening import scene_files
from hsfuse.scenes import CogWriter
from hsfuse.scenes.raster import RASTER_ERRORS, open_dataset, tags_of
from hsfuse.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsfuse.pairs.pair import PairRequest

REQUEST_TAG = "HSFUSE_REQUEST"
"""Of an output that was made so that it can be gone on with: the key of its request."""

_STATE, _LOCK = "request.json", "lock"


def request_key(pair: PairRequest, **choices: Any) -> str:
    """A checksum of all that the bytes of an output depend on: the scenes' names, sizes and times, and the choices.

    Args:
        pair: The two scenes.
        choices: Of the run; what JSON does not know counts by its text.
    """
    files = {}
    for file in scene_files(pair):
        with contextlib.suppress(OSError):  # of a server, or a list of names
            found = Path(file).stat()
            files[file] = [found.st_size, found.st_mtime_ns]
    content = {"version": __version__, "pair": asdict(pair.seen_from_anywhere()), "files": files, **choices}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Due:
    """Which of the files that a run is asked for are still to be written."""

    files: Mapping[str, Path]
    """By what they are: `output`, and by their names those of `WRITTEN_BESIDE`."""

    @classmethod
    def of(cls, targets: Mapping[str, Path], key: str | None, *, overwrite: bool) -> Due:
        """All of them, or what is missing beside outputs that a run of the same request has finished.

        Args:
            targets: Every file that is asked for.
            key: Of the request, see `request_key`; None where nothing is gone on with.
            overwrite: Write again what stands beside finished outputs.

        Raises:
            RequestError: One that is due could not be written, or two of the files are one.
        """
        outputs = {name: path for name, path in targets.items() if name in {"output", "uncertainty"}}
        finished = key is not None and all(_is_finished(path, key) for path in outputs.values())
        files = {
            name: path
            for name, path in targets.items()
            if not finished or (name not in outputs and (overwrite or not path.exists()))
        }
        for path in files.values():
            CogWriter.check_target(path, overwrite=overwrite)
        refuse_one_file(targets)
        return cls(files)

    @property
    def fusing(self) -> bool:
        """Whether the output is among them."""
        return "output" in self.files


def _is_finished(output: Path, key: str) -> bool:
    if not output.is_file():
        return False
    try:
        with open_dataset(output) as dataset:
            return tags_of(dataset).get(REQUEST_TAG) == key
    except RASTER_ERRORS:
        return False


@dataclass
class Unfinished:
    """The folder of one output; only one process works in it at a time."""

    folder: Path
    """Beside the output, hidden."""

    begun_anew: bool
    """Whether there was something in it that was made for another request, and is gone."""

    _lock: IO[str]

    @classmethod
    def of(cls, output: Path, key: str) -> Unfinished:
        """Make or take over the folder of an output.

        Args:
            output: The file that is to be written.
            key: Of the request, see `request_key`.

        Raises:
            OutputError: Another process works on it, or the folder cannot be made.
        """
        folder = _folder(output)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            lock = (folder / _LOCK).open("w")
        except OSError as error:
            raise OutputError(f"{shown(output)}: nothing can be kept beside it ({error.strerror})") from error
        if not _locked(lock):
            lock.close()
            raise OutputError(f"{shown(output)}: another process is at work on it: wait for its end")
        state = folder / _STATE
        found = _read(state)
        anew = found is not None and found.get("key") != key
        if found is None or anew:
            for entry in folder.iterdir():
                if entry.name != _LOCK:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            _write(state, {"key": key})
        return cls(folder, anew, lock)

    @property
    def rows(self) -> Path:
        """Folder for finished rows."""
        rows = self.folder / "rows"
        rows.mkdir(exist_ok=True)
        return rows

    def tiling(self, now: Tiling) -> Tiling:
        """The tiling that the run began with: what fits into memory may have changed since."""
        state = _read(self.folder / _STATE) or {}
        if "tiling" not in state:
            _write(self.folder / _STATE, state | {"tiling": asdict(now)})
            return now
        return Tiling(**state["tiling"])

    def close(self) -> None:
        """Let others work in it."""
        self._lock.close()

    def remove(self) -> None:
        """The output is there."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


def forget(output: Path) -> None:
    """Remove what an interrupted run has left of an output that is there now; failing at it is no fault."""
    folder = _folder(output)
    with contextlib.suppress(OSError), (folder / _LOCK).open("r+") as lock:
        if _locked(lock):
            shutil.rmtree(folder, ignore_errors=True)


def _folder(output: Path) -> Path:
    return output.with_name(f".{output.name.encode()[:200].decode('utf-8', 'ignore')}.unfinished")


def _locked(lock: IO[str]) -> bool:
    """Take a lock that goes with the process; True where the system has none."""
    try:
        import fcntl  # noqa: PLC0415 (POSIX)
    except ImportError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _read(state: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(state: Path, content: dict[str, Any]) -> None:
    with written_whole(state, overwrite=True) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
