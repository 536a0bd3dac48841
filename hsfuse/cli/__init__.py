"""The command line: parses, makes one call, prints. A command's imports happen when it runs."""

from __future__ import annotations

import importlib
import os

import click

from hsfuse.cli.console import ExitStatus, run_to_the_end
from hsfuse.spelling import did_you_mean
from hsfuse.version import __version__

COMMANDS = {
    "fuse": "fuse",
    "batch": "batch",
    "train-reduced": "train_reduced",
    "estimate": "estimate",
    "simulate": "simulate",
    "evaluate": "evaluate",
    "compare": "compare",
    "info": "info",
    "quicklook": "quicklook",
    "sensors": "sensors",
    "weights": "weights",
    "doctor": "doctor",
}
"""Command to the module of this package that holds it, in the order of the help."""


class LazyGroup(click.Group):
    """Loads a command's module when the command, or its help, is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Every command, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of a name; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"hsfuse.cli.{COMMANDS[cmd_name]}")
        command = getattr(module, COMMANDS[cmd_name])
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that words begin with.

        Raises:
            click.UsageError: There is none; one of a similar name is proposed.
        """
        near = did_you_mean(args[0], COMMANDS)
        if args[0] not in COMMANDS and near:
            ctx.fail(f"No such command {args[0]!r}{near}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="hsfuse")
def hsfuse() -> None:
    """Hyperspectral images at multispectral resolution.

    Fuses a hyperspectral scene (PRISMA, EnMAP, Hyperion, EMIT, …) with a multispectral one of the same place
    (Sentinel-2, Landsat, …) into one georeferenced Cloud Optimized GeoTIFF.

    \b
    Example:
      hsfuse fuse --hsi prisma.tif --msi s2.tif -o out.tif
    """


def main() -> None:
    """Run the command line and exit with its status.

    0 done, 1 failed on the way, 2 refused, 130 interrupted, 128 and its number for another signal.
    """
    # Read by OpenMP as torch loads it: threads that wait for one another sleep. They would spin, which gains a run
    # nothing and makes two on one machine take four times as long as one.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    raise SystemExit(run_to_the_end(lambda: hsfuse.main(standalone_mode=False)))


__all__ = ["COMMANDS", "ExitStatus", "hsfuse", "main"]
