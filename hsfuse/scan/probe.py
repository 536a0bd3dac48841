"""Whether a backend really scans: it is tried, for what is installed need not work."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import torch

from hsfuse.scan.arguments import ScanArguments

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_log = logging.getLogger(__name__)

_TOLERANCE = 1e-3


def trouble_with(scan: Callable[[ScanArguments], tuple[Tensor, Tensor]], device: torch.device) -> str:
    """Scan two steps of which the result is known; what went wrong, as a clause, empty if nothing did.

    Raises:
        torch.OutOfMemoryError: If the device has no room: that tells nothing about the backend.
    """
    try:
        one = torch.ones(1, 1, 2, device=device)
        y, last = scan(ScanArguments.of(one, one, -torch.ones(1, 1, device=device), one, one))
        found = [*y.flatten().tolist(), *last.flatten().tolist()]
    except torch.OutOfMemoryError:
        raise
    except Exception as problem:  # noqa: BLE001  # foreign code fails in its own ways; any means: not this one
        _log.debug("%s does not work on %s", scan.__name__, device, exc_info=True)
        return f"it fails when tried ({type(problem).__name__}: {' '.join(str(problem).split())})"
    expected = [1.0, 1.0 + math.exp(-1), 1.0 + math.exp(-1)]
    if all(abs(number - true) < _TOLERANCE for number, true in zip(found, expected, strict=True)):
        return ""
    return f"it gives {found} when tried, where {[round(true, 3) for true in expected]} is right"
