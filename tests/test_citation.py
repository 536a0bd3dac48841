"""What says the version beside the package says the same."""

import re
from pathlib import Path

import hsfuse

ROOT = Path(__file__).parents[1]


def test_the_citation_names_this_version():
    """Its form is checked by cffconvert in `.ci/run`."""
    told = (ROOT / ".github" / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", told, re.MULTILINE) == [hsfuse.__version__]
    assert re.findall(r"^license: (.*)$", told, re.MULTILINE) == ["Apache-2.0"]
