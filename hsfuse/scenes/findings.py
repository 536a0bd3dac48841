"""What the screen found in a scene, and the sentences that say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsfuse.scenes.bands import band_list_text

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Finding:
    """One thing that the screen found."""

    kind: str
    """`fill` (pixels), `absent` (single numbers), `suspect` (pixels), `missing` (single numbers that a tag declares
    as nodata), or `lost` (pixels of an image of few bands that lack some of their numbers)."""
    value: float | None
    """The number in the file; None where there are several."""
    share: float
    """Part of the sampled pixels, or for single numbers of the sampled numbers (of `missing`: in `bands`), 0 to 1."""
    bands: tuple[int, ...] = ()
    """0-based bands, where only some are touched."""

    @property
    def sentence(self) -> str:
        """For the user, without the name of the file."""
        bands = band_list_text(self.bands)
        match self.kind:
            case "fill":
                number = "the same absurd numbers" if self.value is None else f"{self.value:g} in every band"
                return f"{_percent(self.share)} of the pixels hold {number}, which no tag declares: taken as nodata"
            case "absent":
                return (
                    f"{_percent(self.share)} of the numbers, in {len(self.bands)} band(s) ({bands}), are no image's "
                    "(such as -9999), which no tag declares: taken as nodata"
                )
            case "suspect":
                return (
                    f"{_percent(self.share)} of the pixels hold numbers far beyond the rest of the scene (spikes, "
                    "saturation, a dead detector): fused, but kept out of every fit"
                )
            case "lost":
                return (
                    f"{_percent(self.share)} of the pixels have nodata in some bands and not in others ({bands}): "
                    "nodata in all, since so few bands cannot be bridged"
                )
            case _:
                return (
                    f"{len(self.bands)} band(s) lack {_percent(self.share)} of their numbers: {bands}: bridged for the "
                    "fits, nodata in these bands alone"
                )


def later_sentences(kinds: Iterable[str]) -> list[str]:
    """For what came up while reading although the sample on opening did not show it."""
    texts = {
        "fill": "some pixels hold one absurd number in every band, which no tag declares: taken as nodata",
        "absent": "some numbers in single bands are no image's (such as -9999): taken as nodata",
        "suspect": "some pixels hold numbers far beyond the rest of the scene: fused, but kept out of every fit",
        "missing": "some bands lack numbers: bridged for the fits, nodata in these bands alone",
    }
    found = set(kinds)
    return [text for kind, text in texts.items() if kind in found]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.1f} %"
