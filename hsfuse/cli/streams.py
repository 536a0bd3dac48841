"""Standard output and error that outlive their readers: what cannot be written is dropped and remembered."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDOUT, _STDERR = 1, 2


class _Lasting(io.FileIO):
    """A raw stream whose reader may go away, whose disk may be full."""

    failure: OSError | None = None
    """The first error of writing."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            while (written := super().write(data)) is None:  # a terminal or pipe that does not wait by itself
                select.select([], [self.fileno()], [])
        except OSError as error:
            self.failure = self.failure or error
            return memoryview(data).nbytes
        return written


def make_lasting() -> None:
    """Put streams that never raise in the place of standard output and error, unless someone else has done so.

    A closed one is opened for reading: the next file that anyone opens would get its number, and be written to by
    whatever prints. What an encoding has no letters for is written as an escape, as Python does on stderr.
    """
    _fill_closed()
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(_STDOUT, _encoding(sys.stdout))
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_STDERR, _encoding(sys.stderr))


def failure_of_stdout() -> str | None:
    """Why something that was printed has not arrived; None if all has."""
    try:
        sys.stdout.flush()
    except OSError as error:  # a stream that is not ours
        return error.strerror
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    failure = raw.failure if isinstance(raw, _Lasting) else None
    if failure is None:
        return None
    return "it is closed" if failure.errno == errno.EBADF else failure.strerror


def _fill_closed() -> None:
    while (opened := os.open(os.devnull, os.O_RDONLY)) <= _STDERR:
        pass
    os.close(opened)


def _encoding(stream: io.TextIOBase | None) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def _text(number: int, encoding: str) -> io.TextIOWrapper:
    raw = _Lasting(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=True
    )  # fmt: skip
