"""Moving what was fitted on the CPU to where tiles are computed."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast

from torch import Tensor, nn

if TYPE_CHECKING:
    import torch

_Thing = TypeVar("_Thing")


def to_device(thing: _Thing, device: torch.device) -> _Thing:
    """A tensor, module, or dataclass of such, on a device; anything else, and all that is there already, as it is."""
    if isinstance(thing, (Tensor, nn.Module)):
        return cast("_Thing", thing.to(device))
    if is_dataclass(thing) and not isinstance(thing, type):
        moved = {entry.name: to_device(getattr(thing, entry.name), device) for entry in fields(thing)}
        changed = {name: value for name, value in moved.items() if value is not getattr(thing, name)}
        return replace(thing, **changed) if changed else thing
    return thing
