"""Scores of a fused image: known answers, and images that cannot be compared."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from affine import Affine

from hsfuse.cli import ExitStatus, hsfuse
from hsfuse.cli.console import report_errors
from hsfuse.commands.evaluate import evaluate
from hsfuse.commands.fuse import fuse
from hsfuse.commands.simulate import simulate
from hsfuse.errors import OutputError, PairError, RequestError, SceneError
from hsfuse.pairs.pair import PairRequest
from hsfuse.scenes import PixelWindow

from .conftest import COLUMNS, RATIO, RESPONSE, ROWS, TRUTH
from .conftest import WAVELENGTH as BANDS_NM

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteRaster
    from numpy.typing import NDArray

    from hsfuse.commands.evaluate import Evaluation
    from hsfuse.metrics import NoReferenceScores

    from .conftest import KnownPair, MakePair

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
    monkeypatch.setattr("hsfuse.evaluation.reference._STRIP_NUMBERS", 1)
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


# --- coregistered images ---


def test_a_coregistered_image_is_scored_where_the_msi_lies(make_pair: MakePair, tmp_path: Path) -> None:
    """The HSI's file places it three pixels west and one south of where it lies: the image shares most of the truth."""
    pair, output = make_pair(hsi={"origin": (5e5 - 90, 5e6 - 30)}), tmp_path / "fused.tif"
    known = {"srf": pair.imaging, "psf": pair.imaging}
    result = fuse(pair.hsi, pair.msi, output, model="gsa", coregister=True, **known)
    assert result.shift == pytest.approx((3, -1), abs=0.1)
    assert result.displacement is not None
    assert not result.displacement["resampled"]
    found = evaluate(output, pair.reference)
    assert found.scores.psnr > 30
    part = tmp_path / "part.tif"
    fuse(pair.hsi, pair.msi, part, model="gsa", coregister=True, window=PixelWindow(10, 10, 20, 18), **known)
    assert evaluate(part, pair.reference).scores.pixels == 20 * 18 * RATIO**2
    without_option = without(pair, output).scores
    assert without_option.consistency_hsi > 30
    assert without_option.consistency_msi > 35
    assert without_option.pixels == found.scores.pixels
    assert without(pair, output, coregister=True).scores.summary() == pytest.approx(without_option.summary())
    assert without(pair, part).scores.pixels == 20 * 18 * RATIO**2


def test_a_coregistered_image_beside_the_reference_is_refused(write_raster: WriteRaster) -> None:
    tags = {"HSFUSE_SHIFT": '{"x": 1.0, "y": 0.0}', "HSFUSE_RATIO": "3"}
    reference = write_raster("r.tif", IMAGE)
    part = evaluate(write_raster("f.tif", IMAGE[:, 5:, 7:], origin=(5e5 + 210, 5e6 - 150), tags=tags), reference)
    assert (part.scores.rmse, part.scores.pixels, part.warnings) == (0, 85 * 63, ())
    over = evaluate(write_raster("g.tif", IMAGE, origin=(5e5 + 210, 5e6 - 150), tags=tags), reference)
    assert over.scores.pixels == 85 * 63
    assert "85% of" in over.warnings[0]
    with pytest.raises(PairError, match="was coregistered, but its pixels are not those of"):
        evaluate(write_raster("h.tif", IMAGE, origin=(5e5 + 15, 5e6), tags=tags), reference)
    with pytest.raises(PairError, match="no pixel in common"):
        evaluate(write_raster("i.tif", IMAGE, origin=(5e5 + 30000, 5e6), tags=tags), reference)


# --- bad and odd images against a reference ---


def test_a_constant_band_is_named_and_left_out_of_the_mean(write_raster: WriteRaster) -> None:
    flat = IMAGE.copy()
    flat[2] = 0.4
    reference = write_raster("r.tif", flat)
    result = evaluate(write_raster("f.tif", IMAGE + 0.01), reference, ratio=3)
    assert np.isnan(result.scores.band_cc[2])
    assert result.scores.cc == pytest.approx(1)
    assert np.isfinite(list(result.scores.summary().values())).all()
    assert result.warnings == (
        f"CC is undefined in band 3 of {reference}, constant or without a positive value, and left out of the mean",
    )
    negative = write_raster("n.tif", -IMAGE)
    assert any("PSNR and SSIM are undefined in every band" in text for text in evaluate(negative, negative).warnings)


def test_pixels_that_are_all_zero_have_no_angle(write_raster: WriteRaster) -> None:
    fused, reference = IMAGE * 1.2, IMAGE.copy()
    fused[:, 3, 4:6] = 0
    reference[:, 7, 7] = 0
    scores = evaluate(write_raster("f.tif", fused), write_raster("r.tif", reference), ratio=3).scores
    assert (scores.pixels, scores.zero_pixels) == (90 * 70, 3)
    assert scores.sam == pytest.approx(0, abs=0.02)


def test_what_the_fused_image_lacks_is_said(write_raster: WriteRaster) -> None:
    holed = IMAGE.copy()
    holed[:, :2] = np.nan
    result = evaluate(write_raster("f.tif", holed), write_raster("r.tif", IMAGE), ratio=3)
    assert "has no data at 140 pixels that the reference knows" in result.warnings[0]


def test_bad_bands_of_the_reference_are_left_out(write_raster: WriteRaster) -> None:
    """One band is empty and has no wavelength: it must not stand in the way of the others."""
    numbers = np.insert(IMAGE, 2, 0, axis=0)
    tags = [{"wavelength": f"{nm}", "wavelength_units": "nm"} for nm in WAVELENGTH]
    reference = write_raster("r.tif", numbers, band_tags=[*tags[:2], {}, *tags[2:]])
    by_wavelength = evaluate(write_raster("f.tif", IMAGE, wavelengths=WAVELENGTH), reference, ratio=3)
    by_order = evaluate(write_raster("g.tif", IMAGE), reference, ratio=3)
    for result in (by_wavelength, by_order):
        assert result.scores.rmse == 0
        assert result.warnings == ("5 bands are in both images (of 5 fused and 6 reference bands)",)


def test_bands_that_share_a_wavelength_are_matched_in_order(write_raster: WriteRaster) -> None:
    """As where two detectors of a sensor overlap."""
    wavelengths = [450.0, 550.0, 550.5, 750.0, 850.0]
    path = write_raster("a.tif", IMAGE, wavelengths=wavelengths)
    assert evaluate(path, path, ratio=3).scores.rmse == 0
    with pytest.raises(PairError, match=r"several bands of .* within 1 nm of one band"):
        evaluate(path, write_raster("b.tif", IMAGE[[0, 1, 3]], wavelengths=[450.0, 550.2, 750.0]), ratio=3)


def test_bands_go_into_a_table(write_raster: WriteRaster, tmp_path: Path) -> None:
    reference = IMAGE.copy()
    reference[1] = 0.5
    fused = write_raster("f.tif", np.concatenate([reference[:1], IMAGE[1:]]), wavelengths=WAVELENGTH)
    table = tmp_path / "bands.csv"
    result = evaluate(fused, write_raster("r.tif", reference, wavelengths=WAVELENGTH), ratio=3, csv=table)
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert list(rows[0]) == ["band", "wavelength_nm", "psnr", "rmse", "cc", "uiqi", "ssim"]
    assert [(row["band"], row["wavelength_nm"]) for row in rows] == [
        (str(band + 1), str(nm)) for band, nm in enumerate(WAVELENGTH)
    ]
    assert (rows[0]["psnr"], rows[1]["cc"]) == ("inf", "")
    assert float(rows[1]["rmse"]) == result.scores.band_rmse[1]
    with pytest.raises(OutputError, match=r"bands.csv exists: pass `overwrite=True`"):
        evaluate(fused, fused, csv=table)
    evaluate(fused, fused, csv=table, overwrite=True)
    with pytest.raises(OutputError, match="does not exist"):
        evaluate("nowhere.tif", fused, csv=tmp_path / "missing" / "bands.csv")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("", "there is nothing to hold the fused image against: pass either the reference (--reference) or"),
        ("--hsi h.tif", "the MSI is missing"),
        ("--msi m.tif", "the HSI is missing"),
        ("--reference r.tif --hsi h.tif --msi m.tif", "both given"),
        ("--reference r.tif --msi m.tif", "both given"),
        ("--reference r.tif --srf sentinel-2a --msi-bands 1", "--srf, --msi-bands would say nothing"),
        ("--reference r.tif --mask m.tif --coregister", "--mask, --coregister would say nothing"),
        ("--hsi h.tif --msi m.tif --ratio 2.5", "whole number from 2 to 20, got 2.5"),
    ],
)
def test_either_a_reference_or_a_pair(given: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "--fused", "f.tif", *given.split()]
    assert report_errors(lambda: hsfuse.main(arguments, standalone_mode=False)) == ExitStatus.REFUSED
    assert sentence in capsys.readouterr().err


def test_either_a_reference_or_a_pair_from_python() -> None:
    with pytest.raises(RequestError, match="nothing to hold it against was given"):
        evaluate("f.tif")  # type: ignore[call-overload]
    with pytest.raises(RequestError, match="both given"):
        evaluate("f.tif", "r.tif", pair=PairRequest("h.tif", "m.tif"))  # type: ignore[call-overload]


# --- without a reference ---


def without(pair: KnownPair, fused: Path, **choices: Any) -> Evaluation[NoReferenceScores]:
    """With the true imaging model unless a test says otherwise."""
    known: dict[str, Any] = {"srf": pair.imaging, "psf": pair.imaging}
    written = {name: choices.pop(name) for name in ("csv", "overwrite") if name in choices}
    return evaluate(fused, pair=PairRequest(pair.hsi, pair.msi, **(known | choices)), **written)


def as_fused(write_raster: WriteRaster, values: NDArray[np.floating], **options: Any) -> Path:
    """A fused image on the pair's fine grid."""
    wavelengths = options.pop("wavelengths", BANDS_NM.tolist())
    return write_raster("fused.tif", values.astype(np.float32), pixel=10.0, wavelengths=wavelengths, **options)


def test_the_truth_is_consistent_with_both_images(pair: KnownPair, tmp_path: Path) -> None:
    found = without(pair, pair.reference)
    assert found.warnings == ()
    scores = found.scores
    assert list(scores.summary()) == ["d_lambda", "d_s", "qnr", "hqnr", "consistency_hsi", "consistency_msi"]
    assert scores.consistency_hsi > 75  # what the rounding to 1e-4 leaves
    assert scores.consistency_msi > 75
    assert scores.hqnr > 0.95
    assert (scores.pixels, scores.blocks) == (ROWS * COLUMNS * RATIO**2, (ROWS // 11) * (COLUMNS // 11))
    fuse(pair.hsi, pair.msi, tmp_path / "b.tif", model="bicubic", srf=pair.imaging, psf=pair.imaging)
    bicubic = without(pair, tmp_path / "b.tif").scores
    assert bicubic.hqnr < scores.hqnr
    assert bicubic.consistency_msi < 40


def test_consistency_is_the_error_through_the_imaging_model(write_raster: WriteRaster, pair: KnownPair) -> None:
    """An error of one hundredth at every second column: the box sees a third or two thirds of it."""
    error = np.zeros(TRUTH.shape[1:])
    error[:, ::2] = 0.01
    found = without(pair, as_fused(write_raster, TRUTH + error))
    hsi = TRUTH.reshape(len(TRUTH), ROWS, RATIO, COLUMNS, RATIO).mean(axis=(2, 4))
    seen = error.reshape(ROWS, RATIO, COLUMNS, RATIO).mean(axis=(1, 3))
    expected = 10 * np.log10(hsi.max(axis=(1, 2)) ** 2 / np.mean(seen**2))
    assert [row["consistency_hsi"] for row in found.bands] == pytest.approx(expected, abs=0.05)
    assert found.scores.consistency_hsi == pytest.approx(expected.mean(), abs=0.05)
    assert [row["wavelength_nm"] for row in found.bands] == pytest.approx(BANDS_NM, abs=1e-3)
    assert [row["name"] for row in found.msi_bands] == ["B2", "B3", "B4", "B8"]


def test_tiles_are_one_image(pair: KnownPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Single blocks instead of the whole scene, under a blur that reaches far over their rims."""
    whole = without(pair, pair.reference, psf="gaussian:1.8").scores.summary()
    monkeypatch.setattr("hsfuse.evaluation.consistency._TILE_NUMBERS", 1)
    assert without(pair, pair.reference, psf="gaussian:1.8").scores.summary() == pytest.approx(whole, rel=1e-5)


def test_an_msi_in_other_units_is_brought_to_those_of_the_hsi(make_pair: MakePair) -> None:
    same = make_pair()
    alike = without(same, same.reference).scores.summary()
    numbers = np.rint((np.einsum("bc,chw->bhw", RESPONSE, TRUTH) * 0.7 + 0.15) * 1e4).astype(np.uint16)
    other = make_pair(msi={"numbers": numbers, "scale": 1.0})  # digital numbers with a path radiance
    found = without(other, other.reference)
    assert found.warnings == ()
    scores = found.scores.summary()
    assert scores.pop("consistency_msi") == pytest.approx(alike.pop("consistency_msi") + 20 * np.log10(0.7), abs=1)
    assert scores == pytest.approx(alike, abs=1e-3)


def test_holes_of_all_three_images_stay_out(make_pair: MakePair, write_raster: WriteRaster) -> None:
    pair = make_pair(hsi_hole=(slice(0, 2), slice(0, 48)), msi_hole=(slice(60, 63), slice(30, 33)))
    values = TRUTH.copy()
    values[:, 91:113, 91:113] = np.nan
    found = without(pair, as_fused(write_raster, values))
    assert np.isfinite(list(found.scores.summary().values())).all()
    assert found.scores.consistency_hsi > 75
    assert found.scores.pixels == ROWS * COLUMNS * RATIO**2 - 9 - 22**2
    assert found.scores.blocks < 12


def test_a_part_of_the_scene_is_judged_where_it_lies(pair: KnownPair, tmp_path: Path) -> None:
    part, known = tmp_path / "part.tif", {"srf": pair.imaging, "psf": pair.imaging}
    fuse(pair.hsi, pair.msi, part, model="gsa", window=PixelWindow(13, 7, 25, 24), **known)
    scores = without(pair, part).scores
    assert scores.pixels == 25 * 24 * RATIO**2
    assert scores.consistency_msi > 35
    assert scores.consistency_hsi > 30


def test_a_fused_image_may_reach_beyond_the_pair(pair: KnownPair, write_raster: WriteRaster) -> None:
    """Four columns to the west and five rows to the north, which is no whole number of HSI pixels."""
    wide = np.pad(TRUTH, ((0, 0), (5, 0), (4, 0)), constant_values=0.3)
    scores = without(pair, as_fused(write_raster, wide, origin=(5e5 - 40, 5e6 + 50))).scores
    assert scores.summary() == pytest.approx(without(pair, as_fused(write_raster, TRUTH)).scores.summary())
    narrow = without(pair, as_fused(write_raster, TRUTH[:, 2:, 4:], origin=(5e5 + 40, 5e6 - 20))).scores
    assert narrow.pixels == (ROWS - 1) * (COLUMNS - 2) * RATIO**2
    assert narrow.consistency_msi > 75


def test_a_scene_without_a_whole_block_leaves_the_consistency(pair: KnownPair, write_raster: WriteRaster) -> None:
    found = without(pair, as_fused(write_raster, TRUTH[:, :30, :33]))
    assert np.isnan(found.scores.qnr)
    assert found.scores.consistency_hsi > 75
    assert "no block of 11×11 HSI pixels is without a hole" in found.warnings[0]


def test_a_table_without_a_reference_holds_both_images(pair: KnownPair, tmp_path: Path) -> None:
    table = tmp_path / "bands.csv"
    without(pair, pair.reference, csv=table)
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [row["image"] for row in rows] == ["hsi"] * 20 + ["msi"] * 4
    assert float(rows[0]["consistency_hsi"]) > 70
    assert (rows[0]["consistency_msi"], rows[-1]["consistency_hsi"], rows[-1]["name"]) == ("", "", "B8")


def test_an_image_that_was_not_fused_from_the_pair_is_refused(pair: KnownPair, write_raster: WriteRaster) -> None:
    with pytest.raises(PairError, match=r"does not lie on the grid of .* cut into 3×3"):
        without(pair, as_fused(write_raster, TRUTH, origin=(5e5 + 5, 5e6)))
    with pytest.raises(PairError, match="does not lie on the grid"):
        without(pair, as_fused(write_raster, TRUTH, crs="EPSG:32634"))
    with pytest.raises(PairError, match="covers no whole pixel"):
        without(pair, as_fused(write_raster, TRUTH, origin=(5e5 + 30000, 5e6)))
    with pytest.raises(PairError, match="different wavelengths"):
        without(pair, as_fused(write_raster, TRUTH, wavelengths=(BANDS_NM + 9).tolist()))
    with pytest.raises(PairError, match=r"7 bands, .* 20, and without wavelengths"):
        without(pair, as_fused(write_raster, TRUTH[:7], wavelengths=None))
