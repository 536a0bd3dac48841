"""What is made of one tile: the fused image, and beside it whatever else is wanted."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.errors import WorkError
from hsfuse.fusion.compute import to_device
from hsfuse.fusion.transfer import lane_to
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from hsfuse.fusion.compute import Compute
    from hsfuse.fusion.method import FittedMethod
    from hsfuse.fusion.tiles import Tile
    from hsfuse.fusion.transfer import Lane, Leaving
    from hsfuse.scenes import PairBlock
    from hsfuse.stages import Stages

    SecondRule = Callable[[PairBlock, Tensor, Tensor], Tensor]

logger = logging.getLogger(__name__)

# A tile that the card cannot hold is computed in quarters, and those in quarters, down to this many HSI pixels.
_LEAST_EDGE = 8


@dataclass(frozen=True)
class Computed:
    """A tile that has been computed."""

    tile: Tile
    """Which."""

    layers: tuple[NDArray[np.float32], ...]
    """The fused image, and the second one if there is one, each (C, r·h, r·w)."""

    valid: NDArray[np.bool_]
    """Where they are, (r·h, r·w)."""

    redone: bool = False
    """Whether half precision made it non-finite, so that it was computed again in float32."""


@dataclass(frozen=True)
class Begun:
    """A tile that is being computed."""

    tile: Tile
    """Which."""

    block: PairBlock
    """As it was read."""

    valid: NDArray[np.bool_]
    """Where it is, (r·h, r·w)."""

    images: tuple[Tensor, Tensor] | None = None
    """Y and P on the device; None where no pixel is valid, so that nothing is computed."""

    leaving: Leaving | None = None
    """What is made of them; None likewise."""


@dataclass(frozen=True)
class TileWork:
    """How tiles become images; it can be sent to other processes."""

    method: FittedMethod
    """Fitted to the scene, on the device of `compute`."""

    compute: Compute
    """Device and precision."""

    beside: SecondRule | None = None
    """Makes a second image, float32 (C, r·h, r·w), of a tile as it was read and of its Y and P as methods take them; it
    is cut, blended and masked like the first. None: there is none."""

    def __call__(self, tile: Tile, block: PairBlock, stages: Stages) -> Computed:
        """Compute a tile.

        Raises:
            WorkError: It is not finite in float32, or memory runs out.
        """
        return self.end(self.begin(tile, block, stages), stages)

    @property
    def ahead(self) -> int:
        """How many tiles to begin before the first of them is ended, so that the device is never idle."""
        return self._lane.ahead

    def begin(self, tile: Tile, block: PairBlock, stages: Stages) -> Begun:
        """Bring a tile to the device and begin to compute it; on a card that goes on after the return.

        Raises:
            WorkError: Memory runs out.
        """
        valid = block.fine_valid
        if not valid.any():
            return Begun(tile, block, valid)
        with stages.work("fill", block.hsi.nbytes + block.msi.nbytes):
            patch = PairPatch.of(block.for_fits())  # a gross number would spread as far as the method reaches
        with _memory_told(tile):
            with stages.work("to device", block.hsi.nbytes + block.msi.nbytes):
                hsi, msi = self._lane.bring(patch.hsi, patch.msi)
            # here, since this may be another process than the one that asked
            with stages.work("compute"), self.compute.products():
                layers = [self._fused(hsi, msi, self.compute).float()]
                if self.beside is not None:
                    with torch.inference_mode():
                        layers.append(self.beside(block, hsi, msi))
                return Begun(tile, block, valid, (hsi, msi), self._lane.fetch(*layers))

    def end(self, begun: Begun, stages: Stages) -> Computed:
        """What was made of a tile, once it is there.

        Raises:
            WorkError: It is not finite in float32, or memory runs out.
        """
        tile, block, valid = begun.tile, begun.block, begun.valid
        if begun.leaving is None or begun.images is None:
            empty = [
                np.zeros((len(block.hsi), *valid.shape), np.float32) for _ in range(1 if self.beside is None else 2)
            ]
            return Computed(tile, tuple(empty), valid)
        fused, *others = self._host(begun.leaving, stages)
        redone = self.compute.half is not None and not _finite(fused)
        if redone:
            logger.info("tile at %d, %d is not finite in %s: again in float32", *_corner(tile), self.compute.precision)
            with _memory_told(tile):
                fused = self._in_float32(*begun.images, stages)
        layers = (fused, *others)
        for values in layers:
            if not _finite(values):
                column, row = _corner(tile)
                raise WorkError(f"the fused tile at HSI pixel {column}, {row} is not finite: try another `model`")
            if block.hsi_missing is not None:
                values[_finer(block.hsi_missing, valid.shape)] = np.nan
        return Computed(tile, layers, valid, redone)

    def at_home(self) -> TileWork:
        """The same where it has arrived: on CUDA where that is there and the device was left to choose."""
        compute = self.compute.at_home()
        if compute.device == self.compute.device:
            return self
        return replace(self, method=to_device(self.method, compute.torch_device), compute=compute)

    @property
    def _lane(self) -> Lane:
        return lane_to(self.compute.torch_device)

    def _host(self, leaving: Leaving, stages: Stages) -> tuple[NDArray[np.float32], ...]:
        with stages.work("compute"):
            leaving.wait_computed()
        with stages.work("to host", leaving.nbytes):
            return tuple(layer.numpy() for layer in leaving.arrived())

    def _in_float32(self, hsi: Tensor, msi: Tensor, stages: Stages) -> NDArray[np.float32]:
        with stages.work("compute"), self.compute.products():
            leaving = self._lane.fetch(self._fused(hsi, msi, self.compute.in_float32()).float())
        return self._host(leaving, stages)[0]

    def _fused(self, hsi: Tensor, msi: Tensor, compute: Compute) -> Tensor:
        """The whole tile, or where the device cannot hold that its quarters."""
        try:
            return _run(self.method, hsi, msi, compute)
        except torch.OutOfMemoryError:
            if min(hsi.shape[-2:]) < 2 * max(_LEAST_EDGE, self.method.margin):
                raise
        if hsi.is_cuda:
            torch.cuda.empty_cache()
        logger.warning("the device has no memory for %d×%d HSI pixels: in quarters", hsi.shape[-1], hsi.shape[-2])
        ratio = msi.shape[-1] // hsi.shape[-1]
        fused = torch.empty(len(hsi), *msi.shape[-2:], device=hsi.device)
        for rows in _halves(hsi.shape[-2], self.method.margin):
            for columns in _halves(hsi.shape[-1], self.method.margin):
                part = self._fused(
                    hsi[:, rows.read, columns.read], msi[:, rows.finer(ratio).read, columns.finer(ratio).read], compute
                )
                fine_rows, fine_columns = rows.finer(ratio), columns.finer(ratio)
                fused[:, fine_rows.kept, fine_columns.kept] = part[:, fine_rows.within, fine_columns.within]
        return fused


@dataclass(frozen=True)
class _Half:
    """Half of an axis: what is read for it, and what of that is kept."""

    first: int
    last: int
    begin: int
    end: int

    @property
    def read(self) -> slice:
        return slice(self.first, self.last)

    @property
    def kept(self) -> slice:
        return slice(self.begin, self.end)

    @property
    def within(self) -> slice:
        return slice(self.begin - self.first, self.end - self.first)

    def finer(self, ratio: int) -> _Half:
        return _Half(self.first * ratio, self.last * ratio, self.begin * ratio, self.end * ratio)


def _halves(length: int, margin: int) -> tuple[_Half, _Half]:
    middle = length // 2
    return (
        _Half(0, min(middle + margin, length), 0, middle),
        _Half(max(middle - margin, 0), length, middle, length),
    )


def _run(method: FittedMethod, hsi: Tensor, msi: Tensor, compute: Compute) -> Tensor:
    with (
        torch.inference_mode(),
        torch.autocast(
            compute.torch_device.type, dtype=compute.half or torch.bfloat16, enabled=compute.half is not None
        ),
    ):
        return method(hsi, msi)


@contextlib.contextmanager
def _memory_told(tile: Tile) -> Iterator[None]:
    """A block in which a device without memory is an error for users."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise WorkError(
            f"the device has no memory for a tile of {tile.window.width}×{tile.window.height} HSI pixels, nor for "
            "a part of it: pass a smaller `tile`, or `device=cpu`",
        ) from error


def _finite(values: NDArray[np.float32]) -> bool:
    """Whether all are; a sum tells most often, and needs no second array."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())


def _finer(missing: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where the fine pixels (C, H, W) lie under numbers (C, h, w) that the HSI lacks."""
    ratio = shape[0] // missing.shape[1]
    return missing.repeat(ratio, axis=1).repeat(ratio, axis=2)


def _corner(tile: Tile) -> tuple[int, int]:
    return tile.window.column, tile.window.row
