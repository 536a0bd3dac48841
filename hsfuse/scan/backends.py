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

    def __post_init__(self) -> None:
        if self.name not in BACKENDS:
            raise RequestError(f"{self.name!r} is no selective-scan backend: one of {', '.join(BACKENDS)}")


def available_backends(device: torch.device | str = "cpu") -> dict[str, str]:
    """Every backend's name with "" if it works on ``device``, else what it lacks, as a clause."""
    kind = torch.device(device).type
    return {name: _obstacle(name, kind) for name in BACKENDS}


def explain_backend(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> BackendChoice:
    """What `selective_scan` will use on ``device`` for operands of ``dtype``, and why.

    Raises:
        RequestError: If ``HSFUSE_SCAN`` asks for what does not exist or does not work here.
    """
    return _choose(os.environ.get(VARIABLE, "auto"), torch.device(device).type, dtype == torch.float64)


@cache
def _choose(wish: str, kind: str, double: bool) -> BackendChoice:
    if wish not in ("auto", *BACKENDS):
        raise RequestError(f"{VARIABLE}={wish} is unknown: use auto or one of {', '.join(BACKENDS)}")
    obstacles = available_backends(kind)
    if double:
        obstacles |= dict.fromkeys(("mamba_ssm", "triton", "numba"), "it computes in float32 and was given float64")
    refused = {name: why for name, why in obstacles.items() if why}
    if wish == "auto":
        name = next(name for name in BACKENDS if name not in refused)
        choice = BackendChoice(name, f"the first that works on {kind}", refused)
    elif wish in refused:
        raise RequestError(f"{VARIABLE}={wish} cannot be used on {kind}: {refused[wish]}; unset it or choose another")
    else:
        choice = BackendChoice(wish, f"{VARIABLE} asks for it", refused)
    _log.info("selective scan on %s: %s (%s)", kind, choice.name, choice.reason)
    return choice


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
def _obstacle(name: str, kind: str) -> str:
    """Why a backend does not work on this kind of device; empty if it does."""
    return {"mamba_ssm": _no_mamba_ssm, "triton": _no_triton, "numba": _no_numba}.get(name, lambda _: "")(kind)


def _no_mamba_ssm(kind: str) -> str:
    if kind != "cuda":
        return f"it needs a CUDA device, not {kind}"
    if find_spec("mamba_ssm") is None:
        return "mamba-ssm is not installed"
    from hsfuse.scan.mamba_ssm import probe_mamba_ssm

    return probe_mamba_ssm()


def _no_triton(kind: str) -> str:
    if find_spec("triton") is None:
        return "triton is not installed"
    from hsfuse.scan.triton_scan import interpreted

    if kind == "cuda" or interpreted():
        return ""
    return f"it needs a CUDA device, not {kind} (or TRITON_INTERPRET=1, for tests)"


def _no_numba(kind: str) -> str:
    if kind != "cpu":
        return f"it needs operands on the CPU, not {kind}"
    return "" if find_spec("numba") is not None else "numba is not installed"
