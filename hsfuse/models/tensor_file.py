"""Safetensors files with a JSON header of hsfuse: a hostile one is found out before it costs time or memory."""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from hsfuse.errors import WorkError
from hsfuse.files import check_target, move_into_place, shown, temporary_folder

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from torch import Tensor

_KEY = "hsfuse"
_FOREIGN = "is a safetensors file, but not one of hsfuse"
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")

_MOST_HEADER_BYTES = 2**24
_MOST_TENSORS = 10_000
"""A training of the largest network has a fifth of them, and a tenth of these bytes."""


class TensorFileError(ValueError):
    """What a file is instead; a clause that follows on its name."""


@dataclass(frozen=True)
class TensorFile:
    """What is known of a file without reading its tensors."""

    path: Path
    """Where it is."""

    content: dict[str, Any]
    """The JSON object of hsfuse."""

    shapes: dict[str, tuple[int, ...]]
    """Of every tensor, by its name."""

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> TensorFile:
        """Read the header.

        Raises:
            OSError: The file is missing or cannot be read.
            TensorFileError: It is no such file.
        """
        path = Path(path)
        _check_start(path)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except SafetensorError as error:
            raise TensorFileError(f"is not a safetensors file ({error})") from error
        if len(shapes) > _MOST_TENSORS:
            raise TensorFileError(f"has {len(shapes)} tensors, more than the {_MOST_TENSORS} that one may have")
        if _KEY not in metadata:
            raise TensorFileError(f"{_FOREIGN} (its header is missing)")
        return cls(path, _parsed(metadata[_KEY]), shapes)

    def tensors(self) -> dict[str, Tensor]:
        """All of them.

        Raises:
            TensorFileError: The file breaks off, or holds numbers of a type that torch does not know.
        """
        try:
            with safe_open(self.path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in self.shapes}
        except (SafetensorError, OSError, AttributeError, KeyError, RuntimeError) as error:
            raise TensorFileError(f"has tensors that cannot be read ({error})") from error


def write_tensor_file(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> None:
    """Write tensors and a JSON object, whole or not at all; a file that is there is replaced.

    Raises:
        OutputError: It cannot be written there.
        WorkError: The disk is full or fails.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    target = check_target(path, overwrite=True)
    folder = temporary_folder(target)  # safetensors makes a temporary file of its own beside what it is told to write
    try:
        finished = folder / "tensors"
        finished.touch()
        mode = stat.S_IMODE(finished.stat().st_mode)
        save_file(contiguous, finished, metadata={_KEY: json.dumps(content)})
        finished.chmod(mode)  # as the umask says, where safetensors lets only the owner read
        move_into_place(finished, target, overwrite=True)
    except (OSError, SafetensorError) as error:
        raise WorkError(f"{shown(path)}: cannot be written ({error}): nothing was kept") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_start(path: Path) -> None:
    """Look at the kind of file and at its first bytes, before a library does."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise TensorFileError(f"is {'a folder' if stat.S_ISDIR(mode) else 'a device or pipe'}, not a file")
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(_PICKLE_STARTS) and int.from_bytes(start, "little") > _MOST_HEADER_BYTES:
        raise TensorFileError(
            "is a pickle, as torch.save writes it; hsfuse never unpickles, since that can run any code: "
            "give it a .safetensors file that hsfuse wrote"
        )
    length = int.from_bytes(start, "little")
    if len(start) == 8 and _MOST_HEADER_BYTES < length < path.stat().st_size:
        raise TensorFileError(
            f"has a header of {length / 2**20:.0f} MB, more than the {_MOST_HEADER_BYTES >> 20} MB that one may have"
        )


def _parsed(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise TensorFileError(f"{_FOREIGN} (its header is no JSON: {error})") from error
    except RecursionError as error:
        raise TensorFileError(f"{_FOREIGN} (its header is nested too deeply)") from error
    if not isinstance(content, dict):
        raise TensorFileError(f"{_FOREIGN} (its header is no JSON object)")
    return content


def shown_value(value: object) -> str:
    """A value of a header, short enough for a sentence."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
