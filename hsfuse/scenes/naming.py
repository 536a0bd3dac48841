"""What a user calls a scene: a file, a list of files, a part of one, or a place of GDAL's own."""

from __future__ import annotations

import re
from pathlib import Path

_ELSEWHERE = re.compile(r"/vsi|\w+://", re.IGNORECASE)
_PART = re.compile(r'(?P<before>(?:netcdf|hdf5):"?)(?P<file>[^":]+)(?P<after>.*)', re.IGNORECASE)


def seen_from(folder: Path, source: str) -> str:
    """A scene's name that was written down in some folder, as it has to be called from here.

    Args:
        folder: Where relative names begin.
        source: As `Scene.open` takes it: also a list with commas, a pattern, `X.SAFE:20m`, `netcdf:FILE:VARIABLE`. An
            absolute one, one of `/vsi…` and a URL stay as they are.
    """
    if _ELSEWHERE.match(source):
        return source
    if part := _PART.fullmatch(source):
        return f"{part['before']}{folder / part['file']}{part['after']}"
    whole = folder / source
    listed = [name.strip() for name in source.split(",")]
    if len(listed) > 1 and not whole.exists() and all((folder / name).exists() for name in listed):
        return ",".join(str(folder / name) for name in listed)
    return str(whole)


def short_name(source: str) -> str:
    """A scene's name without its folder, its suffix and what chooses a part of it: of a list, the first one's."""
    part = _PART.fullmatch(source)
    name = Path(source.split(",", 1)[0].strip() if part is None else part["file"]).name
    return re.sub(r'[*?"<>|]', "_", Path(name.split(":", 1)[0]).stem.removesuffix(".tar"))
