"""The run for a card: all of it once at toy sizes on the CPU, and what becomes of sections that fail, die or hang."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import hsfuse

BENCHMARKS = Path(__file__).parents[2] / "examples" / "benchmarks"
SECTIONS = [
    "machine", "scan, parity", "networks, exactness", "fuse", "scan, speed", "networks, pace", "tile", "papers",
    "training", "failures",
]  # fmt: skip


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(hsfuse.__file__).parents[1])}
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--out", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)


@pytest.mark.slow
def test_a_dry_run_does_all_of_it(tmp_path: Path) -> None:
    ended = run(tmp_path, "--dry-run")
    assert ended.returncode == 0, ended.stderr + ended.stdout
    told = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert list(told["sections"]) == SECTIONS
    lines = [line for section in told["sections"].values() for line in section]
    assert {line["verdict"] for line in lines} == {"", "ok"}
    figures = {line["what"]: line for line in lines}
    assert 0 < figures["numba 1×6×130×8 float32"]["numbers"]["error"] < 1e-5
    assert (
        0
        < figures["mgdunlss-universal fp32"]["numbers"]["error"]
        < figures["mgdunlss-universal bf16"]["numbers"]["error"]
    )
    assert 20 < figures["mgdunlss cpu bf16"]["numbers"]["psnr"] < 60
    table = (tmp_path / "gpu.md").read_text(encoding="utf-8").splitlines()
    assert "a dry run at toy sizes" in table[0]
    assert len([line for line in table if line.count(" | ") >= 3]) == len(lines) + 2  # the head, and its line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_card_it_says_so(tmp_path: Path) -> None:
    ended = run(tmp_path / "results")
    assert ended.returncode == 2
    assert "pass --dry-run" in ended.stderr
    assert not (tmp_path / "results").exists()


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`gpu.bench` and `gpu.report`, as the script has them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from gpu import bench, report

    monkeypatch.setattr(bench, "_GRACE_SECONDS", 0.5)
    return SimpleNamespace(bench=bench, report=report)


def raises(bench) -> None:
    bench.tell("before", "1")
    with bench.attempt("inside"):
        raise RuntimeError("a case | that\nfails")
    with bench.attempt("large"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to")
    bench.judge("after", "2", good=False)
    raise ValueError("a section that fails")


def dies(bench) -> None:
    bench.tell("before", "1")
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(bench) -> None:
    bench.enough("much", 1e6)
    time.sleep(60)


def test_sections_that_fail_die_or_hang_are_lines(modules: SimpleNamespace, tmp_path: Path) -> None:
    begun, report = time.monotonic(), modules.report.Report(tmp_path, "title", {})
    for work in (raises, dies, hangs):
        section = modules.bench.Section(work.__name__, 1, work)
        modules.bench.run_section(section, 1, lambda line: report.add(section.name, line), card=False, toy=True)  # noqa: B023
    assert time.monotonic() - begun < 30
    told = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["sections"]
    found = {name: [(line["what"], line["verdict"]) for line in lines] for name, lines in told.items()}
    end = ("seconds", "")
    assert found == {
        "raises": [("before", ""), ("inside", "FAIL"), ("large", "no memory"), ("after", "FAIL"),
                   ("broke off", "FAIL"), end],
        "dies": [("before", ""), ("broke off", "FAIL"), end],
        "hangs": [("much", "left out"), ("stopped", "FAIL"), end],
    }  # fmt: skip
    assert "in raises" in told["raises"][1]["trace"]
    assert "its process ended with -9" in told["dies"][1]["figure"]
    assert len(report.failures) == 5
    assert r"| raises | inside | RuntimeError: a case \| that fails | FAIL |" in (tmp_path / "gpu.md").read_text()
