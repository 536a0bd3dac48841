"""One face for networks and classical methods, and the registry of both.

A `Method` is fitted to a scene once, on a sample and with the imaging model; what comes out takes tiles in and
gives fused tiles back. The engine never asks which method it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hsfuse.classical import CNMF, GSA, MTFGLP, Bayes, HySure, SubspaceLinear
from hsfuse.errors import RequestError
from hsfuse.fusion.band_network import BandNetworkMethod, FittedBandNetwork
from hsfuse.fusion.network import NetworkMethod
from hsfuse.imaging import upsample
from hsfuse.models.weights import WeightsFile, bundled_weights, find_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch import Tensor

    from hsfuse.imaging import ImagingModel
    from hsfuse.subspace.patch import PairPatch


class FittedMethod(Protocol):
    """A method that knows its scene."""

    @property
    def margin(self) -> int:
        """HSI pixels at a tile's rim that depend on what lies beyond it."""

    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse a tile without holes: Y (C, h, w) and P (c, r·h, r·w) to X (C, r·h, r·w), float32."""


class Method(Protocol):
    """A way to fuse."""

    def fit(self, patches: Sequence[PairPatch], imaging: ImagingModel) -> FittedMethod:
        """Fit what is global to a scene on a sample of it, holes filled, masks telling where they were."""


def working_bytes(fitted: FittedMethod) -> int:
    """Memory by fine pixel that a fitted method needs beyond what all do, about."""
    return fitted.bytes_a_pixel if isinstance(fitted, FittedBandNetwork) else 0


@dataclass(frozen=True)
class MethodEntry:
    """A method as users choose it."""

    name: str
    """As of `--model`."""

    summary: str
    """What it is, in a line."""

    network: bool
    """Whether it needs weights."""

    build: Callable[[WeightsFile | None], Method]
    """Makes the method, of the weights if it is a network."""


METHODS: dict[str, MethodEntry] = {}
"""Every method by name."""

DEFAULT_METHOD = "mgdunlss"
"""What `fuse` uses when nothing else is asked for: see the README for the figures."""


def register(name: str, summary: str, build: Callable[[WeightsFile | None], Method], *, network: bool) -> None:
    """Add a method.

    Raises:
        ValueError: The name is taken.
    """
    if name in METHODS:
        raise ValueError(f"a method named {name!r} is there already")
    METHODS[name] = MethodEntry(name, summary, network, build)


@dataclass(frozen=True)
class ChosenMethod:
    """A method with the weights that it runs on."""

    name: str
    """As of `--model`."""

    method: Method
    """What to fit."""

    weights: WeightsFile | None
    """None where the method needs none."""

    def on(self, device: torch.device) -> Method:
        """The method with its network, if it has one, on a device."""
        return self.method.to(device) if isinstance(self.method, NetworkMethod | BandNetworkMethod) else self.method


def choose_method(name: str, weights: str | None = None) -> ChosenMethod:
    """The method of a name, with the weights asked for or its bundled ones.

    Raises:
        RequestError: No such method; weights for a method that takes none, or of another one.
        WeightsError: The weights cannot be read.
    """
    entry = METHODS.get(name)
    if entry is None:
        raise RequestError(f"there is no model {name!r}: choose one of {', '.join(METHODS)}")
    if not entry.network:
        if weights is not None:
            raise RequestError(f"{name} is a classical method and takes no weights: leave --weights out")
        return ChosenMethod(name, entry.build(None), None)
    file = find_weights(weights) if weights is not None else _bundled_for(name)
    if file.card.model != name:
        raise RequestError(
            f"{file.path} holds weights of {file.card.model}, not of {name}: pass --model {file.card.model}"
        )
    return ChosenMethod(name, entry.build(file), file)


def _bundled_for(name: str) -> WeightsFile:
    for file in bundled_weights():
        if file.card.model == name and file.card.spectral == "subspace":
            return file
    raise RequestError(f"no weights for {name} are bundled: pass --weights, or choose another --model")


@dataclass(frozen=True)
class Bicubic:
    """The HSI interpolated; the MSI is not looked at. What every method has to beat."""

    ratio: int
    """HSI pixel over fine pixel."""

    margin: int = 2
    """HSI pixels: cubic convolution reaches two."""

    @classmethod
    def fit(cls, patches: Sequence[PairPatch], imaging: ImagingModel) -> Bicubic:  # noqa: ARG003 (the face of a method)
        """Only the ratio matters."""
        return cls(imaging.ratio)

    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:  # noqa: ARG002 (the face of a method)
        """Interpolate Y (C, h, w) to (C, r·h, r·w)."""
        return upsample(hsi, self.ratio)


def _network(weights: WeightsFile | None) -> Method:
    assert weights is not None
    if weights.card.spectral == "full":
        return BandNetworkMethod(weights)
    return NetworkMethod(weights.network(), weights.card.config["subspace"])


register("mgdunlss", "MGDuNLSS-Net (Khader 2023), deep unfolding in the spectral subspace", _network, network=True)
register("ssrfn", "SSRFN (Zhao 2024), convolutions and Mamba in the spectral subspace", _network, network=True)
register("gsa", "Gram-Schmidt adaptive (Aiazzi 2007)", lambda _: GSA, network=False)
register("mtf-glp", "MTF-matched generalised Laplacian pyramid (Aiazzi 2006)", lambda _: MTFGLP, network=False)
register("cnmf", "coupled nonnegative matrix factorisation (Yokoya 2012)", lambda _: CNMF, network=False)
register("hysure", "subspace with vector total variation (Simões 2015)", lambda _: HySure, network=False)
register("bayes", "edge-adaptive Bayesian estimate (after Wei 2015)", lambda _: Bayes, network=False)
register(
    "mtf-glp-subspace",
    "the same in a noise-aware spectral subspace: what mgdunlss corrects",
    lambda _: SubspaceLinear,
    network=False,
)
register("bicubic", "the HSI interpolated, without the MSI", lambda _: Bicubic, network=False)
