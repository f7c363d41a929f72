"""The page in headless Chromium, as people see and use it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.reports.conftest import SCRIPT, SPEC, Reported

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"),
]
LOOKS = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]
IDS = [f"{width}-{scheme}" for width, scheme in LOOKS]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        # Containers run as root, where Chromium's sandbox does not start.
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


class Watched:
    """A page with all that it said and asked for."""

    def __init__(self, browser: Any, file: Path, width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", self._dismiss)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())

    def _dismiss(self, dialog: Any) -> None:
        self.said.append(dialog.message)
        dialog.dismiss()


@pytest.fixture
def watched(browser: Any, reported: Reported, request: pytest.FixtureRequest) -> Iterator[Watched]:
    width, scheme = getattr(request, "param", (1280, "light"))
    found = Watched(browser, reported.file, width, scheme)
    yield found
    found.context.close()


@pytest.mark.parametrize("watched", LOOKS, ids=IDS, indirect=True)
def test_nothing_goes_wrong_and_nothing_leaves(
    watched: Watched, reported: Reported, tmp_path: Path
) -> None:
    page = watched.page
    page.locator("details summary").click()
    for section in page.locator("section").all():
        section.scroll_into_view_if_needed()
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 50_000
    assert watched.said == []
    elsewhere = {url for url in watched.asked if not url.startswith("data:")}
    assert elsewhere == {reported.file.as_uri()}
    broken = "images => images.filter(one => !one.naturalWidth).map(one => one.alt)"
    assert page.locator("img").evaluate_all(broken) == []
    assert page.locator("img").count() > 20


@pytest.mark.parametrize("watched", LOOKS, ids=IDS, indirect=True)
def test_no_page_is_wider_than_its_screen(watched: Watched) -> None:
    width = watched.page.viewport_size["width"]
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
    for region in watched.page.locator(".scroll").all():
        assert region.get_attribute("tabindex") == "0"
        assert region.get_attribute("aria-label")


@pytest.mark.parametrize("watched", LOOKS, ids=IDS, indirect=True)
def test_accessibility(watched: Watched) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="axe is not installed: pip install axe-playwright-python",
    )
    found = axe.Axe().run(watched.page).response
    assert len(found["passes"]) > 20
    serious = [
        (violation["id"], [node["html"][:200] for node in violation["nodes"][:3]])
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.mark.parametrize("watched", LOOKS[2:], ids=IDS[2:], indirect=True)
def test_figures_are_those_of_the_scheme(watched: Watched, request: Any) -> None:
    dark = "dark" in request.node.name
    sources = watched.page.locator("picture img").evaluate_all(
        "images => images.map(one => one.currentSrc === one.src)"
    )
    assert sources == [not dark] * len(sources)
    assert len(sources) >= 4
    ground = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is not dark


def test_a_run_named_as_a_script_is_text(watched: Watched) -> None:
    assert watched.page.locator("tbody th", has_text=SCRIPT).count() == 2
    assert watched.page.locator("script").count() == 1
    assert watched.said == []


def _column(page: Any, name: str) -> list[tuple[str, float | None]]:
    """Unit and value of every cell of a column, from top to bottom."""
    heads = page.locator("table.sortable thead th").all_inner_texts()
    (place,) = [i for i, head in enumerate(heads, 1) if head.startswith(name)]
    cells = page.locator(f"table.sortable tbody tr > :nth-child({place})").all()
    values = [(cell.get_attribute("data-unit"), cell.get_attribute("data-value")) for cell in cells]
    return [(unit, None if value is None else float(value)) for unit, value in values]


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_sorting(watched: Watched, by: str) -> None:
    page = watched.page
    heading = page.locator("th", has=page.get_by_role("button", name="KL, nats per image"))
    button = heading.get_by_role("button")
    before = _column(page, "KL")

    def press() -> None:
        if by == "mouse":
            button.click()
        else:
            button.focus()
            page.keyboard.press("Enter")

    assert heading.get_attribute("aria-sort") == "none"
    press()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert _column(page, "KL") == sorted(before)
    assert sorted(before) != before
    press()
    assert heading.get_attribute("aria-sort") == "descending"
    assert _column(page, "KL") == sorted(before, reverse=True)
    assert "sorted by KL, nats per image, descending" in page.locator("caption").first.inner_text()
    other = page.get_by_role("button", name="Squared error per pixel")
    other.focus()
    page.keyboard.press("Space")
    assert heading.get_attribute("aria-sort") == "none"


def test_what_cannot_be_compared_is_sorted_apart(watched: Watched) -> None:
    page = watched.page
    for _ in range(2):
        page.get_by_role("button", name="Reconstruction, nats per image").click()
        units = [unit for unit, _ in _column(page, "Reconstruction")]
        changes = sum(a != b for a, b in pairwise(units))
        assert changes == len(set(units)) - 1 == 1
    page.get_by_role("button", name="ELBO").click()
    values = [value for _, value in _column(page, "ELBO")]
    known = [value for value in values if value is not None]
    none = 2 * len(SPEC["seeds"])  # cross-entropy on grey pixels is no bound, at either β
    assert values == [*sorted(known), *[None] * none]


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_slider(watched: Watched, by: str) -> None:
    page = watched.page
    slider = page.get_by_label("z of the moved unit")
    stacks = page.locator(".frames")

    def shown() -> set[str]:
        alts = page.locator(".frames img:visible").evaluate_all("all => all.map(one => one.alt)")
        assert len(alts) == stacks.count() > 4
        return {alt.partition("z = ")[2].partition(",")[0] for alt in alts}

    assert shown() == {"0.0"}
    if by == "mouse":
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
        assert shown() == {"3.0"}
    else:
        slider.focus()
        page.keyboard.press("ArrowRight")
        assert shown() == {"0.6"}
        page.keyboard.press("Home")
        assert shown() == {"−3.0"}
        assert slider.get_attribute("aria-valuetext") == "z = −3.0"
        assert page.locator("output").inner_text() == "z = −3.0"


def test_everything_is_reached_by_tab(watched: Watched) -> None:
    page = watched.page
    reached = []
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.outerHTML.slice(0, 30)"))
    assert reached[0].startswith('<a class="skip"')
    for start in ("<button", '<input id="z"', "<summary", '<div class="scroll"'):
        assert any(one.startswith(start) for one in reached), start
