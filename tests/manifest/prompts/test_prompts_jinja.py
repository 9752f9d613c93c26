"""Jinja in a prompt: what it can do, that it cannot get out, and that it cannot make too much."""

from __future__ import annotations

import datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest

from fluxbatch.manifest.prompts import PromptTemplateError, compile_prompt
from fluxbatch.manifest.values import PROMPT_CHARACTERS_MAX, Unusable
from tests.manifest.prompts.prompts_kit import all_prompts, complaints

VALUES = {
    "animal": "fox",
    "n": 3,
    "tags": ["calm", "wide"],
    "size": {"w": 1024},
    "nothing": None,
    "flag": False,
    "half": 0.5,
}


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        ("a {{ animal }} in {{place}}, {{ animal }}\n", "a fox in snow, fox"),
        ("{{ animal | upper }} {{ animal.title() }} {{ animal[0] }}", "FOX Fox f"),
        ("{{ tags | join(' and ') }}; {{ tags[1] }}; {{ ', '.join(tags) }}", "calm and wide; wide; calm, wide"),
        ("{{ size.w }} {{ size['w'] * 2 }} {{ half }} {{ n // 2 }}", "1024 2048 0.5 1"),
        ("{{ 'many' if n > 1 else 'one' }} {{ nothing or 'nil' }}", "many nil"),
        ("{{ animal ~ '-' ~ n }} {{ '%03d' % n }} {{ '%.2f' | format(half) }}", "fox-3 003 0.50"),
        ("{{ animal.replace('o', 'i') }} {{ animal | replace('x', 'g') }}", "fix fog"),
        (
            "{% for tag in tags %}{{ loop.index }} {{ tag }}{% if not loop.last %}, {% endif %}{% endfor %}",
            "1 calm, 2 wide",
        ),
        ("{% set big = animal | upper %}{{ big }}{{ big }}", "FOXFOX"),
        ("{% macro a(x, y='!') %}<{{ x }}{{ y }}>{% endmacro %}{{ a(n) }}{{ a(animal, y='?') }}", "<3!><fox?>"),
        ("a\n{% if n %}\nb\n{% endif %}\nc", "a\nb\nc"),
        ("a  {{- n -}}  b", "a3b"),
        ("{{ 'no' if missing is not defined }}", "no"),
        ("{% for i in range(3) %}{{ i }}{% endfor %}{% set ns = namespace(x=1) %}{% set ns.x = 5 %}{{ ns.x }}", "0125"),
        ("{{ day }} {{ price }}", "2026-11-22 1.50"),
    ],
)
def test_a_template_says_what_jinja_people_expect(source: str, prompt: str):
    extra = {"place": "snow", "day": datetime.date(2026, 11, 22), "price": Decimal("1.50")}
    assert all_prompts(source, values=VALUES | extra) == [prompt]


@pytest.mark.parametrize(
    ("source", "prompts"),
    [
        ("{% if n > 5 %}{a|b}{% else %}c{% endif %}", ["c", "c"]),  # a count does not depend on values
        ("{% for tag in tags %}{big|small} {{ tag }} {% endfor %}", ["big calm big wide", "small calm small wide"]),
        ("{% for tag in tags %}{a {{ tag }}|b} {% endfor %}", ["a calm a wide", "b b"]),
        ("{% set colour %}{red|blue}{% endset %}{{ colour }} and {{ colour }}", ["red and red", "blue and blue"]),
        ("{a {% if flag %}x{% else %}y{% endif %}|b}", ["a y", "b"]),
        (
            "{% macro m(x) %}{the|a} {{ x }}{% endmacro %}{{ m('fox') }}, {{ m('cat') }}",
            ["the fox, the cat", "a fox, a cat"],
        ),
        ("${w={big|small}}{% if n %}${w} ${w}{% endif %}", ["big big", "big small", "small big", "small small"]),
    ],
)
def test_choices_stand_within_jinja_blocks_and_jinja_within_choices(source: str, prompts: list[str]):
    assert all_prompts(source, values=VALUES) == prompts


def test_the_variables_are_those_that_the_template_does_not_set_itself():
    source = (
        "{% set a = b %}{{ a }}{% for c in d %}{x {{ c }}{{ e }}|{{ f | upper }}}{% endfor %}{{ g }}{{ range(2)|sum }}"
    )
    assert compile_prompt(source).variables == {"b", "d", "e", "f", "g"}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("in {{ place }}", "the prompt needs place, which has no value; give the sweep an axis place"),
        ("in {{ place | upper }}", "the prompt needs place"),
        ("{% if place %}x{% endif %}", "the prompt needs place"),
        ("{% if n %}{a {{ place }}|b}{% endif %}", "the prompt needs place"),
        ("{{ nothing }}", "nothing has no value in this row; give it one, or write {{ nothing or '' }}"),
        ("{{ flag }}", "flag is false, no text; quote it in YAML"),
        ("{{ tags }}", "tags is ['calm', 'wide'], no text; write {{ tags | join(', ') }}"),
        ("{{ tags | list }}", "{{ tags | list }}: ['calm', 'wide'] is no text"),
        ("{{ animal.upper }}", "is no text"),
        ("{{ n + animal }}", "{{ n + animal }}: TypeError"),
        ("{{ 1 / 0 }}", "{{ 1 / 0 }}: ZeroDivisionError"),
        ("{{ tags[7] }}", "no element 7"),
        ("{{ size.height }}", "no attribute 'height'"),
        ("x{% if n %}\n{% for i in n %}{% endfor %}{% endif %}", "{% for i in n %}: TypeError"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "it calls itself without end"),
        ("{% if flag %}${x=!{a|b}}{% endif %}${x:c}{% if n %}{% endif %}", "a variable was used, but not set"),
    ],
)
def test_a_row_that_does_not_fit_is_said(source: str, problem: str):
    template = compile_prompt(source)
    with pytest.raises(Unusable) as caught:
        template.render(VALUES)
    assert problem in str(caught.value)


PAYLOADS = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ '' | attr('__class__') }}",
    "{{ '' | attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ ''['\\x5f\\x5fclass\\x5f\\x5f'] }}",
    "{{ ''['_' ~ '_class_' ~ '_'] }}",
    "{{ self._TemplateReference__context }}",
    "{{ self }}",
    "{{ config }}{{ config.items() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ range.__globals__ }}",
    "{{ dict.__base__.__subclasses__() }}",
    "{{ dict.mro() }}",
    "{{ (1).__class__.__base__ }}",
    "{{ [].append(1) }}",
    "{{ tags.append('x') }}",
    "{{ tags.sort() }}",
    "{{ size.update(w=1) }}",
    "{{ size.clear() }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{0.__class__}'.format_map({}) }}",
    "{{ ''.format.__self__ }}",
    "{{ '%s' | format(self) }}",
    "{% for c in [1].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
    "{{ tags | map(attribute='__class__') | list | join }}",
    "{{ tags | map('attr', '__class__') | join }}",
    "{{ tags | selectattr('__class__') | join }}",
    "{{ tags | sort(attribute='__class__') | join }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'os' import popen %}",
    "{% extends 'base' %}",
    "{% block x %}{% endblock %}",
    "{% set x = cycler.__init__ %}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ url_for.__globals__ }}",
    "{{ request.application.__globals__ }}",
    "{{ x.__init__ }}",
    "{{ f.__code__ }}{{ f.gi_frame }}",
    "{{ f() }}",
    "{{ secret.value() }}",
    "{{ (lambda: 1)() }}",
    "{{ ().__class__ }}",
    "{{ loop.__class__ }}{% for i in [1] %}{{ loop.__init__ }}{% endfor %}",
    "{% for i in [1] %}{{ loop._iterator }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m._func }}",
    "{% macro m() %}{% endmacro %}{{ m.__init__ }}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{% endcall %}",
    "{{ _meter }}",
    "{{ _meter.left }}",
    "{% set _meter = 1 %}",
    "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "{{ _part(0, {}) }}",
    "{% if 1 %}{a|b}{{ _part.__globals__ }}{% endif %}",
    "{% if 1 %}{a|b}{% set _part = 1 %}{% endif %}",
    "{{ tags | tojson }}{{ tags | pprint }}",
    "{{ tags | random }}",
    "{% autoescape true %}{% endautoescape %}",
    "{% trans %}x{% endtrans %}",
    "{% do 1 %}",
    "{{ g.pop }}",
    "{{ '' | xmlattr }}",
    "{{ undefined.__class__ }}",
    "{{ size.get.__self__ }}",
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_template_reaches_pythons_insides(payload: str):
    tags, size = ["wide", "calm"], {"w": 1}
    values = {"tags": tags, "size": size, "f": len, "x": object(), "secret": SimpleNamespace(value=lambda: "leaked")}
    try:
        made = compile_prompt(payload).render(values)
    except (PromptTemplateError, Unusable):
        made = ""
    assert made == ""
    assert (tags, size) == (["wide", "calm"], {"w": 1})


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 10**9 }}",
        "{{ 10**9 * 'a' }}",
        "{{ 9**(9**9) }}",
        "{{ 2**5000 }}",
        "{% set x = 7**999 %}{% set x = x * x * x * x %}{{ x }}",
        "{{ [1] * 10**9 }}",
        "{{ (1, 2) * 10**9 }}",
        "{{ range(10**9) | list | length }}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}" + "x" * 2_000 + "{% endfor %}",
        "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x='xx') %}{% for i in range(9) %}{% set ns.x = ns.x | replace('x', long) %}{% endfor %}",
        "{{ long.replace('x', long) }}",
        "{{ long | replace('', long) }}",
        "{{ long.join(long) }}",
        "{{ long | join(long) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '%.1000000000f' | format(1) }}",
        "{{ 'a'.ljust(10**9) }}{{ 'a'.zfill(10**9) }}{{ 'a'.center(10**9) }}{{ '\t'.expandtabs(10**9) }}",
        "{{ 'a' | center(10**9) }}",
        "{{ 'a' | indent(10**9) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ 1.5 | round(10**9, 'floor') }}{{ long * 3 }}",
        "{% macro m(d) %}{% if d %}{{ m(d - 1) }}{{ m(d - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
        "{% macro m(d) %}{% if d %}{{ m(d - 1) }}{{ m(d - 1) }}{% endif %}{{ long }}{% endmacro %}{{ m(20) }}",
        "{{ [[0] * 99999] * 99999 | sum(start=[]) }}",
        "{{ ([long] * 90000) | string }}",
        "{{ ([long] * 90000) | join }}",
        "{{ ([long] * 90000) | map('replace', 'x', 'yy') | join }}",
    ],
)
@pytest.mark.timeout(20)
def test_a_template_cannot_make_more_than_a_prompt(source: str):
    with pytest.raises((Unusable, PromptTemplateError)):
        compile_prompt(source).render({"long": "x" * 50_000})


@pytest.mark.parametrize(
    "source",
    [
        "{{ " + "(" * 5_000 + ")" * 5_000 + " }}",
        "{{ " + "not " * 20_000 + "x }}",
        "{{ " + "9" * 5_000 + " }}",
        "{% if x %}" * 200 + "{% endif %}" * 200,
        "{% for x in y %}" * 50 + "{% endfor %}" * 50,
        "{a|" * 2_000 + "}" * 2_000,
        "${a=" * 2_000 + "}" * 2_000,
        "x" * (PROMPT_CHARACTERS_MAX + 1),
    ],
)
@pytest.mark.timeout(20)
def test_a_template_that_is_too_long_or_too_deep_is_a_complaint(source: str):
    assert len(complaints(source)) == 1
