"""`hsfuse doctor`: what there is on this machine, what will be used of it, and why."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from dataclasses import dataclass

import rasterio
import torch
from rasterio.env import Env

from hsfuse.errors import HsfuseError
from hsfuse.fusion.compute import Compute
from hsfuse.fusion.memory import available_bytes
from hsfuse.fusion.methods import METHODS
from hsfuse.models.weights import bundled_weights
from hsfuse.scan import BACKENDS, available_backends, explain_backend
from hsfuse.version import __version__

DRIVERS = {
    "GTiff": "reads GeoTIFF, and packs the blocks of the output",
    "VRT": "reads virtual rasters",
    "ENVI": "reads .hdr/.img",
    "HDF5": "reads HDF5 that h5py's readers leave to GDAL",
    "netCDF": "reads netCDF 3, and netCDF 4 likewise",
    "JP2OpenJPEG": "reads JPEG 2000, as Sentinel-2 comes",
    "Zarr": "reads Zarr",
}
"""GDAL's drivers that hsfuse has a use for, and which."""

_NEEDED = ("GTiff",)
_TF32_CAPABILITY = (8, 0)


@dataclass(frozen=True)
class DeviceReport:
    """Where networks will run."""

    device: str
    """`cpu` or `cuda:N`, as `fuse --device auto` takes it."""
    precision: str
    """As `fuse --precision auto` takes it."""
    reason: str
    """Why, as a clause."""
    cuda: tuple[str, ...]
    """The CUDA devices that torch can use, with their memory and compute capability."""
    cuda_build: str | None
    """CUDA version that torch was built for; None for a CPU build."""
    bf16: bool
    """Whether the device multiplies bfloat16 in hardware (where `--precision bf16` pays)."""
    tf32: bool
    """Whether the device multiplies float32 in TF32 where `--precision tf32` asks for it; it never does otherwise."""
    instructions: str
    """The CPU's vector instructions that torch uses."""


@dataclass(frozen=True)
class ScanReport:
    """How Mamba's selective scan will run on that device."""

    backend: str | None
    """One of `hsfuse.scan.BACKENDS`; None if what HSFUSE_SCAN asks for is not there."""
    reason: str
    """Why, as a clause."""
    refused: dict[str, str]
    """Why not each of the others, by name; empty for one that works but comes later."""


@dataclass(frozen=True)
class GdalReport:
    """GDAL as rasterio brings it."""

    version: str
    """Of GDAL."""
    rasterio: str
    """Of rasterio."""
    drivers: dict[str, bool]
    """Whether each of `DRIVERS` is there."""
    h5py: bool
    """Whether h5py is there, which reads products in HDF5 and netCDF 4."""


@dataclass(frozen=True)
class ThreadsReport:
    """What the CPU gives."""

    cpus: int
    """CPUs that this process may use."""
    torch: int
    """Threads of torch, and of the scan."""
    reason: str
    """Where that number comes from, as a clause."""
    memory_bytes: int
    """That can be had without swapping; `fuse` takes half of it unless told otherwise."""


@dataclass(frozen=True)
class Diagnosis:
    """Everything that `hsfuse doctor` says."""

    hsfuse: str
    """Version."""
    python: str
    """Version and where it lies."""
    platform: str
    """Operating system and processor."""
    torch: str
    """Version."""
    compute: DeviceReport
    """Device and precision."""
    scan: ScanReport
    """Backend of the selective scan."""
    gdal: GdalReport
    """Rasters."""
    threads: ThreadsReport
    """CPUs and memory."""
    weights: dict[str, tuple[str, ...]]
    """Bundled weights by network; none where a network needs `--weights`."""
    problems: tuple[str, ...]
    """What will not work and how to mend it, a sentence each; empty if all is well."""


def doctor() -> Diagnosis:
    """Look at the machine. What is missing or broken becomes a sentence in `problems`, never an error."""
    compute = _compute()
    scan, gdal = _scan(compute.device), _gdal()
    bundled = bundled_weights()
    weights = {
        name: tuple(file.name for file in bundled if file.card.model == name)
        for name, method in METHODS.items()
        if method.network
    }
    return Diagnosis(
        __version__,
        f"{platform.python_version()} ({sys.executable})",
        f"{platform.system()} {platform.release()}, {platform.machine()}",
        torch.__version__,
        compute,
        scan,
        gdal,
        _threads(),
        weights,
        tuple(_problems(scan, gdal)),
    )


def _compute() -> DeviceReport:
    chosen = Compute()
    devices = tuple(_describe(index) for index in range(torch.cuda.device_count()))
    build = torch.version.cuda
    if chosen.torch_device.type == "cuda":
        reason = "torch can use CUDA, and fp16 is fastest there"
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        tf32 = torch.cuda.get_device_capability(chosen.torch_device) >= _TF32_CAPABILITY
    else:
        without = "this torch is built without CUDA" if build is None else "torch finds no CUDA device"
        reason = f"{without}; fp32 is the default on CPUs, bf16 on request"
        bf16, tf32 = _cpu_has_bf16(), False
    instructions = torch.backends.cpu.get_cpu_capability()
    return DeviceReport(chosen.device, chosen.precision, reason, devices, build, bf16, tf32, instructions)


def _describe(index: int) -> str:
    found = torch.cuda.get_device_properties(index)
    return f"{found.name}, {found.total_memory / 2**30:.0f} GB, compute capability {found.major}.{found.minor}"


def _cpu_has_bf16() -> bool:
    """Whether oneDNN, which multiplies for torch on CPUs, has bfloat16 instructions to use."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return False
    return any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))


def _scan(device: str) -> ScanReport:
    try:
        choice = explain_backend(device)
        others = {name: choice.refused.get(name, "") for name in BACKENDS if name != choice.name}
    except HsfuseError as error:
        return ScanReport(None, str(error), available_backends(device))
    except torch.OutOfMemoryError:
        return ScanReport(None, f"{device} has no memory left to try it in", {})
    return ScanReport(choice.name, choice.reason, others)


def _gdal() -> GdalReport:
    with Env() as environment:
        present = set(environment.drivers())
    return GdalReport(
        rasterio.__gdal_version__,
        rasterio.__version__,
        {name: name in present for name in DRIVERS},
        importlib.util.find_spec("h5py") is not None,
    )


def _threads() -> ThreadsReport:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wish = os.environ.get("OMP_NUM_THREADS")
    reason = (
        "torch's own choice, which OMP_NUM_THREADS overrides" if wish is None else f"OMP_NUM_THREADS={wish} asks for it"
    )
    return ThreadsReport(cpus, torch.get_num_threads(), reason, available_bytes())


def _problems(scan: ScanReport, gdal: GdalReport) -> list[str]:
    found = [
        f"GDAL's driver {name} ({DRIVERS[name]}) is missing: install rasterio from its wheels"
        for name in _NEEDED
        if not gdal.drivers[name]
    ]
    if scan.backend is None:
        found.append(f"the selective scan cannot run: {scan.reason}")
    elif scan.backend == "reference":
        found.append(
            "the selective scan has only its slow reference: install numba (CPU) or triton (CUDA);"
            f" triton: {scan.refused.get('triton', 'not tried')}"
        )
    return found
