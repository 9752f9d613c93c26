# ruff: noqa: E501 - a line for each example
"""A template that cannot be meant is a complaint with its place and a way out; all of them come at once."""

from __future__ import annotations

import pytest

from fluxbatch.manifest.prompts import PromptTemplateError, Wildcards, compile_prompt
from tests.manifest.prompts.prompts_kit import complaints


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        # the two languages
        ("{{a|b} c|d}", "line 1, column 1: {{ begins a Jinja expression, which does not end; close it with }}; for a variant within"),
        ("x {{red|blue}} car", "line 1, column 3: Jinja has no filter blue here; take one of: abs, "),
        ("a {{ animal", "column 3: {{ begins a Jinja expression"),
        ("a {% if x", "column 3: {% begins a Jinja statement, which does not end; close it with %}"),
        ("a {# b", "column 3: {# begins a Jinja comment, which does not end; close it with #}"),
        ("{% raw %}x", "column 1: {% begins a Jinja statement, which does not end"),
        ("{ animal } of {a|b}", "column 1: {animal } has one option only; write {{ animal }} for a variable, or \\{ and \\} for"),
        ('{"scene": "x"}', "this looks like JSON; write a JSON prompt as YAML fields"),
        ("a ${animal}", "column 3: ${animal} is not set; write {{ animal }} for a variable of the sweep, or set it first"),
        ("__{{ kind }}__", "a wildcard's name cannot come from a variable"),
        ("__a/${kind}__", "a wildcard's name cannot come from a variable"),
        # Jinja itself
        ("a\n{{ n + }}", "line 2, column 1: Jinja: "),
        ("{% if n %}\n{% for %}{% endif %}", "line 2, column 1: Jinja: "),
        ("a\nb {% if n %}", "line 2, column 3: Jinja: Unexpected end of template"),
        ("{a|b\n {% if n %}|c}{% endif %}", "line 2, column 2: Jinja: Unexpected end of template"),
        ("{% frobnicate %}", "column 1: Jinja: Encountered unknown tag 'frobnicate'"),
        ("{% include 'x' %}", "include has no place in a prompt"),
        ("{{ x.__class__ }}", "__class__ begins with an underscore; names begin with a letter"),
        ("{{ x is frobnicated }}", "Jinja: No test named 'frobnicated'"),
        ("{{ choice('a', 'b') }}", "choice() is not supported; write {a|b}"),
        ("{{ wildcard('__a__') }}", "wildcard() is not supported; write __name__"),
        ("{% for c in l %}{% prompt %}{{ c }}{% endprompt %}{% endfor %}", "{% prompt %} is not supported; make what is looped"),
        # dynamic prompts
        ("a {b|c", "line 1, column 3: { is not closed; close it with }, or write \\{ for the signs"),
        ("a } b", "line 1, column 3: } closes nothing; write \\} for a brace"),
        ("a {}", "column 3: empty braces"),
        ("{a}", "{a} has one option only"),
        ("{~a|b}", "column 2: the sampler ~ is not supported; a sweep draws by chance with sample and a seed"),
        ("{!a|b}", "column 2: the sampler ! is not supported; without a sign every combination is made"),
        ("{@a|b}", "column 2: the sampler @ is not supported; axes that go in step are zipped"),
        ("__~w__", "column 3: the sampler ~ is not supported"),
        ("{-$$a|b}", "-$$ has no number; write {0-$$…}, or {1-$$…}"),
        ("{a$$b|c}", "column 3: $$ in the middle of an option; it stands at the start"),
        ("{2$$ {{ n }} $$a|b}", "$$ in the middle of an option"),
        ("{0::a|0::b}", "column 1: every option has the weight 0"),
        ("{-1::a|b}", "column 2: a weight below 0"),
        ("%{a $$ b|c}", "%{ would be a wrapping of dynamic prompts, which is not supported"),
        ("${a=b|c}", "column 6: | in a value; put braces around it, {a|b}"),
        ("${}", "${ is not followed by a name"),
        ("${a", "${ is not"),
        ("${a={b|c}", "column 1: ${ is not closed"),
        ("{101-$$__many__}", "200 of 200 at once; take at most 100"),
        ("a #hashtag", "column 3: #hashtag may be a comment or text; write '# …' for a comment, \\# for the sign"),
        ("a /* b", "/* is not closed"),
        # wildcards
        ("__nope__", "line 1, column 1: there is no wildcard nope; put nope.txt into the wildcards given"),
        ("__seasn__", "did you mean __season__? Else put seasn.txt"),
        ("__autumn__", "did you mean __months/autumn__? Else put autumn.txt"),
        ("__x*__", "no wildcard matches __x*__"),
        ("__mon*__", "no wildcard matches __mon*__ (mon** would match 1: ** goes into folders)"),
        ("__../season__", "leads out of the wildcards"),
        ("__months/../season__", "leads out of the wildcards"),
        ("fill in ____ here", "column 9: __ begins a wildcard, and no name follows; write __name__, or \\_\\_"),
        ("<lora:__x:1>", "__ begins a wildcard, and no name follows"),
        ("__season", "__ begins a wildcard, and no name follows"),
        ("__season(x)__", "an argument has no name"),
        ("__loop__", "loop: it includes itself: __loop__ → __loop__"),
        ("__first__", "first: it includes itself: __first__ → __second__ → __first__"),
        ("__bad__", "bad, entry 2, line 1, column 3: { is not closed"),
        ("__python__", "python, entry 1, line 1, column 2: {animal } has one option only"),
        ("__jinja__", "jinja, entry 1, line 1, column 1: a wildcard file does not speak Jinja"),
        ("__unset__", "unset, entry 1, line 1, column 4: ${colour} is not set"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_meant_is_refused_with_a_way_out(source: str, complaint: str):
    lists = {
        "season": ["summer"],
        "months/autumn": ["October"],
        "many": [str(number) for number in range(200)],
        "loop": ["__loop__"],
        "first": ["__second__"],
        "second": ["x", "__first__"],
        "bad": ["a", "x {b"],
        "python": ["{{ animal }}"],
        "jinja": ["{% if x %}a{% endif %}"],
        "unset": ["in ${colour}"],
    }
    assert complaint in "\n".join(complaints(source, Wildcards(lists)))


def test_all_complaints_come_at_once_in_the_order_of_the_text():
    source = "a {b\\|c} and __nope__\n{{ x + }} {~d|e}\n{{ f | frob }} ${g} }"
    found = complaints(source)
    assert [line.split(":")[0] for line in found] == [
        "line 1, column 3",
        "line 1, column 14",
        "line 2, column 1",
        "line 2, column 12",
        "line 3, column 1",
        "line 3, column 16",
        "line 3, column 21",
    ]


def test_the_error_says_all_of_it_in_one_text():
    with pytest.raises(PromptTemplateError) as caught:
        compile_prompt("{a} __b__")
    assert "line 1, column 1: {a} has one option only" in str(caught.value)
    assert "line 1, column 5: there is no wildcard b" in str(caught.value)
    trouble = caught.value.troubles[1]
    assert (trouble.place, trouble.line, trouble.column) == ("", 1, 5)


@pytest.mark.parametrize("source", ["", " \n", None, 3, ["a", "b"], True])
def test_what_is_no_prompt_is_refused(source: object):
    assert len(complaints(source)) == 1


def test_a_number_of_prompts_beyond_all_reason_is_refused():
    lists = Wildcards({"word": [f"w{number}" for number in range(1_000)]})
    assert complaints("{100$$__word__} " * 4, lists) == [
        "the choices give more than 10^900 prompts; take some of them away"
    ]
