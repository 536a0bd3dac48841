"""Vertex component analysis: the purest spectra of a scene, after Nascimento and Bioucas-Dias (2005)."""

from __future__ import annotations

import torch
from torch import Tensor


def vertex_spectra(spectra: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Those pixels that stand at the corners of the data, one after another.

    The spectra are projected on their leading `count` - 1 principal directions and lifted by a constant (the
    paper's choice for noisy scenes); each step takes the pixel furthest along a random direction orthogonal
    to those found.

    Args:
        spectra: Pixels, float64 (n, C), n at least `count`.
        count: How many to find, 2 or more, at most C + 1.
        generator: Draws the random directions.

    Returns:
        Spectra of pixels, float64 (count, C).
    """
    centred = spectra - spectra.mean(dim=0)
    _, directions = torch.linalg.eigh(centred.T @ centred)
    projected = centred @ directions[:, spectra.shape[1] - count + 1 :]
    # An eigenvector's sign is arbitrary and follows the order of the bands: the data's skewness does not.
    skewness = (projected**3).sum(dim=0)
    projected = projected * torch.where(skewness < 0, -1.0, 1.0).to(projected)
    lift = projected.norm(dim=1).max().expand(len(spectra), 1)
    lifted = torch.cat([projected, lift], dim=1)  # (n, count)
    draws = torch.randn(count, count, generator=generator, dtype=spectra.dtype)
    found = torch.zeros(count, 0, dtype=spectra.dtype)
    chosen = []
    for draw in draws:
        basis, _ = torch.linalg.qr(found)
        beyond = draw - basis @ (basis.T @ draw)
        chosen.append(int((lifted @ beyond).abs().argmax()))
        found = torch.cat([found, lifted[chosen[-1]][:, None]], dim=1)
    return spectra[chosen]
