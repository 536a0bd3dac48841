"""The allocator keeps what it is told to keep, and tiles fit into what there is."""

import os
import platform
import resource
import subprocess
import sys

import pytest
import torch

from hsfuse.errors import RequestError
from hsfuse.fusion.memory import fitting_tile, kept_memory


def faults(work):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def allocate():
    for _ in range(4):
        torch.empty(2**24).fill_(1.0)  # 64 MB


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's allocator")
def test_freed_memory_is_used_again_within_the_block_only(monkeypatch):
    for name in ("GLIBC_TUNABLES", *(name for name in os.environ if name.startswith("MALLOC_"))):  # Dask sets one
        monkeypatch.delenv(name, raising=False)
    with kept_memory():
        allocate()
        kept = faults(allocate)
    usual = faults(allocate)
    assert kept < usual / 4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere only `getrusage` tells")
def test_the_peak_is_of_this_process_and_not_of_a_larger_one_that_started_it():
    tell = "from hsfuse.fusion.memory import peak_megabytes; print(peak_megabytes())"
    start = f"import subprocess, sys; held = b'x' * 2**30; subprocess.run([sys.executable, '-c', {tell!r}], check=True)"
    ended = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=True)
    assert 5 < float(ended.stdout) < 500


def test_an_error_leaves_the_block_as_it_is():
    with pytest.raises(ValueError, match="inside"), kept_memory():
        raise ValueError("inside")


def test_a_method_that_needs_more_memory_gets_smaller_tiles():
    settings = {"bands": 100, "area": (500, 500), "ratio": 3, "overlap": 6, "budget": 3 * 2**30}
    usual, hungry = (fitting_tile(**settings, working_bytes=bytes_a_pixel) for bytes_a_pixel in (12_000, 212_000))
    assert hungry < usual
    with pytest.raises(RequestError, match="GB of memory do not hold"):
        fitting_tile(**settings, working_bytes=10**9)
