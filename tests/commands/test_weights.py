"""Weights: what is bundled, what a file says of itself, and whether it is whole."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from hsfuse.commands.weights import list_weights, show_weights, verify_weights
from hsfuse.errors import WeightsError
from hsfuse.fusion.methods import METHODS
from hsfuse.models.weights import find_weights, save_weights

if TYPE_CHECKING:
    from pathlib import Path

BUNDLED = "mgdunlss-universal"


def test_every_network_has_universal_weights_bundled() -> None:
    served = {file.card.model for file in list_weights() if file.card.spectral == "subspace"}
    assert "mgdunlss" in served
    assert served <= {method.name for method in METHODS.values() if method.network}


def test_bundled_weights_say_what_they_are() -> None:
    for file in list_weights():
        assert file.card.trained_on
        assert not set(file.card.trained_on) & set(file.card.validated_on)
        assert file.card.validation
        assert file.card.data_licence
        assert len(file.card.ratios) > 0


def test_bundled_weights_are_whole() -> None:
    for file in list_weights():
        result = verify_weights(file.name)
        assert result.checksum == hashlib.sha256(file.path.read_bytes()).hexdigest()
        assert result.parameters > 1000
        assert result.listed, f"{file.name} is not in SHA256SUMS"


def test_weights_are_found_by_name_or_path(tmp_path: Path) -> None:
    copy = tmp_path / "mine.safetensors"
    shutil.copy(find_weights(BUNDLED).path, copy)
    assert show_weights(str(copy)).card == show_weights(BUNDLED).card == show_weights(f"{BUNDLED}.safetensors").card
    assert not verify_weights(str(copy)).listed
    with pytest.raises(WeightsError, match=r"nobody: cannot be read .*weights list"):
        show_weights("nobody")


def test_weights_that_are_not_finite_are_found_out(tmp_path: Path) -> None:
    bundled = find_weights(BUNDLED)
    state = bundled.network().state_dict()
    name = next(iter(state))
    state[name].view(-1)[0] = float("nan")
    save_weights(state, bundled.card, tmp_path / "bad.safetensors")
    with pytest.raises(WeightsError, match=f"{name} hold numbers that are not finite"):
        verify_weights(str(tmp_path / "bad.safetensors"))


def test_weights_cut_off_are_found_out(tmp_path: Path) -> None:
    path = tmp_path / "short.safetensors"
    content = find_weights(BUNDLED).path.read_bytes()
    path.write_bytes(content[:-1000])
    with pytest.raises(WeightsError, match=r"short.safetensors is not a safetensors file"):
        verify_weights(str(path))


def test_tensors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    bundled = find_weights(BUNDLED)
    path = tmp_path / "few.safetensors"
    save_weights({"a": torch.ones(2)}, bundled.card, path)
    assert show_weights(str(path)).card == bundled.card  # the header alone is fine
    with pytest.raises(WeightsError, match="do not fit"):
        verify_weights(str(path))


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (None, "not one of hsfuse"),
        ("{", "not one of hsfuse"),
        ("[1]", "not one of hsfuse"),
        ('"text"', "not one of hsfuse"),
        (json.dumps({"format": "hsfuse-weights/9"}), "its format is not hsfuse-weights/1"),
        (json.dumps({"format": "hsfuse-weights/1", "model": "mgdunlss"}), "not one of hsfuse"),
    ],
)
def test_headers_of_others_are_refused(tmp_path: Path, header: str | None, sentence: str) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.ones(2)}, path, metadata=None if header is None else {"hsfuse": header})
    with pytest.raises(WeightsError, match=sentence):
        show_weights(str(path))
