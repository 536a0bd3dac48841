"""Check that the README's first command made what it promises, with libraries that hsfuse did not write."""

import sys

import numpy as np
import rasterio
from rio_cogeo.cogeo import cog_validate


def main(path: str) -> None:
    """Open the fused example and compare its grid, bands and values with its inputs."""
    valid, errors, _ = cog_validate(path)
    assert valid, errors
    with rasterio.open(path) as fused, rasterio.open("examples/indian-pines/msi.tif") as msi:
        assert (fused.count, fused.height, fused.width) == (200, 144, 144), fused.profile
        assert fused.transform == msi.transform, (fused.transform, msi.transform)
        assert fused.crs == msi.crs == rasterio.CRS.from_epsg(32616)
        assert fused.nodata == 0
        assert fused.dtypes[0] == "uint16"
        assert abs(float(fused.tags(1)["wavelength"]) - 400.02) < 0.01, fused.tags(1)
        assert fused.tags(1, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"]
        assert fused.tags()["HSFUSE_WEIGHTS_SHA256"]
        # At 665 nm the fused image shows what the MSI's red band shows.
        red = int(np.argmin([abs(float(fused.tags(band)["wavelength"]) - 665) for band in fused.indexes])) + 1
        alike = np.corrcoef(fused.read(red).ravel(), msi.read(3).ravel())[0, 1]
        assert alike > 0.97, alike
    print(f"{path}: as promised, red correlates with the MSI's at {alike:.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
