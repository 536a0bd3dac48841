"""Weights files that ask for much or say nonsense: one sentence within a second, and no memory."""

from __future__ import annotations

import json
import os
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

from hsfuse.errors import OutputError, WeightsError
from hsfuse.models import ARCHITECTURES
from hsfuse.models.weights import WeightsCard, find_weights, open_weights, save_weights

if TYPE_CHECKING:
    from pathlib import Path

SMALL: dict[str, dict[str, Any]] = {
    "mgdunlss": {"bands": 5, "msi_bands": 2, "ratio": 3, "stages": 2, "features": 4, "subspace": 3},
    "mgdunlss-subspace": {"subspace": 4, "stages": 1, "features": 8, "features_out": 2, "share_stages": False},
    "ssrfn": {"bands": 5, "msi_bands": 2, "width": 4, "deep_blocks": 1, "cycles": 1, "corrections": 1, "stages": 1},
    "ssrfn-subspace": {"subspace": 3, "width": 4, "deep_blocks": 1, "cycles": 1, "corrections": 1, "stages": 1},
}


def write(path: Path, changes: dict[str, Any] | None = None, architecture: str = "mgdunlss-subspace") -> Path:
    """A file with the tensors of a small network, and a header with something else in it."""
    config, build = ARCHITECTURES[architecture]
    network = build(config(**SMALL[architecture]))
    card = WeightsCard(architecture.removesuffix("-subspace"), architecture, SMALL[architecture], "subspace", (3,))
    content = {"format": "hsfuse-weights/1", **card.__dict__, **(changes or {})}
    save_file(network.state_dict(), path, metadata={"hsfuse": json.dumps(content)})
    return path


def refusal(path: Path) -> str:
    """The sentence, which comes within a second and 50 MB."""
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(WeightsError) as refused:
        open_weights(path).network()
    assert time.monotonic() - started < 2  # the machine may be busy
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    assert str(refused.value).startswith(str(path))
    assert len(str(refused.value)) < len(str(path)) + 400
    return str(refused.value)


@pytest.mark.parametrize("architecture", SMALL)
def test_networks_of_every_kind_pass(tmp_path: Path, architecture: str) -> None:
    open_weights(write(tmp_path / "w.safetensors", architecture=architecture)).network()


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": {"a": 1}}, {"architecture": ["mgdunlss"]}, {"model": None}, {"config": [1]},
        {"config": "none"}, {"ratios": []}, {"ratios": "3"}, {"ratios": [1.5]}, {"validation": {"psnr": "high"}},
        {"trained_on": [[1]]}, {"steps": -1}, {"steps": 1e400}, {"seed": True}, {"hsi_wavelength_nm": ["blue"]},
        {"surprise": 1}, {"spectral": 3},
    ],
    ids=str,
)  # fmt: skip
def test_fields_of_another_kind(tmp_path: Path, changes: dict[str, Any]) -> None:
    sentence = refusal(write(tmp_path / "w.safetensors", changes))
    assert next(iter(changes)) in sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"stages": 10**7}, {"stages": 10**30}, {"features": 10**7}, {"subspace": float("nan")}, {"subspace": -4},
        {"subspace": 0}, {"subspace": "4"}, {"subspace": True}, {"share_stages": 1}, {"features": None}, {"width": 3},
        {"subspace": 5}, {"features_out": [2]}, {"stages": 60},
    ],
    ids=str,
)  # fmt: skip
def test_configurations_that_the_tensors_cannot_be(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = SMALL["mgdunlss-subspace"] | changes
    assert "do not fit mgdunlss-subspace" in refusal(write(tmp_path / "w.safetensors", {"config": config}))


def test_a_configuration_that_lacks_a_field(tmp_path: Path) -> None:
    config = {name: value for name, value in SMALL["mgdunlss"].items() if name != "bands"}
    assert "no configuration of mgdunlss" in refusal(write(tmp_path / "w.safetensors", {"config": config}, "mgdunlss"))


@pytest.mark.parametrize("shape", [(10**6,), (10**6, 0)])
def test_one_long_tensor_does_not_allow_as_many_blocks(tmp_path: Path, shape: tuple[int, ...]) -> None:
    card = WeightsCard(
        "mgdunlss", "mgdunlss-subspace", SMALL["mgdunlss-subspace"] | {"stages": 10**6}, "subspace", (3,)
    )
    content = {"format": "hsfuse-weights/1", **card.__dict__}
    save_file({"a": torch.zeros(shape)}, tmp_path / "w.safetensors", metadata={"hsfuse": json.dumps(content)})
    refusal(tmp_path / "w.safetensors")


def test_headers_that_are_nested_deeply_or_very_long(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    for text in ('{"format": ' + "[" * 200_000, '{"config":' * 100_000, '{"steps": ' + "1" * 10_000 + "}"):
        save_file({"a": torch.zeros(1)}, path, metadata={"hsfuse": text})
        assert "not one of hsfuse" in refusal(path)
    path.write_bytes((100 * 2**20 - 8).to_bytes(8, "little") + b" " * (100 * 2**20))
    assert "has a header of 100 MB" in refusal(path)
    path.write_bytes((2**63).to_bytes(8, "little") + b"{}")
    assert "not a safetensors file" in refusal(path)
    save_file({str(index): torch.zeros(0) for index in range(20_000)}, path, metadata={"hsfuse": "{}"})
    assert "20000 tensors" in refusal(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "a device or pipe" in refusal(tmp_path / "pipe")
    assert "a folder" in refusal(tmp_path)


def test_files_have_the_mode_of_the_umask_and_replace_no_link(tmp_path: Path) -> None:
    file = find_weights("mgdunlss-universal")
    state = file.network().state_dict()
    before = os.umask(0o027)
    try:
        save_weights(state, file.card, tmp_path / "w.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o777 == 0o640
    save_weights(state, file.card, tmp_path / "w.safetensors")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "w.safetensors")
    with pytest.raises(OutputError, match="a link"):
        save_weights(state, file.card, tmp_path / "link.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.safetensors", "w.safetensors"]
