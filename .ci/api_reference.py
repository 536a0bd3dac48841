"""Make the API reference out of the docstrings, with pdoc; whatever pdoc warns of is an error.

    pip install ".[docs]"
    python .ci/api_reference.py site

Built in `.ci/run`; open `site/index.html`.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pdoc

import hsfuse

ROOMS = ("scenes", "imaging", "metrics", "scan", "subspace", "pairs", "fusion", "evaluation", "errors", "progress")
"""Packages behind the front door that a user's own code may want."""


def main(folder: Path) -> None:
    """Write a page a module: the public names first, then the rooms behind them."""
    for name in hsfuse.__all__:  # pdoc looks where lazy names are not before they are used
        setattr(hsfuse, name, getattr(hsfuse, name))
    pdoc.render.configure(docformat="google", footer_text=f"hsfuse {hsfuse.__version__}", math=True)
    warnings.simplefilter("error", UserWarning)
    pdoc.pdoc("hsfuse", *(f"hsfuse.{room}" for room in ROOMS), output_directory=folder)
    pages = list(folder.rglob("*.html"))
    front = (folder / "hsfuse.html").read_text(encoding="utf-8")
    missing = [name for name in hsfuse.__all__ if f'id="{name}"' not in front]
    assert not missing, f"not on the first page: {missing}"
    print(f"{folder}: {len(pages)} pages, {len(hsfuse.__all__)} public names")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
