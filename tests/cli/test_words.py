"""Options: what each accepts, what it refuses, and how much is said."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import click
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from hsfuse.cli import COMMANDS
from hsfuse.cli import hsfuse as group
from hsfuse.cli.parameter_types import PairType, ShiftType, SizeType, WindowType
from hsfuse.scenes import PixelWindow

from .conftest import EXAMPLE

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteRaster

    from .conftest import RunHere


PAIR = ["--hsi", str(EXAMPLE / "hsi.tif"), "--msi", str(EXAMPLE / "msi.tif")]


# --- parameter types ---


@pytest.mark.parametrize(
    ("text", "size"),
    [("4G", 4 * 2**30), ("800M", 800 * 2**20), ("1.5g", 1.5 * 2**30), ("2GiB", 2**31), ("64kb", 2**16), ("512", 512)],
)
def test_sizes(text: str, size: float) -> None:
    assert SizeType().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "4X", "-1G", "0", "0G", "G", "4 G B", "1e9"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no amount of memory: write 4G or 800M"):
        SizeType().convert(text, None, None)


def test_windows() -> None:
    assert WindowType().convert("3, 4,50,60", None, None) == PixelWindow(3, 4, 50, 60)
    for text in ("1,2,3", "1,2,3,4,5", "1,2,3,x", "-1,0,5,5", "1.5,0,5,5", ""):
        with pytest.raises(click.BadParameter, match="COL,ROW,WIDTH,HEIGHT"):
            WindowType().convert(text, None, None)
    with pytest.raises(click.BadParameter, match="has no pixels"):
        WindowType().convert("0,0,0,5", None, None)


def test_pairs_split_at_the_first_equals_sign() -> None:
    assert PairType().convert("A=b=c", None, None) == ("A", "b=c")
    assert PairType().convert("A=", None, None) == ("A", "")
    for text in ("A", "=b"):
        with pytest.raises(click.BadParameter, match="not KEY=VALUE"):
            PairType().convert(text, None, None)


def test_shifts() -> None:
    assert ShiftType().convert("0.5,-2", None, None) == (0.5, -2.0)
    for text in ("1", "1,2,3", "a,b"):
        with pytest.raises(click.BadParameter, match="not X,Y"):
            ShiftType().convert(text, None, None)


# --- help ---


def _leaves() -> list[list[str]]:
    return [[name] for name in COMMANDS if name != "weights"] + [
        ["weights", name] for name in ("list", "show", "verify")
    ]


@pytest.mark.parametrize("words", _leaves(), ids=" ".join)
def test_help_shows_an_example_groups_and_the_options_of_every_command(words: list[str]) -> None:
    ended = CliRunner().invoke(group, [*words, "--help"])
    assert ended.exit_code == 0
    assert f"Example:\n    hsfuse {' '.join(words)}" in ended.output
    for option in ("--json", "-q, --quiet", "-v, --verbose", "--config KEY=VALUE", "--debug"):
        assert option in ended.output
    assert "\nMessages:\n" in ended.output


def test_help_of_fuse_prints_every_default() -> None:
    """Of whatever takes a value, once or not at all; flags are off, and repeatable options empty."""
    context = click.Context(group)
    command = group.get_command(context, "fuse")
    assert command is not None
    for option in command.params:
        assert isinstance(option, click.Option)
        record = option.get_help_record(context)
        assert record is not None
        if not (option.required or option.is_flag or option.multiple or option.count or option.name == "help"):
            assert "[default: " in record[1], record


# --- how much is said ---


def test_a_result_in_words_and_stages_on_stderr(hsfuse: RunHere, known_pair: list[str], tmp_path: Path) -> None:
    ended = hsfuse("fuse", *known_pair, "-o", tmp_path / "out.tif")
    assert ended.status == 0
    assert ended.stdout.startswith(f"{tmp_path / 'out.tif'}: 72×60 pixels, 200 bands, ratio 3, gsa, ")
    assert [line.split(":")[0] for line in ended.stderr.splitlines()] == ["fuse", "fuse"]


def test_quiet_says_nothing_but_warnings_and_twice_not_even_those(
    hsfuse: RunHere, known_pair: list[str], tmp_path: Path
) -> None:
    words = [*known_pair, "--window", "40,40,20,20", "--overwrite", "-o", tmp_path / "out.tif"]
    once, twice = hsfuse("fuse", *words, "-q"), hsfuse("fuse", *words, "-qq")
    assert (once.status, twice.status) == (0, 0)
    assert once.stderr.startswith("warning: the window 40,40,20,20 was cut")
    assert once.stderr.count("\n") == 1
    assert twice.stderr == ""
    assert twice.stdout != ""


def test_verbose_tells_the_tiles(hsfuse: RunHere, known_pair: list[str], tmp_path: Path) -> None:
    words = [*known_pair, "--tile", "12", "--overlap", "4", "-o", tmp_path / "out.tif"]
    ended = hsfuse("fuse", *words, "-v", "--json")
    assert "6 tiles of 12 HSI pixels, overlap 4, on cpu in fp32" in ended.stderr
    assert "tiles of" not in ended.stdout


def test_warnings_stand_on_stderr_and_in_the_json(hsfuse: RunHere, known_pair: list[str], tmp_path: Path) -> None:
    ended = hsfuse("fuse", *known_pair, "--window", "40,40,20,20", "-o", tmp_path / "out.tif", "--json")
    assert "was cut to what both scenes cover" in ended.stderr
    assert "was cut to what both scenes cover" in ended.stdout


def test_tables_for_people(hsfuse: RunHere, write_raster: WriteRaster) -> None:
    path = write_raster("scene [old].tif", np.ones((2, 9, 9), np.float32) * 0.5)
    told = hsfuse("info", path)
    assert "scene [old].tif" in "".join(told.stdout.split("\n"))
    assert "9 × 9 pixels, 2 bands of float32" in told.stdout
    assert "can be fused: ratio 3" in hsfuse("info", EXAMPLE / "hsi.tif", EXAMPLE / "msi.tif").stdout
    assert "cannot be fused: " in hsfuse("info", path, EXAMPLE / "msi.tif").stdout
    scores = hsfuse("evaluate", "--fused", path, "--reference", path, "--ratio", "2")
    assert scores.status == 0
    assert "RMSE" in scores.stdout
    assert "81 pixels" in scores.stdout
    assert "mgdunlss-universal: mgdunlss, subspace, ratios" in hsfuse("weights", "list").stdout
    assert "trained on" in hsfuse("weights", "show", "mgdunlss-universal").stdout
    assert "sha256" in hsfuse("weights", "verify", "mgdunlss-universal").stdout


# --- options reach the work ---


def test_options_of_the_output(hsfuse: RunHere, known_pair: list[str], tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    words = ["--dtype", "float32", "--nodata", "-1", "--co", "COMPRESS=LZW", "--co", "PREDICTOR=NO", "-o", output]
    assert hsfuse("fuse", *known_pair, *words).status == 0
    with rasterio.open(output) as fused:
        assert (fused.dtypes[0], fused.nodata, fused.compression.name) == ("float32", -1, "lzw")
        assert fused.tags(ns="IMAGE_STRUCTURE").get("PREDICTOR", "1") == "1"
    assert hsfuse("fuse", *known_pair, "-o", output).status == 2
    assert hsfuse("fuse", *known_pair, "-o", output, "--overwrite").status == 0
    with rasterio.open(output) as fused:
        assert fused.dtypes[0] == "uint16"


def test_gdal_configuration_reaches_gdal(hsfuse: RunHere, write_raster: WriteRaster) -> None:
    """A PNG keeps its CRS in a file beside it, which GDAL can be told not to look at."""
    path = write_raster("a.png", np.ones((1, 4, 4), np.uint8), driver="PNG")
    assert json.loads(hsfuse("info", path, "--json").stdout)["scenes"][0]["crs"] == "EPSG:32633"
    blind = hsfuse("info", path, "--json", "--config", "GDAL_PAM_ENABLED=NO")
    assert json.loads(blind.stdout)["scenes"][0]["crs"] is None


def test_the_block_cache_is_given_as_gdal_takes_it(hsfuse: RunHere, known_pair: list[str], tmp_path: Path) -> None:
    for size in ("64", "64000000"):
        ended = hsfuse("fuse", *known_pair, "-o", tmp_path / f"{size}.tif", "--config", f"GDAL_CACHEMAX={size}")
        assert ended.status == 0, ended.stderr
    refused = hsfuse("fuse", *known_pair, "-o", tmp_path / "out.tif", "--config", "GDAL_CACHEMAX=lots")
    assert (refused.status, refused.stderr.startswith("hsfuse: GDAL_CACHEMAX=lots is no number")) == (2, True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--window", "1,2,3"], "'1,2,3' is not COL,ROW,WIDTH,HEIGHT in whole HSI pixels"),
        (["--memory", "much"], "'much' is no amount of memory"),
        (["--memory", "1M"], "0.00 GB of memory do not hold a tile"),
        (["--co", "COMPRESS"], "'COMPRESS' is not KEY=VALUE"),
        (["--co", "COMPRESS=WEBP"], "COMPRESS=WEBP cannot hold a cube"),
        (["--msi-bands", "1-"], "'1-' is not a list of bands"),
        (["--msi-bands", "9"], "the scene has bands 1 to 4"),
        (["--hsi-bands", "3,3"], "names a band twice"),
        (["--ratio", "1"], "is not in the range 2<=x<=20"),
        (["--tile", "0"], "is not in the range x>=1"),
        (["--tile", "9", "--overlap", "5"], "a tile of 9 HSI pixels is too small"),
        (["--precision", "int4"], "is not one of 'auto', 'fp32', 'tf32', 'bf16', 'fp16'"),
        (["--device", "abacus"], "'abacus' is no device"),
        (["--model", "magic"], "there is no model 'magic'"),
        (["--srf", "nosuchsensor"], "nosuchsensor: no such file and no known sensor"),
        (["--srf", "sentinel-2a:B2,B3"], "has 2 bands"),
        (["--psf", "box"], "box: no such PSF"),
        (["--dtype", "float16"], "cannot be of type float16"),
        (["--nodata", "70000"], "70000 is not one of uint16"),
        (["--resume-later"], "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options_are_refused_with_a_sentence(
    hsfuse: RunHere, known_pair: list[str], tmp_path: Path, words: list[str], sentence: str
) -> None:
    ended = hsfuse("fuse", *known_pair, "-o", tmp_path / "out.tif", *words)
    assert (ended.status, ended.stdout) == (2, "")
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())


def test_debug_shows_where(hsfuse: RunHere, tmp_path: Path) -> None:
    from hsfuse.errors import SceneError

    words = ["evaluate", "--fused", tmp_path / "no.tif", "--reference", tmp_path / "no.tif"]
    assert hsfuse(*words).status == 2
    with pytest.raises(SceneError):
        hsfuse(*words, "--debug")
    assert hsfuse(*words).status == 2  # and not from then on


@pytest.mark.parametrize("seed", ["-1", str(2**63), "1" + "0" * 30, "1.5"])
@pytest.mark.parametrize(
    "words",
    [
        ["fuse", "--hsi", "h", "--msi", "m", "-o", "o"],
        ["compare", "--hsi", "h", "--msi", "m"],
        ["train-reduced", "--hsi", "h", "--msi", "m", "-o", "o.safetensors"],
        ["simulate", "--reference", "r", "--ratio", "2", "--srf", "sentinel-2a", "-o", "o"],
    ],
    ids=lambda words: words[0],
)
def test_seeds_have_63_bits(hsfuse: RunHere, words: list[str], seed: str) -> None:
    ended = hsfuse(*words, "--seed", seed)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith("hsfuse: Invalid value for '--seed'")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        (["fues"], "No such command 'fues' (did you mean fuse?)"),
        (["weights", "show", "mgdunls-universal"],
         "mgdunls-universal (did you mean mgdunlss-universal?): cannot be read"),
        (["simulate", "--reference", str(EXAMPLE / "hsi.tif"), "--ratio", "3", "--srf", "sentinel2", "-o", "o"],
         "sentinel2: no such file and no known sensor (did you mean sentinel-2"),
        (["fuse", *PAIR, "-o", "o.tif", "--model", "BAYS"], "there is no model 'BAYS' (did you mean bayes?): choose"),
        (["fuse", *PAIR, "-o", "o.tif", "--model", "ssrfn", "--weights", "weights/ssrfn-univresal.safetensors"],
         "univresal.safetensors (did you mean ssrfn-universal?): cannot be read"),
        (["fuse", *PAIR, "-o", "o.tif", "--srf", "sentnel-2b:B2,B3,B4,B8"],
         "sentnel-2b: no such file and no known sensor (did you mean sentinel-2b?); known are"),
        (["fuse", *PAIR, "-o", "o.tif", "--srf", "estimat"], "estimat (did you mean estimate?): there is no such file"),
        (["fuse", *PAIR, "-o", "o.tif", "--psf", "Estimte"], "Estimte (did you mean estimate?): there is no such file"),
        (["fuse", *PAIR, "-o", "o.tif", "--srf", "sentinel-2a", "--psf", "gausian:1.2"],
         "gausian:1.2: no such PSF (did you mean gaussian?); it is gaussian:FWHM"),
        (["fuse", *PAIR, "-o", "o.tif", "--srf", "sentinel-2a", "--psf", "gaussian:1", "--dtype", "int61"],
         "cannot be of type int61 (did you mean int16?): choose"),
        (["fuse", *PAIR, "-o", "o.tif", "--co", "COMPRES=LZW"], "COG driver (did you mean COMPRESS?): known are"),
        (["compare", *PAIR, "--methods", "gsa,hysur"], "there is no model 'hysur' (did you mean hysure?)"),
        (["train-reduced", *PAIR, "-o", "w.safetensors", "--model", "mgdunls"],
         "'mgdunls' is no network that could be trained (did you mean mgdunlss?)"),
        (["train-reduced", *PAIR, "-o", "w.safetensors", "--init", "univrsal"], "univrsal (did you mean universal?)"),
        (["train-reduced", *PAIR, "-o", "w.safetensors", "--preset", "papr"], "'papr' (did you mean paper?)"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_name_that_is_near_is_proposed(
    hsfuse: RunHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], proposed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = hsfuse(*words, *([] if words == ["fues"] else ["-q"]))
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith("hsfuse: ")
    assert ended.stderr.count("\n") == 1
    assert proposed in ended.stderr
    assert not list(tmp_path.iterdir())


def test_nothing_is_proposed_where_no_name_is_near(hsfuse: RunHere) -> None:
    ended = hsfuse("fuse", *PAIR, "-o", "o.tif", "--model", "xyzzy")
    assert (ended.status, "did you mean" in ended.stderr) == (2, False)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["evaluate", "--fused", "f.tif"], "pass either the reference (--reference) or the two images"),
        (["evaluate", "--fused", "f.tif", "--hsi", "h.tif"], "the MSI is missing"),
        (["evaluate", "--fused", "f.tif", "--reference", "r.tif", "--hsi", "h.tif"], "were both given"),
        (["compare", "--hsi", "h.tif", "--msi", "m.tif", "--methods", "gsa,magic"], "there is no model 'magic'"),
        (["compare", "--hsi", "h.tif", "--msi", "m.tif", "--methods", ","], "name at least one method"),
        (["compare", "--hsi", "h.tif", "--msi", "m.tif", "--weights", "nobody"], "nobody: cannot be read"),
        (["compare", "--hsi", "h.tif", "--msi", "m.tif", "--csv", "no/table.csv"], "the folder no does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_scored_is_refused_with_a_sentence(hsfuse: RunHere, words: list[str], sentence: str) -> None:
    ended = hsfuse(*words)
    assert (ended.status, ended.stdout) == (2, "")
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_comparison_is_a_table_with_the_best_in_bold(
    hsfuse: RunHere, known_pair: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["compare", *known_pair[:8], "--methods", "bicubic,gsa", "-q"]
    plain = hsfuse(*words)
    assert plain.status == 0
    header, lines = plain.stdout.splitlines()[1], plain.stdout.splitlines()
    for title in ("method", "PSNR dB", "SAM °", "ERGAS", "RMSE", "CC", "UIQI", "SSIM", "peak MB"):
        assert title in header
    assert "at reduced resolution (Wald's protocol)" in lines[-1]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "140")
    rows = {line.split()[0]: line for line in hsfuse(*words).stdout.splitlines() if line.split()[:1]}
    bold = {name: len(re.findall(r"\x1b\[1m\s*[\d.]+", row)) for name, row in rows.items()}
    assert bold["gsa"] >= 7
    assert bold["bicubic"] <= 2
