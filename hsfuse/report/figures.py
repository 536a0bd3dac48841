"""The figures of a page, drawn by Bokeh; pictures and spectra go beside them as data, for the page's script."""

from __future__ import annotations

import base64
import io
import itertools
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hsfuse.report.plots import response_curve, response_reach

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from hsfuse.imaging import ImagingModel, SensorTable
    from hsfuse.report.content import Arrows, Curves, ErrorMap, Page, SpectraAt

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")  # Okabe and Ito
_DASHES = ("solid", "dashed", "dotted", "dotdash")
_ASPECT = 0.6, 2.2  # of a picture's frame; what is longer has empty sides
_LEFT, _RIGHT = 62, 12  # pixels beside a frame, known to the page's script
_COLOURED = 0.02, 0.98  # quantiles of a map that have the first and the last colour
_MARKED = 40  # points of a line or fewer have marks
_FEW_LINES = 4  # have long names in their legend
_LEVELS = 65534
_UNKNOWN = 65535
_LOSSLESS = 2**17  # pixels
_QUALITY = 90
_PICTURE_BYTES = 3_200_000  # of all pictures of a page, as text
_GAP, _LEAST_GAP_NM = 5.0, 30.0  # usual steps between bands: beyond that a line breaks


@dataclass(frozen=True)
class Drawn:
    """What a page is put together from."""

    library: str
    """Bokeh itself, as scripts."""

    script: str
    """What draws the figures."""

    places: Mapping[str, str]
    """Where each figure goes, by name."""

    data: Mapping[str, Any]
    """For the page's own script, as JSON has it."""


def drawn(page: Page) -> Drawn:
    """All figures of a page."""
    from bokeh.embed import components  # noqa: PLC0415 (an extra, and slow to import)
    from bokeh.resources import Resources  # noqa: PLC0415

    logging.getLogger("bokeh").setLevel(logging.ERROR)
    figures = _Figures(page).all()
    script, places = components(figures)
    library = Resources(mode="inline", components=["bokeh"]).render()
    return Drawn(library, script, places, _data(page))


def _data(page: Page) -> dict[str, Any]:
    pictures = _pictures(page)
    names = [picture.name for picture in page.pictures]
    return {
        "size": list(page.size),
        "frame": {"left": _LEFT, "right": _RIGHT, "aspect": _aspect(page.size)},
        "pictures": pictures,
        "swiped": list(page.swiped or (names[0], names[-1]) if names else []),
        "spectra": None if page.spectra is None else _spectra(page.spectra),
    }


def _pictures(page: Page) -> list[dict[str, Any]]:
    """All pictures, smaller ones where they would make the page large."""
    found = _encoded_all(page, 1)
    size = sum(len(address) for composites in found for address in composites.values())
    if size > _PICTURE_BYTES:
        found = _encoded_all(page, math.ceil(math.sqrt(size / _PICTURE_BYTES)))
    return [
        {"name": picture.name, "extent": list(picture.extent), "composites": composites}
        for picture, composites in zip(page.pictures, found, strict=True)
    ]


def _encoded_all(page: Page, factor: int) -> list[dict[str, str]]:
    return [{name: _encoded(image, factor) for name, image in picture.composites.items()} for picture in page.pictures]


def _encoded(image: NDArray[np.uint8], factor: int) -> str:
    """A picture, so many times smaller, as an address that holds it."""
    from PIL import Image, features  # noqa: PLC0415 (comes with Bokeh)

    small = image.shape[0] * image.shape[1] <= _LOSSLESS
    file = io.BytesIO()
    made = Image.fromarray(image)
    made = made if factor == 1 else made.reduce(factor)
    if features.check("webp"):
        made.save(file, "WEBP", lossless=small and factor == 1, quality=_QUALITY, method=3)
        return _address("image/webp", file.getvalue())
    made.save(file, "PNG", optimize=True)
    return _address("image/png", file.getvalue())


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _spectra(at: SpectraAt) -> dict[str, Any]:
    """Every spectrum in 16 bits between its own least and greatest value."""
    x, index = _axis(at)
    return {
        "columns": at.columns.tolist(),
        "rows": at.rows.tolist(),
        "x": [None if np.isnan(value) else round(float(value), 3) for value in x],
        "index": index.tolist(),
        "bands": int(index.max()) + 1,
        "curves": {name: _quantised(values) for name, values in at.curves.items()},
        "spread": {name: _quantised(values) for name, values in at.spread.items()},
    }


def _axis(at: SpectraAt) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Positions along the axis and the band at each; NaN and -1 where a line is to break."""
    bands = next(iter(at.curves.values())).shape[-1]
    nm = at.wavelength_nm
    if nm is None:
        return np.arange(1, bands + 1, dtype=np.float64), np.arange(bands, dtype=np.int64)
    order = np.argsort(nm, kind="stable")
    wide = _breaks(nm[order])
    return np.insert(nm[order], wide, np.nan), np.insert(order.astype(np.int64), wide, -1)


def _quantised(values: NDArray[np.float32]) -> dict[str, str]:
    flat = values.reshape(-1, values.shape[-1])
    known = np.isfinite(flat)
    low = np.where(known, flat, np.inf).min(axis=1)
    high = np.where(known, flat, -np.inf).max(axis=1)
    some = np.isfinite(low)
    low, high = np.where(some, low, 0), np.where(some, high, 0)
    range_ = np.where(high > low, high - low, 1)
    level = np.where(known, (flat - low[:, None]) / range_[:, None], 0)
    steps = np.where(known, np.rint(level * _LEVELS), _UNKNOWN)
    parts = {"steps": steps.astype("<u2"), "low": low.astype("<f4"), "range": range_.astype("<f4")}
    return {name: base64.b64encode(part.tobytes()).decode("ascii") for name, part in parts.items()}


def _aspect(size: tuple[int, int]) -> float:
    return float(np.clip(size[0] / size[1], *_ASPECT))


class _Figures:
    """Figures that share what links them: ranges, and the mark of the pixel that was chosen."""

    def __init__(self, page: Page) -> None:
        from bokeh.models import ColumnDataSource, CustomJS, Range1d  # noqa: PLC0415

        self.page = page
        width, height = page.size
        aspect = _aspect(page.size)
        wide, high = max(width, height * aspect), max(height, width / aspect)
        left, top = (width - wide) / 2, (height - high) / 2
        self.x = Range1d(left, left + wide, bounds=(left, left + wide), name="x")
        self.y = Range1d(top + high, top, bounds=(top, top + high), name="y")
        self.chosen = ColumnDataSource({"x": [], "y": []}, name="chosen")
        self.choose = CustomJS(code="window.hsfuse.choose(cb_obj.x, cb_obj.y)")

    def all(self) -> dict[str, Any]:
        page = self.page
        found: dict[str, Any] = {}
        for number in range(len(page.pictures)):
            found[f"picture-{number}"] = self._picture([f"picture-{number}"])
        if len(page.pictures) > 1:
            found["swipe"] = self._swipe()
        if page.spectra is not None:
            found["spectrum"] = _spectrum(page.spectra)
        for number, each in enumerate(page.maps):
            found[f"map-{number}"] = self._map(each)
        if page.imaging is not None:
            found["response"] = _response(page.imaging, page.published)
            found["psf"] = _point_spread(page.imaging)
        if page.arrows is not None:
            found["arrows"] = _arrows(page.arrows)
        for number, curves in enumerate(page.curves):
            found[f"curves-{number}"] = _curves(curves)
        return found

    def _framed(self) -> Any:
        """An empty view of the ground, linked with all others."""
        from bokeh.models import PanTool, WheelZoomTool  # noqa: PLC0415
        from bokeh.plotting import figure  # noqa: PLC0415

        view = figure(
            x_range=self.x, y_range=self.y, frame_width=300,
            frame_height=round(300 / _aspect(self.page.size)), min_border_left=_LEFT, min_border_right=_RIGHT,
            toolbar_location=None, tools=[PanTool(), WheelZoomTool(modifiers={"ctrl": True})],
            x_axis_label="column (output pixels)", y_axis_label="row (output pixels)", tags=["framed"],
        )  # fmt: skip
        view.toolbar.active_scroll = view.tools[1]
        view.grid.visible = False
        view.background_fill_color = "#e4e4e4"
        view.js_on_event("tap", self.choose)
        return view

    def _marked(self, view: Any) -> Any:
        for colour, size, line in (("white", 15, 4), ("black", 13, 1.6)):
            view.scatter("x", "y", source=self.chosen, marker="circle_cross", size=size, line_width=line,
                         line_color=colour, fill_color=None)  # fmt: skip
        return view

    def _picture(self, names: list[str]) -> Any:
        view = self._framed()
        for name in names:
            view.image_rgba(
                image="image", x="x", y="y", dw="width", dh="height", source=_no_picture(name), level="image"
            )
        return self._marked(view)

    def _swipe(self) -> Any:
        from bokeh.models import Span  # noqa: PLC0415

        view = self._picture(["swipe-left", "swipe-right"])
        view.name = "swipe"
        view.add_layout(Span(dimension="height", location=0, line_color="white", line_width=4))
        view.add_layout(Span(dimension="height", location=0, line_color="black", line_width=1.5, name="divider"))
        return view

    def _map(self, each: ErrorMap) -> Any:
        from bokeh.models import ColorBar, HoverTool, LinearColorMapper  # noqa: PLC0415
        from bokeh.palettes import Cividis256  # noqa: PLC0415

        view = self._framed()
        alike = [
            other.values for other in self.page.maps if other is each or (each.scale and other.scale == each.scale)
        ]
        known = np.concatenate([values[np.isfinite(values)] for values in alike])
        low, high = np.quantile(known, _COLOURED).tolist() if len(known) else (0.0, 1.0)
        mapper = LinearColorMapper(Cividis256, low=low, high=high if high > low else low + 1, nan_color="#e4e4e400")
        shown = view.image(
            [each.values], x=0, y=0, dw=each.extent[0], dh=each.extent[1], color_mapper=mapper, level="image"
        )
        bar = ColorBar(color_mapper=mapper, title=each.unit, height=10, padding=4, bar_line_color="#777777")
        view.add_layout(bar, "below")
        view.add_tools(
            HoverTool(renderers=[shown], tooltips=[("column, row", "$x{0}, $y{0}"), (each.unit, "@image{0.000}")])
        )
        return self._marked(view)


def _no_picture(name: str) -> Any:
    """The source of a picture that the page's script will bring."""
    from bokeh.models import ColumnDataSource  # noqa: PLC0415

    content = {"image": [np.zeros((1, 1), np.uint32)], "x": [0], "y": [0], "width": [1], "height": [1]}
    return ColumnDataSource(content, name=name)


def _chart(x_label: str, y_label: str, lines: int, **settings: Any) -> Any:
    from bokeh.models import Legend  # noqa: PLC0415
    from bokeh.plotting import figure  # noqa: PLC0415

    columns = 2 if lines <= _FEW_LINES else 3
    rows = -(-lines // columns) if lines > 1 else 0
    height = settings.pop("height", 280) + 20 * rows
    chart = figure(
        x_axis_label=x_label, y_axis_label=y_label, height=height, min_border_left=_LEFT, sizing_mode="stretch_width",
        tools="pan,box_zoom,reset,save", toolbar_location="right", **settings,
    )  # fmt: skip
    chart.toolbar.logo = None
    chart.toolbar.active_drag = None  # a finger that scrolls the page is not to move the chart
    chart.toolbar.autohide = True
    legend = Legend(
        ncols=columns, click_policy="hide", label_text_font_size="11px", spacing=4, padding=2, margin=2,
        location="left",
        border_line_color=None, visible=lines > 1,
    )  # fmt: skip
    chart.add_layout(legend, "below")
    return chart


def _styles() -> itertools.cycle[tuple[str, str]]:
    return itertools.cycle((colour, dash) for dash in _DASHES for colour in _COLOURS)


def _spectrum(at: SpectraAt) -> Any:
    from bokeh.models import ColumnDataSource  # noqa: PLC0415

    axis = "band (number)" if at.wavelength_nm is None else "wavelength (nm)"
    lines = len(at.curves) + len(at.spread)
    chart = _chart(axis, "value (units of the HSI's file)", max(lines, 2), height=400, name="spectrum")
    x, _ = _axis(at)
    level = np.linspace(0, 1, len(x))  # until the page's script has chosen a pixel
    source = ColumnDataSource({"x": x, **dict.fromkeys(at.curves, level)}, name="spectra")
    styles = dict(zip(at.curves, _styles(), strict=False))
    for name in at.spread:
        around = ColumnDataSource({"x": [x[:1]], "y": [level[:1]]}, name=f"spread {name}")
        chart.patches("x", "y", source=around, fill_color=styles[name][0], fill_alpha=0.25, line_color=None,
                      legend_label=f"{name} ± one standard deviation")  # fmt: skip
    for name, (colour, dash) in styles.items():
        chart.line("x", name, source=source, line_color=colour, line_dash=dash, line_width=1.8, legend_label=name)
    return chart


def _response(model: ImagingModel, published: SensorTable | None) -> Any:
    """Each row of R over wavelength (or band number), scaled to maximum 1, as is the published curve."""
    srf = model.srf
    known = srf.hsi_wavelength_nm is not None
    position = srf.hsi_wavelength_nm if srf.hsi_wavelength_nm is not None else np.arange(srf.matrix.shape[1]) + 1.0
    axis = "wavelength (nm)" if known else "HSI band (number)"
    chart = _chart(axis, "relative to its maximum (1)", 2 * len(srf.msi_bands))
    styles = itertools.cycle(_COLOURS)
    for colour, name, row in zip(styles, srf.msi_bands, srf.matrix, strict=False):
        chart.line(*response_curve(position, row), line_color=colour, line_width=1.8, legend_label=name)
        if known and published is not None and name in published.bands:
            curve = published.response[published.bands.index(name)]
            chart.line(published.wavelength_nm, curve / curve.max(), line_color=colour, line_dash="dashed")
    chart.x_range.start, chart.x_range.end = response_reach(position, srf.matrix)
    return chart


def _point_spread(model: ImagingModel) -> Any:
    """The kernel with the HSI pixel's outline; axes in HSI pixels from its centre."""
    from bokeh.models import ColorBar, LinearColorMapper, Range1d  # noqa: PLC0415
    from bokeh.palettes import Cividis256  # noqa: PLC0415
    from bokeh.plotting import figure  # noqa: PLC0415

    kernel = model.psf.kernel
    edge = len(kernel) / model.ratio / 2
    chart = figure(
        frame_width=240, frame_height=240,
        x_range=Range1d(-edge, edge), y_range=Range1d(edge, -edge), toolbar_location=None, tools="",
        x_axis_label="HSI pixels (outline: one)", y_axis_label="HSI pixels", min_border_left=_LEFT,
    )  # fmt: skip
    chart.grid.visible = False
    mapper = LinearColorMapper(Cividis256, low=0, high=float(kernel.max()))
    chart.image([kernel.astype(np.float32)], x=-edge, y=-edge, dw=2 * edge, dh=2 * edge, color_mapper=mapper)
    chart.rect([0], [0], width=1, height=1, fill_color=None, line_color="white", line_width=1.5)
    chart.add_layout(ColorBar(color_mapper=mapper, title="weight of an MSI pixel (1)", height=10, padding=4), "below")
    return chart


def _arrows(found: Arrows) -> Any:
    """Lines from where a thing lies in the HSI to where the MSI shows it, lengthened so that they can be seen."""
    from bokeh.models import ColumnDataSource, Range1d  # noqa: PLC0415
    from bokeh.plotting import figure  # noqa: PLC0415

    factor = found.factor
    middle = (found.x.max() + found.x.min()) / 2, (found.y.max() + found.y.min()) / 2
    half = 0.7 * found.reach
    chart = figure(
        frame_width=240, frame_height=240, tools="", min_border_left=_LEFT, toolbar_location=None,
        x_axis_label="column (HSI pixels)", y_axis_label="row (HSI pixels)",
        x_range=Range1d(middle[0] - half, middle[0] + half), y_range=Range1d(middle[1] + half, middle[1] - half),
    )  # fmt: skip
    ends = {"to_x": found.x + factor * found.along_x, "to_y": found.y + factor * found.along_y}
    source = ColumnDataSource({"x": found.x, "y": found.y, **ends})
    chart.segment("x", "y", "to_x", "to_y", source=source, line_width=1.8, line_color=_COLOURS[1])
    chart.scatter("x", "y", source=source, size=5, color=_COLOURS[0])
    return chart


def _curves(found: Curves) -> Any:
    lines = len(found.lines) + len(found.levels)
    chart = _chart(found.x_label, found.y_label, lines, y_axis_type="log" if found.logarithmic else "linear")
    styles = _styles()
    marked = len(found.x) <= _MARKED
    for (name, values), (colour, dash) in zip(found.lines.items(), styles, strict=False):
        x, y = broken(found.x, values)
        chart.line(x, y, line_color=colour, line_dash=dash, line_width=1.8, legend_label=name)
        if marked:
            chart.scatter(found.x, values, color=colour, size=4, legend_label=name)
    ends = [float(found.x.min()), float(found.x.max())]
    for (name, level), (colour, _) in zip(found.levels.items(), styles, strict=False):
        chart.line(ends, [level, level], line_color=colour, line_dash="dotted", line_width=1.8, legend_label=name)
    return chart


def broken(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A line with NaN where the next point lies unusually far."""
    wide = _breaks(x)
    return np.insert(x, wide, np.nan), np.insert(y, wide, np.nan)


def _breaks(x: NDArray[np.float64]) -> NDArray[np.int64]:
    """Before which of ascending points a line is to break."""
    steps = np.diff(x)
    widest = max(_GAP * float(np.median(steps)), _LEAST_GAP_NM) if len(steps) else np.inf
    return np.flatnonzero(steps > widest) + 1
