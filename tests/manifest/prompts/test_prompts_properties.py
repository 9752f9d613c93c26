"""What holds for every template: counts, numbers, chance, and literal text."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations, product
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxbatch.manifest.prompts import Wildcards, compile_prompt, open_wildcards
from fluxbatch.manifest.prompts.arrangements import Arrangements
from fluxbatch.manifest.values import Unusable
from tests.manifest.prompts.prompts_kit import all_prompts

LISTS = Wildcards({"w": ["one", "{two|zwei}", "three"], "v": ["__w__", "x"]})

Grammar = tuple[str, list[str]]
"""A template, and every prompt of it as nested loops give them."""

LEAVES: list[Grammar] = [
    ("a", ["a"]),
    ("c c", ["c c"]),
    (r"\{b\|", ["{b|"]),
    ("{{ n }}", ["7"]),
    ("{{ n | int + 1 }}", ["8"]),
    ("__w__", ["one", "two", "zwei", "three"]),
    ("__v__", ["one", "two", "zwei", "three", "x"]),
    ("${q}", ["p", "q"]),
    ("${z:{y|z}}", ["y", "z"]),
    ("{# silent #}", [""]),
]


def _row(parts: list[Grammar]) -> Grammar:
    return ".".join(text for text, _ in parts), [".".join(texts) for texts in product(*(made for _, made in parts))]


def _one_of(options: list[Grammar]) -> Grammar:
    return "{ " + "|".join(text for text, _ in options) + "}", [text for _, made in options for text in made]


def _some_of(options: list[Grammar], low: int, high: int) -> Grammar:
    listed = []
    for size in range(min(low, len(options)), min(high, len(options)) + 1):
        for items in permutations(range(len(options)), size):
            forms = product(*(range(len(options[item][1])) for item in items))
            listed += [(size, tuple(zip(items, form, strict=True))) for form in forms]
    made = ["+".join(options[item][1][form] for item, form in places) for _, places in sorted(listed)]
    return f"{{{low}-{high}$$+$$" + "|".join(text for text, _ in options) + "}", made


def _if(inside: Grammar) -> Grammar:
    return "{% if n %}" + inside[0] + "{% endif %}", inside[1]


def _decided(inside: Grammar) -> Grammar:
    return "${r=!" + inside[0] + "}${r}/${r}", [f"{text}/{text}" for text in inside[1]]


def _grow(inner: st.SearchStrategy[Grammar]) -> st.SearchStrategy[Grammar]:
    options = st.lists(inner, min_size=2, max_size=3)
    bounds = st.tuples(st.integers(0, 2), st.integers(2, 3))
    some = st.builds(lambda found, bound: _some_of(found, *bound), options, bounds)
    rows = st.lists(inner, min_size=1, max_size=2).map(_row)
    return st.one_of(options.map(_one_of), some, rows, inner.map(_if), inner.map(_decided))


grammars = st.recursive(st.sampled_from(LEAVES), _grow, max_leaves=5).filter(lambda found: len(found[1]) <= 2_000)


@settings(deadline=None)
@given(grammars)
def test_every_prompt_is_counted_and_made_in_the_order_of_nested_loops(grammar: Grammar):
    text, prompts = grammar
    template = compile_prompt("${q={p|q}}" + text, LISTS)
    assert template.count() == len(prompts)
    assert [template.render({"n": "7"}, choice) for choice in range(len(prompts))] == prompts
    assert template.variables <= {"n"}
    for outside in (-1, len(prompts)):
        with pytest.raises(IndexError):
            template.render({"n": "7"}, outside)


@settings(deadline=None)
@given(grammars, st.integers())
def test_chance_gives_a_number_that_is_there_and_the_same_for_the_same_seed(grammar: Grammar, seed: int):
    template = compile_prompt("${q={p|q}}" + grammar[0], LISTS)
    choice = template.pick(Random(seed))
    assert 0 <= choice < template.count()
    assert template.pick(Random(seed)) == choice
    assert template.random({"n": 7}, Random(seed)) == template.render({"n": 7}, choice)


small = st.lists(st.integers(1, 3), min_size=1, max_size=4)


@settings(deadline=None)
@given(small, st.integers(0, 4), st.integers(0, 4))
def test_arrangements_are_counted_numbered_and_ordered_as_if_they_were_listed(counts: list[int], a: int, b: int):
    low, high = min(a, b, len(counts)), min(max(a, b), len(counts))
    listed = [
        tuple(zip(items, forms, strict=True))
        for size in range(low, high + 1)
        for items in permutations(range(len(counts)), size)
        for forms in product(*(range(counts[item]) for item in items))
    ]
    listed.sort(key=lambda places: (len(places), places))
    arrangements = Arrangements(counts, low, high)
    assert arrangements.total == len(listed)
    assert [arrangements.at(number) for number in range(len(listed))] == listed
    assert [arrangements.number(places) for places in listed] == list(range(len(listed)))


def test_a_count_of_many_digits_is_exact_and_its_last_prompt_is_reached_at_once():
    lists = Wildcards({"word": [f"w{number}" for number in range(1_000)]})
    template = compile_prompt("{50$$__word__} " + "{a|b} " * 30, lists)
    assert template.count() == math.perm(1_000, 50) * 2**30
    assert template.render({}, template.count() - 1).startswith("w999, w998, ")
    assert template.render({}, 0).startswith("w0, w1, w2, ")


def test_numbers_go_like_nested_loops_in_reading_order():
    assert all_prompts("{a|b}{c|d}{e|f}") == ["ace", "acf", "ade", "adf", "bce", "bcf", "bde", "bdf"]


special = st.text(
    st.one_of(st.sampled_from("\\{}|$#_%~!@*/:=?,()[]\"' \n-."), st.characters(codec="utf-8")), max_size=30
)


@settings(deadline=None)
@given(special)
def test_text_with_each_special_character_escaped_comes_out_as_it_was(text: str):
    text = text.replace("\r", "").strip()
    if not text:
        return
    escaped = "".join(f"\\{c}" if c.isascii() and not c.isalnum() and c.isprintable() else c for c in text)
    template = compile_prompt(escaped)
    assert template.count() == 1
    assert template.render({}) == text


@settings(deadline=None)
@given(special)
def test_a_value_is_never_read_as_syntax(value: str):
    for source in ("<{{ x }}>", "<{ {{ x }}|y}>", "<{% if x is defined %}{{ x }}{% endif %}>", "<{{ x | trim('') }}>"):
        template = compile_prompt(source)
        assert template.count() == (2 if "|y" in source else 1)
        assert template.render({"x": value}) == f"<{value}>"
    assert (
        compile_prompt("<${y=!{{ x }}}${y}{% if 1 %}{a ${y}|b}{% endif %}>").render({"x": value})
        == f"<{value}a {value}>"
    )


def test_a_plain_template_says_what_it_joins():
    template = compile_prompt(r" a {{ x }}{{y}}, \{b\} {# no #}{{ x }} ")
    assert template.is_plain
    assert template.pieces == (("a ", False), ("x", True), ("y", True), (", {b} ", False), ("x", True))
    assert not compile_prompt("{{ x | upper }}").is_plain
    assert compile_prompt("{a|b}").pieces == ()


@pytest.mark.timeout(20)
def test_long_whitespace_takes_no_long_time():
    blank = " " * 45_000
    assert all_prompts("{a" + blank + "|b" + blank + "}x")[1] == "b" + blank + "x"
    assert all_prompts("{a" + blank + "\n" + blank + "c|b}")[0] == "a c"


DRAWS = 10_000
CHI_SQUARE_MAX = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52}
"""By degrees of freedom: what chance exceeds once in a thousand times."""


@pytest.mark.parametrize(
    ("template", "shares"),
    [
        ("{1::a|2::b|5::c}", {"a": 1 / 8, "b": 2 / 8, "c": 5 / 8}),
        ("{a|b|c|d}", dict.fromkeys("abcd", 1 / 4)),
        ("{3::{a|b}|c}", {"a": 3 / 8, "b": 3 / 8, "c": 2 / 8}),
        ("__light__", {"sun": 0.75, "{moon|star}": 0.25}),
        ("{2$$,$$2::a|b|c}", {"a,b": 1 / 4, "a,c": 1 / 4, "b,a": 1 / 6, "b,c": 1 / 12, "c,a": 1 / 6, "c,b": 1 / 12}),
        ("{1-2$$,$$a|b}", {"a": 1 / 4, "b": 1 / 4, "a,b": 1 / 4, "b,a": 1 / 4}),
        ("{__w__|y}", {"one": 1 / 6, "two": 1 / 12, "zwei": 1 / 12, "three": 1 / 6, "y": 1 / 2}),
        ("${a=!{3::x|y}}${a}${a}", {"xx": 3 / 4, "yy": 1 / 4}),
    ],
)
def test_chance_honours_weights(template: str, shares: dict[str, float], tmp_path: Path):
    if template == "__light__":
        (tmp_path / "light.yaml").write_text('light: ["3::sun", "1::\\\\{moon\\\\|star\\\\}"]')
        compiled = compile_prompt(template, open_wildcards(tmp_path))
    else:
        compiled = compile_prompt(template, LISTS)
    rng = Random(4)
    seen = Counter(compiled.random({}, rng) for _ in range(DRAWS))
    assert set(seen) == set(shares)
    strange = sum((seen[text] - share * DRAWS) ** 2 / (share * DRAWS) for text, share in shares.items())
    assert strange < CHI_SQUARE_MAX[len(shares) - 1]


def test_an_option_with_the_weight_0_is_made_by_number_but_never_by_chance():
    template = compile_prompt("{0::a|b}")
    assert [template.render({}, choice) for choice in (0, 1)] == ["a", "b"]
    assert {template.random({}, Random(seed)) for seed in range(200)} == {"b"}


def test_a_prompt_that_is_too_long_is_refused_however_it_came_about():
    long = "x" * 60_000
    for source in ("{{ a }}{{ a }}", "{{ a }}{ {{ a }}|b}", "{{ a ~ a }}", "{% for i in 'ab' %}{{ a }}{% endfor %}"):
        with pytest.raises(Unusable, match=r"characters|more text"):
            compile_prompt(source).render({"a": long})
