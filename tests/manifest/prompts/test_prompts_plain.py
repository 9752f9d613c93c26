"""A template of plain variables."""

from __future__ import annotations

import pytest

from fluxbatch.manifest.prompts import compile_prompt
from fluxbatch.manifest.values import Unusable


def test_a_plain_template_takes_its_variables():
    template = compile_prompt("a {{ animal }} in {{place}}, {{ animal }}\n")
    assert template.variables == {"animal", "place"}
    assert template.is_plain
    assert template.count() == 1
    assert template.render({"animal": "fox", "place": "snow"}) == "a fox in snow, fox"


def test_a_value_is_text_and_never_syntax():
    template = compile_prompt("a {{ animal }}")
    for value in ("{a|b}", "{{ x }}", "__season__", "${x}", "# no comment", "{% raw %}", "\\{"):
        assert template.count() == 1
        assert template.render({"animal": value}) == f"a {value}"


def test_a_variable_without_a_value_is_said():
    with pytest.raises(Unusable, match="needs place"):
        compile_prompt("in {{ place }}").render({"animal": "fox"})
