"""The selective scan forward on the CPU: one task per block of `LANES` channels.

A task walks along the sequence in chunks of `CHUNK` steps. A chunk's inputs are first laid out as one vector
per step, which stays in the first-level cache while each quadruple of states runs through the chunk with its
state in registers. Nothing of size length × channels × states exists.

Flat arrays come with their strides (batch, channel, step) or (batch, group, state, step) in elements.
"""

# Compiled code: numba finds the types of arguments by itself and mypy cannot follow what it makes of functions.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202

import numpy as np

from hsfuse.scan.cpu.elementary import (
    LOG2_E,
    compiled,
    decay_any,
    decay_normal,
    decay_small,
    kernel,
    sigmoid,
    softplus,
)
from hsfuse.scan.cpu.lanes import (
    LANES,
    WIDTH,
    add_folded,
    aligned,
    at_least,
    broadcast,
    fused,
    highest,
    load,
    load_repeated,
    load_spread,
    magnitude,
    store,
    without_denormals,
)
from hsfuse.scan.cpu.packing import clear, copy, pack, unpack

CHUNK = 128
"""Steps between the states that the backward pass starts from."""

ROW = LANES * CHUNK
"""Elements of one packed quantity over a chunk."""

_ZERO = np.float32(0.0)
SMALL, NORMAL = np.float32(0.5), np.float32(126.0)
"""Bounds of \\|delta a\\| up to which `decay_small` and `decay_normal` hold."""


@compiled
def padded(states):
    """The number of states, rounded up to whole vectors; the added ones have A = B = C = 0."""
    return (states + LANES - 1) // LANES * LANES


@compiled
def pack_decay(work, to, sizes, A, start, strides, channels, states):
    """A of one block, times log2(e), as one register per state; and the largest of every four."""
    clear(work, to, padded(states) * LANES)
    pack(work, to, A, start, strides[0], strides[1], channels, states)
    for i in range(to, to + padded(states) * LANES, WIDTH):
        rate = load(work, i) * broadcast(LOG2_E)
        store(work, i, rate)
        work[sizes + (i - to) // WIDTH] = highest(magnitude(rate))


@compiled
def pack_states(work, to, source, start, strides, states, steps):
    """B or C of one chunk: a row of `ROW` for every `LANES` states, in it one vector of states per step."""
    for n in range(0, states, LANES):
        pack(
            work,
            to + n * CHUNK,
            source,
            start + n * strides[2],
            strides[2],
            strides[3],
            min(LANES, states - n),
            steps,
        )


@compiled
def pack_delta(work, to, delta, start, strides, bias, softplus_on, channels, steps):
    """Δ of one chunk, with bias (one vector at element 0 of ``bias``) and softplus; returns its largest size."""
    pack(work, to, delta, start, strides[1], strides[2], channels, steps)
    largest = broadcast(_ZERO)
    for t in range(to, to + steps * LANES, WIDTH):
        d = load(work, t) + load_repeated(work, bias)
        if softplus_on:
            d = softplus(d)
        store(work, t, d)
        largest = at_least(magnitude(d), largest)
    return highest(largest)


def _quad_with(decay):
    """Compile the run of four states through a chunk with one of the ways to decay."""

    @compiled
    def run(work, a, h, dt, x, y, B, C, steps):
        rate, state = load(work, a), load(work, h)
        for t in range(0, steps * LANES, LANES):
            decayed, _ = decay(state, load_repeated(work, dt + t), rate)
            state = fused(load_spread(work, B + t), load_repeated(work, x + t), decayed)
            add_folded(work, y + t, load_spread(work, C + t) * state)
        store(work, h, without_denormals(state))

    return run


_run_small, _run_normal, _run_any = (_quad_with(d) for d in (decay_small, decay_normal, decay_any))


@compiled
def run_chunk(work, a, sizes, h, dt, x, y, B, C, states, steps, largest):
    """Carry all states through a chunk; their contributions are added to ``y``."""
    for n in range(0, states, 4):
        bound = largest * work[sizes + n // 4]
        i = n * LANES
        column = n // LANES * ROW + n % LANES
        if bound <= SMALL:
            _run_small(work, a + i, h + i, dt, x, y, B + column, C + column, steps)
        elif bound <= NORMAL:
            _run_normal(work, a + i, h + i, dt, x, y, B + column, C + column, steps)
        else:  # also where it is NaN
            _run_any(work, a + i, h + i, dt, x, y, B + column, C + column, steps)


@kernel
def scan_forward(  # noqa: C901  # its parts would pass each other two dozen offsets
    u,
    delta,
    A,
    B,
    C,
    D,
    bias,
    z,
    y,
    last,
    saved,
    u_by,
    delta_by,
    A_by,
    B_by,
    C_by,
    z_by,
    y_by,
    softplus_on,
    gated,
    batch,
    group,
    first,
    end,
    length,
    states,
    save_at,
    chunk_size,
    last_at,
):
    """Scan the channels from ``first`` to ``end`` of one batch and group.

    D and bias are dense (channels) or empty; ``last`` is dense (batch, channels, states) or empty, this batch
    at element ``last_at``; ``saved`` takes the state at the start of each chunk, that of chunk c at element
    ``save_at + c * chunk_size``, or is empty.
    """
    size = padded(states) * LANES
    blocks = (end - first + LANES - 1) // LANES
    block_size = 2 * size + padded(states) // 4 + 2 * WIDTH
    block_size += -block_size % WIDTH
    memory = np.empty(3 * ROW + 2 * padded(states) * CHUNK + blocks * block_size + WIDTH, np.float32)
    work = memory[aligned(memory) :]
    clear(work, 0, work.size)
    dt, x, out, b = 0, ROW, 2 * ROW, 3 * ROW
    c = b + padded(states) * CHUNK
    per_block = c + padded(states) * CHUNK
    for block in range(blocks):
        a = per_block + block * block_size
        at = first + block * LANES
        channels = min(LANES, end - at)
        skip, sizes = a + 2 * size, a + 2 * size + 2 * WIDTH
        pack_decay(work, a, sizes, A, at * A_by[0], A_by, channels, states)
        if D.size:
            pack(work, skip, D, at, 1, 0, channels, 1)
        if bias.size:
            pack(work, skip + LANES, bias, at, 1, 0, channels, 1)
    for t in range(0, length, CHUNK):
        steps = min(CHUNK, length - t)
        pack_states(work, b, B, batch * B_by[0] + group * B_by[1] + t * B_by[3], B_by, states, steps)
        pack_states(work, c, C, batch * C_by[0] + group * C_by[1] + t * C_by[3], C_by, states, steps)
        for block in range(blocks):
            a = per_block + block * block_size
            h, skip, sizes = a + size, a + 2 * size, a + 2 * size + 2 * WIDTH
            at = first + block * LANES
            channels = min(LANES, end - at)
            if saved.size:
                copy(saved, save_at + t // CHUNK * chunk_size + block * size, work, h, size)
            largest = pack_delta(
                work,
                dt,
                delta,
                batch * delta_by[0] + at * delta_by[1] + t * delta_by[2],
                delta_by,
                skip + LANES,
                softplus_on,
                channels,
                steps,
            )
            pack(work, x, u, batch * u_by[0] + at * u_by[1] + t * u_by[2], u_by[1], u_by[2], channels, steps)
            for i in range(0, steps * LANES, WIDTH):
                v = load(work, x + i)
                store(work, out + i, v * load_repeated(work, skip))
                store(work, x + i, v * load(work, dt + i))
            run_chunk(work, a, sizes, h, dt, x, out, b, c, states, steps, largest)
            if gated:
                pack(
                    work,
                    x,
                    z,
                    batch * z_by[0] + at * z_by[1] + t * z_by[2],
                    z_by[1],
                    z_by[2],
                    channels,
                    steps,
                )
                for i in range(0, steps * LANES, WIDTH):
                    v = load(work, x + i)
                    store(work, out + i, load(work, out + i) * (v * sigmoid(v)))
            unpack(work, out, y, batch * y_by[0] + at * y_by[1] + t * y_by[2], y_by[1], y_by[2], channels, steps)
    if last.size:
        for block in range(blocks):
            at = first + block * LANES
            unpack(
                work,
                per_block + block * block_size + size,
                last,
                last_at + at * states,
                states,
                1,
                min(LANES, end - at),
                states,
            )
