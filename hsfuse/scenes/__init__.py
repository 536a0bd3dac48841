"""Rasters and nothing else: opening scenes, pairing them, reading them by window and writing the result."""

from hsfuse.scenes.bands import Bands, parse_band_list
from hsfuse.scenes.cog import CogWriter
from hsfuse.scenes.grid import Grid, PixelWindow, common_area, integer_ratio, measured_ratio, nesting_offset
from hsfuse.scenes.pair import Pair, PairBlock
from hsfuse.scenes.scene import Block, Scene

__all__ = [
    "Bands",
    "Block",
    "CogWriter",
    "Grid",
    "Pair",
    "PairBlock",
    "PixelWindow",
    "Scene",
    "common_area",
    "integer_ratio",
    "measured_ratio",
    "nesting_offset",
    "parse_band_list",
]
