"""Trainings that repeat bit for bit on a card too."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import torch

from hsfuse.errors import RequestError, WorkError

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARIABLE, _VALUES = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")


def check_deterministic(device: torch.device) -> None:
    """Refuse a deterministic run whose matrix products could not repeat: cuBLAS reads its setting from the environment.

    Raises:
        RequestError: The variable is not set.
    """
    if device.type == "cuda" and os.environ.get(_VARIABLE) not in _VALUES:
        raise RequestError(
            f"`deterministic` needs {_VARIABLE}={_VALUES[0]} in the environment on CUDA, or matrix products do not "
            "repeat: set it, or leave `deterministic` out"
        )


@contextlib.contextmanager
def deterministic_algorithms(*, wanted: bool) -> Iterator[None]:
    """Let torch take algorithms that repeat bit for bit alone, where that is wanted; its settings are put back.

    Raises:
        WorkError: torch has none for something that is computed.
    """
    if not wanted:
        yield
        return
    cudnn = torch.backends.cudnn
    before, warned, benchmark = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.benchmark,
    )
    torch.use_deterministic_algorithms(True)  # cuDNN included
    cudnn.benchmark = False
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise WorkError(f"torch cannot compute this so that it repeats: leave `deterministic` out ({error})") from error
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        cudnn.benchmark = benchmark
