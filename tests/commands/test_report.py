"""What a report tells is what the files hold."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

import hsfuse.report.page
from hsfuse.commands.compare import compare
from hsfuse.commands.evaluate import evaluate
from hsfuse.commands.fuse import fuse
from hsfuse.commands.train_reduced import train_reduced
from hsfuse.errors import OutputError, WorkError
from hsfuse.files import written_whole
from hsfuse.pairs.pair import PairRequest
from hsfuse.scenes import PixelWindow
from hsfuse.training.start import TrainingPlan

from ..browser import chromium
from .conftest import OFFSET, RATIO, SCALE, WAVELENGTH

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .conftest import KnownPair, MakePair

pytest.importorskip("bokeh", reason="needs the report extra")


class Told:
    """What stands on a page."""

    def __init__(self, path: Path) -> None:
        self.text = path.read_text(encoding="utf-8")
        found = re.search(r'<script type="application/json" id="data">(.*?)</script>', self.text, flags=re.DOTALL)
        assert found is not None
        self.data: dict[str, Any] = json.loads(found[1])

    @property
    def findings(self) -> list[tuple[str, str]]:
        """Level and sentence of each."""
        return re.findall(r'<li class="(\w+)"><span class="mark">[^<]*</span> <span>([^<]*)</span>', self.text)

    def spectrum(self, name: str, across: int, down: int, kind: str = "curves") -> NDArray[np.float64]:
        """At one of the places, in the order of the bands."""
        at = self.data["spectra"]
        curve, number = at[kind][name], down * len(at["columns"]) + across
        steps, low, range_ = (
            np.frombuffer(base64.b64decode(curve[part]), kind)
            for part, kind in (("steps", "<u2"), ("low", "<f4"), ("range", "<f4"))
        )
        own = steps.reshape(-1, at["bands"])[number]
        return np.where(own == 65535, np.nan, low[number] + own / 65534 * range_[number])


def values(path: Path, column: int, row: int) -> NDArray[np.float64]:
    with rasterio.open(path) as dataset:
        numbers = dataset.read()[:, row, column].astype(np.float64)
        return numbers * np.array(dataset.scales) + np.array(dataset.offsets)


def request(pair: KnownPair, **options: Any) -> PairRequest:
    return PairRequest(pair.hsi, pair.msi, srf=pair.imaging, psf=pair.imaging, **options)


def test_the_report_of_fuse_shows_what_the_files_hold(make_pair: MakePair, tmp_path: Path) -> None:
    pair = make_pair(hsi_hole=(slice(0, 4), slice(0, 12)))
    output, sigma, page = tmp_path / "out.tif", tmp_path / "sigma.tif", tmp_path / "page.html"
    result = fuse(request(pair), output, model="bayes", uncertainty=sigma, report=page)
    assert result.report == page
    told = Told(page)
    at = told.data["spectra"]
    for across, down in ((30, 20), (len(at["columns"]) - 1, 5)):
        column, row = at["columns"][across], at["rows"][down]
        assert told.spectrum("result", across, down) == pytest.approx(values(output, column, row), abs=1e-4)
        hsi = values(pair.hsi, column // RATIO, row // RATIO)
        assert told.spectrum("HSI", across, down) == pytest.approx(hsi, abs=1e-4)
        deviation = values(sigma, column, row)
        assert told.spectrum("result", across, down, "spread") == pytest.approx(deviation, rel=1e-3)
    assert np.isnan(told.spectrum("HSI", 0, 0)).all()
    assert at["x"] == pytest.approx(WAVELENGTH, abs=1e-3)
    assert [picture["name"] for picture in told.data["pictures"]] == ["HSI", "MSI", "result"]
    share = 4 * 12 / (40 * 48)
    assert ("note", f"{share:.1%} of the result has no data.") in told.findings
    follows = [finding for finding in told.findings if "Seen through" in finding[1]]
    assert [level for level, _ in follows] == ["good"]
    assert all(word in told.text for word in ("HQNR", "bayes", "Uncertainty of the result", "truth.json"))


def test_a_result_without_the_msis_detail_is_doubted(pair: KnownPair, tmp_path: Path) -> None:
    fuse(request(pair), tmp_path / "out.tif", model="bicubic", report=tmp_path / "page.html")
    findings = Told(tmp_path / "page.html").findings
    assert [level for level, sentence in findings if "Seen through" in sentence] == ["doubt"]
    assert "Doubtful" in (tmp_path / "page.html").read_text()


def test_a_report_is_refused_before_any_work(pair: KnownPair, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("mine")
    with pytest.raises(OutputError, match=r"page\.html exists"):
        fuse(request(pair), tmp_path / "out.tif", model="bicubic", report=page)
    with pytest.raises(OutputError, match=r"ends in \.html"):
        fuse(request(pair), tmp_path / "out.tif", model="bicubic", report=tmp_path / "page.pdf")
    with pytest.raises(OutputError, match="one of the scenes"):
        fuse(request(pair), tmp_path / "out.tif", model="bicubic", report=pair.msi, overwrite=True)
    with pytest.raises(OutputError, match="cannot be both `csv` and `report`"):
        evaluate(pair.reference, pair.reference, csv=tmp_path / "a.html", report=tmp_path / "a.html")
    assert page.read_text() == "mine"
    assert not (tmp_path / "out.tif").exists()


def test_a_report_that_fails_leaves_the_output(
    pair: KnownPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *, overwrite: bool) -> Any:
        with written_whole(path, overwrite=overwrite):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(hsfuse.report.page, "written_whole", full)
    with pytest.raises(WorkError, match=r"out\.tif was written, but not its report: .*No space left"):
        fuse(request(pair), tmp_path / "out.tif", model="bicubic", report=tmp_path / "page.html")
    assert (tmp_path / "out.tif").exists()
    assert not (tmp_path / "page.html").exists()


def test_the_report_of_a_part_against_the_pair_and_the_reference(make_pair: MakePair, tmp_path: Path) -> None:
    pair = make_pair()
    part = tmp_path / "part.tif"
    fuse(request(pair, window=PixelWindow(6, 4, 30, 28)), part, model="gsa")
    found = evaluate(part, pair=request(pair), report=tmp_path / "pair.html")
    told = Told(tmp_path / "pair.html")
    at = told.data["spectra"]
    column, row = at["columns"][7], at["rows"][9]
    assert told.spectrum("result", 7, 9) == pytest.approx(values(part, column, row), abs=1e-4)
    hsi = values(pair.hsi, 6 + column // RATIO, 4 + row // RATIO)
    assert told.spectrum("HSI", 7, 9) == pytest.approx(hsi, abs=1e-4)
    assert f"{found.scores.hqnr:.4g}" in told.text

    whole = tmp_path / "whole.tif"
    fuse(request(pair), whole, model="gsa")
    scores = evaluate(whole, pair.reference, report=tmp_path / "truth.html").scores
    told = Told(tmp_path / "truth.html")
    at = told.data["spectra"]
    truth = pair.truth[:, at["rows"][3], at["columns"][8]]
    assert told.spectrum("reference", 8, 3) == pytest.approx(truth, abs=2 * SCALE + 1e-4)
    assert (
        "good",
        f"Spectra differ from the reference&#39;s by {scores.sam:.2f}° (mean of the pixels).",
    ) in told.findings
    assert OFFSET != 0  # values, not numbers


@pytest.mark.parametrize("against", ["reference", "itself"])
def test_the_report_of_compare_shows_every_method(pair: KnownPair, tmp_path: Path, against: str) -> None:
    reference = pair.reference if against == "reference" else None
    methods = ["bicubic", "bayes"]
    compare(request(pair), reference=reference, methods=methods, report=tmp_path / "page.html")
    told = Told(tmp_path / "page.html")
    names = [picture["name"] for picture in told.data["pictures"]]
    truth = "reference" if reference else "truth (the HSI itself)"
    assert names == ["HSI", "MSI", truth, *methods]
    assert list(told.data["spectra"]["curves"]) == [truth, "HSI", *methods]
    assert told.data["swiped"] == ["bayes", truth]
    off = {
        name: np.nanmean(np.abs(told.spectrum(name, 5, 5) - told.spectrum(truth, 5, 5))) for name in (*methods, "HSI")
    }
    assert off["bayes"] < off["bicubic"]
    assert any("better than plain bicubic" in sentence for _, sentence in told.findings)


def test_the_report_of_a_training_opens_in_a_browser(pair: KnownPair, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    part = request(pair, window=PixelWindow(0, 0, 36, 40))
    result = train_reduced(part, tmp_path / "w.safetensors", plan=TrainingPlan(steps=1), report=page)
    assert result is not None
    assert result.report == page
    told = Told(page)
    assert [picture["name"] for picture in told.data["pictures"]] == ["HSI", "MSI"]
    assert "On what was held back" in told.text
    with chromium() as browser:
        browser.open(page)
        assert browser.complaints() == []
        assert "step (number)" not in browser.run("return document.body.innerText")  # drawn, not written
