"""Where and how exactly to compute: the device, the precision, and the memory that there may be."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, nn

from hsfuse.errors import RequestError
from hsfuse.fusion.memory import available_bytes
from hsfuse.models.precision import float32_products

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_Thing = TypeVar("_Thing")

HALF = {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What autocast computes in, by the name of a precision."""

_OF_CUDA = {"fp16": "pass `precision=bf16` or `precision=fp32` on the CPU", "tf32": "pass `precision=fp32` on the CPU"}


@dataclass(frozen=True)
class Compute:
    """Device, precision and memory; `auto` is replaced by what was chosen.

    Raises:
        RequestError: The device is not there, has no fp16 or TF32, or there is no such precision.
    """

    device: str = "auto"
    """`cpu`, `cuda` or `cuda:N`; `auto` is CUDA where there is one."""

    precision: str = "auto"
    """Of networks: `fp32` (products too: TF32 is off), `tf32`, `bf16` or `fp16`; `auto` is fp16 on CUDA and fp32 on the
    CPU."""

    auto: bool = field(default=False, init=False, compare=False)
    """Whether the device was left to choose, so that another machine may choose another."""

    auto_precision: bool = field(default=False, init=False, compare=False)
    """Whether the precision was left to choose likewise."""

    memory: int | None = None
    """Bound on the resident memory in bytes; None for half of what is free."""

    def __post_init__(self) -> None:
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        kind = _checked_device(device)
        precision = self.precision
        if precision == "auto":
            precision = "fp16" if kind == "cuda" else "fp32"
        if precision not in HALF:
            raise RequestError(f"{precision!r} is no precision: choose one of auto, {', '.join(HALF)}")
        if precision in _OF_CUDA and kind == "cpu":
            raise RequestError(f"{precision} is for CUDA devices: {_OF_CUDA[precision]}")
        if self.memory is not None and self.memory <= 0:
            raise RequestError(f"the memory is a number of bytes above 0, got {self.memory}")
        object.__setattr__(self, "auto", self.device == "auto")
        object.__setattr__(self, "auto_precision", self.precision == "auto")
        object.__setattr__(self, "device", device)
        object.__setattr__(self, "precision", precision)

    @property
    def torch_device(self) -> torch.device:
        """The device as torch has it."""
        return torch.device(self.device)

    @property
    def half(self) -> torch.dtype | None:
        """float16 or bfloat16 for autocast; None for float32."""
        return HALF[self.precision]

    def products(self) -> AbstractContextManager[None]:
        """A block in which networks multiply float32 as the precision says: in TF32 only where it was asked for."""
        return float32_products(tf32=self.precision == "tf32")

    @property
    def exactness(self) -> str:
        """The precision, with what it makes of float32: a clause for users."""
        if self.precision == "tf32":
            return "float32 with products in TF32"
        return self.precision if self.torch_device.type == "cpu" else f"{self.precision}, TF32 off"

    @property
    def budget(self) -> int:
        """Bytes of resident memory that may be used."""
        return available_bytes() // 2 if self.memory is None else self.memory

    def at_home(self) -> Compute:
        """The same on another machine, to which it was sent: on CUDA where that is there and the device was left to
        choose, and in the precision that was asked for, or float32 where the device has it not.
        """
        if not self.auto:
            return self
        if self.auto_precision:
            return Compute(memory=self.memory)
        try:
            return Compute(precision=self.precision, memory=self.memory)
        except RequestError:  # fp16 and tf32 were asked for where there is a card
            return Compute(precision="fp32", memory=self.memory)

    def in_float32(self) -> Compute:
        """The same without half precision."""
        return replace(self, precision="fp32")

    def on_cpu(self) -> Compute:
        """The CPU with float32 and the same memory."""
        return replace(self, device="cpu", precision="fp32")


def _checked_device(device: str) -> str:
    """The kind of a device that is there: `cpu` or `cuda`."""
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise RequestError(f"{device!r} is no device: pass auto, cpu, cuda or cuda:N") from error
    if chosen.type not in {"cpu", "cuda"}:
        raise RequestError(f"{device!r} is no device: pass auto, cpu, cuda or cuda:N")
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise RequestError("there is no CUDA device that torch can use: pass `device=cpu`")
        if chosen.index is not None and chosen.index >= torch.cuda.device_count():
            raise RequestError(f"{device} is not there: {cuda_devices()}")
    return chosen.type


def cuda_devices() -> str:
    """Which CUDA devices there are: a clause for users."""
    count = torch.cuda.device_count()
    return "this machine has cuda:0 alone" if count == 1 else f"this machine has cuda:0 to cuda:{count - 1}"


def peak_device_megabytes(device: torch.device) -> float | None:
    """Memory of a card that torch held at most since the start or `forget_device_peak`, in MB of 2²⁰ bytes.

    What was kept for later use counts, since nobody else could have it; None where the device is no card.
    """
    return torch.cuda.max_memory_reserved(device) / 2**20 if device.type == "cuda" else None


def forget_device_peak(device: torch.device) -> None:
    """Hand back what torch keeps of a card without using it, and measure its peak from now on."""
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # without it there is no peak to forget, which is an error
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


CPU = Compute("cpu", "fp32")
"""What is always there."""


def to_device(thing: _Thing, device: torch.device) -> _Thing:
    """A tensor, module, or dataclass of such, on a device; anything else, and all that is there already, as it is."""
    if isinstance(thing, (Tensor, nn.Module)):
        return cast("_Thing", thing.to(device))
    if is_dataclass(thing) and not isinstance(thing, type):
        moved = {entry.name: to_device(getattr(thing, entry.name), device) for entry in fields(thing)}
        changed = {name: value for name, value in moved.items() if value is not getattr(thing, name)}
        return replace(thing, **changed) if changed else thing
    return thing
