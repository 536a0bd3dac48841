"""Which multispectral sensor took a scene, where its metadata or its name say so without doubt."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

from hsfuse.scenes.raster import tags_of

# What a metadata value says, with everything but letters and digits left out, and the sensor meant.
_BY_VALUE = (
    (r"sentinel2([abc])|s2([abc])", "sentinel-2{}"),
    (r"landsat0?([45789])(?:oli|etm|tm|olitirs)?", "landsat-{}"),
    (r"worldview0?([23])|wv0?([23])", "worldview-{}"),
    (r"geoeye0?1|ge01", "geoeye-1"),
    (r"quickbird0?2|qb02", "quickbird-2"),
    (r"spot([67])", "spot-{}"),
    (r"pleiades1([ab])|phr1([ab])", "pleiades-1{}"),
)

# Names that the agencies give to their products; sen2r's `S2A2A_` is Sentinel-2A, level 2A.
_BY_NAME = (
    (r"S2([ABC])(?:_|[12][AC]_)", "sentinel-2{}"),
    (r"L[COET]0?([45789])(?:_L\d|\d{13})", "landsat-{}"),
)

_KEYS = {
    "spacecraftname",
    "datatake1spacecraftname",
    "spacecraftid",
    "satelliteid",
    "satellite",
    "platform",
    "sensor",
}


def sensor_of(dataset: Any) -> str | None:
    """The sensor of an open rasterio dataset, such as `sentinel-2a`; None where nothing says."""
    domains = [None, *(name for name in dataset.tag_namespaces() if not name.startswith(("xml:", "json:")))]
    for domain in domains:
        for key, value in tags_of(dataset, 0, domain).items():
            last_part = re.sub(r"[^a-z0-9]", "", key.rsplit(".", 1)[-1].lower())
            if last_part in _KEYS and (sensor := _match(_BY_VALUE, re.sub(r"[^a-z0-9]", "", value.lower()), full=True)):
                return sensor
    return _match(_BY_NAME, PurePath(dataset.name).name, full=False)


def _match(table: tuple[tuple[str, str], ...], text: str, *, full: bool) -> str | None:
    for pattern, sensor in table:
        match = re.fullmatch(pattern, text) if full else re.match(pattern, text, re.IGNORECASE)
        if match:
            return sensor.format(next((group for group in match.groups() if group), "")).lower()
    return None
