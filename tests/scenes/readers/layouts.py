"""Small products, written as their documents describe them, each with what must be read out of it.

Plain functions, for the tests' fixtures (`conftest.py`) and for `products_table.py`; HDF5 is in `hdf5_layouts.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LEFT, TOP = 500_000.0, 5_000_000.0


@dataclass
class Written:
    """A product on disk."""

    path: Path
    values: NDArray[np.float64]
    """Physical values, (C, H, W), in the order in which the bands are to be read."""
    valid: NDArray[np.bool_]
    """(H, W), with the quality layers in use."""
    wavelength_nm: list[float]
    transform: Affine
    epsg: int


@dataclass(frozen=True)
class Content:
    """What a product shows: noise, unless a subclass knows better."""

    height: int = 24
    width: int = 20
    nm: tuple[float, ...] | None = None
    """Band centres of a hyperspectral product; None for the few that its layout is written with."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    def sized(self, height: int, width: int) -> Self:
        """The same with another size."""
        return replace(self, height=height, width=width)

    def numbers(
        self, nm: Sequence[float], low: int, high: int, scale: float, offset: float = 0.0, coarser: int = 1
    ) -> NDArray[Any]:
        """Whole numbers, (C, H, W), for value = number · scale + offset; noise lies between `low` and `high`."""
        return rng().integers(low, high, (len(nm), self.height // coarser, self.width // coarser), dtype=np.int32)

    def reflectance(self, nm: Sequence[float]) -> NDArray[Any]:
        """Values between 0 and 1, (C, H, W)."""
        return rng().random((len(nm), *self.shape), dtype=np.float32)


NOISE, SQUARE = Content(), Content(24, 24)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def north_up(pixel: float, left: float = LEFT, top: float = TOP) -> Affine:
    return Affine(pixel, 0, left, 0, -pixel, top)


def write_tif(path: Path, numbers: NDArray[Any], pixel: float, epsg: int | None = 32633, **profile: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = numbers if numbers.ndim == 3 else numbers[None]
    crs = CRS.from_epsg(epsg) if epsg else None
    with rasterio.open(
        path, "w", driver=profile.pop("driver", "GTiff"), width=numbers.shape[2], height=numbers.shape[1],
        count=len(numbers), dtype=numbers.dtype, crs=crs, transform=north_up(pixel), **profile,
    ) as file:  # fmt: skip
        file.write(numbers)


def write_safe(
    within: Path,
    content: Content = SQUARE,
    level: str = "2A",
    offset: int = -1000,
    pixel: int = 10,
    classes: bool = True,
) -> Written:
    name = f"S2B_MSIL{level}_20230823T095559_N0509_R122_T33UVP_20230823T124759"
    safe = within / f"{name}.SAFE"
    images = safe / "GRANULE" / f"L{level}_T33UVP_A033753_20230823T095553" / "IMG_DATA"
    sizes = {10: ("B02", "B03", "B04", "B08"), 20: ("B05", "B06", "B07", "B8A", "B11", "B12"), 60: ("B01", "B09")}
    nm = {10: [492.7, 559.8, 664.6, 832.8], 20: [704.1, 740.5, 782.8, 864.7, 1613.7, 2202.4], 60: [442.7, 945.1]}
    cubes = {}
    for size, bands in sizes.items():
        cubes[size] = content.numbers(nm[size], 1001, 9000, 1e-4, offset / 1e4, size // 10).astype(np.uint16)
        cubes[size][:, 0, 0] = 0
        folder = images / f"R{size}m" if level == "2A" else images
        for band, image in zip(bands, cubes[size], strict=True):
            end = f"_{size}m" if level == "2A" else ""
            write_tif(
                folder / f"T33UVP_20230823T095559_{band}{end}.jp2", image, size,
                driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES",
            )  # fmt: skip
    write_tif(images / "T33UVP_20230823T095559_TCI_10m.tif", np.zeros(content.shape, np.uint8), 10)
    quality = images.parent / "QI_DATA"
    write_tif(quality / "MSK_QUALIT_B02.jp2", np.zeros(content.shape, np.uint8), 10, driver="JP2OpenJPEG")
    cloudy = np.zeros((content.height // 2, content.width // 2), np.uint8) + 4
    cloudy[5, 6], cloudy[7, 8], cloudy[9, 9] = 9, 3, 2
    cloudy[0, 0] = 0 if level == "2A" else 4  # masks of level 1C do not speak of fill
    if classes and level == "2A":
        folder = images / "R20m"
        write_tif(folder / "T33UVP_20230823T095559_SCL_20m.tif", cloudy, 20)
    elif classes:
        found = np.stack((cloudy == 9, cloudy == 3, cloudy == 2)).astype(np.uint8)
        write_tif(quality / "MSK_CLASSI_B00.jp2", found, 20, driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES")
    kind = "BOA" if level == "2A" else "RADIO"
    offsets = "".join(f'<{kind}_ADD_OFFSET band_id="{band}">{offset}</{kind}_ADD_OFFSET>' for band in range(13))
    prefix = "BOA_" if level == "2A" else ""
    (safe / f"MTD_MSIL{level}.xml").write_text(
        f'<?xml version="1.0" encoding="UTF-8"?><n1:Level-{level}_User_Product xmlns:n1="https://psd-14"><n1:General_Info>'
        f"<SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME><{prefix}QUANTIFICATION_VALUE>10000</{prefix}QUANTIFICATION_VALUE>"
        f"{offsets if offset else ''}</n1:General_Info></n1:Level-{level}_User_Product>"
    )
    valid = np.ones(cubes[pixel].shape[1:], dtype=bool)
    if classes:
        grown = np.repeat(np.repeat(np.isin(cloudy, (0, 3, 9)), 2, 0), 2, 1)
        valid = ~(grown if pixel == 10 else np.isin(cloudy, (0, 3, 9)) if pixel == 20 else ~valid)
    valid[0, 0] = False
    return Written(safe, (cubes[pixel] + float(offset)) / 1e4, valid, nm[pixel], north_up(pixel), 32633)


def write_landsat(
    within: Path,
    content: Content = NOISE,
    folder: str = "LC08_L2SP_193024_20230707_20230718_02_T1",
    level: str = "2",
    satellite: int = 8,
) -> Written:
    reflective = {5: "123457", 7: "123457", 8: "1234567", 9: "1234567"}[satellite]
    oli = [443, 482, 561, 655, 865, 1609, 2201]
    nm = {5: [485, 560, 660, 830, 1650, 2220], 7: [479, 561, 661, 835, 1650, 2208], 8: oli, 9: oli}
    known = [float(value) for value in nm[satellite]]
    scale, offset = (2.75e-5, -0.2) if level == "2" else (2e-5, -0.1)
    cube = content.numbers(known, 1, 50000, scale, offset).astype(np.uint16)
    cube[:, 0, 0] = 0
    prefix = "SR_B" if level == "2" else "B"
    place = within / folder
    for band, image in zip(reflective, cube, strict=True):
        write_tif(place / f"{folder}_{prefix}{band}.TIF", image, 30)
    write_tif(place / f"{folder}_ST_B10.TIF", cube[0], 30)
    write_tif(place / f"{folder}_SR_QA_AEROSOL.TIF", cube[0].astype(np.uint8), 30)
    pixel = np.full(content.shape, 21824, np.uint16)  # clear
    pixel[0, 0], pixel[2, 3], pixel[4, 5], pixel[6, 7] = 1, 22280, 23888, 54596  # fill, cloud, shadow, cirrus
    radsat = np.zeros(content.shape, np.uint16)
    radsat[8, 9], radsat[10, 11], radsat[11, 12] = 1 << 0, 1 << 9, 1 << 7  # band 1; a thermal band; band 8
    write_tif(place / f"{folder}_QA_PIXEL.TIF", pixel, 30)
    write_tif(place / f"{folder}_QA_RADSAT.TIF", radsat, 30)
    files = "".join(f'    FILE_NAME_BAND_{band} = "{folder}_{prefix}{band}.TIF"\n' for band in reflective)
    surface = "".join(
        f"    REFLECTANCE_MULT_BAND_{band} = 2.75e-05\n    REFLECTANCE_ADD_BAND_{band} = -0.2\n" for band in reflective
    )
    toa = surface.replace("2.75e-05", "2.0000E-05").replace("-0.2", "-0.100000")
    radiance = surface.replace("REFLECTANCE", "RADIANCE").replace("2.75e-05", "1.2E-02")
    groups = {
        "PRODUCT_CONTENTS": files, "IMAGE_ATTRIBUTES": f'    SPACECRAFT_ID = "LANDSAT_{satellite}"\n',
        **({"LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": surface} if level == "2" else {}),
        "LEVEL1_RADIOMETRIC_RESCALING": radiance + toa,
    }  # fmt: skip
    text = "".join(f"  GROUP = {name}\n{lines}  END_GROUP = {name}\n" for name, lines in groups.items())
    (place / f"{folder}_MTL.txt").write_text(f"GROUP = LANDSAT_METADATA_FILE\n{text}END_GROUP = X\nEND\n")
    valid = np.ones(content.shape, dtype=bool)
    valid[0, 0] = valid[2, 3] = valid[4, 5] = valid[6, 7] = valid[8, 9] = False
    return Written(place, cube * scale + offset, valid, known, north_up(30), 32633)


def write_enmap(
    within: Path,
    content: Content = NOISE,
    stem: str = "ENMAP01-____L2A-DT0000001234_20230707T192008Z_001_V010303_20230922T131826Z-",
    lower: bool = False,
    gains: tuple[float, ...] = (),
    offsets: tuple[float, ...] = (),
    encoding: str = "UTF-8",
    cog: bool = False,
) -> Written:
    nm = list(content.nm or (420.0, 990.0, 905.0, 2440.0))  # steps back, as between VNIR and SWIR
    gains, offsets = (gains or (1e-4,) * len(nm)), (offsets or (0,) * len(nm))
    cube = content.numbers(nm, 1, 9000, 1e-4).astype(np.int16)
    cube[:, 0, :2] = -32768
    product = within / "product"

    def file(name: str) -> Path:
        return product / ((stem + name).lower() if lower else stem + name)

    write_tif(file("SPECTRAL_IMAGE_COG.TIF" if cog else "SPECTRAL_IMAGE.TIF"), cube, 30)
    layers = {"CLOUD": 1, "CIRRUS": 2, "HAZE": 1, "CLOUDSHADOW": 1, "CLASSES": 3, "SNOW": 1}
    valid = np.ones(content.shape, dtype=bool)
    valid[0, :2] = False
    for place, (layer, value) in enumerate(layers.items(), start=2):
        numbers = np.zeros(content.shape, np.uint8)
        numbers[place, place] = value
        write_tif(file(f"QL_QUALITY_{layer}.TIF"), numbers, 30)
        valid[place, place] = layer == "SNOW"
    write_tif(file("QL_VNIR.TIF"), np.zeros((3, *content.shape), np.uint8), 30)
    bands = "".join(
        f'<bandID number="{band}"><wavelengthCenterOfBand>{nm[band - 1]}</wavelengthCenterOfBand><FWHMOfBand>7.5'
        f"</FWHMOfBand><GainOfBand>{gains[band - 1]}</GainOfBand><OffsetOfBand>{offsets[band - 1]}</OffsetOfBand>"
        "</bandID>"
        for band in range(1, len(nm) + 1)
    )
    level = "L1C" if "L1C" in stem else "L2A"
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?><level_X><base><level>{level}</level>'
        "<place>Mühlacker</place></base>"
        f"<specific><bandCharacterisation>{bands}</bandCharacterisation><backgroundValue>-32768</backgroundValue>"
        "</specific></level_X>"
    )
    file("METADATA.XML").write_bytes(text.encode("latin-1" if encoding != "UTF-8" else "utf-8"))
    values = cube * np.array(gains)[:, None, None] + np.array(offsets)[:, None, None]
    return Written(product, values, valid, nm, north_up(30), 32633)


def write_desis(within: Path, content: Content = NOISE) -> Written:
    stem = "DESIS-HSI-L2A-DT0707652640_011-20220404T193259-V0220-"
    product, nm = within / "desis", list(content.nm or (402.0, 500.0, 999.0))
    cube = content.numbers(nm, 1, 9000, 1e-4).astype(np.int16)
    write_tif(product / f"{stem}SPECTRAL_IMAGE.tif", cube, 30, nodata=-32768, interleave="pixel")
    quality = np.zeros((9, *content.shape), np.uint8)
    quality[1] = 1  # land
    quality[0, 3, 3] = quality[5, 4, 4] = quality[3, 5, 5] = 1
    write_tif(product / f"{stem}QL_QUALITY-2.tif", quality, 30)
    bands = "".join(
        f"<band><bandNumber>{place}</bandNumber><wavelengthCenterOfBand>{centre}</wavelengthCenterOfBand>"
        "<wavelengthWidthOfBand>3.5</wavelengthWidthOfBand><gainOfBand>0.0001</gainOfBand><offsetOfBand>0</offsetOfBand></band>"
        for place, centre in enumerate(nm, start=1)
    )
    (product / f"{stem}METADATA.xml").write_text(
        "<hsi_doc><specific><interiorOrientation><band><bandNumber>1</bandNumber></band></interiorOrientation>"
        f"<bandCharacterisation>{bands}</bandCharacterisation></specific></hsi_doc>"
    )
    valid = np.ones(content.shape, dtype=bool)
    valid[[3, 4, 5], [3, 4, 5]] = False
    return Written(product, cube * 1e-4, valid, nm, north_up(30), 32633)


def write_hyperion(
    within: Path, content: Content = NOISE, numbers: tuple[int, ...] = (10, 9, 8, 57, 70, 71, 77, 224)
) -> Written:
    product = within / "EO1H0440342016184110KF"
    nm = [426.82 + 10.17532 * (number - 8) if number <= 70 else 851.92 + 10.0888 * (number - 71) for number in numbers]
    scale = np.array([1 / 40 if number <= 70 else 1 / 80 for number in numbers])[:, None, None]
    cube = np.minimum(content.numbers(nm, 1, 9000, 1e-4), 32767).astype(np.int16)
    cube[:, 0, 0] = 0
    for number, image in zip(numbers, cube, strict=True):
        write_tif(product / f"EO1H0440342016184110KF_B{number:03d}_L1T.TIF", image, 30)
    order = np.argsort(numbers)
    valid = np.ones(content.shape, dtype=bool)
    valid[0, 0] = False
    return Written(product, (cube * scale)[order], valid, [nm[place] for place in order], north_up(30), 32633)
