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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from protocol import check_targets, failing_alone, guarded, methods_of, named, size
from tables import csv_rows, table, trained_name
from training import add_training_options, remaining, train, upper_right

from hsfuse.commands.compare import compare
from hsfuse.commands.evaluate import evaluate
from hsfuse.commands.fuse import fuse
from hsfuse.fusion.compute import Compute
from hsfuse.fusion.job import OutputFormat
from hsfuse.fusion.methods import choose_method
from hsfuse.fusion.opening import open_pair
from hsfuse.fusion.tiles import Tiling
from hsfuse.pairs.pair import PairRequest
from hsfuse.pairs.wald_level import ReducedPair
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

    pair: Pair
    """The pair."""

    model: Path
    """Its imaging model as a file."""

    def request(self, window: PixelWindow, *, allow_shift: bool) -> PairRequest:
        """A part of the pair with R and B as they were found on all of it."""
        scenes, source = self.pair.scenes, str(self.model)
        return PairRequest(
            scenes.hsi.path,
            scenes.msi.path,
            srf=source,
            psf=source,
            hsi_bands=_numbers(scenes.hsi_bands),
            msi_bands=_numbers(scenes.msi_bands),
            window=window,
            ratio=scenes.ratio,
            allow_shift=allow_shift,
        )

    def training(self, test: PixelWindow) -> list[ReducedPair]:
        """All but the test region, one Wald level down; each part is cut out before it is degraded."""
        scenes = self.pair.scenes
        bands = {"hsi_bands": scenes.hsi_bands, "msi_bands": scenes.msi_bands}
        parts = [
            ScenePair.open(scenes.hsi, scenes.msi, **bands, window=window, ratio=scenes.ratio)
            for window in remaining(scenes.window, test)
        ]
        return [ReducedPair(replace(self.pair, scenes=part, sample=tuple(part.sample()))) for part in parts]


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
        region = upper_right(known.pair.window, *test)
        title = f"{hsi.name} with {msi.name}"
        weights = train(
            known.training(region), options, patch=patch, title=title, output=folder / f"{options.model}.safetensors"
        )
        reduced = _at_reduced_resolution(known, region, weights, options)
        full = _at_full_resolution(known, region, weights, options, folder)
    _print(title, known, region, reduced, full)
    if options.csv is not None:
        together = {name: {**reduced.get(name, {}), **full.get(name, {})} for name in {**reduced, **full}}
        write_csv(options.csv, csv_rows(together, None), overwrite=True)


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
    pair = open_pair(
        hsi, msi, hsi_bands=options.hsi_bands, msi_bands=options.msi_bands, ratio=options.ratio,
        srf=options.srf, psf=options.psf, allow_shift=options.allow_shift,
    )  # fmt: skip
    pair.imaging.save(folder / "imaging.json")
    return Known(pair, folder / "imaging.json")


def _at_reduced_resolution(
    known: Known, region: PixelWindow, weights: Path, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """The test region one Wald level down, by method; one that fails there has no line."""
    found = compare(
        known.request(region, allow_shift=options.allow_shift), methods=methods_of(options), weights=[str(weights)],
        compute=Compute(options.device, "fp32"), seed=options.seed,
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
        request = known.request(region, allow_shift=options.allow_shift)
        with failing_alone(name):
            fuse(
                request, fused, model=model, weights=file, tiling=Tiling(options.tile), overwrite=True,
                compute=Compute(options.device, "fp32"), form=OutputFormat("float32"), seed=options.seed,
            )  # fmt: skip
            scores[name] = evaluate(fused, pair=replace(request, window=None)).scores.summary()
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
    pair = known.pair
    print(f"# {title}\n")
    print(f"Test region: {region.height}×{region.width} HSI pixels, the upper right corner; ratio {pair.ratio}.")
    print(f"SRF: {pair.srf_source}; PSF: {pair.psf_source}, FWHM {pair.imaging.psf.fwhm[0]:.2f} HSI pixels.")
    for warning in pair.warnings:
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
