"""A Wald pair from a reference, and the truth that it was made with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rio_cogeo.cogeo import cog_validate

from hsfuse.commands.fuse import fuse
from hsfuse.commands.simulate import FILES, Simulation, simulate
from hsfuse.errors import OutputError, RequestError, SceneError
from hsfuse.scenes import PixelWindow

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteRaster
    from numpy.typing import NDArray

RNG = np.random.default_rng(5)
WAVELENGTH = np.linspace(450.0, 900.0, 19)  # 25 nm apart
SPECTRUM = 0.2 + 0.1 * np.sin(WAVELENGTH / 90)
REFERENCE = np.rint(SPECTRUM[:, None, None] * RNG.uniform(0.5, 1.5, (19, 38, 50)) * 1e4).astype(np.uint16)


@pytest.fixture
def reference(write_raster: WriteRaster) -> Path:
    return write_raster(
        "scene.tif", REFERENCE, pixel=5.0, scale=1e-4, nodata=65535, wavelengths=WAVELENGTH.tolist()
    )  # fmt: skip


def run(reference: Path, folder: Path, **choices: Any) -> Simulation:
    return simulate(reference, folder, **({"ratio": 4, "srf": "sentinel-2a"} | choices))


def read(path: Path) -> NDArray[np.float64]:
    """In the file's own numbers over 10,000, NaN where nodata."""
    with rasterio.open(path) as dataset:
        return dataset.read(masked=True).astype(np.float64).filled(np.nan) * 1e-4


@pytest.mark.parametrize("window", [None, PixelWindow(4, 8, 40, 28)])
def test_a_reference_from_nowhere_makes_a_pair_that_can_be_fused(tmp_path: Path, window: PixelWindow | None) -> None:
    """Neither file says where it lies; an HSI of larger pixels would seem to, and the MSI not."""
    reference = tmp_path / "nowhere.tif"
    with rasterio.open(
        reference, "w", driver="GTiff", width=50, height=38, count=19, dtype="uint16"
    ) as dataset:  # fmt: skip
        dataset.write(REFERENCE)
        for band, nm in enumerate(WAVELENGTH, start=1):
            dataset.update_tags(band, wavelength=f"{nm}", wavelength_units="nm")
    pair = run(reference, tmp_path / "pair", window=window).folder
    made = fuse(
        pair / "hsi.tif", pair / "msi.tif", tmp_path / "out.tif", model="bicubic", srf="sentinel-2a", psf="gaussian:1"
    )
    assert (made.ratio, made.bands) == (4, 19)
    with rasterio.open(pair / "hsi.tif") as hsi, rasterio.open(pair / "reference.tif") as truth:
        assert (hsi.transform.is_identity, truth.transform.is_identity) == (True, True)


def test_files_lie_where_the_reference_does(reference: Path, tmp_path: Path) -> None:
    """38 rows and 50 columns hold 9 × 12 HSI pixels of 4 × 4; the rest is cropped at the right and the bottom."""
    result = run(reference, tmp_path / "new" / "pair")
    assert sorted(path.name for path in result.folder.iterdir()) == sorted(FILES)
    assert (result.ratio, result.hsi_shape, result.msi_shape) == (4, (19, 9, 12), (4, 36, 48))
    for name, pixel, shape in (("hsi", 20, (19, 9, 12)), ("msi", 5, (4, 36, 48)), ("reference", 5, (19, 36, 48))):
        path = result.folder / f"{name}.tif"
        assert cog_validate(path)[0]
        with rasterio.open(path) as dataset:
            assert (dataset.count, dataset.height, dataset.width) == shape
            assert dataset.transform == Affine(pixel, 0, 5e5, 0, -pixel, 5e6)
            assert dataset.crs.to_epsg() == 32633
            assert (dataset.dtypes[0], dataset.nodata, dataset.scales[0]) == ("uint16", 65535, 1e-4)
    np.testing.assert_array_equal(read(result.folder / "reference.tif"), REFERENCE[:, :36, :48] * 1e-4)
    with rasterio.open(result.folder / "hsi.tif") as hsi, rasterio.open(result.folder / "msi.tif") as msi:
        assert [float(hsi.tags(band)["wavelength"]) for band in hsi.indexes] == WAVELENGTH.tolist()
        centres = [float(msi.tags(band)["wavelength"]) for band in msi.indexes]
        assert centres == pytest.approx([492, 560, 665, 833], abs=5)
        assert msi.descriptions == ("B2", "B3", "B4", "B8")


def test_imaging_json_holds_the_truth_that_was_used(reference: Path, tmp_path: Path) -> None:
    """The images are recomputed from the file's own R, kernel and ratio, by hand."""
    folder = run(reference, tmp_path / "pair", psf="gaussian:1.2").folder
    truth = json.loads((folder / "imaging.json").read_text())
    assert (truth["format"], truth["ratio"], truth["psf"]["pixel_size"]) == ("hsfuse-imaging/1", 4, "msi")
    assert truth["srf"]["hsi_wavelength_nm"] == WAVELENGTH.tolist()
    assert truth["srf"]["msi_bands"] == ["B2", "B3", "B4", "B8"]
    assert truth["shift_hsi_pixels"] == {"x": 0, "y": 0}
    assert truth["psf"]["fwhm_hsi_pixels"] == pytest.approx([1.2, 1.2], abs=0.02)
    matrix, kernel = np.array(truth["srf"]["matrix"]), np.array(truth["psf"]["kernel"])
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    np.testing.assert_allclose(kernel.sum(), 1)
    assert kernel.shape[0] % 2 == 0  # its middle is the centre of an HSI pixel of even size

    fine = REFERENCE[:, :36, :48] * 1e-4
    np.testing.assert_allclose(read(folder / "msi.tif"), np.einsum("bc,chw->bhw", matrix, fine), atol=0.6e-4)
    hsi, edge = read(folder / "hsi.tif"), len(kernel)
    row, column = 4, 6
    top, left = row * 4 + 2 - edge // 2, column * 4 + 2 - edge // 2
    seen = fine[:, top : top + edge, left : left + edge]
    np.testing.assert_allclose(hsi[:, row, column], (seen * kernel).sum(axis=(1, 2)), atol=0.6e-4)


def test_a_shift_moves_what_the_hsi_shows(reference: Path, tmp_path: Path) -> None:
    still = read(run(reference, tmp_path / "still").folder / "hsi.tif")
    result = run(reference, tmp_path / "moved", shift=(1.0, -2.0))
    moved = read(result.folder / "hsi.tif")
    inner = np.s_[:, 3:-1, 1:-2]
    np.testing.assert_allclose(moved[inner], np.roll(still, (2, -1), (1, 2))[inner], atol=1.1e-4)
    truth = json.loads((result.folder / "imaging.json").read_text())
    assert truth["shift_hsi_pixels"] == {"x": 1, "y": -2}


def test_noise_has_the_power_asked_for_and_a_seed(reference: Path, tmp_path: Path) -> None:
    clean = run(reference, tmp_path / "clean").folder
    noisy = run(reference, tmp_path / "noisy", snr_hsi=20, snr_msi=30, seed=7).folder
    for name, snr in (("hsi.tif", 20), ("msi.tif", 30)):
        signal, error = read(clean / name), read(noisy / name) - read(clean / name)
        assert 10 * np.log10((signal**2).mean() / (error**2).mean()) == pytest.approx(snr, abs=0.3)
    assert (noisy / "reference.tif").read_bytes() == (clean / "reference.tif").read_bytes()
    same = run(reference, tmp_path / "same", snr_hsi=20, snr_msi=30, seed=7).folder
    other = run(reference, tmp_path / "other", snr_hsi=20, snr_msi=30, seed=8).folder
    for name in ("hsi.tif", "msi.tif"):
        assert (same / name).read_bytes() == (noisy / name).read_bytes()
        assert (other / name).read_bytes() != (noisy / name).read_bytes()


def test_bands_of_sensor_and_reference_are_chosen(reference: Path, tmp_path: Path) -> None:
    result = run(reference, tmp_path / "pair", srf="sentinel-2a:B8,B3,B11", hsi_bands="3-19")
    assert (result.hsi_shape[0], result.model.srf.msi_bands) == (17, ("B8", "B3"))
    assert any("B11" in warning for warning in result.warnings)
    with rasterio.open(result.folder / "msi.tif") as msi:
        assert msi.descriptions == ("B8", "B3")
    np.testing.assert_array_equal(read(result.folder / "reference.tif"), REFERENCE[2:, :36, :48] * 1e-4)


def test_a_window_is_cut_out_of_the_reference(reference: Path, tmp_path: Path) -> None:
    folder = run(reference, tmp_path / "pair", window=PixelWindow(5, 3, 21, 18)).folder
    np.testing.assert_array_equal(read(folder / "reference.tif"), REFERENCE[:, 3:19, 5:25] * 1e-4)
    with rasterio.open(folder / "hsi.tif") as hsi:
        assert hsi.transform == Affine(20, 0, 5e5 + 25, 0, -20, 5e6 - 15)


def test_an_hsi_pixel_over_a_hole_is_nodata(write_raster: WriteRaster, tmp_path: Path) -> None:
    numbers = REFERENCE.copy()
    numbers[4, 13, 21] = 65535
    reference = write_raster("holed.tif", numbers, nodata=65535, wavelengths=WAVELENGTH.tolist())
    folder = run(reference, tmp_path / "pair").folder
    for name, hole in (("hsi.tif", (3, 5)), ("msi.tif", (13, 21)), ("reference.tif", (13, 21))):
        holes = np.isnan(read(folder / name))
        expected = np.zeros(holes.shape[1:], dtype=bool)
        expected[hole] = True
        assert (holes == expected).all(), name


def test_what_the_screen_found_in_the_reference_is_said(write_raster: WriteRaster, tmp_path: Path) -> None:
    numbers = REFERENCE.copy()
    numbers[:, :10] = 0
    made = run(write_raster("fill.tif", numbers, wavelengths=WAVELENGTH.tolist()), tmp_path / "pair")
    assert any("26 % of the pixels hold 0 in every band" in sentence for sentence in made.warnings)


def test_files_of_another_type(reference: Path, tmp_path: Path) -> None:
    folder = run(reference, tmp_path / "pair", dtype="float32").folder
    for name in FILES[:3]:
        with rasterio.open(folder / name) as dataset:
            assert dataset.dtypes[0] == "float32"


def test_an_earlier_simulation_stays_unless_told_otherwise(reference: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pair"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "msi.tif").write_text("old")
    with pytest.raises(OutputError, match=r"holds msi.tif already: pass `overwrite=True`"):
        run(reference, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["msi.tif", "notes.txt"]
    run(reference, folder, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "notes.txt"])
    assert cog_validate(folder / "msi.tif")[0]


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"ratio": 1}, "from 2 to 20, got 1"),
        ({"ratio": 20, "window": PixelWindow(0, 0, 19, 30)}, "no whole HSI pixel of 20×20"),
        ({"srf": "sentinel-9"}, "sentinel-9: no such file and no known sensor"),
        ({"srf": "sentinel-2a:B11"}, "see none of"),
        ({"psf": "gaussian:0"}, "expected gaussian:FWHM"),
        ({"psf": "nowhere.csv"}, "nowhere.csv: no such PSF"),
        ({"hsi_bands": "7-3"}, "runs backwards"),
        ({"shift": (float("nan"), 0.0)}, "shift between the images is not finite"),
        ({"snr_hsi": float("nan")}, "an SNR is a number of dB, got nan"),
        ({"seed": -1}, "seed of the noise is a whole number from 0 to .*, got -1"),
        ({"window": PixelWindow(500, 0, 9, 9)}, "no whole HSI pixel"),
        ({"dtype": "uint8"}, "65535 is not one of uint8"),
    ],
)
def test_what_cannot_be_served_leaves_no_folder(
    reference: Path, tmp_path: Path, choices: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence):
        run(reference, tmp_path / "deep" / "pair", **choices)
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_a_reference_without_wavelengths_is_refused(write_raster: WriteRaster, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="needs the HSI's wavelengths"):
        run(write_raster("plain.tif", REFERENCE), tmp_path / "pair")
    with pytest.raises(SceneError, match="no such file"):
        run(tmp_path / "nowhere.tif", tmp_path / "pair")
    assert not (tmp_path / "pair").exists()


def test_a_folder_that_cannot_be_is_refused(reference: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"scene.tif is a file"):
        run(reference, reference / "pair")
    with pytest.raises(OutputError, match="cannot be written to"):
        simulate(reference, "/proc/hsfuse-pair", ratio=4, srf="sentinel-2a")
