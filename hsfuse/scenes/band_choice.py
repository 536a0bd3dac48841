"""Which of a scene's bands are used where the user does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import PairError
from hsfuse.scenes.bands import band_list_text
from hsfuse.scenes.repeats import repeats_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsfuse.scenes.scene import Scene

# With fewer bands left the spectrum is worth more than sharpness.
_FEWEST_SHARP = 3


def choose_bands(scene: Scene, kind: str, wanted: Sequence[int] | None, warnings: list[str]) -> tuple[int, ...]:
    """The 0-based bands to use: those wanted, or all that are good.

    Args:
        scene: Of which.
        kind: `HSI` or `MSI`; of an MSI bands that are coarser than their pixels are left out.
        wanted: 0-based; None for a choice.
        warnings: Takes sentences about what is left out.

    Raises:
        PairError: Bands that do not exist, or none is good.
    """
    if wanted is not None:
        bands = tuple(int(band) for band in wanted)
        if not bands or min(bands) < 0 or max(bands) >= scene.count:
            raise PairError(f"{scene.path}: bands were asked for that are not among its {scene.count}")
        coarse = [band for band in bands if band in scene.repeats]
        if coarse:
            warnings.append(
                f"{kind} bands are coarser than their pixels, which are repeated: {_repeated(scene, coarse)}"
            )
        return bands
    good = tuple(int(band) for band in np.flatnonzero(scene.bands.good))
    if not good:
        raise PairError(f"{scene.path}: all {scene.count} bands are flagged as bad: choose bands yourself")
    good = _sharp(scene, kind, good, warnings)
    left_out = [band for band in range(scene.count) if not scene.bands.good[band]]
    if left_out:
        warnings.append(
            f"{len(left_out)} of {scene.count} {kind} bands are bad or empty and were left out: "
            f"{band_list_text(left_out)}{_why(scene)}"
        )
    return good


def _sharp(scene: Scene, kind: str, good: tuple[int, ...], warnings: list[str]) -> tuple[int, ...]:
    """Those of the good bands that are as sharp as their pixels, where there are enough of them."""
    coarse = [band for band in good if band in scene.repeats]
    if not coarse or kind != "MSI":
        return good
    sharp = tuple(band for band in good if band not in scene.repeats)
    text = f"MSI bands are coarser than their pixels, which are repeated: {_repeated(scene, coarse)}"
    if len(sharp) < _FEWEST_SHARP:
        warnings.append(f"{text}; they were used as they are, for want of {_FEWEST_SHARP} sharp ones")
        return good
    warnings.append(
        f"{text}; they were left out (choose bands to use them as they are, or give a file with their own pixels as a "
        "further `msi`)"
    )
    return sharp


def _repeated(scene: Scene, bands: Sequence[int]) -> str:
    return repeats_text(bands, scene.repeats, scene.bands.names)


def _why(scene: Scene) -> str:
    reasons = [f"{band + 1}: {reason}" for band, reason in sorted(scene.idle_bands.items())]
    return f" ({'; '.join(reasons[:4])}{'; …' if len(reasons) > 4 else ''})" if reasons else ""
