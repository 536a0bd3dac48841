"""The triton backend: launching the kernels of triton_kernels.py, for autograd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from hsfuse.scan.triton_kernels import carry, chunk_ends, scan_back, scan_chunks

if TYPE_CHECKING:
    from hsfuse.scan.arguments import ScanArguments

_TILE = 2048
"""Elements of (steps, states) that a thread block holds, 256 a warp: backward 184 registers a thread, no spills
(compiled for compute capability 8.0, 9.0 and 10.0; with more than 128 states, 4096 and about 70 bytes)."""

_ENOUGH_BLOCKS = 1024
"""Thread blocks that fill any card; fewer channels in each until there are so many."""


def interpreted() -> bool:
    """Whether triton runs its kernels in its interpreter (``TRITON_INTERPRET=1``), on the CPU, for tests."""
    return not hasattr(scan_chunks, "warmup") or type(scan_chunks).__name__ == "InterpretedFunction"


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
        scan = _Scan(u.contiguous(), delta.contiguous(), A.float().contiguous(), B, C, D, bias, softplus)
        ctx.save_for_backward(u, delta, A, B, C, D, bias)
        ctx.softplus = softplus
        return scan.forward()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor, d_last: Tensor) -> tuple[Tensor | None, ...]:
        u, delta, A, B, C, D, bias = ctx.saved_tensors
        scan = _Scan(u.contiguous(), delta.contiguous(), A.float().contiguous(), B, C, D, bias, ctx.softplus)
        return (*scan.backward(dy.contiguous(), d_last.contiguous()), None)


@dataclass(frozen=True)
class Tiling:
    """How a scan is cut into thread blocks."""

    steps: int
    """T, the steps of a chunk, a power of two."""
    states: int
    """N rounded up to a power of two."""
    channels: int
    """Channels that a block goes through, one after the other."""
    warps: int
    """Warps of a block."""

    @classmethod
    def of(cls, batch: int, groups: int, per_group: int, length: int, states: int) -> Tiling:
        """Chunks as long as registers allow, then as few channels a block as it takes to fill a card."""
        padded = 1 << (states - 1).bit_length()
        steps = min(max(_TILE // padded, 16), 128)
        chunks = -(-length // steps)
        blocks = min(max(_ENOUGH_BLOCKS // max(chunks * batch * groups, 1), 1), -(-per_group // 4))
        return cls(steps, padded, -(-per_group // blocks), min(max(steps * padded // 256, 1), 16))


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
        self.u, self.delta, self.A, self.B, self.C, self.D, self.bias = u, delta, A, B, C, D, bias
        self.batch, self.channels, self.length = u.shape
        self.groups, self.states = B.shape[1], A.shape[1]
        self.per_group = self.channels // max(self.groups, 1)
        self.tiling = Tiling.of(self.batch, self.groups, self.per_group, self.length, self.states)
        self.chunks = -(-self.length // self.tiling.steps)
        self.blocks = -(-self.per_group // self.tiling.channels)
        self.grid = (self.chunks, self.groups * self.blocks, self.batch)
        self.empty = 0 in u.shape
        self.constants = {
            "SOFTPLUS": softplus,
            "BIAS": bias is not None,
            "T": self.tiling.steps,
            "N": self.tiling.states,
            "CHANNELS": self.tiling.channels,
            "num_warps": self.tiling.warps,
        }

    def forward(self) -> tuple[Tensor, Tensor]:
        """Output y and the last state."""
        y = torch.empty_like(self.u)
        last = self.A.new_zeros(self.batch, self.channels, self.states)
        if self.empty:
            return y, last
        starts = self._carried(self.u, self.B, final=last)
        scan_chunks[self.grid](
            self.u, self.delta, self.A, self.B, self.C, self.D, self.bias, starts, y,
            *_strides(self.B), *_strides(self.C), *self._sizes(), SKIP=self.D is not None, **self.constants,
        )  # fmt: skip
        return y, last

    def _sizes(self) -> tuple[int, ...]:
        return self.length, self.channels, self.states, self.chunks, self.blocks, self.per_group

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
        chunk_ends[self.grid](
            x, self.delta, self.A, weights, self.bias, ends, sums, *_strides(weights), *self._sizes(),
            REVERSE=reverse, **self.constants,
        )  # fmt: skip
        carry[(self.channels, self.batch)](
            ends, sums, self.A, initial, starts, final, self.channels, self.states, self.chunks,
            INITIAL=initial is not None, FINAL=final is not None, REVERSE=reverse, K=16, N=self.tiling.states,
            num_warps=4 if self.tiling.states >= 32 else 1,
        )  # fmt: skip
        return starts

    def backward(self, dy: Tensor, d_last: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of u, delta, A, B, C, D and the bias."""
        du, ddelta = torch.empty_like(self.u), torch.empty_like(self.delta)
        parts = (self.blocks, self.batch, self.groups, self.states, self.length)
        dB, dC = self.A.new_empty(parts), self.A.new_empty(parts)
        starts = self.A.new_zeros(1, 1, self.channels, self.states)
        if not self.empty:
            starts = self._carried(self.u, self.B)
            adjoints = self._carried(dy, self.C, initial=d_last, reverse=True)
            scan_back[self.grid](
                self.u, self.delta, self.A, self.B, self.C, self.D, self.bias, starts, dy, adjoints,
                du, ddelta, dB, dC, *_strides(self.B), *_strides(self.C), *self._sizes(), self.batch,
                SKIP=self.D is not None, **self.constants,
            )  # fmt: skip
        gradient_B, gradient_C = (g.sum(0).sum_to_size(w.shape).to(w.dtype) for g, w in ((dB, self.B), (dC, self.C)))
        d_D = None if self.D is None else (dy.float() * self.u.float()).sum((0, 2)).to(self.D.dtype)
        d_bias = None if self.bias is None else ddelta.float().sum((0, 2)).to(self.bias.dtype)
        return du, ddelta, starts.sum((0, 1)), gradient_B, gradient_C, d_D, d_bias


def _strides(weights: Tensor) -> tuple[int, ...]:
    """Strides of B or C, 0 along a dimension of one, which then stands for all."""
    return tuple(s if n > 1 else 0 for n, s in zip(weights.shape, weights.stride(), strict=True))
