"""What is made of a misregistration: refused, told, or put right."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from hsfuse.errors import PairError

if TYPE_CHECKING:
    from hsfuse.imaging import ImagingModel, Misregistration
    from hsfuse.pairs.coregistration import Coregistration
    from hsfuse.pairs.imaging_source import FoundImaging

WARN_SHIFT = 0.3
"""HSI pixels of misregistration from which on the user is warned."""
UNMOVED = 0.05
"""HSI pixels up to which nothing is said of a coregistration."""
REFUSE_SHIFT = 2.0
"""HSI pixels of misregistration from which on a pair is refused unless it is allowed."""


def from_where_files_say(
    found: FoundImaging, moved_by: tuple[float, float]
) -> tuple[ImagingModel, ImagingModel, Misregistration | None]:
    """The imaging model on an HSI's grid that was moved, the same on the grid that its file says, and the shift there.

    A shift that was not measured is taken to be none there.
    """
    (x, y), shift, imaging = moved_by, found.shift, found.imaging
    measured = shift is not None and (len(shift.cells) > 0 or shift.magnitude > 0)
    if not measured:
        return replace(imaging, shift=(-x, -y)), replace(imaging, shift=(0.0, 0.0)), shift
    nominal = replace(imaging, shift=(imaging.shift[0] + x, imaging.shift[1] + y))
    return imaging, nominal, None if shift is None else shift.moved(x, y)


def judge_shift(shift: Misregistration, notes: list[str], *, corrected: bool, allowed: bool) -> None:
    """Refuse a misregistration that is too large, and say one that matters.

    Args:
        shift: As measured.
        notes: Takes a sentence for the user.
        corrected: Whether the scenes were coregistered before.
        allowed: Whether to go on however large it is.

    Raises:
        PairError: It is above two HSI pixels and was not allowed.
    """
    size = math.hypot(shift.x, shift.y)
    text = f"the images are misregistered by {size:.2f} HSI pixels (x {shift.x:+.2f}, y {shift.y:+.2f})"
    if corrected:
        if size > WARN_SHIFT:
            notes.append(f"{text} still after they were coregistered; the imaging model carries it")
    elif size > REFUSE_SHIFT and not allowed:
        raise PairError(
            f"{text}, more than {REFUSE_SHIFT:g}: pass `coregister=True` to bring the HSI onto the MSI's geolocation, "
            "or `allow_shift=True`"
        )
    elif size > WARN_SHIFT:
        notes.append(
            f"{text}: the imaging model carries it, and the output lies where the HSI says that it lies; "
            "`coregister=True` brings it to where the MSI lies"
        )


def corrected(found: Coregistration) -> str:
    """What was done about a misregistration, a sentence for the user."""
    text = (
        f"the images are misregistered by {math.hypot(found.x, found.y):.2f} HSI pixels (x {found.x:+.2f}, "
        f"y {found.y:+.2f}): the output was moved by that and lies where the MSI lies"
    )
    if found.field is None:
        return text
    return f"{text}; the displacement varies, up to {found.largest:.1f} HSI pixels, and the HSI was resampled along it"
