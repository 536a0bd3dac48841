"""The first pass of the selective scan backward on the CPU: the adjoint state between chunks.

See cpu_backward.py for the equations.
"""

# Compiled code: numba finds the types of arguments by itself and mypy cannot follow what it makes of functions.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202

import numpy as np

from hsfuse.scan.cpu.elementary import compiled, decay_any, decay_normal, decay_small, kernel
from hsfuse.scan.cpu.forward import CHUNK, NORMAL, ROW, SMALL, pack_decay, pack_delta, pack_states, padded
from hsfuse.scan.cpu.lanes import (
    LANES,
    WIDTH,
    aligned,
    fused,
    load,
    load_repeated,
    load_spread,
    store,
    without_denormals,
)
from hsfuse.scan.cpu.packing import clear, copy, pack


def _reverse_with(decay):
    """Compile the way of four states' adjoint back through a chunk with one of the ways to decay."""

    @compiled
    def run(work, a, g, dt, dy, C, steps):
        rate, adjoint = load(work, a), load(work, g)
        for t in range((steps - 1) * LANES, -1, -LANES):
            adjoint = fused(load_spread(work, C + t), load_repeated(work, dy + t), adjoint)
            adjoint, _ = decay(adjoint, load_repeated(work, dt + t), rate)
        store(work, g, without_denormals(adjoint))

    return run


_back_small, _back_normal, _back_any = (_reverse_with(d) for d in (decay_small, decay_normal, decay_any))


@kernel
def scan_adjoint(
    delta,
    A,
    C,
    bias,
    dy,
    d_last,
    saved,
    delta_by,
    A_by,
    C_by,
    dy_by,
    softplus_on,
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
    """Keep in ``saved`` the adjoint that enters each chunk from the right, for the channels first to end.

    Chunk c's begins at element ``save_at + c * chunk_size``; ``d_last``, the gradient of the last state, is
    dense (batch, channels, states) or empty, this batch at element ``last_at``.
    """
    size = padded(states) * LANES
    sizes_size = padded(states) // 4 + LANES
    memory = np.empty(2 * ROW + padded(states) * CHUNK + 2 * size + LANES + sizes_size + WIDTH, np.float32)
    work = memory[aligned(memory) :]
    dt, x, c = 0, ROW, 2 * ROW
    a = c + padded(states) * CHUNK
    g, shift, sizes = a + size, a + 2 * size, a + 2 * size + WIDTH
    chunks = (length + CHUNK - 1) // CHUNK
    for at in range(first, end, LANES):
        channels = min(LANES, end - at)
        clear(work, 0, work.size)
        pack_decay(work, a, sizes, A, at * A_by[0], A_by, channels, states)
        if bias.size:
            pack(work, shift, bias, at, 1, 0, channels, 1)
        if d_last.size:
            pack(work, g, d_last, last_at + at * states, states, 1, channels, states)
        for chunk in range(chunks - 1, -1, -1):
            t = chunk * CHUNK
            steps = min(CHUNK, length - t)
            copy(saved, save_at + chunk * chunk_size + (at - first) // LANES * size, work, g, size)
            if chunk == 0:
                break
            pack_states(work, c, C, batch * C_by[0] + group * C_by[1] + t * C_by[3], C_by, states, steps)
            largest = pack_delta(
                work,
                dt,
                delta,
                batch * delta_by[0] + at * delta_by[1] + t * delta_by[2],
                delta_by,
                shift,
                softplus_on,
                channels,
                steps,
            )
            pack(
                work,
                x,
                dy,
                batch * dy_by[0] + at * dy_by[1] + t * dy_by[2],
                dy_by[1],
                dy_by[2],
                channels,
                steps,
            )
            for n in range(0, states, 4):
                bound = largest * work[sizes + n // 4]
                i = n * LANES
                column = c + n // LANES * ROW + n % LANES
                if bound <= SMALL:
                    _back_small(work, a + i, g + i, dt, x, column, steps)
                elif bound <= NORMAL:
                    _back_normal(work, a + i, g + i, dt, x, column, steps)
                else:
                    _back_any(work, a + i, g + i, dt, x, column, steps)
