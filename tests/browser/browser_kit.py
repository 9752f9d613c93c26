"""A real browser (Debian's chromium, driven by playwright), and pages that complain.

A page notes every error of its console, every exception of its scripts and every request that leaves its own origin
(which is not let out), and the test fails when it has closed if there was one:

    with looked_at(chromium, origin) as page:
        page.goto(f"{origin}/")

`origin` is `http://127.0.0.1:PORT`, or the address of one file (`path.as_uri()`).
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, sync_playwright

WIDE, MIDDLE, PHONE = (1280, 800), (768, 1024), (375, 812)
"""Width and height of the window, in CSS pixels."""
SELF_CONTAINED = ("data:", "blob:", "about:")
TIMEOUT_MS = 20_000

_FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"]
"""In a container: no sandbox for root, and /dev/shm may be small."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for all tests of a file. No longer: as long as it lives playwright's loop runs in this thread, and no
    test that comes after it could begin one of its own.
    """
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no chromium is installed here (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        yield browser
        browser.close()


@dataclass
class Watch:
    """What a page did that it must not do."""

    origin: str
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    """Every address that was asked for, in order."""

    def may(self, url: str) -> bool:
        """Another port, or a name that only begins as the origin does, is another origin."""
        rest = url.removeprefix(self.origin)
        return url.startswith(SELF_CONTAINED) or (rest != url and (not rest or rest[0] in "/?#"))

    def note_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console {message.type}: {message.text}")

    def let_out(self, route: Route, request: Request) -> None:
        self.requests.append(request.url)
        if self.may(request.url):
            route.continue_()
        else:
            self.complaints.append(f"a request that leaves: {request.url}")
            route.abort()


@contextlib.contextmanager
def looked_at(
    browser: Browser, origin: str, size: tuple[int, int] = WIDE, *, is_dark: bool = False, has_script: bool = True
) -> Iterator[Page]:
    """A page of its own for the block. What it complained of fails the test at the end of it."""
    with watched(browser, origin, size, is_dark=is_dark, has_script=has_script) as (page, watch):
        yield page
    assert not watch.complaints, watch.complaints


@contextlib.contextmanager
def watched(
    browser: Browser, origin: str, size: tuple[int, int] = WIDE, *, is_dark: bool = False, has_script: bool = True
) -> Iterator[tuple[Page, Watch]]:
    """The same, with what it complained of handed out: for a page that is meant to answer with an error."""
    watch = Watch(origin.rstrip("/"))
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if is_dark else "light",
        java_script_enabled=has_script,
        reduced_motion="reduce",
        locale="en-GB",
    )
    context.set_default_timeout(TIMEOUT_MS)
    context.route("**/*", watch.let_out)
    page = context.new_page()
    page.on("console", watch.note_console)
    page.on("pageerror", lambda error: watch.complaints.append(f"exception: {error}"))
    try:
        yield page, watch
    finally:
        context.close()
