"""The imaging model Y = X B + noise, P = R X + noise: R from the SRF, B from the PSF.

Explicit, differentiable operators on torch tensors, one implementation for simulating, estimating, fusing and
evaluating. This package knows arrays, never rasters.
"""

from hsfuse.imaging.blind.agreement import Agreement
from hsfuse.imaging.blind.displacement import (
    SparseCellsError,
    coarse_displacement,
    measure_displacement,
)
from hsfuse.imaging.blind.displacement_field import DisplacementField
from hsfuse.imaging.blind.estimate import Estimate, estimate_imaging
from hsfuse.imaging.blind.relative_blur import RelativeBlur
from hsfuse.imaging.blind.samples import PatchLike, SampleBlock
from hsfuse.imaging.blind.shift import Misregistration, measure_shift
from hsfuse.imaging.model import ImagingModel
from hsfuse.imaging.psf import BlurDecimate, PointSpread, upsample
from hsfuse.imaging.radiometry import Radiometry
from hsfuse.imaging.sources import LoadedSrf, load_psf, load_srf
from hsfuse.imaging.srf import BandCoverage, SpectralResponse
from hsfuse.imaging.tables import SensorTable, load_table, parse_sensor, sensor_names
from hsfuse.imaging.wald import WaldPair, add_noise, degrade, degrade_pair

__all__ = [
    "Agreement",
    "BandCoverage",
    "BlurDecimate",
    "DisplacementField",
    "Estimate",
    "ImagingModel",
    "LoadedSrf",
    "Misregistration",
    "PatchLike",
    "PointSpread",
    "Radiometry",
    "RelativeBlur",
    "SampleBlock",
    "SensorTable",
    "SparseCellsError",
    "SpectralResponse",
    "WaldPair",
    "add_noise",
    "coarse_displacement",
    "degrade",
    "degrade_pair",
    "estimate_imaging",
    "load_psf",
    "load_srf",
    "load_table",
    "measure_displacement",
    "measure_shift",
    "parse_sensor",
    "sensor_names",
    "upsample",
]
