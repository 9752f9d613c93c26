"""Bad addresses through the whole way of a manifest: nothing is looked up, nothing is connected to, all is told."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path

import pytest

from fluxbatch.job import Job
from fluxbatch.manifest.address import Address, Allowed, judge, public
from fluxbatch.manifest.reader import Rejected
from fluxbatch.settings import load_settings
from tests.hostile.bad_addresses import ALLOWED, BAD, GOOD
from tests.hostile.judge import UNSHOWN
from tests.manifest.fetch_kit import PUBLIC, Clock, Names, Roads, wire
from tests.soak import soak

EXACT = {("images.example.com", 443), ("xn--bcher-kva.example", 443), ("ports.example.org", 8443)}
MUTANTS = soak(20_000, 2_000_000)


def asked_for(folder: Path, address: str, **options: object) -> tuple[list[str], list[tuple[str, int]], list[str]]:
    """A manifest with this address, read as a run reads it: names looked up, connections asked for, complaints.

    Every name there is leads to the open internet, so whatever is let through is seen.
    """
    path = folder / "m.jsonl"
    path.write_text(json.dumps({"prompt": "a fox", "input_image_0": address}) + "\n")
    names, roads = Names({"*": [[PUBLIC]]}), Roads()
    settings = load_settings(allow_hosts=ALLOWED, **options)
    job = Job(path, folder / "out", 10**9, settings, simulate=True, wire=wire(roads, names, Clock()))
    manifest = job.open_manifest()
    said = [str(c) for row in manifest.rows() if isinstance(row, Rejected) for c in row.complaints]
    assert not job.out.exists()
    return names.asked, roads.asked, said


def test_there_are_many_and_each_is_another():
    addresses = [address for address, _ in BAD]
    assert len(addresses) >= 160
    assert len(set(addresses)) == len(addresses)
    assert all(story for _, story in BAD)


@pytest.mark.parametrize("address", GOOD)
def test_what_is_allowed_is_looked_up_and_connected_to(tmp_path: Path, address: str):
    looked_up, connections, [complaint] = asked_for(tmp_path, address)
    assert len(set(looked_up)) == 1
    assert {at for at, _ in connections} == {PUBLIC}
    assert "cannot be reached" in complaint


@pytest.mark.parametrize(("address", "story"), BAD, ids=[ascii(address)[:60] for address, _ in BAD])
def test_a_bad_address_leads_nowhere_and_is_told_what_to_do(tmp_path: Path, address: str, story: str):
    looked_up, connections, [complaint] = asked_for(tmp_path, address)
    assert connections == [], story
    assert looked_up == [], story
    assert "input_image_0" in complaint
    problem, mark, remedy = complaint.rpartition("; ")
    assert problem
    assert mark
    assert len(remedy) > 5
    assert not UNSHOWN.search(complaint)


def test_with_nothing_allowed_every_address_leads_nowhere(tmp_path: Path):
    for address in (*GOOD, *(address for address, _ in BAD)):
        path = tmp_path / "m.jsonl"
        path.write_text(json.dumps({"prompt": "a fox", "input_image_0": address}) + "\n")
        names, roads = Names({"*": [[PUBLIC]]}), Roads()
        job = Job(path, tmp_path / "out", 10**9, load_settings(), wire=wire(roads, names))
        [row] = job.open_manifest().rows()
        assert isinstance(row, Rejected)
        assert (names.asked, roads.asked) == ([], [])


ODD = (*string.printable, "。", "\u00ad", "\u200b", "１", "ａ", "%2e", "%00", "://", "xn--")  # noqa: RUF001
SEEDS = tuple(address for address, _ in BAD if len(address) < 300)


def changed(text: str, chance: random.Random) -> str:
    """Some letters put in, taken out or replaced, or a piece of another address put in."""
    letters = list(text)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(letters) + 1)
        new = [[chance.choice(ODD)], [], chance.choice(SEEDS)[chance.randrange(8) :]][chance.randrange(3)]
        letters[at : at + chance.randrange(2)] = new
    return "".join(letters)


def test_whatever_is_let_through_is_a_host_that_was_named():
    """Addresses that were changed by chance: where one comes out, it is where a run may go, letter by letter."""
    allowed, chance = Allowed.read(ALLOWED), random.Random(7)
    through = 0
    for _ in range(MUTANTS):
        text = changed(chance.choice(GOOD if chance.random() < 0.5 else SEEDS), chance)
        found = judge(text, allowed)
        if isinstance(found, Address):
            through += 1
            exact = (found.host, found.port) in EXACT
            assert exact or (found.host.endswith(".cdn.example.net") and found.port == 443), text
            assert found.target.startswith("/")
            assert found.target.isascii()
            assert found.target.isprintable()
            assert " " not in found.target
            assert judge(found.whole, allowed) == found, "read again, it is the same"
    assert through > MUTANTS / 50


def test_what_is_shown_of_an_address_has_no_query_no_password_and_no_fragment():
    for text in (
        "https://images.example.com/a.png?X-Amz-Signature=SECRET",
        "https://SECRET:SECRET@images.example.com/a.png",
        "https://SECRET@images.example.com/a.png?SECRET#SECRET",
        "https:SECRET@images.example.com",
        "https:\\\\SECRET@images.example.com\\a",
        "https://a/b#SECRET",
        "https://a?SECRET=/@SECRET",
        "https://SECRET@SECRET@images.example.com/",
        "https:////SECRET@images.example.com/",
    ):
        assert "SECRET" not in public(text), text
