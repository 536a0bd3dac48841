"""Weights files say what they are, load without unpickling, and refuse what does not fit."""

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from hsfuse.errors import WeightsError
from hsfuse.models import ARCHITECTURES, register
from hsfuse.models.mgdunlss import SubspaceMGDuNLSSConfig, SubspaceMGDuNLSSNet
from hsfuse.models.weights import WeightsCard, bundled_weights, find_weights, open_weights, save_weights

CONFIG = {"subspace": 4, "stages": 1, "features": 8, "features_out": 2, "share_stages": False}


@pytest.fixture
def card():
    return WeightsCard("mgdunlss", "mgdunlss-subspace", CONFIG, "subspace", (2, 3), trained_on=("a", "b"))


def test_what_is_saved_is_loaded(tmp_path, card):
    network = SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig(**CONFIG))
    save_weights(network.state_dict(), card, tmp_path / "w.safetensors")
    file = open_weights(tmp_path / "w.safetensors")
    assert file.card == card
    for name, tensor in file.network().state_dict().items():
        torch.testing.assert_close(tensor, network.state_dict()[name], rtol=0, atol=0)
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pickle_is_refused_unread(tmp_path, how):
    path, trace = tmp_path / "w.pt", tmp_path / "trace"
    if how == "torch":
        torch.save({"state": Bomb(trace)}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(WeightsError, match="never unpickles"):
        open_weights(path)
    assert not trace.exists()


def test_other_files_are_refused_with_the_reason(tmp_path, card):
    with pytest.raises(WeightsError, match="cannot be read"):
        open_weights(tmp_path / "missing.safetensors")
    (tmp_path / "text.safetensors").write_text("hello, this is text")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        open_weights(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(WeightsError, match="not one of hsfuse"):
        open_weights(tmp_path / "foreign.safetensors")
    for change, reason in (
        ({"format": "hsfuse-weights/9"}, "another version"),
        ({"architecture": "x"}, "this hsfuse knows"),
    ):
        content = {"format": "hsfuse-weights/1", **card.__dict__} | change
        save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors", metadata={"hsfuse": json.dumps(content)})
        with pytest.raises(WeightsError, match=reason):
            open_weights(tmp_path / "w.safetensors")


def test_tensors_that_do_not_fit_are_refused(tmp_path, card):
    save_weights({"a": torch.zeros(1)}, card, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="do not fit mgdunlss-subspace"):
        open_weights(tmp_path / "w.safetensors").network()


def test_bundled_weights_are_found_by_name_and_load():
    names = [file.name for file in bundled_weights()]
    assert "mgdunlss-universal" in names
    file = find_weights("mgdunlss-universal")
    assert file.size_bytes < 20e6
    assert file.card.trained_on
    assert not set(file.card.trained_on) & set(file.card.validated_on)
    file.network()


def test_a_second_architecture_of_a_name_is_refused():
    with pytest.raises(ValueError, match="already"):
        register("mgdunlss", *ARCHITECTURES["mgdunlss"])
