"""Work that breaks off: damaged files, full disks and signals leave the old output, or none, and no litter."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import resource
import signal
import time
from typing import IO, TYPE_CHECKING

import numpy as np
import pytest
import rasterio

from .conftest import RNG, listing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Bench


def cut(path: Path, keep: float) -> None:
    """Truncate a file to a part of its length."""
    os.truncate(path, int(path.stat().st_size * keep))


def thirty_bands(bench: Bench) -> None:
    """An imaging model of an HSI of 30 bands of unknown wavelengths."""
    content = json.loads((bench.folder / "imaging.json").read_text())
    content["srf"] |= {"hsi_wavelength_nm": None, "matrix": [[1 / 30] * 30] * 2}
    (bench.folder / "imaging.json").write_text(json.dumps(content))


# --- damaged files ---


@pytest.mark.parametrize("role", ["hsi", "msi"])
@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_truncated_tiff(bench: Bench, role: str, keep: float) -> None:
    cut(bench.folder / f"{role}.tif", keep)
    ended = bench.fuse()
    assert (ended.status, ended.stdout, ended.changed) == (2, "", set())
    assert ended.sentence.startswith(f"{role}.tif: ")
    assert "cut off" in ended.sentence


def test_a_truncated_envi_file(bench: Bench) -> None:
    bench.write_raster("cube.img", RNG.integers(1, 9, (6, 20, 24)).astype(np.int16), pixel=30.0, driver="ENVI")
    cut(bench.folder / "cube.img", 0.5)
    ended = bench.fuse(hsi="cube.img")
    assert (ended.status, ended.changed) == (2, set())
    assert "cut off, 2880 bytes where its header asks for 5760" in ended.sentence


@pytest.fixture
def damaged(bench: Bench) -> Bench:
    """A compressed HSI too large to be read whole at a first look, with a block broken between what that reads."""
    numbers = RNG.integers(100, 9000, (30, 430, 430)).astype(np.int16)
    blocks = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate", "interleave": "band"}
    path = bench.hsi(numbers, wavelengths=None, **blocks)
    bench.msi(RNG.integers(100, 9000, (2, 1290, 1290)).astype(np.uint16))
    thirty_bands(bench)
    content = bytearray(path.read_bytes())
    with rasterio.open(path) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_4_4", dm="TIFF", bidx=1))
    content[offset : offset + 64] = b"\xff" * 64
    path.write_bytes(content)
    return bench


def test_a_block_that_turns_out_broken_on_the_way(damaged: Bench) -> None:
    """That the file is damaged shows when the work has begun: status 1, and the old output as it was."""
    (damaged.folder / "out.tif").write_text("old")
    ended = damaged.fuse("--overwrite", "--tile", "64")
    assert (ended.status, ended.stdout, ended.changed) == (1, "", set())
    assert ended.sentence.startswith("hsi.tif: cannot be read as a raster")


# --- a full disk ---


@contextlib.contextmanager
def short_files() -> Iterator[None]:
    """No file may grow beyond 2 kB, as on a disk that fills up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("old", [None, "old"])
def test_a_disk_that_fills_up(bench: Bench, old: str | None) -> None:
    if old is not None:
        (bench.folder / "out.tif").write_text(old)
    with short_files():
        ended = bench.fuse("--overwrite", "--dtype", "float64", "--nodata", "-1")
    assert (ended.status, ended.stdout, ended.changed) == (1, "", set())
    # libtiff speaks for itself, past GDAL, before the sentence
    assert ended.stderr.splitlines()[-1].startswith("hsfuse: out.tif could not be written")
    assert "Traceback" not in ended.stderr


def test_a_simulation_on_a_disk_that_fills_up(bench: Bench) -> None:
    with short_files():
        ended = bench.run(
            "simulate", "--reference", "hsi.tif", "--ratio", "2", "--srf", "sentinel-2a:B3", "-o", "new/pair",
            "--dtype", "float64",
        )  # fmt: skip
    assert (ended.status, ended.stdout, ended.changed) == (1, "", set())


# --- signals ---


RUN_MODULE = 'runpy.run_module("hsfuse", run_name="__main__", alter_sys=True)'


def long_run(bench: Bench) -> list[str]:
    """Words of a fuse that takes minutes: a network on many small tiles."""
    bench.hsi(RNG.integers(100, 9000, (30, 240, 240)).astype(np.int16), wavelengths=None)
    bench.msi(RNG.integers(100, 9000, (2, 720, 720)).astype(np.uint16))
    thirty_bands(bench)
    words = [word for word in bench.fuse_words("--overwrite", "--tile", "12", "--overlap", "4") if word != "-q"]
    return [*words, "--model", "mgdunlss"]


def until_it_fuses(stderr: IO[str]) -> None:
    """Read on to the line that tells of tiles."""
    while not (line := stderr.readline()).startswith("fuse: "):
        assert line.endswith(" …\n") or ": done in" in line


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)]
)
def test_a_signal_in_the_middle_of_a_fuse(bench: Bench, sent: signal.Signals, status: int) -> None:
    """Ctrl-C and a batch system's SIGTERM clean up; whatever kills the process, the old output stays."""
    words = long_run(bench)
    (bench.folder / "out.tif").write_text("old")
    before = listing(bench.folder)
    with bench.start(*words) as process:
        assert process.stderr is not None
        until_it_fuses(process.stderr)
        time.sleep(0.5)
        assert process.poll() is None, "it was over too soon"
        process.send_signal(sent)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (status, "")
    after = listing(bench.folder)
    assert after["out.tif"] == before["out.tif"]
    if sent != signal.SIGKILL:
        assert after == before
        assert "Traceback" not in err
    if sent == signal.SIGINT:
        assert err.strip() == "hsfuse: interrupted: nothing was written"
    elif sent != signal.SIGKILL:
        assert err.strip() == f"hsfuse: interrupted by {sent.name}: nothing was written"


def test_under_nohup_a_run_outlives_its_terminal(bench: Bench) -> None:
    script = f"import os, runpy, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); {RUN_MODULE}"
    with bench.start_python(script, *bench.fuse_words()) as process:
        time.sleep(0.5)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert (bench.folder / "out.tif").exists()


SLOW_CLEANING = """
import shutil, time
import hsfuse.scenes.cog as cog
honest = shutil.rmtree
def slow(*words, **more):
    sys.stderr.write("cleaning\\n")
    time.sleep(0.5)
    honest(*words, **more)
shutil.rmtree = slow
"""


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_break_the_cleaning_up(bench: Bench, second: signal.Signals) -> None:
    before_words = long_run(bench)
    before = listing(bench.folder)
    script = f"import runpy, sys\n{SLOW_CLEANING}\n{RUN_MODULE}"
    with bench.start_python(script, *before_words) as process:
        assert process.stderr is not None
        until_it_fuses(process.stderr)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.stderr.readline() == "cleaning\n"
        process.send_signal(second)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "Traceback" not in err
    assert listing(bench.folder) == before


STAGES = {
    "simulate": ["simulate", "--reference", "hsi.tif", "--ratio", "2", "--srf", "sentinel-2a:B3", "-o", "pair"],
    "estimate": ["estimate", "--hsi", "hsi.tif", "--msi", "msi.tif", "--srf", "imaging.json", "-o", "found.json"],
    "fuse": [],
}


@pytest.mark.parametrize("name", STAGES)
def test_signals_at_any_moment_leave_nothing_half_written(bench: Bench, name: str) -> None:
    """Seeded moments from the loading of libraries to the end; `hunt.py` has many more."""
    words = STAGES[name] or bench.fuse_words()
    before = listing(bench.folder)
    rng = np.random.default_rng(len(name))
    started = time.monotonic()
    with bench.start(*words) as process:
        process.communicate(timeout=60)
    seconds = time.monotonic() - started
    whole = listing(bench.folder).keys() - before.keys()
    assert process.returncode == 0
    for moment in (0.4 + 0.6 * rng.random(2)) * seconds:
        remove_new(bench.folder, before)
        sent = signal.Signals(rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))
        with bench.start(*words) as process:
            time.sleep(moment)
            process.send_signal(sent)
            _, err = process.communicate(timeout=60)
        story = f"{sent.name} after {moment:.2f} of {seconds:.2f} s: {err}"
        assert process.returncode in {0, 128 + sent}, story
        assert "Traceback" not in err, story
        assert "Exception ignored" not in err, story
        left = listing(bench.folder).keys() - before.keys()
        assert left in (set(), whole), story


def remove_new(folder: Path, before: dict[str, str]) -> None:
    """Leave only what was there."""
    for name in sorted(listing(folder).keys() - before.keys(), reverse=True):
        path = folder / name
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()


def test_a_signal_that_a_library_has_swallowed_comes_again(bench: Bench) -> None:
    """Python can pass nothing on out of a destructor, as out of what a C library calls."""
    script = f"""
import os, runpy, signal, sys, time
import hsfuse.commands.info as module
class Swallows:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
honest = module.info
def info(scenes):
    Swallows()
    time.sleep(20)
module.info = info
{RUN_MODULE}
"""
    started = time.monotonic()
    with bench.start_python(script, "info", "hsi.tif") as process:
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "hsfuse: interrupted by SIGTERM: nothing was written\n")
    assert time.monotonic() - started < 18


LAST = """
import atexit, os, runpy, signal, sys
def last():
    os.kill(os.getpid(), signal.SIGTERM)
    print(*(signal.getsignal(number).name for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)))
atexit.register(last)
"""


def test_a_signal_once_the_work_is_done_changes_nothing(bench: Bench) -> None:
    """Ignored by the system: while it ends, Python gives the signals it handles back what they do at first."""
    with bench.start_python(LAST + RUN_MODULE, "info", "hsi.tif") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.endswith("SIG_IGN SIG_IGN SIG_IGN\n")
    assert "24 × 20 pixels" in out


def test_a_signal_while_libraries_are_loaded(bench: Bench) -> None:
    with bench.start(*bench.fuse_words()) as process:
        maps = pathlib.Path(f"/proc/{process.pid}/maps")
        deadline = time.monotonic() + 30
        while "libtorch" not in maps.read_text(encoding="utf-8") and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert not (bench.folder / "out.tif").exists()
