"""The machine: versions, card, driver, what `hsfuse doctor` finds, and whether the scan's backends really run."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from gpu.report import Verdict
from gpu.scan import operands, output
from hsfuse.commands.doctor import doctor
from hsfuse.scan import available_backends, explain_backend

if TYPE_CHECKING:
    from gpu.bench import Bench

PACKAGES = ("triton", "mamba-ssm", "causal-conv1d", "numba")


def machine(bench: Bench) -> None:
    """What there is."""
    found = doctor()
    bench.tell("Python, system", f"{found.python.split()[0]}, {found.platform}")
    bench.tell("torch", f"{found.torch}, built for CUDA {found.compute.cuda_build or '–'}")
    for package in PACKAGES:
        bench.tell(package, _version(package))
    for index, card in enumerate(found.compute.cuda):
        bench.tell(f"cuda:{index}", card)
    bench.tell("driver", _driver())
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)
    bench.tell("C compiler, which Triton needs", "none" if compiler is None else compiler.rpartition("/")[2])
    bench.tell("CPUs, threads of torch", f"{found.threads.cpus}, {found.threads.torch}")
    for problem in found.problems:
        bench.tell("doctor", problem, Verdict.FAILED)
    for name, obstacle in available_backends(bench.device).items():
        bench.tell(f"scan by {name}", obstacle or "works")
    with bench.attempt("scan by default"):
        choice = explain_backend(bench.device)
        bench.judge("scan by default", f"{choice.name}, {choice.reason}", good=choice.name != "reference")
    with bench.attempt("first scan of a shape"):
        given = operands((1, 32, 256, 16), bench.device)
        begun = time.perf_counter()
        whole = bool(output(given).isfinite().all())
        seconds = time.perf_counter() - begun
        bench.judge("first scan of a shape", f"{seconds:.2f} s, compiling included", good=whole, seconds=seconds)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _driver() -> str:
    command = shutil.which("nvidia-smi")
    if command is None:
        return "no nvidia-smi"
    asked = [command, "--query-gpu=driver_version", "--format=csv,noheader"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=20)  # noqa: S603 (our own words)
    return ", ".join(dict.fromkeys(told.stdout.split("\n")[:-1])) or told.stderr.strip()[:100] or "not told"
