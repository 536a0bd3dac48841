"""What the README and the guide show of Python is run as it stands, and type-checked as a user's script would be."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import rasterio
from rasterio.windows import Window

import hsfuse
from hsfuse.fusion.methods import METHODS

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "indian-pines"
README, GUIDE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "examples/guide.md"))
SHOWN = re.findall(r"```python\n(.*?)```", README + GUIDE, flags=re.DOTALL)

SCRIPT = """
import hsfuse

pair = hsfuse.open_pair("h.tif", "m.tif", srf="sentinel-2a", ratio=3)
result: hsfuse.FuseResult = hsfuse.fuse(pair, "out.tif", compute=hsfuse.Compute("cpu"))
again = hsfuse.fuse("h.tif", "m.tif", "out.tif", model="bayes", coregister=True)
request = hsfuse.PairRequest("h.tif", "m.tif", window=hsfuse.PixelWindow(0, 0, 10, 10))
table = hsfuse.compare(request, methods=["gsa"])
scores = hsfuse.evaluate("out.tif", "reference.tif").scores
print(result.seconds, again.output, table.best(), scores.psnr)
"""


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """The example's first 27 × 27 HSI pixels under the names that the README gives."""
    for name, source, edge in (("prisma", "hsi", 27), ("s2", "msi", 81)):
        with rasterio.open(EXAMPLE / f"{source}.tif") as whole:
            part = Window(0, 0, edge, edge)
            profile = {**whole.profile, "width": edge, "height": edge, "driver": "GTiff", "compress": None}
            with rasterio.open(tmp_path / f"{name}.tif", "w", **profile) as target:
                target.write(whole.read(window=part))
                for band in whole.indexes:
                    target.update_tags(band, **whole.tags(band))
    return tmp_path


@pytest.mark.parametrize("shown", SHOWN, ids=["readme", "pair", "batch", "arrays"])
def test_the_python_of_readme_and_guide_runs(shown: str, scenes: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", shown], cwd=scenes, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_readme_is_short_and_its_figures_are_the_guides() -> None:
    assert len(README.split()) <= 900
    brief = re.findall(r"^\| `([a-z-]+)`.*?\| ([0-9.]+) \| ([0-9.]+) \| [0-9.]* ?\|$", README, flags=re.MULTILINE)
    full = re.findall(r"^\| ([a-z-]+) \| ([0-9.]+) \| ([0-9.]+) \| [0-9.]+ \| [0-9.]+ \|$", GUIDE, flags=re.MULTILINE)
    assert brief == full
    assert {name for name, *_ in brief} == set(METHODS)


def test_calls_of_a_users_script_are_checked(tmp_path: Path) -> None:
    """`mypy --strict` knows the types behind the lazy front door."""
    pytest.importorskip("mypy")
    for name, script, status in (("right", SCRIPT, 0), ("wrong", SCRIPT.replace("ratio=3", "ration=3"), 1)):
        path = tmp_path / f"{name}.py"
        path.write_text(script)
        command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(path)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout


def test_every_public_name_is_there_and_nothing_heavy_is_loaded_for_it() -> None:
    assert all(getattr(hsfuse, name) is not None for name in hsfuse.__all__)
    code = "import sys, hsfuse; print('torch' in sys.modules or 'rasterio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    with pytest.raises(AttributeError, match="no attribute 'fuze'"):
        hsfuse.fuze  # noqa: B018
