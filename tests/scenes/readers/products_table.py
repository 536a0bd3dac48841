"""Every product of the guide's table, written after its documents, opened and fused with a partner made for it.

    python -m tests.scenes.readers.products_table [NAME-PART ...]

A script, no part of the suite. Each product shows a ground of textured fields. A process of its own opens it and says
what was read, and how much its peak of memory grew by opening (VmHWM, so Linux only). The missing partner, an MSI three
times as fine or an HSI three times as coarse, is written as GeoTIFF, and `hsfuse fuse --model bayes` fuses the two; the
output must lie on the HSI's grid, its pixels cut into three, and be nearer to the ground than the HSI. One of each kind
is also written large and opened only: noise, 1000² pixels and 100 bands, multispectral ones 2400² pixels. Products that
the guide says are refused must be, by one sentence and status 2. Exit status 1 if anything was wrong.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

from .ground import Ground
from .layouts import Content, Written
from .products import MSI_NM, PRODUCTS, REFUSED, Product

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RATIO = 3
HSI_NM = tuple(np.linspace(420, 2420, 41).tolist())
HSI_SIZE, MSI_SIZE = 72, 144
LARGE_NM = tuple(np.linspace(420, 2420, 100).round(1).tolist())
LARGE_HSI, LARGE_MSI = 1000, 2400

OPEN = """
import json, sys
import h5py, numpy as np
from hsfuse.scenes import Scene
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
before = peak()
scene = Scene.open(sys.argv[1])
grown = peak() - before
if len(sys.argv) > 2:
    block = scene.read(scene.grid.window)
    np.savez(sys.argv[2], values=block.values, valid=block.valid)
nm, crs = scene.bands.wavelength_nm, scene.grid.crs
print(json.dumps({
    "grown": grown, "count": scene.count, "good": scene.bands.good.tolist(), "nm": [] if nm is None else nm.tolist(),
    "transform": tuple(scene.grid.transform)[:6], "epsg": crs and crs.to_epsg(), "warnings": scene.warnings,
    "shape": (scene.grid.height, scene.grid.width), "bytes": np.dtype(scene.dtype).itemsize,
}))
"""


class WrongError(Exception):
    """What is not as it should be, as the table says it."""


def require(right: bool, said: str) -> None:
    """Raise `WrongError` unless right."""
    if not right:
        raise WrongError(said)


@dataclass(frozen=True)
class Opened:
    """What a process of its own read out of a product."""

    said: dict[str, Any]
    values: NDArray[np.float32]
    valid: NDArray[np.bool_]

    @classmethod
    def of(cls, path: Path, arrays: Path | None = None) -> Opened:
        """Open it; values and mask are read too where there is a file to hand them over in."""
        words = [sys.executable, "-c", OPEN, str(path), *([] if arrays is None else [str(arrays)])]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        require(done.returncode == 0, done.stderr.strip().splitlines()[-1] if done.stderr else "no word")
        if arrays is None:
            return cls(json.loads(done.stdout), np.zeros((0, 0, 0), np.float32), np.zeros((0, 0), dtype=bool))
        with np.load(arrays) as file:
            return cls(json.loads(done.stdout), file["values"], file["valid"])

    def cells(self, written: Written) -> list[str]:
        """Bands, wavelengths, grid, mask and values against what was written."""
        said, here = self.said, written.valid
        known = len(said["nm"]) == len(written.wavelength_nm)
        near = np.allclose(said["transform"], tuple(written.transform)[:6], rtol=1e-12, atol=1e-9)
        values = self.values.shape == written.values.shape
        return [
            _cell(said["count"] == len(written.wavelength_nm), f"{said['count']}"),
            _cell(known and np.allclose(said["nm"], written.wavelength_nm, atol=0.06)),
            _cell(near and said["epsg"] == written.epsg and tuple(said["shape"]) == here.shape),
            _cell(np.array_equal(self.valid, here), f"{(~here).sum()} px"),
            _cell(values and np.allclose(self.values[:, here], written.values[:, here], rtol=1e-5, atol=1e-6)),
        ]


def _cell(right: bool, what: str = "yes") -> str:
    return what if right else f"**no** ({what})" if what != "yes" else "**no**"


def apart(product: Product, folder: Path, content: Content, keep: bool) -> Written:
    """Written in a process of its own, so that this one stays small; without the values where not to be kept."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_write, (product, folder, content, keep))


def _write(product: Product, folder: Path, content: Content, keep: bool) -> Written:
    written = product.write(folder, content)
    if not keep:
        written.values = written.values[:, :0]
    return written


def write_partner(path: Path, image: NDArray[np.float64], nm: Sequence[float], transform: Affine, epsg: int) -> Path:
    """A GeoTIFF of reflectance, with its wavelengths."""
    with rasterio.open(
        path, "w", driver="GTiff", width=image.shape[2], height=image.shape[1], count=len(image), dtype="uint16",
        crs=CRS.from_epsg(epsg), transform=transform, nodata=0,
    ) as file:  # fmt: skip
        file.write(np.rint(image * 1e4).clip(1).astype(np.uint16))
        file.scales = (1e-4,) * len(image)
        for band, centre in enumerate(nm, start=1):
            file.update_tags(band, wavelength=f"{centre:g}", wavelength_units="Nanometers")
    return path


def fused(product: Product, written: Written, ground: Ground, good: list[bool], folder: Path) -> str:
    """Correlation with the ground, a mean over the bands, and that of the HSI; the pair is written and fused.

    Raises:
        WrongError: It cannot be fused, or the output is not on its grid, lacks bands or pixels, or is no better.
    """
    pixel = 1 if product.resolution is None else product.resolution // 10
    if product.hyperspectral:
        placed, nm = written.transform @ Affine.scale(1 / RATIO), np.array(written.wavelength_nm)[good]
        msi = write_partner(folder / "msi.tif", ground.seen(MSI_NM, 1), MSI_NM, placed, written.epsg)
        hsi = written.path
    else:
        placed, nm = written.transform, np.array(HSI_NM)
        image, coarse = ground.seen(HSI_NM, RATIO * pixel), placed @ Affine.scale(RATIO)
        hsi = write_partner(folder / "hsi.tif", image, HSI_NM, coarse, written.epsg)
        msi = written.path
    output = folder / "out.tif"
    words = ["fuse", "--hsi", str(hsi), "--msi", str(msi), "--model", "bayes", "-o", str(output)]
    done = subprocess.run([sys.executable, "-m", "hsfuse", *words], capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"status {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    with rasterio.open(output) as file:
        require(np.allclose(tuple(file.transform), tuple(placed), rtol=1e-12, atol=1e-9), f"grid {file.transform[:6]}")
        require(file.crs.to_epsg() == written.epsg, f"CRS {file.crs}")
        said = [float(file.tags(band)["wavelength"]) for band in range(1, file.count + 1)]
        image = file.read(masked=True).astype(float)
    require(len(said) == len(nm) and np.allclose(sorted(said), sorted(nm), atol=0.06), f"bands {said}")
    truth = ground.seen(said, pixel)
    require(image.shape == truth.shape, f"shape {image.shape}")
    here = ~np.ma.getmaskarray(image).any(axis=0)
    expected = written.valid if not product.hyperspectral else np.kron(written.valid, np.ones((RATIO, RATIO))) > 0
    require(here.sum() >= 0.95 * expected.sum(), f"{here.sum()} pixels of {expected.sum()}")
    height, width = (length // RATIO for length in here.shape)
    means = truth.reshape(len(truth), height, RATIO, width, RATIO).mean((2, 4)).repeat(RATIO, 1).repeat(RATIO, 2)
    own, before = (
        float(np.mean([np.corrcoef(one[here], other[here])[0, 1] for one, other in zip(cube, truth, strict=True)]))
        for cube in (image.data, means)
    )
    require(own > before, f"correlation {own:.3f}, the HSI's {before:.3f}")
    return f"{own:.3f} ({before:.3f})"


def row(product: Product, folder: Path) -> list[str]:
    """The cells of one product."""
    cells = [product.name]
    ground = Ground(HSI_SIZE, HSI_SIZE, HSI_NM, RATIO) if product.hyperspectral else Ground(MSI_SIZE, MSI_SIZE)
    (folder / "small").mkdir()
    written = apart(product, folder / "small", ground, keep=True)
    try:
        found = Opened.of(written.path, folder / "small.npz")
    except WrongError as error:
        return [*cells, f"**no**: {error}"]
    cells += ["yes", *found.cells(written)]
    for warning in found.said["warnings"]:
        print(f"{product.name}: {warning}", file=sys.stderr)
    try:
        cells.append(fused(product, written, ground, found.said["good"], folder))
    except WrongError as error:
        cells.append(f"**no**: {error}")
    cells.append(f"{found.said['grown']:.0f}")
    if not product.large:
        return [*cells, "", ""]
    (folder / "large").mkdir()
    edge = LARGE_HSI if product.hyperspectral else LARGE_MSI
    large = apart(product, folder / "large", Content(edge, edge, LARGE_NM), keep=False)
    megabytes = large.valid.size * len(large.wavelength_nm) * found.said["bytes"] / 1e6
    return [*cells, f"{Opened.of(large.path).said['grown']:.0f}", f"{megabytes:.0f}"]


def refusal(product: Product, folder: Path) -> str:
    """The sentence by which a product is refused."""
    written = product.write(folder, Content())
    words = [sys.executable, "-m", "hsfuse", "info", str(written.path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    text = done.stderr.strip().replace(f"{folder}/", "")
    right = done.returncode == 2 and "\n" not in text and "Traceback" not in text
    return text if right else f"**no**: status {done.returncode}: {text[-200:]}"


HEADS = (
    "product", "opened", "bands", "wavelengths", "grid", "mask", "values", "fused: CC (HSI's)",
    "MB to open it", "MB to open a large one", "MB of its image",
)  # fmt: skip


def main(parts: list[str]) -> int:
    """Those whose names hold one of the parts, or all."""
    wrong = 0
    print(f"| {' | '.join(HEADS)} |", "| --- " * len(HEADS) + "|", sep="\n", flush=True)
    for product in PRODUCTS:
        if not parts or any(part in product.name for part in parts):
            with tempfile.TemporaryDirectory() as text:
                line = " | ".join(row(product, Path(text)))
            wrong += "**no**" in line
            print(f"| {line} |", flush=True)
    print("", "| product | refused |", "| --- | --- |", sep="\n")
    for product in REFUSED:
        if not parts or any(part in product.name for part in parts):
            with tempfile.TemporaryDirectory() as text:
                said = refusal(product, Path(text))
            wrong += "**no**" in said
            print(f"| {product.name} | {said} |", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
