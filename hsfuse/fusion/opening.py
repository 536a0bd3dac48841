"""Opening pairs: of one MSI as they are, of several once the coarser ones are sharpened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsfuse.fusion.compute import Compute
from hsfuse.fusion.several_msis import open_scenes
from hsfuse.pairs.pair import Pair, PairRequest
from hsfuse.progress import SILENT, one_stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from hsfuse.pairs.pair import PairOptions, PathLike
    from hsfuse.progress import Progress


def open_pair(hsi: PathLike, msi: PathLike | Sequence[PathLike], **options: Unpack[PairOptions]) -> Pair:
    """Open two scenes of one place.

    Args:
        hsi: The hyperspectral scene.
        msi: The multispectral scene; or several of one sensor, the coarser of which are sharpened by the finer ones, as
            are the 20 m bands of a Sentinel-2 product.
        options: The fields of `PairRequest`.

    Raises:
        RequestError: See `PairRequest.open`; or the MSIs do not fit each other.
        WorkError: Sharpening failed on the way.
    """
    return opened(PairRequest(hsi, msi, **options))


def opened(
    pair: Pair | PairRequest,
    *,
    beside: PathLike | None = None,
    compute: Compute | None = None,
    progress: Progress = SILENT,
) -> Pair:
    """The pair itself, opened if it is not yet.

    Args:
        pair: Open or to be opened.
        beside: A file beside which sharpened bands may lie for as long as the pair is in use; by default they lie in
            the system's folder for temporary files.
        compute: Its memory is what sharpening may use.
        progress: Observer of the work.

    Raises:
        RequestError: The pair cannot be opened.
        WorkError: Sharpening failed on the way.
    """
    if isinstance(pair, Pair):
        return pair
    scenes = open_scenes(pair, beside=beside, compute=compute or Compute(), progress=progress)
    with one_stage(progress, "imaging model"):
        return Pair.of_scenes(scenes, pair)
