"""Tiles on other machines: a crew of the workers of a Dask cluster.

Every worker gets the fitted method and the opened pair once, opens its inputs itself, and gives tiles back; blending
and writing stay here, tile after tile in their order, so that the file is the same to the byte as one process makes it
(where the workers compute alike). Tiles of a worker that is lost are computed again by the others.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hsfuse.errors import HsfuseError, RequestError, WorkError
from hsfuse.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from types import TracebackType

    from hsfuse.fusion.engine import TileSource
    from hsfuse.fusion.line import Line
    from hsfuse.fusion.tile_work import Computed, TileWork
    from hsfuse.fusion.tiles import Tile

_CONNECT_SECONDS = 15
_POLL_SECONDS = 0.1

# So many times a tile is computed anew before it is given up: a tile that fells its workers would fell them all.
_TRIES = 5


@dataclass(frozen=True, eq=False)
class _Shared:
    """What a worker keeps for the length of a run."""

    source: TileSource
    work: TileWork

    @cached_property
    def at_home(self) -> TileWork:
        """The work on the best device that the worker has."""
        return self.work.at_home()


def _compute(shared: _Shared, tile: Tile) -> Computed:
    """On a worker: read and compute a tile."""
    return shared.at_home(tile, shared.source.read(tile.window), Stages())


class Cluster:
    """The workers of a Dask cluster; a context manager.

    Raises:
        RequestError: dask.distributed is not installed, or no scheduler answers.
    """

    def __init__(self, address: str) -> None:
        """Connect to a scheduler, such as `tcp://10.0.0.1:8786`, or the path of its JSON file."""
        try:
            import distributed  # noqa: PLC0415 (an extra)
        except ImportError as error:
            raise RequestError("tiles on a cluster need dask.distributed: pip install 'hsfuse[dask]'") from error
        where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
        if "scheduler_file" in where and not Path(address).is_file():  # which Dask would wait for
            raise RequestError(
                f"no Dask scheduler answers at {address} (there is no such file): start one (`dask scheduler "
                f"--scheduler-file {address}`), or check the name"
            )
        try:
            self._client: Any = distributed.Client(  # type: ignore[no-untyped-call]
                **where, timeout=_CONNECT_SECONDS, set_as_default=False
            )
        except (OSError, ValueError) as error:
            raise RequestError(
                f"no Dask scheduler answers at {address} ({error}): start one (`dask scheduler`), or check the address"
            ) from error
        self._address = address

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def computed(
        self, source: TileSource, work: TileWork, tiles: Sequence[Tile], line: Line, stages: Stages
    ) -> Generator[Computed]:
        """The tiles, computed, in their order.

        Raises:
            WorkError: There are no workers, a tile cannot be computed, or the cluster is gone.
        """
        threads = sum(self._client.nthreads().values())
        if not threads:
            raise WorkError(f"the Dask cluster at {self._address} has no workers: start some (`dask worker`)")
        with self._told(), stages.work("to device"):
            shared = self._client.scatter(_Shared(source, work), broadcast=True, hash=False)
        left, pending = iter(tiles), deque[Any]()
        try:
            while True:
                # as many as keep every thread busy while one result is on its way; the sum is of tiles that are held
                while len(pending) < 2 * threads and (tile := next(left, None)) is not None:
                    pending.append(self._client.submit(_compute, shared, tile, pure=False, retries=_TRIES))
                if not pending:
                    return
                with self._told(), stages.wait("compute"):
                    computed = self._result(pending.popleft(), line)
                yield computed
        finally:
            self._client.cancel([*pending, shared], force=True)

    def _result(self, future: Any, line: Line) -> Computed:
        while True:
            if line.stopped:
                line.stop()
            with contextlib.suppress(TimeoutError):
                found: Computed = future.result(timeout=_POLL_SECONDS)
                return found

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the cluster as sentences."""
        try:
            yield
        except HsfuseError:
            raise
        except (OSError, RuntimeError, concurrent.futures.CancelledError, asyncio.CancelledError) as error:
            raise WorkError(f"the Dask cluster at {self._address} failed ({_text(error)}): see its logs") from error
        except Exception as error:
            if type(error).__module__.startswith("distributed"):
                raise WorkError(f"the Dask cluster at {self._address} failed ({_text(error)}): see its logs") from error
            raise


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
