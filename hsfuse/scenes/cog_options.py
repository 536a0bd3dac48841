"""What a COG is made with: creation options, checked before any work is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hsfuse.errors import OutputError
from hsfuse.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

BLOCK = 256
"""Edge of a tile in pixels."""

_WITH_PREDICTOR = ("DEFLATE", "LZW", "ZSTD")
_COMPRESSIONS = (*_WITH_PREDICTOR, "LERC", "LERC_DEFLATE", "LERC_ZSTD", "LZMA", "NONE")

# The writer makes the overviews, and lays out the file.
_WITHOUT_EFFECT = {"OVERVIEWS", "RESAMPLING", "OVERVIEW_RESAMPLING", "INTERLEAVE"}
_OF_THE_WHOLE = {"BIGTIFF", "STATISTICS", "SPARSE_OK"}

# Noise does not pack: level 6 takes twice the time of level 1 for files that are not smaller (examples/benchmarks).
_LEVEL = "1"


_KNOWN = {
    "BIGTIFF", "BLOCKSIZE", "COMPRESS", "GEOTIFF_VERSION", "INTERLEAVE", "LEVEL", "MAX_Z_ERROR", "NUM_THREADS",
    "OVERVIEWS", "OVERVIEW_COMPRESS", "OVERVIEW_PREDICTOR", "OVERVIEW_RESAMPLING", "PREDICTOR", "RESAMPLING",
    "SPARSE_OK", "STATISTICS",
}  # fmt: skip


def checked_options(options: Mapping[str, str]) -> dict[str, str]:
    checked = {key.upper(): str(value) for key, value in options.items()}
    compression = checked.get("COMPRESS", "DEFLATE").upper()
    if compression not in _COMPRESSIONS:
        near = did_you_mean(compression, _COMPRESSIONS)
        raise OutputError(f"COMPRESS={compression}{near} cannot hold a cube: choose one of {', '.join(_COMPRESSIONS)}")
    unknown = sorted(set(checked) - _KNOWN)
    if unknown:
        raise OutputError(
            f"{unknown[0]} is no creation option of GDAL's COG driver{did_you_mean(unknown[0], _KNOWN)}: known are "
            f"{', '.join(sorted(_KNOWN))}"
        )
    block = checked.get("BLOCKSIZE", str(BLOCK))
    if not block.isdecimal() or int(block) < 64 or int(block) % 16:
        raise OutputError(f"BLOCKSIZE={block} is no block's edge: give a multiple of 16 from 64 on")
    return checked


def raster_options(options: Mapping[str, str], dtype: np.dtype[Any], *, overview: bool = False) -> dict[str, Any]:
    """Creation options of the GTiff driver for a file whose blocks become those of a COG, the user's before ours.

    Args:
        options: Checked ones of the COG driver.
        dtype: Of the numbers.
        overview: Whether they are an overview's blocks.
    """
    given = {key: value for key, value in options.items() if key not in _WITHOUT_EFFECT | _OF_THE_WHOLE}
    if overview:
        given |= {name: given[f"OVERVIEW_{name}"] for name in ("COMPRESS", "PREDICTOR") if f"OVERVIEW_{name}" in given}
    given = {key: value for key, value in given.items() if not key.startswith("OVERVIEW_")}
    compression = given.pop("COMPRESS", "DEFLATE").upper()
    if compression in _WITH_PREDICTOR:
        predictor = given.get("PREDICTOR", "YES").upper()
        given["PREDICTOR"] = {"NO": "1", "STANDARD": "2", "FLOATING_POINT": "3"}.get(
            predictor, ("3" if dtype.kind == "f" else "2") if predictor == "YES" else predictor
        )
    else:
        given.pop("PREDICTOR", None)
    level = given.pop("LEVEL", _LEVEL if compression == "DEFLATE" else None)
    if level is not None:
        given["ZSTD_LEVEL" if compression.endswith("ZSTD") else "ZLEVEL"] = level
    block = given.pop("BLOCKSIZE", str(BLOCK))
    # The bytes are the same with any number of threads.
    return {
        "COMPRESS": compression, "NUM_THREADS": "ALL_CPUS", "BIGTIFF": "IF_SAFER", "ENDIANNESS": "LITTLE",
        "blockxsize": int(block), "blockysize": int(block),
    } | given  # fmt: skip


def block_edge(options: Mapping[str, str]) -> int:
    """Edge of a tile in pixels."""
    return int(options.get("BLOCKSIZE", BLOCK))
