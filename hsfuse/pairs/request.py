"""What says which two scenes are meant and how they are related: one noun that every verb takes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, Unpack

from hsfuse.errors import RequestError
from hsfuse.pairs.pair import Pair
from hsfuse.scenes import MAX_RATIO, Scene, ScenePair, parse_band_list

if TYPE_CHECKING:
    from hsfuse.scenes import PixelWindow

PathLike = str | os.PathLike[str]


class PairOptions(TypedDict, total=False):
    """The keywords by which a pair is opened; see the fields of `PairRequest`."""

    srf: str | None
    psf: str | None
    hsi_bands: str | None
    msi_bands: str | None
    window: PixelWindow | None
    ratio: int | None
    allow_shift: bool
    coregister: bool


@dataclass(frozen=True)
class PairRequest:
    """Two scenes, and how they are related.

    Raises:
        RequestError: A ratio outside of 2 to 20.
    """

    hsi: PathLike
    """The hyperspectral scene, anything that GDAL opens."""

    msi: PathLike
    """The multispectral scene of the same place."""

    srf: str | None = None
    """`estimate`, a sensor's name or a file; by default the table of the sensor that the MSI says it is, else
    `estimate`."""

    psf: str | None = None
    """`estimate` (the default), `gaussian:FWHM` in HSI pixels, or a file."""

    hsi_bands: str | None = None
    """1-based list such as `1-4,8`; by default all good ones."""

    msi_bands: str | None = None
    """The same of the MSI."""

    window: PixelWindow | None = None
    """The part wanted, in HSI pixels; by default all that both scenes cover."""

    ratio: int | None = None
    """HSI pixel over MSI pixel; measured by default."""

    allow_shift: bool = False
    """Go on also above two HSI pixels of misregistration."""

    coregister: bool = False
    """Move the MSI by the misregistration measured."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hsi", os.fspath(self.hsi))
        object.__setattr__(self, "msi", os.fspath(self.msi))
        if self.ratio is not None:
            if not 2 <= self.ratio <= MAX_RATIO or int(self.ratio) != self.ratio:
                raise RequestError(f"the ratio of a pair is a whole number from 2 to {MAX_RATIO}, got {self.ratio:g}")
            object.__setattr__(self, "ratio", int(self.ratio))

    def open_scenes(self) -> ScenePair:
        """Open both scenes and find out how their grids lie to each other, without looking for the imaging model.

        Raises:
            SceneError: A scene cannot be read.
            PairError: They cannot be fused.
            RequestError: Bands or a window that do not exist.
        """
        hsi, msi = Scene.open(str(self.hsi)), Scene.open(str(self.msi))
        return ScenePair.open(
            hsi,
            msi,
            hsi_bands=None if self.hsi_bands is None else parse_band_list(self.hsi_bands, hsi.count),
            msi_bands=None if self.msi_bands is None else parse_band_list(self.msi_bands, msi.count),
            window=self.window,
            ratio=self.ratio,
        )

    def open(self) -> Pair:
        """Open both scenes, and load or estimate what lies between them.

        Raises:
            SceneError: A scene cannot be read.
            PairError: The scenes cannot be fused, or are misregistered by more than two HSI pixels.
            ImagingError: The imaging model cannot be loaded, or the pair does not determine it.
            RequestError: Bands or a window that do not exist.
        """
        return Pair.open(self)


def open_pair(hsi: PathLike, msi: PathLike, **options: Unpack[PairOptions]) -> Pair:
    """Open two scenes of one place; the options are the fields of `PairRequest`, the errors those of its `open`."""
    return PairRequest(hsi, msi, **options).open()


def requested(
    pair: Pair | PairRequest | PathLike, rest: tuple[PathLike, ...], options: PairOptions, after: int
) -> tuple[Pair | PairRequest, tuple[PathLike, ...]]:
    """Sort out a verb's positional arguments: an open pair, a request, or two paths, and `after` further paths.

    Args:
        pair: The first argument.
        rest: All others.
        options: Keywords by which a pair of paths is opened.
        after: How many arguments follow the pair.

    Raises:
        TypeError: There are too few arguments or too many, or options for a pair that is open already.
    """
    given = isinstance(pair, (Pair, PairRequest))
    expected = after if given else after + 1
    if len(rest) != expected:
        what = "a pair" if given else "the paths of two scenes"
        raise TypeError(f"expected {what} and {after} more arguments, got {len(rest) + 1} in all")
    if isinstance(pair, (Pair, PairRequest)):
        if options:
            raise TypeError(f"{', '.join(options)} belong to the pair: give them to open_pair or PairRequest")
        return pair, rest
    return PairRequest(pair, rest[0], **options), rest[1:]


def opened(pair: Pair | PairRequest) -> Pair:
    """The pair itself, opened if it is not yet."""
    return pair if isinstance(pair, Pair) else pair.open()
