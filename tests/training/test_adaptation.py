"""`fuse --adapt`: weights fine-tuned on the pair are used only where they are better, and the user is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import torch

from hsfuse.commands.fuse import FuseResult, fuse
from hsfuse.errors import RequestError
from hsfuse.models import ARCHITECTURES
from hsfuse.models.weights import WeightsCard, find_weights, save_weights
from hsfuse.scenes import PixelWindow
from hsfuse.training import adaptation as adapting

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = {"subspace": 5, "stages": 1, "features": 8, "features_out": 2, "share_stages": False}


class Stages:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, str]] = []
        self.steps = 0

    def start(self, stage: str, total: int, unit: str = "tiles") -> None:
        self.seen.append((stage, total, unit))

    def advance(self, steps: int = 1) -> None:
        self.steps += steps

    def note(self, sentence: str) -> None:
        pass

    def finish(self) -> None:
        pass


@pytest.fixture(scope="module")
def poor(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights of a network so small that it trains in no time, and so poor that any training helps."""
    config, build = ARCHITECTURES["mgdunlss-subspace"]
    torch.manual_seed(0)
    state = build(config(**CONFIG)).state_dict()
    for name in ("fusion.0.project.weight", "combine.weight"):
        state[name] += 0.1 * torch.randn_like(state[name])
    path = tmp_path_factory.mktemp("weights") / "poor.safetensors"
    save_weights(state, WeightsCard("mgdunlss", "mgdunlss-subspace", CONFIG, "subspace", (3,)), path)
    return str(path)


def run(crops: list[tuple[Path, Path]], output: Path, **choices: Any) -> FuseResult:
    known = {"srf": "sentinel-2a", "psf": "gaussian:1", "window": None, "model": "mgdunlss"}
    return fuse(*crops[0], output, **(known | choices))


def pixels(path: Path) -> Any:
    with rasterio.open(path) as dataset:
        return dataset.read()


def adapted_tag(path: Path) -> str | None:
    with rasterio.open(path) as dataset:
        return dataset.tags().get("HSFUSE_ADAPTED")


def test_better_weights_are_kept(
    crops: list[tuple[Path, Path]], poor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapting, "RATE", 5e-3)
    stages, kept = Stages(), tmp_path / "adapted.safetensors"
    plain = run(crops, tmp_path / "plain.tif", weights=poor)
    result = run(crops, tmp_path / "out.tif", weights=poor, adapt_seconds=2.0, progress=stages, adapt_weights=kept)
    assert plain.adapted is None
    assert adapted_tag(tmp_path / "plain.tif") is None
    found = result.adapted
    assert found is not None
    assert found.kept
    assert found.after.psnr - found.after.sam > found.before.psnr - found.before.sam
    assert found.steps > 0
    assert found.sentence.startswith("adapted weights kept: PSNR ")
    assert f"after {found.steps} steps" in found.sentence
    assert adapted_tag(tmp_path / "out.tif") == found.sentence
    assert not np.array_equal(pixels(tmp_path / "out.tif"), pixels(tmp_path / "plain.tif"))
    assert ("adapt", 100, "percent") in stages.seen
    assert stages.steps > 90  # it is told how far it is
    card = find_weights(str(kept)).card
    assert (card.steps, card.validation["psnr"], len(card.trained_on)) == (found.steps, found.after.psnr, 1)
    again = run(crops, tmp_path / "again.tif", weights=str(kept))
    assert again.weights == "adapted"
    assert not np.array_equal(pixels(tmp_path / "again.tif"), pixels(tmp_path / "plain.tif"))


def test_weights_that_did_not_get_better_stay_as_they_were(
    crops: list[tuple[Path, Path]], poor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapting, "RATE", 0.0)
    run(crops, tmp_path / "plain.tif", weights=poor)
    none = tmp_path / "none.safetensors"
    result = run(crops, tmp_path / "out.tif", weights=poor, adapt_seconds=0.5, adapt_weights=none)
    assert not none.exists()
    found = result.adapted
    assert found is not None
    assert not found.kept
    assert found.after == found.before  # both judged in the same way
    assert found.sentence.startswith("adapted weights not kept, the weights stay as they were: PSNR ")
    assert adapted_tag(tmp_path / "out.tif") == found.sentence
    assert np.array_equal(pixels(tmp_path / "out.tif"), pixels(tmp_path / "plain.tif"))


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"model": "gsa"}, "`adapt_seconds` fine-tunes the weights of a network in the spectral subspace"),
        ({"srf": "nowhere.csv"}, "nowhere.csv"),
        (
            {"adapt_seconds": None, "adapt_weights": "kept.safetensors"},
            "`adapt_weights` keeps what `adapt_seconds` has",
        ),
    ],
)
def test_what_cannot_be_adapted_is_refused(
    crops: list[tuple[Path, Path]], tmp_path: Path, choices: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence):
        run(crops, tmp_path / "out.tif", **({"adapt_seconds": 1.0} | choices))
    assert not list(tmp_path.iterdir())


def test_a_pair_too_small_to_adapt_on_is_refused_with_the_numbers(
    crops: list[tuple[Path, Path]], poor: str, tmp_path: Path
) -> None:
    window = PixelWindow(0, 0, 30, 20)
    with pytest.raises(RequestError, match=r"has 30×18 pixels of truth in use: .*its longer side needs at least 42"):
        run(crops, tmp_path / "out.tif", weights=poor, adapt_seconds=1.0, window=window)
    assert not list(tmp_path.iterdir())
