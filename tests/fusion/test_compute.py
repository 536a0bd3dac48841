"""Everything that was fitted moves; the meta device stands in for a GPU, since it holds no data."""

from dataclasses import dataclass

import pytest
import torch

from hsfuse.fusion.compute import Compute, to_device
from hsfuse.fusion.methods import choose_method
from hsfuse.subspace.patch import PairPatch


def tensors(thing):
    """Every tensor that hangs on a fitted method."""
    if isinstance(thing, torch.Tensor):
        yield thing
    elif isinstance(thing, torch.nn.Module):
        yield from thing.parameters()
        yield from thing.buffers()
    elif hasattr(thing, "__dataclass_fields__"):
        for name in thing.__dataclass_fields__:
            yield from tensors(getattr(thing, name))


def test_a_fitted_network_moves_with_its_adapter(made_pair):
    source, model = made_pair(rows=30, columns=30)
    fitted = choose_method("mgdunlss").method.fit([PairPatch.of(source.whole)], model)
    assert len(list(tensors(fitted))) > 20
    moved = to_device(fitted, torch.device("meta"))
    assert {tensor.device.type for tensor in tensors(moved)} == {"meta"}


def test_what_is_there_already_is_handed_back_as_it_is():
    @dataclass(frozen=True)
    class Thing:
        tensor: torch.Tensor
        number: int

    thing = Thing(torch.ones(2), 3)
    assert to_device(thing, torch.device("cpu")) is thing


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_network_on_cuda_gives_what_it_gives_on_the_cpu(made_pair):
    source, model = made_pair(rows=30, columns=30)
    patch = PairPatch.of(source.whole)
    chosen = choose_method("mgdunlss")
    expected = chosen.method.fit([patch], model)(patch.hsi, patch.msi)
    fitted = chosen.method.fit([patch], model, compute=Compute("cuda", "fp32"))
    torch.testing.assert_close(fitted(patch.hsi.cuda(), patch.msi.cuda()).cpu(), expected, rtol=1e-3, atol=1e-3)
