"""Small products, written as their documents describe them, each with what must be read out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import h5py
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LEFT, TOP = 500_000.0, 5_000_000.0
HEIGHT, WIDTH = 24, 20


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


class Write(Protocol):
    """A fixture that writes a product, with options of its own."""

    def __call__(self, **options: Any) -> Written: ...


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def north_up(pixel: float, left: float = LEFT, top: float = TOP) -> Affine:
    return Affine(pixel, 0, left, 0, -pixel, top)


def write_tif(path: Path, numbers: NDArray[Any], pixel: float, epsg: int = 32633, **profile: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = numbers if numbers.ndim == 3 else numbers[None]
    with rasterio.open(
        path, "w", driver=profile.pop("driver", "GTiff"), width=numbers.shape[2], height=numbers.shape[1],
        count=len(numbers), dtype=numbers.dtype, crs=CRS.from_epsg(epsg), transform=north_up(pixel), **profile,
    ) as file:  # fmt: skip
        file.write(numbers)


@pytest.fixture
def write_prisma(tmp_path: Path) -> Write:
    def write(
        name: str = "scene.he5",
        level: str = "L2D",
        corners: str = "centres",
        overlap: bool = False,
        errors: bool = True,
    ) -> Written:
        path = tmp_path / name
        vnir_nm, swir_nm = np.array([0, 930.0, 700, 550, 410]), np.array([2400.0, 1600, 960, 0])
        if overlap:
            swir_nm[2] = 925.0
        numbers = {"VNIR": (HEIGHT, 5, WIDTH), "SWIR": (HEIGHT, 4, WIDTH)}
        cubes = {part: rng().integers(1, 65535, shape).astype(np.uint16) for part, shape in numbers.items()}
        for cube in cubes.values():
            cube[:3, :, :2] = 0  # collar
        error = {part: np.zeros(cube.shape, np.uint8) for part, cube in cubes.items()}
        error["VNIR"][5, :, 6] = error["SWIR"][5, :, 6] = 3
        error["VNIR"][7, 1, 8] = 3  # a single band
        error["VNIR"][9, :, 9] = error["SWIR"][9, :, 9] = 2  # below zero is no fault
        ends = {"Vnir": (-0.1, 0.9), "Swir": (0.0, 0.7)}
        with h5py.File(path, "w") as file:
            fields = file.create_group(f"HDFEOS/SWATHS/PRS_{level}_HCO/Data Fields")
            for part, cube in cubes.items():
                fields.create_dataset(f"{part}_Cube", data=cube, compression=4, chunks=(8, 2, WIDTH))
                if errors:
                    fields.create_dataset(f"{part}_PIXEL_L2_ERR_MATRIX", data=error[part])
            for part, nm in (("Vnir", vnir_nm), ("Swir", swir_nm)):
                file.attrs[f"List_Cw_{part}"] = nm.astype("float32")
                file.attrs[f"List_Cw_{part}_Flags"] = (nm > 0).astype(np.uint8)
                file.attrs[f"List_Fwhm_{part}"] = np.full(len(nm), 11, "float32")
                file.attrs[f"L2Scale{part}Min"], file.attrs[f"L2Scale{part}Max"] = map(np.float32, ends[part])
            file.attrs["Epsg_Code"] = np.uint32(32633)
            inset = 15 if corners == "centres" else 0
            file.attrs["Product_ULcorner_easting"] = LEFT + inset
            file.attrs["Product_ULcorner_northing"] = TOP - inset
            file.attrs["Product_LRcorner_easting"] = LEFT + 30 * WIDTH - inset
            file.attrs["Product_LRcorner_northing"] = TOP - 30 * HEIGHT + inset
        reflectance = {
            part: low + cubes[part.upper()].astype(float) / 65535 * (high - low) for part, (low, high) in ends.items()
        }
        vnir = [4, 3, 2] if overlap else [4, 3, 2, 1]
        values = np.concatenate((reflectance["Vnir"][:, vnir], reflectance["Swir"][:, [2, 1, 0]]), axis=1)
        valid = np.ones((HEIGHT, WIDTH), dtype=bool)
        valid[:3, :2] = valid[5, 6] = False
        nm_read = [*vnir_nm[vnir].tolist(), *swir_nm[[2, 1, 0]].tolist()]
        return Written(path, values.transpose(1, 0, 2), valid, nm_read, north_up(30), 32633)

    return write


@pytest.fixture
def write_emit(tmp_path: Path) -> Write:
    def write(
        name: str = "EMIT_L2A_RFL_001_20230401T203751_2309114_002.nc",
        image: str = "reflectance",
        mask: bool = False,
        glt_x: NDArray[np.int32] | None = None,
    ) -> Written:
        path = tmp_path / name
        rows, columns, bands = 150, 18, 6
        cube = rng().random((rows, columns, bands)).astype(np.float32)
        nm = np.array([400, 600, 800, 1380, 1600, 2200], np.float32)
        # The swath lies turned on the map, so that a column of the map crosses many rows of the swath.
        height, width = 30, 160
        x, y = np.zeros((height, width), np.int32), np.zeros((height, width), np.int32)
        x[5:23, 6:156] = np.arange(1, 19)[:, None]
        y[5:23, 6:156] = np.arange(1, 151)[None]
        x[6, 7] *= -1  # filled from a neighbour, as in lookup tables of AVIRIS
        y[6, 7] *= -1
        with h5py.File(path, "w") as file:
            file.create_dataset(image, data=cube, compression=4, chunks=(32, 18, 6)).attrs["_FillValue"] = -9999.0
            parameters = file.create_group("sensor_band_parameters")
            parameters["wavelengths"], parameters["fwhm"] = nm, np.full(bands, 8.5, np.float32)
            parameters["good_wavelengths"] = np.array([1, 1, 1, 0, 1, 1], np.float32)
            _write_lookup(file, x if glt_x is None else glt_x, y)
        values = np.full((bands, height, width), -9999.0)
        values[:, 5:23, 6:156] = cube.transpose(2, 1, 0)
        valid = values[0] != -9999
        if mask:
            names = [b"Cloud flag", b"Cirrus flag", b"Water flag", b"Spacecraft Flag", b"Dilated Cloud Flag", b"AOD550"]
            layers = np.zeros((rows, columns, 6), np.float32)
            layers[10:20, 3, 0] = layers[40, 5, 1] = 1
            layers[60, 5, 2] = 1  # water is no fault
            layers[..., 5] = 1.0
            with h5py.File(tmp_path / name.replace("_RFL_", "_MASK_"), "w") as file:
                file.create_dataset("mask", data=layers)
                file["sensor_band_parameters/mask_bands"] = names
                _write_lookup(file, x, y)
            valid[5 + 3, 6 + 10 : 6 + 20] = valid[5 + 5, 6 + 40] = False
        return Written(path, values, valid, nm.tolist(), Affine(1e-3, 0, 15, 0, -1e-3, 45), 4326)

    return write


def _write_lookup(file: h5py.File, x: NDArray[np.int32], y: NDArray[np.int32]) -> None:
    for name, index in (("glt_x", x), ("glt_y", y)):
        file.create_dataset(f"location/{name}", data=index).attrs["_FillValue"] = np.array([0], np.int32)
    file.attrs["geotransform"] = np.array([15.0, 1e-3, 0, 45.0, 0, -1e-3])
    file.attrs["spatial_ref"] = CRS.from_epsg(4326).to_wkt()


@pytest.fixture
def write_neon(tmp_path: Path) -> Write:
    def write(name: str = "flight.h5", rotation: float | None = None) -> Written:
        path = tmp_path / name
        cube = rng().integers(0, 9000, (HEIGHT, WIDTH, 5)).astype(np.int16)
        cube[4, 5] = -9999
        nm = [400.0, 700, 1400, 1900, 2300]
        turned = "" if rotation is None else f", rotation={rotation}"
        with h5py.File(path, "w") as file:
            group = file.create_group("SJER/Reflectance")
            group.attrs["Band_Window_1_Nanometers"], group.attrs["Band_Window_2_Nanometers"] = (
                [1340, 1445],
                [1790, 1955],
            )
            image = group.create_dataset("Reflectance_Data", data=cube)
            image.attrs["Data_Ignore_Value"], image.attrs["Scale_Factor"] = np.array([-9999.0]), np.array([10000.0])
            group["Metadata/Coordinate_System/EPSG Code"] = np.array([b"32611"])
            group["Metadata/Coordinate_System/Map_Info"] = (
                f"UTM,  1.000,  1.000,  {LEFT:.2f},  {TOP},  1.0000000,  1.0000000,  11,  North,  WGS-84,  units=Meters"
                f"{turned}"
            )
            group["Metadata/Spectral_Data/Wavelength"], group["Metadata/Spectral_Data/FWHM"] = nm, np.full(5, 5.5)
        valid = (cube != -9999).all(axis=2)
        transform = Affine.translation(LEFT, TOP) @ Affine.rotation(rotation or 0) @ Affine.scale(1, -1)
        return Written(path, cube.transpose(2, 0, 1) / 1e4, valid, nm, transform, 32611)

    return write


@pytest.fixture
def write_tanager(tmp_path: Path) -> Write:
    def write(name: str = "scene.h5", group: str = "GRIDS", structure: bool = True) -> Written:
        path = tmp_path / name
        cube = rng().random((4, HEIGHT, WIDTH)).astype(np.float32)
        cube[:, 1, 1] = -9999
        cloud, nodata = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
        cloud[3, 4], nodata[1, 1] = 1, 1
        with h5py.File(path, "w") as file:
            fields = file.create_group(f"HDFEOS/{group}/HYP/Data Fields")
            image = fields.create_dataset("surface_reflectance", data=cube)
            image.attrs["wavelengths"], image.attrs["fwhm"] = [450.0, 650, 1380, 2200], np.full(4, 6.0)
            image.attrs["good_wavelengths"], image.attrs["_FillValue"] = [1, 1, 0, 1], np.float32(-9999)
            fields["beta_cloud_mask"], fields["nodata_pixels"] = cloud, nodata
            file[f"HDFEOS/{group}/HYP"].attrs["epsg_code"] = 32633
            if structure:
                corners = (
                    f"\t\tUpperLeftPointMtrs=({LEFT},{TOP})\n\t\tLowerRightMtrs=({LEFT + 600:.1f},{TOP - 720:.1f})\n"
                )
                file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(corners)
        valid = np.ones((HEIGHT, WIDTH), dtype=bool)
        valid[1, 1] = valid[3, 4] = False
        return Written(path, cube.astype(float), valid, [450, 650, 1380, 2200], north_up(30), 32633)

    return write


@pytest.fixture
def write_netcdf(tmp_path: Path) -> Write:
    """What xarray writes: `order` are the names of the axes, south up if wanted."""

    def write(
        name: str = "cube.nc",
        order: tuple[str, ...] = ("y", "x", "wavelength"),
        south_up: bool = False,
        units: str = "nm",
        extra: str | None = None,
    ) -> Written:
        path = tmp_path / name
        nm = np.array([2200.0, 450, 650])
        cube = rng().integers(1, 9999, (3, HEIGHT, WIDTH)).astype(np.int16)
        cube[:, 2, 3] = -1
        degrees = order[0] in {"lat", "lon"} or "lat" in order
        pixel, left, top = (1e-3, 15.0, 45.0) if degrees else (30.0, LEFT, TOP)
        y, x = top - (np.arange(HEIGHT) + 0.5) * pixel, left + (np.arange(WIDTH) + 0.5) * pixel
        stored = cube[:, ::-1] if south_up else cube
        kinds = {"lat": "y", "lon": "x", "latitude": "y", "longitude": "x", "northing": "y", "easting": "x"}
        natural = ["wavelength", "y", "x"]
        axes = [natural.index(kinds.get(axis, axis if axis in natural else "wavelength")) for axis in order]
        values_of = {
            "wavelength": nm * (1e-3 if units == "um" else 1), "y": y[::-1] if south_up else y, "x": x,
        }  # fmt: skip
        with h5py.File(path, "w") as file:
            image = file.create_dataset("reflectance", data=stored.transpose(axes))
            image.attrs["_FillValue"], image.attrs["scale_factor"] = np.int16(-1), 1e-4
            for place, (axis, which) in enumerate(zip(order, axes, strict=True)):
                scale = file.create_dataset(axis, data=values_of[natural[which]])
                scale.make_scale(axis)
                image.dims[place].attach_scale(scale)
                if which == 0:
                    scale.attrs["units"] = units
            if not degrees:
                image.attrs["grid_mapping"] = "spatial_ref"
                file.create_dataset("spatial_ref", data=0).attrs["crs_wkt"] = CRS.from_epsg(32633).to_wkt()
            if extra:
                double = file.create_dataset(extra, data=stored.transpose(axes))
                for place, axis in enumerate(order):
                    double.dims[place].attach_scale(file[axis])
        valid = np.ones((HEIGHT, WIDTH), dtype=bool)
        valid[2, 3] = False
        return Written(path, cube * 1e-4, valid, nm.tolist(), north_up(pixel, left, top), 4326 if degrees else 32633)

    return write


@pytest.fixture
def write_safe(tmp_path: Path) -> Write:
    def write(level: str = "2A", offset: int = -1000, pixel: int = 10, classes: bool = True) -> Written:
        name = f"S2B_MSIL{level}_20230823T095559_N0509_R122_T33UVP_20230823T124759"
        safe = tmp_path / f"{name}.SAFE"
        images = safe / "GRANULE" / f"L{level}_T33UVP_A033753_20230823T095553" / "IMG_DATA"
        sizes = {10: ("B02", "B03", "B04", "B08"), 20: ("B05", "B06", "B07", "B8A", "B11", "B12"), 60: ("B01", "B09")}
        cubes = {}
        for size, bands in sizes.items():
            shape = (len(bands), 120 // size * 2, 120 // size * 2)
            cubes[size] = rng().integers(1001, 9000, shape).astype(np.uint16)
            cubes[size][:, 0, 0] = 0
            folder = images / f"R{size}m" if level == "2A" else images
            for band, image in zip(bands, cubes[size], strict=True):
                end = f"_{size}m" if level == "2A" else ""
                write_tif(
                    folder / f"T33UVP_20230823T095559_{band}{end}.jp2", image, size,
                    driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES",
                )  # fmt: skip
        write_tif(images / "T33UVP_20230823T095559_TCI_10m.tif", np.zeros((24, 24), np.uint8), 10)
        quality = images.parent / "QI_DATA"
        write_tif(quality / "MSK_QUALIT_B02.jp2", np.zeros((24, 24), np.uint8), 10, driver="JP2OpenJPEG")
        cloudy = np.zeros((12, 12), np.uint8) + 4
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
        nm = {10: [492.7, 559.8, 664.6, 832.8], 20: [704.1, 740.5, 782.8, 864.7, 1613.7, 2202.4], 60: [442.7, 945.1]}
        valid = np.ones(cubes[pixel].shape[1:], dtype=bool)
        if classes:
            grown = np.repeat(np.repeat(np.isin(cloudy, (0, 3, 9)), 2, 0), 2, 1)
            valid = ~(grown if pixel == 10 else np.isin(cloudy, (0, 3, 9)) if pixel == 20 else ~valid)
        valid[0, 0] = False
        return Written(safe, (cubes[pixel] + float(offset)) / 1e4, valid, nm[pixel], north_up(pixel), 32633)

    return write


@pytest.fixture
def write_landsat(tmp_path: Path) -> Write:
    def write(
        folder: str = "LC08_L2SP_193024_20230707_20230718_02_T1", level: str = "2", satellite: int = 8
    ) -> Written:
        reflective = {5: "123457", 7: "123457", 8: "1234567", 9: "1234567"}[satellite]
        cube = rng().integers(1, 50000, (len(reflective), HEIGHT, WIDTH)).astype(np.uint16)
        cube[:, 0, 0] = 0
        prefix = "SR_B" if level == "2" else "B"
        place = tmp_path / folder
        for band, image in zip(reflective, cube, strict=True):
            write_tif(place / f"{folder}_{prefix}{band}.TIF", image, 30)
        write_tif(place / f"{folder}_ST_B10.TIF", cube[0], 30)
        write_tif(place / f"{folder}_SR_QA_AEROSOL.TIF", cube[0].astype(np.uint8), 30)
        pixel = np.full((HEIGHT, WIDTH), 21824, np.uint16)  # clear
        pixel[0, 0], pixel[2, 3], pixel[4, 5], pixel[6, 7] = 1, 22280, 23888, 54596  # fill, cloud, shadow, cirrus
        radsat = np.zeros((HEIGHT, WIDTH), np.uint16)
        radsat[8, 9], radsat[10, 11], radsat[11, 12] = 1 << 0, 1 << 9, 1 << 7  # band 1; a thermal band; band 8
        write_tif(place / f"{folder}_QA_PIXEL.TIF", pixel, 30)
        write_tif(place / f"{folder}_QA_RADSAT.TIF", radsat, 30)
        files = "".join(f'    FILE_NAME_BAND_{band} = "{folder}_{prefix}{band}.TIF"\n' for band in reflective)
        surface = "".join(
            f"    REFLECTANCE_MULT_BAND_{band} = 2.75e-05\n    REFLECTANCE_ADD_BAND_{band} = -0.2\n"
            for band in reflective
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
        scale, offset = (2.75e-5, -0.2) if level == "2" else (2e-5, -0.1)
        valid = np.ones((HEIGHT, WIDTH), dtype=bool)
        valid[0, 0] = valid[2, 3] = valid[4, 5] = valid[6, 7] = valid[8, 9] = False
        nm = {"8": [443, 482, 561, 655, 865, 1609, 2201], "5": [485, 560, 660, 830, 1650, 2220]}
        known = [float(value) for value in nm["8" if satellite > 7 else "5"]]
        return Written(place, cube * scale + offset, valid, known, north_up(30), 32633)

    return write


@pytest.fixture
def write_enmap(tmp_path: Path) -> Write:
    def write(
        stem: str = "ENMAP01-____L2A-DT0000001234_20230707T192008Z_001_V010303_20230922T131826Z-",
        lower: bool = False,
        gains: tuple[float, ...] = (1e-4, 1e-4, 1e-4, 1e-4),
        offsets: tuple[float, ...] = (0, 0, 0, 0),
        encoding: str = "UTF-8",
        cog: bool = False,
    ) -> Written:
        nm = [420.0, 990.0, 905.0, 2440.0]  # steps back, as between VNIR and SWIR
        cube = rng().integers(1, 9000, (4, HEIGHT, WIDTH)).astype(np.int16)
        cube[:, 0, :2] = -32768
        folder = tmp_path / "product"

        def file(name: str) -> Path:
            return folder / ((stem + name).lower() if lower else stem + name)

        write_tif(file("SPECTRAL_IMAGE_COG.TIF" if cog else "SPECTRAL_IMAGE.TIF"), cube, 30)
        layers = {"CLOUD": 1, "CIRRUS": 2, "HAZE": 1, "CLOUDSHADOW": 1, "CLASSES": 3, "SNOW": 1}
        valid = np.ones((HEIGHT, WIDTH), dtype=bool)
        valid[0, :2] = False
        for place, (layer, value) in enumerate(layers.items(), start=2):
            numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
            numbers[place, place] = value
            write_tif(file(f"QL_QUALITY_{layer}.TIF"), numbers, 30)
            valid[place, place] = layer == "SNOW"
        write_tif(file("QL_VNIR.TIF"), np.zeros((3, HEIGHT, WIDTH), np.uint8), 30)
        bands = "".join(
            f'<bandID number="{band}"><wavelengthCenterOfBand>{nm[band - 1]}</wavelengthCenterOfBand><FWHMOfBand>7.5'
            f"</FWHMOfBand><GainOfBand>{gains[band - 1]}</GainOfBand><OffsetOfBand>{offsets[band - 1]}</OffsetOfBand>"
            "</bandID>"
            for band in range(1, 5)
        )
        text = (
            f'<?xml version="1.0" encoding="{encoding}"?><level_X><base><level>L2A</level>'
            "<place>Mühlacker</place></base>"
            f"<specific><bandCharacterisation>{bands}</bandCharacterisation><backgroundValue>-32768</backgroundValue>"
            "</specific></level_X>"
        )
        file("METADATA.XML").write_bytes(text.encode("latin-1" if encoding != "UTF-8" else "utf-8"))
        values = cube * np.array(gains)[:, None, None] + np.array(offsets)[:, None, None]
        return Written(folder, values, valid, nm, north_up(30), 32633)

    return write


@pytest.fixture
def write_desis(tmp_path: Path) -> Write:
    def write() -> Written:
        stem = "DESIS-HSI-L2A-DT0707652640_011-20220404T193259-V0220-"
        folder, nm = tmp_path / "desis", [402.0, 500.0, 999.0]
        cube = rng().integers(1, 9000, (3, HEIGHT, WIDTH)).astype(np.int16)
        write_tif(folder / f"{stem}SPECTRAL_IMAGE.tif", cube, 30, nodata=-32768, interleave="pixel")
        quality = np.zeros((9, HEIGHT, WIDTH), np.uint8)
        quality[1] = 1  # land
        quality[0, 3, 3] = quality[5, 4, 4] = quality[3, 5, 5] = 1
        write_tif(folder / f"{stem}QL_QUALITY-2.tif", quality, 30)
        bands = "".join(
            f"<band><bandNumber>{place}</bandNumber><wavelengthCenterOfBand>{centre}</wavelengthCenterOfBand>"
            "<wavelengthWidthOfBand>3.5</wavelengthWidthOfBand><gainOfBand>0.0001</gainOfBand><offsetOfBand>0</offsetOfBand></band>"
            for place, centre in enumerate(nm, start=1)
        )
        (folder / f"{stem}METADATA.xml").write_text(
            "<hsi_doc><specific><interiorOrientation><band><bandNumber>1</bandNumber></band></interiorOrientation>"
            f"<bandCharacterisation>{bands}</bandCharacterisation></specific></hsi_doc>"
        )
        valid = np.ones((HEIGHT, WIDTH), dtype=bool)
        valid[[3, 4, 5], [3, 4, 5]] = False
        return Written(folder, cube * 1e-4, valid, nm, north_up(30), 32633)

    return write


@pytest.fixture
def write_hyperion(tmp_path: Path) -> Write:
    def write(numbers: tuple[int, ...] = (10, 9, 8, 57, 70, 71, 77, 224)) -> Written:
        folder = tmp_path / "EO1H0440342016184110KF"
        cube = rng().integers(1, 9000, (len(numbers), HEIGHT, WIDTH)).astype(np.int16)
        cube[:, 0, 0] = 0
        for number, image in zip(numbers, cube, strict=True):
            write_tif(folder / f"EO1H0440342016184110KF_B{number:03d}_L1T.TIF", image, 30)
        order = np.argsort(numbers)
        scale = np.array([1 / 40 if number <= 70 else 1 / 80 for number in numbers])[:, None, None]
        known = {8: 426.82, 9: 436.995, 10: 447.171, 57: 925.41, 70: 1057.69, 71: 851.92, 77: 912.45, 224: 2395.5}
        valid = np.ones((HEIGHT, WIDTH), dtype=bool)
        valid[0, 0] = False
        nm = [known[numbers[place]] for place in order]
        return Written(folder, (cube * scale)[order], valid, nm, north_up(30), 32633)

    return write
