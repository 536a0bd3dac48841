# %% [markdown]
# # Two scenes in xarray
#
# Open this file in an editor that knows cells (`# %%`), or make a notebook of it by `jupytext --to ipynb notebook.py`.
# It needs `pip install "hsfuse[xarray]"`, and runs on the pair of `indian-pines/` in a minute.

# %%
from pathlib import Path

import numpy as np
import rasterio
import rioxarray
import xarray as xr

import hsfuse

PAIR = Path(__file__).parent / "indian-pines" if "__file__" in globals() else Path("indian-pines")


# %% [markdown]
# rioxarray reads numbers, CRS and coordinates. The wavelengths stand in the tags of each band, so they are made a
# coordinate along the bands, in nm.


# %%
def opened(path: Path) -> xr.DataArray:
    """A scene with the wavelengths of its bands."""
    with rasterio.open(path) as dataset:
        nm = [float(dataset.tags(band)["wavelength"]) for band in dataset.indexes]
    scene = rioxarray.open_rasterio(path, masked=True)
    return scene.assign_coords(wavelength=("band", nm, {"units": "nm"}))


hsi, msi = opened(PAIR / "hsi.tif"), opened(PAIR / "msi.tif")
print(dict(hsi.sizes), dict(msi.sizes), hsi.rio.crs)

# %% [markdown]
# A part of both, by coordinates, fused by one method. What lies where is found by the coordinates; the common area
# comes out.

# %%
west, south, east, north = hsi.rio.bounds()
part = hsi.rio.clip_box(west, south, west + 1440, north)
fused = hsfuse.fuse_xarray(part, msi, srf="sentinel-2a", model="bayes")
print(dict(fused.sizes), fused.rio.resolution(), f"{float(np.isfinite(fused).mean()):.0%} known")

# %% [markdown]
# Spectra are chosen by wavelength, places by coordinates; an index is arithmetic.

# %%
by_nm = fused.swap_dims(band="wavelength").sortby("wavelength")  # AVIRIS's spectrometers overlap
spectrum = by_nm.sel(x=west + 700, y=(south + north) / 2, method="nearest")
print(f"{float(spectrum.sel(wavelength=860, method='nearest')):.0f} at 860 nm")
red, infrared = (by_nm.sel(wavelength=nm, method="nearest") for nm in (665, 860))
index = ((infrared - red) / (infrared + red)).rename("NDVI")
print(f"NDVI from {float(index.min()):.2f} to {float(index.max()):.2f}")

# %% [markdown]
# Without a truth: is the result, averaged over the HSI's pixels, the HSI again?

# %%
coarse = fused.coarsen(x=3, y=3).mean()
apart = np.abs(coarse.to_numpy() / part.to_numpy() - 1)
print(f"half of the values differ from the HSI by less than {float(np.nanmedian(apart)):.1%}")
