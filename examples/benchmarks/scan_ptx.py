"""The Triton kernels of the selective scan compiled ahead of time, without a card: what they will cost, as a table.

    python examples/benchmarks/scan_ptx.py                                # six generations of cards
    python examples/benchmarks/scan_ptx.py --capabilities 80 --dtypes fp16 fp32

``registers`` is what a thread holds (255 at most), ``stack`` the bytes that did not fit and lie in memory, ``in the
loop`` the reads and writes of them in the loop over states. ``instructions`` and ``exchanges`` (shuffles between
threads) are those of one state at one step of one channel: the loop's, counted in the machine code, over the elements
of a thread. Nothing here runs: the table says nothing of how long a card waits for its memory. Needs triton, which
brings NVIDIA's assembler and disassembler, and no CUDA.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from hsfuse.scan import triton_kernels as kernels
from hsfuse.scan.triton_scan import Tiling

KERNELS: dict[str, tuple[Any, dict[str, bool]]] = {
    "chunk_ends": (kernels.chunk_ends, {"REVERSE": False}),
    "chunk_ends, reversed": (kernels.chunk_ends, {"REVERSE": True}),
    "scan_chunks": (kernels.scan_chunks, {"SKIP": True}),
    "scan_back": (kernels.scan_back, {"SKIP": True}),
}
"""Those whose work grows with L·D·N, and the switches they are compiled with."""

_IMAGES = {"u", "delta", "x", "W", "B", "C", "y", "dy", "du", "ddelta"}
"""Operands in the network's precision; the others are float32."""

_ONE = {"W_step", "B_step", "C_step"}
"""Strides that are 1, which triton compiles in."""

_ANY = {"states", "blocks", "per_block", "batches"}
"""Sizes that need not be multiples of 16."""


@dataclass(frozen=True)
class Cost:
    """What a compiled kernel takes."""

    registers: int
    """Of each thread."""
    stack: int
    """Bytes of each thread that did not fit into registers."""
    spilled: int
    """Instructions in the loop over states that read or write the stack."""
    instructions: float
    """Of the loop, for each state, step and channel."""
    exchanges: float
    """Those of them that exchange numbers between threads."""


def compile_kernel(kernel: Any, constants: dict[str, Any], capability: int, dtype: str) -> bytes:
    """Machine code for cards of a compute capability (80 is 8.0), as the launch would have it where L is even."""
    fixed = {**constants, **{name: 1 for name in kernel.arg_names if name in _ONE}}
    kinds = {name: _kind(name, dtype) for name in kernel.arg_names} | dict.fromkeys(fixed, "constexpr")
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(kernel.arg_names)
        if name not in fixed and name not in _ANY
    }
    source = ASTSource(fn=kernel, signature=kinds, constexprs=fixed, attrs=aligned)
    code: bytes = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 1}).asm[
        "cubin"
    ]
    return code


def _kind(name: str, dtype: str) -> str:
    if not name.endswith("_pointer"):
        return "i32"
    return f"*{dtype}" if name.removesuffix("_pointer") in _IMAGES else "*fp32"


def read_cost(code: bytes, elements: int) -> Cost:
    """Disassemble; ``elements`` is how many states, steps and channels a thread does in one turn of the loop."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        usage = re.search(r"REG:(\d+) STACK:(\d+)", _run("cuobjdump", "-res-usage", file.name))
        listing = _run("nvdisasm", "-c", file.name)
    if usage is None:
        raise SystemExit("cuobjdump does not say what the kernel takes: another version of it?")
    loop = _loop_over_states(listing)
    spilled = loop["LDL"] + loop["STL"]
    return Cost(int(usage[1]), int(usage[2]), spilled, loop.total() / elements, loop["SHFL"] / elements)


def _run(tool: str, *words: str) -> str:
    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / tool
    return subprocess.run([path, *words], check=True, capture_output=True, text=True).stdout  # noqa: S603  # triton's


def _loop_over_states(listing: str) -> Counter[str]:
    """Instructions of the innermost loop that takes exponentials (MUFU), by name."""
    names, labels, loops = [], {}, []
    for line in listing.splitlines():
        if label := re.match(r"(\.L_x?\w+):", line):
            labels[label[1]] = len(names)
        elif found := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9_]+)(.*);", line):
            names.append(found[1])
            target = re.search(r"`\((\.L_x?\w+)\)", found[2]) if found[1] == "BRA" else None
            if target and target[1] in labels:
                loops.append(names[labels[target[1]] :])
    return Counter(min((loop for loop in loops if "MUFU" in loop), key=len))


def table(capabilities: list[int], dtypes: list[str], channels: int) -> None:
    """Print the costs of every kernel, precision and generation."""
    tiling = Tiling.of(1, 1, channels, 65_536)
    shape = {"T": tiling.steps, "CHANNELS": tiling.channels, "SOFTPLUS": True, "BIAS": True}
    print("| compute capability | kernel | in and out | registers | stack | in the loop | instructions | exchanges |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for capability in capabilities:
        for dtype in dtypes:
            for name, (kernel, switches) in KERNELS.items():
                code = compile_kernel(kernel, {**shape, **switches}, capability, dtype)
                cost = read_cost(code, tiling.steps * tiling.channels // 32)
                print(
                    f"| {capability / 10} | `{name}` | {dtype} | {cost.registers} | {cost.stack} | {cost.spilled} "
                    f"| {cost.instructions:.1f} | {cost.exchanges:.1f} |",
                    flush=True,
                )


def main() -> None:
    """Parse and compile."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--capabilities", type=int, nargs="+", default=[75, 80, 89, 90, 100, 120])
    parser.add_argument("--dtypes", nargs="+", choices=["fp16", "bf16", "fp32"], default=["fp16", "fp32"])
    parser.add_argument("--channels", type=int, default=128)
    options = parser.parse_args()
    table(options.capabilities, options.dtypes, options.channels)


if __name__ == "__main__":
    main()
