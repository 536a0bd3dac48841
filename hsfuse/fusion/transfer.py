"""Tiles to the device and fused ones back: on a card while others are computed, on the CPU without a copy.

A card has two streams beside the one it computes on. A tile goes to it from pinned memory on the first, and what was
made of it leaves on the second; events alone say what waits for what, so that the card computes one tile while the next
arrives and the last leaves. Pinned buffers come from torch, which uses them again as soon as nothing needs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Leaving(Protocol):
    """Tensors on their way to the host."""

    @property
    def nbytes(self) -> int:
        """Their size."""

    def wait_computed(self) -> None:
        """Return once the device has computed them."""

    def arrived(self) -> tuple[Tensor, ...]:
        """They themselves, on the CPU, once they are there."""


class Lane(Protocol):
    """The way to a device and back."""

    @property
    def ahead(self) -> int:
        """How many tiles are begun before the one that is waited for."""

    def bring(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Tensors of the CPU on the device, where the next work finds them whole."""

    def fetch(self, *tensors: Tensor) -> Leaving:
        """Send tensors of the device to the CPU as soon as they have been computed; the caller does not wait."""


@cache
def lane_to(device: torch.device) -> Lane:
    """The way to a device; one a device and process."""
    return CardLane(device) if device.type == "cuda" else AT_HOME


@dataclass(frozen=True)
class _Here:
    """What need not move."""

    tensors: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        """Their size."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def wait_computed(self) -> None:
        """They have been."""

    def arrived(self) -> tuple[Tensor, ...]:
        """As they are."""
        return self.tensors


@dataclass(frozen=True)
class _Home:
    """The CPU: nothing moves, and a tile is done when its work returns."""

    ahead: int = 0

    def bring(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The tensors."""
        return tensors

    def fetch(self, *tensors: Tensor) -> Leaving:
        """The tensors."""
        return _Here(tensors)


AT_HOME: Lane = _Home()
"""To the CPU."""


class CardLane:
    """To a CUDA device."""

    ahead = 1

    def __init__(self, device: torch.device) -> None:
        """Make the two streams."""
        self._device = device
        self._in, self._out = (torch.cuda.Stream(device) for _ in range(2))  # type: ignore[no-untyped-call]

    def bring(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Copy them beside what the card computes; the stream that computes waits for them."""
        with torch.cuda.stream(self._in):
            there = tuple(tensor.pin_memory().to(self._device, non_blocking=True) for tensor in tensors)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_event(self._in.record_event())
        for tensor in there:
            tensor.record_stream(computing)  # else its memory could be overwritten on the stream that it was made on
        return there

    def fetch(self, *tensors: Tensor) -> Leaving:
        """Copy them beside what the card computes next."""
        computed = torch.cuda.current_stream(self._device).record_event()
        self._out.wait_event(computed)
        with torch.inference_mode(), torch.cuda.stream(self._out):  # they come from there
            pinned = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
            here = tuple(to.copy_(tensor, non_blocking=True) for to, tensor in zip(pinned, tensors, strict=True))
            for tensor in tensors:
                tensor.record_stream(self._out)  # else its memory could be overwritten where the caller forgets it
        return _Copied(here, computed, self._out.record_event())


@dataclass(frozen=True)
class _Copied(_Here):
    """What leaves a card."""

    computed: torch.cuda.Event
    copied: torch.cuda.Event

    def wait_computed(self) -> None:
        """Wait for the card, and for nothing that was begun later."""
        self.computed.synchronize()

    def arrived(self) -> tuple[Tensor, ...]:
        """Wait for the copies."""
        self.copied.synchronize()
        return self.tensors
