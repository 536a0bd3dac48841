"""The table: what was measured here, beside what a paper claims."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from claims import Claims

    from hsfuse.report.csv_table import Row

    Scores = Mapping[str, Mapping[str, float]]

COLUMNS = {
    "psnr": ("PSNR dB", 2),
    "sam": ("SAM °", 2),
    "ergas": ("ERGAS", 3),
    "rmse": ("RMSE", 4),
    "cc": ("CC", 4),
    "uiqi": ("UIQI", 4),
    "ssim": ("SSIM", 4),
    "d_lambda": ("D_λ", 4),
    "d_s": ("D_S", 4),
    "qnr": ("QNR", 4),
    "hqnr": ("HQNR", 4),
    "consistency_hsi": ("consistency with the HSI dB", 2),
    "consistency_msi": ("consistency with the MSI dB", 2),
}
"""Heading and decimals of a metric."""

TRAINED = "trained here"
"""How the network of a run is told from bundled weights."""

_NONE = "–"


def trained_name(model: str) -> str:
    """The network of a run, as its row is called."""
    return f"{model}, {TRAINED}"


def table(scores: Scores, metrics: Sequence[str], claims: Claims | None) -> Iterator[str]:
    """Lines of Markdown: every method measured, then those that only the paper has.

    Args:
        scores: Figures by method and metric.
        metrics: Which to show; with claims, those of the paper's table.
        claims: What stands beside them.
    """
    if claims is None:
        yield from _lines(["method", *(f"{COLUMNS[metric][0]} measured here" for metric in metrics)])
        for name, values in scores.items():
            yield _line([name, *(_text(values[metric], COLUMNS[metric][1]) for metric in metrics)])
        return
    heads = [
        f"{COLUMNS[metric][0]} {which}"
        for metric in claims.metrics
        for which in ("measured here", f"claimed in the paper ({claims.table})")
    ]
    yield from _lines(["method", *heads])
    for name, row in rows(scores, claims):
        yield _line(
            [name if row is None else f"{name} / {row}" if name != row else row, *_cells(scores, claims, name, row)]
        )
    yield ""
    yield f"claimed: what {claims.paper} print in {claims.table}; nothing of it was measured here."
    for (row, metric), reason in claims.doubtful.items():
        yield f"† {row}, {COLUMNS[metric][0]}: {reason}."


def rows(scores: Scores, claims: Claims) -> Iterator[tuple[str, str | None]]:
    """Name of each line and the paper's row for it; methods that only the paper has come last, by its name."""
    left = list(claims.rows)
    for name in scores:
        row = _claimed(name, claims)
        if row in left:
            left.remove(row)
        yield name, row
    yield from ((row, row) for row in left)


def csv_rows(scores: Scores, claims: Claims | None) -> list[Row]:
    """The same for a CSV file, with all that was measured."""
    if claims is None:
        return [{"method": name, **_suffixed(values, "measured")} for name, values in scores.items()]
    return [
        {
            "method": name,
            **_suffixed(scores.get(name, {}), "measured"),
            **({} if row is None else _suffixed(claims.figures(row), "claimed")),
            "claimed_in": None if row is None else f"{claims.paper}, {claims.table}",
            "doubtful": "; ".join(reason for (which, _), reason in claims.doubtful.items() if which == row) or None,
        }
        for name, row in rows(scores, claims)
    ]


def _claimed(name: str, claims: Claims) -> str | None:
    """The paper's row for a method; networks are those trained for the data set, never the bundled weights."""
    method, _, how = name.partition(", ")
    if method in {"mgdunlss", "ssrfn"} and how != TRAINED:
        return None
    return claims.methods.get(method)


def _cells(scores: Scores, claims: Claims, name: str, row: str | None) -> Iterator[str]:
    printed = {} if row is None else claims.figures(row)
    for metric, digits in zip(claims.metrics, claims.digits, strict=True):
        yield _text(scores.get(name, {}).get(metric), digits)
        mark = " †" if (row, metric) in claims.doubtful else ""
        yield _text(printed.get(metric), digits) + mark


def _text(value: float | None, digits: int) -> str:
    return _NONE if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _suffixed(values: Mapping[str, float], suffix: str) -> dict[str, float]:
    return {f"{metric}_{suffix}": value for metric, value in values.items()}


def _lines(heads: Sequence[str]) -> Iterator[str]:
    yield _line(heads)
    yield _line(["---"] * len(heads))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
