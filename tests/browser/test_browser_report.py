"""report.html in a real browser: filters, the grid, the opened picture, keyboard, dark and phone. Nothing leaves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page, expect

from fluxbatch.report.gallery import Beside, gallery_of
from fluxbatch.report.html import to_html
from tests.browser.browser_kit import MIDDLE, PHONE, WIDE, looked_at
from tests.query.query_kit import dataset_of, put_sidecar
from tests.report.test_report_html import FACTS, HOSTILE

STYLES = ("ink", "oil", "chalk")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures: four animals in three styles, twice each; two of them near-duplicates; one has another beside it."""
    folder = tmp_path_factory.mktemp("report")
    animals = [f"hare {HOSTILE}" if animal == "hare" else animal for animal in ("fox", "hare", "owl", "newt")] * 6
    prompts = [f"{animal}, number {number}" for number, animal in enumerate(animals)]
    own = pa.table({"animal": animals, "style": [STYLES[row // 4 % 3] for row in range(24)]})
    dataset = dataset_of(folder / "cats", parts=(10, 14), own=own, prompts=prompts)
    keys = dataset.to_pandas(columns=["key"])["key"].tolist()
    put_sidecar(dataset, "duplicates", pa.table({"key": keys[:2], "duplicate_group": [keys[0]] * 2}))
    other = dataset_of(folder / "dogs", parts=(1,), prompts=[prompts[0]])
    page = folder / "report.html"
    page.write_text(to_html(FACTS, gallery_of(dataset, Beside(other, ("prompt",))), "1"), "utf-8")
    return page


@contextmanager
def opened(chromium: Browser, report: Path, size: tuple[int, int] = WIDE, *, is_dark: bool = False) -> Iterator[Page]:
    with looked_at(chromium, report.as_uri(), size, is_dark=is_dark) as page:
        page.goto(report.as_uri())
        yield page


def shown(page: Page) -> int:
    return page.locator("#cells .cell:visible").count()


def choose(page: Page, name: str, option: str) -> None:
    page.locator("#controls label", has_text=re.compile(f"^{name} ")).locator("select").select_option(label=option)


def test_filters_show_what_fits_and_say_how_many(chromium: Browser, report: Path):
    with opened(chromium, report) as page:
        told = page.get_by_role("status")
        expect(told).to_have_text("24 of 24 pictures")
        choose(page, "style", "oil")
        expect(told).to_have_text("8 of 24 pictures")
        assert shown(page) == 8
        page.get_by_label("Search").fill("FOX")
        expect(told).to_have_text("2 of 24 pictures")
        page.get_by_label("Search").fill("fox unicorn")
        expect(told).to_have_text("0 of 24 pictures")
        page.get_by_role("button", name="Reset").click()
        expect(told).to_have_text("24 of 24 pictures")
        assert shown(page) == 24


def test_a_sweep_is_laid_out_over_two_axes(chromium: Browser, report: Path):
    with opened(chromium, report) as page:
        choose(page, "Grid across", "style")
        choose(page, "and down", "animal")
        grid = page.locator("#grid table")
        assert grid.locator("thead th").all_inner_texts() == list(STYLES)
        assert [text.split()[0] for text in grid.locator("tbody th").all_inner_texts()] == [
            "fox",
            "hare",
            "owl",
            "newt",
        ]
        assert [grid.locator("td").nth(number + 1).locator(".cell").count() for number in range(12)] == [2] * 12
        assert grid.locator(".cell").count() == 24
        choose(page, "style", "chalk")
        assert grid.locator("thead th").all_inner_texts() == ["chalk"]
        choose(page, "Grid across", "none")
        assert grid.count() == 0
        assert shown(page) == 8


def test_a_picture_is_opened_walked_through_and_closed_by_keyboard(chromium: Browser, report: Path):
    with opened(chromium, report) as page:
        choose(page, "style", "ink")
        first = page.locator("#cells .cell:visible button").first
        first.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        expect(dialog.get_by_role("heading")).to_have_text("fox, number 0")
        expect(page.locator("#opened-place")).to_have_text("1 of 8")
        assert "style\nink" in page.locator("#opened-values").inner_text()
        page.keyboard.press("ArrowRight")
        expect(dialog.get_by_role("heading")).to_contain_text("hare")
        expect(page.locator("#opened-place")).to_have_text("2 of 8")
        page.keyboard.press("End")
        expect(page.locator("#opened-place")).to_have_text("8 of 8")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#opened-place")).to_have_text("8 of 8")
        page.keyboard.press("Home")
        expect(page.locator("#opened-place")).to_have_text("1 of 8")
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        assert first.evaluate("button => document.activeElement === button")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "search"


def test_the_same_cell_of_the_other_dataset_is_beside_it_there_too(chromium: Browser, report: Path):
    with opened(chromium, report) as page:
        page.locator("#cells .cell button").first.click()
        assert page.locator("#opened-beside").is_visible()
        page.keyboard.press("ArrowRight")
        assert not page.locator("#opened-beside").is_visible()


def test_near_duplicates_stand_together_and_open(chromium: Browser, report: Path):
    with opened(chromium, report) as page:
        group = page.get_by_role("group", name="Near-duplicates, group 1")
        assert group.locator(".cell").count() == 2
        group.locator("button").first.click()
        expect(page.get_by_role("dialog")).to_be_visible()


def test_what_is_hostile_is_read_and_not_run(chromium: Browser, report: Path):
    with opened(chromium, report) as page:
        page.get_by_label("Search").fill("onerror=alert(2)")
        expect(page.get_by_role("status")).to_have_text("6 of 24 pictures")
        page.locator("#cells .cell:visible button").first.click()
        assert "<img src=x onerror=alert(2)>" in page.get_by_role("dialog").get_by_role("heading").inner_text()
        assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("size", [WIDE, MIDDLE, PHONE], ids=["wide", "middle", "phone"])
@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_nothing_is_wider_than_the_window_and_everything_can_be_read(
    chromium: Browser, report: Path, size: tuple[int, int], is_dark: bool
):
    with opened(chromium, report, size, is_dark=is_dark) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        for what in ("body", ".quiet", "nav a", ".legend"):
            assert contrast(page, what) >= 4.5, what  # WCAG 2.2, 1.4.3
        assert luminance(page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")) < 0.2 or not is_dark


def luminance(colour: str) -> float:
    """As WCAG 2.2 defines it, of a colour like rgb(1, 2, 3)."""
    channels = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(page: Page, what: str) -> float:
    """Of its text to the page's paper."""
    colours = [
        page.locator(what).first.evaluate("e => getComputedStyle(e).color"),
        page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor"),
    ]
    dark, light = sorted(map(luminance, colours))
    return (light + 0.05) / (dark + 0.05)


def test_everything_has_a_name_that_can_be_read_out(chromium: Browser, report: Path):
    with opened(chromium, report) as page:
        assert page.locator("img:not([alt])").count() == 0
        named = "e.labels?.length || e.ariaLabel || e.innerText.trim() || e.querySelector('img[alt]')"
        assert page.locator("button, select, input").evaluate_all(f"es => es.filter(e => !({named})).length") == 0
        assert page.locator("h1").count() == 1
        assert page.locator("html").get_attribute("lang") == "en"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the pictures"


def test_without_script_every_picture_is_there(chromium: Browser, report: Path):
    with looked_at(chromium, report.as_uri(), has_script=False) as page:
        page.goto(report.as_uri())
        assert page.locator("#cells .cell").count() == 24
        assert not page.locator("#controls").is_visible()


def test_nothing_is_asked_for_but_the_page(chromium: Browser, report: Path):
    with looked_at(chromium, report.as_uri()) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        page.locator("#pictures").scroll_into_view_if_needed()
        assert {url for url in asked if not url.startswith("data:")} == {report.as_uri()}
