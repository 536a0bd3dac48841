"""How fast the selective scan is on this machine, beside two others in the same run, as a table.

    python examples/benchmarks/scan.py                     # forward and backward, three lengths
    python examples/benchmarks/scan.py --lengths 1048576   # only ours: the others would not fit

``formula`` is mamba-ssm's reference formula in torch (all states' decays and inflows at once, then a loop over
steps); ``mambapy`` is its parallel scan, if it is installed (pip install mambapy). The contenders take turns
and the fastest round of each counts, so that other work on the machine distorts the ratios least. Memory is
the growth of the peak resident size over one call, in a process of its own.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hsfuse.scan import explain_backend, selective_scan

if TYPE_CHECKING:
    from collections.abc import Callable

Operands = list[Tensor]

_SLOW_SECONDS = 10.0


def ours(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """The scan of hsfuse, with the backend of HSFUSE_SCAN."""
    return selective_scan(u, delta, A, B, C, D)


def formula(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """mamba-ssm's reference formula, with unbind for its indices, whose autograd is slower still."""
    decay = torch.exp(torch.einsum("bdl,dn->bdln", delta, A))
    inflow = torch.einsum("bdl,bnl,bdl->bdln", delta, B, u)
    state = torch.zeros_like(decay[:, :, 0])
    outputs = []
    for keep, more, read in zip(decay.unbind(2), inflow.unbind(2), C.unbind(2), strict=True):
        state = keep * state + more
        outputs.append(torch.einsum("bdn,bn->bd", state, read))
    return torch.stack(outputs, dim=2) + u * D[:, None]


def mambapy(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """The parallel scan of mambapy."""
    from mambapy.pscan import pscan  # noqa: PLC0415  # optional

    x, step = u.transpose(1, 2), delta.transpose(1, 2)[..., None]  # (B, L, D)
    inflow = step * B.transpose(1, 2)[:, :, None] * x[..., None]
    states = pscan(torch.exp(step * A), inflow)
    return ((states @ C.transpose(1, 2)[..., None])[..., 0] + D * x).transpose(1, 2)


CONTENDERS: dict[str, Callable[..., Tensor]] = {"ours": ours, "formula": formula, "mambapy": mambapy}


def make_operands(length: int, channels: int, states: int) -> Operands:
    """Random operands with the Δ and A of a freshly initialised Mamba block, one image."""
    torch.manual_seed(0)
    u, B, C = (torch.randn(1, size, length) for size in (channels, states, states))
    delta = torch.exp(torch.empty(1, channels, length).uniform_(-6.9, -2.3))
    A = -torch.arange(1.0, states + 1).repeat(channels, 1)
    return [u, delta, A, B, C, torch.ones(channels)]


def run(name: str, operands: Operands, *, backward: bool) -> None:
    """One forward pass, or one with gradients of everything."""
    if not backward:
        with torch.no_grad():
            CONTENDERS[name](*operands)
        return
    leaves = [operand.detach().requires_grad_() for operand in operands]
    CONTENDERS[name](*leaves).sum().backward()


def fits(name: str, options: argparse.Namespace, length: int) -> bool:
    """Whether a contender's states of all steps stay within the budget, those of autograd too."""
    return name == "ours" or 6 * 4 * length * options.channels * options.states <= options.budget * 1e9


def best_times(names: list[str], operands: Operands, *, backward: bool, rounds: int) -> dict[str, float]:
    """Seconds of each contender's fastest round; ours runs ten times a round, it is so short, a slow one once."""
    best = dict.fromkeys(names, float("inf"))
    for turn in range(rounds):
        for name in names:
            if turn and best[name] > _SLOW_SECONDS:
                continue
            for _ in range(10 if name == "ours" else 1):
                start = time.perf_counter()
                run(name, operands, backward=backward)
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def peak_memory(name: str, length: int, options: argparse.Namespace, *, backward: bool) -> float:
    """MB that one call adds to the peak resident size, in a process of its own."""
    command = [sys.executable, __file__, "--measure", name, "--lengths", str(length)]
    command += ["--channels", str(options.channels), "--states", str(options.states)]
    command += ["--backward"] if backward else []
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603  # itself


def peak_megabytes() -> float:
    """This process's peak resident size (Linux); getrusage would count the parent's, too."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


def measure(options: argparse.Namespace) -> None:
    """Print what `peak_memory` asks for."""
    run(options.measure, make_operands(64, options.channels, options.states), backward=options.backward)
    operands = make_operands(options.lengths[0], options.channels, options.states)
    before = peak_megabytes()
    run(options.measure, operands, backward=options.backward)
    print(peak_megabytes() - before)


def table(options: argparse.Namespace) -> None:
    """Time and memory of every contender, length and direction."""
    threads, backend = torch.get_num_threads(), explain_backend("cpu").name
    print(f"D = {options.channels}, N = {options.states}, {threads} threads, our backend: {backend}")
    print(f"{'L':>9}  {'pass':<17}{'who':<9}{'ms':>10}{'times ours':>12}{'ns/(L D)':>10}{'MB':>8}")
    present = [name for name in CONTENDERS if name != "mambapy" or find_spec("mambapy")]
    for length in options.lengths:
        operands = make_operands(length, options.channels, options.states)
        for backward in (False, True):
            if options.passes not in {"both", "backward" if backward else "forward"}:
                continue
            names = [name for name in present if fits(name, options, length)]
            best = best_times(names, operands, backward=backward, rounds=options.rounds)
            for name, seconds in best.items():
                memory = peak_memory(name, length, options, backward=backward)
                print(
                    f"{length:>9}  {'forward + backward' if backward else 'forward':<19}{name:<8}"
                    f"{seconds * 1e3:>9.2f}{seconds / best['ours']:>12.0f}"
                    f"{seconds * 1e9 / length / options.channels:>10.1f}{memory:>8.0f}",
                    flush=True,
                )


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[4096, 16_384, 65_536])
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--states", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", choices=["both", "forward", "backward"], default="both")
    parser.add_argument("--budget", type=float, default=4.0, help="GB that a contender may take (default 4)")
    parser.add_argument("--measure", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--backward", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options)
    else:
        table(options)


if __name__ == "__main__":
    main()
