"""Small real rasters, made on the fly."""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import rasterio
from affine import Affine
from hypothesis import settings
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

# Two workers share the cores, and a run in CI draws the same examples every time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

UTM33 = "EPSG:32633"
ORIGIN = (500_000.0, 5_000_000.0)


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """What a command run in this process does with signals ends with the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class WriteRaster(Protocol):
    """The `write_raster` fixture."""

    def __call__(
        self,
        name: str,
        numbers: NDArray[Any],
        *,
        pixel: float = 30.0,
        origin: tuple[float, float] = ORIGIN,
        **options: Any,
    ) -> Path: ...


@pytest.fixture
def write_raster(tmp_path: Path) -> WriteRaster:
    """Writes numbers (C, H, W) to `tmp_path / name`; GeoTIFF, north up in UTM 33N unless told otherwise.

    Further options: `transform`, `crs` (None for none), `nodata`, `scale`, `offset`, `wavelengths` (nm, as
    band tags), `tags`, `band_tags` (one dict a band), `descriptions`, `mask` (H, W), and rasterio's own.
    """

    def write(
        name: str,
        numbers: NDArray[Any],
        *,
        pixel: float = 30.0,
        origin: tuple[float, float] = ORIGIN,
        transform: Affine | None = None,
        crs: str | None = UTM33,
        nodata: float | None = None,
        scale: float = 1.0,
        offset: float = 0.0,
        wavelengths: list[float] | None = None,
        tags: Mapping[str, str] | None = None,
        band_tags: list[dict[str, str]] | None = None,
        descriptions: list[str] | None = None,
        mask: NDArray[np.bool_] | None = None,
        driver: str = "GTiff",
        **profile: Any,
    ) -> Path:
        count, height, width = numbers.shape
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        placed = transform or Affine(pixel, 0, origin[0], 0, -pixel, origin[1])
        with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                path, "w", driver=driver, width=width, height=height, count=count, dtype=numbers.dtype,
                crs=crs, transform=placed, nodata=nodata, **profile,
            ) as dataset:  # fmt: skip
                if scale != 1 or offset != 0:
                    dataset.scales, dataset.offsets = (scale,) * count, (offset,) * count
                dataset.update_tags(**(tags or {}))
                for index in range(count):
                    if wavelengths is not None:
                        nm = f"{wavelengths[index]:g}"
                        dataset.update_tags(index + 1, wavelength=nm, wavelength_units="Nanometers")
                    if band_tags is not None:
                        dataset.update_tags(index + 1, **band_tags[index])
                    if descriptions is not None:
                        dataset.set_band_description(index + 1, descriptions[index])
                dataset.write(numbers)
                if mask is not None:
                    dataset.write_mask(mask)
        return path

    return write


EXAMPLE = Path(__file__).parents[1] / "examples" / "indian-pines"


def _crop(source: Path, target: Path, bands: Sequence[int], window: Window) -> Path:
    """A part of a raster, 1-based bands, with what it says of itself."""
    with rasterio.open(source) as whole:
        profile = {
            "driver": "GTiff", "width": window.width, "height": window.height, "count": len(bands),
            "dtype": whole.dtypes[0], "crs": whole.crs, "nodata": whole.nodata,
            "transform": whole.transform @ Affine.translation(window.col_off, window.row_off),
        }  # fmt: skip
        with rasterio.open(target, "w", **profile) as part:
            part.write(whole.read(bands, window=window))
            part.update_tags(**whole.tags())
            for index, band in enumerate(bands, 1):
                part.update_tags(index, **whole.tags(band))
    return target


@pytest.fixture(scope="session")
def crops(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    """The northern and the southern half of the example, HSI (12 bands, 48 × 24 pixels) and MSI, ratio 3."""
    folder = tmp_path_factory.mktemp("crops")
    return [
        (
            _crop(EXAMPLE / "hsi.tif", folder / f"{name}-hsi.tif", range(3, 63, 5), Window(0, row, 48, 24)),
            _crop(EXAMPLE / "msi.tif", folder / f"{name}-msi.tif", range(1, 5), Window(0, 3 * row, 144, 72)),
        )
        for name, row in (("north", 0), ("south", 24))
    ]
