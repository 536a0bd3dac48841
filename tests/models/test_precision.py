"""Half precision costs the networks no more than their layers do: differences of large numbers are in float32."""

import pytest
import torch

from hsfuse.imaging import BlurDecimate, PointSpread, upsample
from hsfuse.models.mgdunlss import MGDuNLSSConfig, MGDuNLSSNet, SubspaceMGDuNLSSConfig, SubspaceMGDuNLSSNet
from hsfuse.models.ssrfn import SubspaceSSRFNConfig, SubspaceSSRFNNet
from hsfuse.subspace.linear_model import SceneCondition, SubspaceInputs

RATIO = 3


def in_bfloat16(network, *inputs):
    with torch.no_grad():
        whole = network(*inputs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = network(*inputs)
    return whole, half


@pytest.mark.parametrize(("kind", "bound"), [("mgdunlss", 0.05), ("ssrfn", 0.2)])  # ssrfn has many more layers
def test_errors_of_the_subspace_networks_are_seen_in_full(kind, bound):
    """A scene far from zero whose images agree but for a hundredth: in half precision that would be lost."""
    torch.manual_seed(1)
    size = 4
    initial = 10 + torch.randn(1, size, 12, 12)
    blur = BlurDecimate(PointSpread.gaussian(RATIO, 1.0))
    mixing = torch.eye(size)[None]
    inputs = SubspaceInputs(initial, initial + 0.01 * torch.randn_like(initial), blur(initial))
    unit = torch.full((1, size), 0.01)
    ones = torch.ones(1, size)
    condition = SceneCondition(mixing, torch.zeros(1, size), unit, ones, unit, unit, blur)
    network = (
        SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig(subspace=size, stages=2, features=4))
        if kind == "mgdunlss"
        else SubspaceSSRFNNet(SubspaceSSRFNConfig.preset("tiny", subspace=size))
    )
    for parameter in network.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    whole, half = in_bfloat16(network.eval(), inputs, condition)
    assert half.dtype == torch.float32
    lost = float((half - whole).std() / (whole - initial).std())
    assert lost < bound, lost


def test_errors_of_the_network_on_bands_are_seen_in_full():
    torch.manual_seed(1)
    network = MGDuNLSSNet(MGDuNLSSConfig(6, 3, RATIO, stages=2, features=4, subspace=3))
    seen = []  # what the second stage is given, in float32 and in half
    network.fusion[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    hsi, msi = 100 + torch.randn(1, 6, 4, 4), 100 + torch.randn(1, 3, 12, 12)
    in_bfloat16(network, hsi, msi)
    second = seen[-1]
    assert second.dtype == torch.float32
    # The estimate of the first stage came out of layers in half precision: what counts is what is done with it.
    expected = msi - network.imaging(estimate_of_stage_one(network, hsi, msi))[1]
    torch.testing.assert_close(second[:, 0, :3], expected, rtol=1e-5, atol=1e-4)


def estimate_of_stage_one(network, hsi, msi):
    errors = torch.cat([msi, upsample(hsi, RATIO, "bilinear")], dim=1)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        return network.fusion[0](errors[:, None]).float()
