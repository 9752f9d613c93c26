"""One picture at one address: what is taken, and everything that is not."""

from __future__ import annotations

import threading
import time
from itertools import chain, repeat

import pytest

from fluxbatch.manifest.address import Address, Allowed, judge
from fluxbatch.manifest.fetch import BYTES_MAX, fetch
from fluxbatch.manifest.trouble import Unfetched
from tests.manifest.fetch_kit import (
    HOST,
    PUBLIC,
    PUBLIC_2,
    PUBLIC_6,
    Answer,
    Clock,
    Names,
    Roads,
    authority,
    dripped,
    good_tls,
    picture_host,
    raw,
    said,
    wire,
)
from tests.manifest.manifest_kit import picture

PNG = picture(40, 30)
ALLOWED = Allowed.read([HOST])


def at(path: str = "/a.png", host: str = HOST) -> Address:
    found = judge(f"https://{host}{path}", Allowed.read([host]))
    assert isinstance(found, Address)
    return found


def fetched(answer: Answer | list[Answer], roads: Roads | None = None, **options: object) -> bytes:
    """What comes of an address whose host answers so."""
    roads = Roads() if roads is None else roads
    with picture_host({"/a.png": answer}, good_tls()) as host:
        roads.port = host.port
        return fetch(at(), wire(roads, **options), 20.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_fetched_byte_for_byte(kind: str):
    content = picture(64, 48, kind)
    assert fetched(said(content)) == content


def test_the_request_says_who_asks_and_asks_for_nothing_else():
    with picture_host({"/a/b.png": said(PNG)}, good_tls()) as host:
        fetch(at("/a/b.png?sig=1%20x"), wire(Roads(host.port)))
    [head] = host.heard
    first, *rest = head.strip().split("\r\n")
    assert first == "GET /a/b.png?sig=1%20x HTTP/1.1"
    sent = dict(line.split(": ", 1) for line in rest)
    assert sent == {
        "Host": HOST,
        "Accept": "image/jpeg, image/png, image/webp",
        "Accept-Encoding": "identity",
        "User-Agent": "fluxbatch",
        "Connection": "close",
    }


def test_a_body_in_chunks_or_without_a_length_is_taken():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(PNG), PNG)
    assert fetched(raw(chunked)) == PNG
    assert fetched(raw(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)) == PNG


def test_what_the_header_calls_it_does_not_matter():
    assert fetched(said(PNG, headers=["Content-Type: text/html"])) == PNG
    with pytest.raises(Unfetched, match="a page or a text"):
        fetched(said(b"<!doctype html><p>sign in", headers=["Content-Type: image/png"]))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "empty"),
        (b"{\"error\": \"no\"}", "a page or a text"),
        (b"\xef\xbb\xbf<svg xmlns='http://www.w3.org/2000/svg'/>", "a page or a text"),
        (b"GIF89a" + bytes(40), "no JPEG, PNG or WebP"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "no JPEG, PNG or WebP"),
        (b"\x89PNG\r\n\x1a", "no JPEG, PNG or WebP"),
        (b"%PDF-1.7\n" + bytes(40), "no JPEG, PNG or WebP"),
        (b"\x7fELF" + bytes(40), "no JPEG, PNG or WebP"),
    ],
)  # fmt: skip
def test_what_is_no_picture_by_its_first_bytes_is_refused(body: bytes, problem: str):
    with pytest.raises(Unfetched, match=problem):
        fetched(said(body))


def test_what_is_no_picture_is_given_up_before_the_rest_of_it_comes():
    begun = [b"HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n", b"<html>" + bytes(60)]
    with pytest.raises(Unfetched, match="a page or a text"):
        fetched(dripped(lambda: chain(begun, repeat(b"x"))))


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Again", "308 For Good", "300 Many"])
@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest/meta-data/?token=SECRET", "https://127.0.0.1/", f"https://{HOST}/b.png"]
)
def test_a_redirect_is_not_followed_wherever_it_leads(status: str, target: str):
    roads = Roads()
    with pytest.raises(Unfetched, match="redirect") as failure:
        fetched(said(PNG, status, [f"Location: {target}"]), roads)
    assert roads.asked == [(PUBLIC, 443)]
    assert target.partition("?")[0] in str(failure.value)
    assert "SECRET" not in str(failure.value)
    assert "allow its host" in str(failure.value)


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("401 Unauthorized", "no credentials are ever sent"),
        ("403 Forbidden", "does not give it out"),
        ("404 Not Found", "no such picture"),
        ("410 Gone", "no such picture"),
        ("304 Not Modified", "redirect"),
        ("204 No Content", "HTTP 204"),
        ("206 Partial Content", "HTTP 206"),
        ("418 Teapot", "HTTP 418"),
    ],
)  # fmt: skip
def test_what_is_not_200_is_told_once_and_not_tried_again(status: str, word: str):
    roads = Roads()
    with pytest.raises(Unfetched, match=word):
        fetched(said(b"", status), roads)
    assert len(roads.asked) == 1


def test_a_host_in_trouble_is_tried_three_times_with_longer_waits():
    roads, clock = Roads(), Clock()
    with pytest.raises(Unfetched, match="HTTP 503"):
        fetched(said(b"", "503 Busy"), roads, clock=clock)
    assert len(roads.asked) == 3
    assert clock.waited_s == [1.0, 4.0]


def test_a_picture_that_comes_at_the_second_try_is_taken_and_the_hosts_wish_is_heard():
    clock = Clock()
    assert fetched([said(b"", "429 Slow Down", ["Retry-After: 7"]), said(PNG)], clock=clock) == PNG
    assert clock.waited_s == [7.0]


@pytest.mark.parametrize(
    ("wish", "waited_s"), [("86400", 30.0), ("-5", 1.0), ("soon", 1.0), ("²", 1.0), ("9" * 400, 30.0)]
)
def test_a_wish_to_wait_is_bounded(wish: str, waited_s: float):
    clock = Clock()
    assert fetched([said(b"", "503 Busy", [f"Retry-After: {wish}"]), said(PNG)], clock=clock) == PNG
    assert clock.waited_s == [waited_s]


def test_a_length_above_the_limit_is_refused_unread():
    with pytest.raises(Unfetched, match="more than 50 MB"):
        fetched(said(PNG, length=BYTES_MAX + 1))


def test_a_body_that_is_longer_than_its_length_is_cut_at_the_length():
    assert fetched(said(PNG + b"more" * 1000, length=len(PNG))) == PNG


def test_a_body_that_is_shorter_than_its_length_is_no_picture():
    roads = Roads()
    with pytest.raises(Unfetched, match="broke off"):
        fetched(said(PNG, length=len(PNG) + 1), roads)
    assert len(roads.asked) == 3


def test_a_body_without_a_length_has_to_end_as_tls_ends():
    """Else whoever is in between could cut a picture short, and nobody would know."""
    cut = {"/a.png": raw(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)}
    with picture_host(cut, good_tls(), ends_properly=False) as host, pytest.raises(Unfetched, match="TLS"):
        fetch(at(), wire(Roads(host.port)), 20.0)


def test_chunks_without_end_are_given_up_at_the_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fluxbatch.manifest.fetch.BYTES_MAX", 200_000)
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    first = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(PNG), PNG)
    with pytest.raises(Unfetched, match="more than"):
        fetched(dripped(lambda: chain([first], repeat(chunk)), every_s=0.0))


def test_interim_answers_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fluxbatch.manifest.fetch.BYTES_MAX", 50_000)
    monkeypatch.setattr("fluxbatch.manifest.fetch.AROUND_BYTES_MAX", 50_000)
    with pytest.raises(Unfetched, match="does not end"):
        fetched(dripped(lambda: repeat(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100), every_s=0.0))


def test_a_head_without_end_is_given_up():
    lines = (b"X-%d: %s\r\n" % (number, b"y" * 4000) for number in range(10_000))
    with pytest.raises(Unfetched, match="no HTTP"):
        fetched(dripped(lambda: chain([b"HTTP/1.1 200 OK\r\n"], lines), every_s=0.0))


HEAD_OF_MUCH = b"HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n"
DRIPS = {
    "silence": lambda: repeat(b""),
    "a head that drips": lambda: chain([b"HTTP/1.1 200 OK\r\n"], repeat(b"X: y\r\n")),
    "a body that drips": lambda: chain([HEAD_OF_MUCH + PNG], repeat(b"\0")),
}


@pytest.mark.parametrize("drip", DRIPS)
def test_an_answer_that_drips_is_given_up_at_the_deadline(drip: str):
    roads = Roads()
    with picture_host({"/a.png": dripped(DRIPS[drip])}, good_tls()) as host:
        roads.port = host.port
        with pytest.raises(Unfetched, match=r"no whole answer within 0\.3 s"):
            fetch(at(), wire(roads), 0.3)
    assert len(roads.asked) == 3


def test_a_slow_picture_is_whole_though_its_pieces_take_longer_than_a_look_at_the_clock(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("fluxbatch.manifest.connect.SLICE_S", 0.01)
    content = picture(64, 48, "JPEG")
    step = len(content) // 6
    pieces = [b"HTTP/1.1 200 OK\r\n", b"Content-Length: %d\r\n\r\n" % len(content)]
    pieces += [content[at : at + step] for at in range(0, len(content), step)]
    assert fetched(dripped(lambda: pieces, every_s=0.05)) == content


def test_what_nobody_waits_for_any_more_ends_within_a_moment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fluxbatch.manifest.connect.SLICE_S", 0.05)
    with picture_host({"/a.png": dripped(DRIPS["silence"])}, good_tls()) as host:
        way = wire(Roads(host.port))
        threading.Timer(0.1, way.stop.set).start()
        began = time.monotonic()
        with pytest.raises(Unfetched, match="interrupted"):
            fetch(at(), way, 30.0)
        assert time.monotonic() - began < 15.0


def test_a_handshake_that_never_comes_is_given_up_at_the_deadline():
    # It waits for a head in plain text, and says nothing.
    with picture_host({}, None) as host, pytest.raises(Unfetched, match="no whole answer"):
        fetch(at(), wire(Roads(host.port)), 0.3)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "identity, gzip", "x"])
def test_a_body_that_is_compressed_unasked_is_refused(encoding: str):
    with pytest.raises(Unfetched, match="compressed"):
        fetched(said(PNG, headers=[f"Content-Encoding: {encoding}"]))


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\0" * 100,
        b"",
    ],
)
def test_what_is_no_http_is_refused(answer: bytes):
    with pytest.raises(Unfetched, match="broke off or is no HTTP"):
        fetched(raw(answer))


def test_a_server_of_plain_http_gets_no_request():
    with picture_host({"/a.png": said(PNG)}, None) as host:
        with pytest.raises(Unfetched):
            fetch(at(), wire(Roads(host.port)), 0.3)
        assert not any("GET" in head for head in host.heard)


@pytest.mark.parametrize(
    ("names", "days", "why"),
    [
        (["pictures.example.net"], (-1, 2), "Hostname mismatch"),
        ([PUBLIC], (-1, 2), "Hostname mismatch"),
        (["*.example.org"], (-1, 2), "Hostname mismatch"),
        ([HOST], (-30, -1), "expired"),
        ([HOST], (1, 30), "not yet valid"),
    ],
)
def test_a_certificate_that_is_not_good_for_the_name_now_is_refused(names: list[str], days: tuple[int, int], why: str):
    with picture_host({"/a.png": said(PNG)}, authority().served(*names, days=days)) as host:
        roads = Roads(host.port)
        with pytest.raises(Unfetched, match=why):
            fetch(at(), wire(roads), 20.0)
        assert len(roads.asked) == 1
        assert host.heard == []


def test_a_certificate_of_an_authority_that_nobody_knows_is_refused():
    """With the trust that a run has: this machine's authorities, of which the test's is none."""
    import httpcore  # noqa: TID251 - to have the context that a run has

    with picture_host({"/a.png": said(PNG)}, good_tls()) as host:
        with pytest.raises(Unfetched, match="certificate"):
            fetch(at(), wire(Roads(host.port), trust=httpcore.default_ssl_context()), 20.0)
        assert host.heard == []


def test_a_host_that_refuses_connections_is_tried_again_and_told():
    roads = Roads()
    with pytest.raises(Unfetched, match=r"cannot be reached \(Connection refused\)"):
        fetch(at(), wire(roads), 20.0)
    assert len(roads.asked) == 3


def test_a_proxy_of_the_environment_is_not_used_and_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    assert fetched(said(PNG)) == PNG
    with pytest.raises(Unfetched, match="not through the proxy"):
        fetch(at(), wire(Roads()), 20.0)


def test_the_next_address_of_a_name_is_tried_when_the_first_does_not_answer():
    names = Names({HOST: [[PUBLIC_6, PUBLIC, PUBLIC_2]]})
    roads = Roads(blocked=frozenset({PUBLIC_6, PUBLIC}))
    assert fetched(said(PNG), roads, names=names) == PNG
    assert roads.asked == [(PUBLIC_6, 443), (PUBLIC, 443), (PUBLIC_2, 443)]
    assert names.asked == [HOST]
