"""Everything that was fitted moves; the meta device stands in for a GPU, since it holds no data."""

import copy
from dataclasses import dataclass
from types import MappingProxyType

import pytest
import torch

from hsfuse.classical import Bayes
from hsfuse.errors import RequestError
from hsfuse.fusion.arrays import BlockSource, FusedArray
from hsfuse.fusion.compute import CPU, Compute, to_device
from hsfuse.fusion.job import Job
from hsfuse.fusion.method import ClassicalMethod
from hsfuse.fusion.methods import ChosenMethod, choose_method
from hsfuse.models.precision import float32_products, full_float32
from hsfuse.scenes import PixelWindow
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


@pytest.fixture
def one_card(monkeypatch):
    """A machine that says it has one card: what is refused is refused before the card is touched."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)


@pytest.mark.parametrize("device", ["cuda:1", "cuda:7"])
def test_a_card_that_is_not_there_is_refused(one_card, device):
    with pytest.raises(RequestError, match=f"{device} is not there: this machine has cuda:0 alone"):
        Compute(device)


def test_a_card_is_taken_in_half_precision_and_tf32_only_on_request(one_card):
    assert (Compute().device, Compute().precision, Compute("cuda:0", "tf32").half) == ("cuda", "fp16", None)
    assert Compute("cuda").exactness == "fp16, TF32 off"
    assert Compute("cuda", "fp32").exactness == "fp32, TF32 off"
    assert Compute("cuda", "tf32").exactness == "float32 with products in TF32"
    assert ClassicalMethod(Bayes.fit).suited(Compute("cuda", "tf32")).precision == "fp32"


@pytest.mark.parametrize("asked", ["auto", "fp32", "bf16", "fp16", "tf32"])
def test_a_worker_takes_its_card_in_the_precision_that_was_asked_for(monkeypatch, asked):
    """And one without a card, whoever sent the work, goes on as exactly at least."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    from_card = Compute(precision=asked, memory=2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    sent = [copy.copy(from_card)]  # as pickle does it
    if asked not in {"fp16", "tf32"}:
        sent.append(copy.copy(Compute(precision=asked, memory=2**30)))
        assert Compute("cpu", asked).at_home().device == "cpu"
    for compute in sent:
        here = compute.at_home()
        assert (here.device, here.precision, here.memory) == ("cpu", "bf16" if asked == "bf16" else "fp32", 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for compute in sent:
        here = compute.at_home()
        assert (here.device, here.precision) == ("cuda", "fp16" if asked == "auto" else asked)
    assert Compute("cpu", "fp32").at_home().device == "cpu"  # a device that was asked for stays


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize(
    ("device", "precision", "sentence"),
    [
        ("cuda", "auto", "no CUDA device that torch can use: pass `device=cpu`"),
        ("cuda:0", "auto", "no CUDA device that torch can use"),
        ("tpu", "auto", "'tpu' is no device: pass auto, cpu, cuda or cuda:N"),
        ("cuda:-1", "auto", "'cuda:-1' is no device"),
        ("cpu", "fp16", "fp16 is for CUDA devices: pass `precision=bf16` or"),
        ("cpu", "tf32", "tf32 is for CUDA devices: pass `precision=fp32`"),
    ],
)
def test_what_is_not_there_is_refused(device, precision, sentence):
    with pytest.raises(RequestError, match=sentence):
        Compute(device, precision)


def settings():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_fp32_is_float32_for_products_too_and_torch_is_left_as_it_was():
    before = settings()
    assert before == (False, True)  # torch's own: convolutions are not in float32
    with CPU.products():
        assert settings() == (False, False)
        with float32_products(tf32=True):
            assert settings() == (True, True)
            with full_float32(torch.device("cpu")):
                assert settings() == (False, False)
            assert settings() == (True, True)
    with pytest.raises(ZeroDivisionError), float32_products(tf32=True):
        1 / 0  # noqa: B018
    assert settings() == before


@dataclass(frozen=True)
class Watching:
    """Tells how products were to be computed when it was fitted and when it fused."""

    seen: list
    margin: int = 1
    bytes_a_pixel: int = 100
    facts = MappingProxyType({})

    def __call__(self, hsi, msi):
        self.seen.append((*settings(), torch.is_autocast_enabled("cpu")))
        return msi[:1].expand(len(hsi), -1, -1)


class WatchingMethod:
    """A method of its own, as networks are."""

    def __init__(self, seen):
        self.seen = seen

    def suited(self, compute):
        return compute

    def fit(self, patches, imaging, *, compute=CPU, seed=0):
        self.seen.append((*settings(), torch.is_autocast_enabled("cpu")))
        return Watching(self.seen)


@pytest.mark.parametrize("kind", ["network", "classical"])
def test_a_job_multiplies_as_its_precision_says_and_classical_methods_in_float32(made_pair, kind):
    source, model = made_pair(rows=20, columns=20)
    seen = []
    method = WatchingMethod(seen)
    if kind == "classical":
        method = ClassicalMethod(method.fit)
    job = Job(ChosenMethod("watching", method, None), Compute("cpu", "bf16"))
    fitted = job.fit([PairPatch.of(source.whole)], model)
    sink = FusedArray((len(source.whole.hsi), 20 * model.ratio, 20 * model.ratio))
    area = PixelWindow(0, 0, 20, 20)
    job.run(BlockSource(source.whole), area, fitted, sink, bands=len(source.whole.hsi), ratio=model.ratio)
    assert seen == [(False, False, False), (False, False, kind == "network")]
    if kind == "classical":
        with torch.autocast("cpu", dtype=torch.bfloat16), float32_products(tf32=True):  # as within a stack on a card
            fitted(torch.zeros(2, 4, 4), torch.zeros(2, 12, 12))
        assert seen[-1] == (False, False, False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_network_on_cuda_gives_what_it_gives_on_the_cpu(made_pair):
    source, model = made_pair(rows=30, columns=30)
    patch = PairPatch.of(source.whole)
    chosen = choose_method("mgdunlss")
    expected = chosen.method.fit([patch], model)(patch.hsi, patch.msi)
    fitted = chosen.method.fit([patch], model, compute=Compute("cuda", "fp32"))
    torch.testing.assert_close(fitted(patch.hsi.cuda(), patch.msi.cuda()).cpu(), expected, rtol=1e-3, atol=1e-3)
