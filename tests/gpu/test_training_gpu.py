"""On a CUDA device: TF32 only where asked for, less memory with the same weights, a second card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from hsfuse.fusion.compute import Compute, forget_device_peak, peak_device_megabytes
from hsfuse.models.precision import float32_products
from hsfuse.models.recomputing import recompute_stages
from hsfuse.models.ssrfn import SSRFNConfig, SSRFNNet
from hsfuse.training.loop import Trainer, Validation
from hsfuse.training.repeatable import deterministic_algorithms
from hsfuse.training.schedule import Schedule

if TYPE_CHECKING:
    import numpy as np

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


class Patches:
    """Noise, to be fused to noise: what is compared is one training with another."""

    def __init__(self, device: str) -> None:
        self.device = device

    def draw(self, generator: np.random.Generator, batch: int, share: slice) -> Any:
        sizes = ((batch, 6, 8, 8), (batch, 3, 24, 24), (batch, 6, 24, 24))
        return tuple(torch.from_numpy(generator.normal(size=size)).float()[share] for size in sizes)

    def loss(self, network: nn.Module, drawn: Any) -> Tensor:
        hsi, msi, truth = (part.to(self.device) for part in drawn)
        loss: Tensor = (network(hsi, msi).float() - truth).square().mean()
        return loss

    def validate(self, network: nn.Module) -> Validation:
        return Validation(0.0, {})


def trained(
    device: str = "cuda", *, half: torch.dtype | None = None, recompute: bool = False, **changes: Any
) -> Trainer:
    torch.manual_seed(0)
    network = SSRFNNet(SSRFNConfig.preset("tiny", bands=6, msi_bands=3)).to(device)
    if recompute:
        recompute_stages(network)
    trainer = Trainer(network, Patches(device), Schedule(steps=5, **changes), half=half)
    with Compute(device, "fp32").products():
        trainer.run()
    return trainer


def weights_of(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in trainer.network.state_dict().items()}


def test_fp32_multiplies_in_float32_and_tf32_does_not() -> None:
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this card has no TF32")
    torch.manual_seed(0)
    layer = nn.Conv2d(256, 256, 3, padding=1).cuda()
    image = torch.randn(1, 256, 64, 64, device="cuda")
    with torch.no_grad():
        exact = layer.double()(image.double())
        layer = layer.float()
        errors = {}
        for precision in ("fp32", "tf32"):
            with Compute("cuda", precision).products():
                errors[precision] = float((layer(image) - exact).abs().max() / exact.abs().max())
    assert errors["fp32"] < 1e-5
    assert errors["tf32"] > 1e-4


@pytest.mark.parametrize("half", [None, torch.float16, torch.bfloat16])
def test_training_on_a_card_is_finite(half: torch.dtype | None) -> None:
    trainer = trained(half=half)
    assert all(torch.isfinite(value).all() for value in weights_of(trainer).values())
    assert trainer.skipped <= (4 if half == torch.float16 else 0)


def test_less_memory_trains_the_same_weights() -> None:
    device = torch.device("cuda")
    forget_device_peak(device)
    whole = weights_of(trained(batch=8))
    peak = peak_device_megabytes(device)
    forget_device_peak(device)
    thrifty = weights_of(trained(batch=8, accumulate=4, recompute=True))
    less = peak_device_megabytes(device)
    assert peak is not None
    assert less is not None
    assert 0 < less < peak
    for name, value in whole.items():
        torch.testing.assert_close(thrifty[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_deterministic_training_repeats_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with deterministic_algorithms(wanted=True):
        first, second = weights_of(trained()), weights_of(trained())
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs a second CUDA device")
def test_a_second_card_trains_what_the_first_does() -> None:
    first, second = weights_of(trained("cuda:0")), weights_of(trained("cuda:1"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_products_are_left_as_they_were() -> None:
    before = torch.backends.cudnn.allow_tf32
    with float32_products(tf32=not before):
        pass
    assert torch.backends.cudnn.allow_tf32 == before
