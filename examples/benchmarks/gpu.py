"""Whatever of hsfuse runs on a card, checked and timed in one run of less than ten minutes, as a table.

    python examples/benchmarks/gpu.py --out results              # on a machine with a CUDA device
    python examples/benchmarks/gpu.py --out results --dry-run    # all of it at toy sizes, on the CPU

`results/gpu.json` has every figure, `results/gpu.md` the table with the card's name; both are written anew with every
line. Sections run in the order of what matters, each in a process of its own and within its own seconds; one that
fails, dies or hangs is a line and stops no other. The exit status is 1 where anything failed, and 2 without a CUDA
device. No network and no data but the example's.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from gpu.bench import PROCESSES, Section, run_section
from gpu.failures import failures
from gpu.fusing import fuse
from gpu.machine import machine
from gpu.networks import exactness, pace, papers
from gpu.report import Line, Report, markdown
from gpu.scan import parity, speed
from gpu.tiles import tile
from gpu.training import training

import hsfuse

SECTIONS = [
    Section("machine", 40, machine),
    Section("scan, parity", 90, parity),
    Section("networks, exactness", 50, exactness),
    Section("fuse", 120, fuse),
    Section("scan, speed", 50, speed),
    Section("networks, pace", 45, pace),
    Section("tile", 25, tile),
    Section("papers", 40, papers),
    Section("training", 60, training),
    Section("failures", 40, failures),
]
"""In the order of what matters."""

BUDGET = 560.0
"""Seconds of all."""


def card() -> str | None:
    """What the first CUDA device is called, if there is one."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def main() -> int:
    """Run every section, and tell how it ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder for gpu.json and gpu.md")
    parser.add_argument("--dry-run", action="store_true", help="toy sizes on the CPU")
    parser.add_argument("--only", metavar="WORD", help="only the sections whose names have it")
    options = parser.parse_args()
    with ProcessPoolExecutor(1, mp_context=PROCESSES) as asked:  # this process never touches the card
        found = None if options.dry_run else asked.submit(card).result()
    if found is None and not options.dry_run:
        print("gpu.py: torch finds no CUDA device here: pass --dry-run to try the script itself", file=sys.stderr)
        return 2
    where = found or f"a CPU ({platform.machine()}), a dry run at toy sizes"
    facts = {"hsfuse": hsfuse.__version__, "torch": torch.__version__, "date": time.strftime("%Y-%m-%d")}
    report, begun = Report(options.out, f"hsfuse on {where}", facts), time.monotonic()
    for section in SECTIONS:
        if options.only is not None and options.only not in section.name:
            continue

        def hear(line: Line, name: str = section.name) -> None:
            report.add(name, line)
            print(f"| {name} | {markdown(line)} |", flush=True)

        left = BUDGET - (time.monotonic() - begun)
        run_section(section, min(section.seconds, left), hear, card=found is not None, toy=options.dry_run)
    for failure in report.failures:
        print(f"FAIL {failure}", file=sys.stderr)
    print(f"{len(report.failures)} failures in {time.monotonic() - begun:.0f} s: {options.out / 'gpu.md'}")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
