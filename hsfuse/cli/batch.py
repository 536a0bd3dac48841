"""`hsfuse batch`."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from hsfuse.cli import completion, options, signals
from hsfuse.cli.console import ExitStatus
from hsfuse.cli.fusing import fuse_words, tell
from hsfuse.cli.parameter_types import ShardType
from hsfuse.cli.table import read_rows
from hsfuse.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hsfuse.cli.console import Console
    from hsfuse.cli.options import GroupedOption
    from hsfuse.cli.table import Row
    from hsfuse.commands.fuse import FuseResult
    from hsfuse.fusion.batch import BatchEntry, BatchOutcome

_BATCH = "Batch"
_OF_A_PAIR = ("hsi", "msi", "output")
_SEVERAL = "|"


def _defaults(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of fuse that hold for every row that does not say else."""
    for parameter in reversed(options.own_options(fuse_words)):
        if parameter.name not in _OF_A_PAIR:
            own = copy.copy(parameter)
            own.callback = None  # the row's does it
            function.__dict__.setdefault("__click_params__", []).append(own)
    return function


@options.command("batch")
@click.argument("table", metavar="PAIRS.csv", shell_complete=completion.files)
@options.option("-o", "--output", "folder", required=True, metavar="DIR", group=_BATCH,
                help="Folder that outputs are relative to; made if it is not there.")  # fmt: skip
@options.option("--shard", type=ShardType(), group=_BATCH, default="1/1",
                help="Every N-th pair from the K-th on: for N processes that share a table.")  # fmt: skip
@_defaults
def batch(console: Console, table: str, folder: str, shard: tuple[int, int], **_: Any) -> None:
    """Fuse many pairs in one process, a line of JSON for each on stdout as soon as it is done.

    PAIRS.csv has the columns hsi and msi, if you like output (default: the HSI's name with .tif), and any option of
    `hsfuse fuse` by its name without dashes (srf, msi-bands); what is empty is as on this command line, or as in fuse.
    Flags take yes or no; several values of one option have | between them. Commas, semicolons or tabs; lines that
    begin with # are comments. Relative names of scenes and files are seen from the folder of PAIRS.csv, those of
    outputs from DIR.

    An output that is there, with its uncertainty, is skipped unless --overwrite; a pair that fails does not stop the
    rest. The status is then 1, and 2 if the table cannot be used: nothing was fused. With or without --json, stdout
    has these lines alone.

    \b
    Example:
      hsfuse batch pairs.csv -o fused --model bayes > fused.jsonl
    """
    from hsfuse.commands.fuse import batch as run  # noqa: PLC0415 (imports torch)

    rows = read_rows(table, needed=_OF_A_PAIR[:2], known=_columns())
    lines, entries = [row.line for row in rows], _entries(table, rows, Path(folder))
    console.keeps("what is finished stays, and the same command goes on with the rest")
    failed = 0
    outcomes = run(entries, shard=shard, progress=console.progress(stages=console.verbose > 0))
    for line, outcome in zip(lines[shard[0] - 1 :: shard[1]], outcomes, strict=True):
        _report(replace(console, about=f"line {line}: "), line, outcome)
        failed += outcome.error is not None
        if signals.received() is not None:  # a library swallowed what it raised, and the pair went on to its end
            raise click.Abort
    if failed:
        raise click.exceptions.Exit(ExitStatus.FAILED)


def _report(console: Console, line: int, outcome: BatchOutcome[FuseResult]) -> None:
    entry, result = outcome.entry, outcome.result
    error = None if outcome.error is None else console.failure(outcome.error)
    if result is not None:
        tell(console, result)
    asked = {"hsi": entry.pair.hsi, "msi": entry.pair.msi, "output": entry.output}
    content = {} if result is None else asdict(result)
    console.line({"line": line, "status": outcome.status, "error": error} | asked | content)


def _columns() -> dict[str, tuple[GroupedOption, bool]]:
    """Every name of an option of fuse, with whether it says no."""
    known = options.own_options(fuse_words)
    return {option.column: (option, False) for option in known} | {
        name.lstrip("-"): (option, True) for option in known for name in option.secondary_opts
    }


def _entries(table: str, rows: list[Row], folder: Path) -> list[BatchEntry]:
    """What the rows ask for.

    Raises:
        RequestError: A row cannot be served, told by its line; of several the first.
    """
    context = click.get_current_context()
    given = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE
    }
    entries, refused = [], []
    for row in rows:
        try:
            entries.append(_entry(row, given, Path(table).parent, folder))
        except (click.UsageError, RequestError) as error:
            sentence = error.format_message() if isinstance(error, click.UsageError) else str(error)
            refused.append(f"{table}, line {row.line}: {sentence.rstrip('.')}")
    if refused:
        rest = f"; {len(refused) - 1} more rows are refused" if len(refused) > 1 else ""
        raise RequestError(refused[0] + rest)
    return entries


def _entry(row: Row, given: Mapping[str, Any], beside: Path, folder: Path) -> BatchEntry:
    """One row, parsed as fuse parses its words."""
    from hsfuse.fusion.batch import BatchEntry  # noqa: PLC0415 (imports torch)
    from hsfuse.scenes import short_name  # noqa: PLC0415 (imports rasterio)

    missing = [name for name in _OF_A_PAIR[:2] if name not in row.cells]
    if missing:
        raise RequestError(f"nothing stands below {' and '.join(missing)}")
    known = _columns()
    values = dict(given)
    for column, text in row.cells.items():
        option, negated = known[column]
        values[str(option.name)] = _value(option, text, beside, folder, negated=negated)
    values.setdefault("output", str(folder / f"{short_name(row.cells['hsi'])}.tif"))
    choices = options.as_nouns(fuse_words, fuse_words.make_context("fuse", [], default_map=values).params)
    return BatchEntry(choices.pop("pair"), choices.pop("output"), choices, name=f"line {row.line}")


def _value(option: GroupedOption, text: str, beside: Path, folder: Path, *, negated: bool) -> Any:
    """A cell in the words of the command line."""
    if negated:
        return not click.BOOL.convert(text, option, None)
    if option.multiple:
        return [_placed(option, part.strip(), beside, folder) for part in text.split(_SEVERAL)]
    return _placed(option, text, beside, folder)


def _placed(option: GroupedOption, text: str, beside: Path, folder: Path) -> str:
    """The text, a relative file as it is seen from here."""
    from hsfuse.scenes import seen_from  # noqa: PLC0415 (imports rasterio)

    if option.name == "output" or option.writes:
        return str(folder / text)
    if option.name in {"hsi", "msi"}:
        return seen_from(beside, text)
    # What may be a name as well as a file is a file where there is one, and never one of the folder of this process.
    if option.names_file and ((beside / text).exists() or Path(text).exists()):
        return str(beside / text)
    return text
