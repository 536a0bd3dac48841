"""The operands of a selective scan: one shape and meaning for all backends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsfuse.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_STATE = 256
"""States per channel, N, that every backend takes."""


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise RequestError(f"selective scan: {sentence}")


@dataclass(frozen=True)
class ScanArguments:
    """What a backend scans, checked, with B and C brought to four dimensions.

    Raises:
        RequestError: If a shape does not fit the others, or a number is complex.
    """

    u: Tensor
    """Input, (batch, D, L), any floating dtype."""
    delta: Tensor
    """Step sizes Δ before bias and softplus, (batch, D, L)."""
    A: Tensor
    """State matrix's diagonal, (D, N), usually negative."""
    B: Tensor
    """Input weights, (batch, G, N, L) where they vary with time, else (1, D, N, 1)."""
    C: Tensor
    """Output weights, shaped as B may be."""
    D: Tensor | None
    """Weights of the input in the output, (D,)."""
    delta_bias: Tensor | None
    """Added to Δ before the softplus, (D,)."""
    delta_softplus: bool
    """Whether Δ goes through softplus."""

    @classmethod
    def of(
        cls,
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor | None = None,
        delta_bias: Tensor | None = None,
        *,
        delta_softplus: bool = False,
    ) -> ScanArguments:
        """Take B and C in any of mamba-ssm's shapes: (batch, N, L), (batch, G, N, L) or (D, N)."""
        return cls(u, delta, A, _four(B), _four(C), D, delta_bias, delta_softplus)

    def __post_init__(self) -> None:
        _require(self.u.ndim == 3, f"u is {tuple(self.u.shape)}, expected (batch, channels, length)")
        batch, channels, length = self.u.shape
        _require(
            self.delta.shape == self.u.shape,
            f"delta is {tuple(self.delta.shape)}, expected u's {tuple(self.u.shape)}",
        )
        _require(
            self.A.ndim == 2 and self.A.shape[0] == channels,
            f"A is {tuple(self.A.shape)}, expected ({channels}, states)",
        )
        _require(
            1 <= self.states <= LARGEST_STATE,
            f"{self.states} states, between 1 and {LARGEST_STATE} are possible",
        )
        for name, weights in (("B", self.B), ("C", self.C)):
            _check_weights(name, weights, batch, channels, self.states, length)
        for name, vector in (("D", self.D), ("delta_bias", self.delta_bias)):
            if vector is not None:
                _require(vector.shape == (channels,), f"{name} is {tuple(vector.shape)}, expected ({channels},)")
        for name, tensor in vars(self).items():
            if hasattr(tensor, "is_floating_point"):
                _require(tensor.is_floating_point(), f"{name} is {tensor.dtype}, expected a real floating dtype")

    @property
    def states(self) -> int:
        """N, the states per channel."""
        return int(self.A.shape[1])

    @property
    def groups(self) -> int:
        """G, the groups of channels that share B and C; D of them where one does not vary with time."""
        return math.lcm(int(self.B.shape[1]), int(self.C.shape[1]))

    @property
    def grouped(self) -> tuple[Tensor, Tensor]:
        """B and C with `groups` groups each: (batch, G, N, L), or (1, D, N, 1) where constant."""
        return self._grouped(self.B), self._grouped(self.C)

    def _grouped(self, weights: Tensor) -> Tensor:
        batch, groups, states, length = weights.shape
        repeats = self.groups // groups
        if repeats == 1:
            return weights
        apart = weights[:, :, None].expand(batch, groups, repeats, states, length)
        return apart.reshape(batch, self.groups, states, length)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All operands that are there."""
        optional = (tensor for tensor in (self.D, self.delta_bias) if tensor is not None)
        return (self.u, self.delta, self.A, self.B, self.C, *optional)


def _four(weights: Tensor) -> Tensor:
    if weights.ndim == 2:  # (D, N), the same at all times
        return weights[None, :, :, None]
    return weights[:, None] if weights.ndim == 3 else weights


def _check_weights(name: str, weights: Tensor, batch: int, channels: int, states: int, length: int) -> None:
    constant = (1, channels, states, 1)
    _require(
        weights.ndim == 4,
        f"{name} has {weights.ndim} dimensions, expected (batch, states, length), (batch, groups, states, length)"
        " or (channels, states)",
    )
    groups = weights.shape[1]
    varying = tuple(weights.shape) == (batch, groups, states, length) and groups and channels % groups == 0
    _require(
        bool(varying) or tuple(weights.shape) == constant,
        f"{name} is {tuple(weights.shape)}, expected ({batch}, groups, {states}, {length}) with groups that divide"
        f" {channels} channels, or ({channels}, {states})",
    )
