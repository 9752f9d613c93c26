r"""A template's text -> its parts, and all that is wrong with it.

Two languages live in one text, and are told apart by the first characters:

- `{{`, `{%` and `{#` are Jinja's, to the closing mark that stands outside of quotes and brackets.
- A single `{` begins a variant, `${` a variable of the dynamic-prompts syntax, `__` a wildcard.
- `#` or `//` at the start of a line or after a space, followed by a space, and `/* … */` are comments.
- A backslash before punctuation or a space takes it literally; before anything else it is a backslash.
- All else is text. `|` is text outside of braces, so `[a|b]` stays as it is.

A variant's options lose their leading whitespace, and trailing whitespace with a line break in it; a line break within
an option is one space. So a variant can be written over many lines, and `{big |}dog` says "big dog" or "dog".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from fluxbatch.manifest.prompts.parts import Assign, Jinja, Option, Part, Text, Use, Variant, Wildcard
from fluxbatch.manifest.prompts.scan import Kind, jinja_piece
from fluxbatch.manifest.prompts.writer import Writer, trimmed

NESTING_MAX = 50
SEPARATOR = ", "

_SPECIAL = re.compile(r"[\\{}|$#/_%,)]")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~ ])")
_COMMENT = re.compile(r"(#|//)(?=\s|#|$)")
_HEX = re.compile(r"#(?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})\b")
_BOUNDS = re.compile(r"\s*(?:([0-9]{1,9})|([0-9]{0,9})\s*-\s*([0-9]{0,9}))\s*\$\$")
_SEPARATOR = re.compile(r"([^${}]*)\$\$")
_SAMPLER = re.compile(r"\s*([~!@])")
_WEIGHT = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})\s*::")
_MINUS_WEIGHT = re.compile(r"\s*-[0-9.]+\s*::")
_VARIABLE = re.compile(r"\$\{\s*([A-Za-z_-][A-Za-z0-9_-]*)\s*(?:(\?)?=(!)?|(:)|(?=\}))\s*")
_WILDCARD = re.compile(r"__([~!@]?)([^\s_{}#$()|:,;][^{}#$()|:,;\n]*?)(?=\(|__)")
_ARGUMENT = re.compile(r"\s*([A-Za-z_-][A-Za-z0-9_-]*)\s*=\s*")
_BLANK = re.compile(r"\s+")
_LINE_REST = re.compile(r"[ \t]*\n")

Complain = Callable[[int, str, str], None]
"""Takes the offset, the problem and the remedy."""


class TooDeep(Exception):
    """Braces within braces beyond all reason: the rest is not read."""


class Parser:
    """Reads one text. `jinja` says whether Jinja is spoken in it (in templates it is, in wildcard files not)."""

    def __init__(self, source: str, complain: Complain, *, jinja: bool) -> None:
        self._source = source
        self._complain = complain
        self._jinja = jinja
        self._at = 0
        self._depth = 0
        self._is_unclosed = False

    def parse(self) -> tuple[Part, ...]:
        try:
            return self._sequence("")
        except TooDeep:
            self._complain(self._at, f"braces are nested more than {NESTING_MAX} deep", "write it flatter")
            return ()

    def _sequence(self, stops: str) -> tuple[Part, ...]:
        """The parts up to one of the stops, which is not taken; or to the end."""
        writer = Writer(within=bool(stops) or not self._jinja)
        self._depth += 1
        if self._depth > NESTING_MAX:
            raise TooDeep
        while (found := _SPECIAL.search(self._source, self._at)) is not None:
            writer.text(self._source[self._at : found.start()])
            self._at = found.start()
            if found.group() in stops:
                break
            self._special(found.group(), stops, writer)
        else:
            writer.text(self._source[self._at :])
            self._at = len(self._source)
        self._depth -= 1
        return writer.parts()

    def _special(self, character: str, stops: str, writer: Writer) -> None:
        source, at = self._source, self._at
        if character == "\\" and (escaped := _ESCAPED.match(source, at)):
            writer.literal(escaped[1])
            self._at = escaped.end()
        elif character == "{":
            self._brace(writer)
        elif source.startswith("${", at) and not self._is_jinja(at + 1):
            part = self._variable()
            writer.part(part)
            if isinstance(part, Assign):
                self._end_silent(at, writer)
        elif source.startswith("__", at):
            self._wildcard(writer)
        elif character in "#/" and self._comment():
            self._end_silent(at, writer)
        else:
            self._suspect(character, stops)
            writer.text(character)
            self._at += 1

    def _suspect(self, character: str, stops: str) -> None:
        """Complains of what stands as text, but was hardly meant so."""
        source, at = self._source, self._at
        if character == "}":
            self._complain(at, "} closes nothing", r"write \} for a brace")
        elif character == "|" and stops:
            self._complain(at, "| in a value", r"put braces around it, {a|b}, or write \| for the sign")
        elif stops and source.startswith("$$", at) and not self._is_unclosed:
            remedy = r"it stands at the start, as in {2$$a|b} or {2$$ and $$a|b}; write \$\$ for the signs"
            self._complain(at, "$$ in the middle of an option", remedy)
            self._at += 1
        elif source.startswith("%{", at) and not self._is_jinja(at + 1):
            remedy = r"write \% for the sign"
            self._complain(at, "%{ would be a wrapping of dynamic prompts, which is not supported", remedy)

    def _is_jinja(self, at: int) -> bool:
        return self._jinja and self._source[at : at + 2] in ("{{", "{%", "{#")

    def _brace(self, writer: Writer) -> None:
        at = self._at
        if self._is_jinja(at):
            self._jinja_piece(writer)
            return
        if not self._jinja and self._source[at : at + 2] in ("{%", "{#"):
            self._complain(at, "a wildcard file does not speak Jinja", "write it in the prompt, not in the file")
        writer.part(self._variant())

    def _jinja_piece(self, writer: Writer) -> None:
        source, at = self._source, self._at
        piece = jinja_piece(source, at)
        if piece is None:
            self._complain(at, *_unfinished(source[at : at + 2]))
            self._is_unclosed = True  # one complaint is enough: what follows is read as a variant, for its own mistakes
            writer.part(self._variant())
            return
        self._at = piece.end
        if piece.kind is Kind.COMMENT:
            self._end_silent(at, writer)
        elif piece.kind is Kind.RAW:
            writer.literal(piece.text)
        else:
            is_statement = piece.kind is Kind.STATEMENT
            writer.part(Jinja(piece.text, source[at : piece.end], at, is_statement, piece.marked))

    def _end_silent(self, start: int, writer: Writer) -> None:
        """What puts out nothing takes its line with it, if it has one to itself, and the spaces before a line's end."""
        rest = _LINE_REST.match(self._source, self._at)
        if rest is None:
            return
        if not self._source[self._source.rfind("\n", 0, start) + 1 : start].strip(" \t"):
            self._at = rest.end()
        writer.trim()

    def _variant(self) -> Variant:
        start, self._at = self._at, self._at + 1
        self._skip_blank()
        sampler = _SAMPLER.match(self._source, self._at)
        if sampler:
            self._complain(sampler.start(1), *_sampled(sampler[1]))
            self._at = sampler.end()
        low, high, separator, bounded = self._bounds()
        options = [self._option()]
        while self._source.startswith("|", self._at):
            self._at += 1
            options.append(self._option())
        self._expect("}", start, "{")
        if len(options) == 1 and not bounded and not self._is_unclosed:
            self._check_single(options[0], start)
        if not any(option.weight for option in options):
            self._complain(start, "every option has the weight 0", "give one of them a weight above 0")
        return Variant(tuple(options), low, high, separator, start)

    def _bounds(self) -> tuple[int, int | None, str, bool]:
        found = _BOUNDS.match(self._source, self._at)
        if not found:
            return 1, 1, SEPARATOR, False
        exact, lower, upper = found.groups()
        if exact is None and not lower and not upper:
            self._complain(self._at, "-$$ has no number", "write {0-$$…}, or {1-$$…} if there must be one")
        self._at = found.end()
        separator = _SEPARATOR.match(self._source, self._at)
        if separator:
            self._at = separator.end()
        low = int(exact or lower or 1)
        high = int(exact or upper) if exact or upper else None
        if high is not None and high < low:
            low, high = high, low
        return low, high, separator[1] if separator else SEPARATOR, True

    def _skip_blank(self) -> None:
        """Goes past whitespace and comments."""
        while (blank := _BLANK.match(self._source, self._at)) or (
            self._source.startswith(("#", "/"), self._at) and self._comment()
        ):
            self._at = blank.end() if blank else self._at

    def _option(self) -> Option:
        self._skip_blank()
        weight = _WEIGHT.match(self._source, self._at)
        if weight:
            self._at = weight.end()
        elif _MINUS_WEIGHT.match(self._source, self._at):
            self._complain(self._at, "a weight below 0", r"take 0 or more, or write \- for the sign")
        return Option(float(weight[1]) if weight else 1.0, self._sequence("|}"))

    def _check_single(self, option: Option, start: int) -> None:
        """`{animal}` is what people write who mean a variable, and `{"scene": …}` who mean JSON."""
        if not all(isinstance(part, Text) for part in option.parts):
            return
        text = "".join(part.text for part in option.parts if isinstance(part, Text))
        if not text:
            self._complain(start, "empty braces", r"write \{\} for the signs, or options, {a|b}")
        elif text[:1] in ('"', "'"):
            self._complain(start, "this looks like JSON", "write a JSON prompt as YAML fields (scene: …) under prompt:")
        elif self._jinja:
            remedy = f"write {{{{ {text.strip()} }}}} for a variable, or \\{{ and \\}} for the signs"
            self._complain(start, f"{{{text}}} has one option only", remedy)
        else:
            remedy = (
                r"give it options, {a|b}, or write \{ and \} for the signs ({{ }} is for the prompt, not for files)"
            )
            self._complain(start, f"{{{text}}} has one option only", remedy)

    def _variable(self) -> Part:
        start = self._at
        head = _VARIABLE.match(self._source, start)
        if head is None:
            self._complain(start, "${ is not followed by a name", r"write ${name}, ${name=value}, or \$ for the sign")
            self._at += 2
            self._sequence("}")
            self._expect("}", start, "${")
            return Text("")
        self._at = head.end()
        name, keeps, at_once, colon = head.groups()
        has_value = colon is not None or not self._source.startswith("}", self._at) or "=" in head.group()
        value = trimmed(self._sequence("}")) if has_value else ()
        self._expect("}", start, "${")
        if "=" in head.group():
            return Assign(name, value, at_once is not None, keeps is not None, start)
        return Use(name, value if colon else None, start)

    def _wildcard(self, writer: Writer) -> None:
        start = self._at
        head = _WILDCARD.match(self._source, start)
        if head is None:
            problem, remedy, self._at = _unnamed(self._source, start)
            self._complain(start, problem, remedy)
            return
        sampler, name = head.groups()
        if sampler:
            self._complain(start + 2, *_sampled(sampler))
        self._at = head.end()
        arguments = tuple(self._arguments()) if self._source.startswith("(", self._at) else ()
        self._expect("__", start, "__")
        writer.part(Wildcard(name.strip(), arguments, start))

    def _arguments(self) -> Iterator[tuple[str, tuple[Part, ...]]]:
        while self._source[self._at : self._at + 1] in ("(", ","):
            self._at += 1
            head = _ARGUMENT.match(self._source, self._at)
            if head is None:
                self._complain(self._at, "an argument has no name", "write __name(variable=value)__")
                self._sequence(",)")
                continue
            self._at = head.end()
            yield head[1], trimmed(self._sequence(",)"))
        if self._source.startswith(")", self._at):
            self._at += 1

    def _expect(self, mark: str, start: int, opened: str) -> None:
        if self._source.startswith(mark, self._at):
            self._at += len(mark)
        elif not self._is_unclosed:
            self._is_unclosed = True
            escaped = "".join(f"\\{character}" for character in opened)
            self._complain(start, f"{opened} is not closed", f"close it with {mark}, or write {escaped} for the signs")

    def _comment(self) -> bool:
        """Goes past a comment, if one begins here."""
        source, at = self._source, self._at
        if source.startswith("/*", at):
            close = source.find("*/", at + 2)
            if close < 0:
                self._complain(at, "/* is not closed", r"close it with */, or write \/ for the sign")
            self._at = len(source) if close < 0 else close + 2
            return True
        if at and not source[at - 1].isspace():
            return False
        if _COMMENT.match(source, at):
            end = source.find("\n", at)
            self._at = len(source) if end < 0 else end
            return True
        if source[at] == "#" and not _HEX.match(source, at) and not source[at + 1 : at + 2].isdigit():
            word = source[at : at + 20].split()[0]
            self._complain(at, f"{word} may be a comment or text", r"write '# …' for a comment, \# for the sign")
        return False


def _unfinished(mark: str) -> tuple[str, str]:
    if mark == "{{":
        remedy = "close it with }}; for a variant within a variant put a space between the braces, { {a|b} c|d}"
        return "{{ begins a Jinja expression, which does not end", remedy
    close = {"{%": "%}", "{#": "#}"}[mark]
    kind = {"{%": "statement", "{#": "comment"}[mark]
    return f"{mark} begins a Jinja {kind}, which does not end", f"close it with {close}, or write \\{{ for the brace"


def _sampled(sign: str) -> tuple[str, str]:
    instead = {
        "~": "a sweep draws by chance with sample and a seed",
        "!": "without a sign every combination is made",
        "@": "axes that go in step are zipped in the sweep file",
    }[sign]
    return f"the sampler {sign} is not supported", f"{instead}; write \\{sign} for the sign"


def _unnamed(source: str, at: int) -> tuple[str, str, int]:
    """What is wrong with a `__` that begins no wildcard, the remedy, and where to read on."""
    inside, close, _ = source[at + 2 :].split("\n", 1)[0].partition("__")
    if close and ("{{" in inside or "${" in inside):
        remedy = "name one list here; several are {__a__|__b__}, or an axis of the sweep"
        problem = "a wildcard's name cannot come from a variable (how many prompts there are would depend on it)"
        return problem, remedy, at + 2 + len(inside) + len(close)
    end = at + 2
    while source.startswith("_", end):
        end += 1
    return "__ begins a wildcard, and no name follows", r"write __name__, or \_\_ for the signs", end
