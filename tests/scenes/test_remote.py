"""Scenes on a server, in archives, and in archives on a server."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import hsfuse
from hsfuse.errors import SceneError, WorkError
from hsfuse.scenes import PixelWindow, Scene
from hsfuse.scenes.raster import Raster
from hsfuse.scenes.remote import is_remote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import WriteRaster
    from numpy.typing import NDArray

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

    def stop(self) -> None:
        """From now on every connection is dropped."""
        urllib.request.urlopen(f"{self.address}/stop").close()  # noqa: S310 (the server above)

    def start(self) -> None:
        urllib.request.urlopen(f"{self.address}/start").close()  # noqa: S310 (the server above)


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


def test_a_signed_address_asks_for_no_sidecars(server: Server, write_raster: WriteRaster) -> None:
    write_raster("scene.tif", CUBE[:, :64, :64])
    Scene.open(f"{server.address}/scene.tif?token=a.b&c=1")
    assert {line["path"] for line in server.asked()} == {"/scene.tif?token=a.b&c=1"}


KINDS = {
    # The list of so many tiles is not part of what GDAL fetches on opening.
    "scene.tif": {"tiled": True, "blockxsize": 16, "blockysize": 16},
    "scene.jp2": {"driver": "JP2OpenJPEG", "REVERSIBLE": "YES", "QUALITY": "100", "blockxsize": 256, "blockysize": 256},
    "scene.img": {"driver": "ENVI"},
}
FAR = PixelWindow(150, 180, 200, 150)  # over four blocks of the JPEG 2000, which threads decode


def _numbers(name: str) -> NDArray[np.uint8]:
    return CUBE[:1, :512, :512] if name.endswith("jp2") else CUBE  # it takes long to encode


@pytest.mark.parametrize("name", KINDS)
def test_a_server_that_breaks_off_in_the_middle_gives_an_error_and_never_zeros(
    server: Server, write_raster: WriteRaster, name: str
) -> None:
    numbers = _numbers(name)
    write_raster(name, numbers, **KINDS[name])
    raster = Raster(f"{server.address}/{name}")
    assert raster.dataset.count == len(numbers)
    server.stop()
    with pytest.raises(WorkError, match=r"scene\..*the server broke off, or the file there is damaged: try again"):
        raster.read(FAR, range(1))
    server.start()
    again, _ = Raster(f"{server.address}/{name}").read(FAR, range(1))
    np.testing.assert_array_equal(again, numbers[:1, 180:330, 150:350])


def test_zeros_that_are_in_the_file_are_believed(server: Server, write_raster: WriteRaster) -> None:
    numbers = CUBE.copy()
    numbers[:, 250:] = 0
    write_raster("scene.img", numbers, driver="ENVI")
    read, _ = Raster(f"{server.address}/scene.img").read(FAR, range(4))
    np.testing.assert_array_equal(read, numbers[:, 180:330, 150:350])


@pytest.mark.parametrize("where", ["here", "there"])
@pytest.mark.parametrize("name", ["scene.tif", "scene.jp2"])
def test_a_file_that_was_cut_off_is_refused(server: Server, write_raster: WriteRaster, name: str, where: str) -> None:
    path = write_raster(name, _numbers(name), **KINDS[name])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    place = str(path) if where == "here" else f"{server.address}/{name}"
    with pytest.raises(SceneError, match=r"scene\..*cannot be read as a raster"):
        Scene.open(place)
    with pytest.raises(WorkError, match=r"scene\..*cannot be read as a raster"):
        Raster(place).read(PixelWindow(0, 0, *_numbers(name).shape[:0:-1]), range(1))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_archives_here_and_there(server: Server, write_raster: WriteRaster, tmp_path: Path, kind: str) -> None:
    path = write_raster("scene.tif", CUBE[:, :64, :64])
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.write(path, "scene.tif")
    else:
        with tarfile.open(tmp_path / f"a.{kind}", "w:gz" if kind == "tar.gz" else "w") as archive:
            archive.add(path, "scene.tif")
    vsi = "/vsizip/" if kind == "zip" else "/vsitar/"
    for name in (f"{vsi}{tmp_path}/a.{kind}/scene.tif", f"{vsi}/vsicurl/{server.address}/a.{kind}/scene.tif"):
        np.testing.assert_array_equal(Scene.open(name).read(PixelWindow(3, 4, 5, 6)).values, CUBE[:, 4:10, 3:8])
    with pytest.raises(SceneError, match=r"no\.tif: there is no such file"):
        Scene.open(f"{vsi}{tmp_path}/a.{kind}/no.tif")
    with pytest.raises(SceneError, match=rf"name the image in it, such as {vsi}/vsicurl/http.*/a\.{kind}/NAME\.tif"):
        Scene.open(f"{server.address}/a.{kind}")


def test_a_bucket(server: Server, write_raster: WriteRaster, monkeypatch: pytest.MonkeyPatch) -> None:
    write_raster("scene.tif", CUBE[:, :64, :64])
    for name, value in {
        "AWS_S3_ENDPOINT": server.address.removeprefix("http://"), "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for name in ("/vsis3/bucket/scene.tif", "s3://bucket/scene.tif"):
        np.testing.assert_array_equal(Scene.open(name).read(PixelWindow(3, 4, 5, 6)).values, CUBE[:, 4:10, 3:8])
    assert {line["path"] for line in server.asked()} == {"/bucket/scene.tif"}
    with pytest.raises(SceneError, match=r"no\.tif: "):
        Scene.open("/vsis3/bucket/no.tif")


def test_an_envi_image_and_its_header(server: Server, write_raster: WriteRaster) -> None:
    write_raster("scene.img", CUBE[:, :64, :64], driver="ENVI", wavelengths=[450.0, 560.0, 660.0, 842.0])
    scene = Scene.open(f"{server.address}/scene.img")
    np.testing.assert_array_equal(scene.read(scene.grid.window).values, CUBE[:, :64, :64])
    with pytest.raises(SceneError, match=r"scene\.hdr: an ENVI header: name the data file"):
        Scene.open(f"{server.address}/scene.hdr")


def test_a_pair_on_a_server_is_told_and_fused(server: Server, tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "indian-pines"
    for name in ("hsi.tif", "msi.tif"):
        (tmp_path / name).write_bytes((example / name).read_bytes())
    told = hsfuse.info([f"{server.address}/msi.tif", f"{server.address}/no.tif", f"{server.address}/hsi.tif"])
    assert [scene.scene.count for scene in told.scenes] == [4, 200]
    assert [sentence.partition(": ")[0] for sentence in told.unreadable] == [f"{server.address}/no.tif"]
    verdict = hsfuse.info([f"{server.address}/msi.tif", f"{server.address}/hsi.tif"]).pair
    assert verdict is not None
    words = f"--hsi {server.address}/hsi.tif --msi {server.address}/msi.tif"
    assert verdict.next_command == f"hsfuse fuse {words} -o fused.tif"
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
