"""Damaged input of every kind: one sentence, no traceback, nothing left, whatever the damage is."""

from __future__ import annotations

import shutil
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hsfuse.errors import RequestError
from hsfuse.models.mgdunlss import SubspaceMGDuNLSSConfig, SubspaceMGDuNLSSNet
from hsfuse.training.checkpoint import Checkpoint

from .conftest import listing
from .mutants import KINDS, Kind, make_checkpoint, make_inputs, spoil, with_header

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Bench, Ended

EACH = 10
"""Mutants of a kind; `hunt.py` makes more."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    make_inputs(folder)
    return folder


def check(ended: Ended, story: str) -> None:
    """That a command ended as one may, and left nothing that it should not."""
    sentences = [line for line in ended.stderr.splitlines() if line.startswith("hsfuse: ")]
    assert ended.status in {0, 1, 2}, story
    assert "Traceback" not in ended.stderr, story
    assert "--debug shows where" not in ended.stderr, f"{story}: {ended.stderr}"
    told = " info " in story and "cannot be fused: " in ended.stdout  # a verdict, and no error
    assert len(sentences) == (ended.status != 0 and not told), f"{story}: {ended.stderr}"
    assert ended.changed <= ({"out.tif"} if ended.status == 0 else set()), f"{story}: {ended.changed}"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_damaged_input(bench: Bench, sound: Path, kind: Kind) -> None:
    shutil.copytree(sound, bench.folder, dirs_exist_ok=True)
    for command in kind.commands:
        ended = bench.run(*command)
        assert ended.status == 0, f"{kind.name} is not sound: {ended.stderr}"
        (bench.folder / "out.tif").unlink(missing_ok=True)
    statuses = set()
    for seed in range(EACH):
        shutil.copy(sound / kind.file, bench.folder)
        shutil.copy(sound / "w.safetensors", bench.folder)
        rng = np.random.default_rng((seed, len(kind.name)))
        spoil(bench.folder, kind, rng)
        command = kind.commands[seed % len(kind.commands)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ended = bench.run(*command)
        check(ended, f"{kind.name}, seed {seed}, {' '.join(command)}")
        (bench.folder / "out.tif").unlink(missing_ok=True)
        statuses.add(ended.status)
    assert 2 in statuses, "no mutant was refused: the damage is too small"


def test_damaged_checkpoints(tmp_path: Path) -> None:
    """A checkpoint is taken or refused with a sentence; what is taken fits the network."""
    network = SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig(subspace=3, stages=1, features=2))
    sound, path = tmp_path / "sound", tmp_path / "c.safetensors"
    make_checkpoint(sound, network)
    Checkpoint.read(sound, "").check_fits(network.state_dict(), sound)
    refused = 0
    kind = Kind("checkpoint", path.name, ())
    for seed in range(40):
        shutil.copy(sound, path)
        spoil(tmp_path, kind, np.random.default_rng((seed, 5)))
        refused += _refusal(path, network) is not None
    assert refused > 10


@pytest.mark.parametrize(
    "field", ["format", "request", "step", "elapsed", "best_score", "skipped", "loss_scale", "history"]
)
@pytest.mark.parametrize("value", ["missing", None, [], {"a": 1}, "x", [[1]], [{"step": 1}], True])
def test_checkpoints_without_a_field_or_with_one_of_another_kind(tmp_path: Path, field: str, value: Any) -> None:
    import json

    network = SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig(subspace=3, stages=1, features=2))
    path = tmp_path / "c.safetensors"
    make_checkpoint(path, network)
    content = {
        "format": "hsfuse-checkpoint/2", "request": "", "step": 0, "elapsed": 0.0, "best_score": 1.0, "skipped": 0,
        "loss_scale": {}, "history": [],
    }  # fmt: skip
    path.write_bytes(with_header(path.read_bytes(), json.dumps(content).encode()))
    assert _refusal(path, network) is None
    if type(value) is type(content[field]) and field in {"history", "loss_scale"} and value in ([], {"a": 1}):
        return  # what it may be
    content = {name: value if name == field else old for name, old in content.items()}
    if value == "missing":
        del content[field]
    path.write_bytes(with_header(path.read_bytes(), json.dumps(content).encode()))
    refusal = _refusal(path, network)
    assert refusal is not None
    assert "`resume`" in refusal


def test_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    make_checkpoint(path, SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig(subspace=3, stages=1, features=2)))
    other = SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig(subspace=4, stages=1, features=2))
    assert "the state of another network" in str(_refusal(path, other))


def _refusal(path: Path, network: SubspaceMGDuNLSSNet) -> str | None:
    """The sentence that a checkpoint is refused with; None if a training can go on with it."""
    try:
        saved = Checkpoint.read(path, "")
        saved.check_fits(network.state_dict(), path)
    except RequestError as error:
        return str(error)
    network.load_state_dict(saved.network)
    return None


def test_the_kinds_are_what_is_listed(sound: Path) -> None:
    assert {kind.file for kind in KINDS} <= listing(sound).keys()
