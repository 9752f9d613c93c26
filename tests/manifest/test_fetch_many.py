"""Many addresses: each fetched once, kept, few at once of one host, and a host that is silent is left alone."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from fluxbatch.dataset.kept import KeptReferences
from fluxbatch.manifest.address import Allowed
from fluxbatch.manifest.fetching import AT_ONCE, HOST_FAILURES_MAX, PER_HOST, Fetching
from fluxbatch.manifest.places import NothingKept, Places
from fluxbatch.manifest.reader import Rejected
from fluxbatch.manifest.references import fitted_bytes
from fluxbatch.manifest.turns import Turns
from fluxbatch.manifest.values import Unusable
from tests.e2e.e2e_kit import until
from tests.manifest.fetch_kit import (
    HOST,
    OTHER,
    Answer,
    Clock,
    PictureHost,
    Roads,
    good_tls,
    picture_host,
    raw,
    said,
    wire,
)
from tests.manifest.manifest_kit import asked, opened, picture

PNG, OTHER_PNG = picture(20, 20), picture(30, 30)
ALLOWED = Allowed.read([HOST, OTHER])
SECRET = "X-Amz-Signature=f00dcafe"


def fetching(host: PictureHost | None, kept: object = None, clock: Clock | None = None, **options: bool) -> Fetching:
    roads = Roads(None if host is None else host.port)
    return Fetching(ALLOWED, kept or NothingKept(), wire(roads, clock=clock), **options)  # type: ignore[arg-type]


def of(path: str, host: str = HOST) -> str:
    return f"https://{host}/{path}"


def content(found: Path | bytes) -> bytes:
    return found.read_bytes() if isinstance(found, Path) else found


def test_an_address_that_many_rows_name_is_fetched_once():
    with picture_host({"/a.png": said(PNG), "/b.png": said(OTHER_PNG)}, good_tls()) as host:
        addresses = fetching(host)
        addresses.ahead([of("a.png"), of("b.png"), of("a.png")])
        assert [content(addresses.original(of(name))) for name in ("a.png", "b.png", "a.png")] == [PNG, OTHER_PNG, PNG]
        assert content(addresses.original("HTTPS://IMAGES.example.com:443/a.png")) == PNG, "the same address"
    assert sorted(host.paths()) == ["/a.png", "/b.png"]


def test_what_is_not_allowed_is_told_without_a_look_and_its_host_is_noted_once():
    addresses = fetching(None)
    for _ in range(2):
        for text in (
            "https://b.example/1.png?x=SECRET",
            "https://a.example:8443/",
            "https://127.0.0.1/",
            of("a.png#x"),
        ):
            addresses.ahead([text])
            with pytest.raises(Unusable, match="is an address that is not fetched") as failure:
                addresses.original(text)
            assert "SECRET" not in str(failure.value)
    assert addresses.hosts_refused == ("b.example", "a.example:8443")


def test_a_second_run_reads_what_is_kept_and_makes_no_connection(tmp_path: Path):
    with picture_host({"/a.png": said(PNG)}, good_tls()) as host:
        first = fetching(host, KeptReferences(tmp_path)).original(of(f"a.png?{SECRET}"))
    assert isinstance(first, Path)
    assert first.read_bytes() == PNG
    assert fetching(None, KeptReferences(tmp_path)).original(of(f"a.png?{SECRET}")) == first
    with pytest.raises(Unusable, match="cannot be reached"):
        fetching(None, KeptReferences(tmp_path)).original(of("a.png?another"))


def test_what_is_kept_is_not_used_once_its_host_is_no_longer_allowed(tmp_path: Path):
    with picture_host({"/a.png": said(PNG)}, good_tls()) as host:
        fetching(host, KeptReferences(tmp_path)).original(of("a.png"))
    with pytest.raises(Unusable, match="not allowed"):
        Fetching(Allowed.read([OTHER]), KeptReferences(tmp_path)).original(of("a.png"))


def test_nothing_that_is_kept_says_the_query(tmp_path: Path):
    with picture_host({"/a.png": said(PNG)}, good_tls()) as host:
        fetching(host, KeptReferences(tmp_path)).original(of(f"a.png?{SECRET}"))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    for path in files:
        assert b"f00dcafe" not in path.read_bytes()
        assert "f00dcafe" not in str(path)
    [note] = [json.loads(path.read_bytes()) for path in files if path.parent.name == "sources"]
    assert note["source"].startswith("https://images.example.com/a.png?… ")


def test_refetch_looks_again_once_in_a_run(tmp_path: Path):
    answers: list[Answer] = [said(PNG), said(OTHER_PNG), said(PNG)]
    with picture_host({"/a.png": answers}, good_tls()) as host:
        assert content(fetching(host, KeptReferences(tmp_path)).original(of("a.png"))) == PNG
        again = fetching(host, KeptReferences(tmp_path), again=True)
        assert [content(again.original(of("a.png"))) for _ in range(2)] == [OTHER_PNG, OTHER_PNG]
    assert content(fetching(None, KeptReferences(tmp_path)).original(of("a.png"))) == OTHER_PNG


def test_what_is_broken_is_not_kept_and_told_with_its_address(tmp_path: Path):
    half = picture(200, 200, "JPEG")[:-300]
    with picture_host({"/a.jpg": [said(half), said(PNG)]}, good_tls()) as host:
        with pytest.raises(Unusable, match=r"a\.jpg\?…': the picture is damaged") as failure:
            fetching(host, KeptReferences(tmp_path)).original(of(f"a.jpg?{SECRET}"))
        assert "f00dcafe" not in str(failure.value)
        assert not (tmp_path / "references").exists()
        assert content(fetching(host, KeptReferences(tmp_path)).original(of(f"a.jpg?{SECRET}"))) == PNG


def test_a_picture_that_finds_no_more_room_is_told_with_its_address(tmp_path: Path):
    with picture_host({"/a.png": said(PNG)}, good_tls()) as host:
        for _ in range(2):
            with pytest.raises(Unusable, match=r"a\.png': .* would grow beyond"):
                fetching(host, KeptReferences(tmp_path, bytes_max=10)).original(of("a.png"))


def test_what_failed_is_told_the_same_for_every_row_and_not_tried_again():
    clock = Clock()
    addresses = fetching(None, clock=clock)
    told = set()
    for _ in range(3):
        with pytest.raises(Unusable) as failure:
            addresses.original(of("a.png"))
        told.add(str(failure.value))
    assert len(told) == 1
    assert clock.waited_s == [1.0, 4.0]


def test_a_silent_host_is_left_alone_after_a_few_and_another_is_not(tmp_path: Path):
    clock = Clock()
    addresses = fetching(None, clock=clock)
    said_of = []
    for number in range(20):
        with pytest.raises(Unusable) as failure:
            addresses.original(of(f"{number}.png"))
        said_of.append(str(failure.value))
    assert [("was not tried" in text) for text in said_of] == [False] * HOST_FAILURES_MAX + [True] * (
        20 - HOST_FAILURES_MAX
    )
    assert len(clock.waited_s) == 2 * HOST_FAILURES_MAX
    with pytest.raises(Unusable, match=r"pictures\.example\.net cannot be reached"):
        addresses.original(of("a.png", OTHER))


def test_pictures_that_are_not_there_do_not_make_a_host_silent():
    with picture_host({"/last.png": said(PNG)}, good_tls()) as host:
        addresses = fetching(host)
        for number in range(3 * HOST_FAILURES_MAX):
            with pytest.raises(Unusable, match="no such picture"):
                addresses.original(of(f"{number}.png"))
        assert content(addresses.original(of("last.png"))) == PNG


def test_many_are_fetched_at_once_but_not_more_of_one_host_than_it_is_asked_to_bear():
    together = threading.Barrier(PER_HOST)

    def answer(client: object) -> None:
        together.wait(30)  # nobody is answered before as many are there as may be
        said(PNG)(client)  # type: ignore[arg-type]

    with picture_host({f"/{number}.png": answer for number in range(4 * PER_HOST)}, good_tls()) as host:
        addresses = fetching(host)
        wanted = [of(f"{number}.png") for number in range(4 * PER_HOST)]
        addresses.ahead(wanted)
        assert all(content(addresses.original(address)) == PNG for address in wanted)
    assert host.most_at_once == PER_HOST
    assert len(host.heard) == 4 * PER_HOST


def test_a_slow_host_does_not_keep_another_from_its_turn():
    turns: Turns[str] = Turns(AT_ONCE, PER_HOST)
    hold = threading.Event()
    slow = [turns.submit("slow", lambda: "slow" if hold.wait(10) else "late") for _ in range(10 * AT_ONCE)]
    assert [turns.submit("quick", lambda: "quick").result(10) for _ in range(AT_ONCE)] == ["quick"] * AT_ONCE
    assert not any(one.done() for one in slow)
    hold.set()
    assert {one.result(10) for one in slow} == {"slow"}
    turns.close()


def test_a_bug_in_a_call_is_raised_where_its_result_is_asked_for():
    turns: Turns[str] = Turns(2, 1)
    broken = turns.submit("a", lambda: str(1 // 0))
    after = turns.submit("a", lambda: "fine")
    with pytest.raises(ZeroDivisionError):
        broken.result(10)
    assert after.result(10) == "fine"
    turns.close()


def test_an_interrupted_run_leaves_nothing_running():
    """Ctrl-C in the main thread, while it waits for a picture that does not come."""
    hold = threading.Event()
    with picture_host({f"/{n}.png": lambda client: hold.wait(10) for n in range(40)}, good_tls()) as host:
        before = set(threading.enumerate())
        addresses = fetching(host)
        addresses.ahead(of(f"{n}.png") for n in range(40))
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            addresses.original(of("0.png"))
        until(lambda: not any(t.name.startswith("fetch") for t in set(threading.enumerate()) - before), 20.0)
        assert len(host.heard) <= PER_HOST
        hold.set()


def test_what_has_not_begun_when_all_is_closed_never_does():
    turns: Turns[str] = Turns(1, 1)
    hold, begun = threading.Event(), threading.Event()

    def first() -> str:
        begun.set()
        hold.wait(10)
        return "first"

    running, waiting = turns.submit("a", first), turns.submit("a", lambda: "second")
    other = turns.submit("b", lambda: "third")
    assert begun.wait(10)
    turns.close()
    hold.set()
    assert running.result(10) == "first"
    assert waiting.cancelled()
    assert other.cancelled()


def test_a_manifest_of_addresses_is_fetched_a_chunk_ahead_and_read_in_its_order(tmp_path: Path):
    pictures = {f"/{number}.png": picture(16 + number, 16) for number in range(100)}
    lines = [json.dumps({"prompt": f"p{n}", "input_image_0": of(f"{n % 100}.png?{SECRET}")}) for n in range(150)]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    with picture_host({path: said(body) for path, body in pictures.items()}, good_tls()) as host:
        places = Places(fetching(host, KeptReferences(tmp_path / "out")))
        requests = asked(opened(tmp_path / "m.jsonl", places=places))
    assert len(host.heard) == 100
    for number, request in enumerate(requests):
        [reference] = request.references
        assert fitted_bytes(reference, request.model) == pictures[f"/{number % 100}.png"]
        assert reference.source == f"https://images.example.com/{number % 100}.png?…"


def test_the_same_picture_at_another_address_is_the_same_key(tmp_path: Path):
    (tmp_path / "local.png").write_bytes(PNG)
    cells = [of("a.png"), of("b.png?signed=anew"), "local.png"]
    lines = [json.dumps({"prompt": "p", "sample": 0, "input_image_0": cell}) for cell in cells]
    keys = set()
    with picture_host({"/a.png": said(PNG), "/b.png": said(PNG)}, good_tls()) as host:
        places = Places(fetching(host, KeptReferences(tmp_path / "out")))
        for line in lines:
            (tmp_path / "m.jsonl").write_text(line)
            keys |= {request.key for request in asked(opened(tmp_path / "m.jsonl", places=places))}
    assert len(keys) == 1


def test_a_rejected_row_keeps_its_address_without_the_query(tmp_path: Path):
    struct = {"path": of(f"a.png?{SECRET}"), "bytes": None}
    own = {"link": of("x?mine=1"), "input_image_1": "dataset:cats#0123"}
    rows = [{"prompt": "p", "input_image_0": cell, **own} for cell in (of(f"a.png?{SECRET}"), struct)]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lists = [{"prompt": "p", "input_images": cell} for cell in ([of(f"a.png?{SECRET}")], of(f"a.png?{SECRET}"))]
    (tmp_path / "lists.jsonl").write_text("\n".join(map(json.dumps, lists)))
    for row in opened(tmp_path / "lists.jsonl", places=Places(fetching(None))).rows():
        assert isinstance(row, Rejected)
        assert "f00dcafe" not in f"{row.values} {[*map(str, row.complaints)]}"
        assert "https://images.example.com/a.png?…" in str(row.values["input_images"])
    found = list(opened(tmp_path / "m.jsonl", places=Places(fetching(None))).rows())
    assert len(found) == 2
    for row in found:
        assert isinstance(row, Rejected)
        assert "f00dcafe" not in f"{row.values} {[*map(str, row.complaints)]}"
        assert "https://images.example.com/a.png?…" in str(row.values["input_image_0"])
        assert (row.values["link"], row.values["input_image_1"]) == (own["link"], "dataset:cats#0123")


def test_half_an_answer_of_every_kind_never_becomes_a_kept_picture(tmp_path: Path):
    whole = picture(64, 64, "JPEG")
    for cut in range(0, len(whole), 97):
        answers = {"/a.jpg": said(whole[:cut]), "/b.jpg": raw(b"HTTP/1.1 200 OK\r\n\r\n" + whole[:cut])}
        with picture_host(answers, good_tls()) as host:
            for name in answers:
                with pytest.raises(Unusable):
                    fetching(host, KeptReferences(tmp_path)).original(of(name[1:]))
    assert not (tmp_path / "references").exists()
