"""The registry of methods, networks and classical ones alike, and choosing one with its weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hsfuse.classical import CNMF, GSA, MTFGLP, Bayes, HySure, SubspaceLinear
from hsfuse.errors import RequestError
from hsfuse.fusion.band_network import BandNetworkMethod
from hsfuse.fusion.method import ClassicalMethod
from hsfuse.fusion.network import NetworkMethod
from hsfuse.fusion.stack import StackMethod
from hsfuse.imaging import upsample
from hsfuse.models.weights import WeightsFile, bundled_weights, find_weights
from hsfuse.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from hsfuse.fusion.method import Method, TileRule
    from hsfuse.imaging import ImagingModel
    from hsfuse.subspace.patch import PairPatch


@dataclass(frozen=True)
class MethodEntry:
    """A method as users choose it."""

    name: str
    """As of `fuse`'s `model`."""

    summary: str
    """What it is, in a line."""

    network: bool
    """Whether it is a network, which can be trained and needs weights."""

    build: Callable[[WeightsFile | None], Method]
    """Makes the method, of weights if it takes some."""

    stacked_on: str | None = None
    """The network that is one of its members, by default; None for a method that stands alone."""

    @property
    def takes_weights(self) -> bool:
        """Whether it runs on a weights file."""
        return self.network or self.stacked_on is not None


METHODS: dict[str, MethodEntry] = {}
"""Every method by name."""

DEFAULT_METHOD = "stack"
"""What `fuse` uses when nothing else is asked for: see the README for the figures."""

DEFAULT_NETWORK = "mgdunlss"
"""The network that is trained when nothing else is asked for, and that is a member of the default."""


def register_method(
    name: str,
    summary: str,
    build: Callable[[WeightsFile | None], Method],
    *,
    network: bool,
    stacked_on: str | None = None,
) -> None:
    """Add a method.

    Raises:
        ValueError: The name is taken.
    """
    if name in METHODS:
        raise ValueError(f"a method named {name!r} is there already")
    METHODS[name] = MethodEntry(name, summary, network, build, stacked_on)


@dataclass(frozen=True)
class ChosenMethod:
    """A method with the weights that it runs on."""

    name: str
    """As of `fuse`'s `model`."""

    method: Method
    """What to fit."""

    weights: WeightsFile | None
    """None where the method needs none."""

    @property
    def adaptable(self) -> bool:
        """Whether its weights are a network's in the spectral subspace, which any pair can fine-tune."""
        return self.weights is not None and self.weights.card.spectral == "subspace"

    def with_network(self, network: nn.Module, trust: float) -> ChosenMethod:
        """The same with another network of the same architecture, and the trust in it."""
        assert self.weights is not None
        method: Method = NetworkMethod(network, self.weights.card.config["subspace"], trust)
        return replace(self, method=method if METHODS[self.name].network else _stacked(self.weights, method))

    def untrained_ratio(self, ratio: int) -> str | None:
        """A sentence for the user where the weights were not trained at a ratio."""
        if self.weights is None or ratio in self.weights.card.ratios:
            return None
        trained = ", ".join(str(known) for known in self.weights.card.ratios)
        return f"the weights {self.weights.name} were trained at ratio {trained}, this pair has {ratio}"


def choose_method(name: str, weights: str | None = None) -> ChosenMethod:
    """The method of a name, with the weights asked for or its bundled ones.

    Raises:
        RequestError: No such method; weights for a method that takes none, or of another one.
        WeightsError: The weights cannot be read.
    """
    entry = METHODS.get(name)
    if entry is None:
        near = did_you_mean(name, METHODS)
        raise RequestError(f"there is no model {name!r}{near}: choose one of {', '.join(METHODS)}")
    if not entry.takes_weights:
        if weights is not None:
            raise RequestError(f"{name} is a classical method and takes no weights: leave `weights` out")
        return ChosenMethod(name, entry.build(None), None)
    file = find_weights(weights) if weights is not None else _bundled_for(entry.stacked_on or name)
    if entry.network and file.card.model != name:
        raise RequestError(
            f"{file.path} holds weights of {file.card.model}, not of {name}: pass `model={file.card.model}`"
        )
    return ChosenMethod(name, entry.build(file), file)


def _bundled_for(name: str) -> WeightsFile:
    for file in bundled_weights():
        if file.card.model == name and file.card.spectral == "subspace":
            return file
    raise RequestError(f"no weights for {name} are bundled: pass `weights`, or choose another `model`")


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


def _stack(weights: WeightsFile | None) -> Method:
    assert weights is not None
    return _stacked(weights, _network(weights))


def _stacked(weights: WeightsFile, network: Method) -> StackMethod:
    """The classical methods whose errors differ most, and a network."""
    return StackMethod(
        {
            "bayes": ClassicalMethod(Bayes.fit),
            "hysure": ClassicalMethod(HySure.fit),
            "cnmf": ClassicalMethod(CNMF.fit),
            weights.card.model: network,
        }
    )


def _classical(fitting: Callable[[Sequence[PairPatch], ImagingModel], TileRule]) -> Callable[..., Method]:
    return lambda _: ClassicalMethod(fitting)


register_method(
    "stack",
    "bayes, hysure, cnmf and a network together, weighted as suits the scene",
    _stack,
    network=False,
    stacked_on=DEFAULT_NETWORK,
)
register_method(
    "mgdunlss", "MGDuNLSS-Net (Khader 2023), deep unfolding in the spectral subspace", _network, network=True
)
register_method("ssrfn", "SSRFN (Zhao 2024), convolutions and Mamba in the spectral subspace", _network, network=True)
for _name, _summary, _fitting in (
    ("gsa", "Gram-Schmidt adaptive (Aiazzi 2007)", GSA.fit),
    ("mtf-glp", "MTF-matched generalised Laplacian pyramid (Aiazzi 2006)", MTFGLP.fit),
    ("cnmf", "coupled nonnegative matrix factorisation (Yokoya 2012)", CNMF.fit),
    ("hysure", "subspace with vector total variation (Simões 2015)", HySure.fit),
    ("bayes", "edge-adaptive Bayesian estimate in the spectral subspace (after Wei 2015)", Bayes.fit),
    ("mtf-glp-subspace", "MTF-GLP with regression in a noise-aware spectral subspace", SubspaceLinear.fit),
    ("bicubic", "the HSI interpolated, without the MSI", Bicubic.fit),
):
    register_method(_name, _summary, _classical(_fitting), network=False)
