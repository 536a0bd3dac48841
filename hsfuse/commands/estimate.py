"""`hsfuse estimate`: the spectral response, the point spread and the shift between two scenes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, overload

from hsfuse.files import check_target, written_whole
from hsfuse.fusion.opening import opened
from hsfuse.pairs.imaging_source import ESTIMATE, published_response
from hsfuse.pairs.opening import requested
from hsfuse.pairs.pair import PairRequest
from hsfuse.progress import SILENT

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Unpack

    from hsfuse.pairs.pair import Pair, PairOptions, PathLike
    from hsfuse.progress import Progress


@dataclass(frozen=True, kw_only=True)
class EstimateResult:
    """What was found."""

    output: Path
    """The `hsfuse-imaging/1` file."""

    pair: Pair
    """With its imaging model."""


@overload
def estimate(
    pair: Pair | PairRequest,
    output: PathLike,
    /,
    *,
    overwrite: bool = ...,
    plot: PathLike | None = ...,
    progress: Progress = ...,
) -> EstimateResult: ...


@overload
def estimate(
    hsi: PathLike,
    msi: PathLike,
    output: PathLike,
    /,
    *,
    overwrite: bool = ...,
    plot: PathLike | None = ...,
    progress: Progress = ...,
    **options: Unpack[PairOptions],
) -> EstimateResult: ...


def estimate(
    pair: Pair | PairRequest | PathLike,
    /,
    *paths: PathLike,
    overwrite: bool = False,
    plot: PathLike | None = None,
    progress: Progress = SILENT,
    **options: Unpack[PairOptions],
) -> EstimateResult:
    """Estimate the imaging model of a pair and write it.

    Args:
        pair: An open pair (what is known of it is written), a `PairRequest`, or the paths of both scenes. SRF and PSF
            are estimated unless a source is given; however far the images are misregistered, it is measured and
            written.
        paths: The JSON file, after the MSI if paths are given.
        overwrite: Replace an existing file.
        plot: A picture of the model to draw as well; needs the `report` extra.
        progress: Observer of the sharpening, where there are several MSIs.
        options: Of a pair that is given by its paths: the fields of `PairRequest`.

    Raises:
        RequestError: The pair cannot be read or does not determine the model, or the output is there already.
        WorkError: The disk is full or fails.
    """
    wanted, (output,) = requested(pair, paths, options, after=1)
    path = check_target(output, overwrite=overwrite)
    if plot is not None:
        _check_plot(plot, overwrite=overwrite)
    if isinstance(wanted, PairRequest):
        wanted = replace(wanted, srf=wanted.srf or ESTIMATE, allow_shift=True)
    found = opened(wanted, progress=progress)
    with contextlib.ExitStack() as picture:  # moved into place last: with an interrupt while drawing neither is left
        if plot is not None:
            _draw(picture.enter_context(written_whole(plot, overwrite=overwrite)), found)
        found.imaging_on_hsi.save(path, overwrite=overwrite)
    return EstimateResult(output=path, pair=found)


def _check_plot(plot: PathLike, *, overwrite: bool) -> None:
    from hsfuse.report.plots import check_picture  # noqa: PLC0415 (matplotlib is an extra)

    check_target(plot, overwrite=overwrite)
    check_picture(plot)


def _draw(path: Path, pair: Pair) -> None:
    """The model beside the published response of the sensor that it looks like, or that was given."""
    from hsfuse.report.plots import plot_imaging  # noqa: PLC0415 (matplotlib is an extra)

    published = published_response(pair.srf_source, pair.estimate)
    plot_imaging(path, pair.imaging_on_hsi, published=published, shift=pair.shift)
