"""Who is answered, with what around it; the pictures' own bytes; and nothing else of the disk."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
from PIL import Image  # noqa: TID251 - what is handed out is looked at

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.shards import seal
from fluxbatch.query import Rows
from fluxbatch.view.pictures import Kept, media_type
from tests.dataset.dataset_kit import SEALED_AT, asked, delivered, encoded, jpeg, picture_row, pixels
from tests.query.query_kit import dataset_of
from tests.view.view_kit import ask, served, six

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return six(tmp_path_factory.mktemp("view") / "six")


@pytest.fixture(scope="module")
def address(dataset: Dataset) -> Iterator[str]:
    with served(dataset.folder) as address:
        yield address


@pytest.fixture(scope="module")
def keys(dataset: Dataset) -> list[str]:
    return [row["key"] for batch in Rows(dataset).read(["key"]) for row in batch.to_pylist()]


def paths(key: str) -> list[str]:
    pages = ["/", "/?where=x", f"/picture/{key}", f"/picture/{'0' * 64}", "/nowhere"]
    return [*pages, f"/thumbnail/{key}", f"/full/{key}", "/report.css", "/view.css", "/opened.js", "/icon.svg"]


def test_every_answer_says_what_a_browser_may_do_with_it(address: str, keys: list[str]):
    answers = [ask(address, path) for path in paths(keys[0])]
    answers += [ask(address, method="POST"), ask(address, Host="elsewhere.example"), ask(address, Sec_Fetch_Site="x")]
    for answer in answers:
        assert HEADERS.items() <= answer.headers.items()
        policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
        assert policy == {
            "default-src": "'none'",
            "img-src": "'self'",
            "style-src": "'self'",
            "script-src": "'self'",
            "form-action": "'self'",
            "base-uri": "'none'",
            "frame-ancestors": "'none'",
        }


def test_head_is_get_without_the_body_and_nothing_else_is_taken(address: str, keys: list[str]):
    for path in paths(keys[0]):
        got, head = ask(address, path), ask(address, path, "HEAD")
        assert (head.status, head.body) == (got.status, b"")
        assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.body))
        if got.status == 200:
            assert {ask(address, path, method).status for method in ("POST", "PUT", "DELETE", "OPTIONS")} == {405}


@pytest.mark.parametrize(
    "host", ["elsewhere.example", "127.0.0.1.elsewhere.example", "192.168.0.1", "", "[::1]", "localhost.", "0.0.0.0"]
)
def test_whoever_asks_by_another_name_is_refused(address: str, keys: list[str], host: str):
    for path in paths(keys[0]):
        assert ask(address, path, Host=host).status == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "127.0.0.1:1", "localhost:8788"])
def test_loopback_has_two_names_and_any_port(address: str, host: str):
    assert ask(address, Host=host).status == 200


def test_another_page_may_link_here_and_no_more(address: str, keys: list[str]):
    """What browsers say of a request that a page from elsewhere makes."""
    for site in ("cross-site", "same-site"):
        assert ask(address, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document").status == 200
        for mode, what in (("no-cors", "image"), ("no-cors", "script"), ("cors", "empty"), ("navigate", "iframe")):
            for path in ("/", f"/full/{keys[0]}", f"/thumbnail/{keys[0]}"):
                answer = ask(address, path, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode, Sec_Fetch_Dest=what)
                assert answer.status == 403
    own = ask(
        address, f"/full/{keys[0]}", Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="image"
    )
    assert own.status == 200


def test_pictures_are_the_bytes_that_lie_in_the_dataset(dataset: Dataset, address: str, keys: list[str]):
    for number, key in enumerate(keys):
        part = pq.read_table(dataset.path(dataset.parts[number // 3]), columns=["image"], partitioning=None)
        answer = ask(address, f"/full/{key}")
        assert answer.body == part.column("image")[number % 3]["bytes"].as_py()
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["content-disposition"] == f'inline; filename="{key}.jpg"'


def test_a_thumbnail_is_small_and_asked_for_again_by_its_tag(address: str, keys: list[str]):
    answer = ask(address, f"/thumbnail/{keys[0]}")
    assert answer.headers["content-type"] == "image/webp"
    with Image.open(io.BytesIO(answer.body)) as image:
        assert (image.format, image.size) == ("WEBP", (64, 48))
    again = ask(address, f"/thumbnail/{keys[0]}", If_None_Match=answer.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    other = ask(address, f"/thumbnail/{keys[1]}", If_None_Match=answer.headers["etag"])
    assert (other.status, bool(other.body)) == (200, True)


@pytest.mark.parametrize(
    "key",
    [
        "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd", "0" * 63, "0" * 64,
        "0" * 65, "F" * 64, "g" * 64, "0" * 63 + "%0a", "%00" * 64, "٣" * 64, "catalogue.jsonl", "",
    ],
)  # fmt: skip
def test_a_key_that_is_none_leads_nowhere(address: str, key: str):
    for kind in ("thumbnail", "full", "picture"):
        answer = ask(address, f"/{kind}/{quote(key, safe='/%')}")
        assert answer.status == 404
        assert "root:" not in answer.text


@pytest.mark.parametrize(
    "path", ["/catalogue.jsonl", "/data/train-00000.parquet", "/templates/list.html", "/../pages.py", "/..%2fpages.py",
             "/report.html", "/.fluxbatch/lock", "//etc/passwd"],
)  # fmt: skip
def test_no_file_has_an_address(address: str, path: str):
    assert ask(address, path).status == 404


def test_what_is_no_picture_is_a_file_to_keep_and_not_a_page(tmp_path: Path):
    """Bytes that came as a picture and are a page: they are never shown as one."""
    dataset = dataset_of(tmp_path / "d", (1,))
    contents = [
        b"<html><script>alert(1)</script>",
        b"",
        encoded(pixels(64, 48), "PNG"),
        encoded(pixels(64, 48), "WEBP"),
    ]
    spool, entries = dataset.spool(), []
    for row, content in enumerate(contents, 2):
        request = asked(f"odd {row}", row=row)
        entries.append(spool.put(picture_row(delivered(request, content), dataset.own_schema), request.key, 1))
    seal(dataset, spool, entries, run_id="r", sealed_at=SEALED_AT)
    with served(dataset.folder) as address:
        page = ask(address).page
        assert page.shown == ["picture 1", "odd 4", "odd 5"]
        assert page.text.count("not shown: undecodable") == 2
        links = list(dict.fromkeys(link for link in page.links if link.startswith("/picture/")))
        answers = [ask(address, link.replace("picture", "full")) for link in links]
        assert [answer.body for answer in answers[1:]] == contents
        assert [(one.headers["content-type"], one.headers["content-disposition"].split(";")[0]) for one in answers] == [
            ("image/jpeg", "inline"),
            ("application/octet-stream", "attachment"),
            ("application/octet-stream", "attachment"),
            ("image/png", "inline"),
            ("image/webp", "inline"),
        ]
        assert ask(address, links[1].replace("picture", "thumbnail")).status == 404
        assert "cannot be decoded" in ask(address, links[1]).text


def test_thumbnails_are_kept_up_to_so_many_bytes_the_last_used_longest():
    kept, made = Kept(bytes_max=30), []

    def get(name: int, size: int = 10) -> bytes | None:
        return kept.get(("part", name), lambda: made.append(name) or bytes(size))

    for name in (1, 2, 3, 1, 4, 1, 2):
        get(name)
    assert made == [1, 2, 3, 4, 2]
    assert kept.size_bytes == 30
    get(5, size=31)
    assert kept.size_bytes == 0
    assert kept.get(("part", 6), lambda: None) is None
    assert len(jpeg()) > 30
    assert media_type(jpeg()) == ("image/jpeg", ".jpg")
