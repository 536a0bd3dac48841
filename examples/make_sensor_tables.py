"""Resample published spectral response tables onto the common grid of `hsfuse/imaging/sensors`.

    python examples/make_sensor_tables.py ACOLITE_RSR_FOLDER [OUTPUT_FOLDER]

Steps of 2 nm up to 1000 nm and of 5 nm beyond, means over the step, maximum 1, four decimals. Panchromatic and
thermal bands are left out. Where the agencies give a centre and a width only, the band is a Gaussian of them.
"""

import sys
from pathlib import Path

import numpy as np

from hsfuse.imaging.tables import SensorTable, load_table

SENTINEL = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]
TM = ["B1", "B2", "B3", "B4", "B5", "B7"]
OLI = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", None, "B9"]
FOUR = ["Blue", "Green", "Red", "NIR"]
WORLDVIEW = ["Coastal", "Blue", "Green", "Yellow", "Red", "RedEdge", "NIR1", "NIR2"]
MEASURED = {
    # name: (file, its blocks' names in order, None for those left out, who published it)
    "sentinel-2a": (
        "S2A_MSI_V4",
        SENTINEL,
        "ESA, COPE-GSEG-EOPG-TN-15-0007, Spectral Response Functions 4.0 (2024)",
    ),
    "sentinel-2b": (
        "S2B_MSI_V4",
        SENTINEL,
        "ESA, COPE-GSEG-EOPG-TN-15-0007, Spectral Response Functions 4.0 (2024)",
    ),
    "sentinel-2c": (
        "S2C_MSI_V4",
        SENTINEL,
        "ESA, COPE-GSEG-EOPG-TN-15-0007, Spectral Response Functions 4.0 (2024)",
    ),
    "landsat-5": ("L5_TM", TM, "NASA/USGS, Landsat 4-5 Thematic Mapper relative spectral response"),
    "landsat-7": ("L7_ETM", [*TM, None], "NASA/USGS, Landsat 7 ETM+ relative spectral response"),
    "landsat-8": ("L8_OLI", OLI, "NASA, Landsat 8 OLI band average relative spectral response"),
    "landsat-9": (
        "L9_OLI",
        OLI,
        "NASA, Landsat 9 OLI-2 RSR v1.0 (Ball FPM), Barsi et al. 2019, doi 10.1117/12.2529776",
    ),
    "eo1-ali": (
        "EO1_ALI",
        [None, *[f"B{n}" for n in range(2, 11)]],
        "CSIRO table of EO-1 ALI; B2 to B10 are MS-1', MS-1, MS-2, MS-3, MS-4, MS-4', MS-5', MS-5, MS-7",
    ),
    "spot-6": ("SPOT6", [*FOUR, None], "Airbus, SpectralValues_Normalized PHR1A PHR1B SPOT6 SPOT7"),
    "spot-7": ("SPOT7", [*FOUR, None], "Airbus, SpectralValues_Normalized PHR1A PHR1B SPOT6 SPOT7"),
    "pleiades-1a": ("PHR1A", [*FOUR, None], "Airbus, table of Pleiades 1A"),
    "ikonos": ("IKONOS2", [None, *FOUR], "Maxar, table of IKONOS-2"),
    "quickbird": ("QuickBird2", [None, *FOUR], "DigitalGlobe, QB02 WV01 WV02 Spectral Response (2013)"),
    "geoeye-1": ("GeoEye1", [None, *FOUR], "GeoEye-1 Relative Spectral Response"),
    "worldview-2": ("WorldView2", [*WORLDVIEW, None], "DigitalGlobe, spectral response of WorldView-2"),
    "worldview-3": (
        "WorldView3",
        [*WORLDVIEW, *[f"SWIR{n}" for n in range(1, 9)], None],
        "Maxar, table of WorldView-3",
    ),
    "rapideye": (
        "RapidEye",
        ["Blue", "Green", "Red", "RedEdge", "NIR"],
        "BlackBridge, Spectral Response Curves (2014)",
    ),
    "planetscope": (
        "PlanetScope_SD8",
        ["CoastalBlue", "Blue", "GreenI", "Green", "Yellow", "Red", "RedEdge", "NIR"],
        "Planet, Superdove.csv, 8 channels",
    ),
    "planetscope-5": (
        "PlanetScope_SD5",
        ["Blue", "Green", "Red", "RedEdge", "NIR"],
        "Planet, Superdove.csv, 5 channels",
    ),
    "gaofen-1": ("GF1_WFV1", FOUR, "tables of GF-1 WFV1 (R. Tang)"),
    "gaofen-6": ("GF6_WFV", [f"B{n}" for n in range(1, 9)], "tables of GF-6 WFV (M. Allam)"),
}
SPOT_EDGES = {"XS1": (500, 590), "XS2": (610, 680), "XS3": (780, 890), "SWIR": (1580, 1750)}
GAUSSIAN = {
    "spot-4": (
        SPOT_EDGES,
        "CNES, SPOT-4 HRVIR band limits; Gaussian from centre and FWHM, no measured curve",
    ),
    "spot-5": (SPOT_EDGES, "CNES, SPOT-5 HRG band limits; Gaussian from centre and FWHM, no measured curve"),
}


def measured(path: Path, names: list[str | None]) -> SensorTable:
    """The multispectral bands of one table of the folder."""
    table = load_table(path)
    kept = [index for index, name in enumerate(names) if name]
    assert len(names) == len(table.bands), f"{path}: {table.bands}"
    return SensorTable(path.stem, table.wavelength_nm, tuple(filter(None, names)), table.response[kept])


def gaussian(edges: dict[str, tuple[int, int]]) -> SensorTable:
    """Gaussian bands whose half maxima lie at the published limits."""
    grid = np.arange(400.0, 2001.0)
    rows = []
    for low, high in edges.values():
        sigma = (high - low) / 2.3548200450309493
        row = np.exp(-0.5 * ((grid - (low + high) / 2) / sigma) ** 2)
        rows.append(np.where(row < 5e-4, 0, row))
    return SensorTable("gaussian", grid, tuple(edges), np.stack(rows))


def resampled(table: SensorTable) -> SensorTable:
    """Means over the steps of the common grid, zero rows dropped except at the feet of the bands."""
    grid = np.concatenate([np.arange(300.0, 1000.0, 2.0), np.arange(1000.0, 2601.0, 5.0)])
    within = np.arange(-0.5, 0.51, 0.05)  # one step, finely
    points = grid[:, None] + within * np.gradient(grid)[:, None]
    rows = table.sampled(points.ravel()).reshape(len(table.bands), *points.shape).mean(axis=2)
    rows = np.round(rows / rows.max(axis=1, keepdims=True), 4)
    seen = rows.any(axis=0)
    foot = seen | np.roll(seen, 1) | np.roll(seen, -1)
    return SensorTable(table.name, grid[foot], table.bands, rows[:, foot])


def write(path: Path, name: str, source: str, table: SensorTable) -> None:
    """One CSV with its provenance in front."""
    head = [
        f"# sensor: {name}",
        f"# source: {source}",
        "# resampled: means over 2 nm up to 1000 nm and over 5 nm beyond, maximum 1, four decimals",
        ",".join(["wavelength_nm", *table.bands]),
    ]
    body = [
        ",".join([f"{wavelength:g}", *[f"{value:.4g}" if value < 1 else "1" for value in column]])
        for wavelength, column in zip(table.wavelength_nm, np.round(table.response.T, 4), strict=True)
    ]
    path.write_text("\n".join([*head, *body]) + "\n", encoding="utf-8")


def main() -> None:
    """Convert every sensor above."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    here = Path(__file__).resolve().parent.parent / "hsfuse" / "imaging" / "sensors"
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else here
    for name, (file, names, source) in MEASURED.items():
        write(target / f"{name}.csv", name, source, resampled(measured(folder / f"{file}.txt", names)))
    for name, (edges, source) in GAUSSIAN.items():
        write(target / f"{name}.csv", name, source, resampled(gaussian(edges)))


if __name__ == "__main__":
    main()
