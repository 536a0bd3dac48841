"""A STAC item that tells catalogues what a fused COG is: where it lies, when it was taken, and each of its bands.

STAC 1.1 (https://github.com/radiantearth/stac-spec) with the extensions projection 2.0, eo 2.0, raster 2.0 and
processing 1.2: common fields such as `bands`, `data_type` and `nodata` are the specification's own.
"""

from __future__ import annotations

import json
import math
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.warp import transform as transform_points

from hsfuse.errors import RequestError
from hsfuse.scenes.extent import GeographicExtent
from hsfuse.scenes.grid import Grid
from hsfuse.scenes.raster import open_dataset
from hsfuse.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("projection/v2.0.0", "eo/v2.0.0", "raster/v2.0.0", "processing/v1.2.0")
)
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_COLOURS = {ColorInterp.red: "red", ColorInterp.green: "green", ColorInterp.blue: "blue"}
_TAKEN = ("acquisitiondatetime", "acquisitiontime", "acquisitiondate", "dateacquired", "sensingtime", "datetime")
"""Keys of metadata, in lower case and without what stands between their words, that say when a scene was taken."""


def when_taken(tags: Mapping[str, str], name: str) -> datetime | None:
    """When a scene was taken: what its metadata say, or the time in the name of a product.

    Args:
        tags: Of the scene.
        name: Of its file, such as `PRS_L2D_STD_20200725103122_20200725103126_0001.he5`.

    Returns:
        In UTC; None where neither says so.
    """
    for key, value in tags.items():
        if re.sub(r"[^a-z]", "", key.lower()) in _TAKEN:
            try:
                found = datetime.fromisoformat(value.strip())
            except ValueError:
                continue
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    for date, time in re.findall(r"(?<!\d)((?:19|20)\d{6})[T_]?(\d{6})(?!\d)", name):
        try:
            return datetime.strptime(date + time, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def require_place(grid: Grid) -> None:
    """Refuse a grid that no catalogue could show.

    Raises:
        RequestError: It has no CRS, or one that does not lead to longitudes and latitudes.
    """
    if GeographicExtent.of(grid) is None:
        raise RequestError("a STAC item says where an image lies, and these scenes have no CRS: leave out `stac`")


def write_item(path: Path, beside: Path, assets: Mapping[str, Path], taken: datetime | None) -> None:
    """Write an item of files that lie on one grid.

    Args:
        path: What to write.
        beside: The name that it will have: assets are told relative to its folder.
        assets: Finished COGs by their key, the first of which gives place and id.
        taken: When the scene was taken; None tells the time of writing, since an item must have one.
    """
    now = datetime.now(UTC)
    grid = None
    told: dict[str, Any] = {}
    for key, file in assets.items():
        with open_dataset(file) as dataset:
            grid = grid or Grid.of_dataset(dataset)
            told[key] = _asset(dataset, os.path.relpath(file, beside.parent), key)
            model = dataset.tags().get("HSFUSE_MODEL")
    assert grid is not None
    extent = GeographicExtent.of(grid)
    assert extent is not None
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": next(iter(assets.values())).stem,
        "geometry": {"type": "Polygon", "coordinates": [_outline(grid)]},
        "bbox": [extent.west, extent.south, extent.east, extent.north],
        "properties": {
            "datetime": _stamp(taken or now),
            "created": _stamp(now),
            "gsd": round(max(grid.pixel_metres()), 3),
            **_projection(grid),
            "processing:software": {"hsfuse": __version__},
            "processing:lineage": f"hyperspectral and multispectral scene fused by hsfuse, model {model}",
        },
        "links": [],
        "assets": told,
    }
    path.write_text(json.dumps(item, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def _stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _projection(grid: Grid) -> dict[str, Any]:
    epsg = None if grid.crs is None else grid.crs.to_epsg()
    place = {"proj:code": f"EPSG:{epsg}"} if epsg else {"proj:code": None, "proj:wkt2": str(grid.crs)}
    return {**place, "proj:shape": [grid.height, grid.width], "proj:transform": list(grid.transform)[:6]}


def _outline(grid: Grid) -> list[list[float]]:
    """Longitudes and latitudes of the corners, counterclockwise where north is up, closed."""
    width, height = grid.width, grid.height
    corners = [grid.transform @ corner for corner in ((0, 0), (0, height), (width, height), (width, 0), (0, 0))]
    xs, ys = zip(*corners, strict=True)
    longitudes, latitudes = transform_points(grid.crs, "EPSG:4326", xs, ys)
    return [[longitude, latitude] for longitude, latitude in zip(longitudes, latitudes, strict=True)]


def _asset(dataset: Any, href: str, key: str) -> dict[str, Any]:
    nodata = dataset.nodata
    asset: dict[str, Any] = {"href": Path(href).as_posix(), "type": _COG, "roles": ["data"]}
    if key == "uncertainty":
        asset |= {"title": "standard deviation of each value", "roles": ["uncertainty"]}
    if nodata is not None:
        asset["nodata"] = nodata if math.isfinite(nodata) else str(nodata)
    asset["data_type"] = np.dtype(dataset.dtypes[0]).name
    asset["bands"] = [_band(dataset, band) for band in dataset.indexes]
    return asset


def _band(dataset: Any, band: int) -> dict[str, Any]:
    tags, colour = dataset.tags(band), dataset.colorinterp[band - 1]
    told: dict[str, Any] = {"name": dataset.descriptions[band - 1] or f"band {band}"}
    for name, key in (("eo:center_wavelength", "wavelength"), ("eo:full_width_half_max", "fwhm")):
        if key in tags:
            told[name] = round(float(tags[key]) / 1000, 6)  # nm to µm
    if colour in _COLOURS:
        told["eo:common_name"] = _COLOURS[colour]
    scale, offset = dataset.scales[band - 1], dataset.offsets[band - 1]
    return told if (scale, offset) == (1, 0) else told | {"raster:scale": scale, "raster:offset": offset}
