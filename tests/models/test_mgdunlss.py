"""MGDuNLSS-Net does what its equations say."""

import numpy as np
import pytest
import torch

from hsfuse.errors import RequestError
from hsfuse.imaging import BlurDecimate, PointSpread
from hsfuse.models.attention import CrissCrossAttention
from hsfuse.models.mgdunlss import (
    ABLATIONS,
    BSRU,
    LearnedImaging,
    MGDuNLSSConfig,
    MGDuNLSSNet,
    SubspaceMGDuNLSSConfig,
    SubspaceMGDuNLSSNet,
)
from hsfuse.subspace.linear_model import SceneCondition, SubspaceInputs


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_bsru_is_equation_16_in_both_directions():
    unit = BSRU(2, 3)
    feature = torch.randn(2, 2, 5, 4, 4)
    parts = unit.gates_and_candidates(feature).chunk(6, dim=1)
    update, reset, update_back, reset_back = (torch.sigmoid(part) for part in parts[:4])
    state, output = torch.tanh(parts[4]), torch.tanh(parts[5])
    expected = torch.zeros(2, 3, 5, 4, 4)
    previous = torch.zeros(2, 3, 4, 4)
    for band in range(5):
        previous = update[:, :, band] * previous + (1 - update[:, :, band]) * state[:, :, band]
        expected[:, :, band] += reset[:, :, band] * previous + (1 - reset[:, :, band]) * output[:, :, band]
    previous = torch.zeros(2, 3, 4, 4)
    for band in reversed(range(5)):
        previous = update_back[:, :, band] * previous + (1 - update_back[:, :, band]) * state[:, :, band]
        expected[:, :, band] += reset_back[:, :, band] * previous + (1 - reset_back[:, :, band]) * output[:, :, band]
    torch.testing.assert_close(unit(feature), expected)
    assert unit.gates_and_candidates.bias is None


def test_criss_cross_attention_is_softmax_along_row_and_column():
    layer = CrissCrossAttention(8).double()
    feature = torch.randn(1, 8, 2, 5, 6, dtype=torch.float64)
    query, key, value = layer.query(feature), layer.key(feature), layer.value(feature)
    assert query.shape[1] == 1  # max(1, 8 / 8)
    band, row, column = 1, 3, 2
    along_row = torch.softmax(query[0, :, band, row, column] @ key[0, :, band, row, :], dim=-1)
    along_column = torch.softmax(query[0, :, band, row, column] @ key[0, :, band, :, column], dim=-1)
    expected = value[0, :, band, row, :] @ along_row + value[0, :, band, :, column] @ along_column
    expected = expected + feature[0, :, band, row, column]
    torch.testing.assert_close(layer(feature)[0, :, band, row, column], expected)


def test_two_passes_of_attention_let_every_pixel_reach_every_other():
    layer = CrissCrossAttention(4)
    feature = torch.randn(1, 4, 1, 6, 6, requires_grad=True)
    layer(layer(feature))[0, :, 0, 0, 0].sum().backward()
    assert (feature.grad[0, :, 0].abs().sum(dim=0) > 0).all()


def test_the_imaging_module_is_linear_and_has_the_papers_layers():
    imaging = LearnedImaging(bands=12, msi_bands=3, ratio=4, subspace=5)
    sizes = {name: tuple(parameter.shape) for name, parameter in imaging.named_parameters()}
    assert sizes == {
        "to_coefficients.weight": (5, 12, 3, 3),
        "degrade.weight": (5, 5, 4, 4),
        "to_bands.weight": (12, 5, 3, 3),
        "to_msi.weight": (3, 5, 3, 3),
    }
    image = torch.randn(2, 12, 16, 16)
    hsi, msi = imaging(image)
    assert hsi.shape == (2, 12, 4, 4)
    assert msi.shape == (2, 3, 16, 16)
    torch.testing.assert_close(imaging(3 * image)[0], 3 * hsi, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("share", [True, False])
def test_the_papers_network_fuses_bands_of_any_size_of_image(share):
    network = MGDuNLSSNet(MGDuNLSSConfig(12, 3, 4, stages=2, features=8, subspace=5, share_stages=share))
    assert len(network.fusion) == (1 if share else 2)
    for size in (4, 7):
        fused = network(torch.randn(2, 12, size, 5), torch.randn(2, 3, 4 * size, 20))
        assert fused.shape == (2, 12, 4 * size, 20)
    fused.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def test_the_papers_preset_has_one_fusion_module_for_all_stages():
    networks = {
        name: MGDuNLSSNet(MGDuNLSSConfig.preset(name, bands=6, msi_bands=3, ratio=2))
        for name in ("paper", "paper-unshared")
    }
    assert {name: len(network.fusion) for name, network in networks.items()} == {"paper": 1, "paper-unshared": 5}
    assert all(network.config.stages == 5 for network in networks.values())
    with pytest.raises(RequestError, match="no preset 'huge': choose one of paper, paper-unshared, base, tiny"):
        SubspaceMGDuNLSSConfig.preset("huge")


def test_ablations_of_table_vi_leave_out_what_they_say():
    def kinds(**changes):
        network = MGDuNLSSNet(MGDuNLSSConfig.preset("tiny", bands=6, msi_bands=3, ratio=2, **changes))
        fused = network(torch.randn(1, 6, 3, 3), torch.randn(1, 3, 6, 6))
        assert fused.shape == (1, 6, 6, 6)
        inputs, condition = subspace_case()
        config = SubspaceMGDuNLSSConfig.preset("tiny", **changes | {"subspace": 4})
        assert SubspaceMGDuNLSSNet(config)(inputs, condition).shape == inputs.initial.shape
        return tuple(
            sum(isinstance(module, kind) for module in network.modules()) for kind in (BSRU, CrissCrossAttention)
        )

    assert kinds() == (4, 2)
    assert kinds(**ABLATIONS["bsru"]) == (0, 2)
    assert kinds(**ABLATIONS["nlss"]) == (4, 0)
    with pytest.raises(RequestError, match="without BSRU and without NLSS has nothing left"):
        SubspaceMGDuNLSSConfig(recurrence=False, attention=False)


def subspace_case(batch=2, size=4, ratio=3):
    blur = BlurDecimate(PointSpread.gaussian(ratio, 1.0))
    inputs = SubspaceInputs(
        torch.randn(batch, size, 12, 15), torch.randn(batch, size, 12, 15), torch.randn(batch, size, 4, 5)
    )
    ones = torch.rand(batch, size) + 0.5
    condition = SceneCondition(torch.randn(batch, size, size), torch.randn(batch, size), ones, ones, ones, ones, blur)
    return inputs, condition


def test_an_untrained_subspace_network_is_the_linear_estimate():
    inputs, condition = subspace_case()
    network = SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig(subspace=4, stages=2, features=8))
    torch.testing.assert_close(network(inputs, condition), inputs.initial)


@pytest.mark.parametrize("half", [False, True])
def test_a_network_says_the_same_with_and_without_gradients(half):
    """Under autocast only convolutions are in bfloat16."""
    torch.manual_seed(0)
    network = SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig(subspace=4, stages=2))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    inputs, condition = subspace_case()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        with torch.no_grad():
            compiled = network(inputs, condition)
        expected = network(inputs, condition)
    assert expected.requires_grad
    correction = float((expected.detach() - inputs.initial).std())
    assert float((compiled - expected.detach()).abs().max()) < (0.1 if half else 1e-4) * correction


def test_corrections_are_in_units_of_the_residual():
    inputs, condition = subspace_case(batch=1)
    network = SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig(subspace=4, stages=1, features=8))
    torch.nn.init.ones_(network.fusion[0].project.bias)
    correction = network(inputs, condition) - inputs.initial
    unit = condition.residual[0, :, None, None]
    torch.testing.assert_close(correction[0], unit.expand_as(correction[0]), rtol=1e-4, atol=1e-4)


def test_images_of_a_batch_do_not_touch_each_other():
    inputs, condition = subspace_case()
    network = SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig(subspace=4, stages=2, features=8))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    both = network(inputs, condition)
    for index in range(2):
        one = SubspaceInputs(*(part[index : index + 1] for part in (inputs.initial, inputs.msi, inputs.hsi)))
        fields = (condition.mixing, condition.mixing_offset, condition.residual)
        spreads = (condition.spread, condition.hsi_noise, condition.msi_noise)
        alone = SceneCondition(*(part[index : index + 1] for part in (*fields, *spreads)), condition.blur)
        torch.testing.assert_close(network(one, alone)[0], both[index], rtol=1e-3, atol=1e-3)


def test_a_small_network_learns():
    inputs, condition = subspace_case()
    network = SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig(subspace=4, stages=2, features=8))
    truth = inputs.initial + 0.3 * inputs.msi
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (network(inputs, condition) - truth).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert np.mean(losses[-3:]) < 0.5 * losses[0]
