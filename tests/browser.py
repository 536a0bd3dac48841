"""A real headless Chromium, where there is one."""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Browser:
    """A window of Chromium."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, page: Path) -> None:
        """Open a page from disk, and wait until it says that it is ready."""
        self.driver.get(page.as_uri())
        self.wait("return document.documentElement.dataset.ready === 'yes'")

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str) -> None:
        """Until a script returns something true."""
        for _ in range(200):
            if self.run(script):
                return
            time.sleep(0.05)
        raise AssertionError(f"{script} did not come true: {self.complaints()}")

    def complaints(self) -> list[str]:
        """Warnings and errors of the console since they were last asked for."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in {"WARNING", "SEVERE"}]

    def source(self, name: str) -> dict[str, Any]:
        """The numbers that one of Bokeh's sources has now; NaN is None."""
        script = """
            const data = Bokeh.documents[0].get_model_by_name(arguments[0]).data, plain = {};
            for (const [name, column] of Object.entries(data)) plain[name] = Array.from(column, (v) => v ?? null);
            return plain;"""
        found = self.run(script, name)
        assert isinstance(found, dict)
        return found

    def colour_at(self, x: float, y: float) -> NDArray[np.uint8]:
        """Red, green and blue on the screen, at a place of the window."""
        from PIL import Image

        picture = np.asarray(Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB"))
        ratio = picture.shape[1] / self.run("return window.innerWidth")
        return picture[round(y * ratio), round(x * ratio)]

    def tree(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader is told of."""
        nodes = self.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        told = [node for node in nodes if not node.get("ignored")]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in told if "role" in node]


@contextlib.contextmanager
def chromium(width: int = 1280, height: int = 800) -> Iterator[Browser]:
    """A browser; the test is skipped, and says why, where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs the test extra (selenium)")
    pytest.importorskip("bokeh", reason="needs the report extra")
    binary = next((found for name in _NAMES if (found := shutil.which(name))), None)
    helper = shutil.which("chromedriver")
    if binary is None or helper is None:
        pytest.skip("needs Chromium and its chromedriver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},{height}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(helper))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
