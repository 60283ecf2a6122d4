"""The report's page in a real browser."""

import io
import shutil

import numpy as np
import pytest
from conftest import synthesize
from PIL import Image

from geossda import HarmonizeConfig, harmonize, report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
               None)  # fmt: skip


@pytest.fixture(scope="module")
def page_file(tmp_path_factory, make_raster):
    """A page whose raster is dark before and bright after, all over."""
    folder = tmp_path_factory.mktemp("page")
    dark = synthesize(3, (240, 360), "uint8", 1) // 4
    source = make_raster(folder / "in.tif", image=dark)
    style = make_raster(folder / "style.tif", image=255 - dark)
    out = folder / "out.tif"
    harmonize(source, out, style=style, config=HarmonizeConfig(method="histogram", tile=128))
    return report(out).page


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("no Chromium is here: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        # Root, which continuous integration is, has no sandbox.
        made = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def opened(browser, page_file):
    """Open the page; gives it with what it said and asked for."""
    contexts = []

    def go(**settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth)")
        return page, said, asked

    yield go
    for context in contexts:
        context.close()


def bright_share(page):
    """Say how much of the swipe's width shows the bright raster, along a line off its marks."""
    shot = page.locator("#swipe").screenshot()
    image = np.asarray(Image.open(io.BytesIO(shot)).convert("L"), float)
    row = image[len(image) * 3 // 4 : len(image) * 9 // 10].mean(axis=0)
    return float((row > 128).mean())


def test_page_is_quiet_and_asks_for_nothing(opened, page_file):
    page, said, asked = opened()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
    assert page.evaluate("JSON.parse(document.getElementById('figures').textContent).bands") == 3


def test_swipe_moves_with_the_mouse(opened):
    page, said, _ = opened()
    assert bright_share(page) == pytest.approx(0.5, abs=0.03)
    box = page.locator("#swipe").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 60, steps=4)
    assert bright_share(page) == pytest.approx(0.8, abs=0.03)
    page.mouse.up()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 60)
    assert bright_share(page) == pytest.approx(0.8, abs=0.03), "let go of"
    assert said == []


def test_swipe_moves_with_the_keyboard(opened):
    page, said, _ = opened()
    page.get_by_role("slider").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert bright_share(page) == pytest.approx(0.3, abs=0.03)
    page.keyboard.press("Home")
    assert bright_share(page) == pytest.approx(1, abs=0.03)
    page.keyboard.press("End")
    assert bright_share(page) == pytest.approx(0, abs=0.03)
    assert said == []


def test_swipe_moves_by_touch(opened):
    page, said, _ = opened(has_touch=True, viewport={"width": 390, "height": 800})
    page.locator("#swipe").scroll_into_view_if_needed()
    box = page.locator("#swipe").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    assert bright_share(page) == pytest.approx(0.25, abs=0.03)
    assert said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_page_fits_the_screen_and_its_mode(opened, scheme, width):
    page, _, _ = opened(viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(ground.removeprefix("rgb(").split(",")[0])
    assert (red > 200) == (scheme == "light")


def test_print_shows_both_whole(opened):
    page, _, _ = opened()
    page.emulate_media(media="print")
    boxes = [page.locator(f"#swipe img.{name}").bounding_box() for name in ("before", "after")]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    clips = page.evaluate("[...document.images].map(i => getComputedStyle(i).clipPath)")
    assert set(clips) == {"none"}
