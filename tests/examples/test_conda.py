"""The conda recipe, rendered by rattler-build and held against pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import hsfuse

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "examples" / "conda" / "recipe.yaml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
"""Packages that conda-forge calls otherwise."""


def as_conda(requirement: str) -> str:
    name, bound = re.fullmatch(r"([a-z0-9-]+)(.*)", requirement).groups()
    return f"{NAMES.get(name, name)} {bound}"


def test_the_recipe_asks_for_what_the_project_does() -> None:
    rattler_build = pytest.importorskip("rattler_build", reason="no rattler-build: pip install py-rattler-build")
    (variant,) = rattler_build.Stage0Recipe.from_file(RECIPE).render(rattler_build.VariantConfig({}))
    told = variant.recipe.to_dict()
    project = PROJECT["project"]
    assert told["package"] == {"name": project["name"], "version": hsfuse.__version__}
    asked = told["requirements"]
    python = f"python {project['requires-python']}"
    assert asked["run"] == [python, *map(as_conda, project["dependencies"])]
    assert set(map(as_conda, PROJECT["build-system"]["requires"])) < set(asked["host"])
    assert asked["run_constraints"] == [as_conda(one) for one in project["optional-dependencies"]["report"]]
    scripts = [f"{name} = {place}" for name, place in project["scripts"].items()]
    assert told["build"]["python"]["entry_points"] == scripts
    assert told["about"]["license"] == project["license"]["text"]
    for path in (told["about"]["license_file"][0], "examples/indian-pines/hsi.tif"):
        assert (RECIPE.parent / told["source"][0]["path"] / path).exists()
