"""What a piece of work costs: seconds, and the memory, of the machine and of a card, that it holds at most."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch

from hsfuse.fusion.compute import forget_device_peak, peak_device_megabytes
from hsfuse.fusion.memory import give_back

if TYPE_CHECKING:
    from types import TracebackType

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CLEAR_PEAK = "5"  # man 5 proc: resets the peak resident set size
_SLACK = 1.05  # of the resident size, for what other threads take between clearing and looking


class Cost:
    """Measures what happens in a `with` block.

    The largest resident size that `getrusage` knows only ever grows, so that it would give every method the memory
    of the hungriest before it. Linux can forget it (which `getrusage` then does too); elsewhere there is no figure.
    What the process holds at the start counts too, libraries and GDAL's cache among it: the same work measured later
    in one process came out up to a tenth higher.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        """Begin with nothing; `device` is where else than on the CPU the work is done."""
        self._device = device or torch.device("cpu")
        self.seconds = 0.0
        """How long the block took."""
        self.peak_memory_mb: float | None = None
        """Largest resident size of the process in the block, in MB of 2²⁰ bytes, what it held before included; None
        where the system does not tell."""
        self.peak_device_memory_mb: float | None = None
        """Most memory of the card that torch held in the block, in the same units; None where none was used."""

    def __enter__(self) -> Self:
        gc.collect()
        give_back()
        forget_device_peak(self._device)
        self._cleared = _clear_peak()
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._started
        peak = _kilobytes("VmHWM") if self._cleared else None
        self.peak_memory_mb = None if peak is None else peak / 2**10
        self.peak_device_memory_mb = peak_device_megabytes(self._device)


def _clear_peak() -> bool:
    """Whether the peak was set back to what is resident now."""
    try:
        _CLEAR.write_text(_CLEAR_PEAK, encoding="ascii")
    except OSError:
        return False
    peak, resident = _kilobytes("VmHWM"), _kilobytes("VmRSS")
    return peak is not None and resident is not None and peak <= _SLACK * resident


def _kilobytes(name: str) -> int | None:
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)
