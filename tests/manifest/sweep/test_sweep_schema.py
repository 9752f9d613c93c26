"""The published JSON Schema says what the reader says."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import jsonschema
import pytest
import yaml

from fluxbatch.manifest.sweep import parse
from fluxbatch.manifest.sweep.nodes import Complaints
from tests.manifest.sweep.test_sweep_complaints import TABLE as WRONG
from tests.manifest.sweep.test_sweep_counts import TABLE as RIGHT

PROMPTS = Path(__file__).parents[3] / "prompts"
SCHEMA = json.loads((PROMPTS / "sweep.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_schema_is_one() -> None:
    VALIDATOR.check_schema(SCHEMA)


def test_the_schema_has_the_keys_that_the_reader_has() -> None:
    block = SCHEMA["$defs"]["blocks"]["items"]
    assert sorted(SCHEMA["properties"]) == sorted(parse.TOP_KEYS)
    assert sorted(block["properties"]) == sorted(parse.BLOCK_KEYS)
    assert sorted(SCHEMA["$defs"]["range"]["properties"]) == sorted(parse.RANGE_KEYS)
    assert sorted(SCHEMA["$defs"]["column"]["properties"]) == sorted(parse.FILE_KEYS)
    assert sorted(SCHEMA["$defs"]["draw"]["properties"]) == sorted(parse.DRAW_KEYS)
    assert SCHEMA["$defs"]["name"]["pattern"] == f"^{parse.NAME.pattern}$"
    assert SCHEMA["$defs"]["draw"]["properties"]["count"]["maximum"] == parse.DRAW_COUNT_MAX


@pytest.mark.parametrize("path", sorted(PROMPTS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_what_the_schema_says_and_name_it(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=sweep.schema.json\n")
    VALIDATOR.validate(yaml.safe_load(text))


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_right_by_the_schema(name: str) -> None:
    VALIDATOR.validate(yaml.safe_load(dedent(RIGHT[name][0])))


def loaded(text: str) -> Any:
    """As an editor has it; None where it is no plain YAML."""
    try:
        return json.loads(json.dumps(yaml.safe_load(dedent(text))))
    except (yaml.YAMLError, TypeError):
        return None


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_by_the_schema_is_wrong_for_the_reader(tmp_path: Path, name: str) -> None:
    text = WRONG[name][0]
    spec = loaded(text)
    path = tmp_path / "s.yaml"
    path.write_text(dedent(text))
    complaints = Complaints(str(path))
    parse.parse(path, complaints)
    if spec is not None and not VALIDATOR.is_valid(spec):
        assert complaints.count


FORM = ("unknown key", "axes is a list", "zip is a mapping", "an axis is a value", "an empty axis", "a step of 0",
        "a range with one end", "a zip of one", "an empty exclude", "sample without a seed", "a sample of none",
        "a name with a blank", "prompt as an axis", "a prompt that is a number", "an empty prompt",
        "sample in a block", "a range of texts")  # fmt: skip


@pytest.mark.parametrize("name", FORM)
def test_what_is_wrong_in_form_is_wrong_by_the_schema(name: str) -> None:
    assert not VALIDATOR.is_valid(loaded(WRONG[name][0]))
