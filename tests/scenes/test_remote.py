"""Scenes on a server, in archives, and in archives on a server."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import hsfuse
from hsfuse.errors import SceneError, WorkError
from hsfuse.scenes import PixelWindow, Scene
from hsfuse.scenes.remote import is_remote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import WriteRaster

CUBE = np.random.default_rng(0).integers(1, 255, (4, 2048, 2048)).astype(np.uint8)
TILED = {"tiled": True, "blockxsize": 128, "blockysize": 128}


class Server:
    """The server, and what it was asked for."""

    def __init__(self, address: str) -> None:
        self.address = address

    def asked(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.address}/log") as answer:  # noqa: S310 (the server above)
            lines: list[dict[str, Any]] = json.loads(answer.read())
        return lines


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    words = [sys.executable, str(Path(__file__).with_name("range_server.py")), str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Server(f"http://127.0.0.1:{process.stdout.readline().strip()}")
        process.kill()


@pytest.mark.parametrize("prefix", ["", "/vsicurl/"])
def test_a_window_does_not_fetch_the_file_and_opening_asks_for_no_sidecars(
    server: Server, write_raster: WriteRaster, prefix: str
) -> None:
    size = write_raster("scene.tif", CUBE, **TILED).stat().st_size
    scene = Scene.open(f"{prefix}{server.address}/scene.tif")
    opened = server.asked()
    assert {line["path"] for line in opened} == {"/scene.tif"}
    assert sum(line["bytes"] for line in opened) < size / 2  # a sample from corner to corner
    block = scene.read(PixelWindow(700, 900, 24, 24))
    np.testing.assert_array_equal(block.values, CUBE[:, 900:924, 700:724])
    assert sum(line["bytes"] for line in server.asked()) < size / 20


def test_a_busy_server_is_asked_again(server: Server, write_raster: WriteRaster) -> None:
    write_raster("scene.tif", CUBE[:, :64, :64])
    scene = Scene.open(f"{server.address}/busy/scene.tif")
    np.testing.assert_array_equal(scene.read(scene.grid.window).values, CUBE[:, :64, :64])


def test_what_cannot_be_fetched_is_one_sentence(server: Server, write_raster: WriteRaster) -> None:
    with pytest.raises(SceneError, match=r"no\.tif: cannot be fetched \(the server answers 404\)"):
        Scene.open(f"{server.address}/no.tif")
    with pytest.raises(SceneError, match=r"cannot be fetched .*connect"):
        Scene.open("http://127.0.0.1:9/scene.tif")
    write_raster("scene.tif", CUBE, **TILED)
    with pytest.raises((SceneError, WorkError), match=r"scene\.tif: cannot be "):
        Scene.open(f"{server.address}/cut/scene.tif")


def test_archives_here_and_there(server: Server, write_raster: WriteRaster, tmp_path: Path) -> None:
    path = write_raster("scene.tif", CUBE[:, :64, :64])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "scene.tif")
    for name in (f"/vsizip/{tmp_path}/a.zip/scene.tif", f"/vsizip//vsicurl/{server.address}/a.zip/scene.tif"):
        np.testing.assert_array_equal(Scene.open(name).read(PixelWindow(3, 4, 5, 6)).values, CUBE[:, 4:10, 3:8])


def test_a_pair_on_a_server_is_fused(server: Server, tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "indian-pines"
    for name in ("hsi.tif", "msi.tif"):
        (tmp_path / name).write_bytes((example / name).read_bytes())
    known = {"srf": example / "imaging.json", "psf": example / "imaging.json", "window": PixelWindow(4, 4, 20, 20)}
    pair = hsfuse.PairRequest(f"{server.address}/hsi.tif", f"{server.address}/msi.tif", **known)
    assert hsfuse.fuse(pair, tmp_path / "out.tif", model="mtf-glp").bands == 200


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("https://a.b/c.tif", True), ("/vsicurl/https://a.b/c.tif", True), ("/vsis3/bucket/c.tif", True),
        ("/vsizip//vsicurl/http://a.b/c.zip/d.tif", True), ("s3://bucket/c.tif", True),
        ("scene.tif", False), ("/vsizip/a.zip/b.tif", False), ("/data/vsicurl.tif", False),
    ],
)  # fmt: skip
def test_which_paths_are_remote(path: str, remote: bool) -> None:
    assert is_remote(path) == remote
