"""The table of presets says what the networks are."""

import re
import runpy
from pathlib import Path

import pytest
import torch

from hsfuse.training.start import PRESETS

ROOT = Path(__file__).parents[2]
script = runpy.run_path(str(ROOT / "examples" / "benchmarks" / "presets.py"), run_name="presets")
TEXT = (ROOT / "weights" / "README.md").read_text(encoding="utf-8")
LINES = [
    [cell.strip().strip("`") for cell in line.split("|")[1:-1]]
    for line in re.findall(
        r"^\| `.*$", (ROOT / "weights" / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    if line.split("|")[1].strip(" `") in PRESETS
]


def test_every_preset_has_a_line():
    listed = [(line[0], line[1]) for line in LINES]
    assert listed == [(model, preset) for model, presets in PRESETS.items() for preset in presets]


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line[:2]))
def test_a_line_says_how_many_parameters_there_are_and_what_is_bundled(line):
    model, preset, on_bands, _, _, in_subspace, bundled = line
    with torch.device("meta"):
        found = [script["parameters"](script["built"](name, preset)) for name in (model, f"{model}-subspace")]
    assert [int(number.replace(",", "")) for number in (on_bands, in_subspace)] == found
    assert script["bundled_as"](model, preset) == bundled


@pytest.mark.parametrize("line", [line for line in LINES if line[1] == "tiny" or line[1] == "light"], ids="-".join)
def test_what_is_printed_is_the_line(line):
    printed = [cell.strip().strip("`") for cell in script["row"](line[0], line[1]).split("|")[1:-1]]
    assert printed == line


def test_multiply_adds_of_a_convolution_and_a_scan_are_counted():
    layers, scans = script["operations"](torch.nn.Conv2d(3, 5, 3, padding=1, bias=False), torch.randn(1, 3, 8, 8))
    assert (layers, scans) == (8 * 8 * 9 * 3 * 5, 0)
    mamba = script["Mamba"](4, d_state=6)
    layers, scans = script["operations"](mamba, torch.randn(2, 10, 4))
    assert scans == 9 * 2 * 10 * 8 * 6
