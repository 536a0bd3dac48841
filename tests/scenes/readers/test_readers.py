"""What holds for every product: its grid, bands, values and mask, by window, from any thread or process."""

from __future__ import annotations

import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hsfuse.errors import HsfuseError, RequestError, SceneError
from hsfuse.scenes import PixelWindow, Scene

from . import products
from .layouts import Content

if TYPE_CHECKING:
    from pathlib import Path

    from .layouts import Written
    from .products import Product

PRODUCTS = ("prisma", "emit", "neon", "tanager", "netcdf", "safe", "landsat", "enmap", "desis", "hyperion")


@pytest.fixture(params=PRODUCTS)
def written(request: pytest.FixtureRequest) -> Written:
    return request.getfixturevalue(f"write_{request.param}")()


def test_grid_bands_values_and_mask(written: Written) -> None:
    scene = Scene.open(written.path)
    assert scene.path == str(written.path)
    assert (scene.count, scene.grid.height, scene.grid.width) == written.values.shape
    np.testing.assert_allclose(tuple(scene.grid.transform), tuple(written.transform), atol=1e-9)
    assert scene.grid.crs is not None
    assert scene.grid.crs.to_epsg() == written.epsg
    assert scene.bands.wavelength_nm is not None
    np.testing.assert_allclose(scene.bands.wavelength_nm, written.wavelength_nm, atol=0.05)
    block = scene.read(scene.grid.window)
    np.testing.assert_array_equal(block.valid, written.valid)
    np.testing.assert_allclose(block.values[:, written.valid], written.values[:, written.valid], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("product", products.PRODUCTS, ids=lambda product: product.name)
def test_every_kind_that_the_readme_names(product: Product, tmp_path: Path) -> None:
    written = product.write(tmp_path, Content(72, 72, (430.0, 555.5, 800.0, 900.0, 990.0, 1400.0, 2200.0)))
    scene = Scene.open(written.path)
    assert scene.bands.wavelength_nm is not None
    np.testing.assert_allclose(scene.bands.wavelength_nm, written.wavelength_nm, atol=0.06)
    np.testing.assert_allclose(tuple(scene.grid.transform), tuple(written.transform), atol=1e-9)
    np.testing.assert_array_equal(scene.read(scene.grid.window).valid, written.valid)


@pytest.mark.parametrize("product", products.REFUSED, ids=lambda product: product.name)
def test_every_kind_that_is_to_be_ordered_otherwise(product: Product, tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"^[^\n]+(geometry of the sensor|not on a map|order)[^\n]+$"):
        Scene.open(product.write(tmp_path, Content()).path)


def test_windows_and_bands_in_any_order(written: Written) -> None:
    scene = Scene.open(written.path, quality=False)
    window, bands = PixelWindow(6, 7, 9, 11), [2, 0, 1]
    block = scene.read(window, bands)
    expected = written.values[bands, 7:18, 6:15]
    np.testing.assert_allclose(block.values[:, block.valid], expected[:, block.valid], rtol=1e-5, atol=1e-6)
    assert block.valid.sum() > 20
    with pytest.raises(RequestError, match="reaches over the"):
        scene.read(PixelWindow(1, 1, scene.grid.width, scene.grid.height))


def test_threads_and_copies_read_the_same(written: Written) -> None:
    scene = Scene.open(written.path)
    copy = pickle.loads(pickle.dumps(scene))  # noqa: S301 (our own bytes)
    windows = [PixelWindow(column, row, 5, 6) for column in (0, 5, 10) for row in (0, 6, 12)]
    whole = copy.read(copy.grid.window)
    with ThreadPoolExecutor(4) as pool:
        blocks = list(pool.map(scene.read, windows))
    for window, block in zip(windows, blocks, strict=True):
        np.testing.assert_array_equal(block.values, whole.values[:, window.rows, window.columns])
        np.testing.assert_array_equal(block.valid, whole.valid[window.rows, window.columns])


def test_damage_anywhere_is_one_sentence(written: Written) -> None:
    """Bytes changed at random in the file, or in the metadata of a folder; the seeds are fixed."""
    file = written.path
    if file.is_dir():
        metadata = [path for path in sorted(file.rglob("*")) if path.suffix.lower() in {".xml", ".txt"}]
        file = metadata[0] if metadata else next(file.iterdir())
    content = file.read_bytes()
    for seed in range(20):
        chance = random.Random(seed)  # noqa: S311 (no secrets)
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 3, 10))):
            damaged[chance.randrange(min(len(damaged), 6000))] = chance.randrange(256)
        file.write_bytes(damaged[: chance.randrange(len(damaged))] if seed % 5 == 0 else damaged)
        try:
            scene = Scene.open(written.path)
            scene.read(scene.grid.window)
        except HsfuseError as error:
            assert "\n" not in str(error)  # noqa: PT017 (most damage is harmless)
