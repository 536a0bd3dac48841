"""Where the time of a tile goes, and what is won where the next one is begun before it has come back."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gpu.bench import computing
from gpu.scenes import example
from hsfuse.fusion.engine import ALONE
from hsfuse.fusion.line import Line
from hsfuse.fusion.methods import choose_method
from hsfuse.fusion.tile_work import TileWork
from hsfuse.fusion.tiles import TilePlan
from hsfuse.fusion.transfer import lane_to
from hsfuse.stages import Stages
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from torch import Tensor

    from gpu.bench import Bench
    from hsfuse.scenes import PairBlock, PixelWindow


def tile(bench: Bench) -> None:
    """A tile of the example by each network, step by step, and many of it."""
    pair, compute = example(), bench.quick[-1]
    window = bench.sized(pair.area, replace(pair.area, width=16, height=16))
    kept = Kept(pair.read(window))
    for model in ("mgdunlss", "ssrfn"):
        if not bench.enough(model, 5):
            continue
        with bench.attempt(model):
            with compute.products():
                fitted = choose_method(model).method.fit(pair.patches, pair.imaging, compute=compute)
            work = TileWork(fitted, compute)
            _steps(bench, f"{model} {compute.precision}", work, kept.block)
            _together(bench, f"{model} {compute.precision}", work, kept, window, pair.ratio)


class Kept:
    """A source that needs no time."""

    def __init__(self, block: PairBlock) -> None:
        """One block is the whole of it."""
        self.block = block

    def read(self, window: PixelWindow) -> PairBlock:  # noqa: ARG002 (the face of a source)
        """The block."""
        return self.block


class Clock:
    """Seconds by step, each waited for: what overlaps when a scene is fused is apart here."""

    def __init__(self, bench: Bench) -> None:
        """Begin the first step."""
        self._bench = bench
        self.seconds: dict[str, float] = {}
        self._begun = time.perf_counter()

    def end(self, step: str) -> None:
        """A step has been begun where the one before ended, and ends when the device has done it."""
        self._bench.wait()
        now = time.perf_counter()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._begun
        self._begun = now


def _steps(bench: Bench, what: str, work: TileWork, block: PairBlock) -> None:
    lane, rounds = lane_to(bench.device), bench.sized(5, 1)
    with computing(work.compute):
        work.method(*lane.bring(*_images(block)))  # compiles
    bench.wait()
    clock = Clock(bench)
    for _ in range(rounds):
        images = _images(block)
        clock.end("fill holes")
        hsi, msi = lane.bring(*images)
        clock.end("to the device")
        with computing(work.compute):
            fused = work.method(hsi, msi).float()
        clock.end("method")
        (values,) = lane.fetch(fused).arrived()
        clock.end("to the host")
        assert np.isfinite(values.numpy().sum())
        clock.end("look whether finite")
    bands, *edges = fused.shape
    whole = sum(clock.seconds.values())
    parts = (f"{name} {1e3 * part / rounds:.1f} ms ({part / whole:.0%})" for name, part in clock.seconds.items())
    numbers = {f"{name}, milliseconds": 1e3 * part / rounds for name, part in clock.seconds.items()}
    bench.tell(f"{what}, {'×'.join(map(str, edges))} pixels, {bands} bands", ", ".join(parts), **numbers)


def _images(block: PairBlock) -> tuple[Tensor, Tensor]:
    patch = PairPatch.of(block.for_fits())
    return patch.hsi, patch.msi


def _together(bench: Bench, what: str, work: TileWork, kept: Kept, window: PixelWindow, ratio: int) -> None:
    """The engine's own way beside one tile after another."""
    plan = TilePlan.make(window.width, window.height, ratio, tile=max(window.width, window.height), overlap=0, margin=0)
    tiles = [*plan] * bench.sized(16, 2)
    taken = {}
    for name in ("one by one", "begun ahead"):
        bench.wait()
        begun = time.perf_counter()
        made = (
            (work(one, kept.block, Stages()) for one in tiles)
            if name == "one by one"
            else ALONE.computed(kept, work, tiles, Line(), Stages())
        )
        for _ in made:
            pass
        taken[name] = 1e3 * (time.perf_counter() - begun) / len(tiles)
    told = ", ".join(f"{name} {milliseconds:.1f} ms" for name, milliseconds in taken.items())
    bench.tell(f"{what}, {len(tiles)} tiles, each", told, **{f"{k}, milliseconds": v for k, v in taken.items()})
