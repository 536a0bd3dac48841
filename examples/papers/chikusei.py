"""Chikusei by the protocol of either paper: simulate, train, evaluate, print beside the paper's table.

    python examples/papers/chikusei.py HyperspecVNIR_Chikusei_20140729.mat                  # Khader 2023, Table IV
    python examples/papers/chikusei.py HyperspecVNIR_Chikusei_20140729.mat --model ssrfn    # Zhao 2024, Table I

The file is the public one: Headwall Hyperspec-VNIR-C, 2517×2335 pixels, 128 bands; the `.mat` is of version 7.3 (array
`chikusei`) and needs h5py, the ENVI file does not, and knows its wavelengths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claims import KHADER_CHIKUSEI, ZHAO_CHIKUSEI
from protocol import Experiment, run

if TYPE_CHECKING:
    from collections.abc import Sequence

RANGE_NM = (363.0, 1018.0)

EXPERIMENTS = {
    "khader-2023": Experiment(
        title="Chikusei, protocol of Khader et al. 2023",
        bands={128: "1-128"},
        centres_nm=RANGE_NM,
        crop=(2048, 2048),
        centred=True,
        test=(512, 512),
        ratio=8,
        srf="ikonos:Blue,Green,Red",
        sigma=2.0,
        snr_hsi=30.0,
        snr_msi=35.0,
        patch=8,
        claims=KHADER_CHIKUSEI,
        settled=(
            "Which 2048×2048 pixels: the middle of the file. Which 512×512 of them test: the upper right corner.",
            "Phase of the blur: an HSI pixel's centre is that of its 8×8 fine pixels, and the Gaussian has 8×8 taps.",
            "The three bands of the IKONOS response: blue, green and red, as the published table has them.",
            "Wavelengths, where the file does not tell: evenly spaced from 363 to 1018 nm.",
        ),
    ),
    "zhao-2024": Experiment(
        title="Chikusei, protocol of Zhao et al. 2024",
        bands={128: "15-114", 100: "1-100"},
        centres_nm=RANGE_NM,
        crop=(2000, 2000),
        centred=True,
        test=(512, 512),
        ratio=4,
        srf="spot-4",
        sigma=None,
        snr_hsi=None,
        snr_msi=None,
        patch=16,
        claims=ZHAO_CHIKUSEI,
        settled=(
            "Which 2000×2000 pixels: the middle of the file. Which 512×512 of them test: the upper right corner.",
            "Which 100 of 128 bands: 15 to 114, so that SPOT-4's three VNIR bands are covered.",
            "Width of the Gaussian blur: FWHM of one HSI pixel. Noise: none is mentioned.",
            "SPOT-4's SWIR band sees none of the HSI's bands and is left out: three MSI bands.",
            "Wavelengths, where the file does not tell: evenly spaced from 363 to 1018 nm (the paper prints 343).",
            "Patches: 64×64 fine pixels; the printed 512×512 do not fit into memory.",
            "Units of RMSE: values divided by the largest one.",
            "Which of datasets 1 and 2 is Chikusei: the first, as the text names them.",
        ),
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    run(__doc__, EXPERIMENTS, argv)


if __name__ == "__main__":
    main()
