"""Everything that is wrong with a sweep file is said at once, with the line that it stands in and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxbatch.errors import ManifestError, UsageError
from tests.manifest.sweep.sweep_kit import complaints_of, manifest_of

P = "prompt: 'a {{ a }}'\n"

TABLE = {
    "unknown key": ("promt: a fox\nprompt: a fox", 1, "no key 'promt'", "did you mean prompt?"),
    "unknown key of a block": ("prompt: a\nblocks:\n  - axis: {a: [x]}", 3, "no key 'axis'", "did you mean axes?"),
    "sample in a block": ("prompt: a\nblocks:\n  - sample: {count: 1, seed: 1}", 3, "no key 'sample'", "name, prompt"),
    "a key twice": (P + "axes:\n  a: [x]\n  a: [y]", 4, "'a' stands in axes twice (first in line 3)", "remove one"),
    "axes is a list": (P + "axes: [a, b]", 2, "axes is a list, not a mapping", "NAME: VALUE"),
    "zip is a mapping": (P + "zip: {a: [x]}", 2, "zip is a mapping, not a list", "lines with -"),
    "an axis is a value": (P + "axes: {a: fox}", 2, "an axis is the value 'fox'", "[fox]"),
    "an empty axis": (P + "axes:\n  a: []", 3, "the list is empty: there would be no picture at all", "add values"),
    "an empty file of values": (P + "axes: {a: {from: empty.txt}}", 2, "empty.txt has no value", "fill it"),
    "an empty range": (P + "axes: {a: {range: [4, 1]}}", 2, "the range from 4 to 1 by 1 is empty", "descending step"),
    "a step of 0": (P + "axes: {a: {range: [1, 4], step: 0}}", 2, "the step is 0", "from first to last"),
    "a range of texts": (P + "axes: {a: {range: [a, c]}}", 2, "'a' is none", "digits"),
    "a range with one end": (P + "axes: {a: {range: [1]}}", 2, "range has 1 ends", "[first, last]"),
    "no prompt": ("axes: {a: [x]}", 1, "there is no prompt", "write prompt:"),
    "an empty prompt": ("prompt: ' '\naxes: {seed: [1]}", 1, "the prompt is empty", "shall show"),
    "a prompt that is a number": ("prompt: 12\n", 1, "the prompt is the value '12', no text", "quote it"),
    "a variable without values": ("prompt: 'a {{ animl }}'\naxes: {animal: [x]}", 1, "uses animl", "mean animal?"),
    "an axis that nothing uses": (P + "axes:\n  a: [x]\n  mood: [p, q]", 4, "in no prompt", "{{ mood }}"),
    "a misspelt parameter": (P + "axes:\n  a: [x]\n  guidnce: [1, 2]", 4, "looks like guidance", "--own guidnce"),
    "a name of the dataset": (P + "defaults: {phash: x}\naxes: {a: [x]}", 2, "of this name already", "rename"),
    "a name with a blank": (P + "axes: {a: [x], 'b c': [y]}", 2, "'b c' is no name", "letters, digits"),
    "prompt as an axis": (P + "axes: {prompt: [x]}", 2, "the prompt stands in axes", "a list under prompt:"),
    "zipped lists of different lengths": (P + "zip:\n  - {a: [x, y], seed: [1]}", 3, "a has 2, seed has 1", "same"),
    "a zip of one": (P + "zip:\n  - {a: [x, y]}", 3, "fewer than two names", "move it to axes:"),
    "zip and axes": (P + "axes: {a: [x]}\nzip: [{a: [x], seed: [1]}]", 3, "a has values already (line 2)", "remove"),
    "size and width": ("prompt: a\naxes: {size: [512x512], width: [512]}", 2, "width has values already", "remove"),
    "no size": ("prompt: a\naxes: {size: [512]}", 2, "512 is no size", "1024x768"),
    "half of a zip in a block": (
        P + "zip: [{a: [x, y], seed: [1, 2]}]\nblocks:\n  - defaults: {seed: 3}",
        4,
        "seed moves together with a outside of this block",
        "say all of them",
    ),
    "exclude of an unknown name": (P + "axes: {a: [x]}\nexclude: [{b: x}]", 3, "exclude names b", "there is: a"),
    "exclude of an unknown value": (P + "axes: {a: [fox, owl]}\nexclude:\n  - {a: fix}", 4, "never is 'fix'", "fox?"),
    "exclude of a text that is a number": (P + "axes: {a: [1, 2]}\nexclude: [{a: '1'}]", 3, "a never is '1'", "1, 2"),
    "exclude of a pair that is not zipped": (
        P + "zip: [{a: [x, y], seed: [1, 2]}]\nexclude: [{a: x, seed: 2}]",
        3,
        "a combination that there is not",
        "remove the entry",
    ),
    "everything excluded": (P + "axes: {a: [x]}\nexclude: [{a: x}]", 1, "every cell is excluded", "remove an exclude"),
    "an empty exclude": (
        P + "axes: {a: [x]}\nexclude:\n  - {}",
        4,
        "an entry of exclude is empty",
        "name at least one",
    ),
    "include of an unknown name": (P + "axes: {a: [x]}\ninclude: [{a: y, seeed: 1}]", 3, "names seeed", "mean seed?"),
    "include without a variable": (
        P + "axes: {a: [x]}\ninclude: [{seed: 1}]",
        1,
        "no value for the entry in line 3",
        "add",
    ),
    "an axis of ids": ("prompt: a\naxes: {id: [x, y]}", 2, "in no prompt and is no parameter", "use samples"),
    "a decimal where none can be": ("prompt: a\naxes: {seed: [1, 1.5]}", 2, "1.5 is no whole number", "digits"),
    "no folder of wildcards": ("prompt: a\nwildcards: nope", 2, "there is no folder nope", "relative to the sweep"),
    "an unknown field of a JSON prompt": (
        "prompt: {scene: a, moode: b}",
        1,
        "moode: is no field",
        "did you mean mood?",
    ),
    "sample without a seed": (P + "axes: {a: [x]}\nsample: {count: 5}", 3, "sample has no seed", "seed: 7"),
    "a sample of none": (P + "axes: {a: [x]}\nsample: {count: 0, seed: 1}", 3, "a count of 0", "take 1 to"),
    "no file": (P + "axes: {a: {from: no.csv}}", 2, "no.csv: there is no such file", "relative to the sweep"),
    "a file of no kind": (P + "axes: {a: {from: s.yaml}}", 2, "the ending does not say", ".csv"),
    "no column": (P + "axes: {a: {from: t.csv, column: stile}}", 2, "t.csv has no column 'stile'", "mean style?"),
    "a column of a text": (P + "axes: {a: {from: empty.txt, column: x}}", 2, "has no columns", "remove column:"),
    "an empty cell": (P + "axes: {a: {from: t.csv, column: note}}", 3, "1 of 2 values are empty", "fill them"),
    "a bad cell of a parameter": (
        P + "axes: {a: [x], steps: {from: t.csv, column: style}}",
        2,
        "'noir' is no whole",
        "digits",
    ),
    "a bad model": ("prompt: a\naxes:\n  model: [flux-2-dev, flux-9]", 3, "'flux-9' is not known", "flux-2-dev"),
    "a bad number": ("prompt: a\naxes:\n  steps:\n    - 8\n    - many", 5, "'many' is no whole number", "digits"),
    "a range with decimals of a whole parameter": (
        "prompt: a\naxes: {steps: {range: [1, 3], step: 0.5}}",
        2,
        "has decimals",
        "whole",
    ),
    "mixed kinds": (P + "axes:\n  a:\n    - fox\n    - 3", 5, "3 is a number, the first value is a text", "quote"),
    "another kind in another block": (
        P + "blocks:\n  - axes: {a: [x]}\n  - axes: {a: [1]}",
        4,
        "a is int64 here, and string in the block of line 3",
        "quote",
    ),
    "a broken template": ("prompt: 'a {{ a '\naxes: {a: [x]}", 1, "which does not end", "close it with }}"),
    "too many cells": (
        P + "axes: {a: {range: [1, 100000]}, seed: {range: [1, 100000]}}",
        1,
        "10,000,000,000 cells",
        "shorter",
    ),
    "YAML reads no as false": (P + "axes:\n  a: [yes, no]", 3, "yes is read by YAML as true", 'quote it: "yes"'),
    "YAML reads 1:30 as a number": (P + "axes: {a: ['x', 1:30]}", 2, "1:30 is read by YAML as the number 90", '"1:30"'),
    "YAML reads 010 as 8": (P + "axes: {a: [010]}", 2, "010 is read by YAML as the number 8", '"010"'),
    "YAML reads a date": (P + "axes: {a: [2026-11-22]}", 2, "2026-11-22 is read by YAML as a date", '"2026-11-22"'),
    "YAML reads 1_000": (P + "axes: {a: [1_000]}", 2, "as the number 1000", '"1_000"'),
    "YAML drops a zero": (
        P + "axes: {a: [3.10]}",
        2,
        "3.10 is read as the number 3.1",
        'quote it if it is a text: "3.10"',
    ),
    "nothing is no value": (P + "axes: {a: [x, ~]}", 2, "a value is empty", "write a value"),
    "a merge key": ("x: &x {a: [y]}\nprompt: a\naxes: {<<: {a: [x]}}", 3, "merge key << is not read", "defaults:"),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_mistake_is_said_with_its_line_and_what_to_do(tmp_path: Path, name: str) -> None:
    text, line, problem, remedy = TABLE[name]
    files = {"t.csv": "style,note\nnoir,a\npop,\n", "empty.txt": "\n# nothing\n"}
    complaints = complaints_of(tmp_path, text, files)
    assert any(f":{line}" in said and problem in said and remedy in said for said in complaints), complaints


def test_all_mistakes_are_said_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = """\
        promt: a fox
        prompt: "a {{ animal }} {{ mood }}"
        axes:
          animal: [cat, no]
          steps: [8, many]
          seed: {range: [4, 1]}
        exclude:
          - {anmal: cat}
        """
    found = complaints_of(tmp_path, text)
    assert [said.split(":")[1].split(",")[0] for said in found] == ["1", "2", "4", "5", "6", "8"]


@pytest.mark.parametrize(
    "text",
    [
        "prompt: 'a {{ a }}'\naxes: {a: [x, no]}\nexclude: [{a: x}]",
        "prompt: 'a {{ a }}'\naxes: {a: {from: no.csv}}\ninclude: [{a: x}]",
        "prompt: 'a {{ a }}'\nzip: [{a: [x, y], seed: [1]}]\nexclude: [{seed: 1}]",
        "prompt: 12\naxes: {a: [x]}",
        "prompt: []",
        "- prompt: a",
    ],
)
def test_one_mistake_is_one_complaint(tmp_path: Path, text: str) -> None:
    assert len(complaints_of(tmp_path, text)) == 1


def test_a_mistake_in_a_file_of_values_is_said_with_that_file_and_line(tmp_path: Path) -> None:
    text = "prompt: a fox\naxes: {seed: {from: seeds.txt}}"
    (said,) = complaints_of(tmp_path, text, {"seeds.txt": "1\n\n# a note\ntwo\n"})
    assert said.startswith("seeds.txt:4, column seed: 'two' is no whole number")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("prompt: {a|b} cat\n", "s.yaml:1: this is no YAML"),
        ("prompt: a\n\taxes: 1\n", "s.yaml:2: this is no YAML"),
        ("prompt: a: b\n", "quote a text that holds ': '"),
        ("a: &a [*a]\nprompt: x", "levels deep"),
        ("--- {prompt: a}\n--- {prompt: b}\n", "this is no YAML"),
        ("a: &a [" + "x, " * 900 + "]\nb: &b [" + "*a, " * 900 + "]\n", "aliases counted"),
        ("prompt: a\naxes: {a: [!!python/name:os.system x]}", "s.yaml:2: the tag"),
        ("prompt: a\naxes: {a: !!set {x, y}}", "s.yaml:2: the tag"),
        ("prompt: \x00", "this is no YAML"),
        pytest.param("prompt: a\naxes:\n  a: " + "[" * 100_000, "s.yaml:3: over 24 levels", id="open brackets"),
        pytest.param("prompt: " + "[" * 100_000 + "]" * 100_000, "s.yaml:1: over 24 levels", id="deep brackets"),
        pytest.param(
            "axes:\n" + "".join(" " * depth + "a:\n" for depth in range(1, 400)), "over 24 levels", id="deep blocks"
        ),
    ],
)
def test_what_is_no_yaml_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        manifest_of(tmp_path, text)
    assert not isinstance(raised.value, ManifestError)


def test_a_list_at_the_top_is_said(tmp_path: Path) -> None:
    found = complaints_of(tmp_path, "- prompt: a\n")
    assert "the sweep is a list, not a mapping" in found[0]


def test_columns_cannot_be_renamed_in_a_sweep(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--column is for tables"):
        manifest_of(tmp_path, "prompt: a fox", columns={"prompt": "p"})


def test_a_variable_that_looks_like_a_parameter_can_be_kept(tmp_path: Path) -> None:
    text = "prompt: 'a {{ scheduler }}'\naxes: {scheduler: [bus, train]}"
    assert "this is no parameter" in complaints_of(tmp_path, text)[0]
    assert len(list(manifest_of(tmp_path, text, own=["scheduler"]).rows())) == 2
