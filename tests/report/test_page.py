"""The page as a reader meets it, in a real browser: pictures, swipe, spectra, keys, what a screen reader is told."""

import json
import re
import sys

import numpy as np
import pytest

from hsfuse.errors import OutputError, RequestError
from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, load_table
from hsfuse.report.content import Arrows, Curves, ErrorMap, Finding, Page, Picture, SpectraAt, Table
from hsfuse.report.gathering import Places, map_edge
from hsfuse.report.page import check_page, write_page

from ..browser import chromium

WIDTH, HEIGHT, RATIO = 60, 48, 3
COLUMNS, ROWS = np.arange(2, WIDTH, 5), np.arange(3, HEIGHT, 6)
NM = np.concatenate((np.linspace(900, 1340, 12), np.linspace(420, 890, 18)))  # not sorted
RNG = np.random.default_rng(5)
RED, GREEN, BLUE = (210, 20, 20), (20, 170, 20), (20, 20, 210)


def painted(colour, scale=1):
    image = np.zeros((HEIGHT // scale, WIDTH // scale, 4), np.uint8)
    image[...] = (*colour, 255)
    return image


def picture(name, colour, scale=1):
    return Picture(name, {"natural": painted(colour, scale), "false": painted(GREEN, scale)}, (WIDTH, HEIGHT))


def spectra():
    shape = len(ROWS), len(COLUMNS), len(NM)
    hsi, result = (RNG.random(shape).astype(np.float32) for _ in range(2))
    hsi[0, 1] = np.nan
    return SpectraAt(COLUMNS, ROWS, NM, {"HSI": hsi, "result": result}, {"result": np.full(shape, 0.05, np.float32)})


SPECTRA = spectra()
PAGE = Page(
    title="Fused: <a> & b.tif",
    lead="a lead",
    findings=[Finding("good", "a good sign"), Finding("look", "a sign to look at")],
    tables=[Table("Metrics", ("metric", "value"), [("PSNR", "31.2 dB")])],
    warnings=["</script><script>alert(1)</script> is told"],
    size=(WIDTH, HEIGHT),
    pictures=[picture("HSI", RED, RATIO), picture("MSI", GREEN), picture("result", BLUE)],
    swiped=("HSI", "result"),
    spectra=SPECTRA,
    maps=[ErrorMap("Angle", "angle (°)", RNG.random((16, 20)).astype(np.float32), (WIDTH, HEIGHT))],
    imaging=ImagingModel(SpectralResponse.from_gaussians([490, 560], [66, 36], NM), PointSpread.gaussian(3, 1.0)),
    published=load_table("sentinel-2a"),
    arrows=Arrows("Shift", np.array([5.0, 9]), np.array([5.0, 9]), np.array([0.2, 0.1]), np.array([0.1, -0.3])),
    curves=[Curves("PSNR of each band", "wavelength (nm)", "PSNR (dB)", np.sort(NM), {"fused": RNG.random(len(NM))})],
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    pytest.importorskip("bokeh", reason="needs the report extra")
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, PAGE)
    return path


@pytest.fixture(scope="module")
def window():
    with chromium() as found:
        yield found


@pytest.fixture
def browser(window, page):
    window.open(page)
    return window


def expected(name, column, row):
    """In the order of the axis, which is sorted."""
    values = SPECTRA.curves[name][list(ROWS).index(row), list(COLUMNS).index(column)]
    return values[np.argsort(NM)]


def test_it_draws_everything_without_complaint_or_network(browser):
    assert browser.complaints() == []
    assert browser.run("return performance.getEntriesByType('resource').map((each) => each.name)") == []
    assert browser.run("return document.title") == PAGE.title
    assert browser.run("return document.querySelectorAll('figure').length") == 10
    wide = browser.run("return [innerWidth, document.documentElement.scrollWidth]")
    assert wide[1] <= wide[0]
    text = browser.run("return document.body.innerText")
    assert all(word in text for word in ("a good sign", "31.2 dB", "alert(1)", "To be used with care", "numpy"))


def frame_of(browser, number):
    """Left, top, width and height of a view's frame in the window, scrolled to."""
    script = """
        const figure = document.querySelectorAll('.view')[arguments[0]];
        figure.scrollIntoView({block: 'center'});
        const root = Bokeh.documents[0].roots().find((r) => figure.querySelector(`[data-root-id="${r.id}"]`));
        const view = Bokeh.index.get_by_id(root.id), inner = view.frame.bbox, outer = view.el.getBoundingClientRect();
        return [outer.left + inner.left, outer.top + inner.top, inner.width, inner.height];"""
    return browser.run(script, number)


def click(browser, number, column, row):
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    left, top, width, height = frame_of(browser, number)
    actions = ActionBuilder(browser.driver)
    actions.pointer_action.move_to_location(
        round(left + (column + 0.5) / WIDTH * width), round(top + (row + 0.5) / HEIGHT * height)
    ).click()
    actions.perform()


@pytest.mark.parametrize("number", [0, 2])
def test_a_click_draws_the_spectra_of_the_pixel(browser, number):
    click(browser, number, 33, 40)  # nearest to column 32, row 39
    browser.wait("return document.getElementById('chosen').textContent.startsWith('Column 32, row 39')")
    assert browser.source("chosen") == {"x": [32.5], "y": [39.5]}
    drawn = browser.source("spectra")
    bands = [i for i, nm in enumerate(drawn["x"]) if nm is not None]
    np.testing.assert_allclose([drawn["x"][i] for i in bands], np.sort(NM), atol=1e-3)
    for name in ("HSI", "result"):
        np.testing.assert_allclose([drawn[name][i] for i in bands], expected(name, 32, 39), atol=1e-4)
    outline = browser.source("spread result")
    assert max(outline["y"][0]) == pytest.approx(expected("result", 32, 39).max() + 0.05, abs=1e-3)


def test_a_pixel_without_data_says_so(browser):
    click(browser, 0, 7, 3)
    browser.wait("return document.getElementById('chosen').textContent.includes('no data in HSI')")
    assert browser.complaints() == []


def test_the_swipe_moves_between_the_pictures(browser):
    from selenium.webdriver.common.keys import Keys

    def shown(share):
        left, top, width, height = frame_of(browser, 3)
        return browser.colour_at(left + share * width, top + 0.2 * height)

    np.testing.assert_allclose(shown(0.4), RED, atol=12)
    np.testing.assert_allclose(shown(0.6), BLUE, atol=12)
    slider = browser.driver.find_element("id", "swipe")
    slider.send_keys(Keys.HOME)
    browser.wait("return Bokeh.documents[0].get_model_by_name('divider').location === 0")
    np.testing.assert_allclose(shown(0.4), BLUE, atol=12)
    slider.send_keys(Keys.END)
    browser.wait(f"return Bokeh.documents[0].get_model_by_name('divider').location === {WIDTH}")
    np.testing.assert_allclose(shown(0.6), RED, atol=12)
    assert "HSI left" in slider.get_attribute("aria-valuetext")
    browser.run("document.querySelector('input[value=false]').click()")
    browser.wait("return document.querySelector('input[value=false]').checked")
    np.testing.assert_allclose(shown(0.6), GREEN, atol=12)


def test_it_is_worked_by_the_keyboard_and_all_views_zoom_together(browser):
    from selenium.webdriver.common.keys import Keys

    ground = browser.driver.find_element("css selector", ".ground")
    before = browser.source("chosen")
    ground.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    after = browser.source("chosen")
    assert (after["x"][0] - before["x"][0], after["y"][0] - before["y"][0]) == (5, 6)
    ground.send_keys("+")
    reach = "const x = Bokeh.documents[0].get_model_by_name('x'); return x.end - x.start"
    assert browser.run(reach) == pytest.approx(WIDTH / 1.5)
    views = "return Bokeh.documents[0].roots().filter((r) => r.tags[0] === 'framed').map((r) => r.x_range.id)"
    assert len(set(browser.run(views))) == 1
    assert len(browser.run(views)) == 5
    ground.send_keys("0")
    assert browser.run(reach) == pytest.approx(WIDTH)
    number = browser.driver.find_element("id", "column")
    number.clear()
    number.send_keys("8", Keys.TAB)
    browser.wait("return Bokeh.documents[0].get_model_by_name('chosen').data.x[0] === 7.5")


def test_a_screen_reader_is_told_what_everything_is(browser):
    tree = browser.tree()
    named = {"slider", "combobox", "spinbutton", "button", "radio", "figure", "group", "table", "heading", "link"}
    assert [node for node in tree if node[0] in named and not node[1]] == []
    found = {role: [name for each, name in tree if each == role] for role in named}
    assert found["slider"] == ["Position of the divider between the left and the right picture"]
    assert found["combobox"] == ["Left", "Right"]
    assert found["spinbutton"] == ["Column", "Row"]
    assert {"Picture of HSI", "Map: Angle, angle (°)", "Spectra", "Point spread of an HSI pixel"} <= {
        *found["group"],
        *found["figure"],
    }
    assert ("status", "") in tree or any(role == "status" for role, _ in tree)


def test_it_fits_a_narrow_window(page):
    with chromium(520, 800) as browser:
        browser.open(page)
        inner, scrolled = browser.run("return [innerWidth, document.documentElement.scrollWidth]")
        assert scrolled <= inner
        _, _, width, height = frame_of(browser, 0)
        assert width / height == pytest.approx(WIDTH / HEIGHT, rel=0.02)


def test_no_name_breaks_out_of_the_page(tmp_path):
    pytest.importorskip("bokeh", reason="needs the report extra")
    bad = "</script><script>alert(1)</script>"
    at = SpectraAt(COLUMNS, ROWS, NM, {bad: SPECTRA.curves["HSI"]})
    page = Page(
        title=bad, lead=bad, warnings=[bad], size=PAGE.size, pictures=[picture(bad, RED)], spectra=at, findings=[],
        tables=[Table(bad, (bad, ""), [(bad, bad)])],
    )  # fmt: skip
    write_page(tmp_path / "page.html", page)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in text
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.DOTALL)
    assert data is not None
    assert json.loads(data[1])["pictures"][0]["name"] == bad


def test_a_page_is_refused_before_it_is_made(tmp_path, monkeypatch):
    with pytest.raises(OutputError, match=r"ends in \.html"):
        check_page(tmp_path / "a.pdf")
    (tmp_path / "a.html").write_text("here")
    with pytest.raises(OutputError, match="exists"):
        check_page(tmp_path / "a.html")
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(RequestError, match=r"hsfuse\[report\]"):
        check_page(tmp_path / "b.html")


@pytest.mark.parametrize(("shift", "factor"), [(0.0, 1.0), (0.001, 20.0), (0.5, 2.0), (5.0, 0.2)])
def test_displacements_are_lengthened_by_round_numbers(shift, factor):
    arrows = Arrows("", np.array([0.0, 10]), np.array([0.0, 4]), np.array([shift, 0]), np.zeros(2))
    assert arrows.factor == pytest.approx(factor)


def test_a_page_of_what_compresses_worst_stays_below_ten_megabytes(tmp_path):
    pytest.importorskip("bokeh", reason="needs the report extra")
    noise = RNG.integers(0, 256, (1000, 1000, 4), np.uint8)
    noise[..., 3] = 255
    places = Places.of(1000, 1000, 3 * 200)
    cube = RNG.random((len(places.rows), len(places.columns), 200)).astype(np.float32)
    edge = map_edge(5)
    maps = [ErrorMap(f"map {i}", "%", RNG.random((edge, edge)).astype(np.float32), (1000, 1000)) for i in range(5)]
    page = Page(
        title="large",
        lead="",
        size=(1000, 1000),
        pictures=[Picture(name, {"natural": noise, "false": noise}, (1000, 1000)) for name in ("HSI", "MSI", "result")],
        spectra=SpectraAt(places.columns, places.rows, None, {"HSI": cube, "result": cube}, {"result": cube}),
        maps=maps,
    )
    write_page(tmp_path / "large.html", page)
    assert (tmp_path / "large.html").stat().st_size < 10e6
