"""Band lists, selections, and every way in which wavelengths were met in real files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from hsfuse.errors import RequestError, SceneError
from hsfuse.scenes import Bands, Scene, parse_band_list

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteRaster

NM = [450.5, 660.25, 2200.0]
CUBE = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5) + 1


def tagged(key: str, values: list[str], **more: str) -> list[dict[str, str]]:
    return [{key: value, **more} for value in values]


# --- band lists ---


def test_band_list() -> None:
    assert parse_band_list("1-4,8", 10) == (0, 1, 2, 3, 7)
    assert parse_band_list(" 3 , 1 - 2 ", 3) == (2, 0, 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, unique=True))
def test_band_list_keeps_the_order_given(bands: list[int]) -> None:
    assert parse_band_list(",".join(map(str, bands)), 40) == tuple(band - 1 for band in bands)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not a list"), ("a", "not a list"), ("1,,2", "not a list"), ("1.5", "not a list"),
        ("-3", "not a list"),
        ("0", "bands 1 to 5"), ("4-6", "bands 1 to 5"), ("4-2", "write 2-4"), ("1-3,2", "twice"),
    ],
)  # fmt: skip
def test_bad_band_lists(text: str, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        parse_band_list(text, 5)


def test_a_selection_has_wavelengths_only_if_all_its_bands_do() -> None:
    bands = Bands(np.array([400.0, np.nan, 600.0]), None, np.array([True, False, True]), ("a", "b", "c"))
    chosen = bands.select([2, 0])
    assert chosen.names == ("c", "a")
    assert chosen.wavelength_nm is not None
    assert chosen.wavelength_nm.tolist() == [600, 400]
    assert bands.select([0, 1]).wavelength_nm is None


def test_tables_must_have_a_value_a_band() -> None:
    with pytest.raises(SceneError, match="2 bands"):
        Bands(np.array([400.0]), None, np.ones(2, dtype=bool), ("a", "b"))


# --- wavelengths in GeoTIFFs ---


@pytest.mark.parametrize(
    "band_tags",
    [
        tagged("wavelength", ["450.5", "660.25", "2200"], wavelength_units="Nanometers"),
        tagged("Wavelength", ["450.5", "660.25", "2200"], Wavelength_Units="nm"),
        tagged("WAVELENGTH", ["0.4505", "0.66025", "2.2"], WAVELENGTH_UNITS="Micrometers"),
        tagged("wavelength", ["0.4505", "0.66025", "2.2"], wavelength_units="µm"),
        tagged("wavelength", ["0.4505", "0.66025", "2.2"], wavelength_units="um"),
        tagged("wavelength", ["0.4505", "0.66025", "2.2"], wavelength_units="Unknown"),
        tagged("wavelength", ["450.5", "660.25", "2200"], wavelength_units="Unknown"),
        tagged("wavelength", ["0.4505", "0.66025", "2.2"]),
        tagged("wavelength", ["450.5", "660.25", "2200"]),
        tagged("wavelengths", ["450.5", "660.25", "2200"]),
        tagged("center wavelength", ["450.5 nm", "660.25 nm", "2200 nm"]),
        # A list of units cut into letters by a program: `m` is then no metre.
        tagged("wavelength", ["450.5", "660.25", "2200"], **{"wavelength units": "m"}),
    ],
)
def test_band_tags(write_raster: WriteRaster, band_tags: list[dict[str, str]]) -> None:
    bands = Scene.open(write_raster("a.tif", CUBE, band_tags=band_tags)).bands
    assert bands.wavelength_nm == pytest.approx(NM)
    assert bands.good.all()


def test_enmap_box_tags_with_widths_and_bad_bands(write_raster: WriteRaster) -> None:
    band_tags = [
        {"wavelength": str(nm), "wavelength_units": "Nanometers", "fwhm": fwhm, "bbl": bbl}
        for nm, fwhm, bbl in zip(NM, ("7", "8.5", "9"), "101", strict=True)
    ]
    bands = Scene.open(write_raster("a.tif", CUBE, band_tags=band_tags)).bands
    assert bands.fwhm_nm == pytest.approx([7, 8.5, 9])
    assert bands.good.tolist() == [True, False, True]


def test_widths_without_a_unit_take_the_wavelengths(write_raster: WriteRaster) -> None:
    """A width of 12 is 12 nm beside 450.5 nm: the rule for values below 20 is for wavelengths."""
    in_nm = [{"wavelength": str(nm), "fwhm": "12"} for nm in NM]
    in_um = [{"wavelength": str(nm / 1000), "fwhm": "0.012"} for nm in NM]
    for name, band_tags in (("nm.tif", in_nm), ("um.tif", in_um)):
        bands = Scene.open(write_raster(name, CUBE, band_tags=band_tags)).bands
        assert bands.fwhm_nm == pytest.approx([12, 12, 12])


def update(path: Path, band: int, domain: str | None, **tags: str) -> None:
    with rasterio.open(path, "r+") as dataset:
        if band:
            dataset.update_tags(band, ns=domain, **tags)
        else:
            dataset.update_tags(ns=domain, **tags)


def test_band_tags_in_another_domain(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", CUBE)
    for band, nm in enumerate(NM, start=1):
        update(path, band, "ENVI", **{"wavelength": str(nm), "wavelength units": "nm", "bbl": "1"})
    assert Scene.open(path).bands.wavelength_nm == pytest.approx(NM)


def test_imagery_domain(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", CUBE)
    for band, nm in enumerate(NM, start=1):
        update(path, band, "IMAGERY", CENTRAL_WAVELENGTH_UM=str(nm / 1000), FWHM_UM="0.0085")
    bands = Scene.open(path).bands
    assert bands.wavelength_nm == pytest.approx(NM)
    assert bands.fwhm_nm == pytest.approx([8.5] * 3)


def test_tags_go_before_the_rounded_imagery_domain(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", CUBE, wavelengths=NM)
    for band, nm in enumerate(NM, start=1):
        update(path, band, "IMAGERY", CENTRAL_WAVELENGTH_UM=f"{nm / 1000:.3f}", FWHM_UM="0.010")
    bands = Scene.open(path).bands
    assert bands.wavelength_nm == pytest.approx(NM)
    assert bands.fwhm_nm == pytest.approx([10.0] * 3)


@pytest.mark.parametrize("domain", ["ENVI", "SENSOR", None])
def test_lists_of_the_dataset(write_raster: WriteRaster, domain: str | None) -> None:
    path = write_raster("a.tif", CUBE)
    lists = {"wavelength": "{450.5, 660.25, 2200}", "fwhm": "{7, 8, 9}", "bbl": "{1, 0, 1}"}
    update(path, 0, domain, **lists, wavelength_units="Nanometers")
    bands = Scene.open(path).bands
    assert bands.wavelength_nm == pytest.approx(NM)
    assert bands.fwhm_nm == pytest.approx([7, 8, 9])
    assert bands.good.tolist() == [True, False, True]


@pytest.mark.parametrize(
    "form",
    [
        "Band 1 ({} nm)",
        "band 1 ({} Nanometers)",
        "B8A, central wavelength {} nm",
        "reflectance at {}nm",
        "B4 ({})",
        "B-{} nm",
        "2-{} nm",
    ],
)
def test_descriptions(write_raster: WriteRaster, form: str) -> None:
    bands = Scene.open(write_raster("a.tif", CUBE, descriptions=[form.format(nm) for nm in NM])).bands
    assert bands.wavelength_nm == pytest.approx(NM)
    assert bands.names[0] == form.format(450.5)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["b450", "b560.5", "b665", "b842"], [450, 560.5, 665, 842]),
        (["0.45", "0.56", "0.665", "0.842"], [450, 560, 665, 842]),
        (["450", "560", "665", "nir"], None),  # not all of them
        (["450", "560", "665", "0.842"], None),  # two units
        (["band 450", "band 451", "band 452", "band 453"], None),  # they count bands
        (["2021-450", "2021-560", "2021-665", "2021-842"], None),  # more than one number
        (["450", "560", "665", "12000"], None),
        (["layer (1)", "layer (2)", "layer (3)", "layer (4)"], None),
        (["x (4)", "x (3)", "x (2)", "x (1)"], None),
        (["x1 (443)", "x2 (560)", "x3 (665)", "x4 (842)"], [443, 560, 665, 842]),
        (["x1 (443)", "x2 (560)", "x3 (665)", "x4"], None),
    ],
)
def test_bare_numbers_in_names_are_wavelengths_only_where_all_of_them_can_be(
    write_raster: WriteRaster, names: list[str], expected: list[float] | None
) -> None:
    cube = np.arange(4 * 4 * 5, dtype=np.int16).reshape(4, 4, 5) + 1
    bands = Scene.open(write_raster("a.tif", cube, descriptions=names)).bands
    if expected is None:
        assert bands.wavelength_nm is None
        assert not bands.source
    else:
        np.testing.assert_allclose(bands.wavelength_nm, expected)
        unit = "µm" if names[0] == "0.45" else "nm"
        assert bands.source == f"the bands' descriptions (no usable unit, taken for {unit})"


def test_plain_files_have_none(write_raster: WriteRaster) -> None:
    bands = Scene.open(write_raster("a.tif", CUBE, descriptions=["Band 1", "Band 2", "B8A"])).bands
    assert bands.wavelength_nm is None
    assert bands.fwhm_nm is None
    assert bands.good.all()


def test_overlapping_spectrometers_step_back(write_raster: WriteRaster) -> None:
    """EnMAP's bands are not sorted where its two spectrometers meet; their order is the file's."""
    bands = Scene.open(write_raster("a.tif", CUBE, wavelengths=[985.5, 993.0, 902.2])).bands
    assert bands.wavelength_nm == pytest.approx([985.5, 993.0, 902.2])


def test_a_band_without_wavelength_among_others_is_not_good(write_raster: WriteRaster) -> None:
    """PRISMA's unused bands have a wavelength of 0."""
    bands = Scene.open(write_raster("a.tif", CUBE, wavelengths=[450.5, 0, 2200.0])).bands
    assert bands.wavelength_nm == pytest.approx([450.5, np.nan, 2200], nan_ok=True)
    assert bands.good.tolist() == [True, False, True]


# --- wavelengths beside the file ---

HEADER = """ENVI
wavelength units = {unit}
wavelength = {{ {wavelength} }}
fwhm = {{
 {fwhm} }}
bbl = {{1, 1, 0}}
"""


def test_envi_file_opened_by_data_or_header(write_raster: WriteRaster) -> None:
    path = write_raster("a.bsq", CUBE, driver="ENVI")
    header = path.with_suffix(".hdr")
    fields = HEADER.removeprefix("ENVI\n").format(
        unit="Micrometers", wavelength="0.4505, 0.66025, 2.2", fwhm="0.007, 0.008, 0.009"
    )
    header.write_text(header.read_text() + fields)
    for name in (path, header):
        bands = Scene.open(name).bands
        assert bands.wavelength_nm == pytest.approx(NM)
        assert bands.fwhm_nm == pytest.approx([7, 8, 9])
        assert bands.good.tolist() == [True, True, False]


def test_envi_header_beside_a_geotiff(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", CUBE)
    header = HEADER.format(unit="Nanometers", wavelength="450.5, 660.25, 2200", fwhm="7, 8, 9")
    path.with_suffix(".hdr").write_text(header)
    bands = Scene.open(path).bands
    assert bands.wavelength_nm == pytest.approx(NM)
    assert bands.fwhm_nm == pytest.approx([7, 8, 9])


def test_enmap_metadata(write_raster: WriteRaster) -> None:
    path = write_raster("ENMAP01-____L2A-DT0001-SPECTRAL_IMAGE_COG.TIF", CUBE)
    entries = "".join(
        f'<bandID number="{band}"><wavelengthCenterOfBand>{nm}</wavelengthCenterOfBand>'
        f"<FWHMOfBand>{band + 6.5}</FWHMOfBand><GainOfBand>0.0001</GainOfBand></bandID>"
        for band, nm in enumerate(NM, start=1)
    )
    xml = f"<level_X><specific><bandCharacterisation>{entries}</bandCharacterisation></specific></level_X>"
    path.with_name("ENMAP01-____L2A-DT0001-METADATA.XML").write_text(xml)
    bands = Scene.open(path).bands
    assert bands.wavelength_nm == pytest.approx(NM)
    assert bands.fwhm_nm == pytest.approx([7.5, 8.5, 9.5])


def test_prismaread_table(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", CUBE, descriptions=["b1", "b2", "b3"])
    rows = "".join(f"{band} {nm} {9}\n" for band, nm in enumerate(NM, start=1))
    path.with_suffix(".wvl").write_text('"band" "wl" "fwhm"\n' + rows)
    bands = Scene.open(path).bands
    assert bands.wavelength_nm == pytest.approx(NM)
    assert bands.fwhm_nm == pytest.approx([9, 9, 9])


def test_a_table_of_the_user_goes_before_the_metadata(write_raster: WriteRaster, tmp_path: Path) -> None:
    path = write_raster("a.tif", CUBE, wavelengths=[1.0, 2.0, 3.0])
    (tmp_path / "table.csv").write_text("0.4505,0.007\n0.66025,0.008\n2.2,0.009\n")
    bands = Scene.open(path, wavelengths=tmp_path / "table.csv").bands
    assert bands.wavelength_nm == pytest.approx(NM)
    assert bands.fwhm_nm == pytest.approx([7, 8, 9])


def test_a_table_of_another_length_is_refused(write_raster: WriteRaster, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("450\n660\n")
    with pytest.raises(SceneError, match=r"table\.csv: the table holds 2 wavelengths for 3 bands"):
        Scene.open(write_raster("a.tif", CUBE), wavelengths=tmp_path / "table.csv")


# --- what is wrong in metadata stays where it is ---


def envi(folder: Path, header: str, encoding: str = "utf-8", size: tuple[int, int, int] = (5, 4, 3)) -> Path:
    samples, lines, count = size
    text = (
        f"ENVI\nsamples = {samples}\nlines = {lines}\nbands = {count}\ndata type = 2\ninterleave = bsq\n"
        f"byte order = 0\n{header}\n"
    )
    (folder / "a.hdr").write_bytes(text.encode(encoding))
    return folder / "a.img"


def test_a_crs_that_is_no_utf8_is_refused_with_a_sentence(tmp_path: Path) -> None:
    header = (
        "map info = {UTM, 1, 1, 500000, 5000000, 30, 30, 33, North, WGS-84}\n"
        'coordinate system string = {PROJCS["Réseau",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",'
        '6378137.0,298.257223563]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],'
        'PROJECTION["Transverse_Mercator"],PARAMETER["Central_Meridian",15.0],UNIT["Meter",1.0]]}'
    )
    CUBE.tofile(envi(tmp_path, header, "latin-1"))
    with pytest.raises(SceneError, match=r"\(its CRS has letters that are not UTF-8\)"):
        Scene.open(tmp_path / "a.img")


def test_envi_headers_in_latin_1(tmp_path: Path) -> None:
    header = (
        "description = {Réflectance}\nwavelength units = µm\nwavelength = {0.4505, 0.66025, 2.2}\n"
        "band names = {Réfl 1, Réfl 2, Réfl 3}"
    )
    CUBE.tofile(envi(tmp_path, header, "latin-1"))
    scene = Scene.open(tmp_path / "a.img")
    assert scene.bands.wavelength_nm == pytest.approx(NM)
    # As GDAL names bands of headers in UTF-8.
    assert scene.bands.names == ("Réfl 1 (0.4505 µm)", "Réfl 2 (0.66025 µm)", "Réfl 3 (2.2 µm)")


def test_a_header_of_another_image_is_passed_over(write_raster: WriteRaster, tmp_path: Path) -> None:
    envi(tmp_path, "wavelength = {900, 1000, 1100}", size=(50, 40, 3))
    scene = Scene.open(write_raster("a.tif", CUBE))
    assert scene.bands.wavelength_nm is None
    assert "a.hdr beside it is of another image (50 x 40 x 3, not 5 x 4 x 3)" in scene.warnings[0]
    envi(tmp_path, "wavelength = {900, 1000, 1100}")
    scene = Scene.open(tmp_path / "a.tif")
    assert scene.bands.wavelength_nm == pytest.approx([900, 1000, 1100])
    assert not scene.warnings


@pytest.mark.parametrize(
    ("header", "scales", "offsets"),
    [
        ("data gain values = {0.1, 0.2, 0.3}\ndata offset values = {1, 2, 3}", [0.1, 0.2, 0.3], [1, 2, 3]),
        ("data gain values = {0.1, 0.2, 0.3}", [0.1, 0.2, 0.3], [0, 0, 0]),
        ("reflectance scale factor = 10000", [1e-4] * 3, [0, 0, 0]),
        ("data gain values = {0.1, 0.2}", [1, 1, 1], [0, 0, 0]),
        ("reflectance scale factor = 0", [1, 1, 1], [0, 0, 0]),
    ],
)
@pytest.mark.parametrize("image", ["a.img", "a.tif"])
def test_gains_in_a_header(
    write_raster: WriteRaster, tmp_path: Path, header: str, scales: list[float], offsets: list[float], image: str
) -> None:
    CUBE.tofile(envi(tmp_path, header))
    write_raster("a.tif", CUBE)
    scene = Scene.open(tmp_path / image)
    assert scene.scales == pytest.approx(scales)
    assert scene.offsets == pytest.approx(offsets)
    values = scene.read(scene.grid.window).values
    np.testing.assert_allclose(values[1], CUBE[1] * scales[1] + offsets[1], rtol=1e-6)


def test_gains_of_the_file_itself_come_first(write_raster: WriteRaster, tmp_path: Path) -> None:
    envi(tmp_path, "reflectance scale factor = 10000")
    assert Scene.open(write_raster("a.tif", CUBE, scale=0.5)).scales.tolist() == [0.5] * 3


def test_gains_of_enmap(write_raster: WriteRaster, tmp_path: Path) -> None:
    band = (
        "<bandID number='{}'><wavelengthCenterOfBand>{}</wavelengthCenterOfBand><FWHMOfBand>7</FWHMOfBand>"
        "<GainOfBand>{}</GainOfBand><OffsetOfBand>-0.5</OffsetOfBand></bandID>"
    )
    listed = "".join(band.format(number, nm, number / 100) for number, nm in enumerate(NM, 1))
    (tmp_path / "E-METADATA.XML").write_text(f"<x><bandCharacterisation>{listed}</bandCharacterisation></x>")
    scene = Scene.open(write_raster("E-SPECTRAL_IMAGE.TIF", CUBE))
    assert scene.scales == pytest.approx([0.01, 0.02, 0.03])
    assert scene.offsets == pytest.approx([-0.5] * 3)
    assert scene.bands.wavelength_nm == pytest.approx(NM)


@pytest.mark.parametrize(
    ("wavelengths", "unit", "sentence"),
    [
        (["1e9", "2e9", "3e9"], "Angstrom", "not those of an imager"),
        (["1e30", "2e30", "3e30"], "Nanometers", "not those of an imager"),
        (["100", "110", "120"], "Nanometers", "not those of an imager"),
        (["500", "500", "500"], "Nanometers", "share 1 wavelength"),
    ],
)
def test_wavelengths_that_are_none_are_not_used(
    write_raster: WriteRaster, wavelengths: list[str], unit: str, sentence: str
) -> None:
    tags = tagged("wavelength", wavelengths, wavelength_units=unit)
    scene = Scene.open(write_raster("a.tif", CUBE, band_tags=tags))
    assert scene.bands.wavelength_nm is None
    assert scene.bands.good.all()
    assert sentence in scene.warnings[0]


@pytest.mark.parametrize(("odd", "sentence"), [("1e9", "not those of an imager"), ("450.5", "of an earlier one")])
def test_one_odd_wavelength_costs_its_band(write_raster: WriteRaster, odd: str, sentence: str) -> None:
    tags = tagged("wavelength", ["450.5", "660.25", odd], wavelength_units="Nanometers")
    scene = Scene.open(write_raster("a.tif", CUBE, band_tags=tags))
    assert scene.bands.good.tolist() == [True, True, False]
    assert sentence in scene.warnings[0]


def test_a_table_of_odd_wavelengths_is_refused(write_raster: WriteRaster, tmp_path: Path) -> None:
    (tmp_path / "nm.txt").write_text("1e9\n2e9\n3e9\n")
    with pytest.raises(SceneError, match="not those of an imager"):
        Scene.open(write_raster("a.tif", CUBE), wavelengths=tmp_path / "nm.txt")


@pytest.mark.parametrize("width", ["-5", "0", "1e9", "nan"])
def test_widths_that_are_none_are_not_used(write_raster: WriteRaster, width: str) -> None:
    tags = [tag | {"fwhm": width} for tag in tagged("wavelength", [f"{nm}" for nm in NM])]
    assert Scene.open(write_raster("a.tif", CUBE, band_tags=tags)).bands.fwhm_nm is None
