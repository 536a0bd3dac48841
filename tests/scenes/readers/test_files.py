"""Products of several files: folders, archives, metadata files, lists and patterns."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine

from hsfuse.errors import SceneError
from hsfuse.scenes import Scene
from hsfuse.scenes.readers import find_product
from hsfuse.scenes.readers.files import natural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conftest import Write

    from .layouts import Written


def _zip(folder: Path, archive: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(archive, "w", compression) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder.parent))
    return archive


def _tar(folder: Path, archive: Path, mode: str) -> Path:
    with tarfile.open(archive, mode) as file:  # type: ignore[call-overload]
        file.add(folder, arcname="./" + folder.name)
    return archive


def _same(path: Path, written: Written) -> None:
    scene = Scene.open(path)
    assert scene.grid.transform == written.transform
    block = scene.read(scene.grid.window)
    np.testing.assert_array_equal(block.valid, written.valid)
    np.testing.assert_allclose(block.values[:, written.valid], written.values[:, written.valid], rtol=1e-5, atol=1e-6)


# --- archives ---


@pytest.mark.parametrize("product", ["safe", "landsat", "enmap"])
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_archives_are_read_as_they_come(
    request: pytest.FixtureRequest, tmp_path: Path, product: str, kind: str
) -> None:
    written = request.getfixturevalue(f"write_{product}")()
    archive = tmp_path / f"download of {product}.bin"  # told by its first bytes, not by its name
    if kind == "zip":
        _zip(written.path, archive)
    else:
        _tar(written.path, archive, "w:gz" if kind == "tar.gz" else "w")
    shutil.rmtree(written.path)
    _same(archive, written)


def test_a_zip_inside_of_a_tar_as_enmap_is_delivered(write_enmap: Write, tmp_path: Path) -> None:
    written = write_enmap()
    delivery = tmp_path / "dims_op_oc"
    delivery.mkdir()
    _zip(written.path, delivery / "ENMAP01.ZIP")
    (delivery / "readme.html").write_text("hello")
    _same(_tar(delivery, tmp_path / "dims_op_oc.tar.gz", "w:gz"), written)


def test_hdf5_in_an_archive_is_to_be_unpacked(write_prisma: Write, tmp_path: Path) -> None:
    folder = write_prisma().path.parent / "PRS"
    folder.mkdir()
    (tmp_path / "scene.he5").rename(folder / "scene.he5")
    assert Scene.open(folder).count == 7
    with pytest.raises(SceneError, match=r"PRS\.zip: it holds PRS/scene\.he5: unpack it and name the file"):
        Scene.open(_zip(folder, tmp_path / "PRS.zip"))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_that_breaks_off(write_landsat: Write, tmp_path: Path, kind: str) -> None:
    written = write_landsat()
    archive = tmp_path / "a.bin"
    if kind == "zip":
        _zip(written.path, archive)
    else:
        _tar(written.path, archive, "w:gz")
    archive.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises(SceneError, match=r"a\.bin: (the archive|\S+_MTL\.txt|no product|none of the bands)"):
        Scene.open(archive)


def test_an_archive_of_a_kind_that_gdal_cannot_look_into(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.bz2"
    path.write_bytes(b"BZh91AY" + bytes(600))
    with pytest.raises(SceneError, match=r"a\.tar\.bz2: .* unpack it first"):
        Scene.open(path)


# --- Sentinel-2 ---


@pytest.mark.parametrize("pixel", [20, 60])
def test_sentinel2_at_other_resolutions(write_safe: Write, pixel: int) -> None:
    written = write_safe(pixel=pixel, classes=pixel != 60)
    scene = Scene.open(f"{written.path}:{pixel}m")
    assert scene.bands.wavelength_nm is not None
    assert scene.bands.wavelength_nm.tolist() == written.wavelength_nm
    assert scene.sensor == "sentinel-2b"
    block = scene.read(scene.grid.window)
    np.testing.assert_array_equal(block.valid, written.valid)
    np.testing.assert_allclose(block.values[:, written.valid], written.values[:, written.valid], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("level", "offset"), [("1C", -1000), ("1C", 0), ("2A", 0)])
def test_sentinel2_levels_and_baselines(write_safe: Write, level: str, offset: int) -> None:
    written = write_safe(level=level, offset=offset)
    _same(written.path, written)
    assert Scene.open(written.path).bands.names == ("B02", "B03", "B04", "B08")


def test_sentinel2_by_its_metadata_file(write_safe: Write) -> None:
    written = write_safe()
    _same(written.path / "MTD_MSIL2A.xml", written)


def test_sentinel2_without_its_images(write_safe: Write) -> None:
    written = write_safe()
    shutil.rmtree(written.path / "GRANULE")
    with pytest.raises(SceneError, match=r"SAFE: the product holds no bands of 10 m"):
        Scene.open(written.path)


def test_sentinel2_of_several_tiles(write_safe: Write) -> None:
    path = write_safe().path
    shutil.copytree(next((path / "GRANULE").iterdir()), path / "GRANULE" / "other")
    with pytest.raises(SceneError, match="several tiles"):
        Scene.open(path)


def test_sentinel2_damaged_metadata(write_safe: Write) -> None:
    path = write_safe().path
    (path / "MTD_MSIL2A.xml").write_text("<n1:Level-2A_User_Product")
    with pytest.raises(SceneError, match=r"MTD_MSIL2A\.xml is not whole XML"):
        Scene.open(path)


def test_sentinel2_a_band_file_that_breaks_off(write_safe: Write) -> None:
    path = write_safe().path
    band = next(path.rglob("*_B04_10m.jp2"))
    band.write_bytes(band.read_bytes()[:60])
    with pytest.raises(SceneError, match=r"SAFE: .*_B04_10m\.jp2: cannot be read as a raster"):
        Scene.open(path)


# --- Landsat ---


def test_landsat_level_1_and_older_satellites(write_landsat: Write) -> None:
    written = write_landsat(folder="LT05_L1TP_193024_19950707_20200912_02_T1", level="1", satellite=5)
    _same(written.path, written)
    scene = Scene.open(written.path)
    assert scene.sensor == "landsat-5"
    assert scene.bands.names == ("B1", "B2", "B3", "B4", "B5", "B7")


def test_landsat_by_its_metadata_file_beside_another_product(write_landsat: Write, tmp_path: Path) -> None:
    one, other = write_landsat(), write_landsat(folder="LC09_L2SP_193024_20230715_20230717_02_T1", satellite=9)
    together = tmp_path / "both"
    together.mkdir()
    for written in (one, other):
        for path in written.path.iterdir():
            shutil.copy(path, together)
    with pytest.raises(SceneError, match="several Landsat products"):
        Scene.open(together)
    _same(together / f"{other.path.name}_MTL.txt", other)
    assert Scene.open(together / f"{other.path.name}_MTL.txt").sensor == "landsat-9"


def test_landsat_says_which_bands_are_missing(write_landsat: Write) -> None:
    path = write_landsat().path
    next(path.glob("*_SR_B3.TIF")).unlink()
    scene = Scene.open(path)
    assert scene.count == 6
    assert scene.product_warnings == (f"{path}: B3 are missing",)


# --- EnMAP and DESIS ---


@pytest.mark.parametrize(
    "options",
    [
        {"lower": True}, {"cog": True}, {"encoding": "ISO-8859-1"},
        {"gains": (2e-5, 1e-5, 3e-5, 4e-6), "offsets": (0.1, 0, -0.2, 0)},
    ],
)  # fmt: skip
def test_enmap_in_its_variants(write_enmap: Write, options: dict[str, object]) -> None:
    written = write_enmap(**options)
    _same(written.path, written)
    _same(next(path for path in written.path.iterdir() if "SPECTRAL_IMAGE" in path.name.upper()), written)
    _same(next(path for path in written.path.iterdir() if "METADATA" in path.name.upper()), written)


def test_enmap_metadata_in_latin_1_that_say_utf_8(write_enmap: Write) -> None:
    written = write_enmap(encoding="ISO-8859-1")
    metadata = next(written.path.glob("*METADATA.XML"))
    metadata.write_bytes(metadata.read_bytes().replace(b"ISO-8859-1", b"UTF-8"))
    _same(written.path, written)


def test_enmap_keeps_the_scale_of_a_converted_file(write_enmap: Write) -> None:
    written = write_enmap()
    with rasterio.open(next(written.path.glob("*SPECTRAL_IMAGE.TIF")), "r+") as file:
        file.scales = (0.01,) * 4
    assert Scene.open(written.path).scales.tolist() == [0.01] * 4


def test_enmap_metadata_of_another_number_of_bands(write_enmap: Write) -> None:
    written = write_enmap()
    metadata = next(written.path.glob("*METADATA.XML"))
    text = metadata.read_text()
    metadata.write_text(text.replace(text[text.index("<bandID") : text.index("</bandID>") + 9], "", 1))
    with pytest.raises(SceneError, match=r"METADATA\.XML describes 3 bands, the image has 4"):
        Scene.open(written.path)


def test_enmap_bands_that_were_cut_out_of_an_image(write_enmap: Write) -> None:
    """The metadata beside it are no longer its own; the image may be used as it is."""
    path = next(write_enmap().path.glob("*SPECTRAL_IMAGE.TIF"))
    with rasterio.open(path) as file:
        numbers, profile = file.read([1, 3]), {**file.profile, "count": 2}
    with rasterio.open(path, "w", **profile) as file:
        file.write(numbers)
    scene = Scene.open(path)
    assert scene.count == 2
    assert scene.bands.wavelength_nm is None


def test_enmap_without_its_image(write_enmap: Write) -> None:
    path = write_enmap().path
    next(path.glob("*SPECTRAL_IMAGE.TIF")).unlink()
    with pytest.raises(SceneError, match="its SPECTRAL_IMAGE is not"):
        Scene.open(path)


def test_enmap_in_the_geometry_of_the_sensor(write_enmap: Write) -> None:
    folder = write_enmap().path
    image = next(folder.glob("*SPECTRAL_IMAGE.TIF"))
    for part in ("VNIR", "SWIR"):
        with rasterio.open(
            folder / image.name.replace(".TIF", f"_{part}.TIF"), "w", driver="GTiff", width=8, height=9, count=2,
            dtype="uint16", transform=Affine(1, 0, 5, 0, 1, 0),
        ) as file:  # fmt: skip
            file.write(NUMBERS[:2])
    image.unlink()
    with pytest.raises(SceneError, match=r"of level 1B, .* order the same scene as level L1C"):
        Scene.open(folder)


def test_quality_of_enmap_by_reason(write_enmap: Write) -> None:
    scene = Scene.open(write_enmap().path)
    assert scene.quality is not None
    reasons = scene.quality.reasons(scene.grid.window)
    assert {reason: np.argwhere(bad).tolist() for reason, bad in reasons.items()} == {
        "cloud": [[2, 2]], "cirrus": [[3, 3]], "haze": [[4, 4]], "shadow": [[5, 5]], "no data": [[6, 6]],
    }  # fmt: skip


# --- single bands ---


def test_hyperion_marks_bands_that_both_spectrometers_see(write_hyperion: Write) -> None:
    scene = Scene.open(write_hyperion().path)
    assert scene.bands.names == ("B008", "B009", "B010", "B057", "B070", "B071", "B077", "B224")
    assert [scene.bands.names[band] for band in np.flatnonzero(~scene.bands.good)] == ["B077"]
    assert scene.product_warnings[0].startswith("234 of Hyperion's 242 bands are missing")


def test_hyperion_in_hdf4_is_refused_where_gdal_lacks_the_driver(tmp_path: Path) -> None:
    path = tmp_path / "EO1H0440342016184110KF.L1R"
    path.write_bytes(b"\x0e\x03\x13\x01" + bytes(100))
    with pytest.raises(SceneError, match=r"\.L1R: (an HDF 4 file .* take the L1T|cannot be read)"):
        Scene.open(path)


NUMBERS = np.random.default_rng(3).integers(1, 9999, (12, 9, 8)).astype(np.uint16)


def _bands(folder: Path, names: Sequence[str], pixel: float = 10.0, dtype: str = "uint16") -> Path:
    folder.mkdir(exist_ok=True)
    for place, name in enumerate(names):
        with rasterio.open(
            folder / name, "w", driver="GTiff", width=8, height=9, count=1, dtype=dtype, crs="EPSG:32633",
            transform=Affine(pixel, 0, 5e5, 0, -pixel, 5e6), nodata=0,
        ) as file:  # fmt: skip
            file.write(NUMBERS[place].astype(dtype), 1)
    return folder


def test_bands_in_natural_order_of_their_names(tmp_path: Path) -> None:
    _bands(tmp_path / "a", [f"scene_B{number}.tif" for number in range(1, 13)])
    scene = Scene.open(tmp_path / "a")
    assert scene.bands.names == tuple(f"B{number}" for number in range(1, 13))
    np.testing.assert_array_equal(scene.read(scene.grid.window).values, NUMBERS)
    assert scene.bands.wavelength_nm is None


def test_the_sensor_by_the_names_of_the_files(tmp_path: Path) -> None:
    names = [f"LT05_L1TP_193024_19950707_20200912_02_T1_B{band}.TIF" for band in (1, 2, 3)]
    scene = Scene.open(_bands(tmp_path / "a", names))
    assert scene.sensor == "landsat-5"
    assert scene.bands.names == ("B1", "B2", "B3")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a_450nm.tif", "a_550.5nm.tif", "a_1600nm.tif"], [450, 550.5, 1600]),
        (["0.45um.tif", "0.55um.tif", "2.2um.tif"], [450, 550, 2200]),
        (["refl_450.tif", "refl_551.tif", "refl_1600.tif"], [450, 551, 1600]),
        (["2019_450.tif", "2019_551.tif", "2019_1600.tif"], None),
        (["tile_450_a.tif", "tile_450_b.tif", "tile_550_c.tif"], None),
        (["450.tif", "9551.tif", "1600.tif"], None),
    ],
)
def test_wavelengths_out_of_names_only_where_they_are_sure(
    tmp_path: Path, names: list[str], expected: list[float] | None
) -> None:
    found = Scene.open(_bands(tmp_path / "a", names)).bands.wavelength_nm
    assert (None if found is None else sorted(found.tolist())) == expected


def test_files_that_are_no_bands_and_coarser_ones_are_left_out(tmp_path: Path) -> None:
    folder = _bands(
        tmp_path / "a", ["x_B1.tif", "x_B2.tif", "x_QA_PIXEL.tif", "x_SCL.tif", "x_ST_B10.tif", "cloud_mask.tif"]
    )
    _bands(folder, ["x_B9.tif"], pixel=60)
    scene = Scene.open(folder)
    assert scene.bands.names == ("B1", "B2")
    assert "5 files were left out: " in scene.product_warnings[0]


def test_sentinel2_images_without_their_metadata(tmp_path: Path) -> None:
    names = [f"T33UVP_20230823T095559_{band}_10m.tif" for band in ("B08", "B02", "B03", "AOT", "TCI")]
    scene = Scene.open(_bands(tmp_path / "R10m", names))
    assert scene.bands.names == ("B02", "B03", "B08")
    assert scene.bands.wavelength_nm is not None
    assert scene.bands.wavelength_nm.tolist() == [492.7, 559.8, 832.8]


def test_lists_and_patterns(tmp_path: Path) -> None:
    folder = _bands(tmp_path / "a", ["b10.tif", "b9.tif", "c.tif"])
    listed = Scene.open(f"{folder / 'c.tif'},{folder / 'b9.tif'}")
    assert listed.bands.names == ("c", "b9")
    np.testing.assert_array_equal(listed.read(listed.grid.window).values, NUMBERS[[2, 1]])
    pattern = Scene.open(folder / "b*.tif")
    assert pattern.bands.names == ("B9", "B10")
    assert Scene.open(folder / "c*.tif").count == 1


@pytest.mark.parametrize("first", [0, 1])
def test_bands_of_complex_numbers_are_refused_wherever_they_stand(tmp_path: Path, first: int) -> None:
    kinds = ["complex64", "uint16"] if first == 0 else ["uint16", "complex64"]
    for name, kind in zip(("a.tif", "b.tif"), kinds, strict=True):
        _bands(tmp_path, [name], dtype=kind)
    with pytest.raises(SceneError, match="complex64 are no images"):
        Scene.open(f"{tmp_path}/a.tif,{tmp_path}/b.tif")


def test_band_descriptions_in_latin_1_are_passed_over(tmp_path: Path) -> None:
    _bands(tmp_path, ["a.tif", "b.tif"])
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.set_band_description(1, "Bläue")
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole.replace("Bläue".encode(), "Bl\xe4ues".encode("latin-1")))
    assert Scene.open(f"{tmp_path}/a.tif,{tmp_path}/b.tif").count == 2


def test_a_list_of_different_grids(tmp_path: Path) -> None:
    folder = _bands(tmp_path / "a", ["a.tif"])
    _bands(folder, ["b.tif"], pixel=20)
    with pytest.raises(SceneError, match="its bands lie on different grids"):
        Scene.open(f"{folder / 'a.tif'},{folder / 'b.tif'}")


def test_a_folder_of_one_image_keeps_what_it_says(write_enmap: Write, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    with rasterio.open(
        folder / "cube.img", "w", driver="ENVI", width=8, height=9, count=12, dtype="uint16", crs="EPSG:32633",
        transform=Affine(30, 0, 5e5, 0, -30, 5e6),
    ) as file:  # fmt: skip
        file.write(NUMBERS)
    nm = ", ".join(str(400 + 10 * band) for band in range(12))
    header = folder / "cube.hdr"
    header.write_text(header.read_text() + f"wavelength units = Nanometers\nwavelength = {{{nm}}}\n")
    scene = Scene.open(folder)
    assert scene.bands.wavelength_nm is not None
    assert scene.bands.wavelength_nm[1] == 410


def test_envi_without_a_suffix_and_with_rotated_map_info(tmp_path: Path) -> None:
    """AVIRIS-NG and SHIFT come so; the lines of their map info turn counter-clockwise."""
    folder = tmp_path / "ang20220224t195402_rfl"
    folder.mkdir()
    NUMBERS[:4].tofile(folder / "ang20220224t195402_rfl_img")
    (folder / "ang20220224t195402_rfl_img.hdr").write_text(
        "ENVI\nsamples = 8\nlines = 9\nbands = 4\nheader offset = 0\nfile type = ENVI Standard\ndata type = 12\n"
        "interleave = bsq\nbyte order = 0\nwavelength units = Nanometers\nwavelength = {400, 700, 1500, 2200}\n"
        "map info = {UTM, 1, 1, 500000, 5000000, 5.1, 5.1, 11, North, WGS-84, units=Meters, rotation=-24}\n"
    )
    scene = Scene.open(folder)
    expected = Affine.translation(5e5, 5e6) @ Affine.rotation(-24) @ Affine.scale(5.1, -5.1)
    np.testing.assert_allclose(tuple(scene.grid.transform), tuple(expected), atol=1e-9)
    np.testing.assert_allclose(scene.grid.pixel_size, 5.1)
    assert scene.bands.wavelength_nm is not None
    assert scene.bands.wavelength_nm.tolist() == [400, 700, 1500, 2200]
    np.testing.assert_array_equal(scene.read(scene.grid.window).values, NUMBERS[:4])
    with pytest.raises(SceneError, match="an ENVI image cannot be read inside of a tar"):
        Scene.open(_tar(folder, tmp_path / "a.tar.gz", "w:gz"))
    assert Scene.open(_zip(folder, tmp_path / "a.zip")).count == 4


def test_pipes_are_never_opened(tmp_path: Path) -> None:
    """Opening one waits for ever."""
    os.mkfifo(tmp_path / "METADATA.XML")
    assert find_product(str(tmp_path / "METADATA.XML")) is None
    with pytest.raises(SceneError, match="only nothing"):
        Scene.open(tmp_path)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", f"{'x' * 300},b.tif", f"netcdf:{'x' * 300}:a", f"{'x' * 300}:20m"])
def test_names_that_no_file_can_have_are_no_product(name: str) -> None:
    assert find_product(name) is None


def test_folders_without_a_product(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"no product or raster is in there, only nothing"):
        Scene.open(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SceneError, match=r"only notes\.txt: name the image itself"):
        Scene.open(tmp_path)


def test_several_images_of_many_bands(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        with rasterio.open(
            tmp_path / name, "w", driver="GTiff", width=8, height=9, count=12, dtype="uint16",
            transform=Affine(30, 0, 5e5, 0, -30, 5e6),
        ) as file:  # fmt: skip
            file.write(NUMBERS)
    with pytest.raises(SceneError, match=r"several images, a\.tif, b\.tif: name one of them"):
        Scene.open(tmp_path)


def test_a_pattern_or_list_of_nothing() -> None:
    for path in ("nowhere/*.tif", "nowhere/a.tif,nowhere/b.tif", "nowhere/a.SAFE:20m"):
        with pytest.raises(SceneError, match="there is no such file"):
            Scene.open(path)


def test_natural_order() -> None:
    names = ["B10", "b2", "B8A", "B8", "B1"]
    assert sorted(names, key=natural) == ["B1", "b2", "B8", "B8A", "B10"]
