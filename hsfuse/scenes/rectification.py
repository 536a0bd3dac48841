"""Rasters that say by points or by a camera model where they lie, and so have no grid yet."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.crs import CRS

from hsfuse.errors import SceneError
from hsfuse.scenes.raster import tags_of

if TYPE_CHECKING:
    from collections.abc import Iterable

# Fewer points than these do not carry a thin plate spline: a plane is laid through them.
_ENOUGH_FOR_SPLINE = 10


def require_grid(dataset: Any) -> None:
    """Refuse a raster without a grid of which something else says where it lies, with the command that rectifies it.

    It is not done in passing: which spline, which terrain and which pixel size are the user's to choose, and the
    spectra are resampled.

    Raises:
        SceneError: It has ground control points, rational polynomials or geolocation arrays, and no geotransform.
    """
    if not dataset.transform.is_identity:
        return
    points, crs = dataset.gcps
    if points:
        way = ["-tps"] if len(points) >= _ENOUGH_FOR_SPLINE else ["-order", "1"]
        target = crs if crs and not crs.is_geographic else _utm((point.x, point.y) for point in points)
        raise _refusal(dataset, "ground control points (GCPs)", way, target)
    if dataset.rpcs:
        place = (float(dataset.rpcs.long_off), float(dataset.rpcs.lat_off))
        about = "; -to RPC_DEM=dem.tif besides takes the terrain into account"
        raise _refusal(dataset, "rational polynomials (RPCs)", ["-rpc"], _utm([place]), about)
    if "X_DATASET" in tags_of(dataset, 0, "GEOLOCATION"):
        raise _refusal(dataset, "geolocation arrays", ["-geoloc"], CRS.from_epsg(4326))


def _refusal(dataset: Any, kind: str, way: list[str], target: CRS, about: str = "") -> SceneError:
    source = str(dataset.name)
    # A subdataset's name (NETCDF:"file":variable) and a /vsi path are no names for a new file.
    stem = Path(source.split('"')[1] if '"' in source else source.rpartition(":")[2]).stem
    command = ["gdalwarp", *way, "-t_srs", target.to_string(), "-r", "cubic", source, f"{stem}-rectified.tif"]
    return SceneError(
        f"{source}: only {kind} say where it lies, and its pixels form no grid: rectify it first "
        f"({shlex.join(command)}){about}"
    )


def _utm(places: Iterable[tuple[float, float]]) -> CRS:
    """The UTM zone of longitudes and latitudes; polar places lie in the stereographic one of their pole."""
    longitude, latitude = np.mean(list(places), axis=0).tolist()
    if abs(latitude) > 84:
        return CRS.from_epsg(3413 if latitude > 0 else 3031)
    zone = int((longitude + 180) % 360 // 6) + 1
    return CRS.from_epsg((32600 if latitude >= 0 else 32700) + zone)
