"""Weights on bands fuse the pair of sensors they are for, and refuse any other with the numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hsfuse.errors import WeightsError
from hsfuse.fusion.band_network import BandNetworkMethod, require_fit
from hsfuse.fusion.methods import choose_method
from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse
from hsfuse.models import ARCHITECTURES
from hsfuse.models.weights import WeightsCard, save_weights
from hsfuse.subspace.patch import PairPatch

NM = np.linspace(450, 900, 24)
CONFIG = {"bands": 24, "msi_bands": 4, "ratio": 3, "stages": 1, "features": 4, "subspace": 4, "share_stages": False}


@pytest.fixture
def weights(tmp_path):
    config, build = ARCHITECTURES["mgdunlss"]
    card = WeightsCard("mgdunlss", "mgdunlss", CONFIG, "full", (3,), hsi_wavelength_nm=tuple(NM.tolist()))
    torch.manual_seed(0)
    return save_weights(build(config(**CONFIG)).state_dict(), card, tmp_path / "pair.safetensors")


def imaging(nm=NM, ratio=3, msi_bands=4):
    centres, widths = [490, 560, 665, 842][:msi_bands], [66, 36, 31, 106][:msi_bands]
    return ImagingModel(SpectralResponse.from_gaussians(centres, widths, nm), PointSpread.gaussian(ratio, 1.0))


def test_a_pair_of_the_sensors_is_fused(weights, made_pair):
    source, model = made_pair(rows=12, columns=15)
    chosen = choose_method("mgdunlss", str(weights.path))
    assert isinstance(chosen.method, BandNetworkMethod)
    patch = PairPatch.of(source.whole)
    fitted = chosen.method.fit([patch], model)
    fused = fitted(patch.hsi, patch.msi)
    assert (fused.shape, fused.dtype) == ((24, 36, 45), torch.float32)
    assert not fused.requires_grad
    with torch.no_grad():
        assert torch.equal(fused, weights.network()(patch.hsi[None], patch.msi[None])[0])


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        (imaging(ratio=4), "were trained at ratio 3, this pair has 4"),
        (imaging(nm=NM[:20]), "are for 24 HSI bands and 4 MSI bands, this pair has 20 and 4 in use"),
        (imaging(msi_bands=3), "are for 24 HSI bands and 4 MSI bands, this pair has 24 and 3 in use"),
        (imaging(nm=NM + np.linspace(0, 12, 24)), "have HSI band 24 at 900 nm, this pair at 912 nm"),
    ],
)
def test_another_pair_is_refused_with_the_numbers(weights, pair, sentence):
    with pytest.raises(WeightsError, match=f"the weights pair {sentence}: choose bands and scenes of the sensors"):
        require_fit(weights, pair)


def test_what_sensors_of_one_kind_differ_by_is_served(weights):
    require_fit(weights, imaging(nm=NM + 3.0))
    unknown = imaging()
    require_fit(weights, replace(unknown, srf=replace(unknown.srf, hsi_wavelength_nm=None)))
    require_fit(replace(weights, card=replace(weights.card, hsi_wavelength_nm=())), imaging(nm=NM + 30))
