"""A real pair by the protocol of either paper: Hyperion or PRISMA with Sentinel-2, or a WorldView-2 image with its RGB.

    python examples/papers/real_pair.py hyperion.tif s2.tif                # Khader et al. 2023, IV-H
    python examples/papers/real_pair.py prisma.tif s2.tif --model ssrfn    # Zhao et al. 2024, III-C

No truth exists, so the network trains one Wald level down (both images degraded, the HSI is the truth) on all but the
test region. That is judged twice: at reduced resolution against its HSI, and at full resolution without a reference.
Neither paper prints figures for real pairs, only pictures; there is nothing to stand beside what is measured here.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocol import check_targets, failing_alone, guarded, methods_of, named, size
from tables import csv_rows, table, trained_name
from training import add_training_options, remaining, train, upper_right

from hsfuse.commands.compare import compare
from hsfuse.commands.evaluate import evaluate
from hsfuse.commands.fuse import fuse
from hsfuse.fusion.methods import choose_method
from hsfuse.pairs.pair import image_pair, open_pair
from hsfuse.pairs.wald_level import PairLevel
from hsfuse.report.csv_table import write_csv
from hsfuse.scenes import PixelWindow, ScenePair

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hsfuse.pairs.pair import Pair

REDUCED = ("psnr", "sam", "ergas", "uiqi", "ssim", "cc", "rmse")
FULL = ("d_lambda", "d_s", "qnr", "hqnr", "consistency_hsi", "consistency_msi")

PATCHES = {"mgdunlss": 5, "ssrfn": 16}
"""HSI pixels: the paper's 5×5 for Hyperion; for PRISMA what makes 48×48 fine pixels, where it prints 512×512."""

TEST = (210, 210)
"""Rows and columns of the HSI: the paper's for Hyperion; the other does not say for PRISMA."""


@dataclass(frozen=True)
class Known:
    """A pair and the imaging model found on all of it, as the options that every command takes."""

    imaged: Pair
    """The pair."""

    model: Path
    """Its imaging model as a file."""

    def options(self) -> dict[str, Any]:
        """Which images, and R and B between them."""
        pair = self.imaged.pair
        source = str(self.model)
        return {
            "hsi": pair.hsi.path,
            "msi": pair.msi.path,
            "srf": source,
            "psf": source,
            "hsi_bands": _numbers(pair.hsi_bands),
            "msi_bands": _numbers(pair.msi_bands),
        }

    def training(self, test: PixelWindow) -> list[PairLevel]:
        """All but the test region, one Wald level down; each part is cut out before it is degraded."""
        pair = self.imaged.pair
        bands = {"hsi_bands": pair.hsi_bands, "msi_bands": pair.msi_bands}
        parts = [
            ScenePair.open(pair.hsi, pair.msi, **bands, window=window, ratio=pair.ratio)
            for window in remaining(pair.window, test)
        ]
        return [PairLevel(part, self.imaged.imaging) for part in parts]


def add_pair_options(parser: argparse.ArgumentParser) -> None:
    """Those of a pair, and where files go."""
    parser.add_argument("--srf", help="as of hsfuse fuse; by default the MSI's own sensor, else estimated")
    parser.add_argument("--psf", help="as of hsfuse fuse; estimated by default")
    parser.add_argument("--hsi-bands", help="1-based list such as 9-57,79-118; all good ones by default")
    parser.add_argument("--msi-bands", help="1-based list")
    parser.add_argument("--ratio", type=int, help="of HSI pixel to MSI pixel; measured by default")
    parser.add_argument("--allow-shift", action="store_true", help="go on with images misregistered by over 2 pixels")
    parser.add_argument("--test", type=size, metavar="ROWSxCOLUMNS", help="test region in HSI pixels")
    parser.add_argument("--folder", type=Path, help="keep weights, imaging model and fused images here")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hsi", type=Path, help="the hyperspectral image, anything that GDAL opens")
    parser.add_argument("msi", type=Path, help="the multispectral image, co-registered with it")
    add_pair_options(parser)
    add_training_options(parser)
    options = parser.parse_args(argv)
    patch = options.patch or PATCHES[options.model]
    guarded(lambda: run_pair(options.hsi, options.msi, options, test=options.test or TEST, patch=patch))


def run_pair(hsi: Path, msi: Path, options: argparse.Namespace, *, test: tuple[int, int], patch: int) -> None:
    """Train on all but the test region, and print both tables of it."""
    check_targets(options)
    for name in methods_of(options):
        choose_method(name)
    with _folder(options.folder) as folder:
        known = _known(hsi, msi, options, folder)
        region = upper_right(known.imaged.pair.window, *test)
        title = f"{hsi.name} with {msi.name}"
        weights = train(
            known.training(region), options, patch=patch, title=title, output=folder / f"{options.model}.safetensors"
        )
        reduced = _at_reduced_resolution(known, region, weights, options)
        full = _at_full_resolution(known, region, weights, options, folder)
    _print(title, known, region, reduced, full)
    if options.csv is not None:
        together = {name: {**reduced.get(name, {}), **full.get(name, {})} for name in {**reduced, **full}}
        write_csv(options.csv, csv_rows(together, None))


@contextlib.contextmanager
def _folder(wanted: Path | None) -> Iterator[Path]:
    if wanted is not None:
        wanted.mkdir(parents=True, exist_ok=True)
        yield wanted
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _known(hsi: Path, msi: Path, options: argparse.Namespace, folder: Path) -> Known:
    """Open the pair, and load or estimate its imaging model on all of it."""
    pair = open_pair(hsi, msi, hsi_bands=options.hsi_bands, msi_bands=options.msi_bands, ratio=options.ratio)
    imaged = image_pair(pair, srf=options.srf, psf=options.psf, allow_shift=options.allow_shift)
    imaged.imaging.save(folder / "imaging.json")
    return Known(imaged, folder / "imaging.json")


def _at_reduced_resolution(
    known: Known, region: PixelWindow, weights: Path, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """The test region one Wald level down, by method; one that fails there has no line."""
    found = compare(
        **known.options(), window=region, ratio=known.imaged.pair.ratio, methods=methods_of(options),
        weights=[str(weights)], device=options.device, precision="fp32", allow_shift=options.allow_shift,
        seed=options.seed,
    )  # fmt: skip
    scores = {
        _label(entry.model, entry.weights == weights.stem): entry.scores.summary()
        for entry in found.entries
        if entry.scores is not None
    }
    for warning in found.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    return dict(sorted(scores.items(), key=lambda item: item[0] != trained_name(options.model)))


def _at_full_resolution(
    known: Known, region: PixelWindow, weights: Path, options: argparse.Namespace, folder: Path
) -> dict[str, dict[str, float]]:
    """The test region fused, by method, without a reference."""
    scores = {}
    for model, file in [(options.model, str(weights)), *((name, None) for name in methods_of(options))]:
        name = _label(model, trained=file is not None)
        fused = folder / f"{name.replace(', ', '-').replace(' ', '-')}.tif"
        shared = {**known.options(), "ratio": known.imaged.pair.ratio, "allow_shift": options.allow_shift}
        with failing_alone(name):
            fuse(
                output=fused, model=model, weights=file, window=region, tile=options.tile, device=options.device,
                precision="fp32", dtype="float32", overwrite=True, seed=options.seed, **shared,
            )  # fmt: skip
            scores[name] = evaluate(fused, **shared).scores.summary()
    return scores


def _label(model: str, trained: bool) -> str:
    return trained_name(model) if trained else named(model)


def _numbers(bands: Sequence[int]) -> str:
    return ",".join(str(band + 1) for band in bands)


def _print(
    title: str,
    known: Known,
    region: PixelWindow,
    reduced: Mapping[str, Mapping[str, float]],
    full: Mapping[str, Mapping[str, float]],
) -> None:
    imaged = known.imaged
    print(f"# {title}\n")
    print(f"Test region: {region.height}×{region.width} HSI pixels, the upper right corner; ratio {imaged.pair.ratio}.")
    print(f"SRF: {imaged.srf_source}; PSF: {imaged.psf_source}, FWHM {imaged.imaging.psf.fwhm[0]:.2f} HSI pixels.")
    for warning in imaged.warnings:
        print(f"Warning: {warning}.")
    print(
        "\nThe papers print no figures for real pairs, only pictures: nothing is claimed that this could stand beside."
    )
    print("\n## Reduced resolution (Wald's protocol: the HSI of the test region is the truth)\n")
    print("\n".join(table(reduced, REDUCED, None)))
    print("\n## Full resolution, without a reference\n")
    print("\n".join(table(full, FULL, None)))
    print("\nQNR, HQNR and the consistency with the HSI favour plain bicubic where the HSI is noisy.")


if __name__ == "__main__":
    main()
