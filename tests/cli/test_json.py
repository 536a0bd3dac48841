"""`--json`: exactly one object on stdout, with the keys of the contract and no number that JSON does not know."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hsfuse.cli.console import Console
from hsfuse.models.weights import find_weights, save_weights

from .conftest import EXAMPLE

if TYPE_CHECKING:
    from conftest import WriteRaster

    from .conftest import Ended, RunHere


def content_of(ended: Ended) -> dict[str, Any]:
    assert ended.status == 0, ended.stderr

    def refuse(number: str) -> None:
        raise AssertionError(f"{number} is not JSON")

    content = json.loads(ended.stdout, parse_constant=refuse)
    assert isinstance(content, dict)
    return content


def test_fuse(hsfuse: RunHere, known_pair: list[str], tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    content = content_of(hsfuse("fuse", *known_pair, "-o", output, "--json"))
    facts = {
        "output": str(output), "width": 72, "height": 60, "bands": 200, "ratio": 3, "model": "gsa", "weights": None,
        "device": "cpu", "precision": "fp32", "tiles": 1, "warnings": [], "uncertainty": None,
    }  # fmt: skip
    assert {key: content[key] for key in facts} == facts
    assert 0 < content["seconds"] < 60
    assert 50 < content["peak_memory_mb"] < 10_000
    assert content["peak_device_memory_mb"] is None  # classical, on the CPU


def test_fuse_names_the_file_of_standard_deviations(hsfuse: RunHere, known_pair: list[str], tmp_path: Path) -> None:
    output, second = tmp_path / "out.tif", tmp_path / "sigma.tif"
    words = [*known_pair, "--hsi-bands", "1-60", "-o", output, "--uncertainty"]
    content = content_of(hsfuse("fuse", *words, second, "--json"))
    assert (content["output"], content["uncertainty"]) == (str(output), str(second))
    assert second.exists()
    refused = hsfuse("fuse", *words, output, "--overwrite")
    assert refused.status == 2
    assert "--uncertainty" in refused.stderr


def test_fuse_names_its_weights(hsfuse: RunHere, known_pair: list[str], tmp_path: Path) -> None:
    words = [*known_pair, "--model", "mgdunlss", "--hsi-bands", "1-200", "-o", tmp_path / "out.tif", "--json"]
    assert content_of(hsfuse("fuse", *words))["weights"] == "mgdunlss-universal"


def test_simulate_then_evaluate(hsfuse: RunHere, tmp_path: Path) -> None:
    folder = tmp_path / "pair"
    words = ["--reference", EXAMPLE / "hsi.tif", "--ratio", "4", "--srf", "sentinel-2a:B3,B4", "-o", folder]
    made = content_of(hsfuse("simulate", *words, "--json"))
    assert made["hsi"] == {"bands": 200, "width": 12, "height": 12}
    assert made["msi"] == {"bands": 2, "width": 48, "height": 48}
    names = ("hsi.tif", "msi.tif", "reference.tif", "imaging.json")
    assert (made["ratio"], made["files"]) == (4, [str(folder / name) for name in names])

    truth, pair = folder / "imaging.json", ["--hsi", folder / "hsi.tif", "--msi", folder / "msi.tif"]
    fused = tmp_path / "fused.tif"
    content_of(hsfuse("fuse", *pair, "--srf", truth, "--psf", truth, "--model", "gsa", "-o", fused, "--json"))
    scores = content_of(hsfuse("evaluate", "--fused", fused, "--reference", folder / "reference.tif", "--json"))
    assert set(scores["metrics"]) == {"psnr", "sam", "ergas", "rmse", "cc", "uiqi", "ssim"}
    assert 20 < scores["metrics"]["psnr"] < 60
    assert (len(scores["bands"]), scores["pixels"]) == (200, 48 * 48)
    assert scores["bands"][0]["wavelength_nm"] == pytest.approx(400, abs=1)
    mean = np.mean([band["psnr"] for band in scores["bands"]])
    assert mean == pytest.approx(scores["metrics"]["psnr"])


def test_evaluate_writes_null_for_what_is_not_finite(hsfuse: RunHere, write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", np.full((2, 20, 20), 0.5, np.float32))
    scores = content_of(hsfuse("evaluate", "--fused", path, "--reference", path, "--ratio", "3", "--json"))
    assert scores["metrics"]["psnr"] is None
    assert scores["metrics"]["rmse"] == 0
    assert scores["bands"][0] == {"wavelength_nm": None} | scores["bands"][0]
    # a perfect image has an infinite PSNR; the correlation of constant bands is undefined
    assert scores["metrics"]["cc"] is None
    assert scores["infinite"] == scores["bands"][0]["infinite"] == ["psnr"]
    assert "∞ dB" in hsfuse("evaluate", "--fused", path, "--reference", path, "--ratio", "3").stdout


def test_compare_tells_infinite_from_undefined(
    hsfuse: RunHere, known_pair: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsfuse.metrics import FullReferenceScores

    honest = FullReferenceScores.summary

    def perfect(scores: FullReferenceScores) -> dict[str, float]:
        return honest(scores) | {"psnr": np.inf, "uiqi": np.nan}

    monkeypatch.setattr(FullReferenceScores, "summary", perfect)
    words = ["compare", *known_pair[:8], "--methods", "bicubic", "-q"]
    (method,) = content_of(hsfuse(*words, "--json"))["methods"]
    assert method["infinite"] == ["psnr"]
    assert (method["metrics"]["psnr"], method["metrics"]["uiqi"]) == (None, None)
    row = next(line for line in hsfuse(*words).stdout.splitlines() if "bicubic" in line.split())
    assert "∞" in row.split()
    assert "–" in row


@dataclass(frozen=True)
class _Noun:
    shares: tuple[float, ...]
    folder: Path
    kinds: dict[str, Any]


def test_whatever_is_not_finite_is_null_however_deep(capsys: pytest.CaptureFixture[str]) -> None:
    """Of every command: all print through this one method."""
    noun = _Noun((1.0, np.inf), Path("a"), {"x": [np.float32("nan"), np.float64(2)], "n": np.int64(3), "t": np.True_})
    content = {"noun": noun, "list": [{"deep": [[-np.inf]]}], "array": np.array([[1.0, np.nan]]), "warnings": []}
    Console(as_json=True, quiet=0, verbose=0).result(content, lambda: None)

    def refuse(number: str) -> None:
        raise AssertionError(number)

    assert json.loads(capsys.readouterr().out, parse_constant=refuse) == {
        "noun": {"shares": [1.0, None], "folder": "a", "kinds": {"x": [None, 2.0], "n": 3, "t": True}},
        "list": [{"deep": [[None]]}],
        "array": [[1.0, None]],
        "warnings": [],
    }


def test_what_other_commands_find_may_be_infinite_too(
    hsfuse: RunHere, write_raster: WriteRaster, tmp_path: Path
) -> None:
    """A spread given by hand has no residual; files have numbers that are none in their headers."""
    pair = ["--hsi", EXAMPLE / "hsi.tif", "--msi", EXAMPLE / "msi.tif", "--srf", "sentinel-2a", "--psf", "gaussian:1"]
    content_of(hsfuse("estimate", *pair, "-o", tmp_path / "imaging.json", "--json"))
    json.loads((tmp_path / "imaging.json").read_text(), parse_constant=pytest.fail)
    path = write_raster("a.tif", np.ones((2, 9, 9), np.float32), nodata=float("-inf"), scale=float("nan"))
    hsfuse("info", path, "--json")
    odd = find_weights("mgdunlss-universal")
    card = replace(odd.card, validation={"psnr": float("inf"), "sam": float("nan")})
    save_weights(odd.network().state_dict(), card, tmp_path / "w.safetensors")
    shown = content_of(hsfuse("weights", "show", tmp_path / "w.safetensors", "--json"))
    assert shown["validation"] == {"psnr": None, "sam": None}
    content_of(hsfuse("doctor", "--json"))


def test_info_of_a_pair(hsfuse: RunHere) -> None:
    content = content_of(hsfuse("info", EXAMPLE / "msi.tif", EXAMPLE / "hsi.tif", "--json"))
    msi, hsi = content["scenes"]
    assert (hsi["width"], hsi["height"], hsi["count"], hsi["dtype"]) == (48, 48, 200, "uint16")
    assert (hsi["crs"], hsi["pixel_size"], hsi["nodata"]) == ("EPSG:32616", [60, 60], 0)
    assert (len(hsi["wavelength_nm"]), len(hsi["fwhm_nm"]), hsi["bad_bands"]) == (200, 200, [])
    assert msi["names"] == ["B2", "B3", "B4", "B8"]
    pair = content["pair"]
    assert (pair["hsi"], pair["msi"]) == (hsi["path"], msi["path"])
    assert (pair["fusible"], pair["reason"], pair["ratio"]) == (True, None, 3)
    assert (pair["overlap"], pair["resampled"]) == ({"width": 48, "height": 48}, False)


def test_info_speaks_of_the_options_of_fuse(hsfuse: RunHere, write_raster: WriteRaster) -> None:
    rng = np.random.default_rng(0)
    numbers = [rng.integers(1, 999, shape).astype(np.int16) for shape in ((5, 12, 12), (3, 18, 18))]
    files = [write_raster(f"{pixel}.tif", image, pixel=pixel) for image, pixel in zip(numbers, (30, 20), strict=True)]
    for ended in (hsfuse("info", *files, "--json"), hsfuse("info", *files)):
        assert ended.status == 0
        assert "the output's pixels are 15 m, the HSI's cut into 2 x 2, not the MSI's 20 m: --grid msi" in ended.stdout


def test_the_grid_of_the_output(hsfuse: RunHere, known_pair: list[str], tmp_path: Path) -> None:
    words = [*known_pair, "--psf", "gaussian:1.0", "--grid", "msi", "--resolution", "30", "--json"]
    content = content_of(hsfuse("fuse", *words, "-o", tmp_path / "out.tif"))
    assert (content["ratio"], content["pixel_size"], content["hsi_resampled"]) == (2, [30, 30], False)
    refused = hsfuse("fuse", *known_pair, "--resolution", "60", "-o", tmp_path / "no.tif")
    assert refused.status == 2
    assert refused.stderr.startswith(
        "hsfuse: Pixels so large leave nothing to sharpen (output pixel 60 m, HSI pixel 60"
    )
    assert "--resolution" in refused.stderr
    reference = hsfuse("evaluate", "--fused", "f.tif", "--reference", "r.tif", "--grid", "msi")
    assert (reference.status, "--grid would say nothing about a reference" in reference.stderr) == (2, True)


def test_info_of_a_scene_that_says_little(hsfuse: RunHere, write_raster: WriteRaster) -> None:
    numbers = np.ones((3, 9, 9), np.float32)
    path = write_raster("plain.tif", numbers, crs=None, nodata=float("nan"))
    content = content_of(hsfuse("info", path, "--json"))
    scene = content["scenes"][0]
    assert (scene["crs"], scene["nodata"], scene["wavelength_nm"], scene["sensor"]) == (None, "nan", None, None)
    assert content["pair"] is None


def test_weights(hsfuse: RunHere) -> None:
    listed = content_of(hsfuse("weights", "list", "--json"))["weights"]
    assert "mgdunlss-universal" in [file["name"] for file in listed]
    shown = content_of(hsfuse("weights", "show", "mgdunlss-universal", "--json"))
    assert shown in listed
    assert shown["model"] == "mgdunlss"
    assert shown["trained_on"]
    verified = content_of(hsfuse("weights", "verify", "mgdunlss-universal", "--json"))
    assert verified["ok"] is True
    assert (len(verified["sha256"]), verified["file"]) == (64, shown["file"])


def test_estimate(hsfuse: RunHere, tmp_path: Path) -> None:
    pair = ["--hsi", EXAMPLE / "hsi.tif", "--msi", EXAMPLE / "msi.tif"]
    output = tmp_path / "imaging.json"
    content = content_of(hsfuse("estimate", *pair, "--srf", "sentinel-2a", "-o", output, "--json"))
    assert (content["output"], content["ratio"]) == (str(output), 3)
    assert content["msi_bands"] == ["B2", "B3", "B4", "B8"]
    assert content["fwhm_hsi_pixels"] == pytest.approx([1, 1], abs=0.1)
    assert json.loads(output.read_text())["format"] == "hsfuse-imaging/1"


def test_evaluate_without_a_reference(hsfuse: RunHere, known_pair: list[str], tmp_path: Path) -> None:
    fused = tmp_path / "out.tif"
    content_of(hsfuse("fuse", *known_pair, "-o", fused, "--json"))
    content = content_of(hsfuse("evaluate", "--fused", fused, *known_pair[:8], "--json"))
    names = {"d_lambda", "d_s", "qnr", "hqnr", "consistency_hsi", "consistency_msi"}
    assert set(content["metrics"]) == names
    assert all(isinstance(value, float) for value in content["metrics"].values())
    assert (len(content["bands"]), len(content["msi_bands"]), content["pixels"]) == (200, 4, 72 * 60)
    assert content["bands"][0]["wavelength_nm"] == pytest.approx(400, abs=1)
    assert set(content["msi_bands"][0]) == {"band", "name", "wavelength_nm", "consistency_msi"}


def test_compare(hsfuse: RunHere, known_pair: list[str], tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    words = [*known_pair[:8], "--methods", "bicubic,gsa", "--method", "mtf-glp", "--csv", table, "--json"]
    content = content_of(hsfuse("compare", *words))
    assert [method["name"] for method in content["methods"]] == ["bicubic", "gsa", "mtf-glp"]
    for method in content["methods"]:
        assert set(method["metrics"]) == {"psnr", "sam", "ergas", "rmse", "cc", "uiqi", "ssim"}
        assert method["seconds"] > 0
        assert method["peak_memory_mb"] is None or method["peak_memory_mb"] > 50
        assert (method["peak_device_memory_mb"], method["device"], method["precision"]) == (None, "cpu", "fp32")
        assert (method["weights"], method["error"]) == (None, None)
    assert (content["resolution"], content["ratio"], content["bands"], content["pixels"]) == ("reduced", 3, 200, 48**2)
    assert content["best"]["psnr"] != ["bicubic"]
    assert content["warnings"] == []
    assert len(table.read_text().splitlines()) == 4
