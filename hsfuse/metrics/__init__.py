"""The quality of images: masked, in float64, streamed over tiles. Knows arrays and nothing else."""

from hsfuse.metrics.full_reference import FullReference, FullReferenceScores, full_reference
from hsfuse.metrics.no_reference import FusedView, NoReference, NoReferenceScores
from hsfuse.metrics.noise import spatial_noise, spectral_noise
from hsfuse.metrics.windowed import WindowedReference, WindowScores

__all__ = [
    "FullReference",
    "FullReferenceScores",
    "FusedView",
    "NoReference",
    "NoReferenceScores",
    "WindowScores",
    "WindowedReference",
    "full_reference",
    "spatial_noise",
    "spectral_noise",
]
