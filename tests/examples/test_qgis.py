"""The Processing provider, run by QGIS's own Python where there is one."""

from __future__ import annotations

import ast
import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import rasterio

import hsfuse
from hsfuse.fusion.methods import METHODS

QGIS = Path(__file__).parents[2] / "examples" / "qgis"
HOME = Path(hsfuse.__file__).parents[1]
IN_QGIS = """
import json, sys, threading
from qgis.core import QgsApplication, QgsProcessingContext, QgsProcessingFeedback
application = QgsApplication([], False)
application.initQgis()
folder, command, job = sys.argv[1:]
sys.path += [folder, QgsApplication.pkgDataPath() + "/python/plugins"]
import processing
from processing.core.Processing import Processing
Processing.initialize()
import hsfuse_processing
plugin = hsfuse_processing.classFactory(None)
plugin.initProcessing()
job = json.loads(job)
feedback = QgsProcessingFeedback(False)
if job.pop("cancel", False):
    threading.Timer(0.5, feedback.cancel).start()
told = {}
try:
    made = processing.run("hsfuse:fuse", {"COMMAND": command, **job}, feedback=feedback)
    from qgis.core import QgsRasterLayer
    told["layers"] = {name: QgsRasterLayer(path).isValid() for name, path in made.items()}
except Exception as error:
    told["error"] = str(error)
told["log"] = feedback.textLog()
plugin.unload()
told["left"] = QgsApplication.processingRegistry().providerById("hsfuse") is not None
print(json.dumps(told), flush=True)
"""


def test_the_plugin_offers_what_there_is() -> None:
    module = ast.parse((QGIS / "hsfuse_processing" / "fuse.py").read_text(encoding="utf-8"))
    (models,) = (
        ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODELS"
    )
    assert set(models) == set(METHODS)
    metadata = configparser.ConfigParser()
    metadata.read(QGIS / "hsfuse_processing" / "metadata.txt", encoding="utf-8")
    assert metadata["general"]["version"] == hsfuse.__version__
    assert metadata["general"]["hasProcessingProvider"] == "yes"
    assert all(metadata["general"][name] for name in ("name", "description", "about", "qgisMinimumVersion", "author"))


@pytest.fixture(scope="module")
def python_of_qgis() -> str:
    """Of Debian's package python3-qgis, or what QGIS_PYTHON names."""
    for python in (os.environ.get("QGIS_PYTHON"), sys.executable, "/usr/bin/python3"):
        if python and Path(python).exists():
            found = subprocess.run([python, "-c", "import qgis.core"], capture_output=True, check=False, env=bare())
            if found.returncode == 0:
                return python
    pytest.skip("no Python that has QGIS: install python3-qgis, or name one as QGIS_PYTHON")


def bare() -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "QT_QPA_PLATFORM": "offscreen",
    }


def run_in_qgis(python: str, folder: Path, **job: object) -> dict[str, object]:
    command = folder / "hsfuse"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{HOME}" exec "{sys.executable}" -m hsfuse "$@"\n')
    command.chmod(0o755)
    done = subprocess.run(
        [python, "-c", IN_QGIS, QGIS, command, json.dumps(job, default=str)],
        capture_output=True, text=True, check=False, env=bare(), timeout=120,
    )  # fmt: skip
    assert done.stdout, done.stderr
    told: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    assert told["left"] is False
    return told


def test_two_layers_are_fused_in_qgis(python_of_qgis: str, crops: list[tuple[Path, Path]], tmp_path: Path) -> None:
    (hsi, msi), output, spread = crops[0], tmp_path / "my fused.tif", tmp_path / "sigma.tif"
    told = run_in_qgis(
        python_of_qgis, tmp_path, HSI=hsi, MSI=msi, MODEL="bayes", OUTPUT=output, UNCERTAINTY=spread,
        EXTRA="--srf sentinel-2a --psf gaussian:1",
    )  # fmt: skip
    assert told.get("layers") == {"OUTPUT": True, "UNCERTAINTY": True}, told
    assert "fuse: done in" in str(told["log"])
    with rasterio.open(output) as fused:
        assert (fused.count, fused.width, fused.height) == (12, 144, 72)
        assert fused.tags()["HSFUSE_MODEL"] == "bayes"


def test_what_hsfuse_says_is_what_qgis_shows(
    python_of_qgis: str, crops: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    hsi, msi = crops[0]
    output = tmp_path / "out.tif"
    told = run_in_qgis(python_of_qgis, tmp_path, HSI=hsi, MSI=msi, OUTPUT=output, EXTRA="--srf sentinel-2")
    assert str(told["error"]).startswith("hsfuse: "), told
    assert "sentinel-2a" in str(told["error"])
    assert not output.exists()


def test_cancelling_leaves_nothing(python_of_qgis: str, crops: list[tuple[Path, Path]], tmp_path: Path) -> None:
    hsi, msi = crops[0]
    told = run_in_qgis(python_of_qgis, tmp_path, HSI=hsi, MSI=msi, OUTPUT=tmp_path / "out.tif", cancel=True)
    assert "given up" in str(told["error"]), told
    assert [path.name for path in tmp_path.iterdir()] == ["hsfuse"]
