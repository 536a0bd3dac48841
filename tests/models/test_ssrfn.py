"""SSRFN does what its equations say, at the paper's size, with its ablations, at any size of image."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hsfuse.errors import RequestError
from hsfuse.fusion.methods import METHODS, choose_method
from hsfuse.imaging import BlurDecimate, ImagingModel, PointSpread, SpectralResponse, upsample
from hsfuse.models.mamba import Mamba
from hsfuse.models.mgdunlss import SubspaceMGDuNLSSConfig, SubspaceMGDuNLSSNet
from hsfuse.models.ssrfn import SSRFNConfig, SSRFNNet, SubspaceSSRFNConfig, SubspaceSSRFNNet
from hsfuse.models.ssrfn_blocks import (
    Blocks,
    ChangeCycle,
    DeepBlock,
    FeatureFusion,
    ImageMamba,
    SpatialLocal,
    SpectralCorrection,
    SpectralLocal,
    SuperResolution,
    attend_unlike,
)
from hsfuse.models.weights import WeightsCard, save_weights
from hsfuse.subspace.linear_model import SceneCondition, SubspaceInputs
from hsfuse.subspace.patch import PairPatch

BLOCKS = Blocks("both", "row", 8)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def mambas(network):
    return [module for module in network.modules() if isinstance(module, Mamba)]


def tiny(**changes):
    return SSRFNNet(SSRFNConfig.preset("tiny", bands=6, msi_bands=3, **changes)).eval()


def pair(rows=3, columns=4, ratio=3, batch=1):
    return torch.randn(batch, 6, rows, columns), torch.randn(batch, 3, ratio * rows, ratio * columns)


# --- size ---


def scan_flops(network, *inputs):
    """9 a step, channel and state, as mamba-ssm counts them, and 2 for D and the gate."""
    total = []

    def add(block, given, _):
        batch, length, _ = given[0].shape
        total.append(batch * length * block.d_inner * (9 * block.d_state + 2))

    hooks = [block.register_forward_hook(add) for block in mambas(network)]
    with torch.no_grad(), FlopCounterMode(display=False) as layers:
        network(*inputs)
    for hook in hooks:
        hook.remove()
    return layers.get_total_flops() + sum(total)


@pytest.mark.parametrize(
    ("preset", "parameters", "gflop"),
    [
        ("tiny", 0.239, 1.58),
        ("light", 1.119, 6.5),
        ("small", 2.056, 13.96),
        ("base", 6.987, 40.4),
        ("paper", 38.550, 305.6),
        ("paper-unshared", 39.033, 194.6),
    ],
)
def test_parameters_and_flops_of_the_presets(preset, parameters, gflop):
    """Of 64² pixels, ratio 4, 100 and 4 bands; the paper prints 38.63 M and 193.67 GFLOP, never met both."""
    network = SSRFNNet(SSRFNConfig.preset(preset, bands=100, msi_bands=4)).eval().requires_grad_(False)
    assert count(network) / 1e6 == pytest.approx(parameters, abs=1e-3)
    flops = 16 * scan_flops(network, torch.randn(1, 100, 4, 4), torch.randn(1, 4, 16, 16))  # all are by pixel
    assert flops / 1e9 == pytest.approx(gflop, rel=0.01)


def test_the_papers_reading_is_the_width_next_to_the_printed_parameters():
    def millions(width):
        with torch.device("meta"):
            return count(SSRFNNet(SSRFNConfig.preset("paper", bands=100, msi_bands=4, width=width))) / 1e6

    width = SSRFNConfig.preset("paper", bands=100, msi_bands=4).width
    apart = {each: abs(millions(each) - 38.63) for each in (width - 1, width, width + 1)}
    assert min(apart, key=apart.get) == width


def test_cycles_and_corrections_that_share_weights_are_one_module_applied_again():
    shared, own = tiny(share_cycles=True, share_corrections=True), tiny()
    assert (len(shared.body.change.cycles), len(shared.body.correct.corrections)) == (1, 1)
    assert (len(own.body.change.cycles), len(own.body.correct.corrections)) == (2, 4)
    state = own.state_dict()
    for name in list(state):  # every cycle and correction the same as the first
        for part in ("change.cycles", "correct.corrections"):
            head, _, rest = name.partition(f"{part}.")
            if rest:
                state[name] = state[f"{head}{part}.0.{rest.partition('.')[2]}"]
    own.load_state_dict(state)
    shared.load_state_dict({name: value for name, value in state.items() if name in shared.state_dict()})
    inputs = pair()
    with torch.no_grad():
        torch.testing.assert_close(shared(*inputs), own(*inputs))
    called = []
    shared.body.change.cycles[0].register_forward_hook(lambda *_: called.append("cycle"))
    shared.body.correct.corrections[0].register_forward_hook(lambda *_: called.append("correction"))
    with torch.no_grad():
        shared(*inputs)
    assert (called.count("cycle"), called.count("correction")) == (2, 4)


def test_what_the_paper_says_of_its_modules():
    body = SSRFNNet(SSRFNConfig.preset("base", bands=10, msi_bands=4)).body
    convolutions = [m for m in body.msi_deep.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert (len(convolutions), len(mambas(body.msi_deep))) == (15, 5)
    assert (len(body.change.cycles), len(body.correct.corrections)) == (6, 16)
    assert all(len(part.mixers) == 4 for part in body.super_resolution.values())
    block = mambas(body)[0]
    assert (block.d_state, block.d_conv, block.d_inner // block.d_model) == (64, 4, 2)


def test_presets_and_settings_that_do_not_exist_are_refused():
    with pytest.raises(RequestError, match="no preset 'huge': choose one of paper, paper-unshared, base"):
        SubspaceSSRFNConfig.preset("huge")
    with pytest.raises(RequestError, match="width is 0"):
        SubspaceSSRFNConfig(width=0)
    with pytest.raises(RequestError, match="'rows': choose one of row, cross"):
        SubspaceSSRFNConfig(scan="rows")


# --- equations ---


def test_deep_block_is_equation_8():
    block, u = DeepBlock(8, BLOCKS, mamba=True), torch.randn(1, 8, 5, 4)
    first, second, third = block.convolutions
    tokens = block.mixer.norm(u.permute(0, 2, 3, 1).reshape(1, 20, 8))
    mixed = u + block.mixer.block.mamba(tokens).reshape(1, 5, 4, 8).permute(0, 3, 1, 2)
    torch.testing.assert_close(block(u), third(second(first(u).relu()) + mixed))


def test_change_cycle_is_a_gru_and_keeps_its_state_where_the_update_gate_is_closed():
    cycle, features, state = ChangeCycle(4, BLOCKS, mamba=True), torch.randn(1, 8, 3, 3), torch.rand(1, 4, 3, 3)
    with torch.no_grad():
        cycle.from_input.bias[4:8] = -50.0
        torch.testing.assert_close(cycle(features, state), state)
        cycle.from_input.bias[4:8] = 50.0
        opened = cycle(features, state)
        assert (opened - state).abs().max() > 0.1
        assert opened.abs().max() <= 1
        cycle.from_input.bias[0:4] = -50.0  # reset gate closed: what was there does not enter the candidate
        torch.testing.assert_close(cycle(features, state), cycle(features, torch.zeros_like(state)))


def test_spectral_correction_is_equation_13():
    module, change, feature = SpectralCorrection(4, 3, BLOCKS), torch.randn(1, 4, 2, 3), torch.randn(1, 4, 6, 9)
    gate = torch.sigmoid(upsample(change, 3, "bilinear"))
    v = torch.ones_like(feature)
    for convolution in module.corrections:
        corrected = convolution(gate * (v * feature) + feature)
        v = torch.tanh(corrected)
    torch.testing.assert_close(module(change, feature), corrected)


def test_local_features_are_the_papers_3d_convolutions():
    feature = torch.randn(2, 5, 4, 6)
    for module, kernel in ((SpatialLocal(3), (1, 3, 3)), (SpectralLocal(3), (3, 1, 1))):
        torch.testing.assert_close(module(feature), feature)  # at the start
        nn.init.normal_(module.layer.weight)
        nn.init.normal_(module.layer.bias)
        padding = tuple(size // 2 for size in kernel)
        expected = torch.conv3d(
            feature[:, None], module.layer.weight.reshape(1, 1, *kernel), module.layer.bias, padding=padding
        )
        torch.testing.assert_close(module(feature), expected[:, 0])


def test_super_resolution_gates_by_equations_16_and_17():
    module, feature = SuperResolution(6, 1, BLOCKS, SpatialLocal), torch.randn(1, 6, 4, 4)
    nn.init.normal_(module.local[0].layer.weight)
    nn.init.normal_(module.combine)
    local, mixed = module.local[0](feature), module.mixers[0](feature)
    by_local, by_mixed = torch.sigmoid(local) * mixed + local, torch.sigmoid(mixed) * local + mixed
    torch.testing.assert_close(module(feature), module.combine[0] * by_local + module.combine[1] * by_mixed)


def test_feature_fusion_is_equations_18_to_21():
    query, key, value = torch.randn(3, 2, 5, 3, 3)
    products = torch.exp(key * value)
    expected = (1 - products / products.sum(dim=1, keepdim=True)) * query + value
    torch.testing.assert_close(attend_unlike(query, key, value), expected)
    module, spatial, spectral = FeatureFusion(6, 4, BLOCKS), *torch.randn(2, 1, 6, 3, 3)
    fused = attend_unlike(module.query(spatial), module.key(spatial), module.value(spectral))
    a, b, d = module.to_a(fused), module.to_b(fused), module.to_d(fused)
    torch.testing.assert_close(module(spatial, spectral), attend_unlike(a, b, d))
    assert not torch.allclose(module(spatial, spectral), module(spectral, spatial))


def test_rows_are_scanned_in_order_and_a_cross_scan_in_all_four():
    image = torch.randn(1, 4, 3, 5)

    def mixed(module, image):
        return module(image.flatten(2).transpose(1, 2), image.shape[2]).transpose(1, 2).reshape(image.shape)

    changed = image.clone()
    changed[..., 1, 2] += 1
    row, cross = ImageMamba(4, 8), ImageMamba(4, 8, cross=True)
    seen = (mixed(row, changed) - mixed(row, image)).abs().sum(dim=1)[0].flatten() > 0
    assert not seen[:7].any()
    assert seen[7:11].all()
    assert ((mixed(cross, changed) - mixed(cross, image)).abs().sum(dim=1)[0].flatten() > 0).sum() > 12
    for symmetric in (lambda part: part.flip(-1, -2), lambda part: part.transpose(-1, -2)):
        torch.testing.assert_close(mixed(cross, symmetric(image)), symmetric(mixed(cross, image)))


def test_both_resolutions_of_the_msi_share_their_weights():
    network, seen = tiny(), []
    network.body.msi_shallow.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    hsi, msi = pair()
    network(hsi, msi)
    fine, low = sorted(seen, key=lambda image: -image.shape[-1])
    torch.testing.assert_close(fine, msi)
    torch.testing.assert_close(low, msi.unflatten(2, (3, 3)).unflatten(4, (4, 3)).mean(dim=(3, 5)))


def test_query_and_key_are_spatial_and_the_value_is_spectral():
    network, seen = tiny(), {}
    for name, part in network.body.super_resolution.items():
        part.register_forward_hook(lambda _, __, made, name=name: seen.update({name: made}))
    network.body.fuse.register_forward_pre_hook(lambda _, given: seen.update(fused=given))
    network(*pair())
    assert seen["fused"][0] is seen["spatial"]
    assert seen["fused"][1] is seen["spectral"]


# --- ablations ---


def kernels(network):
    return {max(m.kernel_size) for m in network.modules() if isinstance(m, nn.Conv2d)}


@pytest.mark.parametrize(
    ("changes", "blocks"),
    [
        ({}, 2 * 2 + 2 + 4 + 6),
        ({"deep_mamba": False}, 2 + 4 + 6),
        ({"change_mamba": False}, 2 * 2 + 4 + 6),
        ({"features": "cnn"}, 0),
        ({"features": "mamba"}, 2 * 2 + 2 + 4 + 6),
        ({"super_resolution": "spatial"}, 2 * 2 + 2 + 2 + 6),
        ({"super_resolution": "spectral"}, 2 * 2 + 2 + 2 + 6),
        ({"correction": False}, 2 * 2 + 4 + 6),
        ({"scan": "cross"}, 2 * 2 + 2 + 4 + 6),
    ],
)
def test_the_ablations_of_tables_2_to_5(changes, blocks):
    network = tiny(**changes)
    assert len(mambas(network)) == blocks
    assert kernels(network) == ({1} if changes.get("features") == "mamba" else {1, 3})
    kind = changes.get("super_resolution", "both")
    assert list(network.body.super_resolution) == (["spatial", "spectral"] if kind == "both" else [kind])
    assert (network.body.change is None) == (network.body.correct is None) == (changes.get("correction") is False)
    fused = network(*pair())
    assert fused.shape == (1, 6, 9, 12)
    fused.square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    if changes:
        assert count(network) != count(tiny()) or changes == {"scan": "cross"}


# --- any size ---


@pytest.mark.parametrize(("rows", "columns", "ratio"), [(1, 1, 2), (5, 2, 3), (2, 7, 6)])
def test_images_of_any_size_and_ratio(rows, columns, ratio):
    assert tiny()(*pair(rows, columns, ratio, batch=2)).shape == (2, 6, ratio * rows, ratio * columns)


def test_sizes_that_are_no_multiple_are_refused():
    with pytest.raises(RequestError, match="HSI of 4×3 and an MSI of 12×10 pixels"):
        tiny()(torch.randn(1, 6, 3, 4), torch.randn(1, 3, 10, 12))


def test_a_tile_is_like_the_whole_beyond_the_margin():
    """The margin of fitted networks, four HSI pixels, holds for SSRFN."""
    network = tiny()
    hsi, msi = pair(24, 24)
    with torch.no_grad():
        whole, tile = network(hsi, msi)[..., 12:60, 12:60], network(hsi[..., 4:20, 4:20], msi[..., 12:60, 12:60])
    differs = (tile - whole).square().mean(dim=(0, 1)).sqrt() / whole.std()
    assert differs[12:36, 12:36].mean() < 0.15
    assert differs[12:36, 12:36].mean() < differs[:3].mean() / 3


def test_images_of_a_batch_do_not_touch_each_other():
    network, (hsi, msi) = tiny(), pair(batch=2)
    both = network(hsi, msi)
    for index in range(2):
        alone = network(hsi[index : index + 1], msi[index : index + 1])
        torch.testing.assert_close(alone[0], both[index], rtol=1e-4, atol=1e-5)


# --- the subspace ---


def subspace_network(**changes):
    return SubspaceSSRFNNet(SubspaceSSRFNConfig.preset("tiny", subspace=4, **changes))


def subspace_case(batch=2, size=4, ratio=3):
    blur = BlurDecimate(PointSpread.gaussian(ratio, 1.0))
    fine, coarse = (batch, size, 4 * ratio, 5 * ratio), (batch, size, 4, 5)
    inputs = SubspaceInputs(torch.randn(fine), torch.randn(fine), torch.randn(coarse))
    spreads = [torch.rand(batch, size) + 0.5 for _ in range(4)]
    return inputs, SceneCondition(torch.randn(batch, size, size), torch.randn(batch, size), *spreads, blur)


def awake(network):
    """The last layers no longer zero."""
    for branch in (network.body.fuse.to_a, network.body.fuse.to_d):
        nn.init.normal_(branch[1].weight, std=0.1)
    return network


@pytest.mark.parametrize("ratio", [2, 5])
def test_an_untrained_subspace_network_is_the_linear_estimate(ratio):
    inputs, condition = subspace_case(ratio=ratio)
    torch.testing.assert_close(subspace_network()(inputs, condition), inputs.initial)


def test_corrections_are_in_units_of_the_residual():
    inputs, condition = subspace_case()
    network = subspace_network()
    nn.init.ones_(network.body.fuse.to_d[1].bias)
    unit = condition.residual[:, :, None, None]
    torch.testing.assert_close(network(inputs, condition) - inputs.initial, unit.expand_as(inputs.initial))


def test_units_of_the_image_do_not_matter():
    """Coefficients ten times larger, with all that describes them, give ten times the output."""
    inputs, condition = subspace_case()
    network = awake(subspace_network())
    larger = SubspaceInputs(10 * inputs.initial, 10 * inputs.msi, 10 * inputs.hsi)
    names = ("mixing_offset", "residual", "spread", "hsi_noise", "msi_noise")
    scaled = replace(condition, **{name: 10 * getattr(condition, name) for name in names})
    torch.testing.assert_close(network(larger, scaled), 10 * network(inputs, condition), rtol=1e-3, atol=1e-3)


def test_the_scenes_condition_reaches_the_output():
    inputs, condition = subspace_case()
    network = awake(subspace_network())
    usual = network(inputs, condition)
    for name in ("mixing", "mixing_offset", "spread", "hsi_noise", "msi_noise"):
        told = replace(condition, **{name: 1.5 * getattr(condition, name)})
        assert not torch.allclose(network(inputs, told), usual), name


@pytest.mark.parametrize("subspace", [True, False])
def test_a_small_network_learns(subspace):
    if subspace:
        given, network = subspace_case(), subspace_network()
        start = given[0].initial
        truth = start + 0.3 * given[0].msi
    else:
        given, network = pair(batch=2), tiny()
        start, truth = torch.zeros(()), upsample(given[0], 3) + 0.3 * given[1].mean(dim=1, keepdim=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3, betas=(0.9, 0.99))
    for _ in range(40):
        optimizer.zero_grad()
        loss = (network(*given) - truth).square().mean()
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * (truth - start).square().mean()


def test_a_weights_file_serves_as_the_method(tmp_path: Path):
    network = SubspaceSSRFNNet(SubspaceSSRFNConfig.preset("tiny"))  # at the start: the linear estimate
    card = WeightsCard("ssrfn", "ssrfn-subspace", asdict(network.config), "subspace", (3,))
    save_weights(network.state_dict(), card, tmp_path / "w.safetensors")
    chosen = choose_method("ssrfn", str(tmp_path / "w.safetensors"))
    assert METHODS["ssrfn"].network
    state = chosen.method.correction.network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    response = torch.rand(4, 20).double()
    srf = SpectralResponse((response / response.sum(1, keepdim=True)).numpy(), ("a", "b", "c", "d"))
    truth = torch.einsum("ck,khw->chw", torch.rand(20, 4), upsample(torch.rand(4, 30, 36), 2))
    imaging = ImagingModel(srf, PointSpread.gaussian(3, 1.0))
    hsi, msi = imaging.blur(truth), torch.einsum("bc,chw->bhw", torch.from_numpy(srf.matrix).float(), truth)
    fitted = chosen.method.fit([PairPatch.all_valid(hsi, msi)], imaging)
    fused = fitted(hsi, msi)
    assert fused.shape == truth.shape
    assert (fused - truth).square().mean() < (upsample(hsi, 3) - truth).square().mean()


# --- precision ---


@pytest.mark.parametrize("name", ["ssrfn", "mgdunlss"])
def test_bfloat16_stays_close_to_float32(name):
    if name == "ssrfn":
        network = awake(subspace_network())
    else:
        network = SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig(subspace=4, stages=2, features=8))
        for block in network.fusion:
            nn.init.normal_(block.project.weight, std=0.05)
    inputs, condition = subspace_case()
    with torch.no_grad():
        exact = network(inputs, condition)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network(inputs, condition)
    assert exact.dtype == rough.dtype == torch.float32
    correction = (exact - inputs.initial).square().mean().sqrt()
    assert 0 < (rough - exact).square().mean().sqrt() < 0.05 * correction
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_small_differences_of_large_coefficients_survive_bfloat16():
    inputs, condition = subspace_case()
    large = SubspaceInputs(30 + 0.02 * inputs.initial, 30 + 0.02 * inputs.msi, 30 + 0.02 * inputs.hsi)
    level = torch.full_like(condition.spread, 30.0)
    identity = torch.eye(4).expand(2, -1, -1)
    told = replace(condition, mixing=identity, mixing_offset=0 * level, residual=level / 1000, spread=level)
    network = awake(subspace_network())
    with torch.no_grad():
        exact = network(large, told)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network(large, told)
    assert (rough - exact).square().mean() < (0.05**2) * (exact - large.initial).square().mean()


def test_gradients_in_bfloat16_are_finite():
    network = awake(subspace_network())
    inputs, condition = subspace_case()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network(inputs, condition).square().mean()
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def test_float64_goes_through_whole():
    """What other precisions are held against on a card."""
    torch.manual_seed(0)
    network = SSRFNNet(SSRFNConfig.preset("tiny", bands=4, msi_bands=2)).eval().requires_grad_(False)
    hsi, msi = torch.rand(1, 4, 3, 3), torch.rand(1, 2, 12, 12)
    single, double = network(hsi, msi), network.double()(hsi.double(), msi.double())
    assert double.dtype == torch.float64
    assert not torch.equal(double, double.float().double())
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-5)
