"""Compiled kernels compute what the layers they stand in for compute where gradients are wanted."""

import pytest
import torch

from hsfuse.models.attention import CrissCrossAttention
from hsfuse.models.mgdunlss import BSRU


def with_and_without_gradients(layer, feature):
    """What a layer makes by torch's own operators in float64, and what the kernels make in float32."""
    with torch.no_grad():
        compiled = layer(feature)
    expected = layer.double()(feature.double())
    layer.float()
    assert expected.requires_grad
    return expected.detach().float(), compiled


@pytest.mark.parametrize(
    ("features", "shape"),
    [
        (16, (1, 3, 21, 37)),
        (8, (2, 2, 16, 64)),
        (6, (1, 2, 70, 5)),
        (32, (1, 1, 9, 130)),
        (16, (1, 1, 64, 1)),
        (16, (1, 1, 1, 64)),
    ],
)
@pytest.mark.parametrize("size", [1.0, 30.0])
def test_attention_without_gradients_is_the_same(features, shape, size):
    """Also where scores are so large that their exponentials overflow: some lines are, others are not."""
    torch.manual_seed(0)
    feature = torch.randn(shape[0], features, *shape[1:]) * torch.linspace(0.1, size, shape[-1])
    expected, compiled = with_and_without_gradients(CrissCrossAttention(features), feature)
    torch.testing.assert_close(compiled, expected, rtol=1e-4, atol=1e-4 * size)


def test_attention_does_not_spread_what_is_not_finite():
    torch.manual_seed(0)
    layer, feature = CrissCrossAttention(16).requires_grad_(False), torch.randn(1, 16, 1, 24, 40)
    clean = layer(feature)
    feature[0, 3, 0, 5, 7] = torch.nan
    spoiled = layer(feature)[0, :, 0]
    touched = torch.zeros(24, 40, dtype=torch.bool)
    touched[5], touched[:, 7] = True, True
    assert spoiled[:, touched].isnan().all()
    torch.testing.assert_close(spoiled[:, ~touched], clean[0, :, 0][:, ~touched])


@pytest.mark.parametrize("features", [4, 16])
@pytest.mark.parametrize("shape", [(2, 5, 9, 13), (1, 3, 8, 8), (1, 4, 130, 131)])
def test_the_recurrence_without_gradients_is_the_same(features, shape):
    torch.manual_seed(0)
    feature = 3 * torch.randn(shape[0], features, *shape[1:])
    expected, compiled = with_and_without_gradients(BSRU(features, 4), feature)
    torch.testing.assert_close(compiled, expected, rtol=1e-4, atol=2e-5)


def test_gates_that_are_wide_open_do_not_overflow():
    layer = BSRU(4, 4)
    torch.nn.init.constant_(layer.gates_and_candidates.weight, 100.0)
    feature = torch.randn(1, 4, 3, 9, 9) * 100
    expected, compiled = with_and_without_gradients(layer, feature)
    torch.testing.assert_close(compiled, expected)


def test_neither_the_threads_nor_the_batch_change_a_bit():
    torch.manual_seed(0)
    layers = torch.nn.Sequential(BSRU(4, 16), CrissCrossAttention(16), BSRU(16, 4)).requires_grad_(False)
    feature, threads = torch.randn(2, 4, 3, 30, 50), torch.get_num_threads()
    together = layers(feature)
    try:
        torch.set_num_threads(3)
        shared = layers[1](layers[0](feature[:1]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(layers[1](layers[0](feature[:1])), shared)
    assert torch.equal(layers[1](layers[0](feature))[:1], shared)
    torch.testing.assert_close(together[1:], layers(feature[1:]))
