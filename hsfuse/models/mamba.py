"""The Mamba block (Gu & Dao 2023), with the parameters of mamba-ssm's ``Mamba``: its state dict loads unchanged.

Mamba: Linear-Time Sequence Modeling with Selective State Spaces, section 3.4 and figure 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsfuse.errors import RequestError
from hsfuse.models.precision import at_least_float32
from hsfuse.scan import selective_scan


class Mamba(nn.Module):
    """A sequence of tokens in, one of the same shape out; each token sees those before it.

    In-projection to twice the inner width, causal depthwise convolution and SiLU on one half, selective scan,
    gate by SiLU of the other half, out-projection. The caller adds the residual.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        dt_rank: int | None = None,
        *,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        dt_floor: float = 1e-4,
        conv_bias: bool = True,
        bias: bool = False,
    ) -> None:
        """Parameters are named and shaped, and drawn, as in mamba-ssm.

        Args:
            d_model: Width of a token.
            d_state: N, states per inner channel.
            d_conv: Taps of the causal convolution.
            expand: Inner width divided by ``d_model``.
            dt_rank: Rank of Δ's projection, by default ``d_model`` / 16 rounded up.
            dt_min: Least initial Δ.
            dt_max: Largest initial Δ.
            dt_floor: No initial Δ is below this.
            conv_bias: Whether the convolution has a bias.
            bias: Whether the in- and out-projections have one.

        Raises:
            RequestError: If a size is not positive.
        """
        super().__init__()
        if min(d_model, d_state, d_conv, expand) < 1:
            raise RequestError(
                f"Mamba needs sizes of at least 1, not d_model {d_model}, d_state {d_state}, d_conv {d_conv},"
                f" expand {expand}"
            )
        self.d_model, self.d_state, self.d_conv, self.d_inner = d_model, d_state, d_conv, expand * d_model
        self.dt_rank = math.ceil(d_model / 16) if dt_rank is None else dt_rank
        self.in_proj = nn.Linear(d_model, 2 * self.d_inner, bias=bias)
        self.conv1d = nn.Conv1d(
            self.d_inner, self.d_inner, d_conv, groups=self.d_inner, padding=d_conv - 1, bias=conv_bias
        )
        self.x_proj = nn.Linear(self.d_inner, self.dt_rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, self.d_inner, bias=True)
        self.A_log = nn.Parameter(torch.arange(1, d_state + 1).float().log().repeat(self.d_inner, 1))
        self.D = nn.Parameter(torch.ones(self.d_inner))
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=bias)
        self._initialise_delta(dt_min, dt_max, dt_floor)

    def _initialise_delta(self, least: float, largest: float, floor: float) -> None:
        """Δ log-uniform between its bounds where its input is zero (section 3.6), written as softplus's inverse."""
        spread = self.dt_rank**-0.5
        nn.init.uniform_(self.dt_proj.weight, -spread, spread)
        exponent = torch.rand(self.d_inner) * math.log(largest / least) + math.log(least)
        delta = exponent.exp().clamp(min=floor)
        with torch.no_grad():
            self.dt_proj.bias.copy_(delta + torch.log(-torch.expm1(-delta)))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, d_model) in and out; the scan's state stays float32 under autocast."""
        length = tokens.shape[1]
        x, z = self._project(self.in_proj, tokens.transpose(1, 2)).chunk(2, dim=1)  # (B, d_inner, L) each
        x = functional.silu(self._causal(x, length))
        widths = [self.dt_rank, self.d_state, self.d_state]
        low, B, C = torch.split(self._project(self.x_proj, x), widths, dim=1)
        delta = _times(self.dt_proj.weight, low)  # (B, d_inner, L); its bias goes into the scan
        y = selective_scan(
            x, delta, -torch.exp(at_least_float32(self.A_log)), B, C, at_least_float32(self.D), z,
            at_least_float32(self.dt_proj.bias),
            delta_softplus=True,
        )  # fmt: skip
        out: Tensor = self.out_proj(y.transpose(1, 2))
        return out

    def _causal(self, x: Tensor, length: int) -> Tensor:
        convolved: Tensor = self.conv1d(x)  # padded at both ends: its last outputs look ahead
        return convolved[..., :length]

    @staticmethod
    def _project(layer: nn.Linear, x: Tensor) -> Tensor:
        """A linear layer over channels of (B, C, L): the scan wants steps next to one another."""
        projected = _times(layer.weight, x)
        return projected if layer.bias is None else projected + layer.bias.to(projected.dtype)[:, None]


def _times(weight: Tensor, x: Tensor) -> Tensor:
    """A matrix times each of a batch (B, C, L): `@` would copy the whole batch first where the matrix is trained."""
    return torch.bmm(weight.expand(len(x), -1, -1), x)
