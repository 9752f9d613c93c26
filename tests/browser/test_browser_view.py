"""`fluxbatch view` in a real browser: ask, grid, open, keyboard; without script; phone and dark. Nothing leaves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.browser_kit import MIDDLE, PHONE, WIDE, looked_at, watched
from tests.query.query_kit import dataset_of
from tests.view.view_kit import HOSTILE, served

STYLES = ("ink", "oil", "chalk")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """40 pictures: four animals in three styles; the prompt and the name of a column are hostile."""
    animals = [f"hare {HOSTILE[0]}" if animal == "hare" else animal for animal in ("fox", "hare", "owl", "newt")] * 10
    prompts = [f"{animal}, number {number}" for number, animal in enumerate(animals)]
    own = pa.table({HOSTILE[1]: animals, "style": [STYLES[row // 4 % 3] for row in range(40)]})
    dataset = dataset_of(tmp_path_factory.mktemp("view") / "cats", parts=(15, 25), own=own, prompts=prompts)
    with served(dataset.folder) as address:
        yield address


@contextmanager
def opened(chromium: Browser, address: str, size: tuple[int, int] = WIDE, **how: bool) -> Iterator[Page]:
    with looked_at(chromium, address, size, **how) as page:
        page.goto(f"{address}/")
        yield page


def choose(page: Page, label: str, option: str) -> None:
    page.locator("#controls label", has_text=re.compile(f"^{re.escape(label)} ")).locator("select").select_option(
        label=option
    )


def are_drawn(page: Page, pictures: str) -> bool:
    """Whether each of them that is in the window has come and has pixels; others come when they are scrolled to."""
    return bool(page.evaluate(DRAWN, pictures))


def test_asking_shows_what_fits_and_pages_go_on(chromium: Browser, address: str):
    with opened(chromium, address) as page:
        expect(page.get_by_role("status")).to_have_text("40 pictures")
        choose(page, "On a page", "30")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("status")).to_have_text("40 pictures, 1 to 30")
        page.get_by_role("link", name="next →").first.click()
        expect(page.get_by_role("status")).to_have_text("40 pictures, 31 to 40")
        choose(page, "style", "oil")
        page.get_by_role("searchbox").fill("FOX")
        page.get_by_role("searchbox").press("Enter")
        expect(page.get_by_role("status")).to_have_text("3 of 40 pictures")
        assert are_drawn(page, ".cell img")
        page.get_by_role("link", name="Reset").click()
        expect(page.get_by_role("status")).to_have_text("40 pictures")


def test_a_picture_opens_full_size_and_is_stepped_from_by_keyboard(chromium: Browser, address: str):
    with opened(chromium, address) as page:
        where = page.get_by_label("Condition in SQL")
        where.fill("row > 36")
        where.press("Enter")
        expect(page.get_by_role("status")).to_have_text("4 of 40 pictures")
        page.wait_for_load_state()  # before the script has come, a picture's link leads to its page
        page.locator(".cell a").first.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading")).to_have_text("fox, number 36")
        expect(dialog).to_contain_text("1 of 4")
        page.keyboard.press("ArrowRight")
        expect(dialog.get_by_role("heading")).to_have_text(f"hare {HOSTILE[0]}, number 37")
        link = str(page.locator(".cell a").nth(1).get_attribute("href"))
        assert page.locator("#opened-picture").get_attribute("src") == link.replace("picture", "full")
        assert are_drawn(page, "#opened-picture")
        page.keyboard.press("End")
        expect(dialog.get_by_role("heading")).to_have_text("newt, number 39")
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        assert page.evaluate("document.activeElement.getAttribute('href')").startswith("/picture/")
        page.keyboard.press("/")
        expect(page.get_by_role("searchbox")).to_be_focused()


def test_a_picture_has_a_page_of_its_own(chromium: Browser, address: str):
    with opened(chromium, address) as page:
        page.locator(".cell a").nth(1).click()
        page.get_by_role("link", name="full size").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"hare {HOSTILE[0]}, number 1")
        assert are_drawn(page, ".whole img")
        page.get_by_role("link", name="next →").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("owl, number 2")
        page.get_by_role("link", name="ink").click()
        expect(page.get_by_role("status")).to_have_text("16 of 40 pictures")


def test_a_grid_leads_to_all_of_a_cell(chromium: Browser, address: str):
    with opened(chromium, address) as page:
        choose(page, "Grid across", "style")
        choose(page, "and down", HOSTILE[1])
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#grid caption")).to_have_text(f"style across, {HOSTILE[1]} down")
        assert page.locator("#grid tbody tr").count() == 4
        assert page.locator("#grid tbody td").count() == 12
        page.wait_for_load_state()
        assert are_drawn(page, "#grid img")
        page.locator("#grid a[data-n]").first.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#grid .more")).to_have_count(0)  # three or four pictures a cell: all are shown
        where = page.get_by_label("Condition in SQL")
        where.fill("row < 20")
        where.press("Enter")
        expect(page.get_by_role("status")).to_have_text("19 of 40 pictures")


def test_without_script_everything_is_a_page(chromium: Browser, address: str):
    with opened(chromium, address, has_script=False) as page:
        choose(page, "style", "chalk")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("status")).to_have_text("12 of 40 pictures")
        page.locator(".cell a").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("fox, number 8")


def test_a_wrong_condition_is_said_and_stays_to_be_mended(chromium: Browser, address: str):
    with watched(chromium, address) as (page, watch):
        page.goto(f"{address}/")
        where = page.get_by_label("Condition in SQL")
        where.fill("nonsense > 1")
        where.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("there is no column 'nonsense'")
        expect(page.get_by_label("Condition in SQL")).to_have_value("nonsense > 1")
        assert [complaint for complaint in watch.complaints if "400 (Bad Request)" not in complaint] == []


@pytest.mark.parametrize("size", [WIDE, MIDDLE, PHONE])
def test_nothing_is_wider_than_the_window(chromium: Browser, address: str, size: tuple[int, int]):
    with opened(chromium, address, size) as page:
        picture = page.locator(".cell a").first.get_attribute("href")
        grid = f"/?across=style&down={quote(HOSTILE[1])}"
        for path in ("/", "/?per=30&page=2", grid, str(picture)):
            page.goto(address + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_on_a_phone_pictures_come_before_the_filters(chromium: Browser, address: str):
    with opened(chromium, address, PHONE) as page:
        expect(page.get_by_label("Condition in SQL")).to_be_hidden()
        assert page.locator(".cell img").first.bounding_box()["y"] < PHONE[1] / 2  # type: ignore[index]
        page.get_by_text("Filter, sort, grid").click()
        choose(page, "style", "oil")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("status")).to_have_text("12 of 40 pictures")
        expect(page.get_by_label("Condition in SQL")).to_be_visible()


def test_letters_stand_out_from_what_is_behind_them_in_light_and_dark(chromium: Browser, address: str):
    for is_dark in (False, True):
        with opened(chromium, address, is_dark=is_dark) as page:
            for one in ("h1 a", "#told", ".cell p", "button.go", "label.search", ".reset"):
                assert page.locator(one).first.evaluate(CONTRAST) >= 4.5, (one, is_dark)


DRAWN = """async (pictures) => {
  const here = [...document.querySelectorAll(pictures)].filter((one) => one.getBoundingClientRect().top < innerHeight);
  await Promise.all(here.map((one) => one.complete || new Promise((done) => { one.onload = one.onerror = done; })));
  return here.length > 0 && here.every((one) => one.naturalWidth > 0);
}"""

CONTRAST = """(element) => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let behind = element;
  while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
  const pair = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor].map(light).sort();
  return (pair[1] + 0.05) / (pair[0] + 0.05);
}"""
