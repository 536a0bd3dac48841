"""Cuprite by the protocol of Khader et al. 2023: simulate, train, evaluate, print beside Table V.

    python examples/papers/cuprite.py Cuprite_f970619t01p02_r02_sc03.a.rfl.mat

The file is the public one: AVIRIS reflectance, 512×614 pixels, 224 bands, array `X`; an ENVI file knows its
wavelengths. The smaller `CupriteS1_R188.mat` (250×190) is another crop. SSRFN's paper does not use the scene: `--model
ssrfn` trains it on the same pairs, where it has no figure to stand beside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claims import KHADER_CUPRITE
from protocol import Experiment, run

if TYPE_CHECKING:
    from collections.abc import Sequence

EXPERIMENTS = {
    "khader-2023": Experiment(
        title="Cuprite, protocol of Khader et al. 2023",
        bands={224: "3-104,116-149,171-222", 188: "1-188"},
        centres_nm=(400.0, 2500.0),
        crop=(512, 512),
        centred=False,
        test=(256, 256),
        ratio=4,
        srf=(480.0, 560.0, 660.0, 830.0, 1650.0, 2220.0),
        sigma=2.0,
        snr_hsi=30.0,
        snr_msi=35.0,
        patch=8,
        claims=KHADER_CUPRITE,
        settled=(
            "Which 512 of the file's 614 columns: the first. Which 256×256 pixels test: the upper right corner.",
            "The MSI: the HSI bands next to 480, 560, 660, 830, 1650 and 2220 nm themselves.",
            "Wavelengths, where neither the file nor --wavelengths tells: evenly spaced from 400 to 2500 nm.",
            "Phase of the blur: an HSI pixel's centre is that of its 4×4 fine pixels, and the Gaussian has 8×8 taps.",
        ),
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    run(__doc__, EXPERIMENTS, argv)


if __name__ == "__main__":
    main()
