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
    "groups, ragged": {"batch": 2, "channels": 6, "length": 70, "states": 3, "groups": 2},
    "more chunks than are carried at once": {"batch": 1, "channels": 3, "length": 300, "states": 2, "at_once": 2},
    "several tiles a warp": {"batch": 1, "channels": 14, "length": 20, "states": 1, "warps": 2},
    "many states": {"batch": 1, "channels": 1, "length": 3, "states": 130},
    "steps apart in memory": {"batch": 1, "channels": 2, "length": 9, "states": 3, "apart": True},
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
from hsfuse.scan import available_backends, selective_scan, triton_scan
from conftest import make_operands, relative_error

def run(backend, operands, softplus, dtype):
    os.environ["HSFUSE_SCAN"] = backend
    leaves = {k: v.to(dtype).requires_grad_() for k, v in operands.items()}
    y, last = selective_scan(**leaves, delta_softplus=softplus, return_last_state=True)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
    total = (y * weights).sum() + (last * torch.linspace(-1, 2, last.numel()).reshape(last.shape).to(last)).sum()
    gradients = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)  # some of nothing
    return [y.detach(), last.detach(), *gradients]

assert available_backends()["triton"] == ""
assert triton_scan.probe_triton(torch.device("cpu")) == ""
errors, enough, at_once = {}, triton_scan._ENOUGH_WARPS, triton_scan._AT_ONCE
for name, case in json.loads(sys.argv[1]).items():
    triton_scan._ENOUGH_WARPS, triton_scan._AT_ONCE = case.pop("warps", enough), case.pop("at_once", at_once)
    apart = case.pop("apart", False)
    softplus, dtype = case.pop("softplus", True), getattr(torch, case.pop("dtype", "float32"))
    operands = {k: v.to(dtype) for k, v in make_operands(**case).items()}
    if not softplus:
        operands = {**operands, "delta": operands["delta"].abs(), "delta_bias": operands["delta_bias"].abs()}
    if apart:
        operands |= {k: operands[k].transpose(2, 3).contiguous().transpose(2, 3) for k in ("B", "C")}
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


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed (pip install triton==3.9.0)")
def test_kernels_compiled_for_a_card_keep_everything_in_registers(tmp_path: Path) -> None:
    rows = compiled("fp16", "80", tmp_path)
    assert [row["kernel"] for row in rows] == ["chunk_ends", "chunk_ends, reversed", "scan_chunks", "scan_back"]
    for row in rows:
        assert row["stack"] == row["in the loop"] == "0", row
    *_, forward, backward = (float(row["instructions"]) for row in rows)
    assert forward < 25  # 80 and 180 with the states across the threads
    assert backward < 60


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed (pip install triton==3.9.0)")
@pytest.mark.parametrize("dtype", ["fp16", "bf16", "fp32"])
def test_kernels_compile_for_the_cards_of_three_generations(dtype: str, tmp_path: Path) -> None:
    rows = compiled(dtype, "75 90 100", tmp_path)
    assert len(rows) == 12
    assert all(row["in the loop"] == "0" for row in rows)


def compiled(dtype: str, capabilities: str, cache: Path) -> list[dict[str, str]]:
    """The rows of the benchmark's table."""
    environment = {
        **os.environ,
        "TRITON_CACHE_DIR": str(cache),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    environment.pop("TRITON_INTERPRET", None)
    script = ROOT / "examples" / "benchmarks" / "scan_ptx.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, "--dtypes", dtype, "--capabilities", *capabilities.split()],
        env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    head, _, *rows = ([cell.strip(" `") for cell in line.strip("| ").split("|")] for line in done.stdout.splitlines())
    return [dict(zip(head, row, strict=True)) for row in rows]
