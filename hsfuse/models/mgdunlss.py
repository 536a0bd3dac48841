"""MGDuNLSS-Net: model-guided deep unfolding with nonlocal spatial-spectral priors (Khader et al. 2023).

Khader, Yang, Xiao: Model-Guided Deep Unfolded Fusion Network With Nonlocal Spatial-Spectral Priors for
Hyperspectral Image Super-Resolution, IEEE JSTARS 2023, doi 10.1109/JSTARS.2023.3272370; equation numbers are its.

Two networks share the fusion module. `MGDuNLSSNet` is the paper's, on bands, with a learned imaging module.
`SubspaceMGDuNLSSNet` puts the scene's own R and B into that place and works on K coefficients, so that one set of
weights serves every pair of sensors.

Settled where the paper is silent: L = 16, K = 10, ↑ bilinear; all stages share one fusion module in the preset
`paper`, since its θ has no index, and have one each elsewhere (`share_stages`). In the subspace both errors have K
channels, so they are stacked as features of K bands, beside the estimate itself and its detail; X⁽⁰⁾ is the linear
estimate, and corrections are in units of the linear prediction's own residual. Of the ablations (Table VI) that
without BSRU is read literally: the two NLSS work on the errors themselves, one feature a band.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn
from torch.nn import functional as F

from hsfuse.errors import RequestError
from hsfuse.imaging import upsample
from hsfuse.models import cpu
from hsfuse.models.attention import CrissCrossAttention
from hsfuse.models.precision import full_float32
from hsfuse.models.recomputing import Staged

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from hsfuse.subspace.linear_model import SceneCondition, SubspaceInputs

_FEW_FEATURES, _FEW_PIXELS = 8, 128**2
"""At most so many, or so many in an image that is alone, and torch's 3-D convolution is two to three times slower on
the CPU than a 2-D one of as many products (measured with torch 2.13)."""


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"stages": 5, "features": 16, "subspace": 10, "share_stages": True},
    "paper-unshared": {"stages": 5, "features": 16, "subspace": 10, "share_stages": False},
    "base": {"stages": 3, "features": 16, "subspace": 10, "share_stages": False},
    "tiny": {"stages": 2, "features": 4, "subspace": 10, "share_stages": False},
}
"""Sizes by name: the paper's with one fusion module for all stages and with one each, that of the bundled weights, and
one for tests."""

ABLATIONS: dict[str, dict[str, Any]] = {"bsru": {"recurrence": False}, "nlss": {"attention": False}}
"""Table VI, by what is left out."""


class BSRU(nn.Module):
    """Bidirectional simple recurrent unit along the bands, equations 13–16.

    Gates Q, R and candidates E_s, E_h are 3×3×3 convolutions without bias; the two directions share the
    candidates' weights (W_s, W_h), not the gates'; their outputs are added.
    """

    def __init__(self, features_in: int, features_out: int) -> None:
        """Take `features_in` features a band, return `features_out`."""
        super().__init__()
        # One convolution for all six, in the order Q→, R→, Q←, R←, E_s, E_h: the input is read once.
        self.gates_and_candidates = nn.Conv3d(features_in, 6 * features_out, 3, padding=1, bias=False)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, L_in, bands, H, W) to (B, L_out, bands, H, W)."""
        every = self._convolved(feature)
        if cpu.serves(every):
            from hsfuse.models.cpu.launch import recurrence  # noqa: PLC0415 (numba takes a second)

            return recurrence(every.float())
        *gates, state_candidate, output_candidate = every.chunk(6, dim=1)
        update, reset, update_back, reset_back = (torch.sigmoid(gate) for gate in gates)
        state_candidate, output_candidate = torch.tanh(state_candidate), torch.tanh(output_candidate)
        forward = _light_recurrence(update, state_candidate, reverse=False)
        backward = _light_recurrence(update_back, state_candidate, reverse=True)
        return (
            reset * forward
            + reset_back * backward
            + (2 - reset - reset_back) * output_candidate  # equation 16, both directions
        )

    def _convolved(self, feature: Tensor) -> Tensor:
        """All six before their sigmoid and tanh, (B, 6 L_out, bands, H, W)."""
        layer = self.gates_and_candidates
        batch, features, bands, height, width = feature.shape
        slow = features <= _FEW_FEATURES or (batch == 1 and height * width <= _FEW_PIXELS)
        if feature.device.type != "cpu" or not slow:
            every: Tensor = layer(feature)
            return every
        # The bands beside a band are more features of it
        padded = F.pad(feature.transpose(1, 2), (0, 0, 0, 0, 0, 0, 1, 1))
        beside = torch.cat([padded[:, shift : shift + bands] for shift in range(3)], dim=2)
        weight = layer.weight.transpose(1, 2).flatten(1, 2)
        every = F.conv2d(beside.flatten(0, 1), weight, padding=1)
        return every.reshape(batch, bands, *every.shape[1:]).transpose(1, 2)


def _light_recurrence(update: Tensor, candidate: Tensor, *, reverse: bool) -> Tensor:
    """S_i = Q_i ⊙ S_{i−1} + (1 − Q_i) ⊙ E_s,i along axis 2, S_0 = 0."""
    # unbind, not indexing: the backward pass of an index writes a whole array of zeros a band
    inputs, gates = ((1 - update) * candidate).unbind(2), update.unbind(2)
    order = range(len(inputs))
    states: list[Tensor] = []
    for band in reversed(order) if reverse else order:
        states.append(torch.addcmul(inputs[band], gates[band], states[-1]) if states else inputs[band])
    return torch.stack(states[::-1] if reverse else states, dim=2)


class NonlocalSpatialSpectralBlock(nn.Module):
    """NLSSB, the fusion module f of equation 8: BSRU → NLSS → NLSS → BSRU → 3×3 convolution.

    The two NLSS are one module applied twice.
    """

    def __init__(
        self,
        bands_in: int,
        bands_out: int,
        features: int,
        *,
        features_in: int = 1,
        features_out: int = 1,
        conditions: int = 0,
        recurrence: bool = True,
        attention: bool = True,
    ) -> None:
        """`conditions` numbers per band may shift the features after the first BSRU.

        Table VI: without `recurrence` no BSRU, so that features stay those of the errors; without `attention` no NLSS.
        """
        super().__init__()
        width, last = (features, features_out) if recurrence else (features_in, features_in)
        self.encode = BSRU(features_in, width) if recurrence else nn.Identity()
        self.condition = nn.Linear(conditions, width) if conditions else None
        self.nonlocal_similarity = CrissCrossAttention(width) if attention else nn.Identity()
        self.decode = BSRU(width, last) if recurrence else nn.Identity()
        self.project = nn.Conv2d(bands_in * last, bands_out, 3, padding=1)

    def forward(self, errors: Tensor, conditions: Tensor | None = None) -> Tensor:
        """(B, features_in, bands_in, H, W), and conditions (B, bands_in, n), to (B, bands_out, H, W)."""
        feature = self.encode(errors)  # (B, L, bands, H, W)
        if self.condition is not None and conditions is not None:
            feature = feature + self.condition(conditions).transpose(1, 2)[..., None, None]
        feature = self.nonlocal_similarity(self.nonlocal_similarity(feature))
        projected: Tensor = self.project(self.decode(feature).flatten(1, 2))
        return projected


class LearnedImaging(nn.Module):
    """The imaging module of equations 10 and 11 and Table I: Dᵀ, B, D and D̃ as linear convolutions."""

    def __init__(self, bands: int, msi_bands: int, ratio: int, subspace: int) -> None:
        """B is r×r with stride r."""
        super().__init__()
        self.to_coefficients = nn.Conv2d(bands, subspace, 3, padding=1, bias=False)
        self.degrade = nn.Conv2d(subspace, subspace, ratio, stride=ratio, bias=False)
        self.to_bands = nn.Conv2d(subspace, bands, 3, padding=1, bias=False)
        self.to_msi = nn.Conv2d(subspace, msi_bands, 3, padding=1, bias=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Back-project X (B, C, H, W) to Y (B, C, h, w) and P (B, c, H, W)."""
        coefficients = self.to_coefficients(image)
        return self.to_bands(self.degrade(coefficients)), self.to_msi(coefficients)


class _Presets:
    """Configurations by name."""

    recurrence: bool
    attention: bool

    def __post_init__(self) -> None:
        if not (self.recurrence or self.attention):
            raise RequestError("MGDuNLSS-Net without BSRU and without NLSS has nothing left: leave out one of them")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The configuration of a preset, with `changes` to its fields.

        Raises:
            RequestError: There is no such preset, or nothing is left of the network.
        """
        if name not in PRESETS:
            raise RequestError(f"MGDuNLSS-Net has no preset {name!r}: choose one of {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **changes})


@dataclass(frozen=True)
class MGDuNLSSConfig(_Presets):
    """The paper's network on the bands of one pair of sensors.

    Raises:
        RequestError: Nothing is left of it.
    """

    bands: int
    """C."""
    msi_bands: int
    """c."""
    ratio: int
    """r."""
    stages: int = 5
    """T."""
    features: int = 16
    """L."""
    subspace: int = 10
    """K."""
    share_stages: bool = False
    """One fusion module for all stages, as the paper's θ without an index is read."""
    recurrence: bool = True
    """Table VI: BSRU."""
    attention: bool = True
    """Table VI: NLSS."""


class MGDuNLSSNet(Staged):
    """The paper's network: X⁽ᵗ⁾ = X⁽ᵗ⁻¹⁾ + f(P − P⁽ᵗ⁻¹⁾, ↑(Y − Y⁽ᵗ⁻¹⁾)) from zero, equations 8, 9 and 21."""

    def __init__(self, config: MGDuNLSSConfig) -> None:
        """Build with xavier-normal weights, as the paper."""
        super().__init__()
        self.config = config
        both = config.bands + config.msi_bands
        self.imaging = LearnedImaging(config.bands, config.msi_bands, config.ratio, config.subspace)
        parts = {"recurrence": config.recurrence, "attention": config.attention}
        self.fusion = _stages(
            config, lambda: NonlocalSpatialSpectralBlock(both, config.bands, config.features, **parts)
        )
        self.combine = nn.Conv2d(config.stages * config.bands, config.bands, 3, padding=1)
        self.apply(_xavier_normal)

    @property
    def bytes_a_pixel(self) -> int:
        """Working memory by fine pixel, about: 24 maps of every feature of every band, as measured on a tile."""
        return 24 * 4 * self.config.features * (self.config.bands + self.config.msi_bands)

    def forward(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse Y (B, C, h, w) and P (B, c, H, W) to (B, C, H, W)."""
        hsi_error, msi_error = hsi, msi  # Y⁽⁰⁾ = P⁽⁰⁾ = 0
        estimates: list[Tensor] = []
        for stage in range(self.config.stages):
            if estimates:
                with full_float32(hsi.device):  # differences of large numbers
                    seen_hsi, seen_msi = self.imaging(estimates[-1])
                    hsi_error, msi_error = hsi - seen_hsi, msi - seen_msi
            errors = torch.cat([msi_error, upsample(hsi_error, self.config.ratio, "bilinear")], dim=1)
            step = self.stage(self.fusion[stage % len(self.fusion)], errors[:, None]).to(hsi.dtype)
            estimates.append(estimates[-1] + step if estimates else step)
        combined: Tensor = self.combine(torch.cat(estimates, dim=1))
        return combined


@dataclass(frozen=True)
class SubspaceMGDuNLSSConfig(_Presets):
    """The network on K coefficients with the scene's own imaging model.

    Raises:
        RequestError: Nothing is left of it.
    """

    subspace: int = 10
    """K."""
    stages: int = 3
    """T."""
    features: int = 16
    """L."""
    features_out: int = 4
    """Features a band that leave each fusion module's second BSRU."""
    share_stages: bool = False
    """One fusion module for all stages."""
    recurrence: bool = True
    """Table VI: BSRU."""
    attention: bool = True
    """Table VI: NLSS."""


class SubspaceMGDuNLSSNet(Staged):
    """MGDuNLSS-Net on coefficients: explicit imaging, X⁽⁰⁾ the linear estimate, corrections in residual units."""

    def __init__(self, config: SubspaceMGDuNLSSConfig) -> None:
        """Build with xavier-normal weights; the last layers start so that the output is the linear estimate."""
        super().__init__()
        self.config = config
        size = config.subspace
        self.fusion = _stages(
            config,
            lambda: NonlocalSpatialSpectralBlock(
                size,
                size,
                config.features,
                features_in=4,
                features_out=config.features_out,
                conditions=4,
                recurrence=config.recurrence,
                attention=config.attention,
            ),
        )
        self.combine = nn.Conv2d(config.stages * size, size, 3, padding=1)
        self.apply(_xavier_normal)
        for block in self.fusion:
            assert isinstance(block, NonlocalSpatialSpectralBlock)
            nn.init.zeros_(block.project.weight)
        nn.init.zeros_(self.combine.weight)
        with torch.no_grad():
            self.combine.weight[:, -size:, 1, 1] = torch.eye(size)

    def forward(self, inputs: SubspaceInputs, condition: SceneCondition) -> Tensor:
        """The coefficients (B, K, H, W) of X out of a batch of subspace inputs."""
        unit = condition.residual[:, :, None, None]
        spread = condition.spread[:, :, None, None].clamp_min(1e-12)
        scalars = condition.scalars()
        hsi_fine = upsample(inputs.hsi, condition.blur.ratio, "bilinear")
        correction = torch.zeros_like(inputs.initial)
        corrections: list[Tensor] = []
        for stage in range(self.config.stages):
            # Differences of large numbers: in float32 also where the fusion modules compute in half precision
            with full_float32(inputs.initial.device):
                estimate = inputs.initial + unit * correction
                seen = torch.einsum("bkj,bjhw->bkhw", condition.mixing, estimate)
                msi_error = inputs.msi - seen - condition.mixing_offset[:, :, None, None]
                hsi_error = upsample(inputs.hsi - condition.blur(estimate), condition.blur.ratio, "bilinear")
                features = [msi_error / unit, hsi_error / unit, estimate / spread, (estimate - hsi_fine) / unit]
                errors = torch.stack([feature.clamp(-20, 20) for feature in features], dim=1)
            correction = correction + self.stage(self.fusion[stage % len(self.fusion)], errors, scalars)
            corrections.append(correction)
        combined: Tensor = self.combine(torch.cat(corrections, dim=1))
        return inputs.initial + unit * combined


def _stages(
    config: MGDuNLSSConfig | SubspaceMGDuNLSSConfig, build: Callable[[], NonlocalSpatialSpectralBlock]
) -> nn.ModuleList:
    """One fusion module a stage, or one for all."""
    return nn.ModuleList(build() for _ in range(1 if config.share_stages else config.stages))


def _xavier_normal(module: nn.Module) -> None:
    """The paper's initialisation; biases start at zero."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.Linear)):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
