"""`hsfuse weights`: what is bundled, what a weights file was trained on, and whether it is whole."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hsfuse.errors import WeightsError
from hsfuse.models.weights import WeightsFile, bundled_folder, bundled_weights, find_weights

CHECKSUMS = "SHA256SUMS"
"""File beside the bundled weights, as sha256sum writes it."""


@dataclass(frozen=True)
class Verification:
    """That a weights file is what it should be."""

    file: WeightsFile
    """The file."""

    checksum: str
    """SHA-256 in hexadecimal."""

    parameters: int
    """How many numbers it holds, all finite."""

    listed: bool
    """Whether the checksum is that of a bundled file."""


def list_weights() -> list[WeightsFile]:
    """The weights that come with hsfuse."""
    return bundled_weights()


def show_weights(source: str) -> WeightsFile:
    """What a weights file says of itself; `source` is a path or a bundled name.

    Raises:
        WeightsError: It cannot be read.
    """
    return find_weights(source)


def verify_weights(source: str) -> Verification:
    """Load a weights file, and hold its checksum against the list of bundled ones.

    Raises:
        WeightsError: It cannot be read, its tensors do not fit or are not finite, or it carries a bundled file's
            name with another content.
    """
    file = find_weights(source)
    network = file.network()
    bad = [name for name, tensor in network.state_dict().items() if not torch.isfinite(tensor).all()]
    if bad:
        raise WeightsError(f"{file.path}: {', '.join(bad)} hold numbers that are not finite")
    checksum = file.checksum()
    listed = _listed().get(file.path.name)
    if listed is not None and listed != checksum and file.path.parent == bundled_folder():
        raise WeightsError(f"{file.path}: its checksum is {checksum[:12]}…, not {listed[:12]}…: install hsfuse again")
    parameters = sum(tensor.numel() for tensor in network.state_dict().values())
    return Verification(file, checksum, parameters, checksum == listed)


def _listed() -> dict[str, str]:
    """Name to checksum of the bundled files."""
    path = bundled_folder() / CHECKSUMS
    if not path.exists():
        return {}
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines() if line.strip())
    return {name.lstrip("*"): checksum for checksum, name in lines}
