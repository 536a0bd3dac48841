"""Names that are written nearly right: the nearest known one is proposed."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def did_you_mean(written: str, known: Iterable[str]) -> str:
    """What is added to a refusal: ` (did you mean NAME?)`, or nothing where no name is near.

    Args:
        written: As the user has it; letter case does not matter.
        known: The names that there are.
    """
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(written.lower(), names, n=1)
    return f" (did you mean {names[near[0]]}?)" if near else ""
