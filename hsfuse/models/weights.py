"""Weights files: safetensors with a JSON header that says what is in them. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from hsfuse.errors import WeightsError
from hsfuse.files import shown
from hsfuse.models import ARCHITECTURES
from hsfuse.models.card import FORMAT, WeightsCard, read_card
from hsfuse.models.tensor_file import TensorFile, TensorFileError, shown_value, write_tensor_file
from hsfuse.spelling import did_you_mean

__all__ = [
    "FORMAT", "WeightsCard", "WeightsFile", "bundled_folder", "bundled_weights", "find_weights", "open_weights",
    "save_weights",
]  # fmt: skip

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from torch import Tensor, nn


@dataclass(frozen=True)
class WeightsFile:
    """A weights file on the disk."""

    path: Path
    """Where it is."""

    card: WeightsCard
    """What its header says."""

    @property
    def name(self) -> str:
        """Its file name without the suffix."""
        return self.path.stem

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return self.path.stat().st_size

    def checksum(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def network(self) -> nn.Module:
        """The network with the file's weights, in evaluation mode.

        Raises:
            WeightsError: The tensors do not fit the architecture.
        """
        config_class, build = ARCHITECTURES[self.card.architecture]
        config = config_class(**self.card.config)
        try:
            file = TensorFile.open(self.path)
            # Before anything is allocated: that device has shapes and no memory.
            with torch.device("meta"), _Frugal(len(file.shapes)):
                expected = {name: tuple(tensor.shape) for name, tensor in build(config).state_dict().items()}
            _check_shapes(expected, file.shapes)
            network = build(config)
            network.load_state_dict(file.tensors())
        except (TensorFileError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(
                f"{shown(self.path)}: its tensors do not fit {self.card.architecture} ({reason})"
            ) from error
        return network.eval()


def open_weights(path: str | os.PathLike[str], *, others: Iterable[str] = ()) -> WeightsFile:
    """Read the header of a weights file.

    Args:
        path: The file.
        others: What may be asked for in place of a file; a name that is missing may have meant one of them.

    Raises:
        WeightsError: The file is missing, a pickle, not safetensors, or not written by hsfuse; what it says of itself
            is of the wrong kind, or asks for a network that its tensors cannot be.
    """
    try:
        file = TensorFile.open(path)
        return WeightsFile(file.path, read_card(file))
    except OSError as error:
        bundled = [file.stem for file in bundled_folder().glob("*.safetensors")]
        raise WeightsError(
            f"{shown(path)}{did_you_mean(Path(path).stem, [*bundled, *others])}: cannot be read ({error.strerror}); "
            "`hsfuse weights list` shows what is bundled"
        ) from error
    except TensorFileError as error:
        raise WeightsError(f"{shown(path)} {error}") from error


class _Frugal(TorchFunctionMode):
    """Breaks off the building of a network that takes far more steps than the tensors of a file could need."""

    def __init__(self, tensors: int) -> None:
        super().__init__()
        self._left = 1000 + 20 * tensors

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self._left -= 1
        if self._left < 0:
            raise TensorFileError("it has more blocks than the file has tensors")
        return func(*args, **(kwargs or {}))


def _check_shapes(expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> None:
    for name in sorted(expected.keys() ^ found.keys())[:1]:
        raise TensorFileError(f"{shown_value(name)} is {'missing' if name in expected else 'not one of its'}")
    for name, shape in expected.items():
        if shape != found[name]:
            raise TensorFileError(f"{name} has shape {found[name]} where {shape} is due")


def save_weights(network_state: dict[str, Tensor], card: WeightsCard, path: str | os.PathLike[str]) -> WeightsFile:
    """Write a weights file, whole or not at all; one that is there is replaced.

    Raises:
        OutputError: It cannot be written there.
        WorkError: The disk is full or fails.
    """
    write_tensor_file(path, network_state, {"format": FORMAT, **asdict(card)})
    return WeightsFile(Path(path), card)


def bundled_folder() -> Path:
    """Where the weights that come with hsfuse lie: in the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_weights"
    return installed if installed.is_dir() else package.parent / "weights"


def bundled_weights() -> list[WeightsFile]:
    """The weights that come with hsfuse, by name."""
    return [open_weights(path) for path in sorted(bundled_folder().glob("*.safetensors"))]


def find_weights(source: str, *, others: Iterable[str] = ()) -> WeightsFile:
    """A weights file by its path, or a bundled one by its name; `others` as in `open_weights`.

    Raises:
        WeightsError: There is no such file, or it is none of hsfuse's.
    """
    if not Path(source).exists() and Path(source).name == source:
        bundled = bundled_folder() / f"{source.removesuffix('.safetensors')}.safetensors"
        if bundled.exists():
            return open_weights(bundled)
    return open_weights(source, others=others)
