"""`hsfuse train-reduced` and `fuse --adapt` as a user meets them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import click
import pytest
import rasterio

from hsfuse.cli import hsfuse as group
from hsfuse.cli.parameter_types import DurationType
from hsfuse.models.weights import open_weights

from .conftest import ENVIRONMENT

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import RunHere


@pytest.fixture
def words(crops: list[tuple[Path, Path]]) -> list[str]:
    """A training of seconds."""
    hsi, msi = map(str, crops[0])
    return [
        "train-reduced", "--hsi", hsi, "--msi", msi, "--srf", "sentinel-2a", "--psf", "gaussian:1", "--model", "ssrfn",
        "--spectral", "full", "--preset", "tiny", "--batch", "1", "--patch", "4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5 h", 5400), ("45", 45), (" 5M ", 300), (7, 7)]
)
def test_times(text: str, seconds: float) -> None:
    assert DurationType().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "4x", "-1m", "0", "0s", "m", "1h30m", "1e3", "5 m n"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no time: write 90s, 30m or 2h"):
        DurationType().convert(text, None, None)


def test_help_prints_every_default() -> None:
    context = click.Context(group)
    command = group.get_command(context, "train-reduced")
    assert command is not None
    silent = {"data_licence"}  # empty, and says nothing then
    for option in command.params:
        assert isinstance(option, click.Option)
        record = option.get_help_record(context)
        assert record is not None
        if option.required or option.is_flag or option.multiple or option.count or option.name in {"help", *silent}:
            continue
        assert "[default: " in record[1] or option.name in {"epochs", "steps"}, record


def test_a_training_tells_how_it_goes_and_ends_with_a_table(hsfuse: RunHere, words: list[str], tmp_path: Path) -> None:
    ended = hsfuse(*words, "--steps", 2, "-o", tmp_path / "w.safetensors")
    assert ended.status == 0, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("step ")]
    assert lines[0].startswith("step 0, 0 s: validation PSNR ")
    assert lines[0].endswith(", the best so far")
    assert ", score " in lines[0]
    assert ended.stderr.startswith("score: PSNR in dB minus SAM in degrees on what is held back")
    assert "score: PSNR in dB minus SAM in degrees; the weights with the largest are kept" in ended.stdout
    assert lines[1].startswith("step 1, ")
    assert ": loss " in lines[1]
    for name in ("PSNR dB", "SAM °", "ERGAS", "bicubic", "gsa", "mtf-glp", "cnmf", "hysure", "before training"):
        assert name in ended.stdout
    last = " ".join(ended.stdout.split("trained")[-1].split())
    assert f"{tmp_path / 'w.safetensors'}: ssrfn, " in last
    assert "parameters, from new weights, the best of 2 steps at step " in last

    shown = hsfuse("weights", "show", tmp_path / "w.safetensors")
    assert "hsi wavelength nm" in shown.stdout
    assert "north-hsi.tif with north-msi.tif" in shown.stdout
    assert hsfuse("weights", "verify", tmp_path / "w.safetensors").status == 0
    assert hsfuse(*words, "--steps", 2, "-q", "--overwrite", "-o", tmp_path / "w.safetensors").stderr == ""


def test_one_json_object(hsfuse: RunHere, words: list[str], tmp_path: Path) -> None:
    output = tmp_path / "w.safetensors"
    ended = hsfuse(*words, "--steps", 1, "--seed", 3, "-o", output, "--json")
    assert ended.status == 0, ended.stderr
    content = json.loads(ended.stdout)
    facts = {"output": str(output), "model": "ssrfn", "spectral": "full", "start": "new weights", "steps": 1,
             "log": str(tmp_path / "w.csv"), "interrupted": False, "skipped": 0, "peak_device_memory_mb": None,
             "criterion": "PSNR in dB minus SAM in degrees"}  # fmt: skip
    assert content["peak_memory_mb"] > 50
    assert {key: content[key] for key in facts} == facts
    assert set(content["validation"]["trained"]) == {"psnr", "sam", "ergas"}
    assert content["validation"]["gsa"]["psnr"] > content["validation"]["bicubic"]["psnr"]
    assert content["parameters"] > 10_000

    again = hsfuse(*words, "--steps", 1, "--seed", 3, "-o", output, "--resume", "--json")
    assert again.status == 0, again.stderr
    told = json.loads(again.stdout)
    assert {key: told[key] for key in facts} == facts
    assert told["validation"] == {name: content["validation"][name] for name in ("before training", "trained")}
    assert told["warnings"][-1].endswith("as this very request makes it: nothing was left to do")
    assert again.stderr == f"warning: {told['warnings'][-1]}\n"
    other = hsfuse(*words, "--steps", 1, "--seed", 4, "-o", output, "--resume", "--json")
    assert (other.status, other.stdout, "pass --overwrite" in other.stderr) == (2, "", True)


def test_lists_of_many_are_shown_by_their_ends(hsfuse: RunHere, tmp_path: Path) -> None:
    from dataclasses import replace

    from hsfuse.models.weights import find_weights, save_weights

    bundled = find_weights("mgdunlss-universal")
    card = replace(bundled.card, hsi_wavelength_nm=tuple(float(nm) for nm in range(400, 600)))
    save_weights(bundled.network().state_dict(), card, tmp_path / "w.safetensors")
    shown = " ".join(hsfuse("weights", "show", tmp_path / "w.safetensors").stdout.split())
    assert "200: 400 … 599" in shown
    content = json.loads(hsfuse("weights", "show", tmp_path / "w.safetensors", "--json").stdout)
    assert len(content["hsi_wavelength_nm"]) == 200


@pytest.mark.parametrize(
    ("added", "status", "sentence"),
    [
        (["--hsi", "again.tif"], 2, "2 HSI and 1 MSI scenes: give one --msi for each --hsi"),
        (["--time", "soon"], 2, "no time: write 90s, 30m or 2h"),
        (["--time", "5m", "--steps", "3"], 2, "--epochs, --steps and --time say the same thing"),
        (["--init", "universal"], 2, "there are no universal weights for ssrfn with --spectral full"),
        (["--window", "0,0,20,20"], 2, "needs at least 42"),
        (["--val", "0.9"], 2, "--val"),
        (["--accumulate", "2"], 2, "a batch of 1 cannot be computed in 2 parts: pass a smaller --accumulate"),
        (["--ablate", "bsru"], 2, "ssrfn has no --ablate 'bsru': choose one of dfe-mamba, cfe-mamba, mamba, cnn, spar"),
        (["--optimizer", "sgd"], 2, "is not one of 'default', 'paper'"),
        (["--device", "cuda:7"], 2, "no CUDA device that torch can use: pass --device cpu"),
        (["--steps", "20", "--lr", "1e30"], 1, "is not finite"),
    ],
)
def test_refusals_and_failures(
    hsfuse: RunHere, words: list[str], tmp_path: Path, added: list[str], status: int, sentence: str
) -> None:
    ended = hsfuse(*words, *added, "-q", "-o", tmp_path / "w.safetensors")
    assert (ended.status, ended.stdout) == (status, "")
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1 or "Usage:" in ended.stderr
    assert not (tmp_path / "w.safetensors").exists()
    if status == 2:
        assert not list(tmp_path.iterdir())


def test_ctrl_c_keeps_the_best_weights_so_far(words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hsfuse", *words, "--time", "60s", "-o", "w.safetensors"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=ENVIRONMENT
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("score: ")
        assert process.stderr.readline().startswith("train")
        assert process.stderr.readline().startswith("step 0, ")
        time.sleep(0.5)
        assert process.poll() is None, "it was over too soon"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "interrupted: the best weights so far were kept; --resume goes on"
    assert "w.safetensors: ssrfn, " in " ".join(out.split())
    assert all(name in out for name in ("bicubic", "gsa", "bayes"))  # what it is worth is told all the same
    open_weights(tmp_path / "w.safetensors").network()
    assert (tmp_path / "w.checkpoint.safetensors").exists()


def test_adapting_says_what_it_brought(hsfuse: RunHere, crops: list[tuple[Path, Path]], tmp_path: Path) -> None:
    hsi, msi = crops[0]
    pair = ["--hsi", hsi, "--msi", msi, "--srf", "sentinel-2a", "--psf", "gaussian:1"]
    ended = hsfuse("fuse", *pair, "--model", "mgdunlss", "--adapt", "1s", "-o", tmp_path / "out.tif", "--json")
    assert ended.status == 0, ended.stderr
    lines = ended.stderr.splitlines()
    assert lines[0] == "adapt"
    assert lines[-1].startswith("adapted weights ")
    adapted = json.loads(ended.stdout)["adapted"]
    assert set(adapted) == {"kept", "before", "after", "steps"}
    assert ("not kept" in lines[-1]) != adapted["kept"]
    with rasterio.open(tmp_path / "out.tif") as fused:
        assert fused.tags()["HSFUSE_ADAPTED"] == lines[-1]
    refused = hsfuse("fuse", *pair, "--model", "gsa", "--adapt", "1s", "-o", tmp_path / "other.tif")
    assert (refused.status, refused.stdout) == (2, "")
    assert "--adapt fine-tunes the weights of a network" in refused.stderr
    assert not (tmp_path / "other.tif").exists()
