"""A network on bands sees each of them with mean 0 and spread 1, and keeps the units with its weights."""

import torch

from hsfuse.models.bands import BandNetwork, band_units
from hsfuse.models.mgdunlss import MGDuNLSSConfig, MGDuNLSSNet
from hsfuse.models.ssrfn import SSRFNConfig, SSRFNNet


def units(hsi, msi):
    return (*band_units(hsi[0].flatten(1)), *band_units(msi[0].flatten(1)))


def network():
    torch.manual_seed(3)
    return BandNetwork(MGDuNLSSNet(MGDuNLSSConfig(6, 3, 3, stages=2, features=4, subspace=4))).eval()


def test_other_units_of_the_images_are_other_units_of_what_is_fused():
    """Counts for reflectance, band by band: what comes out is the same image in counts."""
    hsi, msi = torch.rand(1, 6, 5, 5), torch.rand(1, 3, 15, 15)
    gain, offset = torch.logspace(0, 4, 6)[:, None, None], torch.linspace(-50, 900, 6)[:, None, None]
    guide_gain = torch.tensor([1.0, 300.0, 1e4])[:, None, None]
    plain, counts = network(), network()
    plain.set_units(*units(hsi, msi))
    in_counts = (hsi * gain + offset, msi * guide_gain + 7)
    counts.set_units(*units(*in_counts))
    with torch.no_grad():
        expected, got = plain(hsi, msi) * gain + offset, counts(*in_counts)
        assert float((plain(hsi, msi) - network()(hsi, msi)).abs().max()) > 1e-3  # the units do count
    spread = gain * hsi.std(dim=(2, 3), keepdim=True)
    assert float(((got - expected) / spread).abs().max()) < 0.01


def test_units_are_kept_with_the_weights_and_are_not_trained():
    first, second = network(), network()
    first.set_units(*(torch.rand(bands) + 0.5 for bands in (6, 6, 3, 3)))
    second.load_state_dict(first.state_dict())
    hsi, msi = torch.rand(1, 6, 5, 5), torch.rand(1, 3, 15, 15)
    assert torch.equal(first(hsi, msi), second(hsi, msi))
    assert not {"hsi_mean", "hsi_spread", "msi_mean", "msi_spread"} & {name for name, _ in first.named_parameters()}


def test_units_of_a_constant_band_are_finite():
    pixels = torch.stack([torch.full((50,), 7.0), torch.linspace(0, 1e5, 50)])
    mean, spread = band_units(pixels)
    assert (float(mean[0]), float(spread[0])) == (7.0, 1.0)
    torch.testing.assert_close(spread[1], pixels[1].std(correction=0))


def test_small_differences_of_large_numbers_survive_half_precision():
    """Counts of about 10,000 that differ by ones: bfloat16 itself tells no two of them apart."""
    torch.manual_seed(0)
    small = BandNetwork(SSRFNNet(SSRFNConfig.preset("tiny", bands=6, msi_bands=3))).eval()
    hsi, msi = 10_000 + torch.rand(1, 6, 4, 4), 10_000 + torch.rand(1, 3, 12, 12)
    small.set_units(*units(hsi, msi))
    with torch.no_grad():
        exact = small(hsi, msi)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = small(hsi, msi)
    assert half.dtype == torch.float32
    assert float((half - exact).abs().max()) < 0.2 * float(exact.std())
