"""Train the universal weights of a subspace network on many scenes under many simulated sensors.

    python examples/training/universal.py DATA --model ssrfn --folder runs/ssrfn --steps 4000

DATA is a folder laid out as `load_references` reads it: `abu/*.mat` (key `data`), `small/*.mat`,
`specTIR_48px/*.tif`, `enmap_potsdam/*.tif`. The run writes its log and its state into FOLDER (a second call
resumes); `--export FILE` writes the best weights as an hsfuse weights file.
"""

from __future__ import annotations

import argparse
import logging
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import scipy.io
import torch

from hsfuse.classical import Bayes
from hsfuse.fusion.network import SubspaceCorrection
from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, degrade
from hsfuse.models.mgdunlss import SubspaceMGDuNLSSConfig, SubspaceMGDuNLSSNet
from hsfuse.models.ssrfn import SubspaceSSRFNConfig, SubspaceSSRFNNet
from hsfuse.models.weights import WeightsCard, find_weights, save_weights
from hsfuse.subspace.patch import PairPatch
from hsfuse.training.episodes import (
    SENSOR_BANDS,
    Batch,
    Episode,
    ReferenceImage,
    cut_batch,
    place_patches,
    random_view,
    simulate_episode,
)
from hsfuse.training.loop import Trainer, Validation
from hsfuse.training.objective import relative_loss
from hsfuse.training.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn


VALIDATION = (
    "abu-airport-4",
    "abu-urban-3",
    "abu-beach-2",
    "dc_48x48",
    "Reno_48x48",
    "samson",
    "enmap",
)
"""Scenes that are never trained on: other places, and three sensors (HYDICE, Samson's, EnMAP) left out whole."""

MORE = (
    "aviris_moffett_more", "aviris_pond", "aviris_salinas_a", "aviris_salton_sea", "aviris_san_diego_2",
    "hydice_urban_crop", "spectir_more", "spectir_red_sea",
)  # fmt: skip
"""Folders of further training scenes, GeoTIFFs with wavelengths in their tags."""

RATIOS = (2, 3, 4, 5, 6, 8, 10)

PATCH = 36
"""Edge of a training patch in MSI pixels, about."""

VALIDATION_VIEWS = (
    ("vnir-4", 3, 30, 35),
    ("vnir-swir-10", 4, 30, 35),
    ("vnir-4-broad", 2, 35, 40),
    ("vnir-swir-6", 6, 45, 50),
    ("pan", 4, 35, 40),
)
"""Bands, ratio, and the SNR of the HSI and of the MSI in dB."""


def load_references(data: Path) -> list[ReferenceImage]:
    """Every scene under DATA, cut to finite values, with wavelengths known or spread evenly over 400–2500 nm."""
    references: list[ReferenceImage] = []
    references += [
        _reference(path.stem, scipy.io.loadmat(path)["data"].transpose(2, 0, 1))
        for path in sorted((data / "abu").glob("*.mat"))
    ]
    for path in sorted((data / "specTIR_48px").glob("*.tif")):
        with rasterio.open(path) as source:
            references.append(_reference(path.stem, source.read()))
    moffett = scipy.io.loadmat(data / "small" / "Moffett_vca.mat")["Y"]
    references.append(_reference("moffett", moffett.reshape(len(moffett), 50, 50).transpose(0, 2, 1)))
    samson = scipy.io.loadmat(data / "small" / "real_data_samson.mat")["r_cube"].transpose(2, 0, 1)
    references.append(_reference("samson", samson, (401, 889)))
    references.append(_enmap(data / "enmap_potsdam"))
    for path in sorted(file for folder in MORE for file in (data / folder).glob("*.tif")):
        with rasterio.open(path) as source:
            wavelength = np.array([float(source.tags(band)["wavelength"]) for band in source.indexes])
            image = source.read().astype(np.float32)
            known = np.isfinite(image).all(axis=(1, 2)) & (image != source.nodata).all(axis=(1, 2))
        references.append(ReferenceImage(path.stem, image[known], wavelength[known]))
    return references


def _reference(name: str, image: NDArray[np.generic], span: tuple[float, float] = (400, 2500)) -> ReferenceImage:
    values = np.ascontiguousarray(image, dtype=np.float32)
    return ReferenceImage(name, values, np.linspace(*span, len(values)))


def _enmap(folder: Path) -> ReferenceImage:
    """The block of 96 × 64 pixels that six of the tiles make, without the bands that are all nodata."""
    image = np.zeros((224, 64, 96), np.float32)
    for path in folder.glob("*.tif"):
        column, row = (int(part) for part in re.findall(r"\d+", path.stem))
        if row > 32:
            continue
        with rasterio.open(path) as source:
            wavelength = np.array([float(source.tags(band)["wavelength"]) for band in source.indexes])
            image[:, row : row + 32, column - 64 : column - 32] = source.read()
    filled = (image > -32768).all(axis=(1, 2))
    return ReferenceImage("enmap", image[filled], wavelength[filled])


def training_views(references: Sequence[ReferenceImage], generator: np.random.Generator) -> ReferenceImage:
    """A scene at random: as it is, turned coarser by two, or only its bands below 1000 nm."""
    reference = references[int(generator.integers(len(references)))]
    image, wavelength = reference.image, reference.wavelength_nm
    if min(image.shape[1:]) >= 96 and generator.random() < 0.25:
        rows, columns = (edge // 2 * 2 for edge in image.shape[1:])
        image = image[:, :rows, :columns].reshape(len(image), rows // 2, 2, columns // 2, 2).mean(axis=(2, 4))
    visible = wavelength < 1000
    if generator.random() < 0.2 and visible.sum() > 30:
        image, wavelength = image[visible], wavelength[visible]
    gain = np.exp(generator.normal(0, 0.2, (len(image), 1, 1))).astype(np.float32)
    return ReferenceImage(reference.name, image * gain, wavelength)


class Episodes:
    """What to train on: a pool of episodes by ratio, one of them replaced by a new one at every step."""

    def __init__(self, references: Sequence[ReferenceImage], validator: Validator, size: int = 100) -> None:
        """Keep `size` episodes a ratio at most."""
        self.references, self.size = references, size
        self.validate = validator
        self.episodes: dict[int, list[Episode]] = {ratio: [] for ratio in RATIOS}

    def draw(self, generator: np.random.Generator, batch: int, share: slice) -> Batch:
        """Patches of episodes of one ratio."""
        assert share == slice(0, batch), "one process draws all"
        episodes = self._episodes(generator, batch)
        return cut_batch(place_patches(episodes, max(PATCH // episodes[0].psf.ratio, 4), generator))

    def loss(self, network: nn.Module, drawn: Batch) -> Tensor:
        """Relative to the estimate to start from."""
        return relative_loss(network, drawn)

    def _episodes(self, generator: np.random.Generator, count: int) -> list[Episode]:
        """`count` episodes of one ratio, one of them new."""
        ratio = int(generator.choice(list(RATIOS)))
        pool = self.episodes[ratio]
        while len(pool) < count:
            pool.append(self._new(generator, ratio))
        fresh = self._new(generator, ratio)
        if len(pool) < self.size:
            pool.append(fresh)
        else:
            pool[int(generator.integers(len(pool)))] = fresh
        return [pool[index] for index in generator.choice(len(pool), count, replace=False)]

    def _new(self, generator: np.random.Generator, ratio: int) -> Episode:
        while True:
            reference = training_views(self.references, generator)
            if min(reference.image.shape[1:]) // ratio >= 10:
                view = random_view(reference, generator, [ratio])
                return simulate_episode(reference, view)


class Validator:
    """PSNR and SAM over the Bayesian estimate on fixed pairs of the validation scenes."""

    def __init__(self, references: Sequence[ReferenceImage]) -> None:
        """Simulate every scene under every view that its bands cover."""
        self.cases: list[tuple[str, Bayes, Tensor, Tensor, Tensor, tuple[float, float]]] = []
        for reference in references:
            for bands, ratio, snr_hsi, snr_msi in VALIDATION_VIEWS:
                case = self._case(reference, bands, ratio, (snr_hsi, snr_msi))
                if case is not None:
                    self.cases.append(case)

    def _case(
        self, reference: ReferenceImage, bands: str, ratio: int, snr: tuple[float, float]
    ) -> tuple[str, Bayes, Tensor, Tensor, Tensor, tuple[float, float]] | None:
        centres, widths = SENSOR_BANDS[bands]
        inside = [i for i, nm in enumerate(centres) if nm < reference.wavelength_nm.max()]
        if len(inside) < min(3, len(centres)):
            return None
        srf = SpectralResponse.from_gaussians(
            [centres[i] for i in inside], [widths[i] for i in inside], reference.wavelength_nm
        )
        model = ImagingModel(srf, PointSpread.gaussian(ratio, 1.0))
        wald = degrade(reference.image, model, snr_hsi=snr[0], snr_msi=snr[1])
        hsi, msi, truth = (torch.from_numpy(part) for part in (wald.hsi, wald.msi, wald.reference))
        estimate = Bayes.fit([PairPatch.all_valid(hsi, msi)], model, fewest=10)
        return f"{reference.name} {bands} x{ratio}", estimate, hsi, msi, truth, _quality(estimate(hsi, msi), truth)

    def __call__(self, network: nn.Module, *, log: bool = False) -> Validation:
        """Mean gains of `network`, and the least gain in PSNR; a decibel weighs as much as a degree."""
        gains = []
        for name, estimate, hsi, msi, truth, before in self.cases:
            inputs, linear_model = estimate.inputs(hsi, msi), estimate.linear_model
            coefficients = SubspaceCorrection(network, 10)(linear_model, inputs)
            quality = _quality(linear_model.decode(coefficients, inputs, hsi), truth)
            gains.append((quality[0] - before[0], quality[1] - before[1]))
            if log:
                logging.info("%s: bayes %.2f dB %.2f°, gain %+.2f dB %+.2f°", name, *before, *gains[-1])
        psnr, sam = (float(np.mean(column)) for column in zip(*gains, strict=True))
        figures = {"psnr_gain_db": psnr, "sam_gain_degrees": -sam, "worst_psnr_gain_db": min(gain[0] for gain in gains)}
        return Validation(psnr - sam, figures)


def _quality(image: Tensor, truth: Tensor) -> tuple[float, float]:
    """PSNR in dB, mean over bands with each band's maximum as peak, and SAM in degrees."""
    peak, error = truth.amax(dim=(1, 2)), ((image - truth) ** 2).mean(dim=(1, 2))
    psnr = 10 * torch.log10(peak**2 / error.clamp_min(1e-12))
    cosine = torch.nn.functional.cosine_similarity(image.double(), truth.double(), dim=0)
    return float(psnr[peak > 0].mean()), float(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))).mean())


class Log:
    """Tells of every validation."""

    def start(self, stage: str, total: int, unit: str = "tiles") -> None:
        """Training begins."""

    def advance(self, steps: int = 1) -> None:
        """Steps are not worth a line."""

    def note(self, sentence: str) -> None:
        """Write a line."""
        logging.info("%s", sentence)

    def finish(self) -> None:
        """It is over."""


def build(model: str, settings: dict[str, int]) -> SubspaceMGDuNLSSNet | SubspaceSSRFNNet:
    """A new network of a model."""
    if model == "mgdunlss":
        return SubspaceMGDuNLSSNet(SubspaceMGDuNLSSConfig(**settings))
    return SubspaceSSRFNNet(SubspaceSSRFNConfig(**settings))


def export(trainer: Trainer, model: str, validator: Validator, training: Sequence[ReferenceImage], path: Path) -> None:
    """Write the best weights of a run as an hsfuse weights file, with what they gain on the validation scenes."""
    network = trainer.network
    assert isinstance(network, SubspaceMGDuNLSSNet | SubspaceSSRFNNet)
    network.load_state_dict(trainer.best_weights)
    card = WeightsCard(
        model=model,
        architecture=f"{model}-subspace",
        config=asdict(network.config),
        spectral="subspace",
        ratios=RATIOS,
        trained_on=tuple(reference.name for reference in training),
        validated_on=VALIDATION,
        validation=validator(network.eval(), log=True).figures,
        data_licence="AVIRIS (NASA/JPL), HYDICE and SpecTIR scenes as redistributed for research",
        steps=trainer.step,
        seed=trainer.schedule.seed,
    )
    save_weights(network.state_dict(), card, path)


SETTINGS = {
    "mgdunlss": {"stages": 3, "features": 16},
    "ssrfn": {"width": 48, "states": 8, "deep_blocks": 1, "cycles": 1, "corrections": 2, "stages": 1},
}
"""Sizes that a few hours of two CPU cores can train."""


def main() -> None:
    """Train, and say how it goes in FOLDER/log.txt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", choices=list(SETTINGS), default="mgdunlss")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--set", metavar="NAME=N", action="append", default=[], help="of the network's configuration")
    parser.add_argument("--init", help="weights file or a bundled one's name to go on from; new weights by default")
    parser.add_argument("--minutes", type=float, help="of training, instead of --steps")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--export", type=Path, help="weights file to write at the end")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.FileHandler(options.folder / "log.txt"), logging.StreamHandler()],
    )
    references = load_references(options.data)
    held_back = [reference for reference in references if reference.name in VALIDATION]
    training = [reference for reference in references if reference.name not in VALIDATION]
    logging.info("training on %s", ", ".join(reference.name for reference in training))
    logging.info("validating on %s", ", ".join(reference.name for reference in held_back))
    changes = dict(change.split("=") for change in options.set)
    network = build(options.model, SETTINGS[options.model] | {name: int(size) for name, size in changes.items()})
    if options.init is not None:
        network.load_state_dict(find_weights(options.init).network().state_dict())
    logging.info("%d parameters", sum(parameter.numel() for parameter in network.parameters()))
    validator = Validator(held_back)
    budget = {"steps": options.steps} if options.minutes is None else {"seconds": 60 * options.minutes}
    schedule = Schedule(**budget, learning_rate=options.rate, seed=options.seed, validations=24)
    trainer = Trainer(network, Episodes(training, validator), schedule, checkpoint=options.folder / "state.safetensors")
    trainer.run(Log())
    if options.export is not None:
        export(trainer, options.model, validator, training, options.export)


if __name__ == "__main__":
    main()
