"""The products of the guide's table, each as a layout that can be written, and those that are refused."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import h5py
import numpy as np
from affine import Affine

from . import hdf5_layouts, layouts
from .layouts import Content, Written, north_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MSI_NM = (492.7, 559.8, 664.6, 832.8, 1613.7, 2202.4)


@dataclass(frozen=True)
class Product:
    """One row of the table."""

    name: str
    layout: Callable[..., Written]
    """(folder, content)."""
    hyperspectral: bool = True
    large: bool = True
    """Also opened large: one of those that are read in the same way."""
    resolution: int | None = None
    """Of the product, the pixels asked for: `X.SAFE:20m`."""

    def write(self, folder: Path, content: Content) -> Written:
        """The product, with the path by which it is asked for."""
        written = self.layout(folder, content)
        if self.resolution:
            written.path = written.path.with_name(f"{written.path.name}:{self.resolution}m")
        return written


def write_envi(within: Path, content: Content) -> Written:
    """AVIRIS-NG and SHIFT: no suffix, map info that turns."""
    path, nm = within / "ang20220224t195402_rfl_img", list(content.nm or ())
    cube = content.reflectance(nm).astype("<f4")
    cube[:, 2, 3] = -9999
    cube.transpose(1, 0, 2).tofile(path)
    listed = ", ".join(f"{centre}" for centre in nm)
    path.with_name(path.name + ".hdr").write_text(
        f"ENVI\nsamples = {content.width}\nlines = {content.height}\nbands = {len(nm)}\nheader offset = 0\n"
        "file type = ENVI Standard\ndata type = 4\ninterleave = bil\nbyte order = 0\ndata ignore value = -9999\n"
        f"wavelength units = Nanometers\nwavelength = {{{listed}}}\n"
        "map info = {UTM, 1, 1, 500000, 5000000, 5.1, 5.1, 11, North, WGS-84, units=Meters, rotation=-24}\n"
    )
    transform = Affine.translation(5e5, 5e6) @ Affine.rotation(-24) @ Affine.scale(5.1, -5.1)
    valid = np.ones(content.shape, dtype=bool)
    valid[2, 3] = False
    return Written(path, cube.astype(float), valid, nm, transform, 32611)


def write_band_files(within: Path, content: Content) -> Written:
    """A band a file, the wavelength in its name."""
    folder, nm = within / "bands", list(MSI_NM)
    cube = content.numbers(nm, 1, 9000, 1e-4).astype(np.uint16)
    cube[:, 2, 3] = 0
    for centre, image in zip(nm, cube, strict=True):
        layouts.write_tif(folder / f"refl_{centre}nm.tif", image, 30, nodata=0)
    valid = np.ones(content.shape, dtype=bool)
    valid[2, 3] = False
    return Written(folder, cube.astype(float), valid, nm, north_up(30), 32633)


HYPERION = (*range(8, 58), *range(79, 225))
ENMAP_L1C = "ENMAP01-____L1C-DT0000001234_20230707T192008Z_001_V010303_20230922T131826Z-"
LANDSAT_1 = {"folder": "LC08_L1TP_193024_20230707_20230718_02_T1", "level": "1"}
LANDSAT_5 = {"folder": "LT05_L2SP_193024_19950707_20200912_02_T1", "satellite": 5}
LANDSAT_7 = {"folder": "LE07_L2SP_193024_20010707_20200912_02_T1", "satellite": 7}
LANDSAT_9 = {"folder": "LC09_L2SP_193024_20230715_20230717_02_T1", "satellite": 9}
L1B = {"name": "EMIT_L1B_RAD_001_20230401T203751_2309114_002.nc", "image": "radiance"}

PRODUCTS = (
    Product("PRISMA L2D", hdf5_layouts.write_prisma),
    Product("EMIT L2A with MASK", partial(hdf5_layouts.write_emit, mask=True)),
    Product("EMIT L1B", partial(hdf5_layouts.write_emit, **L1B), large=False),
    Product("NEON", hdf5_layouts.write_neon),
    Product("NEON, rotated 30°", partial(hdf5_layouts.write_neon, rotation=30.0), large=False),
    Product("Tanager ortho", hdf5_layouts.write_tanager),
    Product("netCDF (y, x, wavelength)", hdf5_layouts.write_netcdf),
    Product("netCDF (wavelength, y, x), south-up, µm",
            partial(hdf5_layouts.write_netcdf, order=("wavelength", "y", "x"), south_up=True, units="um")),
    Product("netCDF (lat, lon, wavelength)",
            partial(hdf5_layouts.write_netcdf, order=("lat", "lon", "wavelength")), large=False),
    Product("EnMAP L2A", layouts.write_enmap),
    Product("EnMAP L1C", partial(layouts.write_enmap, stem=ENMAP_L1C), large=False),
    Product("DESIS L2A", layouts.write_desis),
    Product("Hyperion L1T", partial(layouts.write_hyperion, numbers=HYPERION)),
    Product("ENVI, AVIRIS-NG, rotated −24°", write_envi),
    Product("Sentinel-2 L2A, 10 m and 20 m", layouts.write_safe, hyperspectral=False),
    Product("Sentinel-2 L2A, 20 m", partial(layouts.write_safe, pixel=20), hyperspectral=False, large=False,
            resolution=20),
    Product("Sentinel-2 L1C", partial(layouts.write_safe, level="1C"), hyperspectral=False, large=False),
    Product("Landsat 8 level 2", layouts.write_landsat, hyperspectral=False),
    Product("Landsat 8 level 1", partial(layouts.write_landsat, **LANDSAT_1), hyperspectral=False, large=False),
    Product("Landsat 9 level 2", partial(layouts.write_landsat, **LANDSAT_9), hyperspectral=False, large=False),
    Product("Landsat 7 level 2", partial(layouts.write_landsat, **LANDSAT_7), hyperspectral=False, large=False),
    Product("Landsat 5 level 2", partial(layouts.write_landsat, **LANDSAT_5), hyperspectral=False, large=False),
    Product("bands in files of their own", write_band_files, hyperspectral=False),
)  # fmt: skip


def write_swath(within: Path, content: Content) -> Written:
    """An ocean colour product in the geometry of the sensor."""
    path = within / "PACE_OCI.L2.nc"
    with h5py.File(path, "w") as file:
        image = file.create_dataset("geophysical_data/rhos", data=np.zeros((9, 8, 7), np.float32))
        for axis, name in enumerate(("number_of_lines", "pixels_per_line", "wavelength_3d")):
            file.create_dataset(name, data=np.arange(image.shape[axis])).make_scale(name)
            image.dims[axis].attach_scale(file[name])
    return Written(path, np.zeros((7, 9, 8)), np.ones((9, 8), dtype=bool), [], Affine.identity(), 0)


def write_enmap_1b(within: Path, content: Content) -> Written:
    """VNIR and SWIR apart, in the geometry of the sensor."""
    written = layouts.write_enmap(within, content)
    image = next(written.path.glob("*SPECTRAL_IMAGE.TIF"))
    for part in ("VNIR", "SWIR"):
        path = image.with_name(image.name.replace(".TIF", f"_{part}.TIF"))
        layouts.write_tif(path, np.ones((2, 9, 8), np.uint16), 1, None)
    image.unlink()
    return written


REFUSED = (
    *(Product(f"PRISMA {level}", partial(hdf5_layouts.write_prisma, level=level)) for level in ("L1", "L2B", "L2C")),
    Product("Tanager basic", partial(hdf5_layouts.write_tanager, group="SWATHS")),
    Product("netCDF swath (PACE OCI L2)", write_swath),
    Product("EnMAP L1B", write_enmap_1b),
)
