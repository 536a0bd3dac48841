"""Training steps of the papers' networks at the papers' batches: time, memory, steps that were skipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gpu.bench import megabytes
from hsfuse.evaluation.cost import Cost
from hsfuse.models.mgdunlss import MGDuNLSSConfig, MGDuNLSSNet
from hsfuse.models.ssrfn import SSRFNConfig, SSRFNNet
from hsfuse.training.loop import Trainer, Validation
from hsfuse.training.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from gpu.bench import Bench
    from hsfuse.fusion.compute import Compute


@dataclass(frozen=True)
class Patches:
    """Noise to be made of noise: what a step costs does not depend on it."""

    device: torch.device
    """Where the network is."""

    bands: int
    """Of the HSI."""

    msi_bands: int
    """Of the MSI."""

    ratio: int
    """HSI pixel over MSI pixel."""

    edge: int
    """MSI pixels."""

    def draw(self, generator: np.random.Generator, batch: int, share: slice) -> Any:
        """HSI, MSI and truth, some of a batch."""
        low = self.edge // self.ratio
        sizes = (self.bands, low), (self.msi_bands, self.edge), (self.bands, self.edge)
        drawn = (generator.standard_normal((batch, bands, edge, edge), "float32")[share] for bands, edge in sizes)
        return tuple(map(torch.from_numpy, drawn))

    def loss(self, network: nn.Module, drawn: Any) -> Tensor:
        """Mean absolute error."""
        hsi, msi, truth = (part.to(self.device) for part in drawn)
        loss: Tensor = (network(hsi, msi).float() - truth).abs().mean()
        return loss

    def validate(self, network: nn.Module) -> Validation:  # noqa: ARG002 (the face of a task)
        """Nothing is judged."""
        return Validation(0.0, {})


@dataclass(frozen=True)
class Case:
    """What is trained."""

    name: str
    """In the table."""

    build: Callable[[], nn.Module]
    """Makes the network."""

    sizes: tuple[int, int, int, int]
    """Bands, MSI bands, ratio, edge in MSI pixels."""

    batch: int
    """Patches a step."""


CASES = [
    Case("SSRFN paper-unshared, 64²×100, batch 8",
         lambda: SSRFNNet(SSRFNConfig.preset("paper-unshared", bands=100, msi_bands=4)), (100, 4, 4, 64), 8),
    Case("MGDuNLSS Pavia Centre, 40²×93, batch 16",
         lambda: MGDuNLSSNet(MGDuNLSSConfig(bands=93, msi_bands=3, ratio=5)), (93, 3, 5, 40), 16),
    Case("MGDuNLSS Cuprite, 32²×188, batch 16",
         lambda: MGDuNLSSNet(MGDuNLSSConfig(bands=188, msi_bands=6, ratio=4)), (188, 6, 4, 32), 16),
]  # fmt: skip

TOY = [
    Case("SSRFN tiny, 16²×8, batch 2", lambda: SSRFNNet(SSRFNConfig.preset("tiny", bands=8, msi_bands=3)),
         (8, 3, 4, 16), 2),
]  # fmt: skip

_MOST_SKIPPED = 4  # of the first steps in half precision, while the loss's scale is found


def training(bench: Bench) -> None:
    """Each case in float32 and in fp16, by the project's own loop."""
    for case in bench.sized(CASES, TOY):
        for compute in bench.quick:
            what = f"{case.name}, {compute.precision}"
            if bench.enough(what, 10):
                with bench.attempt(what):
                    _train(bench, what, case, compute)


def _train(bench: Bench, what: str, case: Case, compute: Compute) -> None:
    steps = bench.sized(12, 2)
    torch.manual_seed(0)
    network, patches = case.build().to(bench.device), Patches(bench.device, *case.sizes)

    def trained(count: int) -> Trainer:
        schedule = Schedule(steps=count, batch=case.batch, validations=1)
        trainer = Trainer(network, patches, schedule, half=compute.half)
        trainer.run()
        return trainer

    with compute.products():
        trained(1)  # compiles
        with Cost(bench.device) as cost:
            measured = trained(steps)
    finite = all(bool(value.isfinite().all()) for value in network.state_dict().values())
    held, number = megabytes(cost.peak_device_memory_mb)
    taken = 1e3 * measured.elapsed / steps
    told = f"{taken:.0f} ms a step{held}, {measured.skipped} of {steps} steps skipped"
    good = finite and measured.skipped <= (_MOST_SKIPPED if compute.precision == "fp16" else 0)
    bench.judge(what, told, good=good, milliseconds=taken, skipped=measured.skipped, **number)
