"""Rasters and nothing else: opening scenes, pairing them, reading them by window and writing the result."""

from hsfuse.scenes.bands import Bands, parse_band_list
from hsfuse.scenes.cog import WARN_CLIPPED, CogWriter, finish_all
from hsfuse.scenes.encoding import Encoding
from hsfuse.scenes.extent import GeographicExtent
from hsfuse.scenes.findings import Finding
from hsfuse.scenes.grid import Grid, PixelWindow, nesting_offset
from hsfuse.scenes.naming import seen_from, short_name
from hsfuse.scenes.output_grid import OutputGrid
from hsfuse.scenes.overlap import common_area
from hsfuse.scenes.packed_rows import keep_common_rows
from hsfuse.scenes.pair import ScenePair
from hsfuse.scenes.pair_block import PairBlock
from hsfuse.scenes.ratio import MAX_RATIO, measured_ratio, whole_ratio
from hsfuse.scenes.readers import resolutions
from hsfuse.scenes.scene import Block, Scene
from hsfuse.scenes.sharpened import SharpenedBands
from hsfuse.scenes.stacked import StackWriter

__all__ = [
    "MAX_RATIO",
    "WARN_CLIPPED",
    "Bands",
    "Block",
    "CogWriter",
    "Encoding",
    "Finding",
    "GeographicExtent",
    "Grid",
    "OutputGrid",
    "PairBlock",
    "PixelWindow",
    "Scene",
    "ScenePair",
    "SharpenedBands",
    "StackWriter",
    "common_area",
    "finish_all",
    "keep_common_rows",
    "measured_ratio",
    "nesting_offset",
    "parse_band_list",
    "resolutions",
    "seen_from",
    "short_name",
    "whole_ratio",
]
