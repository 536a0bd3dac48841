"""HDF5 files (netCDF 4 among them): opening them and looking into them, with sentences for what is missing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from hsfuse.errors import SceneError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

HDF5_ERRORS = (OSError, KeyError, ValueError, TypeError, RuntimeError, IndexError, AttributeError)
"""What h5py raises about a file that is damaged or not of the structure that was expected."""


@contextlib.contextmanager
def opened(path: str) -> Iterator[h5py.File]:
    """An HDF5 file; what goes wrong inside the block is one sentence about the file.

    Raises:
        SceneError: The file, or something that was expected in it, cannot be read.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except HDF5_ERRORS as error:
        reason = " ".join(str(error).split()).strip("'\"")
        raise SceneError(
            f"{path}: this HDF5 file cannot be read ({reason}): it is damaged, cut off or of another version"
        ) from error


def variable(file: h5py.File, name: str) -> h5py.Dataset:
    """A variable that the product must have.

    Raises:
        SceneError: It is missing.
    """
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise SceneError(f"{file.filename}: the product lacks {name}: it is damaged or of a version not known here")
    return found


def attribute(file: h5py.File, name: str) -> Any:
    """An attribute of the file that the product must have.

    Raises:
        SceneError: It is missing.
    """
    if name not in file.attrs:
        raise SceneError(f"{file.filename}: the product lacks the attribute {name}: it is damaged or not complete")
    return plain(file.attrs[name])


def plain(value: Any) -> Any:
    """A value as h5py gives it, out of its array of one and its bytes."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value


def number(value: Any) -> float | None:
    """A finite number, also out of an array of one or a text; None for anything else."""
    try:
        found = float(plain(value))
    except (TypeError, ValueError):
        return None
    return found if np.isfinite(found) else None


def numbers(value: Any) -> NDArray[np.float64]:
    """A list of numbers out of an array or a text with blanks or commas between them."""
    value = plain(value)
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    return np.atleast_1d(np.asarray(value, np.float64)).reshape(-1)


def arrays(file: h5py.File, least_axes: int = 3) -> list[h5py.Dataset]:
    """The numeric variables with at least so many axes longer than 1, largest first."""
    found: list[h5py.Dataset] = []

    def visit(_: str, item: object) -> None:
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "iuf":
            return
        if sum(length > 1 for length in item.shape) >= least_axes:
            found.append(item)

    file.visititems(visit)
    return sorted(found, key=lambda item: -item.size)


def contents(file: h5py.File) -> str:
    """The largest variables with their shapes, for a message."""
    listed = [f"{item.name} ({', '.join(map(str, item.shape))})" for item in arrays(file, 1)[:5]]
    return "; ".join(listed) or "no arrays of numbers"
