"""Read → compute → blend → write: three stages that overlap in time, with bounded queues between them.

One thread reads the tiles in order, the calling thread computes, one thread blends and writes. No stage is more
than two tiles ahead of the next, and the output leaves row by row.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch

from hsfuse.errors import WorkError
from hsfuse.fusion.blend import RowBlender
from hsfuse.fusion.memory import kept_memory
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from hsfuse.fusion.compute import Compute
    from hsfuse.fusion.method import FittedMethod
    from hsfuse.fusion.tiles import Tile, TilePlan
    from hsfuse.progress import Progress
    from hsfuse.scenes import PairBlock, PixelWindow

logger = logging.getLogger(__name__)

_Item = TypeVar("_Item")

_AHEAD = 2
_POLL_SECONDS = 0.1


class TileSource(Protocol):
    """Where tiles are read from: a `ScenePair`."""

    def read(self, window: PixelWindow) -> PairBlock:
        """Both images under a window of HSI pixels."""


class RowSink(Protocol):
    """Where finished rows go: a `CogWriter`."""

    def write(self, row: int, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Take the next rows, values (C, rows, W) and valid (rows, W)."""


@dataclass(frozen=True)
class SecondLayer:
    """What is computed of every tile beside the fused image, and written as it is: cut, blended and masked alike."""

    rule: Callable[[PairBlock, torch.Tensor, torch.Tensor], torch.Tensor]
    """Makes float32 (C, r·h, r·w) of a tile as it was read, and of its Y and P as methods take them."""

    sink: RowSink
    """Where its rows go."""


@dataclass(frozen=True)
class _Computed:
    tile: Tile
    layers: tuple[NDArray[np.float32], ...]
    """The fused image, and the second layer if there is one."""
    valid: NDArray[np.bool_]


def fuse_tiles(
    source: TileSource,
    method: FittedMethod,
    plan: TilePlan,
    sink: RowSink,
    *,
    bands: int,
    compute: Compute,
    progress: Progress,
    stage: str = "fuse",
    align: int = 256,
    beside: SecondLayer | None = None,
) -> int:
    """Fuse every tile of a plan and write the rows as they are finished.

    Args:
        source: Gives both images under a window.
        method: Fitted to the scene, on the device of `compute`.
        plan: The tiles.
        sink: Takes the rows, top to bottom.
        bands: C, of the fused image.
        compute: Device and precision.
        progress: Is told of every tile.
        stage: What the work is called there.
        align: Rows leave in multiples of this, the block size of the file.
        beside: What else is made of the tiles; nothing by default.

    Returns:
        How many tiles were not finite in half precision and were computed again in float32.

    Raises:
        WorkError: A tile is not finite in float32, memory runs out, or reading or writing fails.
    """
    line = _Line()
    to_compute: queue.Queue[tuple[Tile, PairBlock] | None] = queue.Queue(_AHEAD)
    to_write: queue.Queue[_Computed | None] = queue.Queue(_AHEAD)
    redone = 0
    sinks = [sink] if beside is None else [sink, beside.sink]
    progress.start(stage, len(plan))
    with (
        kept_memory(),
        line.stage(lambda: _read(source, plan, to_compute, line)),
        line.stage(lambda: _write(plan, sinks, to_write, line, bands, align)),
    ):
        for tile, block in line.take(to_compute):
            computed, again = _fuse_tile(tile, block, method, compute, beside)
            redone += again
            line.put(to_write, computed)
            progress.advance()
        line.put(to_write, None)
    progress.finish()
    return redone


class _Line:
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
        except _StoppedError:
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
        raise _StoppedError

    def take(self, items: queue.Queue[_Item | None]) -> Iterator[_Item]:
        """Items until None comes, unless the run has stopped."""
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Empty):
                item = items.get(timeout=_POLL_SECONDS)
                if item is None:
                    return
                yield item
        raise _StoppedError


class _StoppedError(Exception):
    """Another stage has failed."""


def _read(source: TileSource, plan: TilePlan, items: queue.Queue[tuple[Tile, PairBlock] | None], line: _Line) -> None:
    for tile in plan:
        line.put(items, (tile, source.read(tile.window)))
    line.put(items, None)


def _write(
    plan: TilePlan,
    sinks: Sequence[RowSink],
    items: queue.Queue[_Computed | None],
    line: _Line,
    bands: int,
    align: int,
) -> None:
    blenders = [RowBlender(plan, bands, align=align) for _ in sinks]
    tiles_in_row = len(plan.columns.starts)
    for number, computed in enumerate(line.take(items), start=1):
        for layer, blender, sink in zip(computed.layers, blenders, sinks, strict=True):
            blender.add(computed.tile, layer, computed.valid)
            if number % tiles_in_row == 0:
                rows = blender.take(computed.tile.row)
                if rows is not None:
                    sink.write(*rows)


def _fuse_tile(
    tile: Tile, block: PairBlock, method: FittedMethod, compute: Compute, beside: SecondLayer | None
) -> tuple[_Computed, bool]:
    """Compute one tile; a tile that half precision makes non-finite is computed again in float32."""
    valid = block.fine_valid
    if not valid.any():
        empty = tuple(np.zeros((len(block.hsi), *valid.shape), np.float32) for _ in range(1 if beside is None else 2))
        return _Computed(tile, empty, valid), False
    patch = PairPatch.of(block.for_fits())  # a gross number would spread as far as the method reaches
    hsi, msi = patch.hsi.to(compute.torch_device), patch.msi.to(compute.torch_device)
    try:
        fused = _run(method, hsi, msi, compute)
        again = compute.half is not None and not bool(torch.isfinite(fused).all())
        if again:
            logger.info("tile at %d, %d is not finite in %s: again in float32", *_corner(tile), compute.precision)
            fused = _run(method, hsi, msi, compute.in_float32())
        layers = [fused.float().cpu().numpy()]
        if beside is not None:
            with torch.inference_mode():
                layers.append(beside.rule(block, hsi, msi).cpu().numpy())
    except torch.OutOfMemoryError as error:
        raise WorkError(
            f"the device has no memory for a tile of {tile.window.width}×{tile.window.height} HSI pixels: "
            "pass a smaller `tile`, or `device=cpu`",
        ) from error
    for values in layers:
        if not np.isfinite(values).all():
            column, row = _corner(tile)
            raise WorkError(f"the fused tile at HSI pixel {column}, {row} is not finite: try another `model`")
        if block.hsi_missing is not None:
            values[_finer(block.hsi_missing, valid.shape)] = np.nan
    return _Computed(tile, tuple(layers), valid), again


def _finer(missing: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where the fine pixels (C, H, W) lie under numbers (C, h, w) that the HSI lacks."""
    ratio = shape[0] // missing.shape[1]
    return missing.repeat(ratio, axis=1).repeat(ratio, axis=2)


def _run(method: FittedMethod, hsi: torch.Tensor, msi: torch.Tensor, compute: Compute) -> torch.Tensor:
    with (
        torch.inference_mode(),
        torch.autocast(
            compute.torch_device.type, dtype=compute.half or torch.bfloat16, enabled=compute.half is not None
        ),
    ):
        return method(hsi, msi)


def _corner(tile: Tile) -> tuple[int, int]:
    return tile.window.column, tile.window.row
