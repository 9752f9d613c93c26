"""JSON prompts: written as fields, checked, sent as JSON text."""

from __future__ import annotations

import json
from itertools import product

import pytest
import yaml

from fluxbatch.manifest.prompts import Wildcards, check_json_prompt, compile_prompt
from fluxbatch.manifest.values import Unusable
from tests.manifest.prompts.prompts_kit import all_prompts, complaints

BRAND = """
scene: a {{ product }} on {oak|marble}
subjects:
  - description: "{{ product }} with a dent \\"left\\" of its lid, müde"
    position: "{{ where }}"
color_palette: "{{ palette }}"
camera: {lens: 85mm, f-number: "{{ aperture }}", ISO: 100}
effects: ["{grain|none}", film]
"""
VALUES = {"product": "{a|b}", "where": "foreground", "palette": ["#1A2B3C", "sand", "#ffffff"], "aperture": 2.8}


def test_fields_become_compact_json_in_the_order_written_with_choices_like_nested_loops():
    prompts = all_prompts(yaml.safe_load(BRAND), values=VALUES)
    assert prompts[0] == (
        '{"scene":"a {a|b} on oak","subjects":[{"description":"{a|b} with a dent \\"left\\" of its lid, müde",'
        '"position":"foreground"}],"color_palette":["#1A2B3C","sand","#ffffff"],'
        '"camera":{"lens":"85mm","f-number":2.8,"ISO":100},"effects":["grain","film"]}'
    )
    read = [(prompt["scene"], prompt["effects"][0]) for prompt in map(json.loads, prompts)]
    assert read == list(product(["a {a|b} on oak", "a {a|b} on marble"], ["grain", "none"]))
    assert compile_prompt(yaml.safe_load(BRAND)).variables == {"product", "where", "palette", "aperture"}
    assert not any(check_json_prompt(prompt) for prompt in prompts)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            {"where": "left"},
            "subjects[0].position: 'left' is no position; take one of: foreground, midground, background",
        ),
        ({"palette": ["#1A2B3C"]}, "color_palette: has 1 colours; give 3"),
        ({"palette": ["#1A2B3C", "red", "#12"]}, "color_palette[2]: '#12' is no colour"),
        ({"palette": "#1A2B3C"}, "color_palette: '#1A2B3C' is no list of colours"),
        ({"aperture": True}, "aperture is true, no text"),
        ({"aperture": None}, "aperture has no value in this row"),
        ({"aperture": float("nan")}, "the JSON prompt cannot be written"),
    ],
)
def test_a_row_whose_values_do_not_fit_is_said(values: dict[str, object], problem: str):
    template = compile_prompt(yaml.safe_load(BRAND))
    with pytest.raises(Unusable) as caught:
        template.render(VALUES | values, 0)
    assert problem in str(caught.value)


def test_every_trouble_comes_at_once_with_its_path():
    fields = yaml.safe_load("""
sceen: a {red|blue
subjects: [{descripton: x, position: left}, 3, {pose: "", type: a __nope__}]
color_palette: [#1A2B3C
  "#12", red, 7]
camera: {fstop: 2, iso: 100, lens: [a]}
style: 3
mood: " "
effects: [grain, null]
colour: red
""")
    assert [line.split("; ")[0] for line in complaints(fields)] == [
        "sceen, line 1, column 3: { is not closed",
        "subjects[2].type, line 1, column 3: there is no wildcard nope",
        "sceen: is no field of a JSON prompt",
        "colour: is no field of a JSON prompt",
        "scene: is missing",
        "subjects[0].descripton: is no field of a JSON prompt",
        "subjects[0]: says neither type nor description",
        "subjects[0].position: 'left' is no position",
        "subjects[1]: 3 is no subject",
        "subjects[2].pose: is empty",
        "color_palette[0]: '#12' is no colour",
        "color_palette[2]: 7 is no text",
        "camera.fstop: is no field of a JSON prompt",
        "camera.iso: is no field of a JSON prompt",
        "camera.lens: ['a'] is no text",
        "style: 3 is no text",
        "mood: is empty",
        "effects[1]: None is no text",
    ]
    assert "sceen: is no field of a JSON prompt; did you mean scene?" in complaints(fields)
    assert "camera.iso: is no field of a JSON prompt; did you mean ISO?" in complaints(fields)


def test_an_unquoted_hex_colour_in_yaml_is_told_from_a_missing_one():
    fields = yaml.safe_load("scene: x\ncolor_palette:\n  - #1A2B3C\n  - red\n  - blue\n")
    assert complaints(fields) == [
        'color_palette[0]: is empty: in YAML an unquoted # begins a comment; write "#1A2B3C", in quotes'
    ]


def test_a_text_may_choose_from_wildcards_and_every_field_is_its_own_template():
    fields = {"scene": "__place__", "style": "${x=!{oil|ink}}${x} and ${x}"}
    prompts = all_prompts(fields, {"place": ["sea", "wood"]})
    assert prompts[1] == '{"scene":"sea","style":"ink and ink"}'
    assert compile_prompt(fields, Wildcards({"place": ["sea", "wood"]})).count() == len(set(prompts)) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a fox", []),
        ('{"scene": "a fox"}', []),
        ('  {"scene": "a fox", "color_palette": ["red", "#1A2B3C", "blue"]}', []),
        ("{red|blue} car", ["begins with a brace: it is sent as written, nothing is chosen or put in"]),
        ("{{ animal }}", ["begins with a brace: it is sent as written, nothing is chosen or put in"]),
        ('{"scene": "a fox",}', ["begins like JSON, and is none"]),
        ('{"scene": "a", "scene": "b"}', ["is odd JSON (scene twice)"]),
        ('{"scene": NaN}', ["is odd JSON (NaN is no JSON number)"]),
        ('{"a":' * 100_000, ["is odd JSON"]),
        ('{"sceen": "a fox"}', ["sceen: is no field", "scene: is missing"]),
        (
            '{"scene": "x", "subjects": [{"position": "left", "type": "cat"}]}',
            ["subjects[0].position: 'left' is no position"],
        ),
    ],
)
def test_a_manifests_json_prompt_is_looked_at_but_stays_as_it_is(text: str, said: list[str]):
    troubles = [str(trouble) for trouble in check_json_prompt(text)]
    assert len(troubles) == len(said)
    assert all(part in trouble for part, trouble in zip(said, troubles, strict=True))
