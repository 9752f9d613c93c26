from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from fluxbatch.budget.entries import Balance
from fluxbatch.budget.records import RunRecord, Sent
from fluxbatch.models.money import ZERO, Money, charge
from fluxbatch.report.facts import Facts, Failure, Free, Kind
from fluxbatch.report.gallery import Axis, Gallery, Item
from fluxbatch.report.html import to_html
from fluxbatch.report.timeline import timeline
from tests.test_summary import SUMMARY

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{7*7}}<!--\u202egnp.\x1b[31m&amp;"
RUN = RunRecord("r1", "/home/me/cats.csv", 10**15, 10**15 + 10**7, None, SUMMARY.to_dict())
FACTS = Facts(
    name="cats",
    id="ab" * 16,
    created_at=datetime(2026, 11, 23, tzinfo=UTC),
    simulated=False,
    pictures=2,
    size_bytes=12_345_678,
    kinds=(Kind("@cf/black-forest-labs/flux-2-dev", 1024, 768, 25, 2, charge(750_000), 12.5),),
    balance=Balance(10**9, Money(6 * 10**8, 5_454_545), ZERO, ZERO),
    free=Free("2026-11-23", charge(2_500)),
    runs=(RUN,),
    batch=(RUN,),
    timeline=timeline([Sent(10**15, 10**15 + 2 * 10**6, "made", None, 4 * 10**7)]),
    summary=SUMMARY.to_dict(),
    ended={"refused": 1},
    failures=(Failure("a-1", "a fox", "refused", "3030", "no"),),
)
ITEM = Item("ab" * 32, {"prompt": "a fox", "steps": "25", "check": "ok"}, b"RIFFxxxx")
GALLERY = Gallery((ITEM, replace(ITEM, values={"prompt": "a hare", "steps": "4"})), 2, (Axis("steps", ("4", "25")),))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(page)
    return parser.tags


def test_it_says_what_was_made_and_what_it_cost():
    page = to_html(FACTS, GALLERY, "1.2.3")
    for told in ("cats", "12.3 MB", "$0.6 (54,545.45 neurons)", "25.00 of 10,000 neurons", "1024\u00d7768", "cats.csv"):
        assert told in page
    assert page.count('class="chart"') == 4
    assert "/home/me" not in page


def hostile() -> tuple[Facts, Gallery]:
    """The same words in every place that takes words from outside."""
    run = replace(RUN, manifest=HOSTILE, summary={**SUMMARY.to_dict(), "reason": HOSTILE, "stopped_by": "platform"})
    facts = replace(
        FACTS,
        name=HOSTILE,
        kinds=(replace(FACTS.kinds[0], model=HOSTILE),),
        runs=(run,),
        summary=run.summary,
        failures=(Failure(*([HOSTILE] * 5)),),
    )
    item = Item(HOSTILE, {"prompt": HOSTILE, HOSTILE: HOSTILE, "check": HOSTILE}, b"RIFFxxxx", HOSTILE, b"RIFFyyyy")
    axes = (Axis(HOSTILE, (HOSTILE, "b")), Axis("prompt", (HOSTILE, "b")))
    return facts, Gallery((item, item), 2, axes, groups=1, suspects=2, beside=HOSTILE)


def test_no_text_from_outside_becomes_markup():
    calm = replace(
        GALLERY,
        items=(ITEM, ITEM),
        suspects=1,
        groups=1,
        axes=(Axis("a", ("a", "b")), Axis("b", ("a", "b"))),
        beside="b",
    )
    calm = replace(calm, items=tuple(replace(item, beside=b"RIFFyyyy", group="a") for item in calm.items))
    facts, gallery = hostile()
    page = to_html(facts, gallery, "1")
    known = {name for name, _ in tags(to_html(FACTS, calm, "1"))} | {"strong"}
    assert {name for name, _ in tags(page)} <= known
    assert [name for name, _ in tags(page)].count("script") == 2
    names = {name for _, attributes in tags(page) for name in attributes}
    assert not [name for name in names if name.startswith("on") or name == "style"]
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_what_the_script_reads_is_what_was_written():
    facts, gallery = hostile()
    page = to_html(facts, gallery, "1")
    found = re.search(r'<script type="application/json" id="items">(.*?)</script>', page)
    assert found is not None
    items = json.loads(found[1])
    assert items["columns"] == ["prompt", HOSTILE, "check"]
    assert items["items"][0] == [HOSTILE] * 3
    assert items["axes"][0] == {"name": HOSTILE, "values": [HOSTILE, "b"]}


def test_the_policy_lets_in_this_style_and_script_and_nothing_else():
    page = to_html(FACTS, GALLERY, "1")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy[1].split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    for name, tag in (("style-src", "style"), ("script-src", "script")):
        inline = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert inline is not None
        digest = base64.b64encode(hashlib.sha256(inline[1].encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"


def test_nothing_is_fetched_from_anywhere():
    for name, attributes in tags(to_html(FACTS, GALLERY, "1")):
        for where in ("src", "href", "srcset", "action", "data", "xlink:href"):
            target = attributes.get(where) or "#"
            assert target.startswith(("#", "data:image/webp;base64,")), (name, target)


def test_the_same_facts_are_the_same_page():
    assert to_html(FACTS, GALLERY, "1") == to_html(FACTS, GALLERY, "1")


@pytest.mark.parametrize(
    "facts",
    [
        replace(FACTS, summary=None, runs=(), batch=(), timeline=None, balance=None, free=None, kinds=(), failures=()),
        replace(FACTS, summary={}, runs=(replace(RUN, summary=None, ended_at_us=None),)),
    ],
)
def test_what_is_not_known_is_left_out(facts: Facts):
    page = to_html(facts, Gallery(), "1")
    assert "All 0 pictures." in page
    if facts.summary is None:
        assert "No run of this dataset has ended yet, as far as this ledger knows." in page
        assert "<svg" not in page
