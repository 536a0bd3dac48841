"""Every kind of file that hsfuse reads, small and sound, and seeded damage to it: for the suite and for `hunt.py`."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import torch
from affine import Affine

from hsfuse.models.weights import bundled_folder
from hsfuse.training.checkpoint import Checkpoint, Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

WAVELENGTHS = [450.0, 500.0, 550.0, 600.0, 650.0, 700.0]
FUSE = ["fuse", "--hsi", "hsi.tif", "--msi", "msi.tif", "-o", "out.tif", "--model", "gsa", "--allow-shift", "-q"]
KNOWN = ["--srf", "imaging.json", "--psf", "imaging.json"]


@dataclass(frozen=True)
class Kind:
    """One kind of input."""

    name: str
    """What it is."""

    file: str
    """Which of the files is damaged."""

    commands: tuple[tuple[str, ...], ...]
    """That read it."""

    text: bool = False
    """Whether it is read as text."""


KINDS = (
    Kind("GeoTIFF as HSI", "hsi.tif", ((*FUSE, *KNOWN), ("info", "hsi.tif", "msi.tif"))),
    Kind("GeoTIFF as MSI", "msi.tif", ((*FUSE, *KNOWN),)),
    Kind("ENVI header", "scene.hdr", (("info", "scene.img"), ("fuse", "--hsi", "scene.img", *FUSE[3:], *KNOWN)), True),
    Kind("imaging model", "imaging.json", ((*FUSE, *KNOWN),), True),
    Kind("SRF table", "srf.csv", ((*FUSE, "--srf", "srf.csv", "--psf", "gaussian:1"),), True),
    Kind("PSF kernel", "psf.csv", ((*FUSE, "--srf", "imaging.json", "--psf", "psf.csv"),), True),
    Kind("weights", "w.safetensors", (("weights", "show", "w.safetensors"), ("weights", "verify", "w.safetensors"))),
    Kind("weights header", "w.json", (("weights", "verify", "w.safetensors"),), True),
    Kind("wavelengths", "nm.csv", ((*FUSE, "--wavelengths", "nm.csv", *KNOWN),), True),
    Kind("mask", "mask.tif", ((*FUSE, "--mask", "mask.tif", *KNOWN),)),
)


def make_inputs(folder: Path) -> None:
    """One sound file of every kind."""
    rng = np.random.default_rng(8)
    hsi = rng.integers(100, 9000, (6, 20, 24)).astype(np.int32)
    _raster(folder / "hsi.tif", hsi, 30.0, "GTiff")
    _raster(folder / "scene.img", hsi, 30.0, "ENVI")
    (folder / "scene.img.aux.xml").unlink(missing_ok=True)
    _raster(folder / "msi.tif", rng.integers(100, 9000, (2, 60, 72)).astype(np.uint16), 10.0, "GTiff")
    _raster(folder / "mask.tif", (rng.random((1, 20, 24)) < 0.1).astype(np.uint8), 30.0, "GTiff")
    matrix = [[0, 0, 0.5, 0.5, 0, 0], [0, 0, 0, 0, 0.5, 0.5]]
    model = {
        "format": "hsfuse-imaging/1",
        "ratio": 3,
        "srf": {"hsi_wavelength_nm": WAVELENGTHS, "msi_bands": ["B3", "B4"], "matrix": matrix},
        "psf": {"kernel": [[1 / 9] * 3] * 3, "fwhm_hsi_pixels": [1, 1], "pixel_size": "msi"},
        "shift_hsi_pixels": {"x": 0.0, "y": 0.0},
    }
    (folder / "imaging.json").write_text(json.dumps(model))
    rows = [f"{nm},{bell(nm, 560):.4f},{bell(nm, 660):.4f}" for nm in range(440, 720, 10)]
    (folder / "srf.csv").write_text("\n".join(["wavelength (nm),B3,B4", *rows]) + "\n")
    (folder / "psf.csv").write_text("1,2,1\n2,4,2\n1,2,1\n")
    (folder / "nm.csv").write_text("\n".join(f"{nm:g},10" for nm in WAVELENGTHS) + "\n")
    shutil.copy(bundled_folder() / "mgdunlss-universal.safetensors", folder / "w.safetensors")
    (folder / "w.json").write_bytes(header_of((folder / "w.safetensors").read_bytes()))


def bell(nm: float, centre: float) -> float:
    """A response around a centre."""
    return float(np.exp(-(((nm - centre) / 30) ** 2)))


def _raster(path: Path, numbers: NDArray[np.generic], pixel: float, driver: str) -> None:
    count, height, width = numbers.shape
    with rasterio.open(
        path, "w", driver=driver, width=width, height=height, count=count, dtype=numbers.dtype,
        crs="EPSG:32633", transform=Affine(pixel, 0, 500_000, 0, -pixel, 5_000_000),
    ) as dataset:  # fmt: skip
        dataset.write(numbers)
        if count == len(WAVELENGTHS):
            for band, nm in enumerate(WAVELENGTHS, 1):
                dataset.update_tags(band, wavelength=f"{nm:g}", wavelength_units="Nanometers")


def spoil(folder: Path, kind: Kind, rng: np.random.Generator) -> None:
    """Damage the kind's file once or twice."""
    path = folder / kind.file
    content = path.read_bytes()
    for _ in range(rng.integers(1, 3)):
        ways = TEXT_WAYS if kind.text and rng.random() < 0.8 else BYTE_WAYS
        content = ways[rng.integers(len(ways))](content, rng)
    path.write_bytes(content)
    if kind.file == "w.json":
        weights = folder / "w.safetensors"
        weights.write_bytes(with_header(weights.read_bytes(), content))


def header_of(file: bytes) -> bytes:
    """The JSON of hsfuse in a safetensors file."""
    length = int.from_bytes(file[:8], "little")
    text: str = json.loads(file[8 : 8 + length])["__metadata__"]["hsfuse"]
    return text.encode()


def with_header(file: bytes, content: bytes) -> bytes:
    """The same tensors under another JSON of hsfuse."""
    length = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + length])
    header["__metadata__"]["hsfuse"] = content.decode("utf-8", "replace")
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + file[8 + length :]


def make_checkpoint(path: Path, network: torch.nn.Module, request: str = "") -> None:
    """A sound checkpoint of a network."""
    state, averaged, best = ({name: value.clone() for name, value in network.state_dict().items()} for _ in range(3))
    moments = {index: {"exp_avg": torch.zeros_like(value)} for index, value in enumerate(network.parameters())}
    record = Record(0, 0.0, None, 0.001, {"psnr": 30.0, "sam": 1.0}, score=29.0, best=True, skipped=0)
    Checkpoint(request, 0, 0.0, 1.0, 0, {}, (record,), state, averaged, best, moments).write(path)


# --- damage ---

_HOSTILE = (
    "nan", "inf", "-inf", "-1", "0", "1e308", "1e-308", "99999999999999999999", "10000000", "NaN", "null", "true", "",
    "x", "[]", "{}", "[[]]", '""', '"\\u0000"', "[" * 3000, "-0.0", "1;2", "µ",
)  # fmt: skip

_NAN = float("nan")
_OTHERS = (None, [], {}, {"a": [1]}, "x", -1, 0, 1e308, 10**7, 10**30, True, [[1, [2]]], [_NAN], _NAN)


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(len(content) + 1)]


def _flip(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    reach = len(damaged) if rng.random() < 0.5 else min(len(damaged), 400)  # headers stand at the beginning
    for place in rng.integers(max(1, reach), size=rng.integers(1, 9)):
        if place < len(damaged):
            damaged[place] = rng.integers(256)
    return bytes(damaged)


def _blank(content: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(content) + 1))
    length = int(rng.integers(1, 200))
    return content[:start] + b"\0" * len(content[start : start + length]) + content[start + length :]


def _shift(content: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(content) + 1))
    return content[:start] + rng.bytes(int(rng.integers(1, 20))) + content[start:]


def _number(content: bytes, rng: np.random.Generator) -> bytes:
    """Another thing in the place of a number or word."""
    found = list(re.finditer(rb"-?[0-9][0-9.eE+-]*|[A-Za-z_]+", content))
    if not found:
        return content
    match = found[rng.integers(len(found))]
    return content[: match.start()] + _HOSTILE[rng.integers(len(_HOSTILE))].encode() + content[match.end() :]


def _lines(content: bytes, rng: np.random.Generator) -> bytes:
    """A line lost or doubled."""
    lines = content.split(b"\n")
    place = int(rng.integers(len(lines)))
    return b"\n".join(lines[:place] + lines[place : place + 1] * int(rng.choice([0, 2, 1000])) + lines[place + 1 :])


def _value(content: bytes, rng: np.random.Generator) -> bytes:
    """One value of a JSON object, whatever it was, becomes something else."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return _number(content, rng)
    node = tree
    while isinstance(node, dict) and node:
        key = list(node)[rng.integers(len(node))]
        if isinstance(node[key], dict) and node[key] and rng.random() < 0.7:
            node = node[key]
            continue
        if rng.random() < 0.2:
            del node[key]
        else:
            node[key] = _OTHERS[rng.integers(len(_OTHERS))]
        break
    return json.dumps(tree).encode()


TEXT_WAYS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (_number, _number, _value, _value, _lines, _cut)
BYTE_WAYS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (_cut, _flip, _flip, _flip, _blank, _shift)
