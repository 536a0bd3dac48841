"""The networks: against float64 in every precision, their pace, and the papers' sizes."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeVar

import torch
from networks import make_case
from torch import Tensor, nn

from gpu.bench import computing, megabytes
from gpu.scenes import example
from hsfuse.classical import Bayes
from hsfuse.fusion.compute import to_device
from hsfuse.models.bands import BandNetwork  # noqa: TC001
from hsfuse.models.mgdunlss import MGDuNLSSConfig, MGDuNLSSNet
from hsfuse.models.ssrfn import SSRFNConfig, SSRFNNet, SubspaceSSRFNConfig, SubspaceSSRFNNet
from hsfuse.models.weights import bundled_weights

if TYPE_CHECKING:
    from gpu.bench import Bench
    from hsfuse.subspace.linear_model import SceneCondition, SubspaceInputs

_Numbers = TypeVar("_Numbers", "SubspaceInputs", "SceneCondition")

LIMITS = {"fp32": 1e-3, "tf32": 1e-2, "fp16": 2e-2, "bf16": 2e-1}
"""Of the error of a network's correction, over the correction (root mean squares)."""

EDGES = (192, 384, 768)
"""Of tiles, fine pixels."""


def subspace_networks(*, large: bool) -> dict[str, nn.Module]:
    """The bundled ones, and SSRFN's larger presets with new weights that do something."""
    found = {file.name: file.network() for file in bundled_weights()}
    for preset in ("base", "paper") if large else ():
        torch.manual_seed(0)
        network = SubspaceSSRFNNet(SubspaceSSRFNConfig.preset(preset)).eval()
        for parameter in network.parameters():
            if not parameter.any():  # the last layers begin at zero
                nn.init.normal_(parameter, std=0.02)
        found[f"ssrfn, preset {preset}"] = network
    return {name: network.requires_grad_(False) for name, network in found.items()}


def in_float64(numbers: _Numbers) -> _Numbers:
    """The same with tensors in float64."""
    return replace(
        numbers,
        **{
            entry.name: value.double()
            for entry in fields(numbers)
            if isinstance(value := getattr(numbers, entry.name), Tensor)
        },
    )


def exactness(bench: Bench) -> None:
    """Each network's correction of the Bayesian estimate of a real scene, in every precision, against float64."""
    pair = example()
    estimate = Bayes.fit(pair.patches, pair.imaging, fewest=10)
    middle = pair.patches[0].middle(bench.sized(16, 8))
    inputs = estimate.inputs(middle.hsi, middle.msi).batched().leading(10)
    condition = estimate.linear_model.condition().leading(10)
    for name, network in subspace_networks(large=not bench.toy).items():
        if not bench.enough(name, 25 if name.endswith("paper") else 8):  # in float64 on the CPU
            continue
        with bench.attempt(name):
            with torch.inference_mode():
                truth = network.double()(in_float64(inputs), in_float64(condition))
            change = (truth - inputs.initial).square().mean().sqrt()
            network.float().to(bench.device)
            # a module within would be moved itself, and be missed on the CPU by the next network
            given, known = to_device(inputs, bench.device), to_device(copy.deepcopy(condition), bench.device)
            for compute in bench.computes:
                with bench.attempt(f"{name} {compute.precision}"):
                    with computing(compute):
                        found = network(given, known).double().cpu()
                    error = float((found - truth).square().mean().sqrt() / change)
                    good = error < LIMITS[compute.precision]
                    told = f"{error:.1e} of the correction"
                    bench.judge(f"{name} {compute.precision}", told, good=good, error=error)


def pace(bench: Bench) -> None:
    """Seconds a megapixel and memory by the edge of a tile."""
    for name, network in subspace_networks(large=not bench.toy).items():
        network.to(bench.device)
        for edge in bench.sized(EDGES, (32,)):
            inputs, condition = (to_device(part, bench.device) for part in make_case(edge))
            for compute in bench.quick:
                what = f"{name} {edge}² {compute.precision}"
                if bench.enough(what, 5):
                    with bench.attempt(what), computing(compute):
                        _time(bench, what, network, (inputs, condition), edge)
        network.cpu()


def _time(bench: Bench, what: str, network: nn.Module, given: tuple[object, ...], edge: int, than: str = "") -> None:
    taken = bench.milliseconds(lambda: network(*given), rounds=5, warm=2)
    held, number = megabytes(bench.added_megabytes(lambda: network(*given)))
    if number:
        held += f", {number['megabytes'] * 2**20 / edge**2:.0f} bytes a pixel"
    pace = 1e3 * taken / edge**2
    bench.tell(what, f"{taken:.1f} ms, {pace:.2f} s/Mpx{held}{than}", milliseconds=taken, **number)


@dataclass(frozen=True)
class PaperSize:
    """What a paper timed."""

    scene: str
    """Whose size it is."""

    network: BandNetwork
    """On its bands."""

    bands: int
    """Of the HSI."""

    msi_bands: int
    """Of the MSI."""

    ratio: int
    """HSI pixel over MSI pixel."""

    edge: int
    """MSI pixels."""

    told: str
    """By the paper."""


KHADER = "paper {} s on an RTX 3090"
"""Khader et al. 2023, table VII."""

ZHAO = "paper 35 s a test of unstated size on an RTX 4090 D"
"""Zhao et al. 2024, table VI (0.59 min)."""


def _papers_sizes() -> list[PaperSize]:
    sizes = [
        PaperSize(scene, MGDuNLSSNet(MGDuNLSSConfig(bands=bands, msi_bands=msi_bands, ratio=ratio)), bands, msi_bands,
                  ratio, edge, KHADER.format(seconds))
        for scene, bands, msi_bands, ratio, edge, seconds in (
            ("Pavia Centre", 93, 3, 5, 250, 0.901),
            ("Chikusei", 128, 3, 8, 512, 1.337),
            ("Cuprite", 188, 6, 4, 256, 1.156),
        )
    ]  # fmt: skip
    for preset in ("paper-unshared", "paper", "base"):
        network = SSRFNNet(SSRFNConfig.preset(preset, bands=100, msi_bands=4))
        sizes.append(PaperSize(f"512²×100, preset {preset}", network, 100, 4, 4, 512, ZHAO))
    return sizes


def papers(bench: Bench) -> None:
    """The papers' own networks on images of the papers' sizes."""
    small = MGDuNLSSNet(MGDuNLSSConfig(bands=9, msi_bands=3, ratio=4))
    for size in bench.sized(_papers_sizes, lambda: [PaperSize("toy", small, 9, 3, 4, 24, "no paper")])():
        network = size.network.eval().requires_grad_(False).to(bench.device)
        low = size.edge // size.ratio
        given = (
            torch.rand(1, size.bands, low, low, device=bench.device),
            torch.rand(1, size.msi_bands, low * size.ratio, low * size.ratio, device=bench.device),
        )
        for compute in bench.quick:
            what = f"{type(network).__name__.removesuffix('Net')} {size.scene} {compute.precision}"
            if bench.enough(what, 5):
                with bench.attempt(what), computing(compute):
                    _time(bench, what, network, given, size.edge, f"; {size.told}")
        network.cpu()
