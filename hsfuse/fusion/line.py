"""The threads of one run, with bounded queues between them."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Item = TypeVar("_Item")

_POLL_SECONDS = 0.1


class Line:
    """The threads of one run: whichever stage fails first stops the others, and its error is raised."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._error: BaseException | None = None

    @contextlib.contextmanager
    def stage(self, work: Callable[[], None]) -> Iterator[None]:
        """Run `work` in a thread beside the block, and wait for it at the end of the block."""
        ended = threading.Event()
        thread = threading.Thread(target=self._guarded, args=(work, ended))
        try:
            thread.start()  # waits for the thread to run: a signal may come when it does and nobody has been told
            yield
        except BaseException:
            self._stopped.set()
            raise
        finally:
            if thread.is_alive():
                self._wait(ended)
            if self._error is not None and self._stopped.is_set():
                error, self._error = self._error, None
                raise error

    def _wait(self, ended: threading.Event) -> None:
        """Wait for the end, also when interrupted again and again: what a thread works on is let go only then.

        Not by `Thread.join`: on CPython up to 3.12 an interrupted one takes the thread for ended.
        """
        interrupted: BaseException | None = None
        while not ended.is_set():
            try:
                ended.wait()
            except BaseException as error:  # noqa: BLE001 (raised again once the thread has ended)
                self._stopped.set()
                interrupted = interrupted or error
        if interrupted is not None:
            raise interrupted

    def _guarded(self, work: Callable[[], None], ended: threading.Event) -> None:
        try:
            work()
        except StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001 (carried over to the calling thread)
            self._error = self._error or error
            self._stopped.set()
        finally:
            ended.set()

    def put(self, items: queue.Queue[_Item], item: _Item) -> None:
        """Put an item as soon as there is room, unless the run has stopped."""
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                items.put(item, timeout=_POLL_SECONDS)
                return
        raise StoppedError

    def take(
        self,
        items: queue.Queue[_Item | None],
        waiting: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> Iterator[_Item]:
        """Items until None comes, unless the run has stopped; `waiting` makes a block that each is waited for in."""
        while True:
            with waiting():
                item = self._next(items)
            if item is None:
                return
            yield item

    @property
    def stopped(self) -> bool:
        """Whether a stage has failed."""
        return self._stopped.is_set()

    def stop(self) -> NoReturn:
        """End a stage since another has failed.

        Raises:
            StoppedError: Always.
        """
        raise StoppedError

    def _next(self, items: queue.Queue[_Item | None]) -> _Item | None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Empty):
                return items.get(timeout=_POLL_SECONDS)
        raise StoppedError


class StoppedError(Exception):
    """Another stage has failed."""
