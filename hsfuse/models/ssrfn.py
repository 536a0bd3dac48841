"""SSRFN: spatial-spectral interaction super-resolution CNN-Mamba network (Zhao et al. 2024).

Zhao, Wu, Luo, Ou, Zhang: Spatial–Spectral Interaction Super-Resolution CNN–Mamba Network for Fusion of Satellite
Hyperspectral and Multispectral Image, IEEE JSTARS 2024, doi 10.1109/JSTARS.2024.3469184; equation numbers are its.

Two networks share the body. `SSRFNNet` is the paper's, on bands. `SubspaceSSRFNNet` works on K coefficients with
the scene's own R and B, so that one set of weights serves every pair of sensors.

What the paper leaves open is settled beside each module in `hsfuse.models.ssrfn_blocks`. Of the whole: LR MSI is
the mean of r×r pixels of P on bands, B of it in the subspace; SpaR and SpeR are given the same stacked features,
twice the width.

The width is not printed, 38.63 M parameters and 193.67 GFLOP are (64² pixels, ratio 4, 100 and 4 bands assumed). The
text has a "cyclic GRU" and "identical correction operations": the preset `paper` shares the weights of the CFE's
cycles and of the SCM's corrections, and has the width that comes next to the printed parameters, 205 (38.55 M), though
not to the printed GFLOP (305.5; 169 with a multiply-add as one). With weights for every cycle and correction,
`paper-unshared`, a width of 160 comes near both (39.03 M and 194.5 GFLOP) where a multiply-add counts as two, and the
scan 9 B L D N as mamba-ssm counts it. Neither is known to be the authors' network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import nn
from torch.nn import functional as F

from hsfuse.errors import RequestError
from hsfuse.imaging import upsample
from hsfuse.models.precision import at_least_float32, full_float32
from hsfuse.models.ssrfn_blocks import (
    Blocks,
    ChangeFeatures,
    DeepFeatures,
    FeatureFusion,
    FeatureKind,
    ShallowFeatures,
    SpatialLocal,
    SpectralCorrection,
    SpectralLocal,
    SuperResolution,
)

if TYPE_CHECKING:
    from torch import Tensor

    from hsfuse.subspace.linear_model import SceneCondition, SubspaceInputs

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"width": 205, "share_cycles": True, "share_corrections": True},
    "paper-unshared": {"width": 160},
    "base": {"width": 64},
    "small": {"width": 32},
    "light": {"width": 48, "states": 8, "deep_blocks": 1, "cycles": 1, "corrections": 2, "stages": 1},
    "tiny": {"width": 16, "states": 16, "deep_blocks": 2, "cycles": 2, "corrections": 4, "stages": 2},
}
"""Sizes by name: two readings of the paper, the default, half of that, that of the bundled weights, one for tests."""

ABLATIONS: dict[str, dict[str, Any]] = {
    "dfe-mamba": {"deep_mamba": False},
    "cfe-mamba": {"change_mamba": False},
    "mamba": {"features": "cnn"},
    "cnn": {"features": "mamba"},
    "spar": {"super_resolution": "spectral"},
    "sper": {"super_resolution": "spatial"},
    "cfe-scm": {"correction": False},
}
"""Tables II to V, by what is left out."""


@dataclass(frozen=True, kw_only=True)
class SSRFNSettings:
    """Size and ablations of the network's body.

    Raises:
        RequestError: A size is not positive, or a choice unknown.
    """

    width: int = 64
    """w, channels of a feature."""
    states: int = 64
    """N of the selective scan."""
    deep_blocks: int = 5
    """Blocks of the DFE."""
    cycles: int = 6
    """Of the CFE's recurrent unit."""
    corrections: int = 16
    """Of the SCM."""
    stages: int = 4
    """Of SpaR and SpeR."""
    scan: Literal["row", "cross"] = "row"
    """Order of tokens: along rows, or along rows and columns both ways."""
    features: FeatureKind = "both"
    """Table III: `cnn` has 3×3 convolutions for Mamba blocks, `mamba` 1×1 convolutions for 3×3 ones."""
    deep_mamba: bool = True
    """Table II: Mamba in the DFE."""
    change_mamba: bool = True
    """Table II: Mamba in the CFE."""
    super_resolution: Literal["both", "spatial", "spectral"] = "both"
    """Table IV: SpaR and SpeR, or one of them, which then gives Q, K and V of the FFM."""
    correction: bool = True
    """Table V: CFE and SCM."""
    share_cycles: bool = False
    """One set of weights for all cycles of the CFE."""
    share_corrections: bool = False
    """One convolution for all corrections of the SCM."""

    def __post_init__(self) -> None:
        for name in ("width", "states", "deep_blocks", "cycles", "corrections", "stages"):
            if getattr(self, name) < 1:
                raise RequestError(f"SSRFN's {name} is {getattr(self, name)}: it must be at least 1")
        choices = {
            "scan": ("row", "cross"),
            "features": ("both", "cnn", "mamba"),
            "super_resolution": ("both", "spatial", "spectral"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise RequestError(f"SSRFN's {name} is {getattr(self, name)!r}: choose one of {', '.join(known)}")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The configuration of a preset, with `changes` to its fields.

        Raises:
            RequestError: There is no such preset.
        """
        if name not in PRESETS:
            raise RequestError(f"SSRFN has no preset {name!r}: choose one of {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **changes})


@dataclass(frozen=True, kw_only=True)
class SSRFNConfig(SSRFNSettings):
    """The paper's network on the bands of one pair of sensors."""

    bands: int
    """C."""
    msi_bands: int
    """c."""


@dataclass(frozen=True, kw_only=True)
class SubspaceSSRFNConfig(SSRFNSettings):
    """The network on K coefficients with the scene's own imaging model."""

    subspace: int = 10
    """K."""


class SSRFNBody(nn.Module):
    """All modules between the inputs and Z: figure 1."""

    def __init__(self, settings: SSRFNSettings, hsi_channels: int, msi_channels: int, channels: int) -> None:
        """From the channels of both inputs to `channels` at the MSI's pixels."""
        super().__init__()
        width = settings.width
        blocks = Blocks(settings.features, settings.scan, settings.states)
        self.hsi_shallow = ShallowFeatures(hsi_channels, width, blocks)
        self.msi_shallow = ShallowFeatures(msi_channels, width, blocks)
        self.hsi_deep, self.msi_deep = (
            DeepFeatures(width, settings.deep_blocks, blocks, mamba=settings.deep_mamba) for _ in range(2)
        )
        self.change: ChangeFeatures | None = None
        self.correct: SpectralCorrection | None = None
        if settings.correction:
            self.change = ChangeFeatures(
                width, settings.cycles, blocks, mamba=settings.change_mamba, shared=settings.share_cycles
            )
            self.correct = SpectralCorrection(width, settings.corrections, blocks, shared=settings.share_corrections)
        kinds: dict[str, type[SpatialLocal | SpectralLocal]] = {"spatial": SpatialLocal, "spectral": SpectralLocal}
        self.super_resolution = nn.ModuleDict(
            {
                kind: SuperResolution(2 * width, settings.stages, blocks, local)
                for kind, local in kinds.items()
                if settings.super_resolution in {kind, "both"}
            }
        )
        self.fuse = FeatureFusion(2 * width, channels, blocks)

    def forward(self, hsi: Tensor, msi: Tensor, msi_low: Tensor, shifts: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Inputs (B, ·, h, w), (B, ·, H, W) and (B, ·, h, w) to Z (B, channels, H, W).

        `shifts`, (B, w, 1, 1) each, are added to the shallow features of the HSI and of the MSI.
        """
        hsi, msi, msi_low = (_by_pixel(part) for part in (hsi, msi, msi_low))
        to_hsi, to_msi = shifts if shifts is not None else (0.0, 0.0)
        hsi_feature = self.hsi_deep(self.hsi_shallow(hsi) + to_hsi)  # F_dh, equations 5 and 8
        msi_feature = self.msi_deep(self.msi_shallow(msi) + to_msi)  # F_dm, equations 6 and 8
        if self.change is not None and self.correct is not None:
            low_feature = self.msi_deep(self.msi_shallow(msi_low) + to_msi)  # F_dlm, equation 7
            msi_feature = self.correct(self.change(hsi_feature, low_feature), msi_feature)
        fine = upsample(hsi_feature, msi.shape[-1] // hsi.shape[-1], "bilinear")
        stacked = torch.cat([_by_pixel(fine), msi_feature], dim=1)
        resolved = [network(stacked) for network in self.super_resolution.values()]
        fused: Tensor = self.fuse(resolved[0], resolved[-1])
        return fused


def _by_pixel(image: Tensor) -> Tensor:
    """The same, laid out pixel by pixel: twice as fast for convolutions, and tokens lie as Mamba wants them."""
    return image.contiguous(memory_format=torch.channels_last)


class SSRFNNet(nn.Module):
    """The paper's network: Z of equation 21 out of the bands of both images."""

    def __init__(self, config: SSRFNConfig) -> None:
        """Build with new weights."""
        super().__init__()
        self.config = config
        self.body = SSRFNBody(config, config.bands, config.msi_bands, config.bands)

    @property
    def bytes_a_pixel(self) -> int:
        """Working memory by fine pixel, about: what the branches and a Mamba block of twice the width hold."""
        return 40 * 4 * 2 * self.config.width

    def forward(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse Y (B, C, h, w) and P (B, c, H, W), H and W the same whole multiple of h and w, to (B, C, H, W).

        Raises:
            RequestError: The sizes are no such multiples.
        """
        ratio = msi.shape[-1] // hsi.shape[-1]
        if msi.shape[-2:] != tuple(ratio * size for size in hsi.shape[-2:]):
            raise RequestError(
                f"SSRFN was given an HSI of {_size(hsi)} and an MSI of {_size(msi)} pixels: "
                "the MSI's size must be one whole multiple of the HSI's"
            )
        fused: Tensor = self.body(hsi, msi, F.avg_pool2d(msi, ratio))
        return fused


def _size(image: Tensor) -> str:
    return f"{image.shape[-1]}×{image.shape[-2]}"


class SubspaceSSRFNNet(nn.Module):
    """SSRFN on coefficients: a correction of the linear estimate, in units of the linear prediction's residual.

    The HSI's inputs are its coefficients and what B of the linear estimate leaves of them; the MSI's are what it
    leaves of the coefficients that the MSI predicts, the linear estimate, and how that differs from the upsampled
    HSI. Coefficients are in units of their spread, differences in units of the residual. The LR MSI is B of all
    the MSI's inputs. What the scene's condition says in numbers shifts both shallow features.
    """

    def __init__(self, config: SubspaceSSRFNConfig) -> None:
        """Build with new weights; the last layers start so that the output is the linear estimate."""
        super().__init__()
        self.config = config
        size = config.subspace
        self.condition = nn.Linear(4 * size, 2 * config.width)
        self.body = SSRFNBody(config, 2 * size, 3 * size, size)
        self.body.fuse.start_at_zero()

    def forward(self, inputs: SubspaceInputs, condition: SceneCondition) -> Tensor:
        """The coefficients (B, K, H, W) of X out of a batch of subspace inputs."""
        unit = condition.residual[:, :, None, None]
        # Differences of large numbers: in float32 also where the layers below compute in half precision
        with full_float32(inputs.initial.device):
            hsi, msi = _standardised(inputs, condition, unit)
            msi_low = condition.blur(msi)
        to_hsi, to_msi = self.condition(condition.scalars().flatten(1))[..., None, None].chunk(2, dim=1)
        correction = self.body(hsi, msi, msi_low, (to_hsi, to_msi))
        coefficients: Tensor = inputs.initial + unit * at_least_float32(correction)
        return coefficients


def _standardised(inputs: SubspaceInputs, condition: SceneCondition, unit: Tensor) -> tuple[Tensor, Tensor]:
    """The HSI's inputs (B, 2K, h, w) and the MSI's (B, 3K, H, W), of order one."""
    spread = condition.spread[:, :, None, None].clamp_min(1e-12)
    seen = torch.einsum("bkj,bjhw->bkhw", condition.mixing, inputs.initial)
    msi_error = inputs.msi - seen - condition.mixing_offset[:, :, None, None]
    hsi_error = inputs.hsi - condition.blur(inputs.initial)
    detail = inputs.initial - upsample(inputs.hsi, condition.blur.ratio, "bilinear")
    hsi = torch.cat([inputs.hsi / spread, hsi_error / unit], dim=1)
    msi = torch.cat([msi_error / unit, inputs.initial / spread, detail / unit], dim=1)
    return hsi.clamp(-20, 20), msi.clamp(-20, 20)
