"""Parameters and multiply-adds of every preset of the two networks, as a table.

    python examples/benchmarks/presets.py

Counted on 64 × 64 MSI pixels at ratio 4 with 100 and 4 bands, which is what SSRFN's paper is taken to have counted on.
Multiply-adds are those of convolutions, matrix products and attention. GFLOP take each of them as two, and add the
selective scan's 9 B L D N as mamba-ssm counts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hsfuse.models import ARCHITECTURES
from hsfuse.models.mamba import Mamba
from hsfuse.models.weights import bundled_weights
from hsfuse.training.start import PRESETS

if TYPE_CHECKING:
    from torch import Tensor, nn

BANDS, MSI_BANDS, RATIO, EDGE = 100, 4, 4, 64


def parameters(network: nn.Module) -> int:
    """How many there are."""
    return sum(parameter.numel() for parameter in network.parameters())


def operations(network: nn.Module, *inputs: Tensor) -> tuple[int, int]:
    """Multiply-adds of the layers, and operations of the scans."""
    scans: list[int] = []

    def add(block: Any, given: tuple[Tensor, ...], _: Tensor) -> None:
        batch, length, _ = given[0].shape
        scans.append(9 * batch * length * block.d_inner * block.d_state)

    hooks = [module.register_forward_hook(add) for module in network.modules() if isinstance(module, Mamba)]
    # The fused kernel of attention is not counted on the CPU; products of matrices are.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as layers:
        network(*inputs)
    for hook in hooks:
        hook.remove()
    return layers.get_total_flops() // 2, sum(scans)


def configuration(architecture: str, preset: str) -> Any:
    """Of a preset, for the bands above or for ten coefficients."""
    cls = ARCHITECTURES[architecture][0]
    if architecture.endswith("-subspace"):
        return cls.preset(preset)
    bands = {"bands": BANDS, "msi_bands": MSI_BANDS} | ({"ratio": RATIO} if architecture == "mgdunlss" else {})
    return cls.preset(preset, **bands)


def built(architecture: str, preset: str) -> nn.Module:
    """A network of a preset, for the bands above or for ten coefficients."""
    network: nn.Module = ARCHITECTURES[architecture][1](configuration(architecture, preset))
    return network.eval().requires_grad_(False)


def bundled_as(architecture: str, preset: str) -> str:
    """Name of the bundled weights of a preset, if there are some."""
    config = configuration(f"{architecture}-subspace", preset)
    files = [file for file in bundled_weights() if file.card.architecture == f"{architecture}-subspace"]
    return ", ".join(
        file.name for file in files if ARCHITECTURES[file.card.architecture][0](**file.card.config) == config
    )


def row(model: str, preset: str) -> str:
    """A line of the table."""
    # Without a scan nothing has to be computed to be counted.
    with torch.device("meta" if model == "mgdunlss" else "cpu"):
        on_bands = built(model, preset)
        low = EDGE // RATIO
        layers, scans = operations(on_bands, torch.randn(1, BANDS, low, low), torch.randn(1, MSI_BANDS, EDGE, EDGE))
    in_subspace = parameters(built(f"{model}-subspace", preset))
    flops = (2 * layers + scans) / 1e9
    return (
        f"| `{model}` | `{preset}` | {parameters(on_bands):,} | {layers / 1e9:.1f} | {flops:.1f} | {in_subspace:,} | "
        f"{bundled_as(model, preset)} |"
    )


def main() -> None:
    """Print the table."""
    print("| network | preset | parameters on bands | GMAC | GFLOP | parameters in the subspace | bundled |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for model, presets in PRESETS.items():
        for preset in presets:
            print(row(model, preset))


if __name__ == "__main__":
    main()
