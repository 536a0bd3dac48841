"""Signals that end a run: every `finally` runs, nothing half-written stays, and a second one does not disturb that."""

from __future__ import annotations

import signal
import threading
import time

_GRACE_SECONDS = 5.0

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
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _ENDING:
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


def settle() -> None:
    """The run is over: a signal that comes now has nothing to end any more, and must not change the status."""
    _State.settled = True


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
