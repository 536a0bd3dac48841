"""The numba backend: the selective scan on the CPU in float32, its state never written out per step.

Forward, tasks are runs of channels; backward, runs of chunks (see cpu_backward.py). Memory beside the operands
and their gradients: two states per chunk of `CHUNK` steps where a gradient will be wanted, else nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hsfuse.scan.cpu.adjoint import scan_adjoint
from hsfuse.scan.cpu.backward import scan_backward
from hsfuse.scan.cpu.forward import CHUNK, scan_forward
from hsfuse.scan.cpu.lanes import LANES
from hsfuse.scan.cpu.workers import run_tasks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from hsfuse.scan.arguments import ScanArguments

    Floats = NDArray[np.float32]

_MOST_BLOCKS = 8
"""Blocks of channels in a task: they share the layout of B and C, but their states have to stay in cache."""

_MOST_SEGMENTS = 64
"""Tasks per batch and group backward; each sums its own dA. Fixed, so that no result depends on the threads."""

_NOTHING = np.empty(0, np.float32)


def scan_cpu(arguments: ScanArguments, z: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """y, gated by SiLU(z) where there is a z, and the last state, both float32."""
    operands = _Operands.of(arguments)
    wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (*operands, z))
    if not wanted:
        return _Scan(operands, arguments.delta_softplus).forward(None if z is None else z.float())
    y, last = _ScanFunction.apply(*operands, arguments.delta_softplus)  # type: ignore[no-untyped-call]  # torch's
    return (y if z is None else y * functional.silu(z.float())), last


class _Operands(NamedTuple):
    """What is scanned, in float32; B and C with as many groups as each other."""

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    bias: Tensor | None

    @classmethod
    def of(cls, arguments: ScanArguments) -> _Operands:
        needed = (arguments.u, arguments.delta, arguments.A, *arguments.grouped)
        u, delta, A, B, C = (tensor.float() for tensor in needed)
        D, bias = (None if t is None else t.float().contiguous() for t in (arguments.D, arguments.delta_bias))
        return cls(u, delta, A, B, C, D, bias)


class _ScanFunction(torch.autograd.Function):
    """The scan for autograd."""

    @staticmethod
    def forward(ctx: Any, *operands_and_softplus: Any) -> tuple[Tensor, Tensor]:
        *operands, ctx.softplus = operands_and_softplus
        scan = _Scan(_Operands(*operands), ctx.softplus)
        states = scan.checkpoints()
        y, last = scan.forward(None, states)
        ctx.save_for_backward(*operands, states)
        return y, last

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor, d_last: Tensor) -> tuple[Tensor | None, ...]:
        *operands, states = ctx.saved_tensors
        return (*_Scan(_Operands(*operands), ctx.softplus).backward(dy, d_last, states), None)


class _Scan:
    """One scan's operands as the kernels take them: flat memory and strides."""

    def __init__(self, operands: _Operands, softplus: bool) -> None:
        self.u, self.delta, self.A, self.B, self.C, self.D, self.bias = operands
        self.softplus = softplus
        self.batch, self.channels, self.length = self.u.shape
        self.states = self.A.shape[1]
        self.groups = self.B.shape[1]
        self.per_group = self.channels // max(self.groups, 1)
        self.blocks = -(-self.per_group // LANES)
        self.chunks = -(-self.length // CHUNK)
        self.block_size = -(-self.states // LANES) * LANES * LANES

    def checkpoints(self) -> Tensor:
        """Room for the state at the start of each chunk of each batch and group."""
        return torch.empty(self.batch * self.groups * self.chunks * self.blocks * self.block_size)

    def forward(self, z: Tensor | None, saved: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scan; ``saved`` takes the checkpoints."""
        y = torch.empty_like(self.u)
        last = self.u.new_zeros(self.batch, self.channels, self.states)
        gate = self.u[:0] if z is None else z.detach()
        fixed = (
            *map(_flat, (self.u, self.delta, self.A, self.B, self.C, self.D, self.bias)),
            _flat(z), _flat(y), _flat(last), _flat(saved),
            *map(_strides, (self.u, self.delta, self.A, self.B, self.C, gate, y)),
            self.softplus, z is not None,
        )  # fmt: skip
        run_tasks([partial(self._forward_task, fixed, *part) for part in self._channel_parts()])
        return y, last

    def _forward_task(self, fixed: tuple[Any, ...], batch: int, group: int, first: int, end: int) -> None:
        scan_forward(
            *fixed, batch, group, first, end, self.length, self.states, self._checkpoint(batch, group, first),
            self.blocks * self.block_size, batch * self.channels * self.states,
        )  # fmt: skip

    def _checkpoint(self, batch: int, group: int, first: int) -> int:
        """Element of the checkpoints at which chunk 0 of the block that begins with channel ``first`` lies."""
        block = (first - group * self.per_group) // LANES
        return ((batch * self.groups + group) * self.chunks * self.blocks + block) * self.block_size

    def _channel_parts(self) -> Iterator[tuple[int, int, int, int]]:
        """Batch, group and channels of each task: few blocks each, but no fewer tasks than threads."""
        total = self.batch * self.groups * self.blocks
        blocks = min(max(total // torch.get_num_threads(), 1), _MOST_BLOCKS)
        for batch in range(self.batch):
            for group in range(self.groups):
                end = (group + 1) * self.per_group
                for first in range(group * self.per_group, end, blocks * LANES):
                    yield batch, group, first, min(first + blocks * LANES, end)

    def backward(self, dy: Tensor, d_last: Tensor, states: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of u, delta, A, B, C, D and the bias."""
        adjoints = torch.empty_like(states)
        fixed = (
            *map(_flat, (self.delta, self.A, self.C, self.bias, dy, d_last.contiguous(), adjoints)),
            *map(_strides, (self.delta, self.A, self.C, dy)),
            self.softplus,
        )  # fmt: skip
        run_tasks([partial(self._adjoint_task, fixed, *part) for part in self._channel_parts()])
        return self._gradients(dy, states, adjoints)

    def _adjoint_task(self, fixed: tuple[Any, ...], batch: int, group: int, first: int, end: int) -> None:
        scan_adjoint(
            *fixed, batch, group, first, end, self.length, self.states, self._checkpoint(batch, group, first),
            self.blocks * self.block_size, batch * self.channels * self.states,
        )  # fmt: skip

    def _gradients(self, dy: Tensor, states: Tensor, adjoints: Tensor) -> tuple[Tensor | None, ...]:
        du, ddelta = torch.empty_like(self.u), torch.empty_like(self.delta)
        segment = -(-self.chunks // _MOST_SEGMENTS)
        segments = -(-self.chunks // max(segment, 1))
        dA = self.u.new_zeros(self.batch, segments, self.channels, self.states)
        dB, dC = (self._room_for(weights, segments) for weights in (self.B, self.C))
        fixed = (
            *map(_flat, (self.u, self.delta, self.A, self.B, self.C, self.D, self.bias, dy)),
            *map(_flat, (states, adjoints, du, ddelta, dA, dB, dC)),
            *map(_strides, (self.u, self.delta, self.A, self.B, self.C, dy, du, ddelta, dB[0], dC[0])),
            self.softplus,
        )  # fmt: skip
        tasks = [
            partial(self._backward_task, fixed, dA, dB, dC, batch, group, index, segment)
            for batch in range(self.batch)
            for group in range(self.groups)
            for index in range(segments)
        ]
        run_tasks(tasks)
        d_D = None if self.D is None else (dy * self.u).sum((0, 2))
        d_bias = None if self.bias is None else ddelta.sum((0, 2))
        return du, ddelta, dA.sum((0, 1)), _sum_to(dB, self.B), _sum_to(dC, self.C), d_D, d_bias

    def _backward_task(
        self,
        fixed: tuple[Any, ...],
        dA: Tensor,
        dB: Tensor,
        dC: Tensor,
        batch: int,
        group: int,
        index: int,
        segment: int,
    ) -> None:
        first = group * self.per_group
        at = [
            grad.stride(0) * (index if grad.shape[0] > 1 else 0) + batch * grad.stride(1) + group * grad.stride(2)
            for grad in (dB, dC)
        ]
        scan_backward(
            *fixed, batch, group, first, first + self.per_group, index * segment,
            min((index + 1) * segment, self.chunks), self.length, self.states,
            self._checkpoint(batch, group, first), self.blocks * self.block_size,
            batch * dA.stride(0) + index * dA.stride(1), *at,
        )  # fmt: skip

    def _room_for(self, weights: Tensor, segments: int) -> Tensor:
        """Zeros for dB or dC: (1, batch, G, N, L), or (segments, batch, D, N, 1) where constant in time."""
        varies = weights.shape[-1] == self.length and weights.shape[0] == self.batch
        first = 1 if varies else segments
        return weights.new_zeros(first, self.batch, self.groups, self.states, weights.shape[-1])


def _flat(tensor: Tensor | None) -> Floats:
    """The tensor's memory from its first element to its last, in one dimension, not copied."""
    if tensor is None or not tensor.numel():
        return _NOTHING
    extent = 1 + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.detach().as_strided((extent,), (1,)).numpy()


def _strides(tensor: Tensor) -> tuple[int, ...]:
    """Strides in elements; 0 along a dimension of one, which then stands for all."""
    return tuple(s if n > 1 else 0 for n, s in zip(tensor.shape, tensor.stride(), strict=True))


def _sum_to(gradient: Tensor, weights: Tensor) -> Tensor:
    return gradient.sum(0).sum_to_size(weights.shape)
