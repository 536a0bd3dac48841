"""A picture of a scene: its bands, its stretch, its holes, its size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hsfuse.commands.quicklook import quicklook
from hsfuse.errors import RequestError
from hsfuse.scenes.raster import open_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteRaster
    from numpy.typing import NDArray

NM = ["450", "490", "560", "660", "850", "2200"]


def scene(write_raster: WriteRaster, edge: int = 20) -> Path:
    cube = np.random.default_rng(0).integers(100, 4000, (6, edge, edge)).astype(np.int16)
    cube[:, :4, :5] = -1
    return write_raster("scene.tif", cube, nodata=-1, band_tags=[{"wavelength": nm} for nm in NM])


def pixels(path: Path) -> NDArray[np.uint8]:
    with open_dataset(path) as dataset:
        numbers: NDArray[np.uint8] = dataset.read()
    return numbers


def test_natural_colours_with_holes_transparent(write_raster: WriteRaster, tmp_path: Path) -> None:
    path = scene(write_raster)
    made = quicklook(path, tmp_path / "q.png")
    assert (made.bands, made.wavelength_nm, made.factor) == ((4, 3, 2), (660, 560, 490), 1)
    picture = pixels(tmp_path / "q.png")
    assert picture.shape == (4, 20, 20)
    assert (picture[3, :4, :5] == 0).all()
    assert (picture[3] == 255).sum() == 400 - 20
    with open_dataset(path) as dataset:
        red = dataset.read(4).astype(float)
    seen = red[red >= 0]
    low, high = np.percentile(seen, (2, 98))
    expected = np.rint(255 * np.clip((seen - low) / (high - low), 0, 1))
    np.testing.assert_allclose(picture[0][red >= 0], expected, atol=1)


def test_other_bands(write_raster: WriteRaster, tmp_path: Path) -> None:
    path = scene(write_raster)
    assert quicklook(path, tmp_path / "a.png", swir=True).bands == (6, 5, 4)
    assert quicklook(path, tmp_path / "b.png", bands="1,5,2").bands == (1, 5, 2)
    assert quicklook(path, tmp_path / "c.png", bands="5").bands == (5,)
    assert pixels(tmp_path / "c.png").shape == (2, 20, 20)


def test_a_large_scene_is_averaged(write_raster: WriteRaster, tmp_path: Path) -> None:
    cube = np.full((1, 60, 90), 0.2, np.float32)
    cube[0, :, 45:] = 1.0
    cube[0, 7, 45] = np.nan
    made = quicklook(write_raster("a.tif", cube), tmp_path / "q.png", size=30)
    assert (made.width, made.height, made.factor) == (30, 20, 3)
    picture = pixels(tmp_path / "q.png")
    assert (picture[0, :, :15] == 0).all()
    assert (picture[0, :, 15:] == 255).all()
    assert (picture[1] == 255).all()  # one missing pixel of nine leaves no hole


def test_without_wavelengths_it_says_what_it_drew(write_raster: WriteRaster, tmp_path: Path) -> None:
    cube = np.random.default_rng(0).random((4, 9, 9)).astype(np.float32)
    made = quicklook(write_raster("a.tif", cube), tmp_path / "q.png")
    assert made.bands == (3, 2, 1)
    assert "bands 3,2,1 were drawn" in made.warnings[0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"bands": "1,2"}, "are 2 bands: name three"),
        ({"bands": "1,2,9"}, "bands 1 to 6"),
        ({"bands": "1,2,3", "swir": True}, "leave one out"),
    ],
)
def test_bands_that_make_no_picture(
    write_raster: WriteRaster, tmp_path: Path, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence):
        quicklook(scene(write_raster), tmp_path / "q.png", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "q.png").exists()


def test_targets(write_raster: WriteRaster, tmp_path: Path) -> None:
    path = scene(write_raster)
    with pytest.raises(RequestError, match=r"ends in \.png"):
        quicklook(path, tmp_path / "q.jpg")
    quicklook(path, tmp_path / "q.png")
    with pytest.raises(RequestError, match="overwrite"):
        quicklook(path, tmp_path / "q.png")
    quicklook(path, tmp_path / "q.png", bands="1", overwrite=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["q.png", "scene.tif"]
