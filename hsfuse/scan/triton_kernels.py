"""The selective scan on the GPU: Triton kernels over chunks of the sequence, state in float32.

One thread block takes one chunk of T steps for a few channels, so that a long sequence fills the card even with
one image and few channels. What a chunk does to the state is linear, h ← exp(A ΣΔ) h + e; so

1. `chunk_ends` finds e for every chunk, and `carry` the state at the start of each from them;
2. `scan_chunks` scans every chunk from its state, by an associative scan of (T, N) in registers;
3. backward, the same two with time reversed give the adjoint at each chunk's right end, and `scan_back` goes
   through the chunk both ways. dB and dC, sums over channels, stay in registers while a block goes through its
   channels: no atomics, so results repeat bit by bit.

Exponents are always those of sums of Δ, never products of rounded exponentials from chunk to chunk.

Tensors u, delta, y, their gradients: dense (batch, D, L), any dtype. B, C: any strides, 0 where constant.
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
def _first_and_end(block, blocks, per_group, CHANNELS: tl.constexpr):
    """Group, first channel and end of a block of channels."""
    group = block // blocks
    first = group * per_group + (block % blocks) * CHANNELS
    return group, first, tl.minimum(first + CHANNELS, (group + 1) * per_group)


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
    N: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """What a chunk adds to the state at its end (x = u, W = B), or reversed to the adjoint at its start (dy, C).

    ``ends`` is (batch, chunks, D, states), ``sums`` takes ΣΔ, (batch, chunks, D).
    """
    chunk, batch = tl.program_id(0), tl.program_id(2).to(tl.int64)
    group, first, end = _first_and_end(tl.program_id(1), blocks, per_group, CHANNELS)
    t, n = chunk * T + tl.arange(0, T), tl.arange(0, N)
    inside, real = t < length, n < states
    inside_next = (t + 1 < length) & (tl.arange(0, T) + 1 < T)
    tile = inside[:, None] & real[None, :]
    W_at = batch * W_batch + group.to(tl.int64) * W_group + n[None, :].to(tl.int64) * W_state + t[:, None] * W_step
    W = tl.load(W_pointer + W_at, mask=tile, other=0.0).to(tl.float32)
    for d in range(first, end):
        row = (batch * channels + d) * length
        bias = tl.load(bias_pointer + d).to(tl.float32) if BIAS else 0.0
        delta = _step_size(delta_pointer + row + t, bias, inside, SOFTPLUS)
        x = tl.load(x_pointer + row + t, mask=inside, other=0.0).to(tl.float32)
        if REVERSE:
            span = tl.cumsum(delta, 0)
        else:
            x *= delta
            following = _step_size(delta_pointer + row + t + 1, bias, inside_next, SOFTPLUS)
            span = tl.cumsum(following, 0, reverse=True)
        A = tl.load(A_pointer + d * states + n, mask=real, other=0.0) * LOG2_E
        total = tl.sum(tl.exp2(span[:, None] * A[None, :]) * (W * x[:, None]), 0)
        at = (batch * chunks + chunk) * channels + d
        tl.store(ends_pointer + at * states + n, total, mask=real)
        tl.store(sums_pointer + at, tl.sum(delta, 0))


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
    N: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Output y of one chunk, from the state at its start."""
    chunk, batch = tl.program_id(0), tl.program_id(2).to(tl.int64)
    group, first, end = _first_and_end(tl.program_id(1), blocks, per_group, CHANNELS)
    t, n = chunk * T + tl.arange(0, T), tl.arange(0, N)
    inside, real = t < length, n < states
    tile = inside[:, None] & real[None, :]
    states_64, group_64 = n[None, :].to(tl.int64), group.to(tl.int64)
    B_at = batch * B_batch + group_64 * B_group + states_64 * B_state + t[:, None] * B_step
    C_at = batch * C_batch + group_64 * C_group + states_64 * C_state + t[:, None] * C_step
    B = tl.load(B_pointer + B_at, mask=tile, other=0.0).to(tl.float32)
    C = tl.load(C_pointer + C_at, mask=tile, other=0.0).to(tl.float32)
    for d in range(first, end):
        row = (batch * channels + d) * length
        bias = tl.load(bias_pointer + d).to(tl.float32) if BIAS else 0.0
        delta = _step_size(delta_pointer + row + t, bias, inside, SOFTPLUS)
        u = tl.load(u_pointer + row + t, mask=inside, other=0.0).to(tl.float32)
        A = tl.load(A_pointer + d * states + n, mask=real, other=0.0) * LOG2_E
        start = tl.load(starts_pointer + ((batch * chunks + chunk) * channels + d) * states + n, mask=real, other=0.0)
        decay = tl.exp2(delta[:, None] * A[None, :])
        decay, h = tl.associative_scan((decay, (delta * u)[:, None] * B), 0, _then)
        h += decay * start[None, :]
        y = tl.sum(h * C, 1)
        if SKIP:
            y += tl.load(D_pointer + d).to(tl.float32) * u
        tl.store(y_pointer + row + t, y.to(y_pointer.dtype.element_ty), mask=inside)


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
    batches,
    SOFTPLUS: tl.constexpr,
    BIAS: tl.constexpr,
    SKIP: tl.constexpr,
    T: tl.constexpr,
    N: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Gradients of one chunk. Its dA takes the place of its ``starts``, which nobody else reads.

    dB and dC are (blocks, batch, G, states, L): one summand per block of channels.
    """
    chunk, batch = tl.program_id(0), tl.program_id(2).to(tl.int64)
    group, first, end = _first_and_end(tl.program_id(1), blocks, per_group, CHANNELS)
    steps, n = tl.arange(0, T), tl.arange(0, N)
    t = chunk * T + steps
    inside, real = t < length, n < states
    inside_next = (t + 1 < length) & (steps + 1 < T)
    tile = inside[:, None] & real[None, :]
    states_64, group_64 = n[None, :].to(tl.int64), group.to(tl.int64)
    B_at = batch * B_batch + group_64 * B_group + states_64 * B_state + t[:, None] * B_step
    C_at = batch * C_batch + group_64 * C_group + states_64 * C_state + t[:, None] * C_step
    B = tl.load(B_pointer + B_at, mask=tile, other=0.0).to(tl.float32)
    C = tl.load(C_pointer + C_at, mask=tile, other=0.0).to(tl.float32)
    dB, dC = tl.zeros((T, N), tl.float32), tl.zeros((T, N), tl.float32)
    for d in range(first, end):
        row = (batch * channels + d) * length
        bias = tl.load(bias_pointer + d).to(tl.float32) if BIAS else 0.0
        delta = _step_size(delta_pointer + row + t, bias, inside, SOFTPLUS)
        following = _step_size(delta_pointer + row + t + 1, bias, inside_next, SOFTPLUS)
        u = tl.load(u_pointer + row + t, mask=inside, other=0.0).to(tl.float32)
        dy = tl.load(dy_pointer + row + t, mask=inside, other=0.0).to(tl.float32)
        A = tl.load(A_pointer + d * states + n, mask=real, other=0.0)
        at = ((batch * chunks + chunk) * channels + d) * states + n
        start = tl.load(starts_pointer + at, mask=real, other=0.0)
        entering = tl.load(adjoints_pointer + at, mask=real, other=0.0)
        inflow = (delta * u)[:, None] * B
        decay = tl.exp2(delta[:, None] * (A * LOG2_E)[None, :])
        decay, h = tl.associative_scan((decay, inflow), 0, _then)
        h += decay * start[None, :]
        back = tl.exp2(following[:, None] * (A * LOG2_E)[None, :])
        back, g = tl.associative_scan((back, dy[:, None] * C), 0, _then, reverse=True)
        g += back * entering[None, :]
        dB += g * (delta * u)[:, None]
        dC += h * dy[:, None]
        through = g * (h - inflow)  # g_t exp(Δ_t A) h_{t-1}
        tl.store(starts_pointer + at, tl.sum(through * delta[:, None], 0), mask=real)
        weight = tl.sum(g * B, 1)
        slope = tl.sum(through * A[None, :], 1) + weight * u
        if SOFTPLUS:
            raw = tl.load(delta_pointer + row + t, mask=inside, other=0.0).to(tl.float32) + bias
            slope *= 1.0 / (1.0 + tl.exp2(-raw * LOG2_E))
        du = weight * delta
        if SKIP:
            du += tl.load(D_pointer + d).to(tl.float32) * dy
        tl.store(du_pointer + row + t, du.to(du_pointer.dtype.element_ty), mask=inside)
        tl.store(ddelta_pointer + row + t, slope.to(ddelta_pointer.dtype.element_ty), mask=inside)
    groups = channels // per_group
    part = ((tl.program_id(1) % blocks) * batches + batch) * groups + group
    out = (part * states + n[None, :]) * length + t[:, None]
    tl.store(dB_pointer + out, dB, mask=tile)
    tl.store(dC_pointer + out, dC, mask=tile)
