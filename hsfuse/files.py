"""Files that are written whole or not at all: the target is checked early, and the finished file moved into place.

What is unfinished lies beside its target under a name that nobody can guess and that tells which process it
belongs to, so that a later run for the same target clears away what a killed one has left.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import stat
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from hsfuse.errors import OutputError, WorkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_LONGEST_NAME = 255
_TRIES = 100

# As of a process on this machine: a number alone may be that of a living one elsewhere on a shared disk.
_HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"


def shown(path: str | os.PathLike[str]) -> str:
    """A path as text that can be printed, also where its bytes are no UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def already_there(path: str | os.PathLike[str]) -> str:
    """What is said of a file that an earlier run of the same request has finished: a sentence for the user."""
    return f"{shown(path)} is there already, whole, as this very request makes it: nothing was left to do"


def check_target(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Find out whether a file could be written, before any work is done for it.

    Args:
        path: The file.
        overwrite: Whether it may replace another one. Only regular files are replaced: never a folder, a device
            or what a link points to.

    Raises:
        OutputError: The name cannot be used, something stands there, or the folder is missing or write-protected.
    """
    target = Path(path)
    _check_name(target)
    try:
        mode = target.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = None
    except OSError as error:
        raise OutputError(f"{shown(path)}: nothing can be written there ({error.strerror})") from error
    if mode is not None:
        _check_replaceable(target, mode, overwrite=overwrite)
    if not target.parent.is_dir():
        raise OutputError(f"{shown(path)}: the folder {shown(target.parent)} does not exist: create it first")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{shown(path)}: the folder {shown(target.parent)} cannot be written to: choose another")
    return target


def refuse_one_file(targets: Mapping[str, str | os.PathLike[str] | None]) -> None:
    """See to it that files to be written, by what they are, are not one; what is None is not written.

    Raises:
        OutputError: Two are.
    """
    names: dict[Path, str] = {}
    for name, path in targets.items():
        if path is None:
            continue
        earlier = names.setdefault(Path(path).resolve(), name)
        if earlier != name:
            raise OutputError(f"{shown(path)} cannot be both `{earlier}` and `{name}`: give two names")


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary file that becomes the target once the block ends without an exception.

        with written_whole("table.csv", overwrite=True) as temporary:
            temporary.write_text(text)

    With an exception it is removed, and the target stays as it was.

    Raises:
        OutputError: As of `check_target`.
        WorkError: The disk is full or fails.
    """
    target = check_target(path, overwrite=overwrite)
    temporary = _made_beside(target, "file", lambda file: file.touch(exist_ok=False), target.suffix[:16])
    try:
        yield temporary
        move_into_place(temporary, target, overwrite=overwrite)
    except OSError as error:
        raise WorkError(f"{shown(path)}: cannot be written ({error.strerror or error}): nothing was kept") from error
    finally:
        temporary.unlink(missing_ok=True)


def move_into_place(finished: Path, target: Path, *, overwrite: bool = False) -> None:
    """Give a finished file its name; what stands there is looked at once more.

    Raises:
        OutputError: As of `check_target`.
        OSError: The file system fails.
    """
    check_target(target, overwrite=overwrite)
    finished.replace(target)


def move_together(files: Mapping[Path, Path], *, overwrite: bool = False) -> None:
    """Give finished files their names, all of them or none: where one fails, what stood at the others comes back.

    Args:
        files: Target by finished file, each in a temporary folder of its own beside its target.
        overwrite: Replace what stands there.

    Raises:
        OutputError: As of `check_target`.
        OSError: The file system fails.
    """
    for target in files.values():
        check_target(target, overwrite=overwrite)
    moved: list[tuple[Path, Path | None]] = []
    try:
        for left, (finished, target) in zip(range(len(files) - 1, -1, -1), files.items(), strict=True):
            former = _kept(target, finished.with_name("former")) if left else None
            move_into_place(finished, target, overwrite=overwrite)
            moved.append((target, former))
    except BaseException:
        for target, former in moved:
            if former is None:
                target.unlink(missing_ok=True)
            else:
                former.replace(target)
        raise


def _kept(target: Path, copy: Path) -> Path | None:
    """A second name for a file that is about to be replaced, or a copy where the file system has no links; None for
    no file.
    """
    if not target.exists():
        return None
    try:
        os.link(target, copy)
    except OSError:
        shutil.copy2(target, copy)
    return copy


def require_room(folder: Path, needed: float, purpose: str, way_out: str) -> None:
    """See to it that a disk has room before anything is written to it.

    Args:
        folder: On the disk.
        needed: Bytes.
        purpose: What for, such as `to write out.tif`.
        way_out: What else the user can do.

    Raises:
        WorkError: It has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise WorkError(
            f"{shown(folder)} has {free / 2**20:.0f} MB free where {needed / 2**20:.0f} MB are needed {purpose}: "
            f"free some, or {way_out}"
        )


def temporary_folder(target: Path) -> Path:
    """A new empty folder beside a target, for what is unfinished of it.

    Raises:
        OutputError: The folder of the target cannot be written to.
    """
    return _made_beside(target, "folder", lambda folder: folder.mkdir(mode=0o700))


def remove_abandoned(target: Path) -> None:
    """Remove what killed processes of this machine have left of a target; failing at it is no fault."""
    if os.name != "posix":
        return
    pattern = re.compile(re.escape(_stem(target)) + rf"\.{_HOST}-(\d+)-[0-9a-f]+(?:\..*)?")
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(target.parent)):
            match = pattern.fullmatch(entry.name)
            if match is None or _is_alive(int(match[1])):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.is_file(follow_symlinks=False):
                Path(entry.path).unlink(missing_ok=True)


def _check_name(target: Path) -> None:
    try:
        name = str(target).encode()
    except UnicodeEncodeError as error:
        raise OutputError(f"{shown(target)}: the name is not UTF-8: choose another") from error
    if b"\0" in name:
        raise OutputError(f"{shown(target)!r} is not the name of a file: choose another")
    if len(target.name.encode()) > _LONGEST_NAME:
        raise OutputError(
            f"{shown(target)[:60]}…: the name has {len(target.name.encode())} bytes, and a file's has at most "
            f"{_LONGEST_NAME}: choose a shorter one"
        )


def _check_replaceable(target: Path, mode: int, *, overwrite: bool) -> None:
    if stat.S_ISDIR(mode):
        raise OutputError(f"{shown(target)} is a folder: give the name of a file")
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "a device or pipe"
        raise OutputError(f"{shown(target)} is {kind}, and only files are replaced: give the name of a file")
    if not overwrite:
        raise OutputError(f"{shown(target)} exists: pass `overwrite=True` to replace it")


def _made_beside(target: Path, kind: str, make: Callable[[Path], None], suffix: str = "") -> Path:
    """What `make` makes under a new name that nobody can guess; what killed processes have left goes before."""
    remove_abandoned(target)
    for _ in range(_TRIES):
        path = target.with_name(f"{_stem(target)}.{_HOST}-{os.getpid()}-{secrets.token_hex(8)}{suffix}")
        try:
            make(path)
        except FileExistsError:
            continue
        except OSError as error:
            folder = shown(target.parent)
            raise OutputError(
                f"{shown(target)}: the folder {folder} cannot be written to ({error.strerror})"
            ) from error
        return path
    raise OutputError(f"{shown(target)}: no temporary {kind} can be made beside it")


def _stem(target: Path) -> str:
    """A hidden name that begins like the target's and leaves room for what follows."""
    return "." + target.name.encode()[:180].decode("utf-8", "ignore")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
