"""The gates and both directions of MGDuNLSS-Net's recurrence along the bands on the CPU, in one pass over memory.

A task is one feature of one image: it walks through the pixels in blocks, and through each block along the bands and
back, so that candidates and states stay in the first caches between the two.
"""

# Compiled code: numba finds the types of arguments by itself and mypy cannot follow what it makes of functions.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202

import numpy as np

from hsfuse.scan.cpu.elementary import LOG2_E, compiled, growth, kernel
from hsfuse.scan.cpu.lanes import ROUNDING, WIDTH, at_least, at_most, broadcast, fused, load, power_of_two, store

_BLOCK = 4 * WIDTH
"""Pixels in a block."""

_ROUNDING, _ZERO, _ONE, _TWO = (np.float32(value) for value in (ROUNDING, 0.0, 1.0, 2.0))
_FARTHEST = np.float32(126.0)


@compiled
def _sigmoid(x, rate):
    """1 / (1 + 2^(rate x)): the sigmoid of x for a rate of -log2(e)."""
    z = at_most(at_least(x * rate, broadcast(-_FARTHEST)), broadcast(_FARTHEST))
    biased = z + broadcast(_ROUNDING)
    s = growth(z - (biased - broadcast(_ROUNDING)))
    scale = power_of_two(biased)
    return broadcast(_ONE) / (broadcast(_ONE) + fused(s, scale, scale))


@compiled
def _sigmoid_at(gates, at):
    return _sigmoid(load(gates, at), broadcast(-LOG2_E))


@compiled
def _tanh_at(gates, at):
    """2 σ(2x) - 1: exact to float32's noise beside one, which is what features are."""
    return fused(broadcast(_TWO), _sigmoid(load(gates, at), broadcast(-_TWO * LOG2_E)), broadcast(-_ONE))


@compiled
def _between(share, one, other):
    """Share · one + (1 - share) · other."""
    return fused(share, one - other, other)


@kernel
def recur_feature(gates, result, gates_at, plane, by_band, result_at, bands, pixels):
    """One feature of one image; the last block of pixels reaches back over what is done where it is not whole.

    Args:
        gates: Flat gates and candidates.
        result: Flat.
        gates_at: Element of the feature's first Q→.
        plane: Elements from that to its R→, and so on.
        by_band: Elements from one band to the next.
        result_at: Element of the feature's first result.
        bands: How many.
        pixels: How many.
    """
    memory = np.empty((2 * bands + 1) * _BLOCK, np.float32)
    states, outputs, state = 0, bands * _BLOCK, 2 * bands * _BLOCK
    block = min(_BLOCK, pixels // WIDTH * WIDTH)
    for start in range(0, pixels, block):
        first = min(start, pixels - block)
        for i in range(block):
            memory[state + i] = _ZERO
        for band in range(bands):
            at = gates_at + band * by_band + first
            to = result_at + band * pixels + first
            for i in range(0, block, WIDTH):
                candidate, output = _tanh_at(gates, at + 4 * plane + i), _tanh_at(gates, at + 5 * plane + i)
                store(memory, states + band * _BLOCK + i, candidate)
                store(memory, outputs + band * _BLOCK + i, output)
                reached = _between(_sigmoid_at(gates, at + i), load(memory, state + i), candidate)
                store(memory, state + i, reached)
                store(result, to + i, _between(_sigmoid_at(gates, at + plane + i), reached, output))
        for i in range(block):
            memory[state + i] = _ZERO
        for back in range(bands):
            band = bands - 1 - back
            at = gates_at + band * by_band + first
            to = result_at + band * pixels + first
            for i in range(0, block, WIDTH):
                candidate = load(memory, states + band * _BLOCK + i)
                reached = _between(_sigmoid_at(gates, at + 2 * plane + i), load(memory, state + i), candidate)
                store(memory, state + i, reached)
                seen = _between(
                    _sigmoid_at(gates, at + 3 * plane + i), reached, load(memory, outputs + band * _BLOCK + i)
                )
                store(result, to + i, load(result, to + i) + seen)
