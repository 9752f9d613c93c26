"""prompts/TEMPLATES.md says what is so: each of its examples gives what stands below it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from fluxbatch.manifest.prompts import Wildcards, compile_prompt, open_wildcards
from tests.manifest.prompts.prompts_kit import complaints

GUIDE = (Path(__file__).parents[3] / "prompts" / "TEMPLATES.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\S+)([^\n]*)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
EXAMPLES = [(kind, given, body) for kind, given, body in BLOCKS if kind in ("text", "json")]


@pytest.fixture
def wildcards(tmp_path: Path) -> Wildcards:
    for kind, _, body in BLOCKS:
        if kind.startswith("wildcards/"):
            (tmp_path / kind.removeprefix("wildcards/")).write_text(body, encoding="utf-8")
    return open_wildcards(tmp_path)


def _value(text: str) -> object:
    return text.split(",") if "," in text else int(text) if text.isdigit() else text


def test_the_guide_has_examples():
    assert len(EXAMPLES) >= 12
    assert len(BLOCKS) == len(EXAMPLES) + 2


@pytest.mark.parametrize(("kind", "given", "body"), EXAMPLES)
def test_an_example_gives_what_stands_below_it(kind: str, given: str, body: str, wildcards: Wildcards):
    source, *expected = body.rstrip("\n").split("\n=> ")
    values = {name: _value(text) for name, text in (pair.split("=", 1) for pair in given.split())}
    if expected[0].startswith("! "):
        assert [f"! {complaint}" for complaint in complaints(source, wildcards)] == expected
        return
    template = compile_prompt(yaml.safe_load(source) if kind == "json" else source, wildcards)
    assert [template.render(values, choice) for choice in range(template.count())] == expected
    assert template.variables == set(values)
