"""What an address says, which hosts are allowed, and how both are told."""

from __future__ import annotations

import pytest

from fluxbatch.errors import UsageError
from fluxbatch.manifest.address import Address, Allowed, Refusal, is_address, judge, public

IMAGES = Allowed.read(["images.example.com"])


def found(text: str, allowed: Allowed = IMAGES) -> Address:
    address = judge(text, allowed)
    assert isinstance(address, Address), address
    return address


def refusal(text: str, allowed: Allowed = IMAGES) -> Refusal:
    refused = judge(text, allowed)
    assert isinstance(refused, Refusal), refused
    return refused


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("https://images.example.com", "/"),
        ("https://images.example.com?a=1", "/?a=1"),
        ("https://images.example.com/a/../b//c.png", "/a/../b//c.png"),
        ("https://images.example.com/a%20b%2Fc.png?q=%3D&sig=A+b/c==", "/a%20b%2Fc.png?q=%3D&sig=A+b/c=="),
        ("https://images.example.com/ä/€?ü=1", "/%C3%A4/%E2%82%AC?%C3%BC=1"),
        ("https://images.example.com/@u:p@x/a;b,c!d'e(f)*~g|h[i]", "/@u:p@x/a;b,c!d'e(f)*~g|h[i]"),
        ("https://images.example.com/100%", "/100%"),
    ],
)
def test_path_and_query_are_sent_as_they_are_written(text: str, target: str):
    """Signed addresses break when anything in them is written otherwise; only what is not ASCII is encoded."""
    assert found(text) == Address("images.example.com", 443, target)


def test_the_host_is_compared_in_lower_case_and_in_a_labels():
    allowed = Allowed.read(["BÜCHER.example".lower(), "Images.EXAMPLE.com:8443", "*.XN--BCHER-KVA.example"])
    assert found("https://bücher.example/", allowed).host == "xn--bcher-kva.example"
    assert found("https://XN--bcher-KVA.example/", allowed).host == "xn--bcher-kva.example"
    assert found("https://a.bücher.example/", allowed).host == "a.xn--bcher-kva.example"
    assert found("https://images.example.com:8443/", allowed).origin == "images.example.com:8443"
    assert refusal("https://images.example.com/", allowed).host == "images.example.com"


@pytest.mark.parametrize(
    ("entry", "host", "allowed"),
    [
        ("a.example", "a.example", True),
        ("a.example", "b.a.example", False),
        ("a.example", "example", False),
        ("*.a.example", "b.a.example", True),
        ("*.a.example", "c.b.a.example", True),
        ("*.a.example", "a.example", False),
        ("*.a.example", "ba.example", False),
        ("*.a.example:8443", "b.a.example", False),
    ],
)
def test_an_entry_allows_what_it_says_and_no_more(entry: str, host: str, allowed: bool):
    assert ((host, 443) in Allowed.read([entry])) is allowed


def test_nothing_is_allowed_by_default():
    assert not Allowed()
    assert ("images.example.com", 443) not in Allowed()
    assert refusal("https://images.example.com/a.png", Allowed()).host == "images.example.com"


NO_HOSTS = (
    "", " ", "*", "*.", "*.com", "*.*.example.com", "a.*.example", "*a.example", "**.a.example", "localhost",
    "127.0.0.1", "10.0.0.0/8", "0x7f.1", "[::1]", "::1", "https://a.example", "a.example/", "a.example/x", "a.example.",
    ".a.example", "a..example", "u@a.example", "a.example:0", "a.example:", "a.example:99999", "a.example:https",
    "a b.example", "a.example,b.example", "a%2eexample", "a\u3002example", "\uff41.example", "-a.example",
    "a_b.example", "a.example\n",
)  # fmt: skip


@pytest.mark.parametrize("entry", NO_HOSTS)
def test_an_entry_that_is_no_host_is_refused_with_the_way_to_write_it(entry: str):
    with pytest.raises(UsageError, match="--allow-host") as failure:
        Allowed.read(["good.example.com", entry])
    assert "; " in str(failure.value)


def test_every_wrong_entry_is_told_at_once():
    with pytest.raises(UsageError) as failure:
        Allowed.read(["*.com", "good.example.com", "10.0.0.1", "https://a.example"])
    text = str(failure.value)
    assert all(entry in text for entry in ("*.com", "10.0.0.1", "https://a.example"))
    assert "good" not in text


ADDRESSES = ("https://a", "http:a", " https://a", "\thttps://a", "dataset:x#y", "data:,")
PATHS = ("C:\\pictures\\a.png", "c:/a.png", "a/b:c.png", "a.png", "//host/a.png", "/a:b.png", "", "1:2.png")


@pytest.mark.parametrize("text", ADDRESSES + PATHS)
def test_what_is_meant_as_an_address_is_told_from_a_path(text: str):
    assert is_address(text) is (text in ADDRESSES)


def test_what_is_shown_of_an_address_is_short_and_has_no_query():
    assert str(found("https://images.example.com/a.png?sig=SECRET")) == "https://images.example.com/a.png?…"
    assert str(found("https://images.example.com/a.png")) == "https://images.example.com/a.png"
    assert len(public("https://images.example.com/" + "a" * 7_000 + "?sig")) < 210
    assert "SECRET" not in repr(found("https://images.example.com/a.png?sig=SECRET"))


def test_the_name_to_keep_a_picture_under_tells_queries_apart_and_says_none():
    one, other, plain = (
        found(f"https://images.example.com/a.png{query}").name for query in ("?a=SECRET", "?b=SECRET", "")
    )
    assert len({one, other, plain}) == 3
    assert "SECRET" not in one + other
    long = "https://images.example.com/" + "a" * 300
    assert found(f"{long}1").name != found(f"{long}2").name
    assert found("HTTPS://IMAGES.example.com:443/a.png").name == plain
