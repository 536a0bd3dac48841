"""How fast the networks are on this machine: a megapixel of output, the share of each module, and each convolution.

    python examples/benchmarks/networks.py                              # all networks, 256² pixels
    python examples/benchmarks/networks.py ssrfn-base --edge 288        # one
    python examples/benchmarks/networks.py ssrfn-base --fuse 512        # `hsfuse fuse` of 512² pixels, 100 bands
    OMP_NUM_THREADS=1 python examples/benchmarks/networks.py mgdunlss --against ../before --edge 192

The networks run as `hsfuse fuse` runs them, on ten coefficients at ratio 4, with new weights: time does not depend on
those. The second table holds each convolution inside the network against the same alone, called again and again on the
same numbers. `--precision bf16` runs under autocast.

`--against` holds the networks of another checkout beside those of this one, in processes of their own that take turns:
the least CPU seconds of all rounds, by module, since machines are shared.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import torch
from affine import Affine
from torch import Tensor, nn

from hsfuse.commands.fuse import fuse
from hsfuse.fusion.compute import Compute
from hsfuse.fusion.memory import kept_memory, peak_megabytes
from hsfuse.imaging import BlurDecimate, PointSpread
from hsfuse.models import mamba
from hsfuse.models.mgdunlss import SubspaceMGDuNLSSConfig, SubspaceMGDuNLSSNet
from hsfuse.models.ssrfn import PRESETS, SubspaceSSRFNConfig, SubspaceSSRFNNet
from hsfuse.models.weights import WeightsCard, save_weights
from hsfuse.subspace.linear_model import SceneCondition, SubspaceInputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RATIO, SIZE = 4, 10

MODULES = {
    "shallow": "SFE", "deep": "DFE", "change": "CFE", "correct": "SCM",
    "spatial": "SpaR", "spectral": "SpeR", "fuse": "FFM",
}  # fmt: skip
"""Ends of the names of SSRFN's modules, and what the paper calls them."""

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


def build(name: str) -> SubspaceMGDuNLSSNet | SubspaceSSRFNNet:
    """A network with new weights."""
    torch.manual_seed(0)
    if name == "mgdunlss":
        return SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig()).eval()
    return SubspaceSSRFNNet(SubspaceSSRFNConfig.preset(name.removeprefix("ssrfn-"))).eval()


def make_case(edge: int) -> tuple[SubspaceInputs, SceneCondition]:
    """Random inputs of one tile of `edge`² output pixels."""
    low = edge // RATIO
    fine, coarse = (1, SIZE, low * RATIO, low * RATIO), (1, SIZE, low, low)
    ones = torch.ones(1, SIZE)
    blur = BlurDecimate(PointSpread.gaussian(RATIO, 1.0))
    condition = SceneCondition(torch.eye(SIZE)[None], torch.zeros(1, SIZE), ones, ones, ones, ones, blur)
    return SubspaceInputs(torch.randn(fine), torch.randn(fine), torch.randn(coarse)), condition


class Clock:
    """Seconds by name."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        """Start empty; `now` tells the time."""
        self.now = now
        self.seconds: dict[str, float] = defaultdict(float)
        self._started: dict[int, float] = {}

    def watch(self, module: nn.Module, name: str) -> None:
        """Count what a module's calls take."""
        module.register_forward_pre_hook(self._start)
        module.register_forward_hook(lambda module, _, __: self._stop(module, name))

    def _start(self, module: nn.Module, _: object) -> None:
        self._started[id(module)] = self.now()

    def _stop(self, module: nn.Module, name: str) -> None:
        self.seconds[name] += self.now() - self._started[id(module)]

    def around(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The function, counted."""

        def timed(*values: Any, **named: Any) -> Any:
            started = self.now()
            result = function(*values, **named)
            self.seconds[name] += self.now() - started
            return result

        return timed


@contextlib.contextmanager
def counted_scan(clock: Clock, name: str) -> Iterator[None]:
    """Count what the selective scan takes, which is a function and takes no hooks."""
    names = vars(mamba)
    scan = names["selective_scan"]
    names["selective_scan"] = clock.around(scan, name)
    try:
        yield
    finally:
        names["selective_scan"] = scan


def parts(network: nn.Module) -> dict[str, nn.Module]:
    """The modules whose shares are of interest, none inside another."""
    if isinstance(network, SubspaceMGDuNLSSNet):
        return {
            f"stage {stage + 1} {name}": part
            for stage, block in enumerate(network.fusion)
            for name, part in block.named_children()
        }
    assert isinstance(network, SubspaceSSRFNNet)
    body = dict(network.body.named_children())
    body |= {f"resolution_{name}": part for name, part in body.pop("super_resolution").named_children()}
    return body


def title(name: str) -> str:
    """SFE, DFE, … of a module's name; both images' and all of a kind count together."""
    return next((short for end, short in MODULES.items() if name.endswith(end)), name)


def best(work: Callable[[], Any], rounds: int) -> float:
    """Seconds of the fastest round."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


class ConvolutionBench:
    """Every kind of convolution in a network: how it does inside, and alone."""

    def __init__(self, network: nn.Module) -> None:
        """Watch all of them."""
        self.clock = Clock()
        self.calls: dict[str, list[tuple[Convolution, Tensor]]] = defaultdict(list)
        for module in network.modules():
            if isinstance(module, Convolution):
                module.register_forward_pre_hook(self._note)

    def _note(self, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(module, Convolution)
        kernel = "×".join(map(str, module.kernel_size))
        pixels = "×".join(map(str, given[0].shape[2:]))
        groups = ", by channel" if module.groups > 1 else ""
        name = f"{kernel}, {module.in_channels} → {module.out_channels}{groups}, {pixels}"
        if not self.calls[name]:
            self.calls[name].append((module, given[0]))
        self._time(module, name)

    def _time(self, module: nn.Module, name: str) -> None:
        started = time.perf_counter()

        def stop(*_: object) -> None:
            self.clock.seconds[name] += time.perf_counter() - started
            self.clock.seconds[f"{name} calls"] += 1
            handle.remove()

        handle = module.register_forward_hook(stop)

    def table(self, rounds: int) -> list[str]:
        """A line for every kind that takes at least a hundredth of all."""
        inside = dict(self.clock.seconds)
        total = sum(seconds for name, seconds in inside.items() if not name.endswith(" calls"))
        lines = []
        for name, calls in self.calls.items():
            module, given = calls[0]
            if inside[name] < 0.01 * total:
                continue
            count, seconds = inside[f"{name} calls"], inside[name]
            given = given.clone(memory_format=torch.preserve_format)
            alone = best(lambda module=module, given=given: module.forward(given), rounds)  # type: ignore[misc]
            flop = 2 * module.weight[0].numel() * module.out_channels * given[0, 0].numel()
            lines.append(
                f"| {name} | {count:.0f} | {1e3 * seconds / count:.2f} | {flop * count / seconds / 1e9:.0f} | "
                f"{flop / alone / 1e9:.0f} | {100 * alone * count / seconds:.0f} % |"
            )
        return lines


def measure(name: str, edge: int, rounds: int, half: torch.dtype | None) -> None:
    """Print both tables of one network."""
    network, case = build(name).requires_grad_(False), make_case(edge)
    clock = Clock()
    with torch.inference_mode(), torch.autocast("cpu", dtype=half or torch.bfloat16, enabled=half is not None):
        network(*case)  # compiles the scan
        total = best(lambda: network(*case), rounds)
        megapixels = case[0].initial[0, 0].numel() / 1e6
        for part_name, part in parts(network).items():
            clock.watch(part, title(part_name))
        with counted_scan(clock, "of which the selective scan"):
            watched = best(lambda: network(*case), 1)
        shares = dict(clock.seconds)
        bench = ConvolutionBench(network)
        network(*case)
        lines = bench.table(rounds)
    parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    print(
        f"\n{name}: {parameters:.2f} M parameters, {total:.2f} s for {edge}² pixels, {total / megapixels:.1f} s/Mpx\n"
    )
    print("| module | share |\n| --- | --- |")
    for part_name, seconds in sorted(shares.items(), key=lambda item: -item[1]):
        print(f"| {part_name} | {100 * seconds / watched:.1f} % |")
    print("\n| convolution | calls | ms inside | GFLOP/s inside | GFLOP/s alone | reached |")
    print("\n".join(["| --- | --- | --- | --- | --- | --- |", *lines]))


WHOLE = "the whole network"


def take_turns(name: str, edge: int, half: torch.dtype | None) -> None:
    """Run a network once for every line that comes in, and print the CPU seconds of its modules."""
    network, case, clock = build(name).requires_grad_(False), make_case(edge), Clock(time.process_time)
    for part_name, part in parts(network).items():
        clock.watch(part, title(part_name.split()[-1]))
    with (
        kept_memory(),
        torch.inference_mode(),
        torch.autocast("cpu", dtype=half or torch.bfloat16, enabled=half is not None),
    ):
        network(*case)  # compiles
        for _ in sys.stdin:
            clock.seconds.clear()
            clock.around(network, WHOLE)(*case)
            print(json.dumps(clock.seconds), flush=True)


def compare(name: str, before: Path, options: argparse.Namespace) -> None:
    """Print the CPU seconds of a network's modules in another checkout and in this one, in turns."""
    here = Path(__file__).parents[2]
    runs = [(before, "fp32"), (here, "fp32"), (here, "bf16")]
    command = [sys.executable, __file__, name, "--turns", "--edge", str(options.edge), "--precision"]
    workers = [
        subprocess.Popen(  # noqa: S603 (this very script)
            [*command, precision], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(folder.resolve())},
        )
        for folder, precision in runs
    ]  # fmt: skip
    best: list[dict[str, float]] = [{} for _ in workers]
    for _ in range(options.rounds):
        for worker, least in zip(workers, best, strict=True):
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
            for module, seconds in json.loads(worker.stdout.readline()).items():
                least[module] = min(seconds, least.get(module, seconds))
    for worker in workers:
        worker.communicate()
    print(f"\n{name}, {options.edge}² pixels, CPU seconds:\n")
    print("| module | before | now | ratio | now, bf16 | ratio |\n| --- | --- | --- | --- | --- | --- |")
    for module, seconds in sorted(best[0].items(), key=lambda item: -item[1]):
        now, half = (least[module] for least in best[1:])
        print(f"| {module} | {seconds:.3f} | {now:.3f} | {seconds / now:.2f} | {half:.3f} | {seconds / half:.2f} |")


def write_pair(folder: Path, edge: int, bands: int) -> None:
    """A pair of images of five smooth materials, four bands in the MSI."""
    generator = np.random.default_rng(0)
    spectra = generator.uniform(0.05, 0.6, (bands, 5)).astype(np.float32)
    coarse = torch.from_numpy(generator.random((1, 5, edge // 8, edge // 8), np.float32))
    share = nn.functional.interpolate(coarse, (edge, edge), mode="bicubic")[0].softmax(0).numpy()
    truth = np.einsum("ck,khw->chw", spectra, share)
    groups = np.array_split(np.arange(bands), 4)
    msi = np.stack([truth[group].mean(axis=0) for group in groups])
    hsi = truth.reshape(bands, edge // RATIO, RATIO, -1, RATIO).mean(axis=(2, 4))
    for name, image, pixel in (("hsi", hsi, 10.0 * RATIO), ("msi", msi, 10.0)):
        count, height, width = image.shape
        place = Affine(pixel, 0, 5e5, 0, -pixel, 5e6)
        profile = {"count": count, "height": height, "width": width, "dtype": "float32"}
        with rasterio.open(
            folder / f"{name}.tif", "w", driver="GTiff", crs="EPSG:32633", transform=place, **profile
        ) as file:
            file.write((image + generator.normal(0, 1e-3, image.shape)).astype(np.float32))


def measure_fuse(name: str, edge: int, bands: int, precision: str) -> None:
    """Print how long the whole command takes, files included, and how much of it is the scan."""
    clock, network = Clock(), build(name)
    model = "mgdunlss" if name == "mgdunlss" else "ssrfn"
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write_pair(folder, edge, bands)
        card = WeightsCard(model, f"{model}-subspace", asdict(network.config), "subspace", (RATIO,))
        save_weights(network.state_dict(), card, folder / "w.safetensors")
        with counted_scan(clock, "scan"):
            result = fuse(
                folder / "hsi.tif", folder / "msi.tif", folder / "out.tif", model=model,
                weights=str(folder / "w.safetensors"), psf="gaussian:1.0", srf="estimate",
                compute=Compute(precision=precision),
            )  # fmt: skip
    print(
        f"{name}: fuse of {result.width}×{result.height} pixels, {result.bands} bands, {result.precision}: "
        f"{result.seconds:.1f} s, {result.tiles} tiles of {result.tile} HSI pixels, the scan "
        f"{100 * clock.seconds['scan'] / result.seconds:.0f} %, {peak_megabytes():.0f} MB"
    )


def main() -> None:
    """Measure the networks asked for."""
    known = ("mgdunlss", *(f"ssrfn-{preset}" for preset in PRESETS if preset != "tiny"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"{', '.join(known)}")
    parser.add_argument("--edge", type=int, default=256, help="of a tile in output pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--fuse", type=int, metavar="EDGE", help="time the whole command on EDGE² pixels instead")
    parser.add_argument("--bands", type=int, default=100, help="of the HSI that is fused")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare with the networks of another one")
    parser.add_argument("--turns", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    half = torch.bfloat16 if options.precision == "bf16" else None
    if options.turns:
        take_turns(options.networks[0], options.edge, half)
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.precision}")
    chosen = options.networks or ["mgdunlss", "ssrfn-small", "ssrfn-base"]
    unknown = [name for name in chosen if name not in known]
    if unknown:
        parser.error(f"there is no network {unknown[0]}: choose among {', '.join(known)}")
    for name in chosen:
        if options.against:
            compare(name, options.against, options)
        elif options.fuse:
            measure_fuse(name, options.fuse, options.bands, options.precision)
        else:
            measure(name, options.edge, options.rounds, half)


if __name__ == "__main__":
    main()
