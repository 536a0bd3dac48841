"""`train-reduced`: weights from a pair alone, that say what they are, and that `fuse` takes for what they are for."""

from __future__ import annotations

import csv
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import torch

from hsfuse.commands.fuse import fuse
from hsfuse.commands.train_reduced import OPPONENTS, TrainResult, train_reduced
from hsfuse.commands.weights import show_weights, verify_weights
from hsfuse.errors import OutputError, RequestError, WeightsError, WorkError
from hsfuse.models.weights import open_weights
from hsfuse.pairs.pair import PairRequest
from hsfuse.scenes import PixelWindow
from hsfuse.training.objective import band_loss
from hsfuse.training.start import ABLATIONS, NetworkRequest

from .conftest import as_nouns

if TYPE_CHECKING:
    Crops = list[tuple[Path, Path]]

EXAMPLE = Path(__file__).parents[2] / "examples" / "indian-pines"
IMAGING = {"srf": "sentinel-2a", "psf": "gaussian:1"}
NETWORKS: dict[tuple[str, str], dict[str, Any]] = {
    ("mgdunlss", "subspace"): {"init": "none"},
    ("mgdunlss", "full"): {},
    ("ssrfn", "subspace"): {"preset": "tiny"},
    ("ssrfn", "full"): {"preset": "tiny"},
}
QUICK = {"model": "ssrfn", "spectral": "full", "preset": "tiny"}


RELATION = ("srf", "psf", "hsi_bands", "msi_bands", "window", "ratio", "allow_shift", "coregister")


def train(pairs: Crops, output: Path, **choices: Any) -> TrainResult:
    """A few steps on small patches with the imaging model given."""
    known: dict[str, Any] = {**IMAGING, "steps": 3, "batch": 1, "patch": 4}
    choices = known | choices
    related = {name: choices.pop(name) for name in RELATION if name in choices}
    choices = as_nouns(choices)
    model, seed = choices.pop("model", "mgdunlss"), choices.pop("seed", 0)
    choices["network"] = replace(choices.get("network", NetworkRequest()), model=model)
    choices["plan"] = replace(choices["plan"], seed=seed)
    result = train_reduced([PairRequest(hsi, msi, **related) for hsi, msi in pairs], output, **choices)
    assert result is not None
    return result


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return open_weights(path).network().state_dict()


class Watches:
    """An observer that counts, and that may press Ctrl-C after a step or at a validation."""

    def __init__(self, *, step: int | None = None, judged: int | None = None) -> None:
        self.steps, self.records = 0, list[Any]()
        self._step, self._judged = step, judged

    def start(self, stage: str, total: int, unit: str = "tiles") -> None:
        pass

    def advance(self, steps: int = 1) -> None:
        self.steps += 1
        if self.steps == self._step:
            raise KeyboardInterrupt

    def note(self, sentence: str) -> None:
        if not sentence.startswith("step "):
            return
        self.records.append(sentence)
        if len(self.records) == self._judged:
            raise KeyboardInterrupt

    def finish(self) -> None:
        pass


@pytest.fixture(scope="module", params=NETWORKS, ids=" ".join)
def trained(request: pytest.FixtureRequest, crops: Crops, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    model, spectral = request.param
    output = tmp_path_factory.mktemp("trained") / "pair.safetensors"
    choices = {"model": model, "spectral": spectral, **NETWORKS[request.param]}
    return train(crops[:1], output, seed=7, data_licence="[CC-BY 3.0]", **choices)


def test_every_network_is_trained_and_tells_what_it_is(trained: TrainResult, crops: Crops) -> None:
    card = show_weights(str(trained.output)).card
    assert (card.model, card.spectral, card.ratios) == (trained.model, trained.spectral, (3,))
    assert card.architecture == trained.model + ("-subspace" if trained.spectral == "subspace" else "")
    assert card.trained_on == ("north-hsi.tif with north-msi.tif",)
    assert card.validated_on == ("north-hsi.tif, a part that was held back",)
    assert (card.seed, card.data_licence, card.steps) == (7, "[CC-BY 3.0]", trained.best_step)
    assert card.preset == {("mgdunlss", "subspace"): "base", ("mgdunlss", "full"): "paper"}.get(
        (trained.model, trained.spectral), "tiny"
    )
    if card.preset == "paper":
        assert (card.config["share_stages"], card.config["stages"]) == (True, 5)
    figures = trained.validation["trained"]
    assert card.validation == {"psnr": figures.psnr, "sam": figures.sam, "ergas": figures.ergas}
    if trained.spectral == "full":
        with rasterio.open(crops[0][0]) as hsi:
            centres = [float(hsi.tags(band)["wavelength"]) for band in range(1, 13)]
        assert card.hsi_wavelength_nm == pytest.approx(centres)
        assert (card.config["bands"], card.config["msi_bands"]) == (12, 4)
        assert len(card.msi_bands) == 4
    else:
        assert (card.hsi_wavelength_nm, card.msi_bands) == ((), ())
    checked = verify_weights(str(trained.output))
    assert checked.parameters >= trained.parameters > 10_000


def test_the_network_stands_beside_the_classical_methods(trained: TrainResult) -> None:
    assert list(trained.validation) == [*OPPONENTS, "before training", "trained"]
    assert OPPONENTS == ("bicubic", "gsa", "mtf-glp", "cnmf", "hysure", "bayes")
    figures = trained.validation
    assert all(np.isfinite([one.psnr, one.sam, one.ergas]).all() for one in figures.values())
    assert figures["gsa"].score > figures["bicubic"].score + 5
    assert figures["trained"].score >= figures["before training"].score
    assert (trained.steps, trained.interrupted, trained.start) == (3, False, "new weights")


def test_the_log_has_every_validation_and_nothing_else_is_left(trained: TrainResult) -> None:
    with trained.log.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [0, 1, 2, 3]
    assert set(rows[0]) == {
        "step", "elapsed", "loss", "learning_rate", "psnr", "sam", "ergas", "score", "best", "skipped",
    }  # fmt: skip
    for row in rows:
        assert float(row["score"]) == pytest.approx(float(row["psnr"]) - float(row["sam"]))
        assert row["skipped"] == "0"
    assert rows[0]["loss"] == ""
    assert float(rows[-1]["loss"]) > 0
    last_best = [row for row in rows if row["best"] == "1"][-1]
    assert int(last_best["step"]) == trained.best_step
    assert float(last_best["psnr"]) == trained.validation["trained"].psnr
    names = {path.name for path in trained.output.parent.iterdir()} - {"pair.png"}
    assert names == {"pair.safetensors", "pair.csv"}


def test_the_curves_are_drawn_beside_the_weights(trained: TrainResult) -> None:
    pytest.importorskip("matplotlib", reason="needs the report extra")
    assert trained.curves == trained.output.with_suffix(".png")
    assert trained.curves.read_bytes().startswith(b"\x89PNG")


def test_fuse_takes_the_weights(trained: TrainResult, crops: Crops, tmp_path: Path) -> None:
    choices = {**IMAGING, "model": trained.model, "weights": str(trained.output), "window": PixelWindow(3, 2, 20, 16)}
    result = fuse(*crops[1], tmp_path / "out.tif", **choices)
    assert (result.weights, result.bands, result.ratio, result.warnings) == ("pair", 12, 3, ())
    with rasterio.open(tmp_path / "out.tif") as fused, rasterio.open(crops[1][0]) as hsi:
        numbers, seen = fused.read().astype(float), hsi.read()[:, 2:18, 3:23].astype(float)
    assert numbers.shape == (12, 48, 60)
    blocks = numbers.reshape(12, 16, 3, 20, 3).mean(axis=(2, 4))
    # A network on bands knows nothing yet after three steps, but the units of each band.
    least = 0.9 if trained.spectral == "subspace" else -1
    assert np.corrcoef(blocks[6].ravel(), seen[6].ravel())[0, 1] > least
    assert (abs(blocks - seen).mean(axis=(1, 2)) < 4 * seen.std(axis=(1, 2))).all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ratio": 4}, "the weights pair were trained at ratio 3, this pair has 4"),
        ({"hsi_bands": "1-11"}, "are for 12 HSI bands and 4 MSI bands, this pair has 11 and 4 in use"),
        (
            {"hsi": EXAMPLE / "hsi.tif", "hsi_bands": ",".join(str(band) for band in range(5, 65, 5))},
            r"have HSI band \d+ at \d+ nm, this pair at \d+ nm",
        ),
    ],
)
def test_weights_on_bands_are_for_one_pair_of_sensors(
    trained: TrainResult, crops: Crops, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    """Those in the subspace serve any; out of the ratios that they know they say so."""
    change = dict(change)
    hsi, msi = change.pop("hsi", crops[0][0]), crops[0][1]
    choices = {**IMAGING, "model": trained.model, "weights": str(trained.output), "window": PixelWindow(0, 0, 20, 16)}
    if trained.spectral == "full":
        with pytest.raises(WeightsError, match=sentence):
            fuse(hsi, msi, tmp_path / "out.tif", **(choices | change))
        assert not list(tmp_path.iterdir())
    else:
        result = fuse(hsi, msi, tmp_path / "out.tif", **(choices | change))
        told = [warning for warning in result.warnings if "trained at ratio" in warning]
        assert told == (["the weights pair were trained at ratio 3, this pair has 4"] if "ratio" in change else [])


# --- breaking off and going on ---


@pytest.fixture(scope="module")
def uninterrupted(crops: Crops, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(crops[:1], tmp_path_factory.mktemp("whole") / "w.safetensors", steps=10, **QUICK).output


def test_a_training_that_was_interrupted_goes_on_to_the_same_weights(
    uninterrupted: Path, crops: Crops, tmp_path: Path
) -> None:
    output = tmp_path / "w.safetensors"
    choices = {**QUICK, "steps": 10}
    first = train(crops[:1], output, progress=Watches(step=7), **choices)  # after it, before it is validated
    assert first.interrupted
    assert (first.steps, first.best_step) == (7, 6)
    assert list(first.validation) == [*OPPONENTS, "before training", "trained"]
    assert (tmp_path / "w.checkpoint.safetensors").exists()
    open_weights(output).network()  # the best so far

    with pytest.raises(
        OutputError, match=r"w\.checkpoint\.safetensors is left .*`resume=True` to go on .*`overwrite=True`"
    ):
        train(crops[:1], output, **choices)
    with pytest.raises(RequestError, match="a training with other inputs or options"):
        train(crops[:1], output, resume=True, **{**choices, "seed": 1})
    with pytest.raises(RequestError, match="a training with other inputs or options"):
        train(crops[1:], output, resume=True, **choices)
    for other in ({"precision": "bf16"}, {"patience": 3}, {"allow_shift": True}):
        with pytest.raises(RequestError, match="a training with other inputs or options"):
            train(crops[:1], output, resume=True, **{**choices, **other})
    kept = tensors(output)
    (tmp_path / "w.checkpoint.safetensors").rename(tmp_path / "aside")
    with pytest.raises(OutputError, match="exists"):  # what was interrupted is not finished
        train(crops[:1], output, resume=True, **choices)
    (tmp_path / "aside").rename(tmp_path / "w.checkpoint.safetensors")

    watch = Watches()
    second = train(crops[:1], output, resume=True, progress=watch, **choices)
    assert watch.steps == 10 - 6
    assert (second.steps, second.interrupted) == (10, False)
    whole, resumed = tensors(uninterrupted), tensors(output)
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name
    assert any(not torch.equal(kept[name], value) for name, value in whole.items())
    assert output.read_bytes() == uninterrupted.read_bytes()  # the card too: one request, one file
    assert not (tmp_path / "w.checkpoint.safetensors").exists()


def test_a_training_that_has_ended_is_left_alone(
    uninterrupted: Path, crops: Crops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same request, wherever its files lie; of any other one it is refused."""
    for file in (uninterrupted, uninterrupted.with_suffix(".csv"), *crops[0]):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    output, moved = tmp_path / "w.safetensors", [(Path(crops[0][0].name), Path(crops[0][1].name))]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    watch = Watches()
    choices = {**QUICK, "steps": 10, "resume": True}
    again = train(moved, output, progress=watch, overwrite=True, **choices)
    assert watch.steps == 0
    assert [sentence.split(" is there already, whole")[0] for sentence in again.warnings] == [str(output)]
    card = open_weights(output).card
    assert (again.steps, again.best_step, again.start, again.interrupted) == (10, card.steps, "new weights", False)
    assert asdict(again.validation["trained"]) == card.validation
    assert (again.curves, again.log) == (None, tmp_path / "w.csv")
    assert again.parameters > 10_000

    for other in ({"seed": 1}, {"steps": 11}, {"data_licence": "mine"}, {"precision": "bf16"}, {"resume": False}):
        with pytest.raises(OutputError, match="`overwrite=True`"):
            train(moved, output, **{**choices, **other})
    for scenes in (crops[1:], crops):
        with pytest.raises(OutputError, match="`overwrite=True`"):
            train(scenes, output, **choices)
    with pytest.raises(OutputError, match="`overwrite=True`"):  # the page is missing, and made of what is gone
        train(moved, output, report=tmp_path / "page.html", **choices)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before

    hsi = moved[0][0]
    content = bytearray(hsi.read_bytes())
    content[-1] ^= 1
    hsi.write_bytes(content)
    with pytest.raises(OutputError, match="`overwrite=True`"):
        train(moved, output, **choices)


def test_interrupted_before_anything_was_found_out_nothing_is_written(crops: Crops, tmp_path: Path) -> None:
    """What the training starts from is validated first: from then on there is something to keep."""
    result = train(crops[:1], tmp_path / "w.safetensors", progress=Watches(judged=1), **QUICK)
    assert (result.interrupted, result.steps, result.best_step) == (True, 0, 0)
    assert result.warnings[-1].startswith("training brought nothing better")
    on = train(crops[:1], tmp_path / "w.safetensors", resume=True, **QUICK)
    assert (on.interrupted, on.steps) == (False, 3)


def test_a_loss_that_is_not_finite_leaves_no_weights(crops: Crops, tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"is not finite.*: lower the learning rate"):
        train(crops[:1], tmp_path / "w.safetensors", learning_rate=1e30, **{**QUICK, "steps": 20})
    assert not (tmp_path / "w.safetensors").exists()
    assert not (tmp_path / "w.csv").exists()


@pytest.mark.parametrize("existing", ["w.safetensors", "w.csv", "w.png", "w.checkpoint.safetensors"])
def test_what_is_there_is_replaced_only_when_asked(crops: Crops, tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("old")
    with pytest.raises(OutputError, match="`overwrite=True`"):
        train(crops[:1], tmp_path / "w.safetensors", **QUICK)
    with pytest.raises(RequestError, match="nowhere"):  # a refusal drops nothing either
        train([("nowhere.tif", "nowhere.tif")], tmp_path / "w.safetensors", overwrite=True, **QUICK)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {existing: "old"}


# --- what it starts from ---


def test_training_goes_on_from_weights_of_a_file(uninterrupted: Path, crops: Crops, tmp_path: Path) -> None:
    start = show_weights(str(uninterrupted)).card
    choices = {"model": "ssrfn", "spectral": "full", "init": str(uninterrupted)}
    result = train(crops[:1], tmp_path / "on.safetensors", **choices)
    assert result.start == "w"
    assert result.validation["before training"].psnr == pytest.approx(start.validation["psnr"], abs=1e-4)
    assert result.validation["trained"].score >= result.validation["before training"].score
    assert show_weights(str(result.output)).card.preset == "tiny"
    with pytest.raises(RequestError, match="is for 12 HSI bands, 4 MSI bands and ratio 3, the pairs have 11, 4 and 3"):
        train(crops[:1], tmp_path / "other.safetensors", hsi_bands="1-11", **choices)


def test_universal_weights_are_what_the_subspace_starts_from(crops: Crops, tmp_path: Path) -> None:
    result = train(crops[:1], tmp_path / "on.safetensors", steps=1, model="mgdunlss")
    assert result.start == "mgdunlss-universal"
    universal, card = show_weights("mgdunlss-universal").card, show_weights(str(result.output)).card
    assert set(card.ratios) == {3, *universal.ratios}
    assert card.config | universal.config == card.config  # settings that are newer than the file are named too


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"model": "gsa"}, "'gsa' is no network that could be trained: choose one of mgdunlss, ssrfn"),
        ({"model": "nobody"}, "'nobody' is no network"),
        ({"spectral": "half"}, "`spectral` is 'half': choose subspace or full"),
        ({"model": "mgdunlss", "spectral": "full", "init": "universal"}, "no universal weights for mgdunlss"),
        ({"model": "ssrfn", "init": "mgdunlss-universal"}, "of mgdunlss with `spectral=subspace`, not of ssrfn"),
        ({"spectral": "full", "init": "mgdunlss-universal"}, "not of mgdunlss with `spectral=full`"),
        ({"init": "nowhere.safetensors"}, "nowhere.safetensors: cannot be read"),
        ({"preset": "tiny", "init": "universal"}, "`preset` is for a new network: pass `init=none` with it"),
        ({"ablate": "nlss", "init": "universal"}, "`ablate` is for a new network"),
        ({"model": "ssrfn", "preset": "huge", "init": "none"}, "ssrfn has no `preset` 'huge': choose one of paper, "),
        ({"preset": "small"}, "mgdunlss has no `preset` 'small': choose one of paper, paper-unshared, base, tiny"),
        ({"ablate": "mamba"}, "mgdunlss has no `ablate` 'mamba': choose one of bsru, nlss"),
        ({"optimiser": "sgd"}, "`optimiser` is 'sgd': choose default or paper"),
        ({"accumulate": 3, "batch": 2}, "a batch of 2 cannot be computed in 3 parts"),
        ({"steps": 3, "seconds": 5.0}, "say the same thing: give one of them"),
        ({"epochs": 1, "steps": 3}, "say the same thing: give one of them"),
        ({"window": PixelWindow(0, 0, 30, 20)}, r"has 30×18 pixels .*needs at least 42"),
        ({"srf": "sentinel-9z"}, "no such file and no known sensor"),
        ({"precision": "fp16", "device": "cpu"}, "fp16 is for CUDA"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused(crops: Crops, tmp_path: Path, choices: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        train(crops[:1], tmp_path / "w.safetensors", **({"init": None} | choices))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "sentence"), [("w.pt", "name the weights file so"), ("no/w.safetensors", "create it first")]
)
def test_outputs_that_cannot_be_are_refused(crops: Crops, tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(OutputError, match=sentence):
        train(crops[:1], tmp_path / name)


# --- several pairs, and budgets ---


def test_several_pairs_train_one_network(crops: Crops, tmp_path: Path) -> None:
    result = train(crops, tmp_path / "w.safetensors", **QUICK)
    card = show_weights(str(result.output)).card
    assert card.trained_on == ("north-hsi.tif with north-msi.tif", "south-hsi.tif with south-msi.tif")
    assert len(card.validated_on) == 2


def test_a_training_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="belong to the pair"):
        train_reduced([PairRequest("h", "m")], tmp_path / "w.safetensors", srf="estimate")  # type: ignore[call-overload]
    with pytest.raises(RequestError, match="no pair to train on"):
        train_reduced([], tmp_path / "w.safetensors")


def test_a_budget_in_epochs_and_in_time(crops: Crops, tmp_path: Path) -> None:
    epochs = train(crops[:1], tmp_path / "a.safetensors", steps=None, epochs=2, batch=2, **QUICK)
    assert epochs.steps == 2 * 3  # 10 × 8 pixels to train on, in patches of 4 × 4
    timed = train(crops[:1], tmp_path / "b.safetensors", steps=None, seconds=0.5, **QUICK)
    assert timed.steps > 0
    assert 0.5 <= timed.seconds < 10


def test_a_method_that_cannot_serve_the_patches_is_named(crops: Crops, tmp_path: Path) -> None:
    """The table does without it: a training of hours is not lost over it."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    paths = [shutil.copy(path, folder) for path in crops[0]]
    with rasterio.open(paths[0], "r+") as hsi:
        numbers = hsi.read()
        numbers[3] = 1000  # a band without any contrast
        hsi.write(numbers)
    result = train([(paths[0], paths[1])], tmp_path / "w.safetensors", **QUICK)
    named = {warning.split(" failed: ")[0] for warning in result.warnings if " failed: " in warning}
    assert named | set(result.validation) >= set(OPPONENTS)
    assert result.output.exists()


# --- memory, the papers' way ---


def test_less_memory_trains_the_same_weights(uninterrupted: Path, crops: Crops, tmp_path: Path) -> None:
    """In parts, with activations computed again, by deterministic algorithms."""
    choices = {**QUICK, "steps": 4, "batch": 4}
    whole = train(crops[:1], tmp_path / "a.safetensors", **choices)
    thrifty = train(
        crops[:1], tmp_path / "b.safetensors", accumulate=3, gradient_checkpointing=True, deterministic=True, **choices
    )
    assert whole.best_step == thrifty.best_step > 0
    ours, theirs = tensors(whole.output), tensors(thrifty.output)
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-5
    assert not torch.are_deterministic_algorithms_enabled()


ABLATED = [
    *(("mgdunlss", name, {"preset": "tiny"}) for name in ("bsru", "nlss")),
    *(("ssrfn", name, {}) for name in ("dfe-mamba", "cfe-mamba", "mamba", "cnn", "spar", "sper", "cfe-scm")),
]


@pytest.mark.parametrize(("model", "part", "changes"), ABLATED)
@pytest.mark.parametrize("spectral", ["subspace", "full"])
def test_what_the_papers_leave_out_can_be_left_out(
    model: str, part: str, changes: dict[str, Any], spectral: str, crops: Crops, tmp_path: Path
) -> None:
    choices = {"preset": "tiny", "model": model, "spectral": spectral, "steps": 1, **changes}
    result = train(crops[:1], tmp_path / "w.safetensors", ablate=part, **choices)
    card = open_weights(result.output).card
    assert card.preset == f"tiny without {part}"
    assert {name: card.config[name] for name in ABLATIONS[model][part]} == ABLATIONS[model][part]
    assert (result.start, result.spectral) == ("new weights", spectral)


def test_the_papers_optimiser_brings_its_batch_rate_and_epochs(crops: Crops, tmp_path: Path) -> None:
    choices = {"steps": None, "batch": None, "optimiser": "paper", "model": "mgdunlss", "preset": "tiny"}
    result = train(crops[:1], tmp_path / "w.safetensors", progress=Watches(judged=2), **choices)
    assert result.interrupted
    with result.log.open(encoding="utf-8") as file:
        found = list(csv.DictReader(file))[-1]
    # 100 epochs of one step each, validated 20 times; the rate is halved once then
    assert (int(found["step"]), float(found["learning_rate"])) == (5, 5e-4)


def test_steps_that_were_skipped_are_told_at_the_end(
    crops: Crops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def now_and_then(*given: Any, **settings: Any) -> torch.Tensor:
        calls.append(1)
        loss = band_loss(*given, **settings)
        return loss * float("inf") if len(calls) == 3 else loss  # the first is to see what a patch takes

    monkeypatch.setattr("hsfuse.training.tasks.band_loss", now_and_then)
    result = train(crops[:1], tmp_path / "w.safetensors", **QUICK)
    assert (result.steps, result.skipped) == (3, 1)
    told = "1 of 3 steps were skipped, since their loss or gradient was not finite"
    assert told in result.warnings
    with result.log.open(encoding="utf-8") as file:
        assert [row["skipped"] for row in csv.DictReader(file)] == ["0", "0", "1", "1"]
    assert all(torch.isfinite(value).all() for value in tensors(result.output).values())
