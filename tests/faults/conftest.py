"""A folder with a pair in it, and commands that have to leave it as it was."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import hsfuse as package
from hsfuse.cli import main

if TYPE_CHECKING:
    from conftest import WriteRaster

RNG = np.random.default_rng(8)
HSI = RNG.integers(100, 9000, (6, 20, 24)).astype(np.int32)
MSI = RNG.integers(100, 9000, (2, 60, 72)).astype(np.uint16)
WAVELENGTHS = [450.0, 500.0, 550.0, 600.0, 650.0, 700.0]

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
"""In which a process finds the same hsfuse, installed or not."""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what became of the folder."""

    status: int
    stdout: str
    stderr: str
    changed: set[str]
    """Names of what is new, gone or different."""

    @property
    def sentence(self) -> str:
        """The one sentence of an error."""
        # on a busy machine a stage may take long enough to be said
        lines = [line for line in self.stderr.strip().splitlines() if not line.endswith(" …")]
        assert len(lines) == 1, self.stderr
        assert lines[0].startswith("hsfuse: ")
        return lines[0].removeprefix("hsfuse: ")


def listing(folder: Path) -> dict[str, str]:
    """Every file and folder below, hidden ones too, with a hash of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


class Bench:
    """A folder in which commands run."""

    def __init__(
        self,
        folder: Path,
        write_raster: WriteRaster,
        capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.folder = folder
        self.write_raster = write_raster
        self._capfd = capfd
        self._monkeypatch = monkeypatch
        self.hsi()
        self.msi()
        model = {
            "format": "hsfuse-imaging/1",
            "ratio": 3,
            "srf": {
                "hsi_wavelength_nm": WAVELENGTHS,
                "msi_bands": ["B3", "B4"],
                "matrix": [[0, 0, 0.5, 0.5, 0, 0], [0, 0, 0, 0, 0.5, 0.5]],
            },
            "psf": {"kernel": [[1 / 9] * 3] * 3, "fwhm_hsi_pixels": [1, 1], "pixel_size": "msi"},
        }
        (folder / "imaging.json").write_text(json.dumps(model))

    def hsi(self, numbers: Any = HSI, **options: Any) -> Path:
        facts: dict[str, Any] = {"pixel": 30.0, "nodata": -32768, "wavelengths": WAVELENGTHS}
        return self.write_raster("hsi.tif", numbers, **(facts | options))

    def msi(self, numbers: Any = MSI, **options: Any) -> Path:
        return self.write_raster("msi.tif", numbers, **({"pixel": 10.0, "nodata": 0} | options))

    def run(self, *words: str) -> Ended:
        """`hsfuse WORDS` with the folder as the working directory."""
        before = listing(self.folder)
        self._monkeypatch.chdir(self.folder)
        self._monkeypatch.setattr(sys, "argv", ["hsfuse", *words])
        self._capfd.readouterr()
        with pytest.raises(SystemExit) as leave:
            main()
        out, err = self._capfd.readouterr()
        return Ended(int(leave.value.code or 0), out, err, self._changed(before))

    def fuse(self, *words: str, hsi: str = "hsi.tif", msi: str = "msi.tif", output: str = "out.tif") -> Ended:
        """Fuse with a known imaging model and a quick method, to whose options `words` are added."""
        return self.run(*self.fuse_words(*words, hsi=hsi, msi=msi, output=output))

    @staticmethod
    def fuse_words(*words: str, hsi: str = "hsi.tif", msi: str = "msi.tif", output: str = "out.tif") -> list[str]:
        known = ["--srf", "imaging.json", "--psf", "imaging.json", "--model", "gsa", "-q", "--allow-shift"]
        return ["fuse", "--hsi", hsi, "--msi", msi, "-o", output, *known, *words]

    def start(self, *words: str) -> subprocess.Popen[str]:
        """`python -m hsfuse WORDS` as a process in the folder."""
        return self._start("-m", "hsfuse", *words)

    def start_python(self, script: str, *words: str) -> subprocess.Popen[str]:
        """A script with WORDS as its arguments, as a process in the folder."""
        return self._start("-c", script, *words)

    def _start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=self.folder, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def _changed(self, before: dict[str, str]) -> set[str]:
        return {name for name, _ in before.items() ^ listing(self.folder).items()}


@pytest.fixture
def bench(
    tmp_path: Path,
    write_raster: WriteRaster,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Bench:
    return Bench(tmp_path, write_raster, capfd, monkeypatch)
