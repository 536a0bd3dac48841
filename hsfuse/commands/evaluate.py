"""`hsfuse evaluate`: how good a fused image is."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import PairError
from hsfuse.metrics import FullReference, FullReferenceScores, WindowedReference
from hsfuse.scenes import PixelWindow, Scene

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import NDArray

_STRIP_NUMBERS = 2**24  # of each image held at a time
_SAME_BAND_NM = 1.0


@dataclass(frozen=True)
class Evaluation:
    """Scores of a fused image against its reference."""

    scores: FullReferenceScores
    """Of the whole image and per band."""

    warnings: tuple[str, ...]
    """Sentences for the user."""


def evaluate(
    fused: str | os.PathLike[str], reference: str | os.PathLike[str], *, ratio: float | None = None
) -> Evaluation:
    """Score a fused image against the image that it should be.

    Bands are matched by wavelength where both images know theirs, else by order. Streamed by strips, twice, since
    SSIM needs each band's maximum first: no whole image is held.

    Args:
        fused: The fused image.
        reference: The truth, on the same grid.
        ratio: HSI pixel over MSI pixel, for ERGAS; by default what the fused image says.

    Raises:
        SceneError: An image cannot be read.
        PairError: Grids or bands do not match.
    """
    ours, truth = Scene.open(str(fused)), Scene.open(str(reference))
    _check_grids(ours, truth)
    our_bands, truth_bands, warnings = _matched_bands(ours, truth)
    if ratio is None:
        ratio = _ratio_of(ours, warnings)
    wavelength = truth.bands.wavelength_nm
    full = FullReference(ratio, None if wavelength is None else wavelength[truth_bands])
    for strip in _strips(ours, our_bands, truth, truth_bands):
        full.update(*strip)
    windowed = WindowedReference(full.peak)
    for strip in _strips(ours, our_bands, truth, truth_bands):
        windowed.update(*strip)
    return Evaluation(full.result(windowed.result()), tuple(warnings))


def _check_grids(fused: Scene, reference: Scene) -> None:
    ours, theirs = fused.grid, reference.grid
    if (ours.width, ours.height) != (theirs.width, theirs.height):
        raise PairError(
            f"{fused.path} has {ours.width}×{ours.height} pixels, {reference.path} {theirs.width}×{theirs.height}: "
            "crop one of them to the other",
        )
    if ours.crs is not None and theirs.crs is not None and ours.crs != theirs.crs:
        raise PairError(f"{fused.path} and {reference.path} are in different CRS: warp one of them to the other")
    if ours.has_transform and theirs.has_transform:
        size = min(ours.pixel_size)
        apart = np.abs(np.array(ours.transform[:6]) - np.array(theirs.transform[:6]))
        if apart[[2, 5]].max() > 0.05 * size or apart[[0, 1, 3, 4]].max() > 1e-3 * size:
            raise PairError(
                f"{fused.path} and {reference.path} do not lie on one grid: their corners are "
                f"{apart[2] / size:.2f} and {apart[5] / size:.2f} pixels apart",
            )


def _matched_bands(fused: Scene, reference: Scene) -> tuple[list[int], list[int], list[str]]:
    ours, theirs = fused.bands.wavelength_nm, reference.bands.wavelength_nm
    if ours is None or theirs is None:
        if fused.count != reference.count:
            raise PairError(
                f"{fused.path} has {fused.count} bands, {reference.path} {reference.count}, and without wavelengths "
                "in both they cannot be matched",
            )
        return list(range(fused.count)), list(range(reference.count)), []
    distance = np.abs(ours[:, None] - theirs[None, :])
    nearest = distance.argmin(axis=1)
    matched = np.flatnonzero(distance.min(axis=1) <= _SAME_BAND_NM)
    if not matched.size or len(set(nearest[matched])) < matched.size:
        raise PairError(f"the bands of {fused.path} and {reference.path} are at different wavelengths")
    warnings = []
    if matched.size < max(fused.count, reference.count):
        warnings.append(
            f"{matched.size} bands are in both images (of {fused.count} fused and {reference.count} reference bands)"
        )
    return matched.tolist(), nearest[matched].tolist(), warnings


def _ratio_of(fused: Scene, warnings: list[str]) -> float:
    with contextlib.suppress(KeyError, ValueError):
        return float(fused.tags["HSFUSE_RATIO"])
    warnings.append("the ratio is not known, ERGAS is for ratio 1: pass --ratio")
    return 1.0


def _strips(
    fused: Scene, fused_bands: list[int], reference: Scene, reference_bands: list[int]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]]:
    """Both images and where both are valid, by strips of full width, whole blocks of rows at a time."""
    width, height = fused.grid.width, fused.grid.height
    rows = max(_STRIP_NUMBERS // (width * len(fused_bands)) // 256 * 256, 64)
    for row in range(0, height, rows):
        window = PixelWindow(0, row, width, min(rows, height - row))
        image, expected = fused.read(window, fused_bands), reference.read(window, reference_bands)
        yield image.values, expected.values, image.valid & expected.valid
