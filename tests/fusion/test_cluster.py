"""Tiles on a Dask cluster of two processes: the same bytes, also where one of them is killed midway."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from distributed import LocalCluster
from rasterio.crs import CRS

import hsfuse
from hsfuse.errors import RequestError, WorkError
from hsfuse.fusion import cluster as home
from hsfuse.fusion.compute import CPU
from hsfuse.fusion.engine import fuse_tiles
from hsfuse.fusion.tile_work import TileWork
from hsfuse.fusion.tiles import TilePlan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as found:
        yield found


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    fine = rng.uniform(0.2, 1, (6, 8, 6))
    fine = np.kron(fine, np.ones((1, 12, 12))) * rng.uniform(0.8, 1.2, (96, 72))
    coarse = fine.reshape(6, 32, 3, 24, 3).mean((2, 4))
    for name, image, size in (("hsi.tif", coarse, 30), ("msi.tif", fine[::2], 10)):
        with rasterio.open(
            tmp_path / name, "w", driver="GTiff", width=image.shape[2], height=image.shape[1], count=len(image),
            dtype="uint16", crs=CRS.from_epsg(32633), transform=rasterio.Affine(size, 0, 5e5, 0, -size, 5e6),
        ) as dataset:  # fmt: skip
            dataset.write((image * 1000).astype("uint16"))
            for band in range(1, len(image) + 1):
                dataset.update_tags(band, wavelength=str(400 + 900 // len(image) * band), wavelength_units="nm")
    table = tmp_path / "srf.csv"
    table.write_text("nm,a,b,c\n400,1,0,0\n600,1,0,0\n700,0,1,0\n900,0,1,0\n1000,0,0,1\n1400,0,0,1\n")
    return {
        "srf": str(table), "psf": "gaussian:1", "model": "mtf-glp", "tiling": hsfuse.Tiling(12, 4),
        "form": hsfuse.OutputFormat(creation_options={"BLOCKSIZE": "64"}),
    }  # fmt: skip


def test_the_same_bytes_also_where_a_worker_is_killed(
    pair: dict[str, Any], cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are relative, and the workers are elsewhere."""
    monkeypatch.chdir(tmp_path)
    hsfuse.fuse("hsi.tif", "msi.tif", "alone.tif", **pair)
    hsfuse.fuse("hsi.tif", "msi.tif", "together.tif", dask=cluster.scheduler_address, **pair)
    assert (tmp_path / "together.tif").read_bytes() == (tmp_path / "alone.tif").read_bytes()
    honest, taken = home.Cluster._result, []

    def result(self: Any, *arguments: Any) -> Any:
        taken.append(1)
        if len(taken) == 3:
            os.kill(next(iter(cluster.workers.values())).process.pid, signal.SIGKILL)
        return honest(self, *arguments)

    monkeypatch.setattr(home.Cluster, "_result", result)
    made = hsfuse.fuse("hsi.tif", "msi.tif", "killed.tif", dask=cluster.scheduler_address, **pair)
    assert made.tiles > 6
    assert (tmp_path / "killed.tif").read_bytes() == (tmp_path / "alone.tif").read_bytes()


def test_what_fails_on_a_worker_is_told_here(cluster: LocalCluster) -> None:
    class Gone:
        def read(self, window: hsfuse.PixelWindow) -> Any:
            raise WorkError(f"gone.tif breaks off at row {window.row}")

    class Sink:
        def write(self, *_: Any) -> None:
            raise AssertionError

    plan = TilePlan.make(40, 40, 3, tile=20, overlap=4, margin=2)
    work = TileWork(None, CPU)  # type: ignore[arg-type]
    with (
        home.Cluster(cluster.scheduler_address) as crew,
        pytest.raises(WorkError, match=r"gone\.tif breaks off at row 0"),
    ):
        fuse_tiles(Gone(), work, plan, [Sink()], bands=3, progress=hsfuse.SILENT, crew=crew)


def test_what_no_cluster_can_do_is_said(pair: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(home, "_CONNECT_SECONDS", 0.5)
    for address in ("tcp://127.0.0.1:9", "nowhere", "none.json"):
        with pytest.raises(RequestError, match="no Dask scheduler answers at"):
            hsfuse.fuse("hsi.tif", "msi.tif", "out.tif", dask=address, **pair)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=None) as empty,
        pytest.raises(WorkError, match="has no workers"),
    ):
        hsfuse.fuse("hsi.tif", "msi.tif", "out.tif", dask=empty.scheduler_address, **pair)
    assert not list(tmp_path.glob("*out*"))
