"""The mask of what disagrees between the images: found where it lies, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage

from hsfuse.imaging import Agreement, PointSpread, WaldPair, load_srf

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CLOUD = np.s_[8:24, 10:28]


def fine(part: tuple[slice, slice], ratio: int = 3) -> tuple[slice, slice]:
    """Pixels of the MSI under HSI pixels."""
    rows, columns = (slice(edge.start * ratio, edge.stop * ratio) for edge in part)
    return rows, columns


def window(pair: Any, rows: slice, columns: slice, ratio: int = 3) -> SimpleNamespace:
    """A window of a pair."""
    low, right = fine((rows, columns), ratio)
    return SimpleNamespace(
        hsi=pair.hsi[:, rows, columns],
        hsi_valid=pair.hsi_valid[rows, columns],
        msi=pair.msi[:, low, right],
        msi_valid=pair.msi_valid[low, right],
    )


@pytest.fixture
def pair(make_pair: Callable[..., WaldPair], wavelength: NDArray[np.float64]) -> WaldPair:
    return make_pair(load_srf("sentinel-2a", wavelength).response, 3, 1.0, (0.2, -0.1))


@pytest.mark.parametrize("error", ["none", "shift", "width", "units", "few"])
def test_a_clean_pair_keeps_its_pixels(
    error: str, pair: WaldPair, spoil: Callable[[WaldPair], Any], make_pair: Callable[..., WaldPair]
) -> None:
    model, patch = pair.model, spoil(pair)
    if error == "shift":
        model = replace(model, shift=(0.5, 0.2))
    elif error == "width":
        model = replace(model, psf=PointSpread.gaussian(3, 1.3))
    elif error == "units":
        patch.msi = 2000 * patch.msi + 100
    elif error == "few":
        patch = spoil(make_pair(model.srf, edge=15))
        patch.msi[:] = 1.0
    found = Agreement.fit([patch], model)
    assert found.where(patch).mean() > 0.99
    assert found.share < 0.01
    if error == "units":
        assert found.radiometry.gain == pytest.approx(np.full(4, 2000), rel=0.05)


@pytest.mark.parametrize("case", ["cloud in the MSI", "cloud in the HSI", "shadow", "another place"])
def test_what_disagrees_is_left_out_with_its_rim(case: str, pair: WaldPair, spoil: Callable[[WaldPair], Any]) -> None:
    patch = spoil(pair)
    under = (slice(None), *fine(CLOUD))
    if case == "cloud in the MSI":
        patch.msi[under] = 0.9
    elif case == "cloud in the HSI":
        patch.hsi[:, *CLOUD] = 0.8
    elif case == "shadow":
        patch.msi[under] *= np.float32(0.4)
    else:
        patch.msi[under] = 1.3 * patch.msi[:, :48, -54:]
    found = Agreement.fit([patch], pair.model)
    masked = ~found.where(patch)
    touched = np.zeros(masked.shape, dtype=bool)
    touched[CLOUD] = True
    assert masked[touched].mean() > 0.97
    assert masked[ndimage.binary_dilation(touched)].mean() > 0.8  # the blur mixes the rim
    assert masked[~ndimage.binary_dilation(touched, np.ones((3, 3)), iterations=4)].mean() < 0.01
    assert found.share == pytest.approx(masked.mean(), abs=0.02)
    assert found.radiometry.gain == pytest.approx(np.ones(4), abs=0.05)


def test_the_mask_of_a_window_is_the_scenes(pair: WaldPair, spoil: Callable[[WaldPair], Any]) -> None:
    patch = spoil(pair)
    patch.msi[:, *fine(CLOUD)] = 0.9
    # The sample lies beside the cloud; the windows that are asked for reach into it.
    found = Agreement.fit([window(patch, slice(24, 40), slice(0, 40))], pair.model)
    whole = found.where(patch)
    part = found.where(window(patch, slice(4, 30), slice(6, 36)))
    assert (part == whole[4:30, 6:36])[2:-2, 2:-2].mean() > 0.99
    assert not part[6:18, 6:20].any()


def test_single_broken_pixels_do_not_cost_their_surroundings(pair: WaldPair, spoil: Callable[[WaldPair], Any]) -> None:
    patch = spoil(pair)
    patch.hsi[:, 10, 10] = 50.0
    patch.msi[:, 60, 60] = 50.0
    kept = Agreement.fit([patch], pair.model).where(patch)
    assert not kept[10, 10]
    assert not kept[20, 20]
    assert (~kept).sum() <= 1 + 25


def test_a_band_that_the_hsi_explains_badly_is_no_disagreement(
    pair: WaldPair, spoil: Callable[[WaldPair], Any]
) -> None:
    patch = spoil(pair)
    random = np.random.default_rng(3)
    patch.msi[3] = ndimage.gaussian_filter(random.standard_normal(patch.msi_valid.shape), 4) * 3 + 0.3
    assert Agreement.fit([patch], pair.model).where(patch).mean() > 0.97
