"""The scripts for a shell, run as they stand on small scenes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import rasterio

import hsfuse

EXAMPLES = Path(__file__).parents[2] / "examples"
KNOWN = ["--srf", "sentinel-2a", "--psf", "gaussian:1"]
QUICK = ["--model", "mtf-glp", *KNOWN]


@dataclass(frozen=True)
class Shell:
    """Runs scripts in a folder with scenes, with the `hsfuse` under test in the path."""

    folder: Path

    def run(self, script: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", str(EXAMPLES / script), *words], capture_output=True, text=True, check=False, cwd=self.folder,
            env={**os.environ, "PATH": path, **environment}, timeout=300,
        )  # fmt: skip

    def lines(self, name: str) -> list[tuple[str, str]]:
        told = map(json.loads, (self.folder / name).read_text().splitlines())
        return [(Path(line["output"]).name, line["status"]) for line in told]


@pytest.fixture
def shell(crops: list[tuple[Path, Path]], tmp_path: Path) -> Shell:
    """The north and the south of the example as `my scenes/NAME-hsi.tif` and `NAME-msi.tif`."""
    (tmp_path / "my scenes").mkdir()
    for path in (scene for pair in crops for scene in pair):
        shutil.copy(path, tmp_path / "my scenes")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "hsfuse"
    home = Path(hsfuse.__file__).parents[1]
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{home}" exec "{sys.executable}" -m hsfuse "$@"\n')
    command.chmod(0o755)
    return Shell(tmp_path)


def test_every_script_is_tested_and_can_be_run() -> None:
    scripts = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.sh")}
    assert scripts == {"one_pair.sh", "folder.sh", "new_sensors.sh", "cluster/slurm_array.sh", "cluster/xargs.sh"}
    for script in scripts:
        assert os.access(EXAMPLES / script, os.X_OK)
        assert "set -euo pipefail" in (EXAMPLES / script).read_text()


def test_one_pair(shell: Shell) -> None:
    scenes = ["my scenes/north-hsi.tif", "my scenes/north-msi.tif"]
    ended = shell.run("one_pair.sh", *scenes, "fused.tif", *QUICK)
    assert ended.returncode == 0, ended.stderr
    for told in ("can be fused: ratio 3", "fused.tif: 144×72 pixels", "HQNR"):
        assert told in ended.stdout


def test_a_folder_of_pairs(shell: Shell) -> None:
    """One has no partner, and one is no scene."""
    shutil.copy(shell.folder / "my scenes/north-hsi.tif", shell.folder / "my scenes/alone-hsi.tif")
    for kind in ("hsi", "msi"):
        (shell.folder / f"my scenes/bad-{kind}.tif").write_text("no scene")
    ended = shell.run("folder.sh", "my scenes", "my fused", *QUICK)
    assert ended.returncode == 1
    assert "no alone-msi.tif beside my scenes/alone-hsi.tif: left out" in ended.stderr
    assert ended.stdout.count("\n") == 1
    assert json.loads(ended.stdout)["line"] == 2
    told = shell.lines("my scenes/pairs.jsonl")
    assert told == [("bad.tif", "failed"), ("north.tif", "done"), ("south.tif", "done")]
    assert {path.name for path in (shell.folder / "my fused").iterdir()} == {"north.tif", "south.tif"}


@pytest.fixture
def table(shell: Shell) -> str:
    rows = [f"{site}-hsi.tif,{site}-msi.tif,{site}.tif" for site in ("north", "south")]
    (shell.folder / "my scenes/pairs.csv").write_text("\n".join(["hsi,msi,output", *rows]))
    return "my scenes/pairs.csv"


def test_a_slurm_array(shell: Shell, table: str) -> None:
    """One task of the array, as Slurm would start it."""
    slurm = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "1"}
    ended = shell.run("cluster/slurm_array.sh", table, "my fused", *QUICK, **slurm)
    assert ended.returncode == 0, ended.stderr
    assert shell.lines("my fused/task-2.jsonl") == [("south.tif", "done")]


def test_processes_that_share_a_table(shell: Shell, table: str) -> None:
    ended = shell.run("cluster/xargs.sh", "2", table, "my fused", *QUICK)
    assert ended.returncode == 0, ended.stderr
    told = [shell.lines(f"my fused/share-{share}.jsonl") for share in (1, 2)]
    assert told == [[("north.tif", "done")], [("south.tif", "done")]]


@pytest.mark.slow
def test_training_for_new_sensors(shell: Shell) -> None:
    quick = ["--model", "ssrfn", "--preset", "tiny", "--steps", "1", "--batch", "1", "--patch", "4", *KNOWN]
    scenes = ["my scenes/north-hsi.tif", "my scenes/north-msi.tif"]
    ended = shell.run("new_sensors.sh", *scenes, "w.safetensors", "fused.tif", *quick)
    assert ended.returncode == 0, ended.stderr
    assert "before training" in ended.stdout
    with rasterio.open(shell.folder / "fused.tif") as fused:
        assert (fused.tags()["HSFUSE_MODEL"], fused.tags()["HSFUSE_WEIGHTS"]) == ("stack", "w")


def test_the_notebook_runs_from_top_to_bottom() -> None:
    pytest.importorskip("rioxarray", reason="needs the extra xarray")
    pytest.importorskip("xarray")
    environment = {**os.environ, "PYTHONPATH": str(Path(hsfuse.__file__).parents[1])}
    script = [sys.executable, "-W", "ignore", str(EXAMPLES / "notebook.py")]
    ended = subprocess.run(script, capture_output=True, text=True, check=False, env=environment, timeout=300)
    assert ended.returncode == 0, ended.stderr
    told = ended.stdout.splitlines()
    assert told[1] == "{'band': 200, 'y': 144, 'x': 72} (20.0, -20.0) 100% known"
    assert told[-1].startswith("half of the values differ from the HSI by less than ")
