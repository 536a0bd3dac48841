"""The tutorials' commands, run as they stand: one shell a page, in a folder with small scenes under their names."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import rasterio

import hsfuse
from hsfuse.cli import main

from ..scenes.readers.ground import Ground
from ..scenes.readers.hdf5_layouts import write_prisma
from ..scenes.readers.layouts import write_safe

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "examples" / "tutorials"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in TUTORIALS.glob("*.md")}
QUICK = {
    "--time 2h": "--preset tiny --model ssrfn --steps 1 --batch 1 --patch 4",
    "--methods bicubic,bayes,mgdunlss": "--methods bicubic,mtf-glp",
    "--methods bicubic,gsa,bayes": "--methods bicubic,gsa",
    "--model hysure": "--model gsa",
}
"""What the tests do not wait for."""


@dataclass(frozen=True)
class Reader:
    """Types what a page says to type."""

    folder: Path

    def commands(self, page: str) -> str:
        script = "".join(re.findall(r"```sh\n(.*?)```", PAGES[page], flags=re.DOTALL))
        for slow, quick in QUICK.items():
            script = script.replace(slow, quick)
        return script

    def follow(self, page: str) -> None:
        """Line by line in this process, which has loaded its libraries."""
        for line in self.commands(page).splitlines():
            name, *words = shlex.split(line)
            assert name == "hsfuse"
            if words[0] == "fuse" and "--model" not in words and "--weights" not in words:
                words += ["--model", "bayes"]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", [name, *words])
                patch.chdir(self.folder)
                with pytest.raises(SystemExit) as left:
                    main()
            assert not left.value.code, line

    def shell(self, page: str) -> None:
        """As a script of a shell."""
        (self.folder / "bin").mkdir()
        command = self.folder / "bin" / "hsfuse"
        home = Path(hsfuse.__file__).parents[1]
        command.write_text(f'#!/bin/sh\nPYTHONPATH="{home}" exec "{sys.executable}" -m hsfuse "$@"\n')
        command.chmod(0o755)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.commands(page)], cwd=self.folder, capture_output=True, text=True,
            env={**os.environ, "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"}, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def fused(self, name: str) -> tuple[int, int, int]:
        with rasterio.open(self.folder / name) as dataset:
            return dataset.count, dataset.width, dataset.height


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


@pytest.fixture
def pair(crops: list[tuple[Path, Path]], tmp_path: Path) -> None:
    """`hsi.tif` and `msi.tif`; and each half under its own name."""
    for path in (scene for both in crops for scene in both):
        shutil.copy(path, tmp_path)
    for kind, path in zip(("hsi", "msi"), crops[0], strict=True):
        shutil.copy(path, tmp_path / f"{kind}.tif")


def test_links_lead_somewhere() -> None:
    for page in (*TUTORIALS.glob("*.md"), ROOT / "README.md", ROOT / "examples" / "guide.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (page.parent / link).exists(), (page.name, link)
    listed = set(re.findall(r"\(([a-z-]+)\.md\)", PAGES["README"]))
    assert listed == set(PAGES) - {"README"}


def test_from_two_products_to_a_map(reader: Reader) -> None:
    nm = tuple(range(420, 2420, 100))
    prisma = write_prisma(reader.folder, Ground(36, 36, nm, 3), "prisma.he5")
    safe = write_safe(reader.folder, Ground(108, 108))
    safe.path.rename(reader.folder / "s2.SAFE")
    assert prisma.path.exists()
    reader.follow("products-to-map")
    assert reader.fused("fused.tif") == reader.fused("sigma.tif") == (20, 108, 108)
    assert (reader.folder / "natural.png").stat().st_size > 0
    assert (reader.folder / "swir.png").stat().st_size > 0


@pytest.mark.slow
def test_batches(reader: Reader, pair: None) -> None:
    reader.shell("batches-and-clusters")
    assert reader.fused("fused/north.tif") == reader.fused("fused/south.tif") == (12, 144, 72)
    assert (reader.folder / "share-2.jsonl").read_text().count("skipped") == 1


@pytest.mark.slow
def test_training_for_a_new_pair(reader: Reader, pair: None) -> None:
    reader.follow("new-sensors")
    assert reader.fused("fused.tif") == (12, 144, 72)


def test_comparing_methods(reader: Reader, pair: None, crops: list[tuple[Path, Path]]) -> None:
    shutil.copy(ROOT / "examples/indian-pines/hsi.tif", reader.folder / "scene.tif")
    reader.follow("comparing-methods")
    assert (reader.folder / "blind.csv").read_text().count("\n") == 3
    assert (reader.folder / "theirs.csv").exists()


def test_finding_the_imaging_model(reader: Reader, pair: None) -> None:
    reader.follow("imaging-model")
    assert hsfuse.ImagingModel.load(reader.folder / "imaging.json").ratio == 3
