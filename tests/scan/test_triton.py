"""The triton backend against the float64 reference, in Triton's interpreter: a process of its own, slowly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CASES = {
    "one step": {"batch": 1, "channels": 1, "length": 1, "states": 1},
    "groups, ragged": {"batch": 2, "channels": 6, "length": 70, "states": 5, "groups": 2},
    "several chunks": {"batch": 1, "channels": 2, "length": 150, "states": 3},
    "more chunks than are carried at once": {"batch": 1, "channels": 1, "length": 2200, "states": 1},
    "256 states": {"batch": 1, "channels": 1, "length": 20, "states": 256},
    "constant B": {"batch": 2, "channels": 2, "length": 9, "states": 3, "constant_B": True},
    "constant C": {"batch": 1, "channels": 3, "length": 9, "states": 2, "constant_C": True},
    "no softplus": {"batch": 1, "channels": 2, "length": 10, "states": 2, "softplus": False},
    "extreme steps": {"batch": 1, "channels": 2, "length": 10, "states": 2, "delta_scale": 1e3},
    "half precision": {"batch": 1, "channels": 2, "length": 12, "states": 2, "dtype": "float16"},
    "bfloat16": {"batch": 1, "channels": 2, "length": 12, "states": 2, "dtype": "bfloat16"},
    "empty": {"batch": 1, "channels": 2, "length": 0, "states": 2},
}

SCRIPT = """
import json, os, sys, torch
from hsfuse.scan import selective_scan
from conftest import make_operands, relative_error

def run(backend, operands, softplus, dtype):
    os.environ["HSFUSE_SCAN"] = backend
    leaves = {k: v.to(dtype).requires_grad_() for k, v in operands.items()}
    y, last = selective_scan(**leaves, delta_softplus=softplus, return_last_state=True)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
    total = (y * weights).sum() + last.sum()
    gradients = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)  # some of nothing
    return [y.detach(), last.detach(), *gradients]

errors = {}
for name, case in json.loads(sys.argv[1]).items():
    softplus, dtype = case.pop("softplus", True), getattr(torch, case.pop("dtype", "float32"))
    operands = {k: v.to(dtype) for k, v in make_operands(**case).items()}
    if not softplus:
        operands = {**operands, "delta": operands["delta"].abs(), "delta_bias": operands["delta_bias"].abs()}
    result = run("triton", operands, softplus, dtype)
    truth = run("reference", operands, softplus, torch.float64)
    assert result[0].dtype == dtype
    errors[name] = max(relative_error(a, b) for a, b in zip(result, truth))
print(json.dumps(errors))
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed (pip install triton==3.9.0)")
def test_output_and_gradients_in_the_interpreter() -> None:
    environment = {
        **os.environ,
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent), *sys.path]),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, json.dumps(CASES)],
        env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout)
    tolerance = {"half precision": 3e-3, "bfloat16": 2e-2}
    bad = {name: error for name, error in errors.items() if not error < tolerance.get(name, 1e-5)}
    assert errors.keys() == CASES.keys()
    assert not bad


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from hsfuse.scan import triton_kernels as kernels
from hsfuse.scan.triton_scan import Tiling

HALF = {"u", "delta", "x", "W", "B", "C", "y", "dy", "du", "ddelta"}

def build(kernel, constants, capability, warps):
    kinds = {}
    for name in kernel.arg_names:
        pointer = "*fp16" if name.removesuffix("_pointer") in HALF else "*fp32"
        kinds[name] = "constexpr" if name in constants else pointer if name.endswith("_pointer") else "i32"
    source = ASTSource(fn=kernel, signature=kinds, constexprs=constants)
    target = GPUTarget("cuda", capability, 32)
    return triton.compile(source, target=target, options={"num_warps": warps}).asm["cubin"]

for capability in (80, 90, 100):
    tiling = Tiling.of(1, 1, 128, 4096, 64)
    shape = {"T": tiling.steps, "N": tiling.states, "CHANNELS": tiling.channels, "SOFTPLUS": True, "BIAS": True}
    for kernel, flags in (
        (kernels.chunk_ends, {"REVERSE": True}),
        (kernels.scan_chunks, {"SKIP": True}),
        (kernels.scan_back, {"SKIP": True}),
    ):
        assert build(kernel, {**shape, **flags}, capability, tiling.warps)
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed (pip install triton==3.9.0)")
def test_kernels_compile_for_the_cards_of_three_generations(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "TRITON_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPILE],
        env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
