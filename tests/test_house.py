"""The flow is the architecture: imports run downwards, and no command leans on another."""

import ast
from pathlib import Path

import hsfuse

PACKAGE = Path(hsfuse.__file__).parent
FLOORS = {
    "cli": 6, "commands": 5,
    "report": 4, "training": 4, "evaluation": 4,
    "fusion": 3, "pairs": 2.5,
    "models": 2, "classical": 2,
    "subspace": 1,
    "scenes": 0, "imaging": 0, "scan": 0, "metrics": 0,
    "files": -1, "stages": -2, "progress": -2, "errors": -2, "version": -2, "spelling": -2,
}  # fmt: skip
"""A room may import from lower floors; `fusion` stands on `pairs`, whose Wald level calibrates networks."""
BESIDE = {
    ("training", "report"),
    ("training", "evaluation"),
    ("evaluation", "report"),
    ("models", "scan"),
    ("fusion", "pairs"),
}
"""Neighbours that may be imported in this direction."""


def room(module):
    return module.split(".")[1] if "." in module else ""


def imports():
    """Every import of a module of the package: who, and what."""
    for path in sorted(PACKAGE.rglob("*.py")):
        who = ".".join(("hsfuse", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hsfuse."):
                yield who, node.module
            if isinstance(node, ast.Import):
                yield from ((who, name.name) for name in node.names if name.name.startswith("hsfuse."))


def test_imports_run_downwards():
    wrong = [
        (who, what)
        for who, what in imports()
        if room(who) in FLOORS
        and room(who) != room(what)
        and (room(who), room(what)) not in BESIDE
        and FLOORS[room(who)] <= FLOORS[room(what)]
    ]
    assert wrong == []


def test_every_room_has_a_floor():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms <= set(FLOORS)


def test_no_command_imports_another():
    assert [(who, what) for who, what in imports() if room(who) == room(what) == "commands"] == []


def test_scenes_and_metrics_do_without_torch():
    for folder in ("scenes", "metrics"):
        for path in (PACKAGE / folder).rglob("*.py"):
            assert "import torch" not in path.read_text(encoding="utf-8"), path
