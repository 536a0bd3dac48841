"""What `train-reduced` trains on: patches of scenes one Wald level down, as coefficients or as bands."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import torch

from hsfuse.classical import Bayes
from hsfuse.errors import RequestError, WorkError
from hsfuse.fusion.band_network import FittedBandNetwork
from hsfuse.fusion.compute import to_device
from hsfuse.fusion.network import FittedNetwork, SubspaceCorrection
from hsfuse.models.bands import band_units
from hsfuse.training.episodes import Batch, Episode, ErrorUnits, Placement, cut_batch, make_episode
from hsfuse.training.held_back import Figures, HeldBack
from hsfuse.training.loop import Validation
from hsfuse.training.objective import band_loss, relative_loss
from hsfuse.training.split import pieces, some_of, split

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

    from hsfuse.fusion.method import FittedMethod
    from hsfuse.models.bands import BandNetwork
    from hsfuse.pairs.wald_level import WaldBlock, WaldScene
    from hsfuse.scenes import PixelWindow

_Loaded = TypeVar("_Loaded")
_Batch = TypeVar("_Batch")

_SAMPLED_PARTS = 8  # on which statistics of a scene are fitted
_DRAWS = 4  # of a patch, until one has valid pixels


class ReducedTask(ABC, Generic[_Loaded, _Batch]):
    """Patches of the training part of every scene; the rest judges.

    Parts of scenes are read when a patch of theirs is drawn, and kept while there is memory. PairPatch i of step n is
    drawn from a generator of its own, so that a batch may be shared by any number of processes, and computed in parts.
    """

    _held_back_edge = 256
    """Fine pixels, to twice that, that are fused at a time on validation."""

    def __init__(
        self,
        scenes: Sequence[WaldScene],
        *,
        patch: int | None = None,
        share: float = 0.1,
        memory: int = 2**31,
        device: torch.device | None = None,
    ) -> None:
        """Split the scenes and read what is held back.

        Args:
            scenes: Scenes of one pair of sensors, of one ratio.
            patch: Edge of a patch in degraded HSI pixels; by default about 36 MSI pixels.
            share: Of each scene that is held back.
            memory: Bytes of parts to keep.
            device: Where the network is.

        Raises:
            RequestError: A scene is too small or empty, or the ratios differ.
        """
        ratios = {scene.model.ratio for scene in scenes}
        if len(ratios) != 1:
            raise RequestError(f"the pairs differ in ratio ({', '.join(map(str, sorted(ratios)))}): train them apart")
        self.ratio = ratios.pop()
        self.scenes = tuple(scenes)
        self.device = device or torch.device("cpu")
        windows = [split(scene, share) for scene in scenes]
        edge = max(self._held_back_edge // self.ratio, 4)
        self.held_back = tuple(
            HeldBack.of(scene, held, edge) for scene, (_, held) in zip(self.scenes, windows, strict=True)
        )
        """What the networks are judged on."""
        self.parts = [(index, part) for index, (trained, _) in enumerate(windows) for part in pieces(trained)]
        """Scene and window of what the networks are trained on."""
        sizes = np.array([window.width * window.height for _, window in self.parts], dtype=np.float64)
        self._chances = sizes / sizes.sum()
        self.pixels = int(sizes.sum())
        """Degraded HSI pixels to train on."""
        wanted = max(36 // self.ratio, 4) if patch is None else patch
        self.patch = min([wanted, *(min(window.width, window.height) for _, window in self.parts)])
        """Edge of a patch in degraded HSI pixels."""
        each = max(window.width * window.height for _, window in self.parts) * self._bytes_a_pixel()
        self._load = lru_cache(maxsize=max(memory // each, 1))(self._read)

    def draw(self, generator: np.random.Generator, batch: int, share: slice) -> _Batch:
        """The patches of a step that are wanted, in the CPU's memory."""
        seeds = generator.integers(2**63, size=batch)[share]
        return self._cut([self._drawn(np.random.default_rng(seed)) for seed in seeds])

    def loss(self, network: nn.Module, drawn: _Batch) -> Tensor:
        """The mean over patches."""
        return self._loss(network, to_device(drawn, self.device))

    def loss_of_one(self, network: nn.Module) -> Tensor:
        """Of a single patch, always the same one."""
        return self.loss(network, self.draw(np.random.default_rng(0), 1, slice(0, 1)))

    def validate(self, network: nn.Module) -> Validation:
        """PSNR, SAM and ERGAS on what is held back.

        Raises:
            WorkError: What the network fuses is not finite.
        """
        try:
            figures = self.figures(network)
        except WorkError as error:
            raise WorkError(
                "what the network makes of the part held back is not finite: lower the learning rate "
                "(`learning_rate`), or train in fp32"
            ) from error
        return Validation(figures.score, asdict(figures))

    def figures(self, network: nn.Module) -> Figures:
        """Of a network, on what is held back."""
        return Figures.of([held.score(self._fitted(network, index)) for index, held in enumerate(self.held_back)])

    def steps_an_epoch(self, batch: int) -> int:
        """Steps that see as many pixels as there are."""
        steps: int = max(math.ceil(self.pixels / (self.patch**2 * batch)), 1)
        return steps

    def _drawn(self, generator: np.random.Generator) -> tuple[_Loaded, Placement]:
        """A part and where to cut it, with some valid pixels in it if they are found soon."""
        for _ in range(_DRAWS):
            loaded = self._load(int(generator.choice(len(self.parts), p=self._chances)))
            place = Placement.draw(self._shape(loaded), self.patch, generator)
            if place.cut(self._valid(loaded), self.ratio).any():
                break
        return loaded, place

    def _read(self, part: int) -> _Loaded:
        index, window = self.parts[part]
        return self._prepared(index, self.scenes[index].read(window))

    def _sampled(self, index: int) -> Iterator[WaldBlock]:
        """Parts with valid pixels of what is trained on of a scene, one at a time: for its statistics."""
        windows: list[PixelWindow] = [window for scene, window in self.parts if scene == index]
        parts = map(self.scenes[index].read, some_of(windows, _SAMPLED_PARTS))
        return (part for part in parts if part.valid.any())

    def _nothing_valid(self, index: int) -> RequestError:
        return RequestError(f"no pixel of {self.scenes[index].name} is valid in the part to train on")

    @abstractmethod
    def _bytes_a_pixel(self) -> int:
        """Of what is kept of a part, by degraded HSI pixel."""

    @abstractmethod
    def _prepared(self, index: int, part: WaldBlock) -> _Loaded:
        """What is kept of a part of a scene."""

    @abstractmethod
    def _shape(self, loaded: _Loaded) -> tuple[int, int]:
        """Rows and columns of degraded HSI pixels."""

    @abstractmethod
    def _valid(self, loaded: _Loaded) -> Tensor:
        """Where the truth is known, (H, W)."""

    @abstractmethod
    def _cut(self, drawn: Sequence[tuple[_Loaded, Placement]]) -> _Batch:
        """Patches out of parts of scenes."""

    @abstractmethod
    def _loss(self, network: nn.Module, batch: _Batch) -> Tensor:
        """The mean over patches, all of it on the task's device."""

    @abstractmethod
    def _fitted(self, network: nn.Module, index: int) -> FittedMethod:
        """The network as a method that knows a scene."""


class SubspaceTask(ReducedTask[Episode, Batch]):
    """Coefficients of each scene's own spectral subspace."""

    def __init__(
        self,
        scenes: Sequence[WaldScene],
        coefficients: int,
        *,
        patch: int | None = None,
        share: float = 0.1,
        memory: int = 2**31,
        device: torch.device | None = None,
    ) -> None:
        """Fit the estimate of every scene that networks start from; see `ReducedTask`."""
        self._coefficients = coefficients
        super().__init__(scenes, patch=patch, share=share, memory=memory, device=device)
        self.estimates = tuple(Bayes.fit(held.patches, held.model, fewest=coefficients) for held in self.held_back)
        """One a scene."""
        self._units = tuple(self._measured(index) for index in range(len(self.scenes)))

    def _measured(self, index: int) -> ErrorUnits:
        largest = max(self._sampled(index), key=lambda part: int(part.valid.sum()), default=None)
        if largest is None:
            raise self._nothing_valid(index)
        return ErrorUnits.of(self.estimates[index], largest.patch.hsi, largest.patch.msi, largest.truth, largest.valid)

    def _bytes_a_pixel(self) -> int:
        fine = (3 * self._coefficients + 2) * self.ratio**2
        return 4 * (fine + self._coefficients)

    def _prepared(self, index: int, part: WaldBlock) -> Episode:
        episode = make_episode(
            self.estimates[index],
            self._units[index],
            self.scenes[index].model.psf,
            (part.patch.hsi, part.patch.msi, part.truth),
            part.valid,
        )
        return episode.leading(self._coefficients)

    def _shape(self, loaded: Episode) -> tuple[int, int]:
        rows, columns = loaded.inputs.hsi.shape[-2:]
        return rows, columns

    def _valid(self, loaded: Episode) -> Tensor:
        return loaded.valid

    def _cut(self, drawn: Sequence[tuple[Episode, Placement]]) -> Batch:
        return cut_batch(drawn)

    def _loss(self, network: nn.Module, batch: Batch) -> Tensor:
        return relative_loss(network, batch)

    def _fitted(self, network: nn.Module, index: int) -> FittedMethod:
        return FittedNetwork(SubspaceCorrection(network, self._coefficients), self.estimates[index], trust=1.0)


@dataclass(frozen=True)
class BandsBatch:
    """Patches of bands."""

    hsi: Tensor
    """Y, (B, C, h, w)."""

    msi: Tensor
    """P, (B, c, H, W)."""

    truth: Tensor
    """X, (B, C, H, W)."""

    valid: Tensor
    """Where it is known, bool (B, H, W)."""


class BandsTask(ReducedTask["WaldBlock", BandsBatch]):
    """The bands themselves."""

    _held_back_edge = 64  # a network on bands holds hundreds of kilobytes a pixel

    def __init__(
        self,
        scenes: Sequence[WaldScene],
        *,
        squared: bool,
        patch: int | None = None,
        share: float = 0.1,
        memory: int = 2**31,
        device: torch.device | None = None,
    ) -> None:
        """With the absolute error as loss (MGDuNLSS-Net) or the squared one (SSRFN); see `ReducedTask`.

        Raises:
            RequestError: The scenes differ in their bands, or have no valid pixel to train on.
        """
        bands = {scene.model.srf.matrix.shape for scene in scenes}
        if len(bands) != 1:
            raise RequestError("the pairs differ in their number of bands: train them apart, or `spectral=subspace`")
        self.msi_bands, self.bands = (int(count) for count in bands.pop())
        self._squared = squared
        super().__init__(scenes, patch=patch, share=share, memory=memory, device=device)
        pixels = [
            (part.patch.hsi[:, part.patch.hsi_valid], part.patch.msi[:, part.patch.msi_valid])
            for index in range(len(scenes))
            for part in self._sampled(index)
        ]
        if not pixels:
            raise self._nothing_valid(0)
        self._hsi_units, self._msi_units = (band_units(torch.cat(image, dim=1)) for image in zip(*pixels, strict=True))

    def measure(self, network: BandNetwork) -> None:
        """Give a new network the units of the scenes that it is to be trained on."""
        network.set_units(*(part.to(self.device) for part in (*self._hsi_units, *self._msi_units)))

    def _bytes_a_pixel(self) -> int:
        return 4 * (self.bands + (self.bands + self.msi_bands + 1) * self.ratio**2)

    def _prepared(self, index: int, part: WaldBlock) -> WaldBlock:  # noqa: ARG002 (scenes do not differ in units)
        return part

    def _shape(self, loaded: WaldBlock) -> tuple[int, int]:
        rows, columns = loaded.patch.hsi.shape[-2:]
        return rows, columns

    def _valid(self, loaded: WaldBlock) -> Tensor:
        return loaded.valid

    def _cut(self, drawn: Sequence[tuple[WaldBlock, Placement]]) -> BandsBatch:
        patches = (
            (
                place.cut(part.patch.hsi, 1),
                place.cut(part.patch.msi, self.ratio),
                place.cut(part.truth, self.ratio),
                place.cut(part.valid, self.ratio),
            )
            for part, place in drawn
        )
        return BandsBatch(*(torch.stack(images) for images in zip(*patches, strict=True)))

    def _loss(self, network: nn.Module, batch: BandsBatch) -> Tensor:
        unit = self._hsi_units[1].to(self.device)
        images = (batch.hsi, batch.msi, batch.truth, batch.valid)
        return band_loss(network, images, unit, squared=self._squared)

    def _fitted(self, network: nn.Module, index: int) -> FittedMethod:  # noqa: ARG002 (one for all scenes)
        return FittedBandNetwork(network)
