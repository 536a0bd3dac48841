"""What a training is asked for: what a checkpoint goes on with, and what finished weights were made for."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsfuse.errors import WeightsError
from hsfuse.models.weights import open_weights
from hsfuse.pairs.pair import Pair
from hsfuse.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsfuse.fusion.compute import Compute
    from hsfuse.models.weights import WeightsFile
    from hsfuse.pairs.pair import PairRequest
    from hsfuse.training.start import NetworkRequest, TrainingPlan


@dataclass(frozen=True)
class TrainingRequest:
    """Everything that the weights of a training depend on."""

    pairs: Sequence[Pair | PairRequest]
    """To be trained on."""

    network: NetworkRequest
    """Which, and from where."""

    plan: TrainingPlan
    """How long, how fast and on what patches."""

    compute: Compute
    """Of which the precision counts."""

    data_licence: str = ""
    """On what terms the scenes may be used."""

    @property
    def checkpoint_key(self) -> str:
        """What a checkpoint must have been made for."""
        content = {
            "pairs": self._told_pairs,
            "network": asdict(self.network),
            "plan": asdict(replace(self.plan, seconds=None)),  # a longer time goes on from where a shorter one ended
            "precision": self.compute.precision,
        }
        return json.dumps(content)

    def checksum(self) -> str:
        """What finished weights must have been made for, the same wherever the files lie.

        A file counts by its name and what is in it, a folder by the names and sizes of its files, anything else, also
        what is on a server, by its text.
        """
        network = asdict(self.network)
        content = {
            "version": __version__,
            "inputs": _told([self._told_pairs, network.pop("init")]),
            "network": network,
            "plan": asdict(self.plan),
            "precision": self.compute.precision,
            "licence": self.data_licence,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    def finished(self, output: Path) -> WeightsFile | None:
        """The weights at a path, if a training of this request ended with them."""
        try:
            found = open_weights(output)
        except WeightsError:
            return None
        return found if found.card.request and found.card.request == self.checksum() else None

    @property
    def _told_pairs(self) -> list[dict[str, Any]]:
        return [asdict(pair.request if isinstance(pair, Pair) else pair) for pair in self.pairs]


def _told(value: object) -> object:
    """The same with the content of files in place of their names."""
    if isinstance(value, dict):
        return {name: _told(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_told(part) for part in value]
    if not isinstance(value, (str, os.PathLike)):
        return value
    text = os.fspath(value)
    found = _content(text)
    # A list may name the files of single bands.
    return [_content(part.strip()) for part in text.split(",")] if found == text else found


def _content(name: str) -> object:
    path = Path(name)
    try:
        if path.is_dir():
            files = [file for file in path.rglob("*") if file.is_file()]
            return {path.name: sorted((str(file.relative_to(path)), file.stat().st_size) for file in files)}
        if path.is_file():
            with path.open("rb") as file:
                return {path.name: hashlib.file_digest(file, "sha256").hexdigest()}
    except (OSError, ValueError):  # ValueError: no file can have such a name
        pass
    return name
