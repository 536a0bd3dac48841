"""The tab key in a real bash, with what click installs there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from .conftest import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASH = shutil.which("bash")


@pytest.fixture
def tab(tmp_path: Path) -> Callable[[str], list[str]]:
    """What bash proposes at the end of a line; `FILES` where it falls back on the names of files."""
    if BASH is None:
        pytest.skip("no bash")
    command = tmp_path / "hsfuse"
    command.write_text(f"#!{sys.executable}\nfrom hsfuse.cli import main\nmain()\n")
    command.chmod(0o755)
    environment = {**ENVIRONMENT, "PATH": f"{tmp_path}:{ENVIRONMENT['PATH']}"}

    def press(line: str) -> list[str]:
        words = " ".join(f"'{word}'" for word in line.split(" "))
        script = f"""
            compopt() {{ printf "compopt %s %s\\n" "$@"; }}
            eval "$(_HSFUSE_COMPLETE=bash_source hsfuse)"
            COMP_WORDS=({words}) COMP_CWORD={line.count(" ")}
            _hsfuse_completion hsfuse
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run([BASH, "-c", script], capture_output=True, text=True, check=True, env=environment)
        assert done.stderr == ""
        return done.stdout.split("\n")[:-1]

    return press


def test_commands_options_and_values_are_proposed(tab: Callable[[str], list[str]]) -> None:
    assert tab("hsfuse fu") == ["fuse"]
    assert tab("hsfuse weights v") == ["verify"]
    assert tab("hsfuse fuse --unc") == ["--uncertainty"]
    assert tab("hsfuse fuse --grid ") == ["hsi", "msi"]
    assert tab("hsfuse fuse --srf sentinel-2") == ["sentinel-2a", "sentinel-2b", "sentinel-2c"]
    assert tab("hsfuse sensors landsat-8") == ["landsat-8"]


@pytest.mark.parametrize(
    "line",
    ["fuse --hsi ", "fuse --msi a", "fuse -o ", "fuse --srf my", "fuse --weights ", "info a.tif ", "evaluate --fused ",
     "batch p", "quicklook s", "weights show w", "train-reduced -o "],
)  # fmt: skip
def test_files_are_proposed_where_a_file_belongs(tab: Callable[[str], list[str]], line: str) -> None:
    assert tab(f"hsfuse {line}") == ["compopt -o default", ""]


def test_folders_where_a_folder_belongs(tab: Callable[[str], list[str]]) -> None:
    assert tab("hsfuse simulate -o ") == ["compopt -o dirnames", ""]


def test_a_tab_loads_nothing_heavy() -> None:
    code = (
        "import sys; from hsfuse.cli import hsfuse\n"
        "try: hsfuse.main([], prog_name='hsfuse')\n"
        "except SystemExit: print(*{'torch', 'numpy', 'rasterio', 'rich'} & set(sys.modules))"
    )
    asked = {"_HSFUSE_COMPLETE": "bash_complete", "COMP_WORDS": "hsfuse fuse --srf ", "COMP_CWORD": "3"}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT | asked
    )
    assert done.stdout.splitlines()[-1] == ""
    assert "plain,sentinel-2a" in done.stdout
    assert time.monotonic() - started < 2
