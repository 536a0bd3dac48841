"""Train a small SSRFN on the example pair alone, for a minute, and see what it gains.

    python examples/training/ssrfn_example.py                    # on coefficients of the spectral subspace
    python examples/training/ssrfn_example.py --spectral full    # the paper's network, on the bands

Wald's protocol: the pair is degraded by its ratio, so that the HSI itself is the truth one level down. The network
trains on patches of the left three quarters; the table is of the right quarter, which it never saw. With
`--reference` (as examples/indian-pines/make.py writes it) also of the whole at full resolution.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import torch
from torch import nn

from hsfuse.imaging import ImagingModel, degrade_pair, upsample
from hsfuse.metrics import full_reference
from hsfuse.models.adapter import SceneAdapter, SubspaceInputs, TensorPatch
from hsfuse.models.ssrfn import PRESETS, SSRFNConfig, SSRFNNet, SubspaceSSRFNConfig, SubspaceSSRFNNet
from hsfuse.models.weights import WeightsCard, save_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

EXAMPLE = Path(__file__).parents[1] / "indian-pines"
PATCH = 8
"""HSI pixels."""
BATCH = 8


@dataclass(frozen=True)
class Level:
    """A pair with its truth."""

    hsi: Tensor
    """Y, (C, h, w)."""
    msi: Tensor
    """P, (c, r·h, r·w)."""
    truth: Tensor
    """X, (C, r·h, r·w)."""
    imaging: ImagingModel
    """R and B."""

    @property
    def ratio(self) -> int:
        """HSI pixel over MSI pixel."""
        return self.imaging.ratio

    def left(self, columns: int) -> Level:
        """The first HSI columns."""
        fine = columns * self.ratio
        return Level(self.hsi[..., :columns], self.msi[..., :fine], self.truth[..., :fine], self.imaging)

    def patch(self, row: int, column: int, turns: int) -> tuple[Tensor, Tensor, Tensor]:
        """Y, P and X under a patch, by quarter turns; the example's PSF is round, so R and B stay."""
        parts = []
        for image, scale in ((self.hsi, 1), (self.msi, self.ratio), (self.truth, self.ratio)):
            rows, columns = (slice(start * scale, (start + PATCH) * scale) for start in (row, column))
            parts.append(torch.rot90(image[:, rows, columns], turns, (1, 2)))
        return parts[0], parts[1], parts[2]

    def batch(self, generator: np.random.Generator) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Random patches."""
        last = np.array(self.hsi.shape[1:]) - PATCH
        places = generator.integers(0, last, (BATCH, 2), endpoint=True)
        return [self.patch(int(row), int(column), int(generator.integers(4))) for row, column in places]


class OnCoefficients(nn.Module):
    """`SubspaceSSRFNNet` and the scene's adapter: bands in, bands out."""

    def __init__(self, level: Level, preset: str) -> None:
        """Fit the adapter on the pair, never on its truth."""
        super().__init__()
        patch = TensorPatch.all_valid(level.hsi, level.msi)
        self.adapter = SceneAdapter.fit([patch], level.imaging)
        self.network = SubspaceSSRFNNet(SubspaceSSRFNConfig.preset(preset))

    def loss(self, patches: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        """Mean square error of the coefficients in units of the linear prediction's residual."""
        tiles = [self.adapter.inputs(hsi, msi) for hsi, msi, _ in patches]
        linear, msi, hsi = (torch.stack([getattr(tile, name) for tile in tiles]) for name in ("linear", "msi", "hsi"))
        truth = torch.stack([self.adapter.subspace.encode(truth) for *_, truth in patches])
        condition = self.adapter.condition()
        error = self.network(SubspaceInputs(linear, msi, hsi), condition) - truth
        mean: Tensor = (error / condition.residual[:, :, None, None]).square().mean()
        return mean

    def forward(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse Y (C, h, w) and P (c, H, W)."""
        inputs = self.adapter.inputs(hsi, msi)
        return self.adapter.decode(self.network(inputs.batched(), self.adapter.condition())[0], inputs, hsi)

    def linear(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """What the network starts from."""
        inputs = self.adapter.inputs(hsi, msi)
        return self.adapter.decode(inputs.linear, inputs, hsi)


class OnBands(nn.Module):
    """`SSRFNNet` on bands of mean 0 and spread 1."""

    def __init__(self, level: Level, preset: str) -> None:
        """Take the scale from the pair, never from its truth."""
        super().__init__()
        self.hsi_scale, self.msi_scale = (
            (image.mean((1, 2))[:, None, None], image.std((1, 2))[:, None, None]) for image in (level.hsi, level.msi)
        )
        self.network = SSRFNNet(SSRFNConfig.preset(preset, bands=len(level.hsi), msi_bands=len(level.msi)))

    def loss(self, patches: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        """Mean square error in units of each band's spread."""
        hsi, msi, truth = (torch.stack(parts) for parts in zip(*patches, strict=True))
        return ((self._fuse(hsi, msi) - truth) / self.hsi_scale[1]).square().mean()

    def forward(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse Y (C, h, w) and P (c, H, W)."""
        return self._fuse(hsi[None], msi[None])[0]

    def _fuse(self, hsi: Tensor, msi: Tensor) -> Tensor:
        (mean, spread), (msi_mean, msi_spread) = self.hsi_scale, self.msi_scale
        fused: Tensor = self.network((hsi - mean) / spread, (msi - msi_mean) / msi_spread)
        return fused * spread + mean


def read(path: Path) -> Tensor:
    """An image (C, H, W) in float32."""
    with rasterio.open(path) as source:
        return torch.from_numpy(source.read().astype(np.float32))


def one_level_down(hsi: Tensor, msi: Tensor, imaging: ImagingModel) -> Level:
    """The pair degraded by its ratio; its truth is the HSI."""
    pair = degrade_pair(hsi.numpy(), msi.numpy(), imaging)
    low, fine, truth = (torch.from_numpy(part) for part in (pair.hsi, pair.msi, pair.reference))
    return Level(low, fine, truth, pair.model)


def train(model: OnCoefficients | OnBands, level: Level, seconds: float, rate: float) -> int:
    """Adam as in the paper (β = 0.9, 0.99; MSE), at a higher rate since there is a minute only; returns the steps."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=(0.9, 0.99))
    generator = np.random.default_rng(0)
    started, steps = time.monotonic(), 0
    while (elapsed := time.monotonic() - started) < seconds:
        optimizer.param_groups[0]["lr"] = rate * (1 - elapsed / seconds)
        optimizer.zero_grad()
        model.loss(level.batch(generator)).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps += 1
    return steps


def score(name: str, fused: Tensor, truth: Tensor, ratio: int) -> str:
    """PSNR, SAM and ERGAS as a line."""
    found = full_reference(fused.numpy(), truth.numpy(), ratio=ratio, windows=False)
    return f"  {name:8} {found.psnr:6.2f} dB {found.sam:6.3f}° ERGAS {found.ergas:.3f}"


def compare(title: str, model: OnCoefficients | OnBands, level: Level, first: int = 0) -> None:
    """Print the scores right of HSI column `first`."""
    ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"bicubic": lambda hsi, _: upsample(hsi, level.ratio)}
    if isinstance(model, OnCoefficients):
        ways["linear"] = model.linear
    ways["ssrfn"] = model
    print(title)
    with torch.no_grad():
        for name, fuse in ways.items():
            start = first * level.ratio
            print(score(name, fuse(level.hsi, level.msi)[..., start:], level.truth[..., start:], level.ratio))


def card(model: OnCoefficients | OnBands, ratio: int, steps: int) -> WeightsCard:
    """What the weights file says of itself."""
    subspace = isinstance(model, OnCoefficients)
    return WeightsCard(
        model="ssrfn",
        architecture="ssrfn-subspace" if subspace else "ssrfn",
        config=asdict(model.network.config),
        spectral="subspace" if subspace else "full",
        ratios=(ratio,),
        trained_on=("the pair itself, one level down",),
        steps=steps,
    )


def main() -> None:
    """Train and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hsi", type=Path, default=EXAMPLE / "hsi.tif")
    parser.add_argument("--msi", type=Path, default=EXAMPLE / "msi.tif")
    parser.add_argument("--imaging", type=Path, default=EXAMPLE / "imaging.json")
    parser.add_argument("--reference", type=Path, help="the truth at full resolution")
    parser.add_argument("--spectral", choices=("subspace", "full"), default="subspace")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="tiny")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--save", type=Path, help="weights file to write, as fuse --model ssrfn --weights takes it")
    options = parser.parse_args()
    torch.manual_seed(0)
    hsi, msi, imaging = read(options.hsi), read(options.msi), ImagingModel.load(options.imaging)
    level = one_level_down(hsi, msi, imaging)
    border = level.hsi.shape[2] * 3 // 4
    build = OnCoefficients if options.spectral == "subspace" else OnBands
    model = build(level, options.preset)
    size = sum(parameter.numel() for parameter in model.parameters())
    steps = train(model, level.left(border), options.seconds, options.rate)
    print(f"{options.preset}, {size} parameters, {steps} steps of {BATCH} patches in {options.seconds:.0f} s")
    compare("one level down, the quarter that was held back:", model, level, first=border)
    if options.reference is not None:
        whole = Level(hsi, msi, read(options.reference), imaging)
        if isinstance(model, OnCoefficients):
            model.adapter = SceneAdapter.fit([TensorPatch.all_valid(hsi, msi)], imaging)
        compare("full resolution, the whole:", model, whole)
    if options.save is not None:
        save_weights(model.network.state_dict(), card(model, level.ratio, steps), options.save)


if __name__ == "__main__":
    main()
