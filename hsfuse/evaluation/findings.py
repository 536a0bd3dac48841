"""Whether a result is to be trusted: what speaks for it and what against, with the numbers.

The limits are rules of thumb. Without a reference they can but tell whether a result contradicts the two images that it
was made of; a result that follows both can still be wrong where neither says anything.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.evaluation.facts import along
from hsfuse.pairs.misregistration import REFUSE_SHIFT, WARN_SHIFT
from hsfuse.pairs.pair import WARN_DIFFERING
from hsfuse.report.content import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.evaluation.parts import PairParts
    from hsfuse.metrics import FullReferenceScores
    from hsfuse.pairs.pair import Pair
    from hsfuse.report.content import Level

WITHOUT_TRUTH = (
    "Without a reference this tells whether the result contradicts the two images that it was made of, not whether it "
    "is true where neither of them says anything. The limits are rules of thumb."
)
WITH_TRUTH = "The limits are rules of thumb: what error is small enough depends on what the result is for."

_IN_NOISE = 1.5, 3.0  # of the HSI's noise: what a result that filters it leaves, and what no noise explains
_MISSED = 0.1, 0.4  # of the energy of what the MSI shows within HSI pixels
_UNCERTAIN = 10.0, 30.0  # % of a pixel
_DIFFERING = 0.1
_FILLED = 0.5
_FAR_NM = 60.0  # from the nearest band of the MSI
_ANGLE = 3.0, 8.0  # degrees
_OFF = 0.05, 0.15  # RMSE as a share of the mean
_MUCH = 0.5  # dB


def level(value: float, limits: tuple[float, float]) -> Level:
    """`good` up to the first limit, `doubt` beyond the second or where there is no value."""
    if not value <= limits[1]:
        return "doubt"
    return "good" if value <= limits[0] else "look"


def of_pair(parts: PairParts, noise: NDArray[np.float64] | None) -> list[Finding]:
    """What a fused image's own pair says of it.

    Args:
        parts: The three images, all of them taken in.
        noise: Of the HSI in each band; None where it cannot be told.
    """
    pair = parts.views.pair
    return [
        *_follows_hsi(parts, noise),
        _follows_msi(parts),
        *_uncertain(parts),
        _registered(pair),
        _alike(pair),
        *_filled(parts.filled),
        *_beyond(pair),
        *_model(pair),
    ]


def _follows_hsi(parts: PairParts, noise: NDArray[np.float64] | None) -> list[Finding]:
    if noise is None:
        return []
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(noise > 0, parts.off_hsi / noise, np.nan)
    known = share[np.isfinite(share)]
    if not len(known):
        return [Finding("doubt", "Nothing of the result could be compared with the HSI.")]
    middle, far = float(np.median(known)), int((known > _IN_NOISE[1]).sum())
    text = f"Blurred to the HSI's pixels, the result differs from the HSI by {middle:.1f} times the HSI's noise"
    among = f" (median of the bands; above {_IN_NOISE[1]:g} times in {far} of {len(known)} bands)."
    return [Finding(level(middle, _IN_NOISE), text + among)]


def _follows_msi(parts: PairParts) -> Finding:
    share, detail = parts.off_msi, parts.detail
    if math.isnan(share):
        return Finding("doubt", "Nothing of the result could be compared with the MSI.")
    missed = 0.0 if math.isnan(detail) else 1 - detail  # NaN: the MSI shows nothing there
    judged = level(missed, _MISSED)
    rest = f", and it follows {max(1 - missed, 0):.0%} of what the MSI shows within HSI pixels"
    return Finding(
        judged,
        f"Seen through the MSI's spectral response, the result differs from the MSI by {share:.1%} of its values{rest}"
        + ("." if judged == "good" else ": detail is missing."),
    )


def _uncertain(parts: PairParts) -> list[Finding]:
    if parts.deviation is None:
        return []
    share = parts.deviating
    if math.isnan(share):
        return [Finding("doubt", "The uncertainty of the result is not known.")]
    return [
        Finding(
            level(share, _UNCERTAIN), f"The standard deviation is {share:.1f}% of the values (median of the pixels)."
        )
    ]


def _registered(pair: Pair) -> Finding:
    if pair.shift is None:
        return Finding("look", "How well the two images are registered could not be measured.")
    if pair.coregistration is not None:
        x, y = pair.imaging.shift
        left = math.hypot(x, y)
        text = f"The images were coregistered; {left:.2f} HSI pixels ({along(x, y)}) of their misregistration are left."
        return Finding(level(left, (WARN_SHIFT, 1.0)), text)
    size = pair.shift.magnitude
    carried = " The imaging model carries it." if size > WARN_SHIFT else ""
    text = f"The images are misregistered by {size:.2f} HSI pixels ({along(pair.shift.x, pair.shift.y)}).{carried}"
    return Finding(level(size, (WARN_SHIFT, REFUSE_SHIFT)), text)


def _alike(pair: Pair) -> Finding:
    share = max(pair.agreement.share, 0.0 if pair.estimate is None else pair.estimate.differing)
    judged = level(share, (WARN_DIFFERING, _DIFFERING))
    return Finding(
        judged,
        f"{share:.1%} of the HSI pixels differ between the two images (cloud, change, shadow)"
        + ("." if judged == "good" else ": what was fused there follows one of them at best; a map below shows where."),
    )


def _filled(share: float) -> list[Finding]:
    if share <= 0:
        return [Finding("good", "The result has data everywhere.")]
    return [Finding("note" if share < _FILLED else "look", f"{share:.1%} of the result has no data.")]


def _beyond(pair: Pair) -> list[Finding]:
    """How many bands the MSI says nothing about, directly."""
    srf, nm = pair.imaging.srf, pair.hsi_bands.wavelength_nm
    if nm is None:
        return [Finding("note", "The HSI's wavelengths are not known.")]
    seen = nm[(srf.matrix > 0.05 * srf.matrix.max(axis=1, keepdims=True)).any(axis=0)]
    far = int((np.abs(nm[:, None] - seen).min(axis=1) > _FAR_NM).sum())
    if not far:
        return []
    return [
        Finding(
            "note",
            f"{far} of {len(nm)} bands lie more than {_FAR_NM:g} nm from any band of the MSI: their fine detail is "
            "inferred from other wavelengths, not seen.",
        )
    ]


def _model(pair: Pair) -> list[Finding]:
    found = []
    unlike = np.flatnonzero(~pair.agreement.radiometry.follows)
    if len(unlike):
        names = ", ".join(pair.imaging.srf.msi_bands[band] for band in unlike)
        found.append(Finding("look", f"MSI band(s) {names} do not follow the HSI."))
    sources = {"spectral response": pair.srf_source, "point spread": pair.psf_source}
    estimated = [name for name, source in sources.items() if source == "estimate"]
    if estimated:
        found.append(
            Finding("note", f"The {' and the '.join(estimated)} were estimated from the two images themselves.")
        )
    return found


def of_reference(scores: FullReferenceScores, differing: float = 0.0) -> list[Finding]:
    """How near a fused image comes to the truth.

    Args:
        scores: Of the image.
        differing: Share of its pixels that could not be compared, 0 to 1.
    """
    off = float(np.nanmedian(scores.band_relative_rmse)) if np.isfinite(scores.band_relative_rmse).any() else math.nan
    found = [
        Finding(
            level(scores.sam, _ANGLE), f"Spectra differ from the reference's by {scores.sam:.2f}° (mean of the pixels)."
        ),
        Finding(level(off, _OFF), f"Values are off by {off:.1%} of a band's mean (median of the bands)."),
    ]
    lost = int((scores.band_cc < 0.5).sum())
    if lost:
        found.append(Finding("look", f"In {lost} of {len(scores.band_cc)} bands the correlation is below 0.5."))
    if differing > 0:
        found.append(Finding("note", f"{differing:.1%} of the pixels could not be compared."))
    return found


def of_comparison(psnr: dict[str, float], plain: str, failed: list[str]) -> list[Finding]:
    """Which method leads, and whether that says anything.

    Args:
        psnr: In dB, by method.
        plain: The method that only interpolates.
        failed: Methods without a result.
    """
    order = sorted((name for name in psnr if not math.isnan(psnr[name])), key=lambda name: -psnr[name])
    found = []
    if order:
        ahead = f", {psnr[order[0]] - psnr[order[1]]:.2f} dB before {order[1]}" if len(order) > 1 else ""
        close = len(order) > 1 and psnr[order[0]] - psnr[order[1]] < 0.1
        text = f"{order[0]} comes nearest to the truth: {psnr[order[0]]:.2f} dB{ahead}"
        found.append(Finding("note", text + (": too little to choose by." if close else ".")))
    if plain in psnr and order and order[0] != plain:
        gain = psnr[order[0]] - psnr[plain]
        found.append(Finding("good" if gain > _MUCH else "look", f"It is {gain:.2f} dB better than plain {plain}."))
    elif order and order[0] == plain:
        found.append(Finding("doubt", f"No method is better than plain {plain} here: do the images show the same?"))
    if failed:
        found.append(Finding("look", f"{', '.join(failed)} failed."))
    return found


def of_training(psnr: dict[str, float]) -> list[Finding]:
    """Whether training paid; PSNR in dB by method, on what was held back."""
    trained, before = psnr["trained"], psnr.get("before training", math.nan)
    others = {name: value for name, value in psnr.items() if name not in {"trained", "before training"}}
    gained = trained - before
    found = [
        Finding(
            "good" if gained > 0 else "look", f"Training brought {gained:+.2f} dB on what was held back of the scenes."
        )
    ]
    if others:
        best = max(others, key=lambda name: others[name])
        ahead = trained - others[best]
        found.append(
            Finding(
                "good" if ahead > 0 else "look",
                f"That is {ahead:+.2f} dB against {best}, the best of the others there.",
            )
        )
    return found
