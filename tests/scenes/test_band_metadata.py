"""Which of several answers about wavelengths is taken, and what the user is told of the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hsfuse.errors import SceneError
from hsfuse.scenes import Scene

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteRaster

NM = [450.5, 660.25, 2200.0]
CUBE = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5) + 1


# --- tables of text ---


@pytest.mark.parametrize(
    "text",
    [
        "450.5\n660.25\n2200\n",
        "450.5,\n660.25,\n2200,\n",
        "1 450.5\n2 660.25\n3 2200\n",
        "0,450.5\n1,660.25\n2,2200\n",
        "B2,450.5\nB4,660.25\nB12,2200\n",
        "# centres of the instrument\n450.5\n660.25\n2200\n",
        "# wavelength\n450.5\n660.25\n2200\n",
        "450,5;7\n660,25;8\n2200;9\n",
        "1\t450,5\n2\t660,25\n3\t2200\n",
        "450,5 7,5\n660,25 8,5\n2200 9,5\n",
        "Band;Wellenlänge;wavelength (nm)\n1;x;450,5\n2;x;660,25\n3;x;2200\n",
        "Band, Center Wavelength (nm), x\n1,450.5,9\n2,660.25,9\n3,2200,9\n",
        "band wavelength (µm) fwhm (nm)\n1 0.4505 7\n2 0.66025 8\n3 2.2 9\n",
        ",wavelength [um],fwhm_nm\n0,0.4505,7\n1,0.66025,8\n2,2.2,9\n",
        "nm\n450.5\n660.25\n2200\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-16"])
def test_tables_as_programs_write_them(write_raster: WriteRaster, tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "t.txt").write_bytes(text.encode(encoding))
    bands = Scene.open(write_raster("a.tif", CUBE), wavelengths=tmp_path / "t.txt").bands
    assert bands.wavelength_nm == pytest.approx(NM)
    if bands.fwhm_nm is not None:
        assert bands.fwhm_nm == pytest.approx([7, 8, 9], abs=0.51)


def test_a_table_that_only_counts_the_bands_is_refused(write_raster: WriteRaster, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("1\n2\n3\n")
    with pytest.raises(SceneError, match=r"t\.txt: what it gives as wavelengths counts the bands"):
        Scene.open(write_raster("a.tif", CUBE), wavelengths=tmp_path / "t.txt")


def test_a_table_takes_flags_but_no_widths_from_the_file(write_raster: WriteRaster, tmp_path: Path) -> None:
    tags = [{"wavelength": f"{nm / 2}", "fwhm": "3", "bbl": bbl} for nm, bbl in zip(NM, "101", strict=True)]
    (tmp_path / "t.txt").write_text("450.5\n660.25\n2200\n")
    scene = Scene.open(write_raster("a.tif", CUBE, band_tags=tags), wavelengths=tmp_path / "t.txt")
    assert scene.bands.wavelength_nm == pytest.approx(NM)
    assert scene.bands.fwhm_nm is None
    assert scene.bands.good.tolist() == [True, False, True]
    assert not scene.warnings


# --- places that say different things ---


def header(path: Path, wavelength: str, more: str = "") -> None:
    size = "samples = 5\nlines = 4\nbands = 3\n"
    path.write_text(f"ENVI\n{size}wavelength units = nm\nwavelength = {{{wavelength}}}\n{more}")


def test_a_header_of_other_wavelengths_gives_nothing_and_that_is_said(
    write_raster: WriteRaster, tmp_path: Path
) -> None:
    header(tmp_path / "a.hdr", "900, 1000, 1100", "fwhm = {50, 50, 50}\nbbl = {0, 0, 0}\n")
    scene = Scene.open(write_raster("a.tif", CUBE, wavelengths=NM))
    assert scene.bands.wavelength_nm == pytest.approx(NM)
    assert scene.bands.fwhm_nm is None
    assert scene.bands.good.all()
    said = "the ENVI header beside it: other wavelengths (900 to 1100 nm) than the bands' tags (450.5 to 2200 nm)"
    assert said in scene.warnings[0]


def test_a_header_of_the_same_wavelengths_gives_the_widths(write_raster: WriteRaster, tmp_path: Path) -> None:
    header(tmp_path / "a.hdr", "450, 661, 2201", "fwhm = {7, 8, 9}\n")
    scene = Scene.open(write_raster("a.tif", CUBE, wavelengths=NM))
    assert scene.bands.wavelength_nm == pytest.approx(NM)
    assert scene.bands.fwhm_nm == pytest.approx([7, 8, 9])
    assert not scene.warnings


def test_absurd_wavelengths_do_not_hide_later_ones(write_raster: WriteRaster, tmp_path: Path) -> None:
    header(tmp_path / "a.hdr", "450.5, 660.25, 2200")
    tags = [{"wavelength": nm, "wavelength_units": "nm"} for nm in ("100", "110", "120")]
    scene = Scene.open(write_raster("a.tif", CUBE, band_tags=tags))
    assert scene.bands.wavelength_nm == pytest.approx(NM)
    assert scene.bands.source == "the ENVI header beside it"
    assert "the bands' tags: wavelengths (100 to 120 nm) that are not those of an imager" in scene.warnings[0]


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        ({"wavelength": "{1, 2, 3}", "wavelength units": "Index"}, "counts the bands"),
        ({"wavelength": "{1, 2, 3}"}, "counts the bands"),
        (
            {"wavelength": "{10500, 8200, 4000}", "wavelength units": "Wavenumber"},
            "in 'Wavenumber', which is no length",
        ),
        ({"wavelength": "{450, 560}"}, "2 wavelengths for 3 bands"),
    ],
)
def test_what_is_no_list_of_wavelengths_is_passed_over_and_said(
    write_raster: WriteRaster, tags: dict[str, str], sentence: str
) -> None:
    scene = Scene.open(write_raster("a.tif", CUBE, tags=tags))
    assert scene.bands.wavelength_nm is None
    assert sentence in scene.warnings[0]


@pytest.mark.parametrize(
    ("unit", "numbers", "doubt"),
    [
        ("nm", ["450.5", "660.25", "2200"], ""),
        ("", ["450.5", "660.25", "2200"], " (no usable unit, taken for nm)"),
        ("Unknown", ["0.4505", "0.66025", "2.2"], " (no usable unit, taken for µm)"),
        ("m", ["0.4505", "0.66025", "2.2"], " (no usable unit, taken for µm)"),
    ],
)
def test_a_unit_that_was_guessed_is_said(write_raster: WriteRaster, unit: str, numbers: list[str], doubt: str) -> None:
    tags = [{"wavelength": number, "wavelength_units": unit} for number in numbers]
    bands = Scene.open(write_raster("a.tif", CUBE, band_tags=tags)).bands
    assert bands.wavelength_nm == pytest.approx(NM)
    assert bands.source == f"the bands' tags{doubt}"


# --- names and letters ---


def test_bounds_of_bands_in_descriptions(write_raster: WriteRaster) -> None:
    names = ["Blue (0.45-0.52 µm)", "Green 520 nm to 600 nm", "Red 0.63 \N{EN DASH} 0.69um"]
    bands = Scene.open(write_raster("a.tif", CUBE, descriptions=names)).bands
    assert bands.wavelength_nm == pytest.approx([485, 560, 660])


def test_descriptions_in_latin_1(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", CUBE, descriptions=[f"XX {nm} nm" for nm in NM])
    path.write_bytes(path.read_bytes().replace(b"XX", "é ".encode("latin-1")))
    bands = Scene.open(path).bands
    assert bands.wavelength_nm == pytest.approx(NM)
    assert bands.names[0] == "é  450.5 nm"


@pytest.mark.parametrize("name", ["a.HDR", "A.hdr", "a.tif.Hdr", "a.WVL"])
def test_names_of_files_beside_it_in_any_case(write_raster: WriteRaster, tmp_path: Path, name: str) -> None:
    if name.endswith("WVL"):
        (tmp_path / name).write_text("wl\n450.5\n660.25\n2200\n")
    else:
        header(tmp_path / name, "450.5, 660.25, 2200")
    assert Scene.open(write_raster("a.tif", CUBE)).bands.wavelength_nm == pytest.approx(NM)


def test_metadata_of_enmap_in_any_case(write_raster: WriteRaster, tmp_path: Path) -> None:
    listed = "".join(f"<BANDID><WavelengthCenterOfBand>{nm}</WavelengthCenterOfBand></BANDID>" for nm in NM)
    (tmp_path / "e-metadata.xml").write_text(f"<x><BandCharacterisation>{listed}</BandCharacterisation></x>")
    path = write_raster("E-SPECTRAL_IMAGE_cut.tif", CUBE)
    assert Scene.open(path).bands.wavelength_nm == pytest.approx(NM)
    path = write_raster("E-SPECTRAL_IMAGE_cut.tif", CUBE[:2])
    scene = Scene.open(path)
    assert scene.bands.wavelength_nm is None
    assert "EnMAP's metadata beside it: it describes 3 bands, not 2: passed over" in scene.warnings[0]


# --- STAC items ---


def stac(folder: Path, *, asset: dict[str, Any] | None = None, properties: dict[str, Any] | None = None) -> None:
    item = {
        "type": "Feature", "stac_version": "1.1.0", "properties": properties or {},
        "assets": {"image": {"href": "./a.tif"} | (asset or {}), "other": {"href": "b.tif", "bands": [{}]}},
    }  # fmt: skip
    (folder / "a.json").write_text(json.dumps(item))


OLD = [{"name": "x", "center_wavelength": nm / 1000, "full_width_half_max": 0.01} for nm in NM]
NEW = [{"name": "x", "eo:center_wavelength": nm / 1000, "eo:full_width_half_max": 0.01} for nm in NM]


def test_stac_items(write_raster: WriteRaster, tmp_path: Path) -> None:
    path = write_raster("a.tif", CUBE)
    for asset, properties in (({"eo:bands": OLD}, None), ({"bands": NEW}, None), (None, {"eo:bands": OLD})):
        stac(tmp_path, asset=asset, properties=properties)
        bands = Scene.open(path).bands
        assert bands.wavelength_nm == pytest.approx(NM)
        assert bands.fwhm_nm == pytest.approx([10, 10, 10])
        assert bands.source == "the STAC item beside it"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stac_version": 1, "assets": [], "properties": {"bands": [1, 2]}}'])
def test_json_that_is_no_item_says_nothing(write_raster: WriteRaster, tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    scene = Scene.open(write_raster("a.tif", CUBE))
    assert scene.bands.wavelength_nm is None
    assert not scene.warnings


def test_an_item_of_an_image_of_another_size_says_nothing(write_raster: WriteRaster, tmp_path: Path) -> None:
    path = write_raster("a.tif", CUBE)
    stac(tmp_path, asset={"bands": NEW, "proj:shape": [400, 500]})
    assert Scene.open(path).bands.wavelength_nm is None
    stac(tmp_path, asset={"bands": NEW, "proj:shape": [4, 5]})
    assert Scene.open(path).bands.wavelength_nm == pytest.approx(NM)
