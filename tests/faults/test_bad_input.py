"""Input that cannot be used: one sentence that says what is wrong where, status 2, and nothing written."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from .conftest import HSI, MSI

if TYPE_CHECKING:
    from .conftest import Bench, Ended


def refused(ended: Ended) -> str:
    """The sentence of a request that was refused and left everything as it was."""
    assert (ended.status, ended.stdout, ended.changed) == (2, "", set()), ended
    return ended.sentence


def test_the_pair_itself_is_fine(bench: Bench) -> None:
    ended = bench.fuse()
    assert (ended.status, ended.changed) == (0, {"out.tif"}), ended.stderr


# --- scenes ---


@pytest.mark.parametrize("role", ["hsi", "msi"])
def test_a_missing_file(bench: Bench, role: str) -> None:
    assert refused(bench.fuse(**{role: "absent.tif"})) == "absent.tif: there is no such file: check the name"


@pytest.mark.parametrize("content", [b"", b"not a raster\n" * 100, b"II*\0\x08\0\0\0"])
def test_what_is_no_raster(bench: Bench, content: bytes) -> None:
    (bench.folder / "notes.tif").write_bytes(content)
    sentence = refused(bench.fuse(hsi="notes.tif"))
    assert sentence.startswith("notes.tif: ")
    assert "not an image" in sentence


def test_a_folder_is_no_raster(bench: Bench) -> None:
    (bench.folder / "scenes").mkdir()
    assert refused(bench.fuse(msi="scenes")).startswith("scenes: ")


def test_hsi_and_msi_swapped(bench: Bench) -> None:
    sentence = refused(bench.fuse(hsi="msi.tif", msi="hsi.tif"))
    assert "MSI pixel 30 m, HSI pixel 10 m" in sentence
    assert "seem to be swapped" in sentence


def test_the_same_file_twice(bench: Bench) -> None:
    assert "same pixel size" in refused(bench.fuse(msi="hsi.tif"))


def test_scenes_of_different_places(bench: Bench) -> None:
    bench.msi(origin=(600_000.0, 5_000_000.0))
    sentence = refused(bench.fuse())
    assert "do not overlap" in sentence
    assert "500000 to 500720" in sentence
    assert "600000 to 600720" in sentence


def test_scenes_in_crs_that_do_not_meet(bench: Bench) -> None:
    bench.msi(crs="EPSG:32601")
    assert "do not overlap" in refused(bench.fuse())


@pytest.mark.parametrize("role", ["hsi", "msi"])
def test_a_crs_on_one_side_only(bench: Bench, role: str) -> None:
    getattr(bench, role)(crs=None)
    sentence = refused(bench.fuse())
    assert sentence.startswith(f"{role}.tif has no CRS while ")
    assert "EPSG:32633" in sentence


@pytest.mark.parametrize(
    ("pixel", "sentence"),
    [
        (26.0, "The ratio 1.15 leaves next to nothing to sharpen (MSI pixel 26 m, HSI pixel 30 m)"),
        (1.0, "The ratio 30.00 is above 20"),
        (30.0, "same pixel size"),
    ],
)
def test_a_ratio_that_is_none(bench: Bench, pixel: float, sentence: str) -> None:
    bench.msi(pixel=pixel)
    assert sentence in refused(bench.fuse())


@pytest.mark.parametrize(("role", "shape", "fill"), [("hsi", HSI.shape, -32768), ("msi", MSI.shape, 0)])
def test_nothing_but_nodata(bench: Bench, role: str, shape: tuple[int, ...], fill: int) -> None:
    getattr(bench, role)(np.full(shape, fill, np.int16))
    assert refused(bench.fuse()).startswith(f"{role}.tif: every pixel is nodata or masked")


def test_nothing_but_nan(bench: Bench) -> None:
    bench.hsi(np.full(HSI.shape, np.nan, np.float32), nodata=None)
    assert "every pixel is nodata" in refused(bench.fuse())


@pytest.mark.parametrize("command", ["fuse", "estimate"])
def test_data_that_nowhere_meet(bench: Bench, command: str) -> None:
    """Each scene has data, but never both at one place."""
    left, right = HSI.copy(), MSI.copy()
    left[:, :, 12:] = -32768
    right[:, :, :36] = 0
    bench.hsi(left)
    bench.msi(right)
    if command == "fuse":
        assert refused(bench.fuse())
    else:
        assert refused(bench.run("estimate", "--hsi", "hsi.tif", "--msi", "msi.tif", "-o", "found.json"))


def test_complex_numbers(bench: Bench) -> None:
    bench.hsi(HSI.astype(np.complex64), nodata=None)
    assert "not images of real numbers" in refused(bench.fuse())


# --- outputs ---


def test_an_existing_output(bench: Bench) -> None:
    (bench.folder / "out.tif").write_text("mine")
    assert refused(bench.fuse()) == "out.tif exists: pass --overwrite to replace it"


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("absent/out.tif", "folder absent does not exist"),
        ("hsi.tif/out.tif", "folder hsi.tif does not exist"),
        ("/proc/out.tif", "folder /proc cannot be written to"),
        (".", "is a folder"),
    ],
)
def test_where_no_output_can_be(bench: Bench, output: str, sentence: str) -> None:
    assert sentence in refused(bench.fuse(output=output))


def test_an_input_as_the_output(bench: Bench) -> None:
    before = (bench.folder / "hsi.tif").read_bytes()
    for more in ((), ("--overwrite",)):
        assert "hsi.tif is one of the scenes" in refused(bench.fuse(*more, output="hsi.tif"))
    assert (bench.folder / "hsi.tif").read_bytes() == before


def test_where_no_simulation_or_estimate_can_be(bench: Bench) -> None:
    simulate = ("simulate", "--reference", "hsi.tif", "--ratio", "2", "--srf", "sentinel-2a:B3")
    for folder in ("hsi.tif", "hsi.tif/pair", "/proc/pair"):
        assert refused(bench.run(*simulate, "-o", folder))
    pair = ("estimate", "--hsi", "hsi.tif", "--msi", "msi.tif", "--srf", "imaging.json", "--psf", "imaging.json")
    for output in ("hsi.tif/found.json", "absent/found.json", "/proc/found.json", "imaging.json"):
        assert refused(bench.run(*pair, "-o", output))


# --- weights ---


def test_weights_of_another_format(bench: Bench) -> None:
    save_file({"a": torch.ones(3)}, bench.folder / "other.safetensors")
    (bench.folder / "text.safetensors").write_text("weights, truly\n" * 10)
    (bench.folder / "empty.safetensors").touch()
    torch.save({"a": torch.ones(3)}, bench.folder / "new.pth")
    torch.save({"a": torch.ones(3)}, bench.folder / "old.pth", _use_new_zipfile_serialization=False)
    expected = {
        "other.safetensors": "not one of hsfuse",
        "text.safetensors": "text.safetensors is not a safetensors file",
        "empty.safetensors": "empty.safetensors is not a safetensors file",
        "new.pth": "new.pth is a pickle",
        "old.pth": "old.pth is a pickle",
        "absent.safetensors": "absent.safetensors: cannot be read",
    }
    for name, sentence in expected.items():
        assert sentence in refused(bench.fuse("--model", "mgdunlss", "--weights", name))
        for action in ("show", "verify"):
            assert sentence in refused(bench.run("weights", action, name))


def test_a_pickle_is_never_run(bench: Bench) -> None:
    """Unpickling this one would leave a file."""

    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return (type(bench.folder), (bench.folder / "sprung",))

    class Spring:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return (type(bench.folder).touch, (Trap(),))

    torch.save(Spring(), bench.folder / "trap.pth")
    shutil.copy(bench.folder / "trap.pth", bench.folder / "trap.safetensors")
    torch.load(bench.folder / "trap.pth", weights_only=False)
    assert (bench.folder / "sprung").exists()  # the trap works
    (bench.folder / "sprung").unlink()
    for name in ("trap.pth", "trap.safetensors"):
        refused(bench.fuse("--model", "mgdunlss", "--weights", name))
        refused(bench.run("weights", "verify", name))


# --- responses and point spreads ---


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "cannot be read as an imaging model"),
        ("{}", "expected 'hsfuse-imaging/1'"),
        ('{"format": "hsfuse-imaging/1", "ratio": 3}', "not a complete imaging model"),
        ("[1, 2]", "expected 'hsfuse-imaging/1'"),
    ],
)
def test_an_imaging_file_that_is_none(bench: Bench, content: str, sentence: str) -> None:
    (bench.folder / "bad.json").write_text(content)
    assert sentence in refused(bench.fuse("--srf", "bad.json"))
    assert sentence in refused(bench.fuse("--psf", "bad.json"))


def test_a_response_or_kernel_that_does_not_fit(bench: Bench) -> None:
    assert "SRF sentinel-2a:B2,B3,B4 has 3 bands, msi.tif gives 2" in refused(
        bench.fuse("--srf", "sentinel-2a:B2,B3,B4")
    )
    bench.hsi(HSI[:5], wavelengths=[900.0, 910.0, 920.0, 930.0, 940.0])
    assert "its SRF is for other HSI bands" in refused(bench.fuse())
    bench.hsi(HSI[:5], wavelengths=None)
    assert "SRF imaging.json is for 6 HSI bands, hsi.tif gives 5" in refused(bench.fuse())
    assert "needs the HSI's wavelengths" in refused(bench.fuse("--srf", "sentinel-2a:B3,B4"))
    bench.hsi()
    bench.msi(MSI[:, :40, :48], pixel=15.0)
    assert "is for ratio 3, the pair has ratio 2" in refused(bench.fuse())
    (bench.folder / "kernel.csv").write_text("1,2\n3,x\n")
    assert "cannot be read as a PSF kernel" in refused(bench.fuse("--psf", "kernel.csv"))


# --- images to evaluate ---


def test_images_that_cannot_be_compared(bench: Bench) -> None:
    sentence = refused(bench.run("evaluate", "--fused", "msi.tif", "--reference", "hsi.tif"))
    assert "msi.tif has 72×60 pixels, hsi.tif 24×20" in sentence
    assert "absent.tif" in refused(bench.run("evaluate", "--fused", "absent.tif", "--reference", "hsi.tif"))
