"""What the two papers print in their tables: their claims, carried over as printed, none of them measured here."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Claims:
    """One table of a paper.

    Raises:
        ValueError: A row is not as long as the metrics.
    """

    paper: str
    """Authors and year."""

    table: str
    """Its number."""

    metrics: tuple[str, ...]
    """As hsfuse calls them, in the table's order."""

    digits: tuple[int, ...]
    """Decimals that each metric is printed with."""

    rows: dict[str, tuple[float, ...]]
    """Figures by method as printed."""

    methods: dict[str, str]
    """Which row is a method of hsfuse, by the latter's name."""

    doubtful: dict[tuple[str, str], str] = field(default_factory=dict)
    """Why a figure cannot be right or is hard to believe, by row and metric."""

    def __post_init__(self) -> None:
        for method, values in self.rows.items():
            if len(values) != len(self.metrics):
                raise ValueError(
                    f"{self.paper}, {self.table}: {method} has {len(values)} figures for {len(self.metrics)} metrics"
                )

    def figures(self, row: str) -> dict[str, float]:
        """What is printed for a method, by metric."""
        return dict(zip(self.metrics, self.rows[row], strict=True))


_KHADER = "Khader et al. 2023"
_KHADER_METRICS = ("psnr", "sam", "ergas", "uiqi", "ssim")
_KHADER_DIGITS = (2, 2, 4, 4, 4)
_KHADER_METHODS = {"hysure": "HySure", "cnmf": "CNMF", "mgdunlss": "MGDuNLSS-Net"}
_TWICE = "2.9373 is printed for CSU in Table III and in Table IV: for two scenes, the same to four decimals"

KHADER_PAVIA = Claims(
    _KHADER,
    "Table III",
    _KHADER_METRICS,
    _KHADER_DIGITS,
    {
        "HySure": (39.69, 5.05, 3.0483, 0.9789, 0.9673),
        "CNMF": (39.95, 4.69, 3.2649, 0.9715, 0.9746),
        "CSTF": (40.22, 3.29, 3.5048, 0.9806, 0.9810),
        "CSU": (41.01, 3.32, 2.9373, 0.9828, 0.9776),
        "HSRNet": (43.26, 2.49, 2.2900, 0.9837, 0.9846),
        "MCT-Net": (41.53, 2.92, 2.8935, 0.9718, 0.9791),
        "CNN-Fus": (43.39, 2.61, 2.6559, 0.9889, 0.9859),
        "MGDuNLSS-Net": (43.74, 2.37, 2.0850, 0.9896, 0.9882),
    },
    _KHADER_METHODS,
    {("CSU", "ergas"): _TWICE},
)

KHADER_CHIKUSEI = Claims(
    _KHADER,
    "Table IV",
    _KHADER_METRICS,
    _KHADER_DIGITS,
    {
        "HySure": (41.32, 3.13, 2.4966, 0.9782, 0.9703),
        "CNMF": (42.50, 3.48, 2.6179, 0.9791, 0.9761),
        "CSTF": (43.09, 2.96, 2.3182, 0.9834, 0.9846),
        "CSU": (42.75, 2.91, 2.9373, 0.9808, 0.9792),
        "HSRNet": (43.96, 2.53, 1.6942, 0.9851, 0.9839),
        "MCT-Net": (43.28, 2.39, 1.7787, 0.9812, 0.9827),
        "CNN-Fus": (44.73, 2.27, 1.8634, 0.9844, 0.9870),
        "MGDuNLSS-Net": (45.09, 2.10, 1.5970, 0.9903, 0.9916),
    },
    _KHADER_METHODS,
    {("CSU", "ergas"): _TWICE},
)

KHADER_CUPRITE = Claims(
    _KHADER,
    "Table V",
    _KHADER_METRICS,
    _KHADER_DIGITS,
    {
        "HySure": (38.36, 1.46, 3.6323, 0.9249, 0.9557),
        "CNMF": (43.07, 1.59, 2.8013, 0.9183, 0.9677),
        "CSTF": (41.83, 1.62, 4.1927, 0.9207, 0.9496),
        "CSU": (41.92, 1.43, 3.7339, 0.9363, 0.9621),
        "HSRNet": (43.96, 1.29, 2.7088, 0.9435, 0.9708),
        "MCT-Net": (43.39, 1.26, 2.7903, 0.9416, 0.9681),
        "CNN-Fus": (43.84, 1.37, 2.9519, 0.9439, 0.9713),
        "MGDuNLSS-Net": (44.17, 1.12, 2.4131, 0.9486, 0.9764),
    },
    _KHADER_METHODS,
)

_ZHAO = "Zhao et al. 2024"
_ZHAO_METRICS = ("psnr", "sam", "ergas", "cc", "rmse")
_ZHAO_DIGITS = (2, 2, 2, 3, 3)
_ZHAO_METHODS = {"gsa": "GSA", "mtf-glp": "GLP", "cnmf": "CNMF", "ssrfn": "SSRFN"}

ZHAO_CHIKUSEI = Claims(
    _ZHAO,
    "Table I, dataset 1",
    _ZHAO_METRICS,
    _ZHAO_DIGITS,
    {
        "GSA": (18.55, 8.77, 11.23, 0.904, 0.103),
        "GLP": (18.53, 13.27, 10.48, 0.871, 0.089),
        "CNMF": (21.37, 5.11, 8.02, 0.977, 0.081),
        "NLSTF": (19.95, 7.15, 9.56, 0.988, 0.088),
        "SSRNET": (25.37, 2.88, 7.45, 0.983, 0.046),
        "MSST-Net": (22.66, 4.48, 7.06, 0.968, 0.062),
        "UHNTC": (25.76, 2.56, 4.22, 0.985, 0.062),
        "MIMO-SST": (28.78, 2.89, 3.96, 0.968, 0.039),
        "FMamba": (27.61, 3.11, 4.72, 0.953, 0.041),
        "QIS-GAN": (28.13, 2.93, 4.38, 0.977, 0.037),
        "SSRFN": (29.86, 2.53, 3.88, 0.988, 0.032),
    },
    _ZHAO_METHODS,
)

ZHAO_PAVIA = Claims(
    _ZHAO,
    "Table I, dataset 2",
    _ZHAO_METRICS,
    _ZHAO_DIGITS,
    {
        "GSA": (12.93, 15.61, 14.72, 0.934, 0.188),
        "GLP": (25.69, 4.40, 33.21, 0.976, 0.097),
        "CNMF": (26.78, 4.82, 11.25, 0.983, 0.043),
        "NLSTF": (13.70, 15.38, 13.88, 0.921, 0.191),
        "SSRNET": (15.28, 10.36, 12.30, 0.968, 0.138),
        "MSST-Net": (25.01, 7.09, 6.81, 0.983, 0.050),
        "UHNTC": (27.80, 4.90, 7.08, 0.989, 0.036),
        "MIMO-SST": (26.97, 7.12, 5.99, 0.985, 0.039),
        "FMamba": (28.67, 4.75, 6.60, 0.089, 0.033),
        "QIS-GAN": (28.23, 5.32, 6.97, 0.983, 0.037),
        "SSRFN": (30.71, 3.07, 4.59, 0.992, 0.028),
    },
    _ZHAO_METHODS,
    {
        ("FMamba", "cc"): (
            "CC 0.089 means an image unrelated to the reference, which 28.67 dB and 4.75° beside it rule out"
        ),
        ("GLP", "ergas"): (
            "ERGAS 33.21 is five times that of MSST-Net, whose PSNR is lower and whose SAM is worse: hard to believe"
        ),
    },
)
