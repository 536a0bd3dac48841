"""Which backend scans: what is there on this machine, what was asked for, and why one is chosen."""

# Backends are imported when they are tried or used: numba and triton take a second each.
# ruff: noqa: PLC0415

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from hsfuse.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from hsfuse.scan.arguments import ScanArguments

_log = logging.getLogger(__name__)

VARIABLE = "HSFUSE_SCAN"
"""The environment variable that asks for a backend."""

BACKENDS = ("mamba_ssm", "triton", "numba", "reference")
"""In the order in which ``auto`` tries them."""


@dataclass(frozen=True)
class BackendChoice:
    """The backend that will scan on a device, and why."""

    name: str
    """One of `BACKENDS`."""
    reason: str
    """Why this one, as a clause for ``hsfuse doctor``."""
    refused: dict[str, str]
    """Why not each of the others, by name."""

    @property
    def nothing_faster(self) -> str:
        """Why none of the fast backends for a CUDA device serves, as a clause."""
        return f"triton: {self.refused.get('triton', '')}; mamba_ssm: {self.refused.get('mamba_ssm', '')}"

    def __post_init__(self) -> None:
        if self.name not in BACKENDS:
            raise RequestError(f"{self.name!r} is no selective-scan backend: one of {', '.join(BACKENDS)}")


def available_backends(device: torch.device | str = "cpu") -> dict[str, str]:
    """Every backend's name with "" if it works on ``device``, else what it lacks, as a clause. They are tried."""
    place = _place(device)
    return {name: _obstacle(name, place) for name in BACKENDS}


def explain_backend(
    device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, *, state_gradient: bool = False
) -> BackendChoice:
    """What `selective_scan` will use on ``device`` for operands of ``dtype``, and why.

    Args:
        device: Any torch device; ``cuda`` is the current one of several.
        dtype: Of the operands.
        state_gradient: Whether the gradient of the last state may be wanted, which not every backend has.

    Raises:
        RequestError: If ``HSFUSE_SCAN`` asks for what does not exist or does not work here.
    """
    return _choose(os.environ.get(VARIABLE, "auto"), _place(device), dtype == torch.float64, state_gradient)


def _place(device: torch.device | str) -> torch.device:
    """The device with its index: what works on one card need not work on the next."""
    place = torch.device(device)
    if str(place) == "cuda" and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return place


@cache
def _choose(wish: str, place: torch.device, double: bool, state_gradient: bool) -> BackendChoice:
    if wish not in ("auto", *BACKENDS):
        raise RequestError(f"{VARIABLE}={wish} is unknown: use auto or one of {', '.join(BACKENDS)}")
    obstacles = available_backends(place)
    if state_gradient and not obstacles["mamba_ssm"]:
        from hsfuse.scan.mamba_ssm import NO_STATE_GRADIENT

        obstacles["mamba_ssm"] = NO_STATE_GRADIENT
    if double:
        obstacles |= dict.fromkeys(("mamba_ssm", "triton", "numba"), "it computes in float32 and was given float64")
    refused = {name: why for name, why in obstacles.items() if why}
    if wish == "auto":
        name = next(name for name in BACKENDS if name not in refused)
        choice = BackendChoice(name, f"the first that works on {place}", refused)
    elif wish in refused:
        raise RequestError(f"{VARIABLE}={wish} cannot be used on {place}: {refused[wish]}; unset it or choose another")
    else:
        choice = BackendChoice(wish, f"{VARIABLE} asks for it", refused)
    _say(choice, place, slow=wish == "auto" and place.type == "cuda" and not double)
    return choice


def _say(choice: BackendChoice, place: torch.device, *, slow: bool) -> None:
    _log.info("selective scan on %s: %s (%s)", place, choice.name, choice.reason)
    if slow and choice.name == "reference":
        _log.warning("the selective scan on %s is slow, %s", place, choice.nothing_faster)


def run_backend(choice: BackendChoice, arguments: ScanArguments, z: Tensor | None) -> tuple[Tensor, Tensor]:
    """Scan with the chosen backend: y gated by SiLU(z), and the last state."""
    return _implementation(choice.name)(arguments, z)


@cache
def _implementation(name: str) -> Callable[[ScanArguments, Tensor | None], tuple[Tensor, Tensor]]:
    if name == "mamba_ssm":
        from hsfuse.scan.mamba_ssm import scan_mamba_ssm

        return scan_mamba_ssm
    if name == "triton":
        from hsfuse.scan.triton_scan import scan_triton

        return scan_triton
    if name == "numba":
        from hsfuse.scan.cpu.scan import scan_cpu

        return scan_cpu
    from hsfuse.scan.reference import scan_reference

    return scan_reference


@cache
def _obstacle(name: str, place: torch.device) -> str:
    """Why a backend does not work on this device; empty if it does."""
    return {"mamba_ssm": _no_mamba_ssm, "triton": _no_triton, "numba": _no_numba}.get(name, lambda _: "")(place)


def _no_mamba_ssm(place: torch.device) -> str:
    if missing := _no_cuda(place):
        return missing
    if find_spec("mamba_ssm") is None:
        return "mamba-ssm is not installed"
    from hsfuse.scan.mamba_ssm import probe_mamba_ssm

    return probe_mamba_ssm(place)


def _no_triton(place: torch.device) -> str:
    if find_spec("triton") is None:
        return "triton is not installed"
    from hsfuse.scan.triton_scan import interpreted, probe_triton

    if interpreted() and place.type == "cpu":
        return ""
    missing = _no_cuda(place)
    return f"{missing} (or TRITON_INTERPRET=1, for tests)" if missing else probe_triton(place)


def _no_cuda(place: torch.device) -> str:
    if place.type != "cuda":
        return f"it needs a CUDA device, not {place}"
    return "" if torch.cuda.is_available() else "it needs a CUDA device, and torch finds none"


def _no_numba(place: torch.device) -> str:
    if place.type != "cpu":
        return f"it needs operands on the CPU, not {place}"
    return "" if find_spec("numba") is not None else "numba is not installed"
