from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.cloudflare.redact import plain, redact

BARE = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7_bC-fG0iL3oR6"
assert len(BARE) == 40


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("token cfut_abcDEF-123_x.", "token [redacted]."),
        ("cfat_A,cfk_B", "[redacted],[redacted]"),
        ("Authorization: Bearer abc.def-123456", "Authorization: Bearer [redacted]"),
        ("'authorization': 'bearer   abcdefgh'", "'authorization': 'bearer [redacted]'"),
        (f"Bearer {BARE}", "Bearer [redacted]"),
        (f"CLOUDFLARE_API_TOKEN={BARE}\n", "CLOUDFLARE_API_TOKEN=[redacted]\n"),
        (f'"{BARE}"', '"[redacted]"'),
        (f"{BARE}\n{BARE}", "[redacted]\n[redacted]"),
        ("cannot reach http://me:pa:ss@proxy:3128/", "cannot reach http://[redacted]@proxy:3128/"),
    ],
)
def test_secrets_are_removed(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "a" * 40,
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "0123456789abcdef0123456789abcdef",
        "8a1f1c9e-31c1-4a0e-9a5f-6f7f2d1f0d77",
        "9876abcdef012345-FRA",
        BARE + "x",
        BARE[1:],
        "-" * 40,
        "the bearer of bad news",
        "@cf/black-forest-labs/flux-2-dev",
        "https://api.cloudflare.com/client/v4?a=b@c",
        "someone@example.com",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred\x07\x00", "\\x1b[31mred\\x07\\x00"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb\u2066c\u200fd", "a\\u202eb\\u2066c\\u200fd"),
        ("\u2028\ufeff", "\\u2028\\ufeff"),
        ("\ud83d", "\\ud83d"),
        ("\U000e0041", "\\U000e0041"),
        ("狐 é 🦊", "狐 é 🦊"),
    ],
)
def test_what_does_not_print_is_escaped(text: str, shown: str) -> None:
    assert plain(text, 100) == shown


@pytest.mark.parametrize(("limit", "shown"), [(6, "abcdef"), (5, "abcd…"), (1, "…"), (0, "")])
def test_what_is_too_long_is_cut(limit: int, shown: str) -> None:
    assert plain("abcdef", limit) == shown


@given(st.text(alphabet=st.characters(exclude_categories=())), st.integers(0, 50))
def test_plain_text_always_prints_on_one_line(text: str, limit: int) -> None:
    shown = plain(text, limit)
    assert len(shown) <= limit
    assert len(shown.splitlines()) <= 1
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert plain(shown, limit) == shown


@given(st.text(), st.text())
def test_a_token_is_removed_wherever_it_stands(before: str, after: str) -> None:
    token = "cfut_aB3dE6gH9jK2mN5pQ8sT1vW4yZ7"
    assert token not in redact(f"{before} {token} {after}")
    assert BARE not in redact(f"{before} {BARE} {after}")
