"""Exponentials, softplus and SiLU of whole vectors, and the step of the recurrence that they serve.

The state decays by exp(Δ A) = 2^z at each step. With z = k + f, k whole and |f| ≤ 1/2, and s = 2^f - 1 as
a polynomial times f, the step is h ← 2^k (h + s h) + x: near z = 0 the decay is never rounded to the float32
next to one, so a memory of a million steps stays exact to float32's own noise.
"""

# Compiled code: numba finds the types of arguments by itself and mypy cannot follow what it makes of functions.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201

import atexit
import contextlib
import hashlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import config, njit

from hsfuse.scan.cpu.lanes import ROUNDING, at_least, at_most, broadcast, fused, power_of_two

_log = logging.getLogger(__name__)


_OPTIONS = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}

compiled: Callable[[Callable[..., Any]], Any] = njit(**_OPTIONS)
"""Compile with numba as a part of a kernel: without the GIL, products and sums fused."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile with numba what Python calls, and keep it on disk between runs.

    Numba stores beside the module, else in the user's cache folder (``NUMBA_CACHE_DIR``); where neither can
    be written the code is kept in a temporary folder of the user's own. Numba looks only at the kernel's own file
    to see whether it changed; the name, which becomes the stored file's, therefore carries a digest of all of them.
    """
    function.__qualname__ += "_" + _digest_of_sources()
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # numba: "no locator available"
        return _kept_privately(function)


def _kept_privately(function: Callable[..., Any]) -> Any:
    before, config.CACHE_DIR = config.CACHE_DIR, _private_folder() or config.CACHE_DIR
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        return compiled(function)
    finally:
        config.CACHE_DIR = before


@cache
def _private_folder() -> str | None:
    """Where nobody else can put code; None where not even a temporary folder can be written. Said once a process."""
    try:
        folder = _own_folder()
    except OSError as error:
        _log.warning("compiled scans are not kept, since no folder can be written (%s): set NUMBA_CACHE_DIR", error)
        return None
    _log.warning("numba can write no cache: compiled scans are kept in %s (NUMBA_CACHE_DIR names another)", folder)
    return str(folder)


def _own_folder() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else -1
    folder = Path(tempfile.gettempdir()) / f"hsfuse-{user}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    facts = folder.lstat()
    if stat.S_ISDIR(facts.st_mode) and facts.st_uid == user and not facts.st_mode & 0o077:
        return folder
    # Someone else's, who could put code there: one for this process alone.
    private = Path(tempfile.mkdtemp(prefix="hsfuse-"))
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    return private


@cache
def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


_ROUNDING = np.float32(ROUNDING)
LOG2_E = np.float32(np.log2(np.e))
_ZERO, _HALF, _ONE, _TWO = (np.float32(value) for value in (0.0, 0.5, 1.0, 2.0))

# (2^f - 1) / f on [-1/2, 1/2], minimax (Lawson's iteration in float64), error 3.0e-7
_E0 = np.float32(0.6931471955055116)
_E1 = np.float32(0.24022348954814185)
_E2 = np.float32(0.05550333181275131)
_E3 = np.float32(0.009666372953593372)
_E4 = np.float32(0.0013400436440810474)

# log(1 + e) / e on [0, 1], minimax in relative error, 3.0e-8
_L0 = np.float32(0.9999999698795108)
_L1 = np.float32(-0.4999949313984442)
_L2 = np.float32(0.3331909679440285)
_L3 = np.float32(-0.24842982109422818)
_L4 = np.float32(0.191060063534841)
_L5 = np.float32(-0.13663244929522286)
_L6 = np.float32(0.07822594168355013)
_L7 = np.float32(-0.02950523251906711)
_L8 = np.float32(0.0052326927028257695)

_FARTHEST = np.float32(252.0)
"""2^252 overflows and 2^-252 underflows from any float32 worth keeping; beyond it the bits of k run out."""


@compiled
def growth(f):
    """2^f - 1 for |f| ≤ 1/2."""
    p = fused(f, broadcast(_E4), broadcast(_E3))
    p = fused(f, p, broadcast(_E2))
    p = fused(f, p, broadcast(_E1))
    return f * fused(f, p, broadcast(_E0))


@compiled
def decay_small(h, delta, a):
    """(h 2^(delta a), 2^(delta a)) where |delta a| ≤ 1/2 is known."""
    s = growth(delta * a)
    return fused(h, s, h), s + broadcast(_ONE)


@compiled
def decay_normal(h, delta, a):
    """(h 2^(delta a), 2^(delta a)) where |delta a| ≤ 126 is known."""
    biased = fused(delta, a, broadcast(_ROUNDING))
    s = growth(fused(delta, a, broadcast(_ROUNDING) - biased))
    scale = power_of_two(biased)
    return fused(h, s, h) * scale, fused(s, scale, scale)


@compiled
def decay_any(h, delta, a):
    """(h 2^(delta a), 2^(delta a)) for whatever comes; 2^k in two factors, so that only the result overflows."""
    rounding = broadcast(_ROUNDING)
    z = at_most(at_least(delta * a, broadcast(-_FARTHEST)), broadcast(_FARTHEST))
    k = (z + rounding) - rounding
    s = growth(z - k)
    half = k * broadcast(_HALF) + rounding
    rest = (k - (half - rounding)) + rounding
    one, first, second = broadcast(_ONE), power_of_two(half), power_of_two(rest)
    return fused(h, s, h) * first * second, (s + one) * first * second


@compiled
def exponential(x):
    """e^x."""
    return decay_any(x, x, broadcast(LOG2_E))[1]


@compiled
def sigmoid(x):
    """1 / (1 + e^-x), with no overflow at either end."""
    one = broadcast(_ONE)
    return one / (one + exponential(broadcast(_ZERO) - x))


@compiled
def softplus(x):
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    zero = broadcast(_ZERO)
    e = exponential(at_most(x, zero - x))
    p = fused(e, broadcast(_L8), broadcast(_L7))
    p = fused(e, p, broadcast(_L6))
    p = fused(e, p, broadcast(_L5))
    p = fused(e, p, broadcast(_L4))
    p = fused(e, p, broadcast(_L3))
    p = fused(e, p, broadcast(_L2))
    p = fused(e, p, broadcast(_L1))
    p = fused(e, p, broadcast(_L0))
    return fused(e, p, at_least(x, zero))
