"""What options take: windows, sizes, times, pairs, shifts and shares, as users write them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hsfuse.scenes import PixelWindow

    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # older releases cannot be subscripted


class WindowType(_ParamType):
    """`COL,ROW,WIDTH,HEIGHT` in HSI pixels."""

    name = "COL,ROW,WIDTH,HEIGHT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> PixelWindow:
        """Make a `PixelWindow`."""
        from hsfuse.scenes import PixelWindow  # noqa: PLC0415 (imports rasterio)

        if isinstance(value, PixelWindow):
            return value
        parts = str(value).split(",")
        if len(parts) != 4 or not all(re.fullmatch(r"\s*\d+\s*", part) for part in parts):
            self.fail(f"{value!r} is not COL,ROW,WIDTH,HEIGHT in whole HSI pixels, such as 0,0,200,200", param, ctx)
        column, row, width, height = (int(part) for part in parts)
        if width < 1 or height < 1:
            self.fail(f"{value!r} has no pixels: width and height are at least 1", param, ctx)
        return PixelWindow(column, row, width, height)


class SizeType(_ParamType):
    """An amount of memory such as `4G` or `800M`, as bytes."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Make bytes."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", str(value), re.IGNORECASE)
        if match is None or float(match[1]) <= 0:
            self.fail(f"{value!r} is no amount of memory: write 4G or 800M", param, ctx)
        return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


class DurationType(_ParamType):
    """A time such as `90s`, `30m` or `2h`, as seconds."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Make seconds."""
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", str(value), re.IGNORECASE)
        if match is None or float(match[1]) <= 0:
            self.fail(f"{value!r} is no time: write 90s, 30m or 2h", param, ctx)
        return float(match[1]) * {"s": 1, "": 1, "m": 60, "h": 3600}[match[2].lower()]


class PairType(_ParamType):
    """`KEY=VALUE`."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Split at the first equals sign."""
        if isinstance(value, tuple):
            return value
        key, sign, text = str(value).partition("=")
        if not sign or not key:
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, text


class ShiftType(_ParamType):
    """`X,Y` in HSI pixels."""

    name = "X,Y"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Make two numbers."""
        if isinstance(value, tuple):
            return value
        try:
            x, y = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not X,Y in HSI pixels, such as 0.3,-0.2", param, ctx)
        return x, y


class ShardType(_ParamType):
    """`K/N`: the K-th of N shares."""

    name = "K/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Make two whole numbers."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", str(value))
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            self.fail(f"{value!r} is not K/N with K from 1 to N, such as 3/10", param, ctx)
        return int(match[1]), int(match[2])
