"""The picture is drawn from what was measured, and matplotlib stays an extra."""

import subprocess
import sys

import numpy as np
import pytest

from hsfuse.imaging import ImagingModel, Misregistration, PointSpread, SpectralResponse, load_table
from hsfuse.report.plots import plot_imaging, plot_training


def model(wavelength=True):
    nm = np.linspace(450, 900, 40)[::-1]  # not sorted
    srf = SpectralResponse.from_gaussians([490, 560], [66, 36], nm, ["B2", "B3"])
    if not wavelength:
        srf = SpectralResponse(srf.matrix, srf.msi_bands)
    return ImagingModel(srf, PointSpread.gaussian(3, (0.8, 1.2)), (0.4, -0.1))


@pytest.mark.parametrize("wavelength", [True, False])
def test_a_picture_is_written_with_and_without_wavelengths_and_shifts(tmp_path, wavelength):
    pytest.importorskip("matplotlib", reason="needs the report extra")
    shift = Misregistration(0.4, -0.1, 0.02, np.array([[0, 5, 5, 0.4, -0.1], [0, 20, 5, 0.42, -0.08]]), 2)
    plot_imaging(tmp_path / "a.png", model(wavelength), published=load_table("sentinel-2a"), shift=shift)
    plot_imaging(tmp_path / "b.png", model(wavelength))
    first, second = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert first.startswith(b"\x89PNG")
    assert second.startswith(b"\x89PNG")
    assert first != second


def test_commands_do_not_need_matplotlib():
    code = "import sys, hsfuse.commands.estimate; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def record(step, *, best):
    figures = {"psnr": 30 + step / 10, "sam": 2 - step / 100, "ergas": 1.0}
    return {"step": step, "loss": None if step == 0 else 1 / step, "best": int(best), **figures}


@pytest.mark.parametrize("steps", [[0], [0, 10, 20]])
def test_the_course_of_a_training_is_drawn(tmp_path, steps):
    pytest.importorskip("matplotlib", reason="needs the report extra")
    history = [record(step, best=step != 20) for step in steps]
    plot_training(tmp_path / "a.png", history, {"gsa": {"psnr": 28.0, "sam": 3.0}, "bayes": {"psnr": 31.0, "sam": 2.0}})
    plot_training(tmp_path / "b.png", history, {})
    first, second = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert first.startswith(b"\x89PNG")
    assert first != second
