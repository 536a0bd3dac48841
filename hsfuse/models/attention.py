"""Criss-cross attention: every pixel attends to its row and its column, each band by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional as F

from hsfuse.models import cpu

if TYPE_CHECKING:
    from torch import Tensor


class CrissCrossAttention(nn.Module):
    """Nonlocal self-similarity (NLSS) of MGDuNLSS-Net, equations 17–20.

    Applied twice, every pixel reaches every other. Equation 18 is read with the key where the paper prints V.
    Row and column have a softmax each, their outputs are added (equation 19), and the input to that (20).
    """

    def __init__(self, features: int) -> None:
        """Query and key have max(1, features // 8) features, as in criss-cross attention's public description."""
        super().__init__()
        self.reduced = max(1, features // 8)
        self.query = nn.Conv3d(features, self.reduced, 1)
        self.key = nn.Conv3d(features, self.reduced, 1)
        self.value = nn.Conv3d(features, features, 1)

    def forward(self, feature: Tensor) -> Tensor:
        """Refine features of shape (B, L, bands, H, W)."""
        if cpu.serves(feature) and not (torch.is_grad_enabled() and self.query.weight.requires_grad):
            return self._compiled(feature.float())
        query, key, value = self.query(feature), self.key(feature), self.value(feature)
        # (B, L, bands, H, W) -> (B, bands, H, W, L): rows are sequences of W, columns of H
        query, key, value = (part.permute(0, 2, 3, 4, 1) for part in (query, key, value))
        along_rows = _attend(query, key, value)
        along_columns = _attend(*(part.transpose(2, 3) for part in (query, key, value))).transpose(2, 3)
        attended: Tensor = along_rows + along_columns
        return feature + attended.permute(0, 4, 1, 2, 3)

    def _compiled(self, feature: Tensor) -> Tensor:
        """The same on the CPU without gradients, in float32."""
        from hsfuse.models.cpu.launch import criss_cross  # noqa: PLC0415 (numba takes a second)

        layers = self.query, self.key, self.value
        weight = torch.cat([layer.weight.flatten(1) for layer in layers])
        bias = torch.cat([cast("Tensor", layer.bias) for layer in layers])
        with torch.autocast("cpu", enabled=False):
            projected = torch.baddbmm(bias[:, None], weight.expand(len(feature), -1, -1), feature.flatten(2))
        return criss_cross(feature.contiguous(), projected.reshape(len(feature), -1, *feature.shape[2:]), self.reduced)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention without scaling over the last-but-one axis: (B, bands, lines, n, L)."""
    # The fused kernel, which never holds the n × n map of every line, wants one size for all three, contiguous.
    missing = value.shape[-1] - query.shape[-1]
    lines = (-1, *value.shape[-3:])
    query, key = (F.pad(part, (0, missing)).reshape(lines) for part in (query, key))
    attended = F.scaled_dot_product_attention(query, key, value.contiguous().reshape(lines), scale=1.0)
    return attended.reshape(value.shape)
