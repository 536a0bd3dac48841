"""Recomputed activations give the same gradients, in less memory."""

import copy

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from hsfuse.imaging import BlurDecimate, PointSpread
from hsfuse.models.bands import BandNetwork
from hsfuse.models.mgdunlss import MGDuNLSSConfig, MGDuNLSSNet, SubspaceMGDuNLSSConfig, SubspaceMGDuNLSSNet
from hsfuse.models.recomputing import recompute_stages
from hsfuse.models.ssrfn import SSRFNConfig, SSRFNNet, SubspaceSSRFNConfig, SubspaceSSRFNNet
from hsfuse.subspace.linear_model import SceneCondition, SubspaceInputs

RATIO, SIZE = 3, 4


def on_bands():
    return torch.randn(2, 6, 4, 4), torch.randn(2, 3, 12, 12)


def on_coefficients():
    images = (torch.randn(2, SIZE, 12, 12), torch.randn(2, SIZE, 12, 12), torch.randn(2, SIZE, 4, 4))
    ones = torch.ones(2, SIZE)
    blur = BlurDecimate(PointSpread.gaussian(RATIO, 1.0))
    condition = SceneCondition(torch.randn(2, SIZE, SIZE), torch.zeros(2, SIZE), ones, ones, ones, ones, blur)
    return SubspaceInputs(*images), condition


CASES = {
    "mgdunlss": (
        lambda: BandNetwork(MGDuNLSSNet(MGDuNLSSConfig.preset("tiny", bands=6, msi_bands=3, ratio=3))), on_bands,
    ),
    "mgdunlss, shared": (
        lambda: MGDuNLSSNet(MGDuNLSSConfig.preset("tiny", bands=6, msi_bands=3, ratio=3, share_stages=True)), on_bands,
    ),
    "mgdunlss-subspace": (
        lambda: SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig.preset("tiny", subspace=SIZE)), on_coefficients,
    ),
    "ssrfn": (lambda: SSRFNNet(SSRFNConfig.preset("tiny", bands=6, msi_bands=3)), on_bands),
    "ssrfn-subspace": (
        lambda: SubspaceSSRFNNet(
            SubspaceSSRFNConfig.preset("tiny", subspace=SIZE, share_cycles=True, share_corrections=True)
        ),
        on_coefficients,
    ),
}  # fmt: skip


def gradients(network, inputs, *, half):
    """Of every weight, and bytes of activations that are kept for them."""
    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            fused = network(*inputs)
        loss = fused.float().square().mean()
    loss.backward()
    found = {name: parameter.grad for name, parameter in network.named_parameters()}
    parameters = {parameter.data_ptr() for parameter in network.parameters()}
    return found, sum(size for place, size in kept.items() if place not in parameters)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_the_same_and_less_is_kept(name, half):
    torch.manual_seed(0)
    build, make = CASES[name]
    whole, inputs = build(), make()
    for parameter in whole.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)  # what starts at zero would hide the rest
    thrifty = copy.deepcopy(whole)
    assert recompute_stages(thrifty) > 0
    expected, all_kept = gradients(whole, inputs, half=half)
    got, kept = gradients(thrifty, inputs, half=half)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-7)
    assert kept < 0.6 * all_kept
    assert thrifty.state_dict().keys() == whole.state_dict().keys()


def test_nothing_is_recomputed_where_no_gradient_is_wanted():
    build, make = CASES["ssrfn"]
    network, inputs = build(), make()
    calls = []
    network.body.hsi_deep[0].register_forward_pre_hook(lambda *_: calls.append(1))
    recompute_stages(network)
    with torch.no_grad():
        network(*inputs)
    assert len(calls) == 1
    network(*inputs).sum().backward()
    assert len(calls) == 3
