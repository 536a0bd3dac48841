"""Standard output and error, progress, and the one place where errors become sentences and exit statuses."""

from __future__ import annotations

import contextlib
import enum
import json
import logging
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from hsfuse.cli.words import as_options
from hsfuse.errors import HsfuseError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


class ExitStatus(enum.IntEnum):
    """What the process ends with."""

    DONE = 0
    FAILED = 1
    REFUSED = 2
    INTERRUPTED = 130


_debug = False
_options: Mapping[str, str] = {}
_interrupted = threading.Event()


def report_errors(run: Callable[[], Any]) -> ExitStatus:  # noqa: PLR0911 (one return a kind of ending)
    """Run the command line; whatever goes wrong becomes one sentence on stderr and an exit status."""
    try:
        status = run()
    except click.exceptions.Exit as leave:
        return ExitStatus(leave.exit_code)
    except click.ClickException as error:
        error.show()
        return ExitStatus.REFUSED
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted: nothing was written", ExitStatus.INTERRUPTED)
    except HsfuseError as error:
        if _debug:
            raise
        return _say(str(error), ExitStatus.REFUSED if isinstance(error, RequestError) else ExitStatus.FAILED)
    except MemoryError:
        return _say("out of memory: pass a smaller --tile or a part with --window", ExitStatus.FAILED)
    except Exception as error:
        if _interrupted.is_set():
            return _say("interrupted: nothing was written", ExitStatus.INTERRUPTED)
        if _debug:
            raise
        return _say(f"{type(error).__name__}: {error} (--debug shows where)", ExitStatus.FAILED)
    return ExitStatus(status or 0)


def _say(sentence: str, status: ExitStatus) -> ExitStatus:
    click.echo(f"hsfuse: {as_options(' '.join(sentence.split()), _options)}", err=True)
    return status


def listen_for_interrupts() -> None:
    """Remember Ctrl-C, since a library that is being loaded may make another error of it."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: object) -> None:  # noqa: ARG001 (signal's)
    _interrupted.set()
    raise KeyboardInterrupt


def _terminated(number: int, frame: object) -> None:  # noqa: ARG001 (signal's)
    """Leave through every `finally`, so that nothing half-written stays behind."""
    raise SystemExit(128 + number)


@dataclass(frozen=True)
class Console:
    """How a command talks."""

    as_json: bool
    """Exactly one JSON object on stdout."""

    quiet: int
    """1: no progress, no log; 2: no warnings either."""

    verbose: int
    """1: log; 2: with details of the libraries."""

    options: Mapping[str, str] = field(default_factory=dict)
    """The command's option by parameter of the library."""

    def result(self, content: dict[str, Any], text: Callable[[], None]) -> None:
        """Print a command's result: as JSON, or by `text` for people."""
        if self.as_json:
            if "warnings" in content:
                content["warnings"] = [as_options(sentence, self.options) for sentence in content["warnings"]]
            click.echo(json.dumps(content, allow_nan=False, default=str))
        else:
            text()

    def error(self, sentence: str) -> None:
        """Print what is wrong with one of several inputs to stderr, also where warnings are silenced."""
        _say(sentence, ExitStatus.REFUSED)

    def warnings(self, sentences: Sequence[str]) -> None:
        """Print warnings to stderr."""
        if self.quiet < 2:
            for sentence in sentences:
                click.echo(f"warning: {as_options(sentence, self.options)}", err=True)

    def note(self, sentence: str) -> None:
        """Print what the user should know to stderr, unless silenced."""
        if not self.quiet:
            click.echo(sentence, err=True)

    def detail(self, sentence: str) -> None:
        """Print what `-v` asks for, to stderr."""
        if self.verbose:
            click.echo(sentence, err=True)

    def progress(self) -> ProgressBar:
        """An observer that draws a bar on a terminal, and says a line at either end of a stage elsewhere."""
        return ProgressBar(silent=self.quiet > 0)

    @contextlib.contextmanager
    def running(self, config: dict[str, str], *, debug: bool) -> Iterator[None]:
        """Set up logging and GDAL's configuration for the length of a command."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _terminated)
        global _debug, _options
        _debug, _options = debug, self.options
        level = [logging.WARNING, logging.INFO, logging.DEBUG][min(self.verbose, 2)]
        logging.basicConfig(level=logging.ERROR if self.quiet else level, format="%(message)s", stream=sys.stderr)
        logging.getLogger("rasterio").setLevel(logging.DEBUG if self.verbose > 1 else logging.CRITICAL)
        if not config:
            yield
            return
        import rasterio  # noqa: PLC0415 (only where it is asked for: help stays fast)

        with rasterio.Env(**_as_rasterio_takes(config)):
            yield


def _as_rasterio_takes(config: dict[str, str]) -> dict[str, Any]:
    """The same with GDAL_CACHEMAX as a number of bytes; GDAL reads one below 100,000 as megabytes."""
    taken: dict[str, Any] = {key.upper(): value for key, value in config.items()}
    size = taken.get("GDAL_CACHEMAX")
    if size is not None:
        if not size.strip().isdecimal():
            raise RequestError(f"GDAL_CACHEMAX={size} is no number of megabytes or bytes: write GDAL_CACHEMAX=512")
        taken["GDAL_CACHEMAX"] = int(size) * (2**20 if int(size) < 100_000 else 1)
    return taken


class ProgressBar:
    """Follows the work of the library; see `hsfuse.progress.Progress`."""

    def __init__(self, *, silent: bool) -> None:
        """Say nothing at all if `silent`."""
        self.silent = silent
        self._bar: Any = None
        self._stage, self._total, self._started = "", 0, 0.0

    def start(self, stage: str, total: int, unit: str = "tiles") -> None:
        """A stage of `total` steps begins."""
        self._stage, self._total, self._started = stage, total, time.monotonic()
        if self.silent:
            return
        if sys.stderr.isatty():
            from tqdm import tqdm  # noqa: PLC0415 (only on a terminal)

            self._bar = tqdm(total=total, desc=stage, unit=f" {unit}", file=sys.stderr)
        else:
            click.echo(f"{stage}: {total} {unit}", err=True)

    def advance(self, steps: int = 1) -> None:
        """So many steps are done."""
        if self._bar is not None:
            self._bar.update(steps)

    def note(self, sentence: str) -> None:
        """A line beside the bar."""
        if self.silent:
            return
        if self._bar is not None:
            self._bar.write(sentence, file=sys.stderr)
        else:
            click.echo(sentence, err=True)

    def finish(self) -> None:
        """The stage is over."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        elif not self.silent:
            click.echo(f"{self._stage}: done in {time.monotonic() - self._started:.1f} s", err=True)
