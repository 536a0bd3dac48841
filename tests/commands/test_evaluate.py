"""Scores of a fused image: known answers, and images that cannot be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from affine import Affine

from hsfuse.commands.evaluate import evaluate
from hsfuse.commands.fuse import fuse
from hsfuse.commands.simulate import simulate
from hsfuse.errors import PairError, RequestError, SceneError

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteRaster

    from .conftest import KnownPair

RNG = np.random.default_rng(6)
IMAGE = RNG.uniform(0.2, 0.8, (5, 90, 70)).astype(np.float32)
WAVELENGTH = [450.0, 550.0, 650.0, 750.0, 850.0]


def test_an_image_is_equal_to_itself(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", IMAGE, wavelengths=WAVELENGTH)
    scores = evaluate(path, path, ratio=3).scores
    assert np.isinf(scores.psnr)
    assert (scores.sam, scores.ergas, scores.rmse) == (pytest.approx(0, abs=1e-5), 0, 0)
    summary = scores.summary()
    assert list(summary) == ["psnr", "sam", "ergas", "rmse", "cc", "uiqi", "ssim"]
    assert [summary[name] for name in ("cc", "uiqi", "ssim")] == pytest.approx([1, 1, 1])
    assert scores.pixels == 90 * 70


def test_a_constant_error_gives_the_answers_of_the_definitions(write_raster: WriteRaster) -> None:
    error = np.array([0.01, 0.02, 0.03, 0.04, 0.05], np.float32)
    reference = write_raster("r.tif", IMAGE, wavelengths=WAVELENGTH)
    fused = write_raster("f.tif", IMAGE + error[:, None, None], wavelengths=WAVELENGTH)
    scores = evaluate(fused, reference, ratio=4).scores
    peak, mean = IMAGE.max(axis=(1, 2)), IMAGE.mean(axis=(1, 2))
    assert scores.band_psnr == pytest.approx(20 * np.log10(peak / error), abs=1e-3)
    assert scores.psnr == pytest.approx(np.mean(20 * np.log10(peak / error)), abs=1e-3)
    assert scores.ergas == pytest.approx(25 * np.sqrt(np.mean((error / mean) ** 2)), rel=1e-4)
    assert scores.rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4)
    assert scores.cc == pytest.approx(1)
    assert scores.wavelength_nm is not None
    assert scores.wavelength_nm.tolist() == WAVELENGTH


def test_a_brighter_image_has_no_spectral_angle(write_raster: WriteRaster) -> None:
    fused, reference = write_raster("f.tif", IMAGE * 1.5), write_raster("r.tif", IMAGE)
    assert evaluate(fused, reference, ratio=3).scores.sam == pytest.approx(0, abs=0.02)
    turned = write_raster("t.tif", np.stack([np.ones((8, 8)), np.zeros((8, 8))]).astype(np.float32))
    diagonal = write_raster("d.tif", np.ones((2, 8, 8), np.float32))
    assert evaluate(turned, diagonal, ratio=3).scores.sam == pytest.approx(45, abs=1e-4)


def test_what_is_nodata_in_either_image_does_not_count(write_raster: WriteRaster) -> None:
    holed, other = IMAGE.copy(), IMAGE.copy()
    holed[:, :10] = -1
    other[2, :, :7] = np.nan
    fused, reference = write_raster("f.tif", holed, nodata=-1), write_raster("r.tif", other)
    scores = evaluate(fused, reference, ratio=3).scores
    assert (scores.pixels, scores.rmse) == (80 * 63, 0)


def test_scale_and_offset_of_either_file_are_undone(write_raster: WriteRaster) -> None:
    numbers = np.rint((IMAGE - 0.1) / 1e-4).astype(np.int16)
    fused = write_raster("f.tif", numbers, scale=1e-4, offset=0.1)
    assert evaluate(fused, write_raster("r.tif", IMAGE), ratio=3).scores.rmse < 0.5e-4


def test_bands_are_matched_by_wavelength(write_raster: WriteRaster) -> None:
    order = [3, 0, 4]
    fused = write_raster("f.tif", IMAGE[order], wavelengths=[WAVELENGTH[band] for band in order])
    result = evaluate(fused, write_raster("r.tif", IMAGE, wavelengths=WAVELENGTH), ratio=3)
    assert result.scores.rmse == 0
    assert result.warnings == ("3 bands are in both images (of 3 fused and 5 reference bands)",)
    elsewhere = write_raster("e.tif", IMAGE, wavelengths=[nm + 20 for nm in WAVELENGTH])
    with pytest.raises(PairError, match="at different wavelengths"):
        evaluate(elsewhere, write_raster("r.tif", IMAGE, wavelengths=WAVELENGTH), ratio=3)
    with pytest.raises(PairError, match=r"3 bands, .* 5, and without wavelengths"):
        evaluate(write_raster("g.tif", IMAGE[:3]), write_raster("h.tif", IMAGE), ratio=3)


def test_images_on_other_grids_are_refused(write_raster: WriteRaster) -> None:
    reference = write_raster("r.tif", IMAGE)
    with pytest.raises(PairError, match=r"70×89 pixels, .* 70×90"):
        evaluate(write_raster("f.tif", IMAGE[:, 1:]), reference, ratio=3)
    with pytest.raises(PairError, match="different CRS"):
        evaluate(write_raster("g.tif", IMAGE, crs="EPSG:32634"), reference, ratio=3)
    with pytest.raises(PairError, match=r"1.00 and 0.50 pixels apart"):
        evaluate(write_raster("h.tif", IMAGE, origin=(5e5 + 30, 5e6 - 15)), reference, ratio=3)
    bigger = Affine(31, 0, 5e5, 0, -31, 5e6)
    with pytest.raises(PairError, match="do not lie on one grid"):
        evaluate(write_raster("i.tif", IMAGE, transform=bigger), reference, ratio=3)


def test_images_without_a_pixel_in_common_are_refused(write_raster: WriteRaster) -> None:
    left, right = IMAGE.copy(), IMAGE.copy()
    left[:, :, :35] = np.nan
    right[:, :, 35:] = np.nan
    with pytest.raises(RequestError, match="no valid pixel in common"):
        evaluate(write_raster("l.tif", left), write_raster("r.tif", right), ratio=3)
    with pytest.raises(SceneError, match="no such file"):
        evaluate("nowhere.tif", write_raster("r.tif", right))


def test_the_ratio_comes_from_the_fused_image(write_raster: WriteRaster) -> None:
    reference = write_raster("r.tif", IMAGE)
    fused = write_raster("f.tif", IMAGE + 0.1, tags={"HSFUSE_RATIO": "5"})
    told, given = evaluate(fused, reference), evaluate(fused, reference, ratio=2.5)
    assert told.warnings == ()
    assert given.scores.ergas == pytest.approx(2 * told.scores.ergas)
    assert "ERGAS is for ratio 1" in evaluate(write_raster("g.tif", IMAGE), reference).warnings[0]
    broken = write_raster("b.tif", IMAGE, tags={"HSFUSE_RATIO": "three"})
    assert "ERGAS is for ratio 1" in evaluate(broken, reference).warnings[0]
    with pytest.raises(RequestError, match="positive, got 0"):
        evaluate(fused, reference, ratio=0)


def test_strips_of_a_tall_image_are_one_image(write_raster: WriteRaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips are forced to 64 rows; the windows of UIQI and SSIM reach across them."""
    reference, fused = write_raster("r.tif", IMAGE), write_raster("f.tif", IMAGE[:, ::-1].copy())
    whole = evaluate(fused, reference, ratio=3).scores.summary()
    monkeypatch.setattr("hsfuse.commands.evaluate._STRIP_NUMBERS", 1)
    assert evaluate(fused, reference, ratio=3).scores.summary() == pytest.approx(whole)


def test_simulated_fused_and_evaluated(pair: KnownPair, tmp_path: Path) -> None:
    """The round trip that a user makes to see what a method is worth."""
    folder = simulate(pair.reference, tmp_path / "pair", ratio=3, srf="sentinel-2a", psf="gaussian:1.1").folder
    truth = str(folder / "imaging.json")
    psnr = {}
    for model in ("bicubic", "gsa"):
        output = tmp_path / f"{model}.tif"
        fuse(folder / "hsi.tif", folder / "msi.tif", output, model=model, srf=truth, psf=truth)
        result = evaluate(output, folder / "reference.tif")
        assert result.warnings == ()
        psnr[model] = result.scores.psnr
    assert psnr["gsa"] > psnr["bicubic"] + 4
