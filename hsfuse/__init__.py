"""hsfuse: the spectra of a hyperspectral sensor at the resolution of a multispectral one.

    import hsfuse

    pair = hsfuse.open_pair("prisma.tif", "s2.tif", srf="sentinel-2a")
    hsfuse.fuse(pair, "out.tif")

The verbs are those of the command line; they take an open pair, a `PairRequest`, or paths. Names are loaded when they
are first used (PEP 562), so that importing hsfuse costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hsfuse.version import __version__

if TYPE_CHECKING:
    from hsfuse.commands.compare import Comparison, compare
    from hsfuse.commands.doctor import Diagnosis, doctor
    from hsfuse.commands.estimate import EstimateResult, estimate
    from hsfuse.commands.evaluate import Evaluation, evaluate
    from hsfuse.commands.fuse import FuseResult, batch, fuse
    from hsfuse.commands.info import Info, info
    from hsfuse.commands.quicklook import Quicklook, quicklook
    from hsfuse.commands.sensors import list_sensors, show_sensor
    from hsfuse.commands.simulate import Simulation, simulate
    from hsfuse.commands.train_reduced import TrainResult, train_reduced
    from hsfuse.commands.weights import list_weights, show_weights, verify_weights
    from hsfuse.errors import HsfuseError, RequestError, WorkError
    from hsfuse.fusion.arrays import fuse_arrays
    from hsfuse.fusion.batch import BatchEntry, BatchOutcome
    from hsfuse.fusion.compute import Compute
    from hsfuse.fusion.job import OutputFormat
    from hsfuse.fusion.opening import open_pair
    from hsfuse.fusion.tiles import Tiling
    from hsfuse.fusion.xarrays import fuse_xarray
    from hsfuse.imaging import ImagingModel, SensorTable
    from hsfuse.pairs.pair import Pair, PairRequest
    from hsfuse.progress import SILENT, Progress
    from hsfuse.scenes import PixelWindow
    from hsfuse.training.start import NetworkRequest, TrainingPlan

_HOMES = {
    "BatchEntry": "fusion.batch",
    "BatchOutcome": "fusion.batch",
    "Comparison": "commands.compare",
    "Compute": "fusion.compute",
    "Diagnosis": "commands.doctor",
    "EstimateResult": "commands.estimate",
    "Evaluation": "commands.evaluate",
    "FuseResult": "commands.fuse",
    "HsfuseError": "errors",
    "ImagingModel": "imaging",
    "Info": "commands.info",
    "NetworkRequest": "training.start",
    "OutputFormat": "fusion.job",
    "Pair": "pairs.pair",
    "PairRequest": "pairs.pair",
    "PixelWindow": "scenes",
    "Progress": "progress",
    "Quicklook": "commands.quicklook",
    "RequestError": "errors",
    "SILENT": "progress",
    "SensorTable": "imaging",
    "Simulation": "commands.simulate",
    "Tiling": "fusion.tiles",
    "TrainResult": "commands.train_reduced",
    "TrainingPlan": "training.start",
    "WorkError": "errors",
    "batch": "commands.fuse",
    "compare": "commands.compare",
    "doctor": "commands.doctor",
    "estimate": "commands.estimate",
    "evaluate": "commands.evaluate",
    "fuse": "commands.fuse",
    "fuse_arrays": "fusion.arrays",
    "fuse_xarray": "fusion.xarrays",
    "info": "commands.info",
    "list_sensors": "commands.sensors",
    "list_weights": "commands.weights",
    "open_pair": "fusion.opening",
    "quicklook": "commands.quicklook",
    "show_sensor": "commands.sensors",
    "show_weights": "commands.weights",
    "simulate": "commands.simulate",
    "train_reduced": "commands.train_reduced",
    "verify_weights": "commands.weights",
}
"""Where each public name lives, below this package."""

__all__ = [
    "SILENT",
    "BatchEntry",
    "BatchOutcome",
    "Comparison",
    "Compute",
    "Diagnosis",
    "EstimateResult",
    "Evaluation",
    "FuseResult",
    "HsfuseError",
    "ImagingModel",
    "Info",
    "NetworkRequest",
    "OutputFormat",
    "Pair",
    "PairRequest",
    "PixelWindow",
    "Progress",
    "Quicklook",
    "RequestError",
    "SensorTable",
    "Simulation",
    "Tiling",
    "TrainResult",
    "TrainingPlan",
    "WorkError",
    "__version__",
    "batch",
    "compare",
    "doctor",
    "estimate",
    "evaluate",
    "fuse",
    "fuse_arrays",
    "fuse_xarray",
    "info",
    "list_sensors",
    "list_weights",
    "open_pair",
    "quicklook",
    "show_sensor",
    "show_weights",
    "simulate",
    "train_reduced",
    "verify_weights",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
