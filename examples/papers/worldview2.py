"""A WorldView-2 image: its eight bands stand for the HSI, an RGB image of finer pixels for the MSI.

    python examples/papers/worldview2.py ms.tif rgb.tif    # Khader et al. 2023, IV-H: a real pair
    python examples/papers/worldview2.py ms.tif            # no RGB at hand: simulated from the eight bands alone

With an RGB (the paper's has pixels of a quarter of the MS image's) this is `real_pair.py` with the paper's test region
and patches. Without one the MS image itself is the truth: degraded by four, and seen through its own red, green and
blue bands. The paper prints pictures only, no figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from protocol import Experiment, departures, guarded, run_simulated
from real_pair import add_pair_options, run_pair
from training import add_training_options

if TYPE_CHECKING:
    from collections.abc import Sequence

PATCH = 4
"""HSI pixels: 4×4 of the MS image, 16×16 of the RGB."""

TEST = (90, 90)
"""Rows and columns of the MS image."""

SIMULATED = Experiment(
    title="WorldView-2 without an RGB, simulated from its eight bands",
    bands={8: "1-8"},
    centres_nm=(428.0, 479.0, 548.0, 608.0, 659.0, 724.0, 828.0, 923.0),
    crop=None,
    centred=False,
    test=(360, 360),
    ratio=4,
    srf=(660.0, 545.0, 480.0),
    sigma=None,
    snr_hsi=40.0,
    snr_msi=40.0,
    patch=PATCH,
    claims=None,
    settled=(
        "The paper has an RGB image of this sensor; here the MS image is the truth and its own bands are the RGB.",
        "Width of the Gaussian blur: FWHM of one HSI pixel. Noise: 40 dB in both images.",
        "Wavelengths, where the file does not tell: those of the sensor's published response.",
        "Where the 360×360 test pixels lie: in the upper right corner.",
    ),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ms", type=Path, help="the eight bands, anything that GDAL opens")
    parser.add_argument("rgb", type=Path, nargs="?", help="an image of finer pixels, such as a pansharpened RGB")
    add_pair_options(parser)
    add_training_options(parser)
    parser.set_defaults(key=None, wavelengths=None, crop=None, weights=None)
    options = parser.parse_args(argv)
    if options.rgb is not None:
        patch = options.patch or PATCH
        guarded(lambda: run_pair(options.ms, options.rgb, options, test=options.test or TEST, patch=patch))
        return
    options.file, options.bands = options.ms, options.hsi_bands
    guarded(lambda: run_simulated(SIMULATED, options, departures(parser, options)))


if __name__ == "__main__":
    main()
