"""The selective scan on the GPU: Triton kernels over chunks of the sequence, state in float32.

    h_t = exp(Δ_t A) h_{t-1} + Δ_t B_t u_t        y_t = C_t · h_t + D u_t

What a chunk of T steps does to the state is linear, h ← exp(A ΣΔ) h + e. So

1. `chunk_ends` finds e for every chunk, and `carry` the state at the start of each from them;
2. `scan_chunks` scans every chunk from its state;
3. backward, the same two with time reversed give the adjoint that enters each chunk from the right, and `scan_back`
   goes through the chunk both ways.

The layout: one warp takes a tile of (CHANNELS, T), its time over the 32 threads, and goes through the states one by
one. What does not depend on the state (Δ with its softplus, Δu, the sum y) is then computed once and stays in
registers; a row of B or C is read once for all channels of the tile; and a state's scan stays within a warp, with
no barrier and no shared memory. One warp with four channels of 128 steps needs fewer instructions a state-step than
four warps with one channel of 2,048, and a quarter of the traffic of B and C; what it carries from chunk to chunk is
4 bytes a channel and state for 128 steps.

Exponents over more than a chunk are those of sums of Δ, never products of rounded exponentials. No atomics: results
repeat bit by bit.

Tensors u, delta, y, their gradients: dense (batch, D, L), any dtype. B, C: any strides, 0 where constant; fast where
steps lie next to one another. States at the chunks' bounds: (batch, chunks, D, N), float32.
"""

# Compiled code: triton finds the types of arguments by itself and mypy cannot follow what it makes of functions.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _step_size(pointer, bias, mask, SOFTPLUS: tl.constexpr):
    """Δ as float32, 0 where masked."""
    raw = tl.load(pointer, mask=mask, other=0.0).to(tl.float32) + bias
    if SOFTPLUS:
        # log(1 + e) for small e as 2 atanh(e / (2 + e)): log(1 + e) itself would round e away
        e = tl.exp2(-tl.abs(raw) * LOG2_E)
        r = e / (2.0 + e)
        s = r * r
        series = 2.0 * r * (1.0 + s * (0.33333333 + s * (0.2 + s * (0.14285715 + s * 0.11111111))))
        raw = tl.maximum(raw, 0.0) + tl.where(e < 0.25, series, tl.log(1.0 + e))
    return tl.where(mask, raw, 0.0)


@triton.jit
def _bias(pointer, d, real, BIAS: tl.constexpr):
    """What is added to each channel's Δ, (CHANNELS, 1)."""
    if BIAS:
        return tl.load(pointer + d, mask=real, other=0.0).to(tl.float32)[:, None]
    else:  # noqa: RET505  # the branch that is not compiled must not give a type
        return 0.0


@triton.jit
def _row(pointer, n, stride, inside):
    """State n of B or C at the tile's steps, (1, T) as float32."""
    return tl.load(pointer + n * tl.cast(stride, tl.int64), mask=inside, other=0.0).to(tl.float32)[None, :]


@triton.jit
def _then(decay_1, inflow_1, decay_2, inflow_2):
    """First h ← decay_1 h + inflow_1, then the second."""
    return decay_1 * decay_2, decay_2 * inflow_1 + inflow_2


@triton.jit
def chunk_ends(
    x_pointer,
    delta_pointer,
    A_pointer,
    W_pointer,
    bias_pointer,
    ends_pointer,
    sums_pointer,
    W_batch,
    W_group,
    W_state,
    W_step,
    length,
    channels,
    states,
    chunks,
    blocks,
    per_group,
    SOFTPLUS: tl.constexpr,
    BIAS: tl.constexpr,
    REVERSE: tl.constexpr,
    T: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """What a chunk adds to the state at its end, Σ exp(A Σ_{s>t} Δ_s) Δ_t B_t u_t, with x = u and W = B.

    Reversed, what it adds to the adjoint before its start, Σ exp(A Σ_{s≤t} Δ_s) C_t dy_t, with x = dy and W = C.
    ``sums`` takes ΣΔ, (batch, chunks, D).
    """
    group, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    chunk, batch = tl.program_id(1), tl.program_id(2).to(tl.int64)
    c, steps = block * CHANNELS + tl.arange(0, CHANNELS), tl.arange(0, T)
    d, t = group * per_group + c, chunk * T + steps
    real, inside = c < per_group, t < length
    tile = real[:, None] & inside[None, :]
    at = (batch * channels + d)[:, None] * length + t[None, :]
    bias = _bias(bias_pointer, d, real, BIAS)
    delta = _step_size(delta_pointer + at, bias, tile, SOFTPLUS)
    x = tl.load(x_pointer + at, mask=tile, other=0.0).to(tl.float32)
    if REVERSE:
        span = tl.cumsum(delta, 1)
    else:
        x *= delta
        # The sum of what follows, not the whole less what came: near the end, where it counts, that would cancel.
        later = tile & (t + 1 < length)[None, :] & (steps + 1 < T)[None, :]
        span = tl.cumsum(_step_size(delta_pointer + at + 1, bias, later, SOFTPLUS), 1, reverse=True)
    W_row = W_pointer + batch * W_batch + group.to(tl.int64) * W_group + t * W_step
    out = (batch * chunks + chunk) * channels + d
    tl.store(sums_pointer + out, tl.sum(delta, 1), mask=real)
    for n in range(states):
        A = tl.load(A_pointer + d * states + n, mask=real, other=0.0)[:, None] * LOG2_E
        total = tl.sum(tl.exp2(span * A) * (x * _row(W_row, n, W_state, inside)), 1)
        tl.store(ends_pointer + out * states + n, total, mask=real)


@triton.jit
def carry(
    ends_pointer,
    sums_pointer,
    A_pointer,
    initial_pointer,
    starts_pointer,
    final_pointer,
    channels,
    states,
    chunks,
    INITIAL: tl.constexpr,
    FINAL: tl.constexpr,
    REVERSE: tl.constexpr,
    K: tl.constexpr,
    N: tl.constexpr,
):
    """The state that enters each chunk, from what each chunk adds; reversed, the adjoint. K chunks at a time."""
    d, batch = tl.program_id(0), tl.program_id(1).to(tl.int64)
    k, n = tl.arange(0, K), tl.arange(0, N)
    real = n < states
    A = tl.load(A_pointer + d * states + n, mask=real, other=0.0) * LOG2_E
    state_at = (batch * channels + d) * states + n
    state = tl.zeros((N,), tl.float32)
    if INITIAL:
        state = tl.load(initial_pointer + state_at, mask=real, other=0.0).to(tl.float32)
    origin = batch * chunks * channels + d
    for begin in range(0, chunks, K):
        order = begin + k
        chunk = chunks - 1 - order if REVERSE else order
        at = origin + chunk * channels
        tile = (order < chunks)[:, None] & real[None, :]
        inflow = tl.load(ends_pointer + at[:, None] * states + n[None, :], mask=tile, other=0.0)
        total = tl.load(sums_pointer + at, mask=order < chunks, other=0.0)
        decay = tl.exp2(total[:, None] * A[None, :])
        decay, inflow = tl.associative_scan((decay, inflow), 0, _then)
        after = inflow + decay * state[None, :]
        step = -channels if REVERSE else channels
        following = (order + 1 < chunks)[:, None] & real[None, :]
        tl.store(starts_pointer + (at + step)[:, None] * states + n[None, :], after, mask=following)
        first = origin + (chunks - 1 if REVERSE else 0) * channels
        tl.store(starts_pointer + first * states + n, state, mask=real & (begin == 0))
        state = tl.sum(tl.where((k == K - 1)[:, None], after, 0.0), 0)
    if FINAL:
        tl.store(final_pointer + state_at, state, mask=real)


@triton.jit
def scan_chunks(
    u_pointer,
    delta_pointer,
    A_pointer,
    B_pointer,
    C_pointer,
    D_pointer,
    bias_pointer,
    starts_pointer,
    y_pointer,
    B_batch,
    B_group,
    B_state,
    B_step,
    C_batch,
    C_group,
    C_state,
    C_step,
    length,
    channels,
    states,
    chunks,
    blocks,
    per_group,
    SOFTPLUS: tl.constexpr,
    BIAS: tl.constexpr,
    SKIP: tl.constexpr,
    T: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """y_t = Σ_n C_t h_t + D u_t of one chunk, from the state at its start."""
    group, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    chunk, batch = tl.program_id(1), tl.program_id(2).to(tl.int64)
    c = block * CHANNELS + tl.arange(0, CHANNELS)
    d, t = group * per_group + c, chunk * T + tl.arange(0, T)
    real, inside = c < per_group, t < length
    tile = real[:, None] & inside[None, :]
    at = (batch * channels + d)[:, None] * length + t[None, :]
    delta = _step_size(delta_pointer + at, _bias(bias_pointer, d, real, BIAS), tile, SOFTPLUS)
    u = tl.load(u_pointer + at, mask=tile, other=0.0).to(tl.float32)
    y = tl.zeros((CHANNELS, T), tl.float32)
    if SKIP:
        y = tl.load(D_pointer + d, mask=real, other=0.0).to(tl.float32)[:, None] * u
    delta_u = delta * u
    B_row = B_pointer + batch * B_batch + group.to(tl.int64) * B_group + t * B_step
    C_row = C_pointer + batch * C_batch + group.to(tl.int64) * C_group + t * C_step
    state_at = ((batch * chunks + chunk) * channels + d) * states
    for n in range(states):
        A = tl.load(A_pointer + d * states + n, mask=real, other=0.0)[:, None] * LOG2_E
        start = tl.load(starts_pointer + state_at + n, mask=real, other=0.0)[:, None]
        inflow = delta_u * _row(B_row, n, B_state, inside)
        decay, h = tl.associative_scan((tl.exp2(delta * A), inflow), 1, _then)
        y += (h + decay * start) * _row(C_row, n, C_state, inside)
    tl.store(y_pointer + at, y.to(y_pointer.dtype.element_ty), mask=tile)


@triton.jit
def scan_back(
    u_pointer,
    delta_pointer,
    A_pointer,
    B_pointer,
    C_pointer,
    D_pointer,
    bias_pointer,
    starts_pointer,
    dy_pointer,
    adjoints_pointer,
    du_pointer,
    ddelta_pointer,
    dA_pointer,
    dB_pointer,
    dC_pointer,
    B_batch,
    B_group,
    B_state,
    B_step,
    C_batch,
    C_group,
    C_state,
    C_step,
    length,
    channels,
    states,
    chunks,
    blocks,
    per_group,
    per_block,
    batches,
    SOFTPLUS: tl.constexpr,
    BIAS: tl.constexpr,
    SKIP: tl.constexpr,
    T: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Gradients of one chunk and of ``per_block`` channels, a tile of them after the other.

    With the adjoint g_t = C_t dy_t + exp(Δ_{t+1} A) g_{t+1}:

        dB_t = Σ_d g_t Δ_t u_t        dC_t = Σ_d h_t dy_t        dA = Σ_t Δ_t g_t exp(Δ_t A) h_{t-1}
        du_t = Δ_t Σ_n g_t B_t + D dy_t        dΔ_t = Σ_n g_t (A exp(Δ_t A) h_{t-1} + B_t u_t)

    dA is (batch, chunks, D, N), one summand per chunk. dB and dC are (blocks, batch, G, N, L), one summand per block
    of channels: the sum over a tile's channels is made in registers, that over a block's tiles in memory, by the one
    warp that reads and writes there.
    """
    group, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    chunk, batch = tl.program_id(1), tl.program_id(2).to(tl.int64)
    steps = tl.arange(0, T)
    t = chunk * T + steps
    inside = t < length
    later = (t + 1 < length) & (steps + 1 < T)
    B_row = B_pointer + batch * B_batch + group.to(tl.int64) * B_group + t * B_step
    C_row = C_pointer + batch * C_batch + group.to(tl.int64) * C_group + t * C_step
    part = ((block * batches + batch) * (channels // per_group) + group) * states * length + t
    begin = block * per_block
    end = tl.minimum(begin + per_block, per_group)
    for first in range(begin, end, CHANNELS):
        c = first + tl.arange(0, CHANNELS)
        d, real = group * per_group + c, c < end
        tile = real[:, None] & inside[None, :]
        at = (batch * channels + d)[:, None] * length + t[None, :]
        bias = _bias(bias_pointer, d, real, BIAS)
        delta = _step_size(delta_pointer + at, bias, tile, SOFTPLUS)
        following = _step_size(delta_pointer + at + 1, bias, tile & later[None, :], SOFTPLUS)
        delta_u = delta * tl.load(u_pointer + at, mask=tile, other=0.0).to(tl.float32)
        dy = tl.load(dy_pointer + at, mask=tile, other=0.0).to(tl.float32)
        weight, slope = tl.zeros((CHANNELS, T), tl.float32), tl.zeros((CHANNELS, T), tl.float32)
        state_at = ((batch * chunks + chunk) * channels + d) * states
        before = t < tl.where(first > begin, length, 0)  # what the block's earlier tiles left in dB and dC
        for n in range(states):
            A = tl.load(A_pointer + d * states + n, mask=real, other=0.0)[:, None]
            start = tl.load(starts_pointer + state_at + n, mask=real, other=0.0)[:, None]
            out = part + n * tl.cast(length, tl.int64)
            B, C = _row(B_row, n, B_state, inside), _row(C_row, n, C_state, inside)
            decay, h = tl.associative_scan((tl.exp2(delta * (A * LOG2_E)), delta_u * B), 1, _then)
            h += decay * start
            dC = tl.load(dC_pointer + out, mask=before, other=0.0) + tl.sum(h * dy, 0)
            tl.store(dC_pointer + out, dC, mask=inside)
            back, g = tl.associative_scan((tl.exp2(following * (A * LOG2_E)), dy * C), 1, _then, reverse=True)
            g += back * tl.load(adjoints_pointer + state_at + n, mask=real, other=0.0)[:, None]
            dB = tl.load(dB_pointer + out, mask=before, other=0.0) + tl.sum(g * delta_u, 0)
            tl.store(dB_pointer + out, dB, mask=inside)
            weight += g * B
            through = g * (h - delta_u * B)  # g_t exp(Δ_t A) h_{t-1}
            slope += through * A
            tl.store(dA_pointer + state_at + n, tl.sum(through * delta, 1), mask=real)
        # u again from memory: kept, it would be the registers that are one too many
        slope += weight * tl.load(u_pointer + at, mask=tile, other=0.0).to(tl.float32)
        if SOFTPLUS:
            raw = tl.load(delta_pointer + at, mask=tile, other=0.0).to(tl.float32) + bias
            slope *= 1.0 / (1.0 + tl.exp2(-raw * LOG2_E))
        du = weight * delta
        if SKIP:
            du += tl.load(D_pointer + d, mask=real, other=0.0).to(tl.float32)[:, None] * dy
        tl.store(du_pointer + at, du.to(du_pointer.dtype.element_ty), mask=tile)
        tl.store(ddelta_pointer + at, slope.to(ddelta_pointer.dtype.element_ty), mask=tile)
        tl.debug_barrier()  # what one thread wrote of dB and dC, another may read for the next tile
