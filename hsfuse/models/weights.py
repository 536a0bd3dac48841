"""Weights files: safetensors with a JSON header that says what is in them. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from hsfuse import __version__
from hsfuse.errors import WeightsError
from hsfuse.models import ARCHITECTURES

if TYPE_CHECKING:
    import os

    from torch import Tensor, nn

FORMAT = "hsfuse-weights/1"
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")


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

    hsfuse: str = __version__
    """Version that wrote the file."""


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
        try:
            network = build(config_class(**self.card.config))
            with safe_open(self.path, framework="pt") as file:
                network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (not a dict)
        except (TypeError, RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(f"{self.path}: its tensors do not fit {self.card.architecture} ({reason})") from error
        return network.eval()


def open_weights(path: str | os.PathLike[str]) -> WeightsFile:
    """Read the header of a weights file.

    Raises:
        WeightsError: The file is missing, a pickle, not safetensors, or not written by hsfuse.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be read ({error.strerror}); `hsfuse weights list` shows what is bundled"
        ) from error
    if start.startswith(_PICKLE_STARTS):
        raise WeightsError(
            f"{path} is a pickle, as torch.save writes it; hsfuse never unpickles, since that can run any code: "
            "give it a .safetensors file that hsfuse wrote",
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a safetensors file ({error})") from error
    return WeightsFile(path, _card(metadata, path))


def _card(metadata: dict[str, str], path: Path) -> WeightsCard:
    try:
        content = json.loads(metadata["hsfuse"])
        if content.pop("format") != FORMAT:
            raise WeightsError(f"{path}: its format is not {FORMAT}: it needs another version of hsfuse")
        content = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
        card = WeightsCard(**content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path} is a safetensors file, but not one of hsfuse (its header is missing)") from error
    if card.architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise WeightsError(f"{path} holds the architecture {card.architecture!r}, this hsfuse knows {known}")
    return card


def save_weights(network_state: dict[str, Tensor], card: WeightsCard, path: str | os.PathLike[str]) -> WeightsFile:
    """Write a weights file, whole or not at all."""
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    header = json.dumps({"format": FORMAT, **asdict(card)})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network_state.items()}
    # Not by save_file, whose files only their owner may read.
    temporary.write_bytes(save(tensors, metadata={"hsfuse": header}))
    temporary.replace(path)
    return WeightsFile(path, card)


def bundled_folder() -> Path:
    """Where the weights that come with hsfuse lie: in the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_weights"
    return installed if installed.is_dir() else package.parent / "weights"


def bundled_weights() -> list[WeightsFile]:
    """The weights that come with hsfuse, by name."""
    return [open_weights(path) for path in sorted(bundled_folder().glob("*.safetensors"))]


def find_weights(source: str) -> WeightsFile:
    """A weights file by its path, or a bundled one by its name.

    Raises:
        WeightsError: There is no such file, or it is none of hsfuse's.
    """
    if not Path(source).exists() and Path(source).name == source:
        bundled = bundled_folder() / f"{source.removesuffix('.safetensors')}.safetensors"
        if bundled.exists():
            return open_weights(bundled)
    return open_weights(source)
