"""Fusing on a CUDA device: what overlaps changes no bit, little memory, a second card, and what the CPU gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import torch

import hsfuse
from hsfuse.fusion.card import free_card_bytes
from hsfuse.fusion.compute import Compute, forget_device_peak, peak_device_megabytes
from hsfuse.fusion.engine import ALONE
from hsfuse.fusion.line import Line
from hsfuse.fusion.methods import choose_method
from hsfuse.fusion.tile_work import TileWork
from hsfuse.fusion.tiles import TilePlan, Tiling
from hsfuse.fusion.transfer import lane_to
from hsfuse.stages import Stages

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hsfuse.fusion.tile_work import Computed
    from hsfuse.pairs.pair import Pair

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

CARD = "cuda"


@pytest.fixture
def pair(crops: list[tuple[Path, Path]]) -> Pair:
    hsi, msi = crops[0]
    return hsfuse.open_pair(hsi, msi, srf="sentinel-2a:B2,B3,B4,B8", psf="gaussian:1")


def work_of(pair: Pair, model: str, compute: Compute) -> TileWork:
    with compute.products():
        method = choose_method(model).method.fit(pair.patches, pair.imaging, compute=compute)
    return TileWork(method, compute)


def one_by_one(pair: Pair, work: TileWork, plan: TilePlan) -> list[Computed]:
    return [work(tile, pair.read(tile.window), Stages()) for tile in plan]


def fused(pair: Pair, output: Path, device: str, precision: str = "fp32") -> NDArray[np.float32]:
    result = hsfuse.fuse(
        pair, output, model="mgdunlss", compute=Compute(device, precision), tiling=Tiling(20, 6), overwrite=True
    )
    assert result.tiles > 2
    with rasterio.open(result.output) as file:
        image: NDArray[np.float32] = file.read().astype(np.float32)
    return image


def test_what_goes_to_a_card_comes_back_whole_however_much_is_under_way() -> None:
    lane, generator = lane_to(torch.device(CARD)), torch.Generator().manual_seed(0)
    images = [torch.randn(64, 256, 256, generator=generator) for _ in range(12)]
    leaving = []
    for image in images:
        (there,) = lane.bring(image)
        busy = there
        for _ in range(20):  # so that copies and the next work would overtake what did not wait
            busy = busy * 2 / 2
        leaving.append(lane.fetch(busy))
        del there, busy
    for image, left in zip(images, leaving, strict=True):
        left.wait_computed()
        (here,) = left.arrived()
        assert here.is_pinned()
        assert torch.equal(here, image)


@pytest.mark.parametrize(("model", "precision"), [("mgdunlss", "fp32"), ("mgdunlss", "fp16"), ("ssrfn", "fp16")])
def test_tiles_that_overlap_are_those_computed_one_by_one(pair: Pair, model: str, precision: str) -> None:
    work = work_of(pair, model, Compute(CARD, precision))
    area = pair.area
    plan = TilePlan.make(area.width, area.height, pair.ratio, tile=12, overlap=4, margin=2)
    assert len(plan) > 4
    alone = one_by_one(pair, work, plan)
    together = list(ALONE.computed(pair, work, list(plan), Line(), Stages()))
    for first, second in zip(alone, together, strict=True):
        assert first.tile.window == second.tile.window
        np.testing.assert_array_equal(first.layers[0], second.layers[0])


def test_the_card_gives_what_the_cpu_gives(pair: Pair, tmp_path: Path) -> None:
    expected = fused(pair, tmp_path / "cpu.tif", "cpu")
    spread = np.ptp(expected)
    for precision, limit in (("fp32", 1e-3), ("fp16", 5e-3), ("bf16", 2e-2)):
        found = fused(pair, tmp_path / "card.tif", CARD, precision)
        assert np.sqrt(np.square(found - expected).mean()) < limit * spread, precision


def test_a_card_with_little_memory_computes_in_quarters(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    device = torch.device(CARD)
    work = work_of(pair, "ssrfn", Compute(CARD, "fp32"))
    plan = TilePlan.make(pair.area.width, pair.area.height, pair.ratio, tile=100, overlap=4, margin=2)
    assert len(plan) == 1
    forget_device_peak(device)
    held = torch.cuda.memory_allocated(device)
    (whole,) = one_by_one(pair, work, plan)
    peak = torch.cuda.max_memory_allocated(device)
    forget_device_peak(device)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction((held + 0.7 * (peak - held)) / total, torch.cuda.current_device())
    try:
        (parts,) = one_by_one(pair, work, plan)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, torch.cuda.current_device())
    assert "in quarters" in caplog.text
    # attention and the scan see a quarter instead of the whole
    apart = np.sqrt(np.square(whole.layers[0] - parts.layers[0]).mean())
    assert apart < 5e-3 * np.ptp(whole.layers[0])


def test_a_run_tells_how_much_of_the_card_it_held(pair: Pair, tmp_path: Path) -> None:
    device = torch.device(CARD)
    forget_device_peak(device)
    result = hsfuse.fuse(pair, tmp_path / "out.tif", model="mgdunlss", compute=Compute(CARD))
    assert result.peak_device_memory_mb == peak_device_megabytes(device)
    assert result.peak_device_memory_mb
    free = free_card_bytes(device)
    assert free is not None
    assert 0 < free <= torch.cuda.get_device_properties(device).total_memory


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs a second CUDA device")
def test_a_second_card_gives_what_the_first_does(pair: Pair, tmp_path: Path) -> None:
    first, second = (fused(pair, tmp_path / f"{card}.tif", f"cuda:{card}", "fp16") for card in (0, 1))
    assert np.sqrt(np.square(first - second).mean()) < 1e-3 * np.ptp(first)
