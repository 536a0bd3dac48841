"""Fusing what xarray holds: bands, ground and wavelengths go in and come out with the numbers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hsfuse.errors import RequestError, SceneError
from hsfuse.fusion.arrays import fuse_scenes, ratio_of_shapes
from hsfuse.fusion.compute import Compute
from hsfuse.fusion.job import Job
from hsfuse.fusion.methods import DEFAULT_METHOD, choose_method
from hsfuse.fusion.tiles import Tiling
from hsfuse.pairs.pair import PairRequest
from hsfuse.progress import SILENT
from hsfuse.scenes.arrays import scene_of_array

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from xarray import DataArray

    from hsfuse.progress import Progress
    from hsfuse.scenes import Grid, Scene

_WAVELENGTH, _FWHM = ("wavelength", "wavelengths", "central_wavelength"), ("fwhm",)
_NANOMETRES = {"": 1.0, "nm": 1.0, "nanometers": 1.0, "nanometres": 1.0, "nanometer": 1.0, "nanometre": 1.0}
_MICROMETRES = dict.fromkeys(
    ("um", "µm", "μm", "micrometers", "micrometres", "micrometer", "micrometre", "microns", "micron"), 1000.0
)


def fuse_xarray(
    hsi: DataArray,
    msi: DataArray,
    *,
    srf: str | None = None,
    psf: str | None = None,
    model: str = DEFAULT_METHOD,
    weights: str | None = None,
    compute: Compute | None = None,
    tiling: Tiling = Tiling(),  # noqa: B008 (frozen)
    screen: bool = True,
    seed: int = 0,
    progress: Progress = SILENT,
) -> DataArray:
    """Fuse two images of one place that xarray holds; needs the extra `xarray` (xarray and rioxarray).

    Both have two spatial axes, as rioxarray finds them, and one of bands, in any order. Where the CRS and the
    coordinates say that they lie counts as in files: the common area is fused, and an MSI on another grid or in another
    CRS is resampled. Wavelengths are a coordinate `wavelength` along the bands, in nm unless its attribute `units` says
    µm; `fwhm` likewise. Pixels that are NaN, or the nodata value that rioxarray knows, are missing.

    Dask arrays are computed first, and so is the result: statistics of the whole scene come before any pixel of it. For
    scenes that do not fit into memory fuse files by `hsfuse.fuse`, and open the COG lazily
    (`rioxarray.open_rasterio(output, chunks=True)`).

    Args:
        hsi: The hyperspectral image.
        msi: The multispectral image.
        srf: `estimate` (the default), a sensor's name or a file.
        psf: `estimate` (the default), `gaussian:FWHM` in HSI pixels, or a file.
        model: A network or a classical method.
        weights: A weights file, or the name of a bundled one.
        compute: Device, precision and memory; chosen by default.
        tiling: Size and overlap of tiles; chosen by default.
        screen: Look for fill and gross values among the numbers.
        seed: Of whatever is drawn at random.
        progress: Observer of the work.

    Returns:
        The fused image, float32, with the HSI's name, attributes, order of axes and coordinates along its bands, and
        with its own x, y and CRS; NaN where either image knows nothing, in all of a band that holds no image.

    Raises:
        SceneError: One of the two is no image on a regular grid.
        RequestError: The images cannot be fused, there is no such method, or rioxarray is not there.
        WorkError: The work failed on the way.

    Warns:
        UserWarning: What is doubtful about the pair, a sentence each.
    """
    try:
        import rioxarray  # noqa: F401, PLC0415 (adds `.rio`)
    except ImportError as error:
        raise RequestError('fusing DataArrays needs rioxarray: pip install "hsfuse[xarray]"') from error
    first, second = _Image.of(hsi, "hsi"), _Image.of(msi, "msi")
    job = Job(choose_method(model, weights), compute or Compute(), tiling, seed)
    ratio = None if first.transform or second.transform else ratio_of_shapes(first.shape, second.shape)
    scenes = first.scene(pixel_size=ratio or 1, screen=screen), second.scene(pixel_size=1, screen=screen)
    fused, pair = fuse_scenes(*scenes, job, PairRequest("hsi", "msi", srf=srf, psf=psf, ratio=ratio), progress)
    for sentence in pair.warnings:
        warnings.warn(sentence, stacklevel=2)
    return first.with_values(fused, None if ratio else pair.fine_grid)


@dataclass(frozen=True)
class _Image:
    """A DataArray whose axes are known."""

    array: DataArray
    """As it was given."""

    name: str
    """What messages call it."""

    axes: tuple[str, str, str]
    """Names of the bands', the rows' and the columns' axis."""

    @classmethod
    def of(cls, array: DataArray, name: str) -> _Image:
        """Find its axes.

        Raises:
            SceneError: It has not three, or none of the names that rioxarray knows for space.
        """
        from rioxarray.exceptions import RioXarrayError  # noqa: PLC0415

        try:
            space = (str(array.rio.y_dim), str(array.rio.x_dim))
        except RioXarrayError as error:
            raise SceneError(
                f"{name}: which of its axes {', '.join(map(str, array.dims))} are rows and columns is not known: call "
                "them y and x, or say it by .rio.set_spatial_dims"
            ) from error
        others = [str(axis) for axis in array.dims if axis not in space]
        if len(others) != 1:
            own = ", ".join(map(str, array.dims))
            raise SceneError(f"{name}: an image has an axis of bands, rows and columns, this one has {own}")
        return cls(array, name, (others[0], *space))

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return tuple(self.array.sizes[axis] for axis in self.axes)

    def scene(self, *, pixel_size: float, screen: bool) -> Scene:
        """Its numbers on their ground, or on pixels of a size where that is not known.

        Raises:
            SceneError: Its wavelengths are no lengths, or its numbers no image.
        """
        array = self.array.transpose(*self.axes)
        values: NDArray[Any] = array.to_numpy()
        nodata = array.rio.nodata
        if nodata is not None and not np.isnan(nodata):
            values = np.where(values == nodata, np.float32(np.nan), values)
        return scene_of_array(
            values,
            self.name,
            pixel_size=pixel_size,
            transform=self.transform,
            crs=array.rio.crs,
            wavelength_nm=self._along_bands(_WAVELENGTH),
            fwhm_nm=self._along_bands(_FWHM),
            screen=screen,
        )

    def with_values(self, values: NDArray[np.float32], grid: Grid | None) -> DataArray:
        """The fused image, float32 (C, H, W), as this one's like, on its grid if there is one."""
        import xarray  # noqa: PLC0415

        bands, rows, columns = self.axes
        # x and y come from the grid; what else lies along rows or columns belongs to the coarse pixels
        kept = {name: one for name, one in self.array.coords.items() if set(one.dims) <= {bands}}
        made = xarray.DataArray(values, dims=self.axes, coords=kept, name=self.array.name, attrs=dict(self.array.attrs))
        made = made.drop_vars(self.array.rio.grid_mapping, errors="ignore").rio.set_spatial_dims(columns, rows)
        if grid is not None:
            made = made.rio.write_crs(grid.crs).rio.write_transform(grid.transform)
            if grid.transform.is_rectilinear:
                x = grid.transform.c + grid.transform.a * (np.arange(grid.width) + 0.5)
                y = grid.transform.f + grid.transform.e * (np.arange(grid.height) + 0.5)
                made = made.assign_coords({columns: x, rows: y})
        for name in ("_FillValue", "missing_value"):
            made.attrs.pop(name, None)
        fused: DataArray = made.rio.write_nodata(np.nan, encoded=False).transpose(*self.array.dims)
        return fused

    @cached_property
    def transform(self) -> Affine | None:
        """Of its coordinates, which slicing keeps true, else what rioxarray remembers; None without either.

        Raises:
            SceneError: They are no regular grid.
        """
        _, rows, columns = self.axes
        known = all(axis in self.array.coords and self.array.sizes[axis] > 1 for axis in (rows, columns))
        for axis in (rows, columns) if known else ():
            steps = np.diff(self.array[axis].to_numpy())
            if not np.allclose(steps, steps.mean(), rtol=1e-3, atol=0):
                raise SceneError(f"{self.name}: its coordinates along {axis} are not evenly spaced: resample it")
        found: Affine = self.array.rio.transform(recalc=known)
        return None if found.is_identity else found

    def _along_bands(self, names: tuple[str, ...]) -> NDArray[np.float64] | None:
        """A coordinate along the bands in nm; None if there is none of these names.

        Raises:
            SceneError: Its units are no lengths that are known.
        """
        for name in names:
            if name not in self.array.coords or self.array.coords[name].dims != (self.axes[0],):
                continue
            found = self.array.coords[name]
            unit = str(found.attrs.get("units", "")).strip().lower()
            factor = (_NANOMETRES | _MICROMETRES).get(unit)
            if factor is None:
                raise SceneError(f"{self.name}: its coordinate {name} is in {unit!r}: give it in nm or µm")
            return factor * np.asarray(found.to_numpy(), np.float64)
        return None
