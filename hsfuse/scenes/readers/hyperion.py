"""EO-1 Hyperion L1T: 242 GeoTIFFs of one band each; L1R, in HDF 4, is refused.

Layout and numbers: Barry, EO-1/Hyperion Science Data User's Guide (TRW, 2001). The centres are evenly spaced
within each spectrometer to 0.1 nm; radiance in W/(m² sr µm) = DN / 40 in the VNIR and DN / 80 in the SWIR.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hsfuse.errors import SceneError
from hsfuse.scenes.readers.product import BandRecord, Product
from hsfuse.scenes.readers.virtual import VirtualBand, VirtualRaster, look_at

if TYPE_CHECKING:
    from hsfuse.scenes.readers.files import ProductFiles

_FILE = r"EO1H\w+_B(\d{3})_L1\w+\.tiff?"
_LAST_VNIR = 70
_LAST = 242

# Seen by both spectrometers; VNIR's 56 and 57 are kept.
_DOUBLE = (77, 78)


def read(files: ProductFiles) -> Product | None:
    """A folder of Hyperion's bands; None where the files are none.

    Raises:
        SceneError: Bands of several scenes.
    """
    found = {name: int(match[1]) for name in files.rasters if (match := re.search(_FILE, name, re.IGNORECASE))}
    if not found:
        return None
    if len(set(found.values())) < len(found) or max(found.values()) > _LAST:
        raise SceneError(f"{files.root}: there are several Hyperion scenes: name the folder of one")
    bands = tuple(
        VirtualBand(look_at(files.paths[name], f"{files.root}: {name}"), 0, _record(number))
        for name, number in sorted(found.items(), key=lambda item: item[1])
    )
    missing = _LAST - len(bands)
    warnings = (f"{missing} of Hyperion's {_LAST} bands are missing in {files.root}",) if missing else ()
    return Product(VirtualRaster(files.root, bands, {"SENSOR": "Hyperion"}), warnings=warnings)


def wavelength_nm(band: int) -> float:
    """Centre of a 1-based band."""
    if band <= _LAST_VNIR:
        return 426.82 + (band - 8) * (925.41 - 426.82) / 49
    return 851.92 + (band - 71) * (2577.08 - 851.92) / 171


def _record(band: int) -> BandRecord:
    # Bands that are not calibrated (1 to 7, 58 to 76, 225 to 242) hold zeros, which opening a scene finds out.
    return BandRecord(
        f"B{band:03d}", round(wavelength_nm(band), 2), good=band not in _DOUBLE,
        scale=1 / 40 if band <= _LAST_VNIR else 1 / 80, nodata=0,
    )  # fmt: skip


def is_hdf4(head: bytes) -> bool:
    """Whether a file begins as HDF 4 does, which L1R comes in."""
    return head.startswith(b"\x0e\x03\x13\x01")
