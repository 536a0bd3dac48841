"""A data set under a paper's protocol: simulate the pairs, train, evaluate, and print the table."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cubes import open_cube
from tables import csv_rows, table, trained_name
from training import add_training_options, evaluate, remaining, train, upper_right

from hsfuse.errors import HsfuseError, OutputError, RequestError
from hsfuse.files import check_target
from hsfuse.fusion.methods import choose_method
from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, degrade, load_srf
from hsfuse.imaging.psf import FWHM_PER_SIGMA
from hsfuse.pairs.wald_level import SimulatedPair
from hsfuse.report.csv_table import write_csv
from hsfuse.scenes import PixelWindow, parse_band_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from claims import Claims
    from cubes import Cube
    from numpy.typing import NDArray

    from hsfuse.imaging import WaldPair

PROTOCOLS = {"mgdunlss": "khader-2023", "ssrfn": "zhao-2024"}
"""Whose protocol goes with a network unless another is asked for."""

_OF_THE_PROTOCOL = (
    "bands", "crop", "test", "srf", "wavelengths", "patch", "batch", "lr", "steps", "minutes", "share", "set", "preset",
    "optimiser", "ablate",
)  # fmt: skip

SIMULATED_METRICS = ("psnr", "sam", "ergas", "uiqi", "ssim", "cc", "rmse")
"""What is measured; a paper's table decides what is shown."""


@dataclass(frozen=True)
class Experiment:
    """A data set as a paper uses it."""

    title: str
    """Data set and paper."""

    bands: dict[int, str]
    """Bands in use, a 1-based list by how many the file has."""

    centres_nm: tuple[float, ...]
    """Of the file's bands, where neither it nor the user tells; two are the first and last of an even spacing."""

    crop: tuple[int, int] | None
    """Rows and columns in use, None for all."""

    centred: bool
    """Whether these are the middle of the file, not its upper left."""

    test: tuple[int, int]
    """Rows and columns of the test region."""

    ratio: int
    """r."""

    srf: str | tuple[float, ...]
    """A sensor with its bands, or wavelengths in nm of which the nearest HSI bands are the MSI."""

    sigma: float | None
    """Of a Gaussian blur of 7×7 fine pixels, in these; None for a Gaussian whose FWHM is one HSI pixel."""

    snr_hsi: float | None
    """In dB."""

    snr_msi: float | None
    """In dB."""

    patch: int
    """Edge of a training patch in HSI pixels."""

    claims: Claims | None
    """The paper's table."""

    settled: tuple[str, ...]
    """What the paper leaves open, and how it is settled here."""

    @property
    def psf(self) -> PointSpread:
        """B's kernel, which needs the parity of the ratio: 8×8 taps stand for 7×7 where that is even."""
        if self.sigma is None:
            return PointSpread.gaussian(self.ratio, 1.0)
        taps = 7 + (self.ratio + 1) % 2
        return PointSpread.gaussian(self.ratio, self.sigma * FWHM_PER_SIGMA / self.ratio, taps=taps)

    def centres(self, bands: int) -> NDArray[np.float64]:
        """Of all bands of a file that does not tell, in nm."""
        if len(self.centres_nm) == 2:
            return np.linspace(*self.centres_nm, bands)
        return np.array(self.centres_nm)

    def response(self, wavelength_nm: NDArray[np.float64], srf: str | None) -> SpectralResponse:
        """R over the bands in use; `srf` overrules the paper's."""
        source = srf or self.srf
        if isinstance(source, str):
            return load_srf(source, wavelength_nm).response
        nearest = [int(np.abs(wavelength_nm - nm).argmin()) for nm in source]
        names = tuple(f"{nm:.0f} nm" for nm in source)
        return SpectralResponse(np.eye(len(wavelength_nm))[nearest], names, wavelength_nm)


def run(description: str | None, experiments: Mapping[str, Experiment], argv: Sequence[str] | None) -> None:
    """A script: parse, simulate, train, evaluate, print.

    Args:
        description: Of the script.
        experiments: By protocol.
        argv: Arguments, by default those of the process.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the data set: .mat, ENVI, GeoTIFF")
    parser.add_argument("--protocol", choices=list(experiments), help="by default that of the network's own paper")
    parser.add_argument("--key", help="of the array in a .mat; by default its only one of three dimensions")
    parser.add_argument("--wavelengths", type=Path, help="text file, the centre of every band of the file in nm")
    parser.add_argument("--bands", help="1-based list such as 10-102; the paper's by default")
    parser.add_argument("--crop", type=size, metavar="ROWSxCOLUMNS", help="part of the file in use")
    parser.add_argument("--test", type=size, metavar="ROWSxCOLUMNS", help="test region, its upper right corner")
    parser.add_argument("--srf", help="another sensor's response, such as sentinel-2a")
    parser.add_argument("--weights", type=Path, help="keep what was trained in this .safetensors file")
    add_training_options(parser)
    options = parser.parse_args(argv)
    own = PROTOCOLS[options.model]
    experiment = experiments[options.protocol or (own if own in experiments else next(iter(experiments)))]
    guarded(lambda: run_simulated(experiment, options, departures(parser, options)))


def guarded(work: Callable[[], None]) -> None:
    """Do it; what hsfuse refuses ends the script with its sentence."""
    try:
        work()
    except HsfuseError as error:
        sys.exit(f"error: {error}")


def departures(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[str]:
    """The options given that make this another experiment than the paper's."""
    asked = {name: getattr(options, name, None) for name in _OF_THE_PROTOCOL}
    return [
        f"--{name.replace('_', '-')} {_plain(given)}"
        for name, given in asked.items()
        if given != parser.get_default(name)
    ]


def _plain(given: object) -> str:
    if isinstance(given, tuple):
        return "x".join(map(str, given))
    return " ".join(given) if isinstance(given, list) else str(given)


def size(text: str) -> tuple[int, int]:
    """Rows and columns out of `250x250`."""
    rows, _, columns = text.partition("x")
    return int(rows), int(columns)


def run_simulated(experiment: Experiment, options: argparse.Namespace, changes: Sequence[str]) -> None:
    """Simulate, train, evaluate, print; `changes` are the options that depart from the paper."""
    check_targets(options)
    others = {named(name): choose_method(name) for name in methods_of(options)}
    training, test = simulate(open_cube(options.file, options.key), experiment, options)
    scenes = [SimulatedPair(pair, f"training area {index + 1}") for index, pair in enumerate(training)]
    scores: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = options.weights or Path(folder) / f"{options.model}.safetensors"
        train(scenes, options, patch=options.patch or experiment.patch, title=experiment.title, output=path)
        for name, method in {trained_name(options.model): choose_method(options.model, str(path)), **others}.items():
            with failing_alone(name):
                scores[name] = evaluate(test, method, options)
    _print(experiment, test, scores, changes)
    if options.csv is not None:
        write_csv(options.csv, csv_rows(scores, experiment.claims), overwrite=True)


def check_targets(options: argparse.Namespace) -> None:
    """Find out before hours of training whether the results can be written.

    Raises:
        OutputError: They cannot.
    """
    if options.csv is not None:
        check_target(options.csv, overwrite=True)
    weights = getattr(options, "weights", None)
    if weights is not None and (weights.suffix != ".safetensors" or not weights.parent.is_dir()):
        raise OutputError(f"{weights} cannot be written: name a .safetensors file in a folder that exists")


def methods_of(options: argparse.Namespace) -> list[str]:
    """Names of `--methods`."""
    return [name for name in options.methods.split(",") if name]


@contextlib.contextmanager
def failing_alone(name: str) -> Iterator[None]:
    """A method that fails has no line in the table, and does not take the others' away."""
    try:
        yield
    except HsfuseError as error:
        print(f"{name} failed: {error}", file=sys.stderr)


def named(method: str) -> str:
    """What a method is called that was not trained here."""
    return f"{method}, bundled weights" if method in PROTOCOLS else method


def simulate(cube: Cube, experiment: Experiment, options: argparse.Namespace) -> tuple[list[WaldPair], WaldPair]:
    """The pairs to train on, and the one to test on.

    The file is cut first and every part degraded by itself, so that no blur carries test pixels into training.
    Values are divided by the largest one in use, which matters to RMSE alone.

    Raises:
        RequestError: The file is smaller than what the protocol takes, or has other bands.
    """
    bands = _bands(cube, experiment, options.bands)
    area = _area(cube, experiment, options.crop)
    test = upper_right(area, *(options.test or experiment.test))
    parts = [cube.read(window, bands) for window in (test, *remaining(area, test))]
    largest = max(float(np.nanmax(part)) for part in parts)
    for part in parts:
        np.divide(part, largest, out=part)
    srf = experiment.response(_wavelengths(cube, experiment, options.wavelengths)[list(bands)], options.srf)
    model = ImagingModel(srf, experiment.psf)
    first, *others = [
        degrade(part, model, snr_hsi=experiment.snr_hsi, snr_msi=experiment.snr_msi, seed=options.seed + index)
        for index, part in enumerate(parts)
        if min(part.shape[1:]) >= experiment.ratio
    ]
    return others, first


def _bands(cube: Cube, experiment: Experiment, wanted: str | None) -> tuple[int, ...]:
    text = wanted or experiment.bands.get(cube.bands)
    if text is None:
        known = " or ".join(str(count) for count in experiment.bands)
        raise RequestError(
            f"{cube.path} has {cube.bands} bands, {experiment.title} is for {known}: say which to use with --bands"
        )
    return parse_band_list(text, cube.bands)


def _area(cube: Cube, experiment: Experiment, wanted: tuple[int, int] | None) -> PixelWindow:
    rows, columns = wanted or experiment.crop or (cube.rows, cube.columns)
    if rows > cube.rows or columns > cube.columns:
        raise RequestError(
            f"{cube.path} has {cube.rows}×{cube.columns} pixels, {rows}×{columns} are to be used: pass a smaller part "
            "with --crop ROWSxCOLUMNS"
        )
    if not experiment.centred:
        return PixelWindow(0, 0, columns, rows)
    return PixelWindow((cube.columns - columns) // 2, (cube.rows - rows) // 2, columns, rows)


def _wavelengths(cube: Cube, experiment: Experiment, table_of: Path | None) -> NDArray[np.float64]:
    """Band centres of the whole file in nm: the user's, the file's, or the protocol's."""
    if table_of is None:
        return experiment.centres(cube.bands) if cube.wavelength_nm is None else cube.wavelength_nm
    try:
        given = np.loadtxt(table_of, dtype=np.float64, ndmin=1)
    except (OSError, ValueError) as error:
        raise RequestError(f"{table_of} cannot be read as a list of wavelengths ({error})") from error
    if given.shape != (cube.bands,):
        raise RequestError(f"{table_of} has {given.size} wavelengths, {cube.path} has {cube.bands} bands")
    return given


def _print(experiment: Experiment, test: WaldPair, scores: dict[str, dict[str, float]], changes: Sequence[str]) -> None:
    print(f"# {experiment.title}\n")
    noise = ", ".join(
        f"{name} {'without noise' if snr is None else f'at {snr:g} dB'}"
        for name, snr in (("HSI", experiment.snr_hsi), ("MSI", experiment.snr_msi))
    )
    bands, rows, columns = test.reference.shape
    print(f"Test region {rows}×{columns}, {bands} bands, ratio {experiment.ratio}; {noise}.")
    print(f"MSI bands: {', '.join(test.model.srf.msi_bands)}.\n")
    print("What the paper leaves open, and how it is settled here:\n")
    for sentence in experiment.settled:
        print(f"- {sentence}")
    if changes:
        print(f"\nUnlike the paper, as asked for: {', '.join(changes)}.")
    print()
    print("\n".join(table(scores, SIMULATED_METRICS, experiment.claims)))
