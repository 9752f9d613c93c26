from __future__ import annotations

from tests.browser.browser_kit import chromium

__all__ = ["chromium"]
