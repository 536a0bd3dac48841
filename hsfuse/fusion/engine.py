"""Read → compute → blend → write: three stages that overlap in time, with bounded queues between them.

One thread reads the tiles in order, the calling thread computes, one thread blends and writes. No stage is more
than two tiles ahead of the next, and the output leaves row by row.
"""

from __future__ import annotations

import contextlib
import queue
from collections import deque
from typing import TYPE_CHECKING, Protocol

from hsfuse.fusion.blend import RowBlender
from hsfuse.fusion.line import Line
from hsfuse.fusion.memory import kept_memory
from hsfuse.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from hsfuse.fusion.tile_work import Begun, Computed, TileWork
    from hsfuse.fusion.tiles import Tile, TilePlan
    from hsfuse.progress import Progress
    from hsfuse.scenes import PairBlock, PixelWindow

_AHEAD = 2

STAGES = ("read", "fill", "to device", "compute", "to host", "blend")
"""In the order of the flow; the writer adds its own."""


class TileSource(Protocol):
    """Where tiles are read from: a `ScenePair`."""

    def read(self, window: PixelWindow) -> PairBlock:
        """Both images under a window of HSI pixels."""


class RowSink(Protocol):
    """Where finished rows go: a `CogWriter`."""

    def write(self, row: int, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Take the next rows, values (C, rows, W) and valid (rows, W)."""


class Crew(Protocol):
    """Who computes tiles: this process, or others."""

    def computed(
        self, source: TileSource, work: TileWork, tiles: Sequence[Tile], line: Line, stages: Stages
    ) -> Generator[Computed]:
        """The tiles, computed, in their order; closed early where the run breaks off."""


class _Alone:
    """This process: it reads ahead in a thread of its own, and has a card begin the next tile while one is computed."""

    def computed(
        self, source: TileSource, work: TileWork, tiles: Sequence[Tile], line: Line, stages: Stages
    ) -> Generator[Computed]:
        """The tiles, computed, in their order."""
        read: queue.Queue[tuple[Tile, PairBlock] | None] = queue.Queue(_AHEAD)
        begun: deque[Begun] = deque()
        with line.stage(lambda: _read(source, tiles, read, line, stages)):
            for tile, block in line.take(read, lambda: stages.wait("compute")):
                begun.append(work.begin(tile, block, stages))
                if len(begun) > work.ahead:
                    yield work.end(begun.popleft(), stages)
            while begun:
                yield work.end(begun.popleft(), stages)


ALONE: Crew = _Alone()
"""This process."""


def fuse_tiles(
    source: TileSource,
    work: TileWork,
    plan: TilePlan,
    sinks: Sequence[RowSink],
    *,
    bands: int,
    progress: Progress,
    stage: str = "fuse",
    align: int = 256,
    done: int = 0,
    crew: Crew = ALONE,
    stages: Stages | None = None,
) -> int:
    """Fuse every tile of a plan and write the rows as they are finished.

    Args:
        source: Gives both images under a window.
        work: What is made of a tile.
        plan: The tiles.
        sinks: One an image that `work` makes; each takes its rows, top to bottom.
        bands: C, of the images.
        progress: Is told of every tile.
        stage: What the work is called there.
        align: Rows leave in multiples of this, the block size of the file.
        done: Rows that the sinks have already, a multiple of `align`; the next ones are as if nothing had happened.
        crew: Who computes.
        stages: Where the time goes is counted there.

    Returns:
        How many tiles were not finite in half precision and were computed again in float32.

    Raises:
        WorkError: A tile is not finite in float32, memory runs out, or reading or writing fails.
    """
    line, clock = Line(), Stages() if stages is None else stages
    to_write: queue.Queue[Computed | None] = queue.Queue(_AHEAD)
    redone = 0
    tiles = [tile for tile in plan if tile.window.bottom * plan.ratio > done]
    progress.start(stage, len(plan))
    progress.advance(len(plan) - len(tiles))
    blenders = [RowBlender(plan, bands, align=align, first=done) for _ in sinks]
    with (
        kept_memory(),
        line.stage(lambda: _write(plan, blenders, sinks, to_write, line, clock)),
        contextlib.closing(crew.computed(source, work, tiles, line, clock)) as computed_tiles,
    ):
        for computed in computed_tiles:
            redone += computed.redone
            with clock.wait("compute"):
                line.put(to_write, computed)
            progress.advance()
        line.put(to_write, None)
    progress.finish()
    return redone


def _read(
    source: TileSource,
    tiles: Sequence[Tile],
    items: queue.Queue[tuple[Tile, PairBlock] | None],
    line: Line,
    stages: Stages,
) -> None:
    for tile in tiles:
        with stages.work("read"):
            block = source.read(tile.window)
        with stages.wait("read"):
            line.put(items, (tile, block))
    line.put(items, None)


def _write(
    plan: TilePlan,
    blenders: Sequence[RowBlender],
    sinks: Sequence[RowSink],
    items: queue.Queue[Computed | None],
    line: Line,
    stages: Stages,
) -> None:
    last = plan.columns.starts[-1]
    for computed in line.take(items, lambda: stages.wait("blend")):
        tile = computed.tile
        for values, blender, sink in zip(computed.layers, blenders, sinks, strict=True):
            with stages.work("blend", values.nbytes):
                blender.add(tile, values, computed.valid)
            if tile.window.column == last:
                for strip in blender.take(tile.row):
                    sink.write(strip.first, strip.values, strip.valid)
