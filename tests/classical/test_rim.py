"""The ground goes on beyond a scene's rim: what its blur brings in must not spoil what the scene knows of itself."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from hsfuse.classical import Bayes, HySure
from hsfuse.subspace.outliers import screened

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import KnownPair

    from hsfuse.subspace.patch import PairPatch

CUT, RATIO, EDGE = 3, 3, 20


def inner(whole: KnownPair) -> KnownPair:
    """What is left of a pair when a rim is cut off that its blur has seen."""
    coarse, fine = slice(CUT, -CUT), slice(CUT * RATIO, -CUT * RATIO)
    return replace(
        whole, truth=whole.truth[:, fine, fine], hsi=whole.hsi[:, coarse, coarse], msi=whole.msi[:, fine, fine]
    )


def replicated(pair: KnownPair, noise: float) -> KnownPair:
    """The same ground as if its edge went on for ever."""
    hsi = pair.model.blur(pair.truth)
    return replace(pair, hsi=hsi + noise * torch.randn(hsi.shape, generator=torch.Generator().manual_seed(1)))


def trusting_gain(method: type[Bayes | HySure], pair: KnownPair) -> float:
    """How many decibels are gained over trusting every HSI pixel alike."""
    (patch,) = screened([pair.patch], pair.model)

    def error(fitted_on: PairPatch) -> float:
        fused = method.fit([fitted_on], pair.model)(pair.hsi, pair.msi)
        return float((fused - pair.truth).square().mean())

    return 10 * math.log10(error(replace(patch, beyond=0.0)) / error(patch))


@pytest.mark.parametrize(("fwhm", "least"), [(1.0, 0.4), (1.3, 2.0), (2.0, 2.5)])
@pytest.mark.parametrize("method", [Bayes, HySure])
def test_ground_beyond_the_rim_is_not_trusted(
    method: type[Bayes | HySure], fwhm: float, least: float, known_pair: Callable[..., KnownPair]
) -> None:
    pair = inner(known_pair(6, ratio=RATIO, edge=EDGE, noise=0.002, fwhm=fwhm))
    assert trusting_gain(method, pair) > least  # 0.5 and 1.6, 2.3 and 3.8, 2.8 and 4.2 dB


@pytest.mark.parametrize("method", [Bayes, HySure])
def test_a_replicated_edge_is_trusted(method: type[Bayes | HySure], known_pair: Callable[..., KnownPair]) -> None:
    pair = replicated(inner(known_pair(6, ratio=RATIO, edge=EDGE, noise=0.002, fwhm=2.0)), 0.002)
    assert trusting_gain(method, pair) == 0
