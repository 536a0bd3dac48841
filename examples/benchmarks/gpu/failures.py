"""What goes wrong on purpose: a card without memory, and cards that are or are not there."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gpu.scenes import EXAMPLE

if TYPE_CHECKING:
    from gpu.bench import Bench

LITTLE_MEMORY = """
import sys, torch
if torch.cuda.is_available():
    torch.cuda.set_per_process_memory_fraction({share})
from hsfuse.cli import main
sys.argv[0] = "hsfuse"
sys.exit(main())
"""
"""The command line on a small share of the card."""

COMMAND = [
    "fuse", "--hsi", str(EXAMPLE / "hsi.tif"), "--msi", str(EXAMPLE / "msi.tif"), "--srf", "sentinel-2a", "--psf",
    "gaussian:1", "--model", "ssrfn",
]  # fmt: skip

_MEANING = {0: "done", 1: "failed", 2: "refused"}
"""What an exit status says."""


def failures(bench: Bench) -> None:
    """Each ends with a result or with one sentence, never with a traceback."""
    device = str(bench.device)
    cards = torch.cuda.device_count() if bench.on_card else 0
    _end(bench, f"cuda:{cards}, which is not there", ["-m", "hsfuse"], ["--device", f"cuda:{cards}"], (2,))
    for share in bench.sized((0.02, 0.004), (0.5,)):
        code = ["-c", LITTLE_MEMORY.format(share=share)]
        small = ["--window", "0,0,9,9"] if bench.toy else []
        _end(bench, f"{share:.1%} of the card's memory", code, ["--device", device, *small], (0, 1))
    for card in range(1, cards):
        _end(bench, f"cuda:{card}", ["-m", "hsfuse"], ["--device", f"cuda:{card}"], (0,))


def _end(bench: Bench, what: str, how: list[str], more: list[str], expected: tuple[int, ...]) -> None:
    if not bench.enough(what, 5):
        return
    with bench.attempt(what), tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.tif"
        command = [sys.executable, *how, *COMMAND, *more, "-o", str(output), "--quiet"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own words)
        said = ended.stderr.strip().splitlines()
        whole = output.exists() == (ended.returncode == 0)
        good = ended.returncode in expected and "Traceback" not in ended.stderr and whole
        told = f"exit status {ended.returncode} ({_MEANING.get(ended.returncode, 'unforeseen')})"
        bench.judge(what, ": ".join([told, *said[-1:]]), good=good)
