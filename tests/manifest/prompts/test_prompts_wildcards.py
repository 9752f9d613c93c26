"""Wildcard folders: what is in them, by which name, and what is wrong with them."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from fluxbatch.manifest.prompts import compile_prompt, folder, open_wildcards
from tests.manifest.prompts.prompts_kit import complaints

YAML = """
clothing:
  - T-shirt
  - Pants
artists:
  finnish:
    - Akseli Gallen-Kallela
    - Eero Järnefelt
  dutch:
    - Rembrandt van Rijn
  1234: 5678  # ignored
  flurp: 12345  # this too
colour:
  - |
    {
      2::red
      | 3::blue
      | 1:: green
    }
plush:
  - |
    # Usage: __plush(figure=elephant)__
    cute Squishy ${figure} plush toy,
    square image
yes:
  - no
  - 1.50
"""


def put(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def prompts(folder: Path, source: str) -> list[str]:
    template = compile_prompt(source, open_wildcards(folder))
    return [template.render({}, choice) for choice in range(template.count())]


def test_a_text_file_has_an_entry_a_line_without_comments_empty_lines_and_repeats(tmp_path: Path):
    put(
        tmp_path, season_DOT_txt="\ufeff# seasons\r\nsummer\r\n\r\n  winter  \r\n#gone\r\nsummer\r\nspring # inline\r\n"
    )
    assert prompts(tmp_path, "__season__") == ["summer", "winter", "spring"]


def test_a_yaml_file_has_lists_by_its_keys_in_the_files_folder(tmp_path: Path):
    put(tmp_path, pantry_DOT_yaml=YAML, flavours__pantry_DOT_json='{"bitter": ["coffee"], "sweet": ["honey", "sugar"]}')
    assert prompts(tmp_path, "__clothing__") == ["T-shirt", "Pants"]
    assert prompts(tmp_path, "__artists/*__") == ["Rembrandt van Rijn", "Akseli Gallen-Kallela", "Eero Järnefelt"]
    assert prompts(tmp_path, "__colour__") == ["red", "blue", "green"]
    assert prompts(tmp_path, "__plush(figure=fox)__") == ["cute Squishy fox plush toy, square image"]
    assert prompts(tmp_path, "__yes__") == ["no", "1.50"]
    assert prompts(tmp_path, "__flavours/**__") == ["coffee", "honey", "sugar"]


def test_a_file_with_a_bare_list_has_the_files_name(tmp_path: Path):
    put(
        tmp_path,
        animals__lizards_DOT_yaml="- gecko\n- iguana\n",
        shapes_DOT_json='["circle", {"text": "box", "weight": 3}]',
    )
    assert prompts(tmp_path, "__animals/lizards__ __shapes__") == [
        "gecko circle",
        "gecko box",
        "iguana circle",
        "iguana box",
    ]


def test_a_glob_stays_in_its_folder_and_two_stars_do_not(tmp_path: Path):
    put(tmp_path, a__x_DOT_txt="1", a__b__y_DOT_txt="2\n1", a1_DOT_txt="3", **{"European Art__z_DOT_txt": "4"})
    assert prompts(tmp_path, "__a/*__") == ["1"]
    assert prompts(tmp_path, "__a/**__") == ["2", "1"]
    assert prompts(tmp_path, "__a*__") == ["3"]
    assert prompts(tmp_path, "__a[0-9]__ __a/?__") == ["3 1"]
    assert prompts(tmp_path, "__European Art/z__ __a\\x__") == ["4 1"]


def test_a_name_is_also_looked_for_beside_the_list_that_mentions_it(tmp_path: Path):
    put(
        tmp_path,
        animals__all_DOT_txt="__cats__\n__birds/owl__",
        animals__cats_DOT_txt="lynx",
        animals__birds__owl_DOT_txt="eagle owl",
    )
    assert prompts(tmp_path, "__animals/all__") == ["lynx", "eagle owl"]


def test_links_within_the_folder_are_followed_and_those_out_of_it_are_not(tmp_path: Path):
    inside = tmp_path / "wildcards"
    put(tmp_path, secret_DOT_txt="password", wildcards__real_DOT_txt="fine")
    (inside / "alias.txt").symlink_to("real.txt")
    (inside / "out.txt").symlink_to("../secret.txt")
    (inside / "circle.txt").symlink_to("circle.txt")
    (inside / "outside").symlink_to(tmp_path)
    wildcards = open_wildcards(inside)
    assert prompts(inside, "__alias__") == ["fine"]
    assert "out.txt: is a link that leads out of the wildcards" in complaints("__out__", wildcards)[0]
    assert "circle.txt: cannot be read" in complaints("__circle__", wildcards)[0]
    assert "there is no wildcard outside/secret" in complaints("__outside/secret__", wildcards)[0]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("w.txt", b"", "w.txt: __w__ is empty; add entries"),
        ("w.txt", b"# only\n\n", "w.txt: __w__ is empty"),
        ("w.txt", b"ok\n\xff\n", "w.txt, line 2: byte 0xFF is not UTF-8"),
        ("w.txt", b"a\nb\0\n", "w.txt, line 2: a NUL character"),
        (
            "w.txt",
            b"red\n#FF0000\n",
            r"w.txt, line 2: #FF0000 would be left out as a comment; write \#FF0000 for the colour",
        ),
        ("w.txt", b"3::red\nblue", "w.txt, line 1: a text file knows no weights; put the list into a YAML file"),
        ("w.txt", b"ok\n\nx {a|b", "w.txt, line 3, column 3: { is not closed"),
        ("w.txt", b"__w__", "w.txt: it includes itself: __w__ "),
        ("w.yaml", b"w: [a", "w.yaml, line 1: is no YAML"),
        ("other.yaml", b"a: b: c", "other.yaml, line 1: is no YAML"),
        ("w.json", b'{"w": ["a",]}', "w.json, line 1: is no JSON"),
        ("w.yaml", b"a: &x [1]\nw: [*x, *x]", "w.yaml, line 2: is no YAML (a reference, *name, is not supported)"),
        ("w.yaml", b"w: [[a]]", "w.yaml: entry 1 of w is neither a text nor a text with a weight"),
        ("w.yaml", b"w:\n- {2::red | 3::blue}", "w.yaml: entry 1 of w is neither a text nor a text with a weight"),
        ("w.yaml", b"w:\n- {text: a, weight: -1}", "w.yaml: entry 1 of w is neither"),
        ("w.yaml", b"w: ['0::a', '0::b']", "w.yaml: every entry has the weight 0"),
        ("w.yaml", b"w: []", "w.yaml: __w__ is empty"),
        ("w.yaml", b"[" * 2000, "w.yaml: cannot be understood"),
        ("w.yaml", b"!!python/object/apply:os.system ['id']", "w.yaml, line 1: is no YAML"),
    ],
)
def test_a_broken_file_is_said_with_its_line(tmp_path: Path, name: str, content: bytes, complaint: str):
    (tmp_path / name).write_bytes(content)
    assert complaint in "\n".join(complaints("__w__", open_wildcards(tmp_path)))


def test_a_name_in_two_files_is_refused_because_either_could_be_meant(tmp_path: Path):
    put(tmp_path, w_DOT_txt="a", other_DOT_yaml="w: [b]")
    assert "__w__ is in other.yaml and w.txt" in complaints("__w__", open_wildcards(tmp_path))[0]


def test_a_folder_that_is_not_there_is_said_only_when_it_is_needed(tmp_path: Path):
    wildcards = open_wildcards(tmp_path / "none")
    assert compile_prompt("a {b|c}", wildcards).count() == 2
    assert f"put w.txt into {tmp_path / 'none'}" in complaints("__w__", wildcards)[0]


def test_a_device_or_a_pipe_is_not_read(tmp_path: Path):
    os.mkfifo(tmp_path / "w.txt")
    assert "w.txt: is no file" in complaints("__w__", open_wildcards(tmp_path))[0]


def test_a_million_lines_are_taken(tmp_path: Path):
    lines = tmp_path / "w.txt"
    lines.write_text("\n".join(f"w{number}" for number in range(folder.LINES_MAX)))
    template = compile_prompt("{2$$ $$__w__} {a|b}", open_wildcards(tmp_path))
    assert template.count() == 1_000_000 * 999_999 * 2
    assert template.render({}, template.count() - 1) == "w999999 w999998 b"
    assert template.random({}, Random(1)).count("w") == 2


def test_more_lines_than_the_bound_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folder, "LINES_MAX", 3)
    put(tmp_path, w_DOT_txt="a\nb\nc", many_DOT_txt="a\nb\nc\nd")
    assert prompts(tmp_path, "__w__") == ["a", "b", "c"]
    assert "many.txt: has 4 entries; split it" in complaints("__many__", open_wildcards(tmp_path))[0]


def test_lists_that_use_each_other_many_times_over_are_counted_without_being_unfolded(tmp_path: Path):
    for level in range(60):
        put(tmp_path, **{f"w{level}_DOT_txt": f"__w{level + 1}__\n__w{level + 1}__!"})
    put(tmp_path, w60_DOT_txt="x\ny", deep_DOT_txt="__deep/0__")
    for level in range(70):
        put(tmp_path, **{f"deep__{level}_DOT_txt": "{a|" * 20 + f"__deep/{level + 1}__" + "}" * 20})
    template = compile_prompt("__w0__", open_wildcards(tmp_path))
    assert template.count() == 2**61
    assert template.render({}, 2**61 - 1) == "y" + "!" * 60
    assert "deep" in complaints("__deep__", open_wildcards(tmp_path))[0]
