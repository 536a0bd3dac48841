"""The papers' protocols, on small stand-ins of the public files' layouts made of AVIRIS Indian Pines."""

from __future__ import annotations

import csv
import importlib
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import scipy.io
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from tensorly.datasets import load_indian_pines

from hsfuse.fusion.opening import open_pair
from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, degrade, load_srf
from hsfuse.scenes import PixelWindow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import WriteRaster
    from numpy.typing import NDArray

FOLDER = Path(__file__).parents[2] / "examples" / "papers"
SCRIPTS = ("pavia_centre", "chikusei", "cuprite", "real_pair", "worldview2")
SHARED = ("claims", "cubes", "tables", "training", "protocol")

TINY = ["--batch", "2", "--lr", "0.01", "--set", "stages=1", "--set", "features=2", "--methods", "bicubic,gsa"]


@pytest.fixture(scope="module", autouse=True)
def papers() -> Iterator[SimpleNamespace]:
    """The scripts and what they share, as modules; they find each other as when they are run."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in (*SHARED, *SCRIPTS)})
    finally:
        sys.path.remove(str(FOLDER))
        for name in (*SHARED, *SCRIPTS):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def scene() -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Counts (200, 145, 145) and wavelengths in nm."""
    bunch = load_indian_pines()
    return np.asarray(bunch["tensor"], np.float32).transpose(2, 0, 1), np.array(bunch["ticks"][1], np.float64)


@pytest.fixture
def pavia(scene: tuple[NDArray[np.float32], Any], tmp_path: Path) -> Path:
    """MATLAB 5: rows × columns × 102 bands, beside an array of labels."""
    path = tmp_path / "Pavia.mat"
    cube = scene[0][:102, :100, :70].transpose(1, 2, 0)
    scipy.io.savemat(path, {"pavia": cube.astype(np.uint16), "labels": np.zeros((100, 70), np.uint8)})
    return path


@pytest.fixture
def chikusei(scene: tuple[NDArray[np.float32], Any], tmp_path: Path) -> Path:
    """MATLAB 7.3, which is HDF5 with the axes turned round: 128 bands × columns × rows."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "Chikusei.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["chikusei"] = scene[0][:128, :144, :136].transpose(0, 2, 1)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def run(script: Any, *arguments: Any, csv_file: Path) -> dict[str, dict[str, float]]:
    """Figures of the CSV file by method; the empty ones are left out."""
    script.main([str(argument) for argument in (*arguments, "--csv", csv_file)])
    with csv_file.open(newline="") as file:
        rows = {row.pop("method"): row for row in csv.DictReader(file)}
    return {
        name: {
            column: float(value) for column, value in row.items() if value and not column.startswith(("claim", "do"))
        }
        for name, row in rows.items()
    }


def lines_of(printed: str) -> dict[str, list[str]]:
    """Cells of the table's lines by their first."""
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows}


def test_pavia_centre_prints_what_is_measured_beside_table_iii(
    papers: SimpleNamespace, pavia: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [pavia, "--test", "30x30", "--patch", "4", "--steps", "4", *TINY, "--methods", "bicubic,hysure"]
    found = run(papers.pavia_centre, *options, csv_file=tmp_path / "t.csv")
    printed = capsys.readouterr().out
    table = lines_of(printed)
    assert table["method"][:4] == [
        "PSNR dB measured here", "PSNR dB claimed in the paper (Table III)",
        "SAM ° measured here", "SAM ° claimed in the paper (Table III)",
    ]  # fmt: skip
    ours = table["mgdunlss, trained here / MGDuNLSS-Net"]
    assert ours[1::2] == ["43.74", "2.37", "2.0850", "0.9896", "0.9882"]
    assert float(ours[0]) == pytest.approx(found["mgdunlss, trained here"]["psnr_measured"], abs=0.006)
    assert table["hysure / HySure"][1] == "39.69"
    assert table["bicubic"][1] == "–"
    assert table["CSU"][4:6] == ["–", "2.9373 †"]
    assert "test region 30×30, 93 bands, ratio 5; hsi at 30 db, msi at 35 db" in printed.lower()
    assert "Unlike the paper, as asked for: --test 30x30" in printed
    for name in ("mgdunlss, trained here", "bicubic", "hysure"):
        measured = [value for column, value in found[name].items() if column.endswith("_measured")]
        assert len(measured) == 7
        assert all(map(math.isfinite, measured))


def test_pavia_centre_by_the_other_paper(
    papers: SimpleNamespace, pavia: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = ["--preset", "tiny", "--steps", "2", "--batch", "1", "--patch", "4", "--methods", "gsa"]
    found = run(papers.pavia_centre, pavia, "--model", "ssrfn", "--test", "24x24", *tiny, csv_file=tmp_path / "t.csv")
    printed = capsys.readouterr().out
    table = lines_of(printed)
    assert table["ssrfn, trained here / SSRFN"][1::2] == ["30.71", "3.07", "4.59", "0.992", "0.028"]
    assert table["gsa / GSA"][1] == "12.93"
    assert "0.089 †" in table["FMamba"]
    assert "MSI bands: XS1, XS2, XS3." in printed
    assert 0 < found["gsa"]["rmse_measured"] < 0.1, "in units of the largest value"


def test_chikusei_from_matlab_and_from_envi_is_the_same(
    papers: SimpleNamespace,
    scene: tuple[NDArray[np.float32], NDArray[np.float64]],
    chikusei: Path,
    write_raster: WriteRaster,
    tmp_path: Path,
) -> None:
    image = scene[0][:128, :144, :136]
    envi = write_raster("chikusei.bsq", image, driver="ENVI", crs=None, transform=Affine.scale(1))
    centres = tmp_path / "wavelengths.txt"
    np.savetxt(centres, np.linspace(363, 1018, 128))
    one, other = papers.cubes.open_cube(chikusei), papers.cubes.open_cube(envi)
    window = PixelWindow(100, 30, 20, 40)
    np.testing.assert_array_equal(one.read(window, (5, 90)), image[[5, 90], 30:70, 100:120])
    np.testing.assert_array_equal(one.read(window, (5, 90)), other.read(window, (5, 90)))
    options = ["--crop", "144x136", "--test", "32x32", "--patch", "2", "--steps", "1", *TINY]
    from_matlab = run(papers.chikusei, chikusei, *options, csv_file=tmp_path / "a.csv")
    from_envi = run(papers.chikusei, envi, *options, "--wavelengths", centres, csv_file=tmp_path / "b.csv")
    assert from_matlab == from_envi
    assert from_matlab["mgdunlss, trained here"]["psnr_claimed"] == 45.09


def test_cuprite_keeps_188_bands_and_sees_the_landsat_wavelengths(
    papers: SimpleNamespace, scene: tuple[NDArray[np.float32], Any], tmp_path: Path
) -> None:
    bands = np.minimum(np.arange(224), 199)
    path = tmp_path / "Cuprite.mat"
    scipy.io.savemat(path, {"X": scene[0][bands, :48, :72].transpose(1, 2, 0).astype(np.int16)})
    experiment = papers.cuprite.EXPERIMENTS["khader-2023"]
    options = SimpleNamespace(
        bands=None, crop=(48, 72), test=(24, 24), wavelengths=None, srf=None, seed=0, key=None
    )  # fmt: skip
    training, test = papers.protocol.simulate(papers.cubes.open_cube(path), experiment, options)
    centres = test.model.srf.hsi_wavelength_nm
    assert [len(pair.reference) for pair in (test, *training)] == [188, 188, 188]
    every = np.linspace(400, 2500, 224)
    gone = [0, 1, *range(104, 115), *range(149, 170), 222, 223]
    np.testing.assert_allclose(centres, np.delete(every, gone))
    assert test.msi.shape == (6, 24, 24)
    seen = centres[test.model.srf.matrix.argmax(axis=1)]
    np.testing.assert_allclose(seen, (480, 560, 660, 830, 1650, 2220), atol=5)
    assert test.model.psf.kernel.shape == (8, 8), "the parity of the ratio"


def test_no_test_pixel_enters_training(papers: SimpleNamespace, tmp_path: Path) -> None:
    image = np.ones((60, 50, 8), np.float32)
    image[:20, 30:] = 1000
    path = tmp_path / "marked.mat"
    scipy.io.savemat(path, {"cube": image})
    options = SimpleNamespace(bands="1-8", crop=None, test=(20, 20), wavelengths=None, srf=None, seed=0)
    experiment = papers.pavia_centre.EXPERIMENTS["zhao-2024"]
    training, test = papers.protocol.simulate(papers.cubes.open_cube(path), experiment, options)
    assert (test.reference == 1).all()
    assert [pair.reference.shape for pair in training] == [(8, 40, 48), (8, 20, 28)]
    for pair in training:
        for part in (pair.reference, pair.hsi, pair.msi):
            np.testing.assert_allclose(part, 1e-3, rtol=1e-5)


def test_no_test_pixel_of_a_real_pair_enters_training(
    papers: SimpleNamespace, write_raster: WriteRaster, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    hsi, msi = (rng.uniform(1, 2, (bands, edge, edge)).astype(np.float32) for bands, edge in ((6, 48), (2, 144)))
    hsi[:, :20, 28:], msi[:, :60, 84:] = 1000, 1000
    model = tmp_path / "imaging.json"
    ImagingModel(SpectralResponse(np.eye(6)[[1, 4]], ("a", "b")), PointSpread.gaussian(3, 1.5)).save(model)
    files = write_raster("hsi.tif", hsi, pixel=30), write_raster("msi.tif", msi, pixel=10)
    pair = open_pair(*files, srf=str(model), psf=str(model))
    known = papers.real_pair.Known(pair, model)
    test = papers.training.upper_right(pair.window, 20, 20)
    levels = known.training(test)
    assert [(level.area.height, level.area.width) for level in levels] == [(9, 16), (6, 9)]
    for level in levels:
        part = level.read(level.area)
        assert max(float(image.max()) for image in (part.truth, part.patch.hsi, part.patch.msi)) < 3


@given(st.integers(2, 40), st.integers(2, 40), st.data())
def test_test_region_and_training_make_up_the_area(
    papers: SimpleNamespace, width: int, height: int, data: st.DataObject
) -> None:
    area = PixelWindow(3, 7, width, height)
    test = papers.training.upper_right(area, data.draw(st.integers(1, height - 1)), data.draw(st.integers(1, width)))
    count = np.zeros((60, 60), int)
    for window in (test, *papers.training.remaining(area, test)):
        count[window.rows, window.columns] += 1
    assert (count[area.rows, area.columns] == 1).all()
    assert count.sum() == width * height


@pytest.fixture
def worldview(scene: tuple[NDArray[np.float32], NDArray[np.float64]], write_raster: WriteRaster) -> Path:
    """The bands next to those of the sensor, without wavelengths."""
    image, wavelength = scene
    near = [int(np.abs(wavelength - nm).argmin()) for nm in (428, 479, 548, 608, 659, 724, 828, 923)]
    return write_raster("ms.tif", image[near][:, :144, :144], pixel=2)


def test_training_helps(papers: SimpleNamespace, worldview: Path, tmp_path: Path) -> None:
    """What a user waits for: the more steps, the better the network on the region that it never saw."""
    options = [worldview, "--test", "48x48", *TINY]
    short = run(papers.worldview2, *options, "--steps", "1", csv_file=tmp_path / "1.csv")
    long = run(papers.worldview2, *options, "--steps", "60", csv_file=tmp_path / "60.csv")
    assert short["bicubic"] == long["bicubic"]
    network = "mgdunlss, trained here"
    assert long[network]["psnr_measured"] > short[network]["psnr_measured"] + 3
    assert long[network]["sam_measured"] < short[network]["sam_measured"]


def test_worldview_with_an_rgb_is_a_real_pair(
    papers: SimpleNamespace,
    worldview: Path,
    write_raster: WriteRaster,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with rasterio.open(worldview) as source:
        image = np.tile(source.read(), (1, 2, 2))
    srf = SpectralResponse(np.eye(8)[[4, 2, 1]], ("R", "G", "B"))
    pair = degrade(image, ImagingModel(srf, PointSpread.gaussian(4, 1.0)), snr_hsi=45, snr_msi=45)
    ms = write_raster("lr.tif", pair.hsi, pixel=2)
    rgb = write_raster("rgb.tif", pair.msi, pixel=0.5)
    options = [ms, rgb, "--test", "32x32", "--steps", "2", *TINY]
    found = run(papers.worldview2, *options, csv_file=tmp_path / "t.csv")
    assert "ratio 4" in capsys.readouterr().out
    assert set(found) == {"mgdunlss, trained here", "bicubic", "gsa"}


def test_a_real_pair_is_judged_at_both_resolutions(
    papers: SimpleNamespace,
    scene: tuple[NDArray[np.float32], NDArray[np.float64]],
    write_raster: WriteRaster,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image, wavelength = scene[0][::8, :144, :144].copy(), scene[1][::8]
    srf = load_srf("sentinel-2a", wavelength).response
    pair = degrade(image, ImagingModel(srf, PointSpread.gaussian(3, 1.0)), snr_hsi=35, snr_msi=40)
    hsi = write_raster("hsi.tif", pair.hsi, pixel=30, wavelengths=list(wavelength))
    msi = write_raster("msi.tif", pair.msi, pixel=10)
    folder = tmp_path / "kept"
    options = ["--srf", "sentinel-2a", "--test", "24x24", "--patch", "3", "--steps", "8", "--folder", folder, *TINY]
    found = run(papers.real_pair, hsi, msi, *options, csv_file=tmp_path / "t.csv")
    printed = capsys.readouterr().out
    assert set(found) == {"mgdunlss, trained here", "bicubic", "gsa"}
    columns = {f"{name}_measured" for name in (*papers.real_pair.REDUCED, *papers.real_pair.FULL)}
    for values in found.values():
        assert set(values) == columns
        assert all(map(math.isfinite, values.values()))
    assert found["gsa"]["psnr_measured"] > found["bicubic"]["psnr_measured"] + 2
    assert found["gsa"]["consistency_msi_measured"] > found["bicubic"]["consistency_msi_measured"] + 5
    assert "The papers print no figures for real pairs" in printed
    with rasterio.open(folder / "mgdunlss-trained-here.tif") as fused:
        assert (fused.count, fused.width, fused.height) == (25, 72, 72)
        assert fused.bounds.right == pytest.approx(rasterio.open(hsi).bounds.right), "the upper right corner"
    assert (folder / "mgdunlss.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.mat"], "there is no file nowhere.mat"),
        (["PAVIA", "--key", "paviaU"], "holds pavia 100×70×102, labels 100×70, where an array 'paviaU'"),
        (["PAVIA", "--crop", "101x60"], "has 100×70 pixels, 101×60 are to be used"),
        (["PAVIA"], "a test region of 250×250 leaves nothing to train on of 100×70 pixels"),
        (["PAVIA", "--test", "30x30", "--methods", "gsa,gas"], "there is no model 'gas'"),
        (["PAVIA", "--test", "30x30", "--weights", "nowhere/w.safetensors"], "nowhere/w.safetensors cannot be written"),
        (["PAVIA", "--test", "30x30", "--set", "depth=3", "--steps", "1"], "--set depth=3 is no size of mgdunlss"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    papers: SimpleNamespace, pavia: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        papers.pavia_centre.main([str(pavia) if word == "PAVIA" else word for word in arguments])
    assert sentence in str(stopped.value)
    assert "validation" not in capsys.readouterr().err, "before anything is trained"


def test_a_file_of_other_bands_is_refused(papers: SimpleNamespace, pavia: Path) -> None:
    with pytest.raises(SystemExit, match=r"has 102 bands, Cuprite.* is for 224 or 188: say which to use with --bands"):
        papers.cuprite.main([str(pavia)])


def test_bundled_weights_never_stand_for_the_papers_network(papers: SimpleNamespace) -> None:
    scores = {"mgdunlss, bundled weights": {"psnr": 40.0}, "mgdunlss, trained here": {"psnr": 30.0}}
    names = dict(papers.tables.rows(scores, papers.claims.KHADER_PAVIA))
    assert names["mgdunlss, bundled weights"] is None
    assert names["mgdunlss, trained here"] == "MGDuNLSS-Net"


def test_a_table_of_claims_is_whole(papers: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="HySure has 1 figures for 2 metrics"):
        papers.claims.Claims("A 2000", "Table I", ("psnr", "sam"), (2, 2), {"HySure": (30.0,)}, {})
