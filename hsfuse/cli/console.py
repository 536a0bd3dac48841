"""Standard output and error, progress, and the one place where errors become sentences and exit statuses."""

from __future__ import annotations

import contextlib
import enum
import json
import logging
import math
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import click

from hsfuse.cli import journal, signals, streams
from hsfuse.cli.words import as_options
from hsfuse.errors import HsfuseError, RequestError
from hsfuse.progress import STAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class ExitStatus(enum.IntEnum):
    """What the process ends with."""

    DONE = 0
    FAILED = 1
    REFUSED = 2
    INTERRUPTED = 130


_LONGEST = 2000  # characters of a sentence

_NOTHING_KEPT = "nothing was written"

_debug = False
_options: Mapping[str, str] = {}
_kept = _NOTHING_KEPT
_level = logging.WARNING  # of hsfuse's own lines on the terminal
_bars: list[ProgressBar] = []  # of the command that runs


def run_to_the_end(run: Callable[[], Any]) -> int:
    """Run the command line on streams that last and with signals that leave it; returns the exit status."""
    streams.make_lasting()
    signals.listen()
    try:
        status = report_errors(run)
        lost = streams.failure_of_stdout()
        if lost is not None and status == ExitStatus.DONE:
            status = _say(f"the result could not be written to standard output: {lost}", ExitStatus.FAILED)
    except (KeyboardInterrupt, SystemExit):  # between the end of the work and here
        if signals.received() is None:
            raise
        status = _interrupted()
    signals.settle()
    return status


def report_errors(run: Callable[[], Any]) -> int:
    """Run the command line; whatever goes wrong becomes one sentence on stderr and an exit status."""
    try:
        return int(run() or ExitStatus.DONE)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.UsageError as error:
        return _say_usage(error)
    except (click.Abort, KeyboardInterrupt):
        return _interrupted()
    except (SystemExit, Exception) as error:
        if signals.received() is not None:  # a library may make another error of it
            return _interrupted()
        if _debug or isinstance(error, SystemExit):
            raise
        return _say(*_told(error))


def _told(error: BaseException) -> tuple[str, ExitStatus]:
    """The sentence and the status of what went wrong."""
    if isinstance(error, HsfuseError):
        return str(error), ExitStatus.REFUSED if isinstance(error, RequestError) else ExitStatus.FAILED
    if isinstance(error, MemoryError):
        return "out of memory: pass a smaller --tile or a part with --window", ExitStatus.FAILED
    return f"{type(error).__name__}: {error} (--debug shows where)", ExitStatus.FAILED


def _say_usage(error: click.UsageError) -> int:
    """What is wrong with the words themselves, and whose help says what is right; no words at all get the help."""
    message = error.format_message().strip()
    if error.ctx is None or message == error.ctx.get_help():
        click.echo(message, err=True)
        return ExitStatus.REFUSED
    return _say(f"{message.rstrip('.')} (see {error.ctx.command_path} --help)", ExitStatus.REFUSED)


def _interrupted() -> int:
    """What a signal ends with: 130 for Ctrl-C, as a shell shows others."""
    number = signals.received()
    by = "" if number in {None, signal.SIGINT} else f" by {number.name}"
    return _say(f"interrupted{by}: {_kept}", ExitStatus.INTERRUPTED if number is None else 128 + number)


def _say(sentence: str, status: int) -> int:
    text = " ".join(as_options(sentence, _options).split())
    if len(text) > _LONGEST:  # a value out of a damaged file
        text = f"{text[: _LONGEST - 200]} … {text[-200:]}"
    journal.record(text, logging.ERROR)
    click.echo(f"hsfuse: {text}", err=True)
    return status


@dataclass(frozen=True)
class Console:
    """How a command talks."""

    as_json: bool
    """Exactly one JSON object on stdout."""

    quiet: int
    """1: no progress, no log; 2: no warnings either."""

    verbose: int
    """1: log; 2: with its details."""

    options: Mapping[str, str] = field(default_factory=dict)
    """The command's option by parameter of the library."""

    about: str = ""
    """Which of several inputs is spoken of on stderr, such as `line 4: `."""

    def result(self, content: dict[str, Any], text: Callable[[], None]) -> None:
        """Print a command's result: as JSON, or by `text` for people."""
        if self.as_json:
            self.line(content)
        else:
            text()

    def line(self, content: dict[str, Any]) -> None:
        """Print one JSON object in a line of stdout, at once."""
        if "warnings" in content:
            content["warnings"] = [as_options(sentence, self.options) for sentence in content["warnings"]]
        click.echo(json.dumps(_plain(content), allow_nan=False))

    def error(self, sentence: str) -> None:
        """Print what is wrong with one of several inputs to stderr, also where warnings are silenced."""
        _say(f"{self.about}{sentence}", ExitStatus.REFUSED)

    def failure(self, error: Exception) -> str:
        """Print why the work on one of several inputs failed, with `--debug` also where; returns the sentence.

        Raises:
            click.Abort: A signal is behind it, which ends the whole run.
        """
        if signals.received() is not None:
            raise click.Abort from error
        if _debug:
            click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
        sentence = as_options(_told(error)[0], self.options)
        self.error(sentence)
        return sentence

    def keeps(self, sentence: str) -> None:
        """What an interrupted run of this command leaves."""
        global _kept  # noqa: PLW0603 (said by what catches the signal, far above the command)
        _kept = sentence

    def warnings(self, sentences: Sequence[str]) -> None:
        """Print warnings to stderr."""
        for sentence in sentences:
            text = f"{self.about}{as_options(sentence, self.options)}"
            journal.record(text, logging.WARNING)
            if self.quiet < 2:
                click.echo(f"warning: {text}", err=True)

    def note(self, sentence: str) -> None:
        """Print what the user should know to stderr, unless silenced."""
        journal.record(f"{self.about}{sentence}")
        if not self.quiet:
            click.echo(f"{self.about}{sentence}", err=True)

    def detail(self, sentence: str) -> None:
        """Print what `-v` asks for, to stderr."""
        journal.record(f"{self.about}{sentence}")
        if self.verbose:
            click.echo(f"{self.about}{sentence}", err=True)

    def progress(self, *, stages: bool = True) -> ProgressBar:
        """An observer that draws a bar on a terminal, and says a line at either end of a stage elsewhere.

        Without `stages` it says notes alone elsewhere.
        """
        bar = ProgressBar(silent=self.quiet > 0, stages=stages)
        _bars.append(bar)
        return bar

    @contextlib.contextmanager
    def running(self, config: dict[str, str], *, debug: bool, log: str | None = None) -> Iterator[None]:
        """Set up logging, also into a file `log`, and GDAL's configuration for the length of a command.

        Raises:
            OutputError: The log cannot be written.
        """
        global _debug, _options, _kept, _level  # noqa: PLW0603 (of the process, as logging is)
        _debug, _options, _kept = debug, self.options, _NOTHING_KEPT
        level = [logging.WARNING, logging.INFO, logging.DEBUG][min(self.verbose, 2)]
        # Details are hsfuse's alone: what libraries have to say below a warning helps nobody on a command line.
        least = logging.ERROR if self.quiet else logging.WARNING
        terminal = logging.StreamHandler(sys.stderr)
        terminal.addFilter(lambda record: not record.name.startswith("hsfuse") or record.levelno >= _level)
        logging.basicConfig(level=least, format="%(message)s", handlers=[terminal])
        _level = max(least, level) if self.quiet else level
        journal.keep(log)
        logging.getLogger("hsfuse").setLevel(min(_level, logging.INFO) if log else _level)
        logging.getLogger("rasterio").setLevel(logging.CRITICAL)
        try:
            if not config:
                yield
                return
            import rasterio  # noqa: PLC0415 (only where it is asked for: help stays fast)

            with rasterio.Env(**_as_rasterio_takes(config)):
                yield
        finally:  # a stage that broke off says nothing after the sentence that says why
            while _bars:
                _bars.pop().close()


def _plain(value: Any) -> Any:  # noqa: PLR0911 (one return a kind of value)
    """The same as JSON knows it: nouns are objects, and a number that is not finite is null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(part) for part in value]
    if hasattr(value, "tolist"):  # an array, or a number of numpy's
        return _plain(value.tolist())
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return str(value)


def infinite(values: Mapping[str, float]) -> list[str]:
    """Names of figures that are infinite, which JSON's null does not tell from undefined ones."""
    return [name for name, value in values.items() if math.isinf(value)]


def _as_rasterio_takes(config: dict[str, str]) -> dict[str, Any]:
    """The same with GDAL_CACHEMAX as a number of bytes; GDAL reads one below 100,000 as megabytes."""
    taken: dict[str, Any] = {key.upper(): value for key, value in config.items()}
    size = taken.get("GDAL_CACHEMAX")
    if size is not None:
        if not size.strip().isdecimal():
            raise RequestError(f"GDAL_CACHEMAX={size} is no number of megabytes or bytes: write GDAL_CACHEMAX=512")
        taken["GDAL_CACHEMAX"] = int(size) * (2**20 if int(size) < 100_000 else 1)
    return taken


_PATIENCE = 3.0  # seconds


class ProgressBar:
    """Follows the work of the library; see `hsfuse.progress.Progress`."""

    def __init__(self, *, silent: bool, stages: bool = True) -> None:
        """Say nothing at all if `silent`; without `stages` nothing of them where there is no terminal."""
        self.silent, self.stages = silent, stages
        self._bar: Any = None
        self._stage, self._total, self._started = "", 0, 0.0
        self._late: threading.Timer | None = None
        self._announced = False

    def start(self, stage: str, total: int, unit: str = "tiles") -> None:
        """A stage of `total` steps begins."""
        self.close()  # of a stage that broke off
        self._stage, self._total, self._started = stage, total, time.monotonic()
        journal.record(stage if unit in {"percent", STAGE} else f"{stage}: {total} {unit}")
        if self.silent:
            return
        if unit == STAGE:
            if self.stages:
                self._announced, self._late = False, threading.Timer(_PATIENCE, self._announce, [stage])
                self._late.daemon = True
                self._late.start()
            return
        if sys.stderr.isatty():
            from tqdm import tqdm  # noqa: PLC0415 (only on a terminal)

            self._bar = tqdm(total=total, desc=stage, unit=f" {unit}", file=sys.stderr)
        elif self.stages:
            click.echo(stage if unit == "percent" else f"{stage}: {total} {unit}", err=True)

    def advance(self, steps: int = 1) -> None:
        """So many steps are done."""
        if self._bar is not None:
            self._bar.update(steps)

    def note(self, sentence: str) -> None:
        """A line beside the bar."""
        journal.record(sentence)
        if self.silent:
            return
        if self._bar is not None:
            self._bar.write(sentence, file=sys.stderr)
        else:
            click.echo(sentence, err=True)

    def finish(self) -> None:
        """The stage is over."""
        done = f"{self._stage}: done in {time.monotonic() - self._started:.1f} s"
        journal.record(done)
        if self._late is not None:
            self._late.cancel()
            self._late = None
            if self._announced:
                click.echo(done, err=True)
        elif self._bar is not None:
            self.close()
        elif not self.silent and self.stages:
            click.echo(done, err=True)

    def _announce(self, stage: str) -> None:
        """Say what takes long; what is quick, or refused at once, says nothing."""
        self._announced = True
        click.echo(f"{stage} …", err=True)

    def close(self) -> None:
        """No more is said of the stage."""
        if self._late is not None:
            self._late.cancel()
            self._late = None
        if self._bar is not None:
            self._bar.close()
            self._bar = None
