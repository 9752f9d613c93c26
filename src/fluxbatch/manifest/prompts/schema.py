"""The shape of a JSON prompt, as FLUX.2 was taught it (CLOUDFLARE.md section 6, and Black Forest Labs' own guide).

scene           what is to be seen (required)
subjects        a list; each with description, type, pose, action, position (foreground, midground, background)
style, lighting, mood, background, composition
color_palette   three colours: names, or #RRGGBB
camera          angle, distance, focus, lens, lens-mm, f-number, ISO, depth_of_field
effects         a text, or a list of texts
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fluxbatch.manifest.values import shown

TEXT_FIELDS = ("style", "lighting", "mood", "background", "composition")
FIELDS = ("scene", "subjects", "color_palette", "camera", "effects", *TEXT_FIELDS)
SUBJECT_FIELDS = ("type", "description", "pose", "action", "position", "color_palette")
CAMERA_FIELDS = ("angle", "distance", "focus", "lens", "lens-mm", "f-number", "ISO", "depth_of_field")
POSITIONS = ("foreground", "midground", "background")
COLOURS = 3
SUBJECTS_MAX = 100

_HEX = re.compile(r"#[0-9A-Fa-f]{6}")


class FieldTrouble(NamedTuple):
    """What is wrong with a field; `path` is like `subjects[0].position`, and "" for the whole."""

    path: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; {self.remedy}" if self.path else f"{self.problem}; {self.remedy}"


class Open:
    """Stands for a value that is not known yet: a variable's. It is taken for right."""


def field_troubles(prompt: Mapping[str, Any]) -> Iterator[FieldTrouble]:
    """Everything in a JSON prompt that FLUX.2 was not taught, or that is hardly meant."""
    yield from _unknown(prompt, FIELDS, "")
    if "scene" not in prompt:
        yield FieldTrouble("scene", "is missing", "say what is to be seen")
    for name, value in prompt.items():
        if name in ("scene", *TEXT_FIELDS):
            yield from _text(value, name)
        elif name in _CHECKS:
            yield from _CHECKS[name](value, name)


def _unknown(fields: Mapping[str, Any], known: Collection[str], path: str) -> Iterator[FieldTrouble]:
    for name in fields:
        if name not in known:
            squashed = re.sub(r"[^a-z]", "", str(name).lower()).replace("colour", "color")
            alike = {re.sub(r"[^a-z]", "", field.lower()): field for field in known}
            near = difflib.get_close_matches(squashed, alike, n=1, cutoff=0.7)
            hint = f"did you mean {alike[near[0]]}?" if near else f"take one of: {', '.join(known)}"
            yield FieldTrouble(f"{path}{name}", "is no field of a JSON prompt", hint)


def _text(value: Any, path: str) -> Iterator[FieldTrouble]:
    if isinstance(value, Open):
        return
    if not isinstance(value, str):
        yield FieldTrouble(path, f"{shown(value)} is no text", "write a text (in quotes, if it looks like a number)")
    elif not value.strip():
        yield FieldTrouble(path, "is empty", "write a text, or leave the field out")


def _text_or_number(value: Any, path: str) -> Iterator[FieldTrouble]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield from _text(value, path)


def _subjects(value: Any, path: str) -> Iterator[FieldTrouble]:
    if isinstance(value, Open):
        return
    if not isinstance(value, list) or not value:
        yield FieldTrouble(path, f"{shown(value)} is no list of subjects", "write a list: - description: …")
        return
    if len(value) > SUBJECTS_MAX:
        yield FieldTrouble(path, f"has {len(value)} subjects", f"take at most {SUBJECTS_MAX}")
        return
    for index, subject in enumerate(value):
        yield from _subject(subject, f"{path}[{index}]")


def _subject(subject: Any, path: str) -> Iterator[FieldTrouble]:
    if isinstance(subject, Open):
        return
    if not isinstance(subject, Mapping):
        yield FieldTrouble(path, f"{shown(subject)} is no subject", "write its fields: description: …")
        return
    yield from _unknown(subject, SUBJECT_FIELDS, f"{path}.")
    if not {"description", "type"} & set(subject):
        yield FieldTrouble(path, "says neither type nor description", "add description: …")
    for name, value in subject.items():
        if name == "position":
            yield from _position(value, f"{path}.position")
        elif name == "color_palette":
            yield from _palette(value, f"{path}.color_palette", None)
        elif name in SUBJECT_FIELDS:
            yield from _text(value, f"{path}.{name}")


def _position(value: Any, path: str) -> Iterator[FieldTrouble]:
    if not isinstance(value, Open) and value not in POSITIONS:
        yield FieldTrouble(path, f"{shown(value)} is no position", f"take one of: {', '.join(POSITIONS)}")


def _palette(value: Any, path: str, wanted: int | None = COLOURS) -> Iterator[FieldTrouble]:
    if isinstance(value, Open):
        return
    if not isinstance(value, list):
        yield FieldTrouble(path, f"{shown(value)} is no list of colours", 'write a list: ["#1A2B3C", …]')
        return
    if wanted is not None and len(value) != wanted:
        yield FieldTrouble(path, f"has {len(value)} colours", f"give {wanted}")
    for index, colour in enumerate(value):
        yield from _colour(colour, f"{path}[{index}]")


def _colour(value: Any, path: str) -> Iterator[FieldTrouble]:
    if value is None:
        yield FieldTrouble(path, "is empty: in YAML an unquoted # begins a comment", 'write "#1A2B3C", in quotes')
    elif isinstance(value, str) and value.startswith("#"):
        if not _HEX.fullmatch(value):
            yield FieldTrouble(path, f"{shown(value)} is no colour", "write # and six hexadecimal digits, as #1A2B3C")
    else:
        yield from _text(value, path)


def _camera(value: Any, path: str) -> Iterator[FieldTrouble]:
    if isinstance(value, Open):
        return
    if not isinstance(value, Mapping):
        yield FieldTrouble(path, f"{shown(value)} is no camera", "write its fields: angle: …")
        return
    yield from _unknown(value, CAMERA_FIELDS, f"{path}.")
    for name, setting in value.items():
        if name in CAMERA_FIELDS:
            yield from _text_or_number(setting, f"{path}.{name}")


def _effects(value: Any, path: str) -> Iterator[FieldTrouble]:
    if isinstance(value, list):
        for index, effect in enumerate(value):
            yield from _text(effect, f"{path}[{index}]")
    else:
        yield from _text(value, path)


_CHECKS: Mapping[str, Callable[[Any, str], Iterator[FieldTrouble]]] = {
    "subjects": _subjects,
    "color_palette": _palette,
    "camera": _camera,
    "effects": _effects,
}


class _Odd(ValueError):
    """JSON that readers disagree on."""


def check_json_prompt(text: str) -> Sequence[FieldTrouble]:
    """What looks wrong with a prompt in a manifest that begins with a brace: to be said by the plan, not to be refused.

    Such a prompt is sent exactly as written: FLUX.2 makes something of any text. None for a prompt that does not begin
    with a brace.
    """
    if not text.lstrip().startswith("{"):
        return ()
    try:
        prompt = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        if '"' not in text:
            problem = "begins with a brace: it is sent as written, nothing is chosen or put in"
            return (FieldTrouble("", problem, "choices and variables belong into a sweep file"),)
        problem = f"begins like JSON, and is none ({error.msg}, line {error.lineno}, column {error.colno})"
        return (FieldTrouble("", problem, "mend it, or begin with another character"),)
    except (_Odd, RecursionError, ValueError) as error:
        return (FieldTrouble("", f"is odd JSON ({error})", "mend it"),)
    return tuple(field_troubles(prompt))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Odd(f"{name} twice")
        found[name] = value
    return found


def _no_constant(name: str) -> Any:
    raise _Odd(f"{name} is no JSON number")
