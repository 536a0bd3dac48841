"""Gain and offset between the images: P ≈ gain · R X + offset, because an MSI may be in units of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def fit_radiometry(seen: Tensor, msi: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares of P B on R Y, band by band.

    Args:
        seen: R Y, float64 (n, c).
        msi: P B, float64 (n, c).

    Returns:
        Gain and offset, float64 (c,) each; a gain of zero for a band that R Y does not move.
    """
    seen_mean, msi_mean = seen.mean(dim=0), msi.mean(dim=0)
    centred = seen - seen_mean
    gain = (centred * (msi - msi_mean)).mean(dim=0) / centred.square().mean(dim=0).clamp_min(1e-30)
    return gain, msi_mean - gain * seen_mean
