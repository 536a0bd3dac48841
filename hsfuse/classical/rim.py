"""What an HSI pixel at the rim of a tile may owe to ground that the tile does not hold.

B replicates the edge. Where a share q of a pixel's PSF lies beyond it, the true ground there differs from what is
replicated by about what neighbouring pixels differ by, so that Y − B A has more than the noise in it: its variance is

    n_ki = s_k² + q_i² v_k,

v_k the mean squared difference of neighbouring HSI pixels less that of their noise. It is s_k² exactly where the PSF
does not reach beyond the rim. Rims of tiles inside a scene are taken alike: what a tile makes there weighs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from hsfuse.imaging import BlurDecimate


def step_variance(images: Iterable[tuple[Tensor, Tensor]], noise: Tensor) -> Tensor:
    """v: mean squared difference of neighbouring pixels beyond what noise alone makes, float64 (K,), not negative.

    Args:
        images: Parts of a scene, each (K, h, w) with its mask (h, w); differences of two valid pixels count.
        noise: s², the noise's variance, (K,).
    """
    steps = [torch.cat(_steps(image.double(), valid), dim=1).square() for image, valid in images]
    squared = torch.cat(steps, dim=1)
    mean = squared.mean(dim=1) if squared.shape[1] else torch.zeros_like(noise, dtype=torch.float64)
    return (mean - 2 * noise.double()).clamp_min(0)


def _steps(image: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    down, right = image[:, 1:] - image[:, :-1], image[..., 1:] - image[..., :-1]
    return down[:, valid[1:] & valid[:-1]], right[:, valid[:, 1:] & valid[:, :-1]]


def data_precision(noise: Tensor, beyond: Tensor, blur: BlurDecimate, like: Tensor) -> Tensor:
    """1 / n of every coefficient and HSI pixel of a tile, (K, h, w).

    Args:
        noise: s², (K,).
        beyond: v, (K,).
        blur: B.
        like: The tile's HSI, (..., h, w): where and how exactly it is computed.
    """
    share = blur.outside(like.shape[-2], like.shape[-1]).to(like)
    own, added = (part.to(like)[:, None, None] for part in (noise, beyond))
    return 1 / (own + share.square() * added)
