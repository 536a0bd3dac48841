"""The triton backend: launching the kernels of triton_kernels.py, for autograd."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from hsfuse.scan.probe import trouble_with
from hsfuse.scan.triton_kernels import carry, chunk_ends, scan_back, scan_chunks

if TYPE_CHECKING:
    from hsfuse.scan.arguments import ScanArguments

_TILE = 512
"""Elements of (channels, steps) that a warp holds, 16 a thread: of 8, 16 and 32, those that need the fewest
instructions and still fit into registers (see examples/benchmarks/scan_ptx.py)."""

_CHANNELS = 4
"""Channels of a tile: they share every read of B and C, and make one write of dB and dC."""

_ENOUGH_WARPS = 1024
"""Backward, warps that keep any card busy; fewer channels for each until there are so many."""

_AT_ONCE = 16
"""Chunks from which `carry` finds the states at their starts in one go."""


def interpreted() -> bool:
    """Whether triton runs its kernels in its interpreter (``TRITON_INTERPRET=1``), on the CPU, for tests."""
    return not hasattr(scan_chunks, "warmup") or type(scan_chunks).__name__ == "InterpretedFunction"


def probe_triton(device: torch.device) -> str:
    """Why the kernels do not work on a device, as a clause; empty if they do.

    Triton comes with torch, but needs a C compiler at run time and a card that it knows: so it is tried.
    """
    return trouble_with(scan_triton, device)


def scan_triton(arguments: ScanArguments, z: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """y, gated by SiLU(z) where there is a z, in u's dtype, and the last state in float32."""
    B, C = arguments.grouped
    y, last = _ScanFunction.apply(  # type: ignore[no-untyped-call]
        arguments.u, arguments.delta, arguments.A, B, C, arguments.D, arguments.delta_bias,
        arguments.delta_softplus,
    )  # fmt: skip
    return (y if z is None else y * functional.silu(z)), last


class _ScanFunction(torch.autograd.Function):
    """The scan for autograd."""

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor | None,
        bias: Tensor | None,
        softplus: bool,
    ) -> tuple[Tensor, Tensor]:
        scan = _Scan(u, delta, A, B, C, D, bias, softplus)
        y, last, starts = scan.forward()
        ctx.save_for_backward(u, delta, A, B, C, D, bias, starts)
        ctx.softplus = softplus
        return y, last

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor, d_last: Tensor) -> tuple[Tensor | None, ...]:
        u, delta, A, B, C, D, bias, starts = ctx.saved_tensors
        scan = _Scan(u, delta, A, B, C, D, bias, ctx.softplus)
        return (*scan.backward(dy.contiguous(), d_last.contiguous(), starts), None)


@dataclass(frozen=True)
class Tiling:
    """How a scan is cut into warps; a thread block is one warp."""

    steps: int
    """T, the steps of a chunk, a power of two."""
    channels: int
    """Channels of a tile, a power of two."""
    per_block: int
    """Channels that a warp goes through backward, a tile after the other."""

    @classmethod
    def of(cls, batch: int, groups: int, per_group: int, length: int) -> Tiling:
        """Full tiles where there is enough to fill them; backward as few warps as keep a card busy.

        Each warp has a share of dB and dC of its own, in memory: the fewer, the less of it.
        """
        channels = min(_CHANNELS, _power_of_two(per_group))
        steps = min(_TILE // channels, max(_power_of_two(length), 32))
        tiles, chunks = -(-per_group // channels), -(-length // steps)
        blocks = min(max(_ENOUGH_WARPS // max(chunks * batch * groups, 1), 1), tiles)
        return cls(steps, channels, -(-tiles // max(blocks, 1)) * channels)


def _power_of_two(count: int) -> int:
    """The least that is not below."""
    return 1 << max(count - 1, 0).bit_length()


class _Scan:
    """One scan's operands and launches."""

    def __init__(
        self,
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor | None,
        bias: Tensor | None,
        softplus: bool,
    ) -> None:
        self.u, self.delta, self.A = u.contiguous(), delta.contiguous(), A.float().contiguous()
        self.B, self.C = _steps_adjacent(B), _steps_adjacent(C)
        self.D, self.bias = (None if vector is None else vector.contiguous() for vector in (D, bias))
        self.batch, self.channels, self.length = u.shape
        self.groups, self.states = B.shape[1], A.shape[1]
        self.per_group = self.channels // max(self.groups, 1)
        self.tiling = Tiling.of(self.batch, self.groups, self.per_group, self.length)
        self.chunks = -(-self.length // self.tiling.steps)
        self.empty = 0 in u.shape
        self.constants = {
            "SOFTPLUS": softplus,
            "BIAS": bias is not None,
            "T": self.tiling.steps,
            "CHANNELS": self.tiling.channels,
            "num_warps": 1,
        }

    def forward(self) -> tuple[Tensor, Tensor, Tensor]:
        """Output y, the last state, and the states at the starts of chunks, which `backward` wants."""
        y = torch.empty_like(self.u)
        last = self.A.new_zeros(self.batch, self.channels, self.states)
        if self.empty:
            return y, last, self.A.new_empty(0)
        with self._device():
            starts = self._carried(self.u, self.B, final=last)
            grid, sizes = self._cut(self.tiling.channels)
            scan_chunks[grid](
                self.u, self.delta, self.A, self.B, self.C, self.D, self.bias, starts, y,
                *_strides(self.B), *_strides(self.C), *sizes, SKIP=self.D is not None, **self.constants,
            )  # fmt: skip
        return y, last, starts

    def _device(self) -> AbstractContextManager[object]:
        """Triton launches on the current device, whatever the tensors': make it theirs."""
        return torch.cuda.device(self.u.device) if self.u.is_cuda else nullcontext()

    def _cut(self, channels: int) -> tuple[tuple[int, int, int], tuple[int, ...]]:
        """Grid of warps with so many channels each, those next to one another first: they read the same B and C."""
        blocks = -(-self.per_group // channels)
        sizes = (self.length, self.channels, self.states, self.chunks, blocks, self.per_group)
        return (self.groups * blocks, self.chunks, self.batch), sizes

    def _carried(
        self,
        x: Tensor,
        weights: Tensor,
        *,
        initial: Tensor | None = None,
        final: Tensor | None = None,
        reverse: bool = False,
    ) -> Tensor:
        """The state that enters each chunk, or reversed the adjoint: (batch, chunks, D, N)."""
        ends = self.A.new_empty(self.batch, self.chunks, self.channels, self.states)
        sums = self.A.new_empty(self.batch, self.chunks, self.channels)
        starts = torch.empty_like(ends)
        grid, sizes = self._cut(self.tiling.channels)
        chunk_ends[grid](
            x, self.delta, self.A, weights, self.bias, ends, sums, *_strides(weights), *sizes,
            REVERSE=reverse, **self.constants,
        )  # fmt: skip
        padded = _power_of_two(self.states)
        carry[(self.channels, self.batch)](
            ends, sums, self.A, initial, starts, final, self.channels, self.states, self.chunks,
            INITIAL=initial is not None, FINAL=final is not None, REVERSE=reverse, K=_AT_ONCE, N=padded,
            num_warps=4 if padded >= 32 else 1,
        )  # fmt: skip
        return starts

    def backward(self, dy: Tensor, d_last: Tensor, starts: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of u, delta, A, B, C, D and the bias, from those of y and of the last state."""
        grid, sizes = self._cut(self.tiling.per_block)
        du, ddelta, dA = torch.empty_like(self.u), torch.empty_like(self.delta), torch.empty_like(starts)
        parts = (grid[0] // max(self.groups, 1), self.batch, self.groups, self.states, self.length)
        dB, dC = self.A.new_empty(parts), self.A.new_empty(parts)
        if self.empty:
            dA = self.A.new_zeros(1, 1, self.channels, self.states)
        else:
            with self._device():
                adjoints = self._carried(dy, self.C, initial=d_last, reverse=True)
                scan_back[grid](
                    self.u, self.delta, self.A, self.B, self.C, self.D, self.bias, starts, dy, adjoints,
                    du, ddelta, dA, dB, dC, *_strides(self.B), *_strides(self.C), *sizes, self.tiling.per_block,
                    self.batch, SKIP=self.D is not None, **self.constants,
                )  # fmt: skip
        gradient_B, gradient_C = (g.sum(0).sum_to_size(w.shape).to(w.dtype) for g, w in ((dB, self.B), (dC, self.C)))
        d_D = None if self.D is None else (dy.float() * self.u.float()).sum((0, 2)).to(self.D.dtype)
        d_bias = None if self.bias is None else ddelta.float().sum((0, 2)).to(self.bias.dtype)
        return du, ddelta, dA.sum((0, 1)), gradient_B, gradient_C, d_D, d_bias


def _steps_adjacent(weights: Tensor) -> Tensor:
    """B or C as the kernels read it fast: neighbouring threads take neighbouring steps."""
    return weights if weights.shape[-1] == 1 or weights.stride(-1) == 1 else weights.contiguous()


def _strides(weights: Tensor) -> tuple[int, ...]:
    """Strides of B or C, 0 along a dimension of one, which then stands for all."""
    return tuple(s if n > 1 else 0 for n, s in zip(weights.shape, weights.stride(), strict=True))
