"""What a weights file says of itself, and whether that can be so."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from numbers import Real
from typing import TYPE_CHECKING, Any

from hsfuse.errors import RequestError
from hsfuse.models import ARCHITECTURES
from hsfuse.models.tensor_file import TensorFileError, shown_value
from hsfuse.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsfuse.models.tensor_file import TensorFile

FORMAT = "hsfuse-weights/1"


@dataclass(frozen=True)
class WeightsCard:
    """What a weights file says of itself."""

    model: str
    """The method that it belongs to, as of `fuse --model`."""

    architecture: str
    """Key of `hsfuse.models.ARCHITECTURES`."""

    config: dict[str, Any]
    """Fields of the architecture's configuration."""

    spectral: str
    """`subspace` (serves any pair of sensors) or `full` (serves the bands it was trained on)."""

    ratios: tuple[int, ...]
    """Ratios that it was trained on."""

    trained_on: tuple[str, ...] = ()
    """Scenes."""

    validated_on: tuple[str, ...] = ()
    """Scenes that were held back."""

    validation: dict[str, float] = field(default_factory=dict)
    """Figures on them."""

    data_licence: str = ""
    """Where the scenes come from and on what terms."""

    steps: int = 0
    """Optimizer steps."""

    seed: int = 0
    """Of the training."""

    preset: str = ""
    """Named size of the network."""

    sensors: tuple[str, ...] = ()
    """The pair of sensors that they are for; empty for any."""

    hsi_wavelength_nm: tuple[float, ...] = ()
    """Centres of the HSI's bands in nm, with `--spectral full`; empty where they are not known."""

    msi_bands: tuple[str, ...] = ()
    """Names of the MSI's bands, with `--spectral full`."""

    request: str = ""
    """Checksum of the training that ended with them, see `training.request`; empty of one that was interrupted."""

    hsfuse: str = __version__
    """Version that wrote the file."""


def read_card(file: TensorFile) -> WeightsCard:
    """The card of a file, its configuration held against the tensors that are there.

    Raises:
        TensorFileError: It is not what hsfuse writes; a clause that follows on the file's name.
    """
    content = dict(file.content)
    if content.pop("format", None) != FORMAT:
        raise TensorFileError(f"needs another version of hsfuse: its format is not {FORMAT}")
    _check_fields(content)
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
    }
    card = WeightsCard(**values)
    if card.architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise TensorFileError(f"holds the architecture {shown_value(card.architecture)}, this hsfuse knows {known}")
    _check_config(card, file.shapes)
    return card


def _check_fields(content: dict[str, Any]) -> None:
    """Every field is there that must be, none else, and each of its kind."""
    for entry in fields(WeightsCard):
        if entry.name not in content:
            if entry.name in _REQUIRED:
                raise TensorFileError(f"is a safetensors file, but not one of hsfuse (its header lacks {entry.name!r})")
        elif not _KINDS[str(entry.type)](content[entry.name]):
            raise TensorFileError(
                f"is no weights file of hsfuse ({entry.name!r} in its header is {shown_value(content[entry.name])})"
            )
    for name in content.keys() - _KINDS_BY_NAME:
        raise TensorFileError(f"needs another version of hsfuse: {shown_value(name)} in its header is not known")


def _check_config(card: WeightsCard, shapes: dict[str, tuple[int, ...]]) -> None:
    """Every number of a configuration counts channels or blocks, which the file's tensors have or are.

    Without that a few bytes could ask for a network of any size.
    """
    most = max([_LEAST_BOUND, len(shapes), *(size for shape in shapes.values() if 0 not in shape for size in shape)])
    config_class, _ = ARCHITECTURES[card.architecture]
    kinds = {entry.name: str(entry.type) for entry in fields(config_class)}
    for name, value in card.config.items():
        if name not in kinds or not _fits(value, kinds[name], most):
            asked = f"{shown_value(name)} {shown_value(value)}"
            raise TensorFileError(f"has tensors that do not fit {card.architecture} with {asked}")
    try:
        config_class(**card.config)
    except (TypeError, RequestError) as error:
        raise TensorFileError(f"has no configuration of {card.architecture} ({error})") from error


def _fits(value: Any, kind: str, most: int) -> bool:
    if kind == "int":
        return type(value) is int and 1 <= value <= most
    return isinstance(value, bool if kind == "bool" else str)


def _each(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(kind(part) for part in value)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _ratios(value: Any) -> bool:
    return bool(value) and _each(_count)(value)


def _object(value: Any) -> bool:
    return isinstance(value, dict)


_KINDS: dict[str, Callable[[Any], bool]] = {
    "str": _text,
    "int": _count,
    "dict[str, Any]": _object,
    "dict[str, float]": lambda value: _object(value) and all(_number(part) for part in value.values()),
    "tuple[int, ...]": _ratios,
    "tuple[str, ...]": _each(_text),
    "tuple[float, ...]": _each(_number),
}
"""What JSON may hold by the annotation of a card's field."""

_KINDS_BY_NAME = {entry.name for entry in fields(WeightsCard)}
_REQUIRED = {"model", "architecture", "config", "spectral", "ratios"}
_LEAST_BOUND = 64
"""Some numbers of a small network are above all that its tensors show, such as the states of a scan it has not."""
