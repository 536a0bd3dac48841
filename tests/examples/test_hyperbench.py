"""The adapter to HyperBench, called as the harness calls it; with the harness itself where `HYPERBENCH` names it."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.io
import torch
from scipy.signal import fftconvolve
from tensorly.datasets import load_indian_pines

import hsfuse
from hsfuse.classical import Bayes
from hsfuse.imaging import BlurDecimate, ImagingModel, PointSpread, SpectralResponse
from hsfuse.metrics import full_reference
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

FOLDER = Path(__file__).parents[2] / "examples" / "hyperbench"
RATIO = 4


def load(name: str) -> ModuleType:
    """As HyperBench does it: the module is in no list, so nothing in it may look itself up."""
    spec = importlib.util.spec_from_file_location("hyperbench_user_pipeline_module", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pipeline() -> ModuleType:
    return load("pipeline")


@pytest.fixture(autouse=True)
def other_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSFUSE_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(Path(hsfuse.__file__).parents[1]))


def skewed(reach: int = 4) -> NDArray[np.float64]:
    """A PSF that is not the same when turned round."""
    x, y = np.meshgrid(*2 * [np.arange(-reach, reach + 1)])
    psf = np.exp(-((x - 0.8) ** 2) / 5 - (y + 0.4) ** 2 / 9) * (1 + 0.1 * np.tanh(x))
    return psf / psf.sum()


def degrade(image: NDArray[np.floating[Any]], psf: NDArray[np.float64]) -> NDArray[np.float64]:
    """What HyperBench does to an image (H, W, c): convolved against zeros, then means of r×r pixels."""
    fine = fftconvolve(image, psf[..., None], mode="same", axes=(0, 1))
    rows, columns = (edge // RATIO for edge in image.shape[:2])
    return fine.reshape(rows, RATIO, columns, RATIO, -1).mean(axis=(1, 3))


@pytest.fixture(scope="module")
def case() -> SimpleNamespace:
    """Truth (H, W, C) from 0 to 1, MSI, HSI, SRF and PSF."""
    image = np.asarray(load_indian_pines()["tensor"], np.float32)[:64, :80, 5:95:3]
    truth = np.clip((image - image.min()) / np.ptp(image), 0, 1)
    distance = np.linspace(0, 3, truth.shape[2]) - np.arange(4)[:, None]
    srf = np.exp(-(distance**2) / 0.3)
    srf /= srf.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    msi = truth @ srf.T + rng.normal(0, 1e-3, (*truth.shape[:2], 4))
    hsi = degrade(truth, skewed()) + rng.normal(0, 1e-3, (16, 20, truth.shape[2]))
    return SimpleNamespace(
        truth=truth, srf=srf.astype(np.float32), psf=skewed().astype(np.float32),
        msi=msi.astype(np.float32), hsi=hsi.astype(np.float32),
    )  # fmt: skip


def psnr(case: SimpleNamespace, fused: NDArray[np.float32]) -> float:
    bands = fused.transpose(2, 0, 1), case.truth.transpose(2, 0, 1)
    return full_reference(*bands, ratio=RATIO, windows=False).psnr


def test_the_blur_is_the_harness_s(pipeline: ModuleType, case: SimpleNamespace) -> None:
    """Away from the edges hsfuse's B, told the adapter's kernel, gives the harness's HSI."""
    blur = BlurDecimate(PointSpread(pipeline.blur_of_hsi_pixel(case.psf, RATIO), RATIO))
    ours = blur(torch.from_numpy(case.truth.transpose(2, 0, 1))).numpy().transpose(1, 2, 0)
    inside = slice(1, -1), slice(1, -1)
    np.testing.assert_allclose(ours[inside], degrade(case.truth, case.psf)[inside], atol=1e-5)
    assert np.abs(ours - degrade(case.truth, case.psf)).max() > 0.05


def test_no_dark_rim_is_left(pipeline: ModuleType, case: SimpleNamespace) -> None:
    """Where the HSI's bands follow from the MSI's, the rim comes out as hsfuse's B has it."""
    mixing = np.random.default_rng(1).random((4, 30))
    truth = case.truth @ case.srf.T @ mixing + 0.1
    lit = pipeline.lit_from_beyond(degrade(truth, case.psf), case.truth @ case.srf.T, case.psf, RATIO)
    blur = BlurDecimate(PointSpread(pipeline.blur_of_hsi_pixel(case.psf, RATIO), RATIO))
    expected = blur(torch.from_numpy(truth.transpose(2, 0, 1))).numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(lit, expected, atol=1e-4)


def test_a_case_is_fused(pipeline: ModuleType, case: SimpleNamespace) -> None:
    """As well as on an HSI that hsfuse's own B made, with the true R and B at hand."""
    kernel = PointSpread(pipeline.blur_of_hsi_pixel(case.psf, RATIO), RATIO)
    model = ImagingModel(SpectralResponse(case.srf, tuple("bgrn")), kernel)
    noise = np.random.default_rng(0).normal(0, 1e-3, case.hsi.shape).astype(np.float32)
    hsi = model.blur(torch.from_numpy(case.truth.transpose(2, 0, 1))) + torch.from_numpy(noise.transpose(2, 0, 1))
    msi = torch.from_numpy(case.msi.transpose(2, 0, 1))
    with torch.inference_mode():
        direct = Bayes.fit([PairPatch.all_valid(hsi, msi)], model)(hsi, msi).numpy().transpose(1, 2, 0)

    fused, stats = pipeline.bayes(
        HR_MSI=case.msi[None], LR_HSI=case.hsi[None], srf=case.srf, psf=case.psf, metadata={"downsample_ratio": RATIO}
    )
    assert fused.shape == case.truth.shape
    assert stats["psf"] == "given"
    assert stats["model_inference_time_sec"] > 0
    assert psnr(case, fused) > psnr(case, direct) - 0.3


def test_a_psf_with_negative_lobes_is_estimated(pipeline: ModuleType, case: SimpleNamespace) -> None:
    psf = case.psf.copy()
    psf[0] = -psf[0].max()
    fused, stats = pipeline.gsa(HR_MSI=case.msi, LR_HSI=case.hsi, srf=case.srf, psf=psf / psf.sum())
    assert fused.shape == case.truth.shape
    assert stats["psf"] == "estimated"
    assert np.isfinite(fused).all()


def test_a_name_says_the_method_and_whether_it_is_told(pipeline: ModuleType) -> None:
    assert getattr(pipeline, "mtf-glp").keywords == {"method": "mtf-glp", "blind": False}
    assert getattr(pipeline, "mtf-glp-blind").keywords == {"method": "mtf-glp", "blind": True}


def test_what_fails_is_said_in_hsfuse_s_words(
    pipeline: ModuleType, case: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = {"HR_MSI": case.msi, "LR_HSI": case.hsi, "srf": case.srf, "psf": case.psf}
    with pytest.raises(RuntimeError, match=r"hsfuse: .*magic.*bayes"):
        pipeline.magic(**pair)
    monkeypatch.delenv("HSFUSE_PYTHON")
    with pytest.raises(RuntimeError, match="set HSFUSE_PYTHON"):
        pipeline.run_pipeline(**pair)


def test_scenes_are_written_as_the_harness_reads_them(tmp_path: Path) -> None:
    image = np.arange(3 * 10 * 13, dtype=np.float32).reshape(3, 10, 13)
    written = scipy.io.loadmat(load("run").write_scene(tmp_path, "place", image))["scene"]
    np.testing.assert_array_equal(written, image[:, :8, :12].transpose(1, 2, 0))


def test_tables() -> None:
    run = load("run")
    scores = {"RMSE": "0.01", "SSIM": "0.9", "UIQI": "0.8", "ERGAS": "2", "model_inference_time_sec": "3"}
    rows = [
        {"scene_name": scene, "msi_band_count": "4", "method_name": method, "PSNR": psnr, "SAM": "1.5", **scores}
        for scene, method, psnr in (("a", "gsa", "30"), ("a", "bayes", "40"), ("b", "gsa", "32"), ("b", "bayes", "44"))
    ]
    cases, means = run.by_scene(rows, ["gsa", "bayes"]), run.means(rows, ["gsa", "bayes"])
    assert cases.splitlines()[2:] == [
        "| a | 4 | 30.00 / 1.500 / 2.000 | 40.00 / 1.500 / 2.000 |",
        "| b | 4 | 32.00 / 1.500 / 2.000 | 44.00 / 1.500 / 2.000 |",
    ]
    assert means.splitlines()[-1] == "| bayes | 0.0100 | 42.00 | 0.9000 | 0.8000 | 2.000 | 1.500 | 3.0 |"


@pytest.mark.skipif("HYPERBENCH" not in os.environ, reason="HYPERBENCH does not name the command of HyperBench 0.1.0")
def test_the_harness_runs_it(case: SimpleNamespace, tmp_path: Path) -> None:
    run = load("run")
    scene = run.write_scene(tmp_path, "place", case.truth.transpose(2, 0, 1))
    rows = run.benchmark(os.environ["HYPERBENCH"], scene, "mtf-glp")
    assert [(row["scene_name"], row["msi_band_count"], row["psf"]) for row in rows] == [
        ("place", "4", "given"), ("place", "8", "given"),
    ]  # fmt: skip
    with pytest.raises(SystemExit, match="place, magic, 4 bands: RuntimeError: hsfuse: "):
        run.benchmark(os.environ["HYPERBENCH"], scene, "magic")
