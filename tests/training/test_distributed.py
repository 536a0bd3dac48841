"""Two processes with a batch of b train what one trains with a batch of 2 b."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import hsfuse as package
from hsfuse.commands.train_reduced import train_reduced
from hsfuse.errors import RequestError
from hsfuse.models.weights import open_weights
from hsfuse.training.distributed import Processes, local_device
from hsfuse.training.start import NetworkRequest, TrainingPlan


def test_a_process_alone_does_all_the_work():
    alone = Processes()
    network = torch.nn.Linear(2, 2)
    assert alone.first
    assert alone.wrap(network) is network
    assert alone.agree(3.5, torch.device("cpu")) == 3.5
    assert [Processes(rank, 3).share(4) for rank in range(3)] == [slice(0, 4), slice(4, 8), slice(8, 12)]


def test_a_process_a_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert local_device(torch.device("cuda")) == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert local_device(torch.device("cuda")) == torch.device("cuda", 3)
    assert local_device(torch.device("cuda", 1)) == torch.device("cuda", 1)
    assert local_device(torch.device("cpu")) == torch.device("cpu")


def test_more_processes_than_cards_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(RequestError, match="process 1 of torchrun has no card, this machine has cuda:0 alone"):
        local_device(torch.device("cuda"))
    with pytest.raises(RequestError, match="2 processes cannot share cuda:0: pass `device=cuda`"):
        local_device(torch.device("cuda", 0))


def launched(words, folder):
    environment = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, "-m", "hsfuse", "train-reduced", *map(str, words)],
        capture_output=True, text=True, check=False, cwd=folder, timeout=120, env=environment,
    )  # fmt: skip


SEED = 0  # one whose last weights, after 20 steps, are the best and so those that are written


@pytest.mark.parametrize(
    ("choices", "batch"),
    [
        ({"model": "mgdunlss", "init": "universal"}, 1),
        ({"model": "ssrfn", "spectral": "full", "preset": "tiny", "learning_rate": 5e-4}, 2),
    ],
    ids=["mgdunlss subspace", "ssrfn full"],
)
def test_two_processes_train_what_one_trains_with_twice_the_batch(crops, tmp_path, choices, batch):
    """Each of them computes its share patch by patch."""
    hsi, msi = crops[0]
    words = ["--hsi", hsi, "--msi", msi, "-o", "two.safetensors", "--json", "--srf", "sentinel-2a", "--psf"]
    words += ["gaussian:1", "--steps", 20, "--patch", 4, "--batch", batch, "--accumulate", batch]
    words += ["--gradient-checkpointing"] if batch > 1 else []
    words += ["--seed", SEED]
    for name, value in choices.items():
        words += ["--lr" if name == "learning_rate" else f"--{name}", value]
    done = launched(words, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1  # one process talks
    assert "FutureWarning" not in done.stderr
    rate = choices.pop("learning_rate", None)
    one = train_reduced(
        hsi, msi, tmp_path / "one.safetensors", srf="sentinel-2a", psf="gaussian:1", network=NetworkRequest(**choices),
        plan=TrainingPlan(steps=20, patch=4, batch=2 * batch, seed=SEED, learning_rate=rate),
    )  # fmt: skip
    assert json.loads(done.stdout)["best_step"] == one.best_step == 20
    alone, shared = (open_weights(tmp_path / f"{name}.safetensors").network().state_dict() for name in ("one", "two"))
    assert max(float((alone[name] - shared[name]).abs().max()) for name in alone) < 1e-5
    assert not list(tmp_path.glob("*checkpoint*"))
