"""`hsfuse fuse`: two co-registered scenes in, a georeferenced high-resolution hyperspectral COG out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from hsfuse import __version__
from hsfuse.errors import RequestError
from hsfuse.fusion.compute import to_device
from hsfuse.fusion.engine import Compute, Progress, fuse_tiles
from hsfuse.fusion.memory import available_bytes, fitting_tile, peak_megabytes
from hsfuse.fusion.methods import DEFAULT_METHOD, ChosenMethod, choose_method, working_bytes
from hsfuse.fusion.tiles import TilePlan
from hsfuse.pairs.pair import Pair, image_pair, open_pair
from hsfuse.scenes import CogWriter, Encoding, PixelWindow
from hsfuse.subspace.patch import PairPatch
from hsfuse.training.adaptation import Adaptation, adapt

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from hsfuse.fusion.methods import FittedMethod
    from hsfuse.imaging import ImagingModel

BLEND_PIXELS = 4
"""HSI pixels over which neighbouring tiles are blended, beside the margins that a method needs."""

HALF = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What autocast computes in, by the name of a precision."""


@dataclass(frozen=True)
class FuseResult:
    """What was made, and how."""

    output: Path
    """The COG."""

    width: int
    """Fine pixels."""

    height: int
    """Fine pixels."""

    bands: int
    """Of the output."""

    ratio: int
    """HSI pixel over MSI pixel."""

    model: str
    """As of `--model`."""

    weights: str | None
    """Name of the weights file; None for classical methods."""

    device: str
    """Where it was computed."""

    precision: str
    """`fp32`, `bf16` or `fp16`."""

    tiles: int
    """How many."""

    tile: int
    """Edge in HSI pixels."""

    overlap: int
    """In HSI pixels."""

    resampled: bool
    """Whether the MSI was resampled onto the HSI's grid."""

    adapted: Adaptation | None
    """What came of `--adapt`; None without it."""

    shift: tuple[float, float] | None
    """Misregistration (x, y) in HSI pixels as measured; None where it could not be."""

    seconds: float
    """From opening to the finished file."""

    peak_memory_mb: float
    """Largest resident size of the process."""

    warnings: tuple[str, ...]
    """Sentences for the user."""


def fuse(
    hsi: str | os.PathLike[str],
    msi: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    model: str = DEFAULT_METHOD,
    weights: str | None = None,
    adapt_seconds: float | None = None,
    srf: str | None = None,
    psf: str | None = None,
    hsi_bands: str | None = None,
    msi_bands: str | None = None,
    window: PixelWindow | None = None,
    ratio: int | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    memory: int | None = None,
    dtype: str | None = None,
    nodata: float | None = None,
    creation_options: Mapping[str, str] | None = None,
    overwrite: bool = False,
    allow_shift: bool = False,
    coregister: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> FuseResult:
    """Fuse a hyperspectral and a multispectral scene of the same place.

    Args:
        hsi: The hyperspectral scene, anything that GDAL opens.
        msi: The multispectral scene.
        output: The COG to write.
        model: A network or a classical method.
        weights: A weights file, or the name of a bundled one.
        adapt_seconds: First fine-tune the weights on this pair at reduced resolution, for that long.
        srf: `estimate`, a sensor's name or a file; by default the MSI's own sensor where it says so.
        psf: `estimate` (default), `gaussian:FWHM` in HSI pixels, or a file.
        hsi_bands: 1-based list such as `1-4,8`; by default all good ones.
        msi_bands: Likewise.
        window: Part to fuse, in HSI pixels.
        ratio: HSI pixel over MSI pixel; measured by default.
        tile: Edge of a tile in HSI pixels; by default what fits into memory.
        overlap: Of tiles, in HSI pixels; by default what the method needs.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        memory: Bound on the resident memory in bytes; by default half of what is free.
        dtype: Of the output; by default the HSI's.
        nodata: Of the output, in the file's numbers; by default the HSI's.
        creation_options: As of GDAL's COG driver.
        overwrite: Replace an existing output.
        allow_shift: Go on also above two HSI pixels of misregistration.
        coregister: Move the MSI by the misregistration measured.
        seed: Of whatever is drawn at random.
        progress: Observer of the work.

    Raises:
        RequestError: The request cannot be served (see its subclasses); nothing was written.
        WorkError: The work failed on the way; the old output, if any, is untouched.
    """
    started = time.monotonic()
    torch.manual_seed(seed)
    CogWriter.check_target(output, overwrite=overwrite)
    compute, precision = choose_compute(device, precision)
    chosen = choose_method(model, weights)
    if chosen.weights is None and compute.device.type != "cpu":
        compute, precision = choose_compute("cpu", "fp32")  # classical methods are quick enough there
    pair = open_pair(hsi, msi, hsi_bands=hsi_bands, msi_bands=msi_bands, window=window, ratio=ratio)
    imaged = image_pair(pair, srf=srf, psf=psf, allow_shift=allow_shift, coregister=coregister)
    pair = imaged.pair
    adapted: Adaptation | None = None
    if adapt_seconds is not None:
        chosen, adapted = adapt(
            imaged, chosen, adapt_seconds, compute=compute, memory=(memory or available_bytes() // 2) // 2, seed=seed,
            progress=progress or _Silent(),
        )  # fmt: skip
    plan, redone = fuse_imaged(
        imaged,
        chosen,
        output,
        tags={} if adapted is None else {"HSFUSE_ADAPTED": adapted.sentence},
        compute=compute,
        tile=tile,
        overlap=overlap,
        memory=memory,
        dtype=dtype,
        nodata=nodata,
        creation_options=creation_options,
        overwrite=overwrite,
        progress=progress,
    )
    warnings = list(imaged.warnings)
    if chosen.weights is not None and pair.ratio not in chosen.weights.card.ratios:
        trained = ", ".join(str(ratio) for ratio in chosen.weights.card.ratios)
        warnings.append(
            f"the weights {chosen.weights.name} were trained at ratio {trained}, this pair has {pair.ratio}"
        )
    if redone:
        warnings.append(f"{redone} of {len(plan)} tiles were not finite in {precision} and were computed in fp32")
    return FuseResult(
        Path(output),
        pair.fine_grid.width,
        pair.fine_grid.height,
        len(pair.hsi_bands),
        pair.ratio,
        chosen.name,
        None if chosen.weights is None else chosen.weights.name,
        str(compute.device),
        precision,
        len(plan),
        plan.rows.tile,
        plan.rows.overlap,
        pair.resampled,
        adapted,
        None if imaged.shift is None else (imaged.shift.x, imaged.shift.y),
        time.monotonic() - started,
        peak_megabytes(),
        tuple(warnings),
    )


def fuse_imaged(
    imaged: Pair,
    chosen: ChosenMethod,
    output: str | os.PathLike[str],
    *,
    compute: Compute,
    tags: Mapping[str, str] | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    memory: int | None = None,
    dtype: str | None = None,
    nodata: float | None = None,
    creation_options: Mapping[str, str] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[TilePlan, int]:
    """Fuse a pair whose imaging model is known into a COG; the arguments are those of `fuse`, and further
    `tags` for the output's dataset.

    Returns:
        The tiles, and how many of them were computed again in float32.

    Raises:
        RequestError: The tiles or the output cannot be had.
        WorkError: The work failed on the way; the old output, if any, is untouched.
    """
    pair = imaged.pair
    index = list(pair.hsi_bands)
    with CogWriter(
        Path(output),
        pair.fine_grid,
        pair.hsi.bands.select(index),
        Encoding.for_output(
            len(index),
            dtype or pair.hsi.dtype,
            nodata if nodata is not None else pair.hsi.nodata,
            pair.hsi.scales[index],
            pair.hsi.offsets[index],
            clip_negative=pair.hsi.screen.nonnegative,
        ),
        tags=_tags(chosen, imaged) | dict(tags or {}),
        creation_options=creation_options,
        overwrite=overwrite,
    ) as writer:
        fitted = fit_on(compute.device, chosen, [PairPatch.of(block) for block in pair.sample()], imaged.imaging)
        plan = plan_tiles(pair.window, len(index), pair.ratio, fitted, tile=tile, overlap=overlap, memory=memory)
        redone = fuse_tiles(
            pair, fitted, plan, writer, bands=len(index), compute=compute, progress=progress or _Silent()
        )
    return plan, redone


def fit_on(
    device: torch.device, chosen: ChosenMethod, patches: Sequence[PairPatch], imaging: ImagingModel
) -> FittedMethod:
    """A method that knows its scene, with all that it holds on the device where tiles are computed."""
    return to_device(chosen.on(device).fit(patches, imaging), device)


def plan_tiles(
    area: PixelWindow,
    bands: int,
    ratio: int,
    fitted: FittedMethod,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    memory: int | None = None,
) -> TilePlan:
    """The tiles asked for, or those that fit into memory with the overlap that the method needs.

    Args:
        area: What is fused, in HSI pixels; only its size matters.
        bands: C, of the fused image.
        ratio: HSI pixel over fine pixel.
        fitted: The method.
        tile: Edge of a tile in HSI pixels.
        overlap: Of tiles, in HSI pixels.
        memory: Bound on the resident memory in bytes; by default half of what is free.

    Raises:
        RequestError: The tile is too small for the overlap, or for the memory.
    """
    if overlap is None:
        overlap = 2 * fitted.margin + BLEND_PIXELS
    if tile is None:
        budget = memory if memory is not None else available_bytes() // 2
        tile = fitting_tile(bands, area.width, ratio, overlap, budget, working_bytes(fitted))
    margin = min(fitted.margin, overlap // 2)
    return TilePlan.make(area.width, area.height, ratio, tile=tile, overlap=overlap, margin=margin)


def choose_compute(device: str, precision: str) -> tuple[Compute, str]:
    """The device and precision of a run; `auto` is CUDA with fp16 where there is one, else the CPU with fp32.

    Raises:
        RequestError: The device is not there, or has no fp16.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise RequestError(f"{device!r} is no device: pass auto, cpu, cuda or cuda:N") from error
    if chosen.type not in {"cpu", "cuda"}:
        raise RequestError(f"{device!r} is no device: pass auto, cpu, cuda or cuda:N")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise RequestError("there is no CUDA device that torch can use: pass --device cpu")
    if precision == "auto":
        precision = "fp16" if chosen.type == "cuda" else "fp32"
    if precision == "fp16" and chosen.type == "cpu":
        raise RequestError("fp16 is for CUDA devices: pass --precision bf16 or fp32 on the CPU")
    return Compute(chosen, HALF[precision]), precision


def _tags(chosen: ChosenMethod, imaged: Pair) -> dict[str, str]:
    """How the output was made, for its dataset."""
    fwhm = imaged.imaging.psf.fwhm
    tags = {
        "HSFUSE_VERSION": __version__,
        "HSFUSE_MODEL": chosen.name,
        "HSFUSE_RATIO": str(imaged.pair.ratio),
        "HSFUSE_SRF": imaged.srf_source,
        "HSFUSE_PSF": f"{imaged.psf_source} (FWHM {fwhm[0]:.2f} × {fwhm[1]:.2f} HSI pixels)",
        "HSFUSE_HSI": Path(imaged.pair.hsi.path).name,
        "HSFUSE_MSI": Path(imaged.pair.msi.path).name,
    }
    if chosen.weights is not None:
        tags["HSFUSE_WEIGHTS"] = chosen.weights.name
        tags["HSFUSE_WEIGHTS_SHA256"] = chosen.weights.checksum()
    return tags


class _Silent:
    """An observer that says nothing."""

    def start(self, stage: str, total: int, unit: str = "tiles") -> None:
        """A stage begins."""

    def advance(self) -> None:
        """A step is done."""

    def finish(self) -> None:
        """The stage is over."""
