"""Several methods on one pair: the same figures as fusing and evaluating one by one, or at reduced resolution."""

from __future__ import annotations

import csv
import gc
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from hsfuse.commands.compare import HIGHER_IS_BETTER, Comparison, choose_entrants, compare
from hsfuse.commands.evaluate import evaluate
from hsfuse.commands.fuse import fuse
from hsfuse.errors import OutputError, PairError, RequestError, WeightsError, WorkError
from hsfuse.evaluation.cost import Cost
from hsfuse.fusion.methods import METHODS, MethodEntry
from hsfuse.imaging import upsample
from hsfuse.scenes import PixelWindow

from .conftest import COLUMNS, OFFSET, RATIO, ROWS, SCALE, TRUTH, WAVELENGTH, as_nouns

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteRaster
    from numpy.typing import NDArray

    from hsfuse.fusion.compute import Compute

    from .conftest import KnownPair, MakePair

BUNDLED = "mgdunlss-universal"
QUICK = ("bicubic", "gsa")


def run(pair: KnownPair, **choices: Any) -> Comparison:
    """With the true imaging model and two quick methods unless a test says otherwise."""
    known: dict[str, Any] = {"srf": pair.imaging, "psf": pair.imaging, "methods": QUICK}
    return compare(pair.hsi, pair.msi, **as_nouns(known | choices))


def scores_of(found: Comparison) -> dict[str, dict[str, float]]:
    return {entry.name: entry.scores.summary() for entry in found.entries if entry.scores is not None}


def hsi_of(truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Under the box-shaped point spread, rounded as the file's numbers are."""
    coarse = truth.reshape(len(truth), ROWS, RATIO, COLUMNS, RATIO).mean(axis=(2, 4))
    return np.rint((coarse - OFFSET) / SCALE) * SCALE + OFFSET


# --- against a reference ---


def test_with_a_reference_it_is_fuse_and_evaluate(pair: KnownPair, tmp_path: Path) -> None:
    found = run(pair, reference=pair.reference, methods=("gsa", "bicubic", "mtf-glp-subspace"))
    assert [entry.name for entry in found.entries] == ["gsa", "bicubic", "mtf-glp-subspace"]
    assert (found.resolution, found.warnings) == ("full", ())
    assert str(pair.reference) in found.note
    for entry in found.entries:
        output = tmp_path / f"{entry.name}.tif"
        fuse(pair.hsi, pair.msi, output, model=entry.model, srf=pair.imaging, psf=pair.imaging)
        assert entry.scores is not None
        assert entry.scores.summary() == evaluate(output, pair.reference).scores.summary()
        assert entry.scores.pixels == ROWS * COLUMNS * RATIO**2
        assert entry.seconds is not None
        assert 0 < entry.seconds < 60


def test_the_temporary_files_are_gone(pair: KnownPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    run(pair, reference=pair.reference, methods=("bicubic",))
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert not list((tmp_path / "temporary").iterdir())


def test_a_window_is_held_against_its_part_of_the_reference(pair: KnownPair, tmp_path: Path) -> None:
    window = PixelWindow(5, 8, 20, 24)
    found = run(pair, reference=pair.reference, window=window, methods=("gsa",))
    assert found.entries[0].scores is not None
    assert found.entries[0].scores.pixels == 20 * 24 * RATIO**2
    assert found.entries[0].scores.psnr > 30


def test_best_knows_which_way_is_up(pair: KnownPair) -> None:
    found = run(pair, reference=pair.reference)
    best, scores = found.best(), scores_of(found)
    assert list(best) == list(HIGHER_IS_BETTER)
    for metric in ("psnr", "sam", "ergas", "rmse", "cc", "uiqi", "ssim"):
        assert best[metric] == ("gsa",), (metric, scores)
    quickest = min(found.entries, key=lambda entry: entry.columns()["seconds"])
    assert best["seconds"] == (quickest.name,)


# --- at reduced resolution ---


def test_without_a_reference_the_hsi_is_the_truth_and_it_says_so(pair: KnownPair) -> None:
    """Bicubic again by hand: blocks of 3×3 HSI pixels averaged, interpolated, held against the HSI."""
    found = run(pair)
    assert found.resolution == "reduced"
    assert found.note.startswith(
        "at reduced resolution (Wald's protocol): both images were degraded by 3, given their noise"
    )
    rows = ROWS // RATIO * RATIO
    truth = hsi_of(TRUTH)[:, (ROWS - rows) // 2 :][:, :rows]
    small = truth.reshape(len(truth), rows // RATIO, RATIO, COLUMNS // RATIO, RATIO).mean(axis=(2, 4))
    error = ((upsample(torch.from_numpy(small), RATIO).numpy() - truth) ** 2).mean(axis=(1, 2))
    expected = np.mean(10 * np.log10(truth.max(axis=(1, 2)) ** 2 / error))
    bicubic, gsa = (entry.scores for entry in found.entries)
    assert bicubic is not None
    assert bicubic.psnr == pytest.approx(expected, abs=0.01)
    assert bicubic.pixels == rows * COLUMNS
    assert bicubic.wavelength_nm == pytest.approx(WAVELENGTH, abs=1e-3)
    assert gsa is not None
    assert gsa.psnr > bicubic.psnr + 3


def test_the_middle_of_a_large_scene_is_used_and_it_says_so(pair: KnownPair, monkeypatch: pytest.MonkeyPatch) -> None:
    per_pixel = len(TRUTH) + 4 * RATIO**2
    monkeypatch.setattr("hsfuse.evaluation.resolution._MOST_NUMBERS", ROWS * COLUMNS * per_pixel // 2)
    found = run(pair, methods=("bicubic",))
    assert found.note.endswith("only the middle 33×27 of 48×40 HSI pixels was used")
    assert found.entries[0].scores is not None
    assert found.entries[0].scores.pixels == 33 * 27


def test_every_method_is_given_the_same_model_estimated_once(pair: KnownPair, tmp_path: Path) -> None:
    """What was estimated for all, written and given again, leads to the same figures."""
    estimated = run(pair, srf="estimate", psf="estimate")
    assert estimated.pair.estimate is not None
    path = str(tmp_path / "estimated.json")
    estimated.pair.imaging.save(path)
    for name, scores in scores_of(run(pair, srf=path, psf=path)).items():
        assert scores == pytest.approx(scores_of(estimated)[name], rel=1e-2)


def test_holes_stay_out(make_pair: MakePair) -> None:
    pair = make_pair(hsi_hole=(slice(9, 12), slice(6, 9)), msi_hole=(slice(60, 63), slice(90, 93)))
    for entry in run(pair).entries:
        assert entry.scores is not None
        assert np.isfinite(list(entry.scores.summary().values())).all()
        assert 0.9 * 39 * COLUMNS < entry.scores.pixels < 39 * COLUMNS
    with_reference = run(pair, reference=pair.reference, methods=("bicubic",))
    assert "bicubic has no data at 90 pixels that the reference knows" in with_reference.warnings[0]


def test_a_constant_band_is_named(make_pair: MakePair) -> None:
    numbers = np.rint((hsi_of(TRUTH) - OFFSET) / SCALE).astype(np.int16)
    numbers[4] = 3000
    pair = make_pair(hsi={"numbers": numbers})
    found = run(pair, methods=("bicubic",), srf="estimate")
    assert any("left out: 5 (5: constant, 3000)" in text for text in found.warnings)


# --- methods and weights ---


def test_every_classical_method_and_bundled_network_runs_by_default(pair: KnownPair) -> None:
    found = run(pair, methods=None)
    names = [entry.name for entry in found.entries]
    assert names[:6] == ["bicubic", "gsa", "mtf-glp", "mtf-glp-subspace", "cnmf", "hysure"]
    assert names[6] == "bayes"
    assert "mgdunlss" in names[7:]
    assert names[-1] == "stack"
    assert len(scores_of(found)) == len(names)
    networks = [entry for entry in found.entries if METHODS[entry.model].takes_weights]
    assert all(entry.weights for entry in networks)
    assert all(entry.weights is None for entry in found.entries if entry not in networks)


def test_weights_run_beside_the_methods(pair: KnownPair) -> None:
    found = run(pair, methods=("bicubic", "mgdunlss", "bicubic"), weights=(BUNDLED,))
    assert [entry.name for entry in found.entries] == ["bicubic", "mgdunlss", f"mgdunlss ({BUNDLED})"]
    scores = scores_of(found)
    assert scores["mgdunlss"] == scores[f"mgdunlss ({BUNDLED})"]
    assert found.best()["psnr"] != ("bicubic",)


def test_entrants_that_cannot_be_are_refused() -> None:
    with pytest.raises(RequestError, match="there is no model 'magic'"):
        choose_entrants(("gsa", "magic"), ())
    with pytest.raises(WeightsError, match="nobody"):
        choose_entrants(("gsa",), ("nobody",))
    with pytest.raises(RequestError, match="nothing to compare"):
        choose_entrants((), ())


@dataclass(frozen=True)
class Refusing:
    """A method for which no scene is good enough."""

    sentence: str

    def suited(self, compute: Compute) -> Compute:
        return compute

    def fit(self, patches: object, imaging: object, *, compute: Compute, seed: int) -> Any:
        raise WorkError(self.sentence)


def test_a_method_that_fails_does_not_stop_the_others(pair: KnownPair, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = MethodEntry("refusing", "", network=False, build=lambda _: Refusing("not on my watch"))
    monkeypatch.setitem(METHODS, "refusing", entry)
    for reference in (None, pair.reference):
        found = run(pair, methods=("refusing", "bicubic"), reference=reference)
        refusing, bicubic = found.entries
        assert (refusing.scores, refusing.seconds, refusing.error) == (None, None, "not on my watch")
        assert bicubic.scores is not None
        assert found.best()["psnr"] == ("bicubic",)
        assert "refusing failed: not on my watch" in found.warnings
    with pytest.raises(WorkError, match="not on my watch"):
        run(pair, methods=("refusing",))


# --- what cannot be served ---


@pytest.mark.parametrize("moved", [(90.0, -30.0), (14.0, 8.0)])
def test_a_coregistered_pair_is_held_against_the_reference_where_the_msi_lies(
    moved: tuple[float, float], pair: KnownPair, make_pair: MakePair
) -> None:
    """The HSI's file says a wrong place, by whole HSI pixels or a fraction; the truth lies as the MSI does."""
    methods = ("gsa", "mtf-glp-subspace")
    aligned = run(pair, reference=pair.reference, methods=methods)
    displaced = make_pair(hsi={"origin": (5e5 + moved[0], 5e6 + moved[1])})
    found = run(displaced, reference=displaced.reference, methods=methods, coregister=True)
    assert found.pair.coregistration is not None
    for before, after in zip(aligned.entries, found.entries, strict=True):
        assert before.scores is not None
        assert after.scores is not None
        assert after.scores.psnr > before.scores.psnr - 0.3


def test_references_that_do_not_fit_are_refused(pair: KnownPair, write_raster: WriteRaster) -> None:
    numbers = TRUTH.astype(np.float32)
    nm = WAVELENGTH.tolist()
    with pytest.raises(PairError, match=r"is not on the grid of what will be fused \(144×120 pixels of 10 m"):
        run(pair, reference=write_raster("r.tif", numbers, pixel=10.0, origin=(5e5 + 5, 5e6), wavelengths=nm))
    with pytest.raises(PairError, match="144×119 pixels of 10 m"):
        run(pair, reference=write_raster("r.tif", numbers[:, 1:], pixel=10.0, wavelengths=nm))
    with pytest.raises(PairError, match="not on the grid"):
        run(pair, reference=pair.hsi)
    shifted = [value + 9 for value in nm]
    with pytest.raises(PairError, match="different wavelengths"):
        run(pair, reference=write_raster("r.tif", numbers, pixel=10.0, wavelengths=shifted))
    with pytest.raises(PairError, match=r"20 bands, .* 7, and without wavelengths"):
        run(pair, reference=write_raster("r.tif", numbers[:7], pixel=10.0))


def test_a_reference_with_more_bands_is_matched(pair: KnownPair, write_raster: WriteRaster) -> None:
    found = run(pair, hsi_bands="1-16", reference=pair.reference, methods=("bicubic",))
    assert found.entries[0].scores is not None
    assert found.entries[0].scores.wavelength_nm == pytest.approx(WAVELENGTH[:16], abs=1e-3)


def test_a_pair_that_is_too_small_to_be_degraded_is_refused(pair: KnownPair) -> None:
    with pytest.raises(RequestError, match=r"the 20×24 HSI pixels .* give at least 24×24, or a `reference`"):
        run(pair, window=PixelWindow(0, 0, 20, 24))


def test_the_table_is_written_whole_or_refused_early(pair: KnownPair, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    found = run(pair, csv=table)
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [row["method"] for row in rows] == list(QUICK)
    assert {row["resolution"] for row in rows} == {"reduced"}
    assert set(HIGHER_IS_BETTER) < set(rows[0])
    for row, entry in zip(rows, found.entries, strict=True):
        assert entry.scores is not None
        assert float(row["psnr"]) == entry.scores.psnr
    with pytest.raises(OutputError, match="exists: pass `overwrite=True`"):
        compare("nowhere.tif", "nowhere.tif", csv=table)
    run(pair, csv=table, overwrite=True, methods=("bicubic",))
    assert len(list(csv.DictReader(table.open(encoding="utf-8")))) == 1


# --- cost ---


def test_peak_memory_is_that_of_the_block_alone() -> None:
    """A greedy piece of work does not weigh on the modest one after it."""
    with Cost() as greedy:
        np.ones(50_000_000)  # 381 MB
    gc.collect()
    with Cost() as modest:
        np.ones(1_000_000)
    if greedy.peak_memory_mb is None or modest.peak_memory_mb is None:
        pytest.skip("this system does not forget the peak of a process")
    assert 330 < greedy.peak_memory_mb - modest.peak_memory_mb < 430
    assert greedy.seconds > 0


def test_the_precision_asked_for_is_that_of_networks_alone(pair: KnownPair) -> None:
    """bf16 would cost cnmf more than a decibel."""
    whole, half = (run(pair, methods=("gsa", "mtf-glp-subspace"), precision=name) for name in ("fp32", "bf16"))
    assert scores_of(whole) == scores_of(half)
    assert half.precision == "bf16"
    assert {(entry.device, entry.precision) for entry in half.entries} == {("cpu", "fp32")}
