"""Hunts for faults: many damaged inputs of every kind, and signals at every moment of real runs.

    python tests/faults/hunt.py [--mutants 200] [--signals 40] [--seed 0] [KIND ...]

A script, no part of the suite. Prints counts by kind and exit status, and every run that did not end as it may:
status 0, 1 or 2 (128 and the number after a signal), one sentence, no traceback, nothing left behind, in time. Exit
status 1 if there was one. A kind is one of `mutants.KINDS`, by a part of its name.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from mutants import FUSE, KINDS, KNOWN, Kind, make_inputs, spoil

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
SECONDS = 60
"""That a run on a damaged file may take, far more than the fifth of a second that it does take."""

SIMULATE = ["simulate", "--reference", "hsi.tif", "--ratio", "2", "--srf", "sentinel-2a:B3", "-o", "pair"]
ESTIMATE = ["estimate", "--hsi", "hsi.tif", "--msi", "msi.tif", *KNOWN, "-o", "found.json"]
RUNS = {
    "fuse": [*FUSE, *KNOWN, "--tile", "12", "--overlap", "4", "--overwrite"],
    "simulate": SIMULATE,
    "estimate": ESTIMATE,
    "plot": [*ESTIMATE, "--plot", "found.png"],
    "evaluate": ["evaluate", "--fused", "hsi.tif", "--reference", "hsi.tif", "--ratio", "3", "--csv", "table.csv"],
}
SENT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def listing(folder: Path) -> dict[str, str]:
    """Every file below with a hash of its content, and every folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


# --- damaged input ---


def work(kind: Kind, first: int, last: int, report: int) -> None:
    """Run mutants in this process; a line of JSON on the descriptor `report` for each."""
    from hsfuse.cli import main

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_inputs(folder)
        sound = {name: (folder / name).read_bytes() for name in (kind.file, "w.safetensors")}
        os.chdir(folder)
        for seed in range(first, last):
            for name, content in sound.items():
                (folder / name).write_bytes(content)
            rng = np.random.default_rng((seed, len(kind.name)))
            spoil(folder, kind, rng)
            sys.argv = ["hsfuse", *kind.commands[seed % len(kind.commands)]]
            before = listing(folder)
            status, said = _captured(main)
            changed = sorted({name for name, _ in before.items() ^ listing(folder).items()})
            (folder / "out.tif").unlink(missing_ok=True)
            told = {
                "info": sys.argv[1] == "info",
                "seed": seed,
                "status": status,
                "changed": changed,
            }
            told["stderr"] = said[-4000:]
            os.write(report, json.dumps(told).encode() + b"\n")


def _captured(main: Any) -> tuple[int, str]:
    """Exit status and stderr, C libraries' words too."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            main()
        except SystemExit as leave:
            status = int(leave.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        err.seek(0)
        return status, err.read().decode("utf-8", "replace")


def fault_of(told: dict[str, Any]) -> str | None:
    """What is wrong with how a run on a damaged file ended."""
    sentences = [line for line in told["stderr"].splitlines() if line.startswith("hsfuse: ")]
    allowed = {"out.tif"} if told["status"] == 0 else set()
    if told["status"] not in {0, 1, 2}:
        return f"status {told['status']}"
    if "Traceback" in told["stderr"] or "--debug shows where" in told["stderr"]:
        return f"no sentence: {told['stderr'].strip()}"
    if len(sentences) != (told["status"] != 0) and not (told["info"] and told["status"] == 2):
        return f"{len(sentences)} sentences: {told['stderr'].strip()}"
    if not set(told["changed"]) <= allowed:
        return f"left {', '.join(told['changed'])}"
    return None


def hunt_mutants(kind: Kind, first: int, last: int) -> tuple[collections.Counter[str], list[str]]:
    """Counts by exit status, and the faults; a worker that dies or hangs is one, and the next goes on after it."""
    counts: collections.Counter[str] = collections.Counter()
    faults: list[str] = []
    while first < last:
        reader, writer = os.pipe()
        worker = [sys.executable, __file__, "--worker", kind.name, str(first), str(last), str(writer)]
        with subprocess.Popen(
            worker, env=ENVIRONMENT, pass_fds=[writer], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process, os.fdopen(reader, "rb") as lines:  # fmt: skip
            os.close(writer)
            while first < last and select.select([lines], [], [], SECONDS)[0] and (line := lines.readline()):
                told = json.loads(line)
                counts[str(told["status"])] += 1
                fault = fault_of(told)
                if fault is not None:
                    faults.append(f"{kind.name}, seed {told['seed']}: {fault}")
                first = told["seed"] + 1
            if first < last:
                ended = process.poll()
                how = "hangs" if ended is None else f"died with {ended}"
                counts[how] += 1
                faults.append(f"{kind.name}, seed {first}: {how}")
                first += 1
            process.kill()
    return counts, faults


# --- signals ---


def hunt_signals(count: int, seed: int) -> tuple[collections.Counter[str], list[str]]:
    """Signals at seeded moments of real runs, every second time one more a moment later."""
    counts: collections.Counter[str] = collections.Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_inputs(folder)
        durations = {name: _timed(words, folder) for name, words in RUNS.items()}
        for index in range(count):
            rng = np.random.default_rng((seed, index))
            name = list(RUNS)[index % len(RUNS)]
            moment = 0.3 + rng.random() * durations[name]
            sent = [SENT[rng.integers(len(SENT))] for _ in range(1 + index % 2)]
            status, fault = _signalled(RUNS[name], folder, moment, sent, float(rng.random() * 0.1))
            counts[f"{name} {status}"] += 1
            if fault is not None:
                faults.append(f"{name}, {'+'.join(each.name for each in sent)} after {moment:.2f} s: {fault}")
    return counts, faults


def _timed(words: list[str], folder: Path) -> float:
    before, started = listing(folder), time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "hsfuse", *words], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True
    )
    seconds = time.monotonic() - started
    _remove_new(folder, before)
    return seconds


def _remove_new(folder: Path, before: dict[str, str]) -> None:
    for name in listing(folder).keys() - before.keys():
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _signalled(
    words: list[str], folder: Path, moment: float, sent: list[signal.Signals], apart: float
) -> tuple[int, str | None]:
    before = listing(folder)
    with subprocess.Popen(
        [sys.executable, "-m", "hsfuse", *words], cwd=folder, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        time.sleep(moment)
        for number in sent:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            time.sleep(apart)
        try:
            _, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return -1, "hangs"
    left = {name for name, _ in before.items() ^ listing(folder).items()}
    whole = all(_is_whole(folder / name) for name in left)
    hidden = [name for name in left if Path(name).name.startswith(".")]
    _remove_new(folder, before)
    status = process.returncode
    if status not in {0, *(128 + number for number in sent)}:
        return status, f"status {status}: {err.strip()[-500:]}"
    if "Traceback" in err or "Exception ignored" in err:
        return status, err.strip()[-500:]
    return status, None if whole and not hidden else f"left {', '.join(sorted(left))}"


def _is_whole(path: Path) -> bool:
    if path.suffix == ".tif":
        with rasterio.open(path) as dataset:
            return bool(dataset.read().any())
    if path.suffix == ".json":
        return bool(json.loads(path.read_text()))
    return path.is_dir() or path.stat().st_size > 0


def main() -> None:
    """Hunt, and tell."""
    if sys.argv[1:2] == ["--worker"]:
        name, first, last, report = sys.argv[2:]
        work(next(kind for kind in KINDS if kind.name == name), int(first), int(last), int(report))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=200, help="of each kind")
    parser.add_argument("--signals", type=int, default=40, help="runs that get one or two")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("kinds", nargs="*")
    options = parser.parse_args()
    wanted = [kind for kind in KINDS if not options.kinds or any(part in kind.name for part in options.kinds)]
    found = {kind.name: hunt_mutants(kind, options.seed, options.seed + options.mutants) for kind in wanted}
    if options.signals:
        found["signals"] = hunt_signals(options.signals, options.seed)
    for name, (counts, faults) in found.items():
        told = ", ".join(f"{ending}: {count}" for ending, count in sorted(counts.items()))
        print(f"{name}: {told}; {len(faults)} faults")
    faults = [fault for _, listed in found.values() for fault in listed]
    print("\n".join(faults) or "no fault")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
