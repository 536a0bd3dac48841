"""Signals that end a run: every `finally` runs, nothing half-written stays, and a second one does not disturb that."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Protocol

    class _Unraisable(Protocol):
        exc_type: type[BaseException]
        exc_value: BaseException | None
        exc_traceback: TracebackType | None
        err_msg: str | None
        object: object


_log = logging.getLogger(__name__)

_GRACE_SECONDS = 5.0
_AGAIN_SECONDS = 0.05

_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class _State:
    received: signal.Signals | None = None
    """The signal that ends the run."""

    since: float = 0.0
    """When it came, on the monotonic clock."""

    settled: bool = False
    """Whether the run is over, its status known and only the interpreter still at work."""


def listen() -> None:
    """From now on Ctrl-C, SIGTERM and SIGHUP leave the run; under `nohup` the last is ignored, as it was."""
    _State.received, _State.settled = None, False
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _lost
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _ENDING:
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


def settle() -> None:
    """The run is over: a signal that comes now has nothing to end any more, and must not change the status.

    Ignored by the system: the interpreter takes its own handlers away long before it ends.
    """
    _State.settled = True
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)


def received() -> signal.Signals | None:
    """The signal that ends the run, also where a library has made another error of it."""
    return _State.received


def _leave(number: int, frame: object) -> None:  # noqa: ARG001 (signal's)
    """Raise, but not into what already cleans up; later again, since the first may have been swallowed on its way."""
    now = time.monotonic()
    if _State.settled or (_State.received is not None and now - _State.since < _GRACE_SECONDS):
        return
    _State.received, _State.since = signal.Signals(number), now
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _lost(unraisable: _Unraisable) -> None:
    """An exception that Python cannot pass on, as from a function that a C library calls.

    If a signal raised it, the signal is sent again; else it is a detail: libraries fail so at words of a damaged file
    that are no UTF-8, and report the damage itself as well.
    """
    number = _State.received
    if number is not None and isinstance(unraisable.exc_value, (KeyboardInterrupt, SystemExit)):
        _State.received = None
        again = threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()
        return
    _log.debug("ignored in %r: %s: %s", unraisable.object, unraisable.exc_type.__name__, unraisable.exc_value)
