"""The modules of SSRFN (Zhao et al. 2024): SFE, DFE, CFE, SCM, SpaR, SpeR and FFM, equations 5–21.

Every feature is an image (B, w, H, W). Nothing knows H, W or the ratio: all are read off the tensors.

Settled for all modules, where the paper is silent:

- Mamba(u) in an equation is u plus the Mamba block of u normalised over its channels, as in every published
  Mamba network: the block itself has no residual.
- 3×3 convolutions are padded with zeros, have a bias, and start with variance-preserving normal weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn import functional as F

from hsfuse.imaging import upsample
from hsfuse.models.mamba import Mamba
from hsfuse.models.precision import at_least_float32
from hsfuse.models.recomputing import Staged

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

FeatureKind = Literal["both", "cnn", "mamba"]
"""What extracts features: convolutions and Mamba, or (Table III) only one of them."""


class Blocks:
    """Builds what the modules are made of, so that one place knows the state, the scan and the ablation."""

    def __init__(self, features: FeatureKind, scan: Literal["row", "cross"], states: int) -> None:
        """See `hsfuse.models.ssrfn.SSRFNSettings` for the three."""
        self.features, self.scan, self.states = features, scan, states

    def convolution(self, width_in: int, width_out: int, *, bias: bool = True) -> nn.Conv2d:
        """A 3×3 convolution; 1×1 without CNN."""
        size = 1 if self.features == "mamba" else 3
        layer = nn.Conv2d(width_in, width_out, size, padding=size // 2, bias=bias)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        return layer

    def mixer(self, width: int) -> GlobalFeatures:
        """Mamba(·) of the equations; a 3×3 convolution in its place without Mamba."""
        if self.features == "cnn":
            return GlobalFeatures(width, self.convolution(width, width))
        return GlobalFeatures(width, ImageMamba(width, self.states, cross=self.scan == "cross"))


class ImageMamba(nn.Module):
    """A Mamba block whose tokens are the pixels of an image: states 64, convolution width 4, expansion 2.

    Settled: tokens in row-major order, one direction. With `cross` the one block reads them along rows and along
    columns, both ways, and the four outputs are averaged.
    """

    def __init__(self, width: int, states: int = 64, *, cross: bool = False) -> None:
        """For `width` channels."""
        super().__init__()
        self.mamba = Mamba(width, d_state=states, d_conv=4, expand=2)
        self.cross = cross

    def forward(self, tokens: Tensor, rows: int) -> Tensor:
        """(B, L, w) in and out, L = `rows` times columns in row-major order."""
        if not self.cross:
            mixed: Tensor = self.mamba(tokens)
            return mixed
        both = (self._both_ways(tokens), _turned(self._both_ways(_turned(tokens, rows)), tokens.shape[1] // rows))
        return (both[0] + both[1]) / 4

    def _both_ways(self, tokens: Tensor) -> Tensor:
        backwards: Tensor = self.mamba(tokens.flip(1))
        forwards: Tensor = self.mamba(tokens)
        return forwards + backwards.flip(1)


def _turned(tokens: Tensor, rows: int) -> Tensor:
    """Row-major tokens (B, rows·columns, w) in column-major order."""
    return tokens.reshape(len(tokens), rows, -1, tokens.shape[2]).transpose(1, 2).flatten(1, 2)


class GlobalFeatures(nn.Module):
    """u + block(LayerNorm(u)): what the equations write Mamba(u)."""

    def __init__(self, width: int, block: nn.Module) -> None:
        """`block` is an `ImageMamba` or a convolution."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.block = block

    def forward(self, image: Tensor) -> Tensor:
        """(B, w, H, W) in and out."""
        # (B, w, H, W) -> (B, L, w); statistics in float32 at least, also under autocast
        tokens = image.flatten(2).transpose(1, 2)
        norm = self.norm
        tokens = F.layer_norm(at_least_float32(tokens), norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        if isinstance(self.block, ImageMamba):
            mixed = self.block(tokens, image.shape[2]).transpose(1, 2).reshape(image.shape)
        else:
            mixed = self.block(tokens.transpose(1, 2).reshape(image.shape))
        result: Tensor = image + mixed
        return result


class ShallowFeatures(nn.Module):
    """SFE, equations 5–7: four 3×3 convolutions with skips.

    Settled: two residual pairs with a ReLU inside; the first skip is a 1×1 projection, since channels differ.
    """

    def __init__(self, channels: int, width: int, blocks: Blocks) -> None:
        """From the image's channels to the network's width."""
        super().__init__()
        self.project = nn.Conv2d(channels, width, 1)
        self.first = nn.ModuleList([blocks.convolution(channels, width), blocks.convolution(width, width)])
        self.second = nn.ModuleList([blocks.convolution(width, width), blocks.convolution(width, width)])

    def forward(self, image: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, w, H, W)."""
        feature = self.first[1](F.relu(self.first[0](image))) + self.project(image)
        shallow: Tensor = feature + self.second[1](F.relu(self.second[0](feature)))
        return shallow


class DeepBlock(nn.Module):
    """Equation 8: Conv₃(Conv₂(Conv₁(u)) + Mamba(u)), a ReLU after Conv₁ (settled)."""

    def __init__(self, width: int, blocks: Blocks, *, mamba: bool) -> None:
        """Without `mamba` (Table II) Mamba(u) is u."""
        super().__init__()
        self.convolutions = nn.ModuleList(blocks.convolution(width, width) for _ in range(3))
        self.mixer = blocks.mixer(width) if mamba else nn.Identity()
        with torch.no_grad():  # it is given a sum of two
            third = self.convolutions[2]
            assert isinstance(third, nn.Conv2d)
            third.weight.mul_(0.5**0.5)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, w, H, W) in and out."""
        first, second, third = self.convolutions
        deep: Tensor = third(second(F.relu(first(feature))) + self.mixer(feature))
        return deep


class DeepFeatures(Staged, nn.Sequential):
    """DFE: five blocks of equation 8."""

    def __init__(self, width: int, count: int, blocks: Blocks, *, mamba: bool) -> None:
        """`count` blocks."""
        super().__init__(*(DeepBlock(width, blocks, mamba=mamba) for _ in range(count)))

    def forward(self, feature: Tensor) -> Tensor:
        """(B, w, H, W) in and out."""
        for block in self:
            feature = self.stage(block, feature)
        return feature


class ChangeCycle(nn.Module):
    """One cycle of the CFE, a convolutional GRU: equations 9–12.

    Settled: the input T is convolved (⊗, where equation 9 prints ⊙); D of equation 10 is the update gate O;
    Mamba stands inside the tanh of equation 11, global features of the convolutions' local ones, so that the
    state stays within ±1; equation 12 as printed collapses to H̃, so it is O ⊙ H̃ + (1 − O) ⊙ H.
    """

    def __init__(self, width: int, blocks: Blocks, *, mamba: bool) -> None:
        """Without `mamba` (Table II) it is the convolutional GRU alone."""
        super().__init__()
        # P, O and H̃ read T by one convolution, P and O read H by one: w_xp, w_xq, w_xh; w_hp, w_hq; w_hh
        self.from_input = blocks.convolution(2 * width, 3 * width)
        self.from_state = blocks.convolution(width, 2 * width, bias=False)
        self.from_kept_state = blocks.convolution(width, width, bias=False)
        self.mixer = blocks.mixer(width) if mamba else nn.Identity()

    def forward(self, features: Tensor, state: Tensor) -> Tensor:
        """T (B, 2w, h, w) and H (B, w, h, w) to the next H."""
        reset_in, update_in, candidate_in = self.from_input(features).chunk(3, dim=1)
        reset_state, update_state = self.from_state(state).chunk(2, dim=1)
        reset = torch.sigmoid(reset_in + reset_state)  # equation 9
        update = torch.sigmoid(update_in + update_state)  # equation 10
        candidate = torch.tanh(self.mixer(candidate_in + self.from_kept_state(reset * state)))  # equation 11
        return update * candidate + (1 - update) * state  # equation 12


class ChangeFeatures(Staged):
    """CFE: six cycles over the stacked low-resolution features T = [F_dh, F_dlm]; the last state is E.

    Open: the text's "cyclic GRU" has one set of weights for all cycles, `shared`; the equations' superscripts i can be
    read as weights of each cycle's own. Settled: the state starts at zero.
    """

    def __init__(self, width: int, cycles: int, blocks: Blocks, *, mamba: bool, shared: bool = False) -> None:
        """`cycles` of `ChangeCycle`."""
        super().__init__()
        self.count = cycles
        self.cycles = nn.ModuleList(ChangeCycle(width, blocks, mamba=mamba) for _ in range(1 if shared else cycles))

    def forward(self, hsi_feature: Tensor, msi_feature: Tensor) -> Tensor:
        """F_dh and F_dlm (B, w, h, w) to E of the same shape."""
        features = torch.cat([hsi_feature, msi_feature], dim=1)
        state = torch.zeros_like(hsi_feature)
        for index in range(self.count):
            state = self.stage(self.cycles[index % len(self.cycles)], features, state)
        return state


class SpectralCorrection(Staged):
    """SCM, equation 13: sixteen times Conv(σ(E) ⊙ (v ⊙ F_dm) + F_dm), v the previous output.

    Settled: E is upsampled bilinearly to the MSI's pixels; F_dm is the module's input at every correction and v
    carries the recurrence; v starts as ones, and an output passes a tanh to become v, so that the products of
    sixteen corrections cannot run away. Open: "identical correction operations" are one convolution, `shared`, or
    alike with one each.
    """

    def __init__(self, width: int, corrections: int, blocks: Blocks, *, shared: bool = False) -> None:
        """`corrections` convolutions, or one applied so many times."""
        super().__init__()
        self.count = corrections
        self.corrections = nn.ModuleList(blocks.convolution(width, width) for _ in range(1 if shared else corrections))

    def forward(self, change: Tensor, feature: Tensor) -> Tensor:
        """E (B, w, h, w) and F_dm (B, w, H, W) to F_dm^op (B, w, H, W)."""
        gate = torch.sigmoid(upsample(change, feature.shape[-1] // change.shape[-1], "bilinear"))
        gated = gate * feature
        corrected: Tensor = self.corrections[0](gated + feature)  # v = 1
        for index in range(1, self.count):
            convolution = self.corrections[index % len(self.corrections)]
            corrected = self.stage(_corrected_again, convolution, feature, gated, corrected)
        return corrected


def _corrected_again(convolution: nn.Module, feature: Tensor, gated: Tensor, corrected: Tensor) -> Tensor:
    again: Tensor = convolution(torch.addcmul(feature, gated, torch.tanh(corrected)))
    return again


class SpatialLocal(nn.Module):
    """The 3×3×1 convolution of SpaR: one spatial filter for all channels (a 3-D convolution of one feature).

    Settled: it starts as the identity, from which ten numbers have to find their way.
    """

    def __init__(self, size: int) -> None:
        """`size` is 3, or 1 without CNN."""
        super().__init__()
        self.layer = nn.Conv2d(1, 1, size, padding=size // 2)
        _start_as_identity(self.layer)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, n, H, W) in and out."""
        channels = feature.shape[1]
        # A convolution of each channel by the same weights: a true 3-D one of one feature is ten times slower.
        weight, bias = self.layer.weight.expand(channels, -1, -1, -1), self.layer.bias
        assert bias is not None
        return F.conv2d(feature, weight, bias.expand(channels), padding=weight.shape[2] // 2, groups=channels)


class SpectralLocal(nn.Module):
    """The 1×1×3 convolution of SpeR: one filter of three taps over the channel axis.

    Settled: it starts as the identity.
    """

    def __init__(self, size: int) -> None:
        """`size` is 3, or 1 without CNN."""
        super().__init__()
        self.layer = nn.Conv1d(1, 1, size, padding=size // 2)
        _start_as_identity(self.layer)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, n, H, W) in and out."""
        taps, channels = self.layer.weight[0, 0], feature.shape[1]
        reach = len(taps) // 2
        padded = F.pad(feature, (0, 0, 0, 0, reach, reach))
        assert self.layer.bias is not None
        filtered = torch.addcmul(self.layer.bias.to(feature.dtype), padded[:, :channels], taps[0].to(feature.dtype))
        for shift in range(1, len(taps)):  # at most two more
            filtered = torch.addcmul(filtered, padded[:, shift : shift + channels], taps[shift].to(feature.dtype))
        return filtered


def _start_as_identity(layer: nn.Conv1d | nn.Conv2d) -> None:
    nn.init.dirac_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


class SuperResolution(Staged):
    """SpaR or SpeR, equations 14–17, over the stacked features [F_dh, F_dm^op].

    Four stages of local and global features, each gated by the other's sigmoid; a 1×1×1 convolution of the two
    features ends it. Settled: a stage's local and global features are the next stage's inputs; F_dh comes
    upsampled bilinearly; without CNN or without Mamba the other branch is alone and nothing is gated.
    """

    def __init__(
        self, width: int, stages: int, blocks: Blocks, local: Callable[[int], SpatialLocal | SpectralLocal]
    ) -> None:
        """For `width` stacked channels; `local` builds the convolution that tells SpaR from SpeR."""
        super().__init__()
        size = 1 if blocks.features == "mamba" else 3
        self.local = nn.ModuleList(local(size) for _ in range(stages))
        self.mixers = nn.ModuleList(blocks.mixer(width) for _ in range(stages))
        self.combine = nn.Parameter(torch.tensor([0.5, 0.5]))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """(B, 2w, H, W) in and out."""
        local = mixed = features
        for convolution, mixer in zip(self.local, self.mixers, strict=True):
            local, mixed = self.stage(_interacting, convolution, mixer, local, mixed)
        return self.combine[0] * local + self.combine[1] * mixed + self.bias


def _interacting(convolution: nn.Module, mixer: nn.Module, local: Tensor, mixed: Tensor) -> tuple[Tensor, Tensor]:
    local, mixed = convolution(local), mixer(mixed)  # equations 14, 15
    return (
        torch.addcmul(local, torch.sigmoid(local), mixed),  # equation 16
        torch.addcmul(mixed, torch.sigmoid(mixed), local),  # equation 17
    )


class FeatureFusion(Staged):
    """FFM, equations 18–21: cross-attention of F_spa and F_spe, then the same on F_hrhsi down to the output.

    Settled: softmax over channels, in float32; equation 20 prints F_spa and F_spe, the text says F_hrhsi, which
    it is; each of its three branches is a Mamba and a 1×1 convolution to the output's channels.
    """

    def __init__(self, width: int, channels: int, blocks: Blocks) -> None:
        """From `width` (twice the network's) to the output's `channels`."""
        super().__init__()
        self.query, self.key, self.value = (blocks.mixer(width) for _ in range(3))
        self.to_a, self.to_b, self.to_d = (
            nn.Sequential(blocks.mixer(width), nn.Conv2d(width, channels, 1)) for _ in range(3)
        )

    def start_at_zero(self) -> None:
        """Make the output zero whatever comes in, with gradients that lead away from there."""
        for branch in (self.to_a, self.to_d):
            projection = branch[1]
            assert isinstance(projection, nn.Conv2d)
            assert projection.bias is not None
            nn.init.zeros_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(self, spatial: Tensor, spectral: Tensor) -> Tensor:
        """F_spa and F_spe (B, 2w, H, W) to Z (B, channels, H, W)."""
        fused = self.stage(_attended, self.query, self.key, self.value, spatial, spectral)  # equations 18, 19
        result: Tensor = self.stage(_attended, self.to_a, self.to_b, self.to_d, fused, fused)  # equations 20, 21
        return result


def _attended(query: nn.Module, key: nn.Module, value: nn.Module, spatial: Tensor, spectral: Tensor) -> Tensor:
    return attend_unlike(query(spatial), key(spatial), value(spectral))


def attend_unlike(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(1 − softmax(K ⊙ V)) ⊙ Q + V, equations 19 and 21; softmax over channels."""
    alike = torch.softmax(at_least_float32(key * value), dim=1).to(query.dtype)
    return torch.addcmul(value, 1 - alike, query)
