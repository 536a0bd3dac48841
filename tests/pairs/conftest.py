"""The pairs of the commands' tests."""

from ..commands.conftest import make_pair, pair

__all__ = ["make_pair", "pair"]
