"""The memory of a card, and the tile that it holds."""

from __future__ import annotations

import math

import torch

_SHARE = 0.8  # of what is free: libraries load kernels as they are used, and blocks of memory do not pack
_CUBES = 5  # images of a fused tile's size at once: one leaves, one is made, and what that is decoded from


def free_card_bytes(device: torch.device) -> int | None:
    """What of a card's memory torch can still have, and what it keeps without using it; None where there is no card."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def tile_on_card(edge: int, least: int, *, ratio: int, bands: int, bytes_a_pixel: int, free: int | None) -> int:
    """The edge of a tile that a card holds, in HSI pixels: as it is, or smaller.

    Args:
        edge: As the memory of the machine has it.
        least: It is not made smaller than this; where even that is too much, tiles are computed in quarters.
        ratio: HSI pixel over fine pixel.
        bands: Of all images that are made of it.
        bytes_a_pixel: Working memory of the method by fine pixel.
        free: Bytes of the card; None without one.
    """
    if free is None:
        return edge
    pixels = int(_SHARE * free) // (bytes_a_pixel + 4 * bands * _CUBES)
    return max(min(edge, math.isqrt(pixels) // ratio), min(edge, least))
