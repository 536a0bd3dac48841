"""What a COG is made with: creation options, checked before any work is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rasterio

from hsfuse.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

BLOCK = 256
"""Edge of a tile in pixels."""

_WITH_PREDICTOR = ("DEFLATE", "LZW", "ZSTD")
_COMPRESSIONS = (*_WITH_PREDICTOR, "LERC", "LERC_DEFLATE", "LERC_ZSTD", "LZMA", "NONE")

# The overviews are made by the writer, on the temporary file.
_WITHOUT_EFFECT = ("OVERVIEWS", "RESAMPLING", "OVERVIEW_RESAMPLING", "INTERLEAVE")


_KNOWN = {
    "BIGTIFF", "BLOCKSIZE", "COMPRESS", "GEOTIFF_VERSION", "INTERLEAVE", "LEVEL", "MAX_Z_ERROR", "NUM_THREADS",
    "OVERVIEWS", "OVERVIEW_COMPRESS", "OVERVIEW_PREDICTOR", "OVERVIEW_RESAMPLING", "PREDICTOR", "RESAMPLING",
    "SPARSE_OK", "STATISTICS",
}  # fmt: skip


def checked_options(options: Mapping[str, str]) -> dict[str, str]:
    checked = {key.upper(): str(value) for key, value in options.items()}
    compression = checked.get("COMPRESS", "DEFLATE").upper()
    if compression not in _COMPRESSIONS:
        raise OutputError(f"COMPRESS={compression} cannot hold a cube: choose one of {', '.join(_COMPRESSIONS)}")
    unknown = sorted(set(checked) - _KNOWN)
    if unknown:
        raise OutputError(
            f"{unknown[0]} is no creation option of GDAL's COG driver: known are {', '.join(sorted(_KNOWN))}"
        )
    block = checked.get("BLOCKSIZE", str(BLOCK))
    if not block.isdecimal() or int(block) < 64 or int(block) % 16:
        raise OutputError(f"BLOCKSIZE={block} is no block's edge: give a multiple of 16 from 64 on")
    return checked


def copy_options(options: Mapping[str, str], dtype: np.dtype[Any]) -> dict[str, Any]:
    """Driver and creation options that turn the temporary file into a COG, the user's `options` before ours.

    From GDAL 3.11 on the COG driver interleaves by tile, so that one band or one pixel is read quickly.
    Before, it ignores INTERLEAVE and mixes all bands; there GTiff with copied overviews makes a valid COG and
    keeps bands apart.
    """
    given = {key: value for key, value in options.items() if key not in _WITHOUT_EFFECT}
    compression = given.get("COMPRESS", "DEFLATE").upper()
    if compression not in _WITH_PREDICTOR:
        given.pop("PREDICTOR", None)
    else:
        given.setdefault("PREDICTOR", "YES")
    # The bytes are the same with any number of threads.
    common = {"COMPRESS": compression, "BIGTIFF": "IF_SAFER", "NUM_THREADS": "ALL_CPUS"}
    if _gdal_version() >= (3, 11):
        return {
            "driver": "COG",
            "INTERLEAVE": "TILE",
            "BLOCKSIZE": BLOCK,
            "OVERVIEWS": "AUTO",
            **common,
            **given,
        }
    return {
        "driver": "GTiff", "COPY_SRC_OVERVIEWS": "YES", "TILED": "YES", "INTERLEAVE": "BAND",
        **common, **_in_words_of_gtiff(given, compression, dtype),
    }  # fmt: skip


def _in_words_of_gtiff(given: dict[str, str], compression: str, dtype: np.dtype[Any]) -> dict[str, Any]:
    options: dict[str, Any] = dict(given)
    options["BLOCKXSIZE"] = options["BLOCKYSIZE"] = options.pop("BLOCKSIZE", BLOCK)
    predictors = {"NO": 1, "STANDARD": 2, "FLOATING_POINT": 3, "YES": 3 if dtype.kind == "f" else 2}
    if "PREDICTOR" in options:
        options["PREDICTOR"] = predictors.get(options["PREDICTOR"].upper(), options["PREDICTOR"])
    if "LEVEL" in options:
        options["ZSTD_LEVEL" if compression.endswith("ZSTD") else "ZLEVEL"] = options.pop("LEVEL")
    return options


def _gdal_version() -> tuple[int, ...]:
    return tuple(int(part) for part in rasterio.__gdal_version__.split(".")[:2])
