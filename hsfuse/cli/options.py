"""Options that commands share, and help in groups."""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hsfuse.cli import completion
from hsfuse.cli.console import Console
from hsfuse.cli.parameter_types import PairType, SizeType, WindowType

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem

_Function = TypeVar("_Function", bound="Callable[..., Any]")


_MESSAGES = "Messages"
_OUTPUT = "Output"
_SCENES = ("H", "M", "R", "F")  # metavars of scenes


class GroupedOption(click.Option):
    """An option under a heading of the help."""

    def __init__(self, *args: Any, group: str = "Options", **kwargs: Any) -> None:
        """`group` is the heading; the rest is click's."""
        kwargs.setdefault("show_default", True)
        super().__init__(*args, **kwargs)
        self.group = group

    @property
    def column(self) -> str:
        """Its longest name without dashes: what its column in a table is called."""
        return max(self.opts, key=len).lstrip("-")

    @property
    def names_file(self) -> bool:
        """Whether its value is, or may be, the name of a file: its metavar says so."""
        return (self.metavar or "").startswith(("FILE", "SRC"))

    @property
    def writes(self) -> bool:
        """Whether it names a file to write."""
        return self.names_file and self.group == _OUTPUT

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What a shell offers: also files, which click knows nothing of where a value is but text."""
        shown = self.metavar or ""
        if self.name == "srf":
            return completion.sensors(ctx, self, incomplete)
        if shown == "DIR":
            return completion.folders(ctx, self, incomplete)
        if self.names_file or shown in _SCENES or "." in shown:  # "." as in OUT.tif
            return completion.files(ctx, self, incomplete)
        return super().shell_complete(ctx, incomplete)


class GroupedCommand(click.Command):
    """A command whose help shows its options by group, in the order of their first option."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section a group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Argument):  # the usage and the text above name it
                continue
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "group", _MESSAGES), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def option(*names: str, group: str, **settings: Any) -> Callable[[_Function], _Function]:
    """An option under the heading `group`."""
    return click.option(*names, cls=GroupedOption, group=group, **settings)


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A command with the options that every command has; its function is given a `Console` first."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def run(
            *,
            as_json: bool,
            quiet: int,
            verbose: int,
            debug: bool,
            log: str | None,
            config: dict[str, str],
            **values: Any,
        ) -> Any:
            console = Console(as_json, quiet, verbose, option_names(click.get_current_context().command))
            with console.running(config, debug=debug, log=log):
                return function(console, **values)

        # click lists parameters from the bottom up: what stands first in its list comes last in the help
        own = run.__dict__.pop("__click_params__", [])
        for add in reversed(_COMMON):
            run = add(run)
        run.__dict__["__click_params__"] = [*run.__dict__.pop("__click_params__"), *own]
        return click.command(name, cls=GroupedCommand)(run)

    return decorate


def own_options(command: click.Command) -> list[GroupedOption]:
    """The options of a command without those that every command has."""
    return [
        parameter
        for parameter in command.params
        if isinstance(parameter, GroupedOption) and parameter.group != _MESSAGES
    ]


def option_names(command: click.Command) -> dict[str, str]:
    """The option of a command by the parameter that it sets: `learning_rate` to `--lr`."""
    return {
        str(parameter.name): max(parameter.opts, key=len)
        for parameter in command.params
        if isinstance(parameter, click.Option)
    }


def _as_dict(ctx: click.Context, param: click.Parameter, value: Any) -> dict[str, str]:  # noqa: ARG001 (click's)
    return dict(value)


def pairs(*names: str, group: str, **settings: Any) -> Callable[[_Function], _Function]:
    """A `KEY=VALUE` option that may be given again and again, as a dict."""
    return option(*names, type=PairType(), multiple=True, callback=_as_dict, group=group, **settings)


_COMMON = (
    option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.", group=_MESSAGES),
    option(
        "-q",
        "--quiet",
        count=True,
        show_default=False,
        help="No progress; -qq: no warnings.",
        group=_MESSAGES,
    ),
    option("-v", "--verbose", count=True, show_default=False, help="More detail; -vv: more.", group=_MESSAGES),
    option(
        "--log",
        metavar="FILE",
        help="Append all that is said, with the time, to a file.  [default: off]",
        group=_MESSAGES,
    ),
    option("--debug", is_flag=True, help="Show a traceback on an error.", group=_MESSAGES),
    pairs("--config", help="GDAL configuration option, repeatable.", group=_MESSAGES),
)


def noun(
    name: str, kind: str, parts: tuple[Callable[[_Function], _Function], ...]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options that together make one noun of the library, which the command gets under `name`.

    Args:
        name: Of the command's parameter.
        kind: Module and class, such as `hsfuse.fusion.compute.Compute`; imported when the command runs.
        parts: The options, in the order of the help; their parameters have the names of the class's fields.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **values: Any) -> Any:
            return function(*args, **made.of(values))

        others = len(run.__dict__.get("__click_params__", []))
        for add in reversed(parts):
            run = add(run)
        fields = [str(parameter.name) for parameter in run.__dict__["__click_params__"][others:]]
        made = _Noun(name, kind, tuple(fields))
        run.__dict__[_NOUNS] = (made, *run.__dict__.get(_NOUNS, ()))
        return run

    return decorate


_NOUNS = "__nouns__"


@dataclass(frozen=True)
class _Noun:
    """How some options of a command become one noun of the library."""

    name: str
    kind: str
    fields: tuple[str, ...]

    def of(self, values: dict[str, Any]) -> dict[str, Any]:
        """The noun in the place of the options that make it."""
        module, _, cls = self.kind.rpartition(".")
        made = getattr(importlib.import_module(module), cls)(**{field: values[field] for field in self.fields})
        return {name: value for name, value in values.items() if name not in self.fields} | {self.name: made}


def as_nouns(command: click.Command, values: dict[str, Any]) -> dict[str, Any]:
    """What the function of a command is called with, apart from its `Console`.

    Args:
        command: Made by `command`.
        values: Of its parameters, as click has parsed them.

    Raises:
        RequestError: Values that make no noun.
    """
    own = {option.name for option in own_options(command)}
    taken = {name: value for name, value in values.items() if name in own}
    for made in getattr(command.callback, _NOUNS, ()):
        taken = made.of(taken)
    return taken


_INPUT = "Input"
_IMAGING = "Imaging model"
_RUN = "Run"

several_hsi = option(
    "--hsi", required=True, multiple=True, metavar="H", group=_INPUT, show_default=False,
    help="Hyperspectral scene: a product as downloaded, or any raster that GDAL opens; repeatable, with its --msi.",
)  # fmt: skip
several_msi = option(
    "--msi", required=True, multiple=True, metavar="M", group=_INPUT, show_default=False,
    help="Multispectral scene of the same place; as many as --hsi, in the same order.",
)  # fmt: skip
hsi = option(
    "--hsi", required=True, metavar="H", group=_INPUT,
    help="Hyperspectral scene: a product as downloaded, or any raster that GDAL opens.",
)  # fmt: skip
msi = option(
    "--msi", required=True, multiple=True, metavar="M", group=_INPUT, show_default=False,
    help="Multispectral scene of the same place; repeatable for files of other resolutions, whose bands are sharpened "
    "by the finest. A Sentinel-2 product gives its 10 m and 20 m bands (X.SAFE:10m: only those).",
)  # fmt: skip
hsi_bands = option(
    "--hsi-bands", metavar="LIST", help="HSI bands to use, 1-based: 1-4,8.  [default: all good]", group=_INPUT
)
msi_bands = option(
    "--msi-bands", metavar="LIST", group=_INPUT,
    help="MSI bands to use, 1-based, of several --msi counted through them.  [default: all]",
)  # fmt: skip
window = option(
    "--window",
    type=WindowType(),
    help="Only this part, in HSI pixels.  [default: the common area]",
    group=_INPUT,
)
ratio = option(
    "--ratio", type=click.IntRange(2, 20), help="HSI pixel over MSI pixel.  [default: measured]", group=_INPUT
)
grid = option(
    "--grid", type=click.Choice(["hsi", "msi"]), default="hsi", group=_INPUT,
    help="Whose grid the output has: the HSI's, its pixels cut into a whole number, or exactly the MSI's pixels.",
)  # fmt: skip
resolution = option(
    "--resolution", type=float, metavar="METRES", group=_INPUT,
    help="Pixel size of the output, from the corner of --grid's scene.  [default: as --grid says]",
)  # fmt: skip
srf = option(
    "--srf", metavar="SRC",
    help="Spectral response: estimate, a sensor (sentinel-2a, sentinel-2a:B2,B3), or a .json, .csv or .txt file.  "
    "[default: the MSI's sensor if it says which, else estimate]",
    group=_IMAGING,
)  # fmt: skip
psf = option(
    "--psf", metavar="SRC", default="estimate",
    help="Point spread: estimate, gaussian:FWHM in HSI pixels, or a .json or .csv file.", group=_IMAGING,
)  # fmt: skip
allow_shift = option("--allow-shift", is_flag=True, help="Go on above 2 HSI pixels of misregistration.", group=_IMAGING)
coregister = option(
    "--coregister",
    is_flag=True,
    help="Bring the HSI onto the MSI's geolocation, up to 10 HSI pixels off.",
    group=_IMAGING,
)
wavelengths = option(
    "--wavelengths", metavar="FILE", group=_INPUT,
    help="Table of the HSI's wavelengths: nm or µm, one row a band, optional FWHM.  [default: the file's own]",
)  # fmt: skip
msi_wavelengths = option(
    "--msi-wavelengths", metavar="FILE", help="The same of the MSI.  [default: the file's own]", group=_INPUT
)
mask = option(
    "--mask", metavar="FILE", help="Raster over the scenes, not 0 where pixels are bad.  [default: none]", group=_INPUT
)
quality_mask = option(
    "--quality-mask/--no-quality-mask", default=True, group=_INPUT,
    help="Leave out what the products' own quality layers flag: cloud, shadow, saturation.",
)  # fmt: skip
screen = option(
    "--screen/--no-screen", default=True, group=_INPUT,
    help="Look for undeclared fill, gross values and bands without an image, or take every number as it is.",
)  # fmt: skip
overwrite = option("--overwrite", is_flag=True, help="Replace an existing output.", group=_OUTPUT)
report = option(
    "--report", metavar="FILE.html", group=_OUTPUT,
    help="Also write a page that opens from disk: pictures, spectra, maps, metrics, and whether the result is to be "
    "trusted; needs hsfuse[report].  [default: off]",
)  # fmt: skip
device = option("--device", default="auto", metavar="auto|cpu|cuda[:N]", help="Where to compute.", group=_RUN)
precision = option(
    "--precision", default="auto", type=click.Choice(["auto", "fp32", "tf32", "bf16", "fp16"]),
    help="Of networks; auto: fp16 on CUDA, fp32 on the CPU. fp32 is float32 throughout, tf32 lets CUDA multiply it in "
    "TF32; classical methods are in fp32 always.", group=_RUN,
)  # fmt: skip
memory = option(
    "--memory", type=SizeType(), help="Bound on the resident memory, such as 4G.  [default: half of what is free]",
    group=_RUN,
)  # fmt: skip
seed = option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, group=_RUN,
    help="Of the noise that is restored one Wald level down, and of training: makes a run repeatable.",
)  # fmt: skip

relation = (
    hsi_bands, msi_bands, window, ratio, grid, resolution, wavelengths, msi_wavelengths, mask, quality_mask, screen,
    srf, psf, allow_shift, coregister,
)  # fmt: skip
"""How the scenes of a `PairRequest` are read and related, in the order of the help."""

pair = noun("pair", "hsfuse.pairs.pair.PairRequest", (hsi, msi, *relation))
compute = noun("compute", "hsfuse.fusion.compute.Compute", (device, precision, memory))
