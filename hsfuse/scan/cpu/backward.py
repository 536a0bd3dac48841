"""The selective scan backward on the CPU: two passes over chunks of `CHUNK` steps.

With p_t = exp(Δ_t A) h_{t-1}, h_t = p_t + Δ_t B_t u_t and g_t = dL/dh_t:

    g_t = C_t dy_t + exp(Δ_{t+1} A) g_{t+1}
    dC_t = h_t dy_t    dB_t = g_t Δ_t u_t    dA = Σ_t g_t p_t Δ_t
    w_t = Σ_n g_t B_t    du_t = w_t Δ_t + D dy_t    dΔ_t = Σ_n g_t p_t A + w_t u_t

`scan_adjoint` (cpu_adjoint.py) walks a few channels from the last step to the first and keeps what enters
each chunk from the right. Then all chunks are independent: `scan_backward` takes the state that the forward
pass kept at its left end, runs through the chunk again, and comes back with the gradients. A chunk's dB and dC,
sums over all channels, belong to one task, and dA is summed per task: no result depends on the threads.
"""

# Compiled code: numba finds the types of arguments by itself and mypy cannot follow what it makes of functions.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202

import numpy as np

from hsfuse.scan.cpu.elementary import (
    compiled,
    decay_any,
    decay_normal,
    decay_small,
    kernel,
    sigmoid,
)
from hsfuse.scan.cpu.forward import (
    CHUNK,
    NORMAL,
    ROW,
    SMALL,
    pack_decay,
    pack_delta,
    pack_states,
    padded,
)
from hsfuse.scan.cpu.lanes import (
    LANES,
    WIDTH,
    add_folded,
    add_row_sums,
    aligned,
    broadcast,
    fused,
    load,
    load_repeated,
    load_spread,
    store,
)
from hsfuse.scan.cpu.packing import clear, copy, pack, unpack

_LN_2 = np.float32(np.log(2.0))
_ROUND = 4  # steps whose sums over the lanes are taken together


def _there_and_back_with(decay):
    """Compile four states' run through a chunk and back, which adds up all gradients."""

    @compiled
    def run(work, a, h, g, dt, x, dy, B, C, p, factors, sums, ddt, w, dA, dB, dC, steps):
        rate, state, adjoint, slope = load(work, a), load(work, h), load(work, g), load(work, dA)
        for t in range(0, steps * LANES, LANES):
            decayed, factor = decay(state, load_repeated(work, dt + t), rate)
            state = fused(load_spread(work, B + t), load_repeated(work, x + t), decayed)
            store(work, p + 4 * t, decayed)
            store(work, factors + 4 * t, factor)
        for round_start in range((steps - _ROUND) * LANES, -1, -_ROUND * LANES):
            for i in range((_ROUND - 1) * LANES, -1, -LANES):
                t = round_start + i
                output, inflow = load_repeated(work, dy + t), load_repeated(work, x + t)
                b, decayed = load_spread(work, B + t), load(work, p + 4 * t)
                adjoint = fused(load_spread(work, C + t), output, adjoint)
                store(work, sums + 4 * i, adjoint * inflow)
                store(work, sums + WIDTH * _ROUND + 4 * i, output * fused(b, inflow, decayed))
                add_folded(work, w + t, adjoint * b)
                through = adjoint * decayed
                add_folded(work, ddt + t, through * rate)
                slope = fused(through, load_repeated(work, dt + t), slope)
                adjoint = adjoint * load(work, factors + 4 * t)
            for i in range(0, 4 * _ROUND, LANES):
                add_row_sums(work, dB + round_start // LANES * 4 + i, work, sums + i * LANES)
                add_row_sums(work, dC + round_start // LANES * 4 + i, work, sums + WIDTH * _ROUND + i * LANES)
        store(work, dA, slope)

    return run


_run_small, _run_normal, _run_any = (_there_and_back_with(d) for d in (decay_small, decay_normal, decay_any))


@compiled
def _prepare(work, dt, u, x, dy, steps):
    """The inflow x = Δ u, with steps that add nothing up to a whole round; returns the rounded number of steps."""
    rounded = (steps + _ROUND - 1) // _ROUND * _ROUND
    for row in (dt, u, dy):
        clear(work, row + steps * LANES, (rounded - steps) * LANES)
    for i in range(0, rounded * LANES, WIDTH):
        store(work, x + i, load(work, u + i) * load(work, dt + i))
    return rounded


@compiled
def _finish(work, dt, u, x, dy, ddt, w, skip, shift, softplus_on, steps):
    """Gradients of u and of Δ before bias and softplus, left in ``x`` and ``ddt``; ``x`` held raw Δ."""
    for i in range(0, steps * LANES, WIDTH):
        weight = load(work, w + i)
        slope = fused(weight, load(work, u + i), load(work, ddt + i) * broadcast(_LN_2))
        if softplus_on:
            slope = slope * sigmoid(load(work, x + i) + load_repeated(work, shift))
        store(work, ddt + i, slope)
        store(work, x + i, fused(weight, load(work, dt + i), load(work, dy + i) * load_repeated(work, skip)))


@compiled
def _add_columns(work, sums, target, start, strides, states, steps):
    """Add a chunk's dB or dC, kept as (states / 4, steps, 4), to its place."""
    for n in range(states):
        row = sums + n // 4 * 4 * CHUNK + n % 4
        for t in range(steps):
            target[start + n * strides[2] + t * strides[3]] += work[row + 4 * t]


@kernel
def scan_backward(  # noqa: PLR0915  # its parts would pass each other two dozen offsets
    u,
    delta,
    A,
    B,
    C,
    D,
    bias,
    dy,
    states_in,
    adjoints_in,
    du,
    ddelta,
    dA,
    dB,
    dC,
    u_by,
    delta_by,
    A_by,
    B_by,
    C_by,
    dy_by,
    du_by,
    ddelta_by,
    dB_by,
    dC_by,
    softplus_on,
    batch,
    group,
    first,
    end,
    first_chunk,
    end_chunk,
    length,
    states,
    save_at,
    chunk_size,
    dA_at,
    dB_at,
    dC_at,
):
    """The gradients of the channels first to end, a whole group, in the chunks first_chunk to end_chunk.

    ``states_in`` and ``adjoints_in`` are what `scan_forward` and `scan_adjoint` kept; dA is dense (task,
    channels, states), this task at element ``dA_at``; dB and dC begin with this batch and group at ``dB_at``
    and ``dC_at`` and are added to: their stride of a step is 0 where B or C does not vary with time.
    """
    size = padded(states) * LANES
    sizes_size = padded(states) // 4 + LANES
    blocks = (end - first + LANES - 1) // LANES
    columns = padded(states) * CHUNK
    memory = np.empty(
        7 * ROW
        + 4 * columns
        + 2 * CHUNK * WIDTH
        + 2 * WIDTH * _ROUND
        + 2 * size
        + blocks * (2 * size + sizes_size)
        + 3 * WIDTH,
        np.float32,
    )
    work = memory[aligned(memory) :]
    clear(work, 0, work.size)
    dt, v, x, out, ddt, w = 0, ROW, 2 * ROW, 3 * ROW, 4 * ROW, 5 * ROW
    b = 6 * ROW
    c, db, dc, p = b + columns, b + 2 * columns, b + 3 * columns, b + 4 * columns
    factors, sums = p + CHUNK * WIDTH, p + 2 * CHUNK * WIDTH
    h = sums + 2 * WIDTH * _ROUND
    g, skip, per_block = h + size, h + 2 * size, h + 2 * size + WIDTH
    sizes = per_block + 2 * blocks * size
    for block in range(blocks):
        at = first + block * LANES
        pack_decay(
            work,
            per_block + 2 * block * size,
            sizes + block * sizes_size,
            A,
            at * A_by[0],
            A_by,
            min(LANES, end - at),
            states,
        )
    for chunk in range(first_chunk, end_chunk):
        t = chunk * CHUNK
        steps = min(CHUNK, length - t)
        pack_states(work, b, B, batch * B_by[0] + group * B_by[1] + t * B_by[3], B_by, states, steps)
        pack_states(work, c, C, batch * C_by[0] + group * C_by[1] + t * C_by[3], C_by, states, steps)
        clear(work, db, 2 * columns)
        for block in range(blocks):
            at = first + block * LANES
            channels = min(LANES, end - at)
            a = per_block + 2 * block * size
            slope = a + size
            copy(work, h, states_in, save_at + chunk * chunk_size + block * size, size)
            copy(work, g, adjoints_in, save_at + chunk * chunk_size + block * size, size)
            if D.size:
                pack(work, skip, D, at, 1, 0, channels, 1)
            if bias.size:
                pack(work, skip + LANES, bias, at, 1, 0, channels, 1)
            delta_at = batch * delta_by[0] + at * delta_by[1] + t * delta_by[2]
            largest = pack_delta(work, dt, delta, delta_at, delta_by, skip + LANES, softplus_on, channels, steps)
            pack(work, v, u, batch * u_by[0] + at * u_by[1] + t * u_by[2], u_by[1], u_by[2], channels, steps)
            pack(
                work,
                out,
                dy,
                batch * dy_by[0] + at * dy_by[1] + t * dy_by[2],
                dy_by[1],
                dy_by[2],
                channels,
                steps,
            )
            rounded = _prepare(work, dt, v, x, out, steps)
            clear(work, ddt, 2 * ROW)
            for n in range(0, states, 4):
                bound = largest * work[sizes + block * sizes_size + n // 4]
                i = n * LANES
                column = n // LANES * ROW + n % LANES
                arguments = (
                    work,
                    a + i,
                    h + i,
                    g + i,
                    dt,
                    x,
                    out,
                    b + column,
                    c + column,
                    p,
                    factors,
                    sums,
                    ddt,
                    w,
                    slope + i,
                    db + n * CHUNK,
                    dc + n * CHUNK,
                    rounded,
                )
                if bound <= SMALL:
                    _run_small(*arguments)
                elif bound <= NORMAL:
                    _run_normal(*arguments)
                else:
                    _run_any(*arguments)
            pack(work, x, delta, delta_at, delta_by[1], delta_by[2], channels, steps)
            _finish(work, dt, v, x, out, ddt, w, skip, skip + LANES, softplus_on, steps)
            unpack(
                work,
                x,
                du,
                batch * du_by[0] + at * du_by[1] + t * du_by[2],
                du_by[1],
                du_by[2],
                channels,
                steps,
            )
            unpack(
                work,
                ddt,
                ddelta,
                batch * ddelta_by[0] + at * ddelta_by[1] + t * ddelta_by[2],
                ddelta_by[1],
                ddelta_by[2],
                channels,
                steps,
            )
        _add_columns(work, db, dB, dB_at + t * dB_by[3], dB_by, states, steps)
        _add_columns(work, dc, dC, dC_at + t * dC_by[3], dC_by, states, steps)
    for block in range(blocks):
        at = first + block * LANES
        unpack(
            work,
            per_block + 2 * block * size + size,
            dA,
            dA_at + at * states,
            states,
            1,
            min(LANES, end - at),
            states,
        )
