"""The selective scan: every backend against float64, forward and backward, and how fast each is."""

from __future__ import annotations

import contextlib
import math
import os
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from gpu.bench import megabytes
from gpu.report import Verdict
from hsfuse.scan import available_backends, selective_scan
from hsfuse.scan.backends import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpu.bench import Bench

Shape = tuple[int, int, int, int]
"""Images of a batch B, channels D, steps L, states N."""

Operands = dict[str, Tensor]

SHAPES: list[Shape] = [
    (1, 64, 2048, 64), (2, 320, 1297, 64), (1, 96, 4096, 8), (8, 64, 1296, 64), (1, 5, 1000, 256), (1, 40, 31, 16),
    (1, 40, 33, 16), (1, 1, 1, 1),
]  # fmt: skip
"""Of tiles and training patches, of odd sizes, of the most states, and of one step."""

LONG: Shape = (1, 3, 16_385, 7)
"""Many chunks, and one step more; few channels, since float64 is computed step by step. In float32 alone."""

TOY_SHAPES: list[Shape] = [(1, 6, 130, 8), (2, 5, 33, 16), (1, 1, 1, 1)]

LIMITS = {torch.float32: 2e-5, torch.float16: 6e-3, torch.bfloat16: 4e-2}
"""Of the largest error, over the largest true value."""

TIMED: list[Shape] = [
    (1, 128, 65_536, 64), (1, 640, 36_864, 64), (1, 128, 4096, 64), (1, 192, 36_864, 8), (8, 128, 1296, 64),
    (1, 128, 262_144, 64),
]  # fmt: skip

_LONGEST_BACKWARD = 70_000
_AS_FAST = 1.1  # times mamba-ssm's own kernel


def operands(shape: Shape, device: torch.device, dtype: torch.dtype = torch.float32) -> Operands:
    """As a Mamba block hands them over: A of −1 to −N, Δ of about 1e-3 to 1e-1, z and B and C parts of projections."""
    batch, channels, length, states = shape
    generator = torch.Generator().manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator).to(device, dtype)

    x, z = normal(batch, 2 * channels, length).chunk(2, dim=1)
    rank = -(-channels // 32)
    _, B, C = torch.split(normal(batch, rank + 2 * states, length), [rank, states, states], dim=1)
    step = torch.exp(torch.rand(channels, generator=generator) * math.log(100) + math.log(1e-3))
    return {
        "u": F.silu(x),
        "delta": 0.3 * normal(batch, channels, length),
        "A": -torch.arange(1.0, states + 1, device=device).repeat(channels, 1),
        "B": B,
        "C": C,
        "D": torch.ones(channels, device=device),
        "z": z,
        "delta_bias": (step + torch.log(-torch.expm1(-step))).to(device),
    }


def output(given: Operands) -> Tensor:
    """The forward pass."""
    with torch.no_grad():
        return selective_scan(**given, delta_softplus=True)


def results(given: Operands) -> Operands:
    """The output y, and the gradient of every operand, of one scalar."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in given.items()}
    y = selective_scan(**leaves, delta_softplus=True)
    weights = torch.linspace(-1, 1, y.shape[-1], device=y.device)
    total = (y.to(torch.promote_types(y.dtype, torch.float32)) * weights).sum()
    return {"y": y.detach(), **dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))}


@contextlib.contextmanager
def by(backend: str) -> Iterator[None]:
    """A block in which a backend scans."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = backend
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


def fast_backends(device: torch.device) -> list[str]:
    """Those that work on a device, but for the reference."""
    return [name for name, obstacle in available_backends(device).items() if not obstacle and name != "reference"]


def worst(found: Operands, truth: Operands) -> tuple[float, str]:
    """The largest error as a share of the largest true value, and whose it is; NaN is infinite."""
    errors = {
        name: float((found[name].cpu().double() - true).abs().max() / true.abs().max().clamp_min(1e-30))
        for name, true in truth.items()
    }
    name = max(errors, key=lambda name: math.inf if math.isnan(errors[name]) else errors[name])
    return (math.inf if math.isnan(errors[name]) else errors[name]), name


def parity(bench: Bench) -> None:
    """Every backend against the reference in float64 on the CPU, and against itself."""
    backends = fast_backends(bench.device)
    cases = [(shape, dtype) for shape in bench.sized(SHAPES, TOY_SHAPES) for dtype in LIMITS]
    cases += bench.sized([(LONG, torch.float32)], [])
    for shape, dtype in cases:
        named = f"{'×'.join(map(str, shape))} {str(dtype).removeprefix('torch.')}"
        if not backends or not bench.enough(named, 20 if shape == LONG else 8):
            continue
        given = operands(shape, bench.device, dtype)
        with by("reference"):
            truth = results({name: tensor.cpu().double() for name, tensor in given.items()})
        for backend in backends:
            with bench.attempt(f"{backend} {named}"), by(backend):
                error, name = worst(results(given), truth)
                good = error < LIMITS[dtype]
                bench.judge(f"{backend} {named}", f"{error:.1e} in {name}", good=good, error=error)
    given = operands(bench.sized(SHAPES, TOY_SHAPES)[0], bench.device, torch.float16)
    for backend in backends:
        with bench.attempt(f"{backend} again"), by(backend):
            first, second = results(given), results(given)
            same = all(torch.equal(first[name], second[name]) for name in first)
            # mamba-ssm adds up gradients in whatever order they come
            verdict = Verdict.GOOD if same else Verdict.NONE if backend == "mamba_ssm" else Verdict.FAILED
            bench.tell(f"{backend} again", "the same bits" if same else "other bits", verdict)


def speed(bench: Bench) -> None:
    """Milliseconds and memory of every backend, and ours over mamba-ssm's own kernel."""
    dtype = torch.float16 if bench.on_card else torch.float32
    for shape in bench.sized(TIMED, [(1, 16, 512, 16)]):
        named = "×".join(map(str, shape))
        if not bench.enough(named, 8):
            continue
        given, taken = operands(shape, bench.device, dtype), {}
        for backend in fast_backends(bench.device):
            for work, name in ((output, "forward"), (results, "forward and backward")):
                if work is results and shape[2] > _LONGEST_BACKWARD:
                    continue
                with bench.attempt(f"{backend} {named} {name}"), by(backend):
                    taken[backend, name] = _time(bench, f"{backend} {named} {name}", lambda: work(given), shape)  # noqa: B023 (called at once)
        for name in ("forward", "forward and backward"):
            if {("triton", name), ("mamba_ssm", name)} <= taken.keys():
                ratio = taken["triton", name] / taken["mamba_ssm", name]
                verdict = Verdict.GOOD if ratio < _AS_FAST else Verdict.SLOW
                bench.tell(f"triton over mamba_ssm {named} {name}", f"{ratio:.2f}", verdict, ratio=ratio)


def _time(bench: Bench, what: str, work: object, shape: Shape) -> float:
    assert callable(work)
    taken = bench.milliseconds(work)
    each = taken * 1e9 / math.prod(shape)
    held, number = megabytes(bench.added_megabytes(work))
    bench.tell(what, f"{taken:.3f} ms, {each:.2f} ps a state and step{held}", milliseconds=taken, **number)
    return taken
