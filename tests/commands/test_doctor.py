"""`hsfuse doctor` says what is used here, and why; it agrees with what the other commands do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rasterio
import torch

import hsfuse
from hsfuse.cli import main
from hsfuse.commands.doctor import DRIVERS, GdalReport, ScanReport, _problems, doctor
from hsfuse.fusion.compute import Compute
from hsfuse.scan import BACKENDS, explain_backend

if TYPE_CHECKING:
    from collections.abc import Mapping


def spawn(environment: Mapping[str, str]) -> dict[str, Any]:
    """`hsfuse doctor --json` in a process of its own."""
    package = str(Path(hsfuse.__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, "-m", "hsfuse", "doctor", "--json"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": package, **environment},
    )  # fmt: skip
    content = json.loads(ended.stdout)
    assert isinstance(content, dict)
    return content


def test_it_says_what_fuse_and_the_scan_will_use() -> None:
    found = doctor()
    chosen = Compute()
    assert (found.compute.device, found.compute.precision) == (chosen.device, chosen.precision)
    choice = explain_backend(chosen.device)
    assert (found.scan.backend, found.scan.reason) == (choice.name, choice.reason)
    assert set(found.scan.refused) == set(BACKENDS) - {choice.name}
    assert len(found.compute.cuda) == torch.cuda.device_count()
    assert (found.compute.cuda_build, found.torch) == (torch.version.cuda, torch.__version__)
    assert found.threads.torch == torch.get_num_threads()
    assert found.threads.memory_bytes > 2**28


def test_gdals_drivers_are_looked_up() -> None:
    found = doctor().gdal
    assert found.version == rasterio.__gdal_version__
    assert set(found.drivers) == set(DRIVERS)
    with rasterio.Env() as environment:
        assert {name for name, there in found.drivers.items() if there} == set(DRIVERS) & set(environment.drivers())


def test_a_driver_that_was_switched_off_is_reported_missing() -> None:
    content = spawn({"GDAL_SKIP": "ENVI,GTiff"})
    missing = {name for name, there in content["gdal"]["drivers"].items() if not there}
    assert missing >= {"ENVI", "GTiff"}
    (problem,) = content["problems"]
    assert problem.startswith("GDAL's driver GTiff (reads GeoTIFF, and packs the blocks of the output) is missing: ")


def test_what_the_environment_asks_for_is_named() -> None:
    content = spawn({"HSFUSE_SCAN": "reference", "OMP_NUM_THREADS": "1"})
    assert content["scan"]["backend"] == "reference"
    assert content["scan"]["reason"] == "HSFUSE_SCAN asks for it"
    assert content["threads"]["torch"] == 1
    assert content["threads"]["reason"] == "OMP_NUM_THREADS=1 asks for it"


def test_a_backend_that_does_not_exist_is_a_problem_not_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HSFUSE_SCAN", "warp")
    found = doctor()
    assert found.scan.backend is None
    assert found.problems == ("the selective scan cannot run: " + found.scan.reason,)
    monkeypatch.setattr(sys, "argv", ["hsfuse", "doctor"])
    with pytest.raises(SystemExit) as leave:
        main()
    assert leave.value.code == 0
    assert "HSFUSE_SCAN=warp is unknown" in capsys.readouterr().out


def test_a_machine_without_anything_fast_is_told_what_to_install() -> None:
    gdal = GdalReport("3.10.3", "1.4.4", dict.fromkeys(DRIVERS, True), True)
    assert _problems(ScanReport("numba", "", {}), gdal) == []
    slow = ScanReport("reference", "the first that works on cuda:0", {"triton": "it fails when tried (no compiler)"})
    assert "install numba" in _problems(slow, gdal)[0]
    assert "no compiler" in _problems(slow, gdal)[0]


def test_the_table_for_people_and_the_json_agree(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for words in (["doctor"], ["doctor", "--json"]):
        monkeypatch.setattr(sys, "argv", ["hsfuse", *words])
        with pytest.raises(SystemExit):
            main()
        printed.append(capsys.readouterr().out)
    content = json.loads(printed[1])
    for value in (content["torch"], content["gdal"]["version"], content["scan"]["backend"], "mgdunlss-universal"):
        assert value in printed[0]
    assert content["weights"]["mgdunlss"] == ["mgdunlss-universal"]
    assert ("all is well" in printed[0]) == (not content["problems"])
