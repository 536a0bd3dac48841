"""What every section is given: a device, a size, a clock and a place for its lines; and how a section is run.

Each has a process of its own, forked before anything has touched the card: what one leaves behind (a lost CUDA context,
memory, a kernel that never ends) does not reach the next.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable  # noqa: TC003 (of a dataclass)
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import torch

from gpu.report import Line, Verdict
from hsfuse.fusion.compute import Compute

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

_Size = TypeVar("_Size")

PROCESSES = multiprocessing.get_context("fork")
_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Bench:
    """The device, how large to measure, and where lines go."""

    device: torch.device
    """CUDA, or the CPU in a dry run."""

    toy: bool
    """Whether sizes are those of a dry run."""

    seconds: float
    """That there are."""

    hear: Callable[[Line], None]
    """Takes the lines."""

    began: float = field(default_factory=time.monotonic)
    """As of `time.monotonic`."""

    @property
    def on_card(self) -> bool:
        """Whether there is one."""
        return self.device.type == "cuda"

    @property
    def computes(self) -> list[Compute]:
        """The device in every precision that it has, float32 first."""
        precisions = ("fp32", "tf32", "fp16", "bf16") if self.on_card else ("fp32", "bf16")
        return [Compute(str(self.device), precision) for precision in precisions]

    @property
    def quick(self) -> list[Compute]:
        """In float32, and in what `auto` takes of a card."""
        return [compute for compute in self.computes if compute.precision in {"fp32", "fp16"}]

    def sized(self, full: _Size, toy: _Size) -> _Size:
        """What is measured on a card, or what a dry run takes of it."""
        return toy if self.toy else full

    def tell(self, what: str, figure: str, verdict: Verdict = Verdict.NONE, **numbers: float) -> None:
        """Add a line."""
        self.hear(Line(what, figure, verdict, numbers))

    def judge(self, what: str, figure: str, *, good: bool, **numbers: float) -> None:
        """Add a line about what is right or wrong."""
        self.tell(what, figure, Verdict.GOOD if good else Verdict.FAILED, **numbers)

    def enough(self, what: str, seconds: float) -> bool:
        """Whether so much of the section's time is left; a line says so if not."""
        left = self.began + self.seconds - time.monotonic()
        if left < seconds:
            self.tell(what, f"{max(left, 0):.0f} s left", Verdict.LEFT_OUT)
        return left >= seconds

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """A block whose failure is a line, and ends nothing else."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            self.tell(what, str(error).partition(".")[0], Verdict.NO_MEMORY)
            if self.on_card:
                torch.cuda.empty_cache()
        except Exception as error:  # noqa: BLE001 (drivers, compilers and kernels fail in their own ways)
            self.hear(broken(what, error))

    def wait(self) -> None:
        """Let the card finish."""
        if self.on_card:
            torch.cuda.synchronize(self.device)

    def milliseconds(self, work: Callable[[], object], rounds: int = 10, warm: int = 3) -> float:
        """Of a call, the median, after a few that do not count."""
        rounds, warm = self.sized((rounds, warm), (1, 1))
        for _ in range(warm):
            work()
        taken = []
        for _ in range(rounds):
            self.wait()
            begun = time.perf_counter()
            work()
            self.wait()
            taken.append(1e3 * (time.perf_counter() - begun))
        return sorted(taken)[rounds // 2]

    def added_megabytes(self, work: Callable[[], object]) -> float | None:
        """What a call holds of the card at most, beside what was held before; None on the CPU."""
        if not self.on_card:
            return None
        self.wait()
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        work()
        self.wait()
        return (torch.cuda.max_memory_allocated(self.device) - before) / 2**20


@contextlib.contextmanager
def computing(compute: Compute) -> Iterator[None]:
    """A block in which networks compute as an image is fused: in that precision, without gradients."""
    half = compute.half
    with (
        compute.products(),
        torch.inference_mode(),
        torch.autocast(compute.torch_device.type, dtype=half or torch.bfloat16, enabled=half is not None),
    ):
        yield


def megabytes(held: float | None) -> tuple[str, dict[str, float]]:
    """Memory as a clause after a figure, and as a number; both empty where it is not known."""
    return ("", {}) if held is None else (f", {held:.0f} MB", {"megabytes": held})


@dataclass(frozen=True)
class Section:
    """A part of the run."""

    name: str
    """In the table."""

    seconds: float
    """It may take."""

    work: Callable[[Bench], None]
    """What it does."""


def run_section(section: Section, seconds: float, hear: Callable[[Line], None], *, card: bool, toy: bool) -> None:
    """Run a section in a process of its own; however that ends, a line says it.

    Args:
        section: What to run.
        seconds: It is stopped soon after.
        hear: Takes its lines.
        card: Whether to run on CUDA.
        toy: Whether at the sizes of a dry run.
    """
    begun = time.monotonic()
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_work, args=(section, seconds, sender, card, toy))
    process.start()
    sender.close()
    try:
        while receiver.poll(max(begun + seconds + _GRACE_SECONDS - time.monotonic(), 0)):
            hear(receiver.recv())
        hear(Line("stopped", f"it had not ended after {seconds:.0f} s", Verdict.FAILED))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)  # what it has started, too
        process.join()
    except EOFError:
        process.join()
        if process.exitcode:
            hear(Line("broke off", f"its process ended with {process.exitcode}", Verdict.FAILED))
    taken = time.monotonic() - begun
    hear(Line("seconds", f"{taken:.1f}", numbers={"seconds": taken}))


def _work(section: Section, seconds: float, sender: Connection, card: bool, toy: bool) -> None:
    os.setsid()
    device = torch.device("cuda", 0) if card else torch.device("cpu")
    try:
        section.work(Bench(device, toy, seconds, sender.send))
    except Exception as error:  # noqa: BLE001 (as in `Bench.attempt`)
        sender.send(broken("broke off", error))
    sender.close()
    sys.stdout.flush()
    os._exit(0)  # what a broken card does to the end of a process is no finding


def broken(what: str, error: Exception) -> Line:
    """A line about a failure."""
    sentence = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return Line(what, sentence, Verdict.FAILED, trace="".join(traceback.format_exception(error)))
