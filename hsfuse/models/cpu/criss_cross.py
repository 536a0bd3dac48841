"""Softmax attention along lines on the CPU, for queries and keys of few features.

A vector holds one position of `LANES` lines, a quad four positions of them, so rows and columns run through the same
code and no map of scores is ever written out: those of four queries to `CHUNK` keys stay in the first-level cache
while all features of the values are gathered by them. With two features in a query a score is two products; the fused
kernels of torch pad it to the width of the values.
"""

# Compiled code: numba finds the types of arguments by itself and mypy cannot follow what it makes of functions.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202

import numpy as np

from hsfuse.scan.cpu.elementary import LOG2_E, compiled, growth, kernel
from hsfuse.scan.cpu.lanes import (
    LANES,
    ROUNDING,
    WIDTH,
    add_register,
    aligned,
    at_least,
    broadcast,
    copy_register,
    fused,
    highest,
    load,
    load_repeated,
    magnitude,
    power_of_two,
    store,
)
from hsfuse.scan.cpu.packing import clear, pack, unpack

CHUNK = 64
"""Keys whose scores are held at once."""

_ROUNDING, _ZERO, _ONE = np.float32(ROUNDING), np.float32(0.0), np.float32(1.0)
_SMALL = np.float32(60.0)
"""Scores (base 2) within this need no maximum taken out: neither they nor the sum of any line can overflow."""
_LEAST, _LOWEST = np.float32(-126.0), np.float32(-np.inf)


@compiled
def _lay_out(work, to, source, start, plane, across, along, lanes, positions, features, room):
    """Lines of several features as one vector a position, the features ``room`` positions apart."""
    for feature in range(features):
        at, here = to + feature * room * LANES, start + feature * plane
        if lanes == LANES and across == 1:
            for t in range(positions):
                copy_register(work, at + t * LANES, source, here + t * along)
        else:
            pack(work, at, source, here, across, along, lanes, positions)


@compiled
def _add_back(work, at, feature, result, to, across, along, lanes, positions, rows):
    """Rows come first and are written; columns are added to them, and the features themselves."""
    if rows:
        unpack(work, at, result, to, across, along, lanes, positions)
    elif lanes == LANES:
        for t in range(positions):
            here = to + t * along
            add_register(work, at + t * LANES, feature, here)
            add_register(result, here, work, at + t * LANES)
    else:
        for t in range(positions):
            for i in range(lanes):
                here = to + t * along + i
                result[here] += feature[here] + work[at + t * LANES + i]


@compiled
def _exponential(z):
    """2^z for z from -126 to 127."""
    biased = z + broadcast(_ROUNDING)
    s = growth(z - (biased - broadcast(_ROUNDING)))
    scale = power_of_two(biased)
    return fused(s, scale, scale)


@compiled
def _score(work, query, key, j, positions, room, reduced):
    """Scores of four queries with key j."""
    if reduced == 2:  # what networks have
        second = load(work, query + room * LANES) * load_repeated(work, key + (positions + j) * LANES)
        return fused(load(work, query), load_repeated(work, key + j * LANES), second)
    total = load(work, query) * load_repeated(work, key + j * LANES)
    for d in range(1, reduced):
        total = fused(
            load(work, query + d * room * LANES), load_repeated(work, key + (d * positions + j) * LANES), total
        )
    return total


@compiled
def _measure_keys(work, key, largest, positions, reduced):
    """Note the largest size of each feature of the keys, line by line."""
    for d in range(reduced):
        size = broadcast(_ZERO)
        for j in range(positions):
            size = at_least(magnitude(load_repeated(work, key + (d * positions + j) * LANES)), size)
        store(work, largest + d * WIDTH, size)


@compiled
def _bound(work, query, largest, room, reduced):
    """What no score of four queries exceeds in size; NaN if one is."""
    bound = _ZERO
    for d in range(reduced):
        bound += highest(magnitude(load(work, query + d * room * LANES)) * load(work, largest + d * WIDTH))
    return bound


@compiled
def _largest_score(work, query, key, positions, room, reduced):
    best = broadcast(_LOWEST)
    for j in range(positions):
        best = at_least(_score(work, query, key, j, positions, room, reduced), best)
    return best


@compiled
def _weigh(work, query, key, weights, start, end, positions, room, reduced):
    """Lay out the weights of keys from ``start`` to ``end`` for four queries; returns their sum."""
    total = broadcast(_ZERO)
    for j in range(start, end):
        weight = _exponential(_score(work, query, key, j, positions, room, reduced))
        store(work, weights + (j - start) * WIDTH, weight)
        total = total + weight
    return total


@compiled
def _weigh_below(work, query, key, weights, start, end, positions, room, reduced, best):
    """The same where the largest score has to be taken out."""
    total = broadcast(_ZERO)
    for j in range(start, end):
        score = _score(work, query, key, j, positions, room, reduced) - best
        weight = _exponential(at_least(score, broadcast(_LEAST)))
        store(work, weights + (j - start) * WIDTH, weight)
        total = total + weight
    return total


@compiled
def _gather(work, weights, value, sums, start, end, positions, features):
    """Add the weighted values of keys from ``start`` to ``end``, four features at a time."""
    for feature in range(0, features // 4 * 4, 4):
        at, to = value + (feature * positions + start) * LANES, sums + feature * WIDTH
        one, two = load(work, to), load(work, to + WIDTH)
        three, four = load(work, to + 2 * WIDTH), load(work, to + 3 * WIDTH)
        for j in range(end - start):
            weight = load(work, weights + j * WIDTH)
            one = fused(weight, load_repeated(work, at + j * LANES), one)
            two = fused(weight, load_repeated(work, at + (positions + j) * LANES), two)
            three = fused(weight, load_repeated(work, at + (2 * positions + j) * LANES), three)
            four = fused(weight, load_repeated(work, at + (3 * positions + j) * LANES), four)
        store(work, to, one)
        store(work, to + WIDTH, two)
        store(work, to + 2 * WIDTH, three)
        store(work, to + 3 * WIDTH, four)
    for feature in range(features // 4 * 4, features):
        at, to = value + (feature * positions + start) * LANES, sums + feature * WIDTH
        one = load(work, to)
        for j in range(end - start):
            one = fused(load(work, weights + j * WIDTH), load_repeated(work, at + j * LANES), one)
        store(work, to, one)


@kernel
def attend_lines(
    feature, projected, result, reduced, features, start, to, plane, across, along, lanes, positions, rows
):
    """Attend along some lines of one band of one image.

    Args:
        feature: Flat features.
        projected: Flat queries, keys and values.
        result: Along rows it is given what they attend to; along columns that and the features are added.
        reduced: Features of a query.
        features: Features of a value.
        start: Element of ``projected`` at which the first query lies.
        to: Element of the others at which the first feature lies.
        plane: Elements from one feature to the next.
        across: Elements from one line to the next.
        along: Elements from one position to the next.
        lanes: How many lines, at most `LANES`.
        positions: Of a line.
        rows: Whether lines are rows, or columns.
    """
    room = (positions + 3) // 4 * 4
    query, key = 0, reduced * room * LANES
    value = key + reduced * positions * LANES
    out = value + features * positions * LANES
    largest = out + features * room * LANES
    sums = largest + reduced * WIDTH
    weights = sums + features * WIDTH
    memory = np.empty(weights + CHUNK * WIDTH + WIDTH, np.float32)
    work = memory[aligned(memory) :]
    clear(work, query, key)
    _lay_out(work, query, projected, start, plane, across, along, lanes, positions, reduced, room)
    for i in range(query, key):
        work[i] *= LOG2_E
    _lay_out(
        work, key, projected, start + reduced * plane, plane, across, along, lanes, positions,
        reduced + features, positions,
    )  # fmt: skip
    _measure_keys(work, key, largest, positions, reduced)
    for i in range(0, positions, 4):
        at = query + i * LANES
        plain = _bound(work, at, largest, room, reduced) <= _SMALL  # not where it is NaN
        best = broadcast(_ZERO) if plain else _largest_score(work, at, key, positions, room, reduced)
        clear(work, sums, features * WIDTH)
        total = broadcast(_ZERO)
        for j in range(0, positions, CHUNK):
            end = min(j + CHUNK, positions)
            if plain:
                total = total + _weigh(work, at, key, weights, j, end, positions, room, reduced)
            else:
                total = total + _weigh_below(work, at, key, weights, j, end, positions, room, reduced, best)
            _gather(work, weights, value, sums, j, end, positions, features)
        share = broadcast(_ONE) / total
        for d in range(features):
            store(work, out + (d * room + i) * LANES, load(work, sums + d * WIDTH) * share)
    for d in range(features):
        at, here = out + d * room * LANES, to + d * plane
        _add_back(work, at, feature, result, here, across, along, lanes, positions, rows)
