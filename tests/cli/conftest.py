"""The command line as a user meets it: words in; exit status, stdout and stderr out."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

import hsfuse as package
from hsfuse.cli import main

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLE = Path(__file__).parents[2] / "examples" / "indian-pines"

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
"""In which a process finds the same hsfuse, installed or not."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


class RunHere(Protocol):
    """The `hsfuse` fixture."""

    def __call__(self, *words: str | Path) -> Ended: ...


@pytest.fixture
def hsfuse(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunHere:
    """Runs `hsfuse WORDS` in this process, through the entry point of the installed script."""

    def run(*words: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["hsfuse", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as leave:
            main()
        out, err = capfd.readouterr()
        return Ended(int(leave.value.code or 0), out, err)

    return run


def spawn(words: Sequence[str | Path], folder: Path) -> Ended:
    """Run `python -m hsfuse WORDS` as a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "hsfuse", *map(str, words)],
        capture_output=True, text=True, check=False, cwd=folder, timeout=120,
        env=ENVIRONMENT,
    )  # fmt: skip
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def known_pair() -> list[str]:
    """The example pair with its true imaging model and a quick method, over a part of it."""
    truth = str(EXAMPLE / "imaging.json")
    pair = ["--hsi", str(EXAMPLE / "hsi.tif"), "--msi", str(EXAMPLE / "msi.tif")]
    return [*pair, "--srf", truth, "--psf", truth, "--model", "gsa", "--window", "4,4,24,20"]
