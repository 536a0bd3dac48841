"""The Mamba block: parameters that mamba-ssm's state dict fits, and what a sequence model has to do."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from hsfuse.errors import RequestError
from hsfuse.models.mamba import Mamba


def test_parameters_are_those_of_mamba_ssm() -> None:
    block = Mamba(d_model=40, d_state=64, d_conv=3, expand=2)
    assert {name: tuple(tensor.shape) for name, tensor in block.state_dict().items()} == {
        "A_log": (80, 64),
        "D": (80,),
        "in_proj.weight": (160, 40),
        "conv1d.weight": (80, 1, 3),
        "conv1d.bias": (80,),
        "x_proj.weight": (3 + 128, 80),
        "dt_proj.weight": (80, 3),
        "dt_proj.bias": (80,),
        "out_proj.weight": (40, 80),
    }


def test_initial_values_are_drawn_as_in_mamba_ssm() -> None:
    torch.manual_seed(0)
    block = Mamba(64, 16)
    delta = functional.softplus(block.dt_proj.bias)
    assert 0.00099 < delta.min() < 0.002
    assert 0.05 < delta.max() < 0.101
    assert torch.allclose(block.A_log.exp(), torch.arange(1.0, 17).expand(128, 16))
    assert torch.equal(block.D, torch.ones(128))
    assert block.dt_proj.weight.abs().max() <= block.dt_rank**-0.5


def test_output_is_the_block_of_the_paper_written_out() -> None:
    torch.manual_seed(1)
    block, tokens = Mamba(8, 4), torch.randn(2, 30, 8)
    x, z = block.in_proj(tokens).chunk(2, dim=-1)
    x = functional.pad(x, (0, 0, 3, 0)).unfold(1, 4, 1)  # (B, L, d_inner, taps), none from the future
    x = functional.silu((x * block.conv1d.weight[:, 0]).sum(-1) + block.conv1d.bias)
    low, B, C = block.x_proj(x).split([1, 4, 4], dim=-1)
    delta = functional.softplus(block.dt_proj(low))
    state, outputs = torch.zeros(2, 16, 4), []
    for t in range(30):
        decay = torch.exp(-delta[:, t, :, None] * block.A_log.exp())
        state = decay * state + (delta[:, t] * x[:, t])[..., None] * B[:, t, None]
        outputs.append((state * C[:, t, None]).sum(-1) + block.D * x[:, t])
    expected = block.out_proj(torch.stack(outputs, 1) * functional.silu(z))
    torch.testing.assert_close(block(tokens), expected, rtol=1e-4, atol=1e-5)


def test_a_token_is_not_seen_before_it_comes() -> None:
    block, tokens = Mamba(8), torch.randn(1, 50, 8)
    changed = tokens.clone()
    changed[:, 20:] += 1
    with torch.no_grad():
        before, after = block(tokens), block(changed)
    torch.testing.assert_close(after[:, :20], before[:, :20])
    assert not torch.allclose(after[:, 20], before[:, 20])


@pytest.mark.parametrize("bias", [False, True])
def test_every_parameter_gets_a_gradient(bias: bool) -> None:
    block = Mamba(6, 5, bias=bias)
    block(torch.randn(2, 11, 6)).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in block.parameters())


def test_gradients_do_not_depend_on_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    block, tokens = Mamba(6, 5), torch.randn(1, 150, 6)
    gradients = []
    for backend in ("numba", "reference"):
        monkeypatch.setenv("HSFUSE_SCAN", backend)
        loss = block(tokens).square().mean()
        gradients.append(torch.autograd.grad(loss, list(block.parameters())))
    for ours, truth in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-3, atol=1e-6)


def test_bfloat16_autocast_keeps_the_state_in_float32() -> None:
    torch.manual_seed(3)
    block, tokens = Mamba(16, 8), torch.randn(1, 400, 16)
    with torch.no_grad():
        exact = block(tokens)
        with torch.autocast("cpu", torch.bfloat16):
            rough = block(tokens)
    assert rough.dtype == torch.bfloat16
    assert (rough - exact).abs().max() < 0.05 * exact.abs().max()


def test_a_size_of_zero_is_refused() -> None:
    with pytest.raises(RequestError, match="d_state 0"):
        Mamba(8, 0)
