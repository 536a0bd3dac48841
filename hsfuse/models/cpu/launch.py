"""Attention and recurrence on the CPU without gradients: as many threads as torch uses, a task after the other each.

What a task computes does not depend on the others: the same bits whatever the threads and the batch.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from hsfuse.models.cpu.criss_cross import attend_lines
from hsfuse.models.cpu.recurrence import recur_feature
from hsfuse.scan.cpu.lanes import LANES
from hsfuse.scan.cpu.workers import run_tasks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


def criss_cross(feature: Tensor, projected: Tensor, reduced: int) -> Tensor:
    """Features and what they attend to along their rows and along their columns, equations 17–20.

    Args:
        feature: float32 (B, L, bands, H, W), contiguous.
        projected: Queries, keys and values, float32 (B, 2 · reduced + L, bands, H, W), contiguous.
        reduced: Features of a query.

    Returns:
        float32 (B, L, bands, H, W).
    """
    batch, features, bands, height, width = feature.shape
    result, size = torch.empty_like(feature), height * width
    images = _flat(feature), _flat(projected), _flat(result)
    for rows, lines, positions, across, along in ((True, height, width, width, 1), (False, width, height, 1, width)):
        strides = bands * size, across, along
        run_tasks(
            [
                partial(
                    attend_lines, *images, reduced, features,
                    (image * (2 * reduced + features) * bands + band) * size + line * across,
                    (image * features * bands + band) * size + line * across,
                    *strides, min(LANES, lines - line), positions, rows,
                )
                for image in range(batch)
                for band in range(bands)
                for line in range(0, lines, LANES)
            ]
        )  # fmt: skip
    return result


def recurrence(gates: Tensor) -> Tensor:
    """Equation 16 in both directions out of all gates and candidates before their sigmoid and tanh.

    Args:
        gates: Q→, R→, Q←, R←, E_s, E_h, float32 (B, 6 · L, bands, H, W), pixels contiguous, at least 64 of them.

    Returns:
        float32 (B, L, bands, H, W).
    """
    batch, features, bands, height, width = gates.shape
    features, pixels = features // 6, height * width
    result = gates.new_empty(batch, features, bands, height, width)
    images = _flat(gates), _flat(result)
    by_image, by_feature, by_band = gates.stride()[:3]
    run_tasks(
        [
            partial(
                recur_feature, *images,
                image * by_image + feature * by_feature, features * by_feature, by_band,
                (image * features + feature) * bands * pixels, bands, pixels,
            )
            for image in range(batch)
            for feature in range(features)
        ]
    )  # fmt: skip
    return result


def _flat(image: Tensor) -> NDArray[np.float32]:
    """The memory from the first element to the last, not copied."""
    extent = 1 + sum((size - 1) * stride for size, stride in zip(image.shape, image.stride(), strict=True))
    return image.detach().as_strided((extent,), (1,)).numpy()
