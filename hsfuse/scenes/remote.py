"""Scenes that lie on a server: how GDAL is to ask for them, unless the user says otherwise."""

from __future__ import annotations

import os
import re

from rasterio.env import getenv, hasenv

_REMOTE = re.compile(
    r"(?:https?|ftp|s3|gs|az)://|(?:^|/)/vsi(?:curl|s3|gs|az|adls|oss|swift|webhdfs)[/?]", re.IGNORECASE
)
_WHOLE = (".tif", ".tiff", ".jp2")
_RETRIES = {
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
}
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
    return _unless_chosen(_NO_SIDECARS) if is_remote(path) and path.lower().endswith(_WHOLE) else {}


def chosen(option: str) -> bool:
    """Whether the user chose an option of GDAL, by the environment or by `--config`."""
    return option in os.environ or (hasenv() and option in getenv())


def _unless_chosen(options: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in options.items() if not chosen(name)}
