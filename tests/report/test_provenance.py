"""A page may be passed on: nothing of the command line that is secret stands on it."""

import sys

import pytest

from hsfuse.report.provenance import command_line, versions
from hsfuse.version import __version__


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["fuse", "--hsi", "a b.tif"], "hsfuse fuse --hsi 'a b.tif'"),
        (["fuse", "--config", "AWS_SECRET_ACCESS_KEY=abc"], "hsfuse fuse --config 'AWS_SECRET_ACCESS_KEY=…'"),
        (["fuse", "--config", "GDAL_CACHEMAX=512"], "hsfuse fuse --config GDAL_CACHEMAX=512"),
        (
            ["info", "https://me:word@host/a.tif?sv=1&sig=abc%2B"],
            "hsfuse info 'https://…@host/a.tif?sv=1&sig=…'",
        ),
    ],
)
def test_the_command_line_without_what_is_secret(monkeypatch, words, shown):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/hsfuse", *words])
    assert command_line() == shown


def test_a_script_of_ones_own_is_named(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["my script.py", "x"])
    assert command_line() == "python 'my script.py' x"


def test_versions_name_what_computes():
    found = versions()
    assert found["hsfuse"] == __version__
    assert {"Python", "torch", "numpy"} <= set(found)
