"""`--log FILE`: all that a run says, and what `-v` would add, with the time, however quiet the terminal is."""

from __future__ import annotations

import logging
from pathlib import Path

from hsfuse.errors import OutputError

_said = logging.getLogger("hsfuse.said")  # what the terminal is told by other ways than logging
_said.propagate = False
_said.addHandler(logging.NullHandler())

_file: logging.FileHandler | None = None


def keep(path: str | None) -> None:
    """Append to a file from now on, or to none; the file of the command before is closed.

    Raises:
        OutputError: It cannot be written, or is there and is something else than a log.
    """
    global _file  # noqa: PLW0603 (of the process, as logging is)
    if _file is not None:
        for logger in (logging.getLogger("hsfuse"), _said):
            logger.removeHandler(_file)
        _file.close()
        _file = None
    if path is None:
        return
    if not _is_log(Path(path)):
        raise OutputError(f"{path} is there and is no log of hsfuse: name another file")
    try:
        _file = logging.FileHandler(path, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: the log cannot be written ({error}): name another file") from error
    _file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    _said.setLevel(logging.INFO)
    for logger in (logging.getLogger("hsfuse"), _said):
        logger.addHandler(_file)


def _is_log(path: Path) -> bool:
    """Whether a file may be appended to: it is new or empty, or begins with a date as logs do."""
    if not path.is_file():  # a pipe or a terminal would be waited for
        return True
    try:
        with path.open("rb") as file:
            begun = file.read(5)
    except OSError:
        return True  # what is wrong with it, opening it for writing says
    return not begun or (begun[:4].isdigit() and begun[4:] == b"-")


def record(sentence: str, level: int = logging.INFO) -> None:
    """What the terminal is told, or would be if it were not silenced."""
    _said.log(level, "%s", sentence)
