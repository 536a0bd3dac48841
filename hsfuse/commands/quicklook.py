"""`hsfuse quicklook`: a picture of a scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hsfuse.errors import OutputError, RequestError
from hsfuse.files import check_target, written_whole
from hsfuse.report.quicklook import stretched, write_png
from hsfuse.scenes import Scene, parse_band_list
from hsfuse.scenes.composite import NATURAL_NM, SWIR_NM, guessed_bands, nearest_bands, read_small

if TYPE_CHECKING:
    import os


@dataclass(frozen=True)
class Quicklook:
    """What was drawn."""

    output: Path
    """The picture."""

    width: int
    """Of the picture."""

    height: int
    """Of the picture."""

    factor: int
    """Pixels of the scene along a pixel of the picture."""

    bands: tuple[int, ...]
    """1-based bands as red, green and blue, or the one as grey."""

    wavelength_nm: tuple[float, ...] | None
    """Their centres, where known."""

    warnings: tuple[str, ...]
    """Sentences for the user."""


def quicklook(
    scene: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    bands: str | None = None,
    swir: bool = False,
    size: int = 1024,
    overwrite: bool = False,
) -> Quicklook:
    """Draw a scene as a PNG, each band stretched between the 2nd and 98th percentile of its valid pixels.

    Args:
        scene: A raster or a product.
        output: The picture.
        bands: Three 1-based bands as red, green and blue, or one as grey; by default those nearest to 660, 560 and
            490 nm, or what comes nearest to that where wavelengths are not known.
        swir: Bands nearest to 2200, 850 and 660 nm instead.
        size: Most pixels along an edge of the picture.
        overwrite: Replace an existing file.

    Raises:
        RequestError: The scene cannot be read, the bands are not there, or the picture is there already.
        WorkError: The scene breaks off, or the disk is full.
    """
    path = check_target(output, overwrite=overwrite)
    if path.suffix.lower() != ".png":
        raise OutputError(f"{path}: a quicklook is a PNG: choose a name that ends in .png")
    opened = Scene.open(scene)
    chosen, warnings = _bands_of(opened, bands, swir=swir)
    small = read_small(opened, chosen, size)
    with written_whole(path, overwrite=overwrite) as temporary:
        write_png(temporary, stretched(small.values, small.valid))
    height, width = small.valid.shape
    nm = opened.bands.select(chosen).wavelength_nm
    return Quicklook(
        output=Path(output),
        width=width,
        height=height,
        factor=small.factor,
        bands=tuple(band + 1 for band in chosen),
        wavelength_nm=None if nm is None else tuple(float(value) for value in nm),
        warnings=(*warnings, *opened.warnings),
    )


def _bands_of(scene: Scene, bands: str | None, *, swir: bool) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """0-based bands to draw, and what the user should know about the choice."""
    if bands is not None and swir:
        raise RequestError("`bands` and `swir` both choose the bands: leave one out")
    if bands is not None:
        chosen = parse_band_list(bands, scene.count)
        if len(chosen) not in {1, 3}:
            raise RequestError(f"`bands={bands}` are {len(chosen)} bands: name three, red first, or one")
        return chosen, ()
    found = nearest_bands(scene.bands, SWIR_NM if swir else NATURAL_NM)
    if found is not None:
        return found, ()
    if swir:
        raise RequestError(
            f"{scene.path}: no bands are known near {', '.join(f'{nm:g}' for nm in SWIR_NM)} nm: name three by `bands`"
        )
    guess = guessed_bands(scene.bands)
    if len(guess) == 1:
        return guess, ()
    shown = ",".join(str(band + 1) for band in guess)
    return guess, (
        f"{scene.path}: no bands are known near red, green and blue, so bands {shown} were drawn: `bands` chooses",
    )
