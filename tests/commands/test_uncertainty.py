"""`fuse` with `uncertainty`: a second COG on the same grid, and both appear or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from hsfuse.commands.fuse import fuse
from hsfuse.errors import OutputError, RequestError, WorkError
from hsfuse.scenes import cog

from .conftest import NODATA, as_nouns

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import KnownPair, MakePair


def run(pair: KnownPair, folder: Path, **choices: Any) -> Any:
    known: dict[str, Any] = {
        "model": "gsa", "srf": pair.imaging, "psf": pair.imaging, "uncertainty": folder / "sigma.tif",
    }  # fmt: skip
    return fuse(pair.hsi, pair.msi, folder / "out.tif", **as_nouns(known | choices))


def described(dataset: rasterio.DatasetReader, band: int) -> dict[str, str]:
    """What is said of a band beside its own statistics."""
    return {key: value for key, value in dataset.tags(band).items() if not key.startswith("STATISTICS_")}


def test_it_lies_where_the_output_lies_and_says_what_it_is(make_pair: MakePair, tmp_path: Path) -> None:
    pair = make_pair(hsi_hole=(slice(5, 7), slice(10, 13)), msi_hole=(slice(60, 61), slice(90, 92)))
    result = run(pair, tmp_path)
    assert result.uncertainty == tmp_path / "sigma.tif"
    assert cog_validate(result.uncertainty) == (True, [], [])
    with rasterio.open(result.output) as fused, rasterio.open(result.uncertainty) as found:
        assert (found.transform, found.crs, found.shape, found.count) == (
            fused.transform, fused.crs, fused.shape, fused.count,
        )  # fmt: skip
        assert (set(found.dtypes), set(found.scales), set(found.offsets)) == ({"float32"}, {1.0}, {0.0})
        assert np.isnan(found.nodata)
        for band in (1, 20):
            assert described(found, band) == described(fused, band)
            assert found.tags(band, ns="IMAGERY") == fused.tags(band, ns="IMAGERY")
        assert found.descriptions == fused.descriptions
        tags = found.tags()
        sigma, lost = found.read(), fused.read() == NODATA
    assert tags["HSFUSE_UNCERTAINTY"].startswith("standard deviation")
    assert "calibrated one Wald level down" in tags["HSFUSE_CALIBRATION"]
    assert (tags["HSFUSE_OF"], tags["HSFUSE_MODEL"]) == ("out.tif", "gsa")
    assert lost.any()
    np.testing.assert_array_equal(np.isnan(sigma), lost)
    assert (sigma[~lost] > 0).all()


def test_it_is_in_the_units_of_the_values(pair: KnownPair, tmp_path: Path) -> None:
    """The file's numbers are ten thousands; the errors and what is written are reflectances."""
    result = run(pair, tmp_path, model="bayes")
    with rasterio.open(result.output) as fused, rasterio.open(result.uncertainty) as found:
        values = fused.read() * np.array(fused.scales)[:, None, None] + np.array(fused.offsets)[:, None, None]
        off = np.abs(values - pair.truth) / found.read()
    assert 0.5 < (off <= 1).mean() < 0.9
    assert (off <= 2).mean() > 0.85


def test_a_pixel_that_differs_between_the_images_is_less_certain(make_pair: MakePair, tmp_path: Path) -> None:
    calm = run(make_pair(), tmp_path)
    with rasterio.open(calm.uncertainty) as found:
        before = found.read()
    whole = make_pair()
    with rasterio.open(whole.msi) as source:
        clouded = source.read()
    clouded[:, 45:75, 60:90] = 9000
    result = run(make_pair(msi={"numbers": clouded}), tmp_path, overwrite=True)
    with rasterio.open(result.uncertainty) as found:
        after = found.read()
    cloud = (slice(None), slice(51, 69), slice(66, 84))
    assert np.median(after[cloud]) > 5 * np.median(before[cloud])
    assert np.median(after[:, :30]) < 2 * np.median(before[:, :30])


def test_the_fused_image_is_the_same_with_it_and_without(pair: KnownPair, tmp_path: Path) -> None:
    choices = {"tile": 24, "overlap": 8}
    run(pair, tmp_path, **choices)
    once = (tmp_path / "out.tif").read_bytes()
    run(pair, tmp_path, uncertainty=None, overwrite=True, **choices)
    assert (tmp_path / "out.tif").read_bytes() == once


@pytest.mark.parametrize("name", ["out.tif", "./out.tif", "../{folder}/out.tif"])
def test_one_file_cannot_be_both(pair: KnownPair, tmp_path: Path, name: str) -> None:
    chosen = f"{tmp_path}/{name.format(folder=tmp_path.name)}"
    with pytest.raises(RequestError, match="give two names"):
        run(pair, tmp_path, uncertainty=chosen)
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("target", ["output", "uncertainty"])
@pytest.mark.parametrize("scene", ["hsi", "msi"])
def test_no_scene_is_written_over(pair: KnownPair, tmp_path: Path, target: str, scene: str) -> None:
    lost = getattr(pair, scene)
    before = lost.read_bytes()
    paths = {"output": tmp_path / "out.tif", "uncertainty": tmp_path / "sigma.tif"} | {target: lost}
    with pytest.raises(OutputError, match="is one of the scenes, which would be lost"):
        fuse(pair.hsi, [pair.msi], paths["output"], uncertainty=paths["uncertainty"], model="gsa", overwrite=True)
    assert lost.read_bytes() == before


def test_a_target_that_exists_is_refused_before_any_work(pair: KnownPair, tmp_path: Path) -> None:
    (tmp_path / "sigma.tif").write_text("old")
    with pytest.raises(OutputError, match=r"sigma\.tif exists"):
        run(pair, tmp_path)
    assert (tmp_path / "sigma.tif").read_text() == "old"
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("old", [None, "old"])
def test_both_appear_or_none(pair: KnownPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str | None) -> None:
    """The first COG is whole when the second fails: neither is given its name."""
    if old is not None:
        (tmp_path / "out.tif").write_text(old)
        (tmp_path / "sigma.tif").write_text(old)
    before = set(tmp_path.iterdir())
    check = cog._check_whole

    def fails(path: Path) -> None:
        check(path)
        if path.name == "sigma.tif":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(cog, "_check_whole", fails)
    with pytest.raises(WorkError, match=r"sigma\.tif could not be written"):
        run(pair, tmp_path, overwrite=True)
    assert set(tmp_path.iterdir()) == before
    if old is not None:
        assert (tmp_path / "out.tif").read_text() == (tmp_path / "sigma.tif").read_text() == old
