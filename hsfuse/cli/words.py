"""The library speaks of parameters, people on a command line of options: `coregister=True` becomes --coregister."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

_WIDE = 140  # characters, where no terminal says how many there are
_PARAMETER = re.compile(r"`([a-z_]+)(?:=([^`]*))?`")


def as_options(sentence: str, names: Mapping[str, str]) -> str:
    """A sentence of the library with the options of a command in place of parameters.

    Args:
        sentence: Names parameters in backticks, with a value or without: `tile`, `srf=estimate`, `coregister=True`.
        names: Option of the command by parameter; what it has no option for is left without its backticks.
    """

    def option(match: re.Match[str]) -> str:
        name, value = match[1], match[2]
        if name not in names:
            return match[0].strip("`")
        return names[name] if value in {None, "True"} else f"{names[name]} {value}"

    return _PARAMETER.sub(option, sentence)


def figure(value: float, shape: str, undefined: str = "–") -> str:
    """A figure for people in a format such as `.2f`, also where it is infinite or undefined."""
    if math.isnan(value):
        return undefined
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return format(value, shape)


def wide_terminal() -> Console:
    """Standard output for tables of many columns: as wide as the terminal, and wide where there is none."""
    from rich.console import Console as Terminal  # noqa: PLC0415 (only for people)

    terminal = Terminal()
    return terminal if terminal.is_terminal else Terminal(width=_WIDE)
