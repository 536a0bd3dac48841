"""Which command made a result, and by which versions."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shlex
import sys
from pathlib import Path

from hsfuse.files import shown
from hsfuse.version import __version__

_LIBRARIES = ("torch", "numpy", "scipy", "rasterio", "numba", "bokeh")
_SECRET = re.compile(r"(secret|token|password|passwd|access_key|account_key|authorization|userpwd|sas)", re.IGNORECASE)
_SIGNED = re.compile(r"([?&](?:sig|signature|token|x-amz-[a-z-]+|key|access_token)=)[^&\s]+", re.IGNORECASE)
_LOGIN = re.compile(r"(://)[^/@\s]+@")


def command_line() -> str:
    """What this process was started with, as a shell would take it; passwords and signatures of it are left out."""
    program = Path(sys.argv[0])
    own = program.stem in {"hsfuse", "__main__"}
    words = ["hsfuse" if own else f"python {shlex.quote(shown(program))}"]
    return " ".join([*words, *(shlex.quote(_harmless(shown(word))) for word in sys.argv[1:])])


def _harmless(word: str) -> str:
    """A word of a command line as anybody may read it."""
    name, sign, value = word.partition("=")
    if sign and value and _SECRET.search(name) and "://" not in name:
        return f"{name}=…"
    return _LOGIN.sub(r"\1…@", _SIGNED.sub(r"\1…", word))


def versions() -> dict[str, str]:
    """Of hsfuse, Python, GDAL and the libraries that compute, by name."""
    found = {"hsfuse": __version__, "Python": platform.python_version(), "system": platform.platform(terse=True)}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "rasterio" in sys.modules:
        found["GDAL"] = sys.modules["rasterio"].__gdal_version__
    return found
