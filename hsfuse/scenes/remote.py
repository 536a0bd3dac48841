"""Scenes that lie on a server: how GDAL is to ask for them, unless the user says otherwise."""

from __future__ import annotations

import os
import re
from typing import Any

from rasterio.env import getenv, hasenv

_WHOLE = (".tif", ".tiff", ".jp2")
_RETRIES = {
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
}
# Of a TIFF whose list of tiles cannot be fetched when a tile is asked for, GDAL gives zeros without a word; where the
# list is read on opening, GDAL refuses the file.
_WHOLE_DIRECTORY = {"GTIFF_USE_DEFER_STRILE_LOADING": "NO"}
# The threads that decode a JPEG 2000 keep their errors to themselves: zeros where the file is cut off or not fetched.
_LOUD = {"GDAL_NUM_THREADS": "1"}
_SYSTEMS = ("curl", "s3", "gs", "az", "adls", "oss", "swift", "webhdfs")
_REMOTE = re.compile(rf"(?:https?|ftp|s3|gs|az)://|(?:^|/)/vsi(?:{'|'.join(_SYSTEMS)})[/?]", re.IGNORECASE)
_NOT_CACHED = {"CPL_VSIL_CURL_NON_CACHED": ":".join(f"/vsi{system}/" for system in _SYSTEMS)}
_HONEST_DRIVERS = {"GTiff", "JP2OpenJPEG"}
_NO_SIDECARS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}


def is_remote(path: str) -> bool:
    """Whether GDAL asks a server for a path, also inside of an archive (`/vsizip//vsicurl/…`)."""
    return _REMOTE.search(path) is not None


def retries() -> dict[str, str]:
    """GDAL's options for servers that drop a connection or are busy: asked again, and not waited for without end."""
    return _unless_chosen(_RETRIES)


def no_sidecars(path: str) -> dict[str, str]:
    """GDAL's option to ask a server for a path alone, and not for some forty names of files that may lie beside it.

    Only for files that are whole by themselves: an ENVI image needs its header.
    """
    file = re.sub(r"(?<!^/vsicurl)[?#].*$", "", path.lower())  # what follows may be a signature
    return _unless_chosen(_NO_SIDECARS) if is_remote(path) and file.endswith(_WHOLE) else {}


def errors_that_are_told() -> dict[str, str]:
    """GDAL's options under which what cannot be fetched or decoded is an error, and not zeros.

    They overrule the user's: zeros would be taken for fill.
    """
    return _WHOLE_DIRECTORY | _LOUD


def nothing_kept() -> dict[str, str]:
    """GDAL's options for files to be fetched anew when they are opened the second time from now on."""
    return _NOT_CACHED


def may_be_silent(dataset: Any) -> bool:
    """Whether GDAL may give zeros for what a server does not send: so it does of ENVI and other raw images."""
    return dataset.driver not in _HONEST_DRIVERS and any(is_remote(str(file)) for file in dataset.files)


def chosen(option: str) -> bool:
    """Whether the user chose an option of GDAL, by the environment or by `--config`."""
    return option in os.environ or (hasenv() and option in getenv())


def _unless_chosen(options: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in options.items() if not chosen(name)}
