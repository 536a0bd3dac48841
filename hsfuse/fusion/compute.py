"""Where and how exactly to compute: the device, the precision, and the memory that there may be."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from hsfuse.errors import RequestError
from hsfuse.fusion.memory import available_bytes

_Thing = TypeVar("_Thing")

HALF = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What autocast computes in, by the name of a precision."""


@dataclass(frozen=True)
class Compute:
    """Device, precision and memory; `auto` is replaced by what was chosen.

    Raises:
        RequestError: The device is not there, has no fp16, or there is no such precision.
    """

    device: str = "auto"
    """`cpu`, `cuda` or `cuda:N`; `auto` is CUDA where there is one."""

    precision: str = "auto"
    """Of networks: `fp32`, `bf16` or `fp16`; `auto` is fp16 on CUDA and fp32 on the CPU."""

    auto: bool = field(default=False, init=False, compare=False)
    """Whether the device was left to choose, so that another machine may choose another."""

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
        if precision == "fp16" and kind == "cpu":
            raise RequestError("fp16 is for CUDA devices: pass `precision=bf16` or `precision=fp32` on the CPU")
        if self.memory is not None and self.memory <= 0:
            raise RequestError(f"the memory is a number of bytes above 0, got {self.memory}")
        object.__setattr__(self, "auto", self.device == "auto")
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

    @property
    def budget(self) -> int:
        """Bytes of resident memory that may be used."""
        return available_bytes() // 2 if self.memory is None else self.memory

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
            raise RequestError(
                f"{device} is not there: this machine has cuda:0 to cuda:{torch.cuda.device_count() - 1}"
            )
    return chosen.type


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
