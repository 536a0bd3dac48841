"""What is made of one tile: the fused image, and beside it whatever else is wanted."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.errors import WorkError
from hsfuse.fusion.compute import to_device
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from hsfuse.fusion.compute import Compute
    from hsfuse.fusion.method import FittedMethod
    from hsfuse.fusion.tiles import Tile
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
        valid = block.fine_valid
        if not valid.any():
            empty = [
                np.zeros((len(block.hsi), *valid.shape), np.float32) for _ in range(1 if self.beside is None else 2)
            ]
            return Computed(tile, tuple(empty), valid)
        with stages.work("fill", block.hsi.nbytes + block.msi.nbytes):
            patch = PairPatch.of(block.for_fits())  # a gross number would spread as far as the method reaches
        with stages.work("to device", block.hsi.nbytes + block.msi.nbytes):
            hsi, msi = patch.hsi.to(self.compute.torch_device), patch.msi.to(self.compute.torch_device)
        with self.compute.products():  # here, since this may be another process than the one that asked
            layers, redone = self._layers(tile, block, hsi, msi, stages)
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

    def _layers(
        self, tile: Tile, block: PairBlock, hsi: Tensor, msi: Tensor, stages: Stages
    ) -> tuple[tuple[NDArray[np.float32], ...], bool]:
        try:
            with stages.work("compute"):
                fused = self._fused(hsi, msi, self.compute)
                redone = self.compute.half is not None and not bool(torch.isfinite(fused).all())
                if redone:
                    logger.info(
                        "tile at %d, %d is not finite in %s: again in float32", *_corner(tile), self.compute.precision
                    )
                    fused = self._fused(hsi, msi, self.compute.in_float32())
                layers = [fused.float()]
                if self.beside is not None:
                    with torch.inference_mode():
                        layers.append(self.beside(block, hsi, msi))
                if hsi.is_cuda:
                    torch.cuda.synchronize(hsi.device)
            with stages.work("to host", sum(layer.numel() * 4 for layer in layers)):
                return tuple(layer.cpu().numpy() for layer in layers), redone
        except torch.OutOfMemoryError as error:
            raise WorkError(
                f"the device has no memory for a tile of {tile.window.width}×{tile.window.height} HSI pixels, nor for "
                "a part of it: pass a smaller `tile`, or `device=cpu`",
            ) from error

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
