"""The pages that complain do complain: a check that cannot fail would let everything pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.browser_kit import Watch, looked_at, watched


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("<script>console.error('broken')</script>", "console error: broken"),
        ("<script>throw new Error('broken')</script>", "exception: broken"),
        ("<img src='http://elsewhere.example/pixel.png'>", "leaves: http://elsewhere.example/pixel.png"),
        ("<link rel=stylesheet href='file:///etc/hostname'>", "leaves: file:///etc/hostname"),
        ("<img src='http://127.0.0.1:9/pixel.png'>", "leaves: http://127.0.0.1:9/pixel.png"),
    ],
)
def test_a_page_that_does_what_it_must_not_is_told_of(
    chromium: Browser, tmp_path: Path, body: str, complaint: str
) -> None:
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><title>x</title>{body}")
    with watched(chromium, path.as_uri()) as (page, watch):
        page.goto(path.as_uri())
    assert any(complaint in said for said in watch.complaints), watch.complaints


def test_a_complaint_fails_the_test(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<!doctype html><title>x</title><script>console.error('broken')</script>")
    with pytest.raises(AssertionError, match="broken"), looked_at(chromium, path.as_uri()) as page:
        page.goto(path.as_uri())


def test_a_page_that_keeps_to_itself_is_not(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<!doctype html><title>x</title><img alt='' src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>")
    with looked_at(chromium, path.as_uri()) as page:
        page.goto(path.as_uri())


def test_an_origin_that_only_begins_the_same_is_another() -> None:
    watch = Watch("http://127.0.0.1:80")
    assert watch.may("http://127.0.0.1:80/picture/1?x#y")
    assert not watch.may("http://127.0.0.1:8000/")
    assert not watch.may("http://127.0.0.1:80.elsewhere.example/")
