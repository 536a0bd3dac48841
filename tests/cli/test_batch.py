"""`hsfuse batch`: tables as people write them, and a line of JSON a pair."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import rasterio

from hsfuse.cli import hsfuse as group
from hsfuse.cli.options import own_options
from hsfuse.cli.parameter_types import ShardType

from .conftest import ENVIRONMENT, Ended, RunHere

HEAD = "hsi,msi,output"


@dataclass(frozen=True)
class Place:
    """A folder with two scenes, called by tables that lie beside them."""

    hsfuse: RunHere
    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def table(self, content: str | bytes) -> Path:
        path = self.folder / "in" / "pairs.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def batch(self, content: str | bytes, *words: str | Path) -> Ended:
        return self.hsfuse("batch", self.table(content), "-o", self.out, *words)

    def made(self) -> list[str]:
        return sorted(str(path.relative_to(self.out)) for path in self.out.rglob("*") if path.is_file())


@pytest.fixture
def place(hsfuse: RunHere, crops: list[tuple[Path, Path]], tmp_path: Path) -> Place:
    (tmp_path / "in").mkdir()
    for source, name in zip(crops[0], ("hsi.tif", "msi.tif"), strict=True):
        shutil.copy(source, tmp_path / "in" / name)
    return Place(hsfuse, tmp_path)


def lines_of(ended: Ended) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ended.stdout.splitlines()]


QUICK = ["--model", "bicubic", "--srf", "sentinel-2a", "--psf", "gaussian:1", "--window", "0,0,20,20"]


def test_a_line_a_pair_with_what_fuse_tells(place: Place) -> None:
    rows = f"{HEAD}\nhsi.tif,msi.tif,\nnowhere.tif,msi.tif,b.tif\nhsi.tif,msi.tif,deep/c.tif\n"
    ended = place.batch(rows, *QUICK)
    told = lines_of(ended)
    assert ended.status == 1
    assert [(line["line"], line["status"]) for line in told] == [(2, "done"), (3, "failed"), (4, "done")]
    assert [Path(line["output"]) for line in told] == [place.out / name for name in ("hsi.tif", "b.tif", "deep/c.tif")]
    assert told[1]["error"].endswith("in/nowhere.tif: there is no such file: check the name")
    assert place.made() == ["deep/c.tif", "hsi.tif"]
    pair = ["--hsi", place.folder / "in" / "hsi.tif", "--msi", place.folder / "in" / "msi.tif"]
    alone = json.loads(place.hsfuse("fuse", *pair, *QUICK, "-o", place.folder / "alone.tif", "--json").stdout)
    same = alone.keys() - {"output", "seconds", "peak_memory_mb", "stages"}
    assert {key: told[0][key] for key in same} == {key: alone[key] for key in same}
    assert alone.keys() <= told[0].keys()
    assert f"hsfuse: line 3: {told[1]['error']}\n" in ended.stderr
    stages = [line for line in ended.stderr.splitlines() if " of 3, line " in line]
    assert len(stages) == 6
    assert len(ended.stderr.splitlines()) == 7


def test_what_is_there_is_skipped_and_said(place: Place) -> None:
    rows = f"{HEAD}\nhsi.tif,msi.tif,a.tif\nhsi.tif,msi.tif,b.tif\n"
    place.out.mkdir()
    (place.out / "a.tif").write_text("finished")
    ended = place.batch(rows, *QUICK, "-q")
    assert (ended.status, ended.stderr) == (0, "")
    assert [line["status"] for line in lines_of(ended)] == ["skipped", "done"]
    assert (place.out / "a.tif").read_text() == "finished"
    again = place.batch(f"{HEAD},overwrite\nhsi.tif,msi.tif,a.tif,yes\nhsi.tif,msi.tif,b.tif,\n", *QUICK)
    assert [line["status"] for line in lines_of(again)] == ["done", "skipped"]
    every = place.batch(f"{HEAD},overwrite\nhsi.tif,msi.tif,a.tif,\nhsi.tif,msi.tif,b.tif,no\n", *QUICK, "--overwrite")
    assert [line["status"] for line in lines_of(every)] == ["done", "skipped"]


COMMAS = """\
hsi,msi,output,window,msi_bands,quality-mask,co
hsi.tif,msi.tif,x.tif,"0,0,8,9",1-3,no,COMPRESS=LZW|PREDICTOR=NO"""
EXCEL = """\ufeff\
HSI;MSI;Output;Window;--msi-bands;no-quality-mask;co\r
hsi.tif;msi.tif;x.tif;0,0,8,9;1-3;1;COMPRESS=LZW|PREDICTOR=NO\r
;;;;;;\r
"""
TABS = """
# my "pairs

hsi\tmsi\toutput\twindow\tmsi-bands\tquality_mask\tco\t
  # one, "more
hsi.tif\tmsi.tif\tx.tif\t0,0,8,9\t1-3\tFalse\tCOMPRESS=LZW | PREDICTOR=NO\t

"""


@pytest.mark.parametrize("table", [COMMAS, EXCEL, TABS], ids=["commas", "Excel", "tabs and comments"])
def test_tables_as_people_write_them(place: Place, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns overrule the command line, and values are parsed as there."""
    from hsfuse.commands import fuse as home

    asked: list[Any] = []
    honest = home.fuse

    def spy(pair: Any, *rest: Any, **choices: Any) -> Any:
        asked.append(pair)
        return honest(pair, *rest, **choices)

    monkeypatch.setattr(home, "fuse", spy)
    ended = place.batch(table, *QUICK, "--co", "OVERVIEWS=NONE", "--msi-bands", "2", "--srf", "sentinel-2a:B2,B3,B4")
    assert (ended.status, [line["status"] for line in lines_of(ended)]) == (0, ["done"]), ended.stderr
    assert (asked[0].quality_mask, asked[0].screen, asked[0].msi_bands) == (False, True, "1-3")
    with rasterio.open(place.out / "x.tif") as fused:
        assert (fused.width, fused.height, fused.compression.name) == (24, 27, "lzw")


def test_files_beside_the_table_and_names(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the folder of the process is never taken in place of one that the table means."""
    (place.folder / "in" / "own.csv").write_text("nm,A,B,C,D\n400,0,0,0,0\n450,1,1,1,1\n900,1,1,1,1\n950,0,0,0,0\n")
    monkeypatch.chdir(place.folder)
    row = "hsi,msi,srf,weights\nhsi.tif,msi.tif,own.csv,\n"
    (told,) = lines_of(place.batch(row, "--model", "bicubic", "--psf", "gaussian:1"))
    assert told["status"] == "done"
    with rasterio.open(told["output"]) as fused:
        assert fused.tags()["HSFUSE_SRF"] == str(place.folder / "in" / "own.csv")
    Path("elsewhere.csv").write_text("nm,A\n400,1\n900,1\n")
    (told,) = lines_of(place.batch("hsi,msi,output,srf\nhsi.tif,msi.tif,b.tif,elsewhere.csv\n", "--model", "bicubic"))
    assert told["status"] == "failed"
    assert "in/elsewhere.csv: no such file and no known sensor" in told["error"]
    named = 'hsi,msi,output,model,weights,window\nhsi.tif,msi.tif,c.tif,mgdunlss,mgdunlss-universal,"0,0,12,12"\n'
    (told,) = lines_of(place.batch(named))
    assert (told["status"], told["weights"]) == ("done", "mgdunlss-universal")


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("", "pairs.csv: the table is empty"),
        ("# nothing\n\n", "pairs.csv: the table is empty"),
        (f"{HEAD}\n", "pairs.csv: there is no row below the names of the columns"),
        ("hsi,output\na,b\n", "pairs.csv: the column msi is missing: the first line has hsi, output"),
        ("hsi,msi,msi_band\na,b,1\n", "pairs.csv: there is no column 'msi-band' (did you mean msi-bands?)"),
        ("hsi,msi,zzzz\na,b,1\n", "pairs.csv: there is no column 'zzzz': columns are the options of fuse"),
        ("hsi,msi,json\na,b,1\n", "pairs.csv: there is no column 'json'"),
        ("hsi,msi,msi-bands,msi_bands\na,b,1,1\n", "pairs.csv: column 'msi-bands' is there twice"),
        ("hsi,msi\na.tif,b.tif,c.tif\n", "pairs.csv, line 2: 'c.tif' stands below no column's name"),
        ("hsi,msi\na.tif,\n", "pairs.csv, line 2: nothing stands below msi"),
        ('hsi,msi\n"a.tif,b.tif\n', "no row of a CSV file"),
        ("hsi,msi\nä.tif,b.tif\n".encode("latin-1"), "pairs.csv: the text is not UTF-8"),
        ("hsi,msi\na,b\nc/a.x,b\n\n# x\nd/a.he5,b\n", "line 2 and line 3 both write "),
        ("hsi,msi,output\na,b,x.tif\nc,d,./x.tif\n", "line 2 and line 3 both write "),
        ("hsi,msi,output\nhsi.tif,msi.tif,../in/msi.tif\n", "line 2 would write "),
        ("hsi,msi,ratio\na,b,2\n\nc,d,1\n", "line 4: Invalid value for '--ratio': 1 is not in the range 2<=x<=20"),
        ("hsi,msi,ratio\na,b,1\nc,d,x\ne,f,x\n", "in the range 2<=x<=20; 2 more rows are refused"),
        ("hsi,msi,screen\na,b,maybe\n", "line 2: Invalid value for '--screen"),
        ("hsi,msi,no-screen\na,b,maybe\n", "line 2: Invalid value for '--screen"),
        ("hsi,msi,co\na,b,A=1|B\n", "line 2: Invalid value for '--co': 'B' is not KEY=VALUE"),
        ("hsi,msi,co\na,b,A=1\n", "line 2: A is no creation option of GDAL's COG driver"),
        ("hsi,msi,device\na,b,abacus\n", "line 2: 'abacus' is no device"),
        ("hsi,msi,adapt\na,b,soon\n", "line 2: Invalid value for '--adapt': 'soon' is no time"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_used_are_refused_before_anything_is_done(
    place: Place, table: str | bytes, sentence: str
) -> None:
    ended = place.batch(table)
    assert (ended.status, ended.stdout) == (2, "")
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not place.out.exists()


def test_tables_and_folders_that_are_not_there(place: Place) -> None:
    ended = place.hsfuse("batch", place.folder / "no.csv", "-o", place.out)
    assert (ended.status, "no.csv: the table cannot be read (No such file" in ended.stderr) == (2, True)
    place.out.write_text("a file")
    refused = place.batch(f"{HEAD}\nhsi.tif,msi.tif,\n", *QUICK)
    assert (refused.status, "the folder cannot be made" in refused.stderr) == (2, True)
    assert place.batch(f"{HEAD}\nhsi.tif,msi.tif,\n", "--ratio", "1").status == 2


def test_every_option_of_fuse_is_a_column_and_a_default() -> None:
    """Also one that fuse learns after this was written."""
    context = click.Context(group)
    fuse, batch = (group.get_command(context, name) for name in ("fuse", "batch"))
    assert fuse is not None
    assert batch is not None
    pair = {"hsi", "msi", "output"}
    wanted = {option.column for option in own_options(fuse)} - pair
    assert {"srf", "co", "overwrite", "adapt", "dtype"} < wanted
    assert {option.column for option in own_options(batch)} - {"output", "shard"} == wanted


def test_shares_of_a_table(place: Place) -> None:
    rows = [f"hsi.tif,msi.tif,{name}.tif" for name in "abcde"]
    table = "\n".join([HEAD, *rows])
    for shard, names in (("1/2", "ace"), ("2/2", "bd"), ("7/9", "")):
        ended = place.batch(table, *QUICK, "--shard", shard, "-q")
        assert ended.status == 0
        assert [Path(line["output"]).stem for line in lines_of(ended)] == list(names)
    twice = place.batch(f"{table}\nhsi.tif,msi.tif,a.tif", *QUICK, "--shard", "2/2")
    assert (twice.status, "line 2 and line 7 both write" in twice.stderr) == (2, True)
    for text in ("0/2", "3/2", "1", "a/b", "1/0", "-1/2"):
        with pytest.raises(click.BadParameter, match="is not K/N"):
            ShardType().convert(text, None, None)


def test_what_nobody_foresaw_is_a_failed_pair_and_debug_shows_where(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsfuse.commands import fuse as home

    monkeypatch.setattr(home, "peak_megabytes", lambda: {}["gone"])
    table = f"{HEAD}\nhsi.tif,msi.tif,a.tif\nhsi.tif,msi.tif,b.tif\n"
    ended = place.batch(table, *QUICK, "-q")
    assert ended.status == 1
    assert [line["error"] for line in lines_of(ended)] == ["KeyError: 'gone' (--debug shows where)"] * 2
    assert "Traceback" not in ended.stderr
    shown = place.batch(table, *QUICK, "-q", "--overwrite", "--debug")
    assert (shown.status, shown.stderr.count("Traceback")) == (1, 2)


SENTENCE = "what is finished stays, and the same command goes on with the rest"


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_of_a_pair(
    place: Place, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, status: int
) -> None:
    """Also where a library makes another error of it, which is then no failed pair."""
    from hsfuse.fusion import job

    honest, calls = job.fuse_tiles, []

    def interrupted(*arguments: Any, **more: Any) -> int:
        calls.append(arguments)
        if len(calls) == 2:
            try:
                os.kill(os.getpid(), sent)
                time.sleep(5)
            except (KeyboardInterrupt, SystemExit) as error:
                raise OSError("a library's") from error
        return honest(*arguments, **more)

    monkeypatch.setattr(job, "fuse_tiles", interrupted)
    ended = place.batch("\n".join([HEAD, *(f"hsi.tif,msi.tif,{name}.tif" for name in "abc")]), *QUICK, "-q")
    assert ended.status == status
    assert [line["status"] for line in lines_of(ended)] == ["done"]
    assert place.made() == ["a.tif"]
    by = "" if sent == signal.SIGINT else " by SIGTERM"
    assert ended.stderr.strip() == f"hsfuse: interrupted{by}: {SENTENCE}"
    monkeypatch.undo()


def test_lines_come_as_soon_as_pairs_are_done_and_a_process_is_ended_by_sigterm(place: Place) -> None:
    rows = ["hsi.tif,msi.tif,a.tif,bicubic", *(f"hsi.tif,msi.tif,{name}.tif,stack" for name in "bcdefgh")]
    place.table("\n".join([f"{HEAD},model", *rows]))
    words = ["batch", "in/pairs.csv", "-o", "out", "--srf", "sentinel-2a", "--psf", "gaussian:1", "-q"]
    with subprocess.Popen(
        [sys.executable, "-m", "hsfuse", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=place.folder, env=ENVIRONMENT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for _ in range(2):  # libraries are loaded by then
            assert json.loads(process.stdout.readline())["status"] == "done"
        time.sleep(0.3)
        assert process.poll() is None, "it was over too soon"
        process.terminate()
        rest, err = process.communicate(timeout=60)
    assert process.returncode == 143
    told = [Path(json.loads(line)["output"]).name for line in rest.splitlines()]
    assert len(told) < 6
    assert sorted(path.name for path in place.out.iterdir()) == ["a.tif", "b.tif", *told]
    assert err == f"hsfuse: interrupted by SIGTERM: {SENTENCE}\n"
