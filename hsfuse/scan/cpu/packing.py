"""Moving channels × steps between a tensor's memory and one vector per step."""

# Compiled code: numba finds the types of arguments by itself and mypy cannot follow what it makes of functions.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201

import numpy as np

from hsfuse.scan.cpu.elementary import compiled
from hsfuse.scan.cpu.lanes import LANES, transpose

_ZERO = np.float32(0.0)


@compiled
def pack(target, to, source, start, across, along, channels, steps):
    """Lay out ``channels`` × ``steps`` elements of flat memory as one vector per step.

    ``across`` and ``along`` are the strides between channels and between steps; lanes without a channel
    become zero.
    """
    whole = 0
    if channels == LANES and along == 1:
        whole = steps // LANES * LANES
        for t in range(0, whole, LANES):
            transpose(target, to + t * LANES, LANES, source, start + t, across)
    for t in range(whole, steps):
        for i in range(channels):
            target[to + t * LANES + i] = source[start + i * across + t * along]
        for i in range(channels, LANES):
            target[to + t * LANES + i] = _ZERO


@compiled
def unpack(source, at, target, start, across, along, channels, steps):
    """The inverse of `pack`: from one vector per step back to flat memory with these strides."""
    whole = 0
    if channels == LANES and along == 1:
        whole = steps // LANES * LANES
        for t in range(0, whole, LANES):
            transpose(target, start + t, across, source, at + t * LANES, LANES)
    for t in range(whole, steps):
        for i in range(channels):
            target[start + i * across + t * along] = source[at + t * LANES + i]


@compiled
def copy(target, to, source, start, length):
    """Copy ``length`` elements."""
    for i in range(length):
        target[to + i] = source[start + i]


@compiled
def clear(target, to, length):
    """Set ``length`` elements to zero."""
    for i in range(to, to + length):
        target[i] = _ZERO
