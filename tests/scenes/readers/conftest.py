"""Fixtures that write the products of `layouts.py` and `hdf5_layouts.py` into a test's folder."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from . import hdf5_layouts, layouts

if TYPE_CHECKING:
    from pathlib import Path

    from .layouts import Written


class Write(Protocol):
    """A fixture that writes a product, with options of its own."""

    def __call__(self, **options: Any) -> Written: ...


@pytest.fixture
def write_prisma(tmp_path: Path) -> Write:
    return partial(hdf5_layouts.write_prisma, tmp_path)


@pytest.fixture
def write_emit(tmp_path: Path) -> Write:
    return partial(hdf5_layouts.write_emit, tmp_path)


@pytest.fixture
def write_neon(tmp_path: Path) -> Write:
    return partial(hdf5_layouts.write_neon, tmp_path)


@pytest.fixture
def write_tanager(tmp_path: Path) -> Write:
    return partial(hdf5_layouts.write_tanager, tmp_path)


@pytest.fixture
def write_netcdf(tmp_path: Path) -> Write:
    return partial(hdf5_layouts.write_netcdf, tmp_path)


@pytest.fixture
def write_safe(tmp_path: Path) -> Write:
    return partial(layouts.write_safe, tmp_path)


@pytest.fixture
def write_landsat(tmp_path: Path) -> Write:
    return partial(layouts.write_landsat, tmp_path)


@pytest.fixture
def write_enmap(tmp_path: Path) -> Write:
    return partial(layouts.write_enmap, tmp_path)


@pytest.fixture
def write_desis(tmp_path: Path) -> Write:
    return partial(layouts.write_desis, tmp_path)


@pytest.fixture
def write_hyperion(tmp_path: Path) -> Write:
    return partial(layouts.write_hyperion, tmp_path)
