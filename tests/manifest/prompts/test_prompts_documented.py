# ruff: noqa: E501 - a line for each example
"""The syntax guides of dynamicprompts (docs/SYNTAX.md, README.md) and sd-dynamic-prompts (SYNTAX.md), example by
example, with the prompts that they say come of it. Where they disagree, the newest one (docs/SYNTAX.md) holds."""

from __future__ import annotations

from itertools import permutations, product

import pytest

from tests.manifest.prompts.prompts_kit import all_prompts

SEASONS = ["summer", "autumn", "winter", "spring"]
FLAVOURS = ["chocolate", "vanilla", "strawberry"]
LISTS = {
    "season": SEASONS,
    "flavours": FLAVOURS,
    "seasons-with-variant": ["summer", "{autumn|fall}", "winter", "spring"],
    "people_of_the_world": ["__africa__", "__europe__"],
    "africa": ["Zimbabwean", "Namibian", "Basotho"],
    "europe": ["Dane"],
    "colours-cold": ["blue", "green"],
    "colours-warm": ["red", "yellow"],
    "artists/dutch/old": ["Rembrandt van Rijn"],
    "artists/finnish": ["Eero Järnefelt"],
    "season_clothes": ["In ${season}, I wear ${season} shirts and ${season} trousers"],
    "adjective": ["cozy", "ancient", "delicate"],
    "examples/prompt": [
        "${subject?=!{man|woman}} ${weather?=!{sun|rain}} ${drink?=!{__examples/drink__}} "
        "a ${subject} standing in the ${weather} drinking ${drink}"
    ],
    "examples/drink": ["coffee", "tea"],
    "examples/winter": ["${weather=snow} ${drink=hot chocolate} __examples/prompt__"],
}


def _seasons(pattern: str) -> list[str]:
    return [pattern.format(season) for season in SEASONS]


ICE = "My favourite ice-cream flavours are "
WEAR = "In {0}, I wear {0} shirts and {0} trousers"
PEOPLE = [", ".join(pair) for pair in product(["blond", "redhead"], ["green", "blue"])]


@pytest.mark.parametrize(
    ("template", "prompts"),
    [
        # docs/SYNTAX.md, in its order
        ("{summer|autumn|winter|spring} is coming", _seasons("{} is coming")),
        ("{0.5::summer|0.1::autumn|0.3::winter|0.1::spring}", SEASONS),
        (ICE + "{2$$chocolate|vanilla|strawberry}", [ICE + ", ".join(p) for p in permutations(FLAVOURS, 2)]),
        (ICE + "{2$$ and $$chocolate|vanilla|strawberry}", [ICE + " and ".join(p) for p in permutations(FLAVOURS, 2)]),
        (
            ICE + "{1-2$$ and $$chocolate|vanilla|strawberry}",
            [ICE + " and ".join(p) for size in (1, 2) for p in permutations(FLAVOURS, size)],
        ),
        ("{-2$$chocolate|vanilla|strawberry}", [*FLAVOURS, *(", ".join(p) for p in permutations(FLAVOURS, 2))]),
        # The guide says that this equals {1-2$$…}, which contradicts its own rule ("the maximum possible value").
        ("{1-$$a|b|c}", [", ".join(p) for size in (1, 2, 3) for p in permutations("abc", size)]),
        ("{4$$chocolate|vanilla|strawberry}", [", ".join(p) for p in permutations(FLAVOURS)]),
        ("__season__ is coming", _seasons("{} is coming")),
        (ICE + "{2$$__flavours__}", [ICE + ", ".join(p) for p in permutations(FLAVOURS, 2)]),
        (
            "{2$$__flavours__|__flavours__}",
            [f"{a}, {b}" for _ in "12" for a, b in product(FLAVOURS, FLAVOURS)],  # "the first version guarantees no duplicates"
        ),
        ("__seasons-with-variant__ is coming", [f"{s} is coming" for s in ("summer", "autumn", "fall", "winter", "spring")]),
        ("__people_of_the_world__", ["Zimbabwean", "Namibian", "Basotho", "Dane"]),
        ("The colour is __colours*__", [f"The colour is {c}" for c in ("blue", "green", "red", "yellow")]),
        ("__artists/**__", ["Rembrandt van Rijn", "Eero Järnefelt"]),
        ("${season=!__season__}" + WEAR.format("${season}"), _seasons(WEAR)),
        ("${season=!{summer|autumn|winter|spring}}\n" + WEAR.format("${season}"), _seasons(WEAR)),
        (
            "${season=__season__} and In ${season}, I wear ${season} shirts",
            [f"and In {a}, I wear {b} shirts" for a, b in product(SEASONS, SEASONS)],
        ),
        (
            "${person={blond|redhead}, {green|blue}}\nA ${person} man and a ${person} woman",
            [f"A {man} man and a {woman} woman" for man, woman in product(PEOPLE, PEOPLE)],
        ),
        ("__season_clothes(season=winter)__", [WEAR.format("winter")]),
        ("${season={summer|autumn}} __season_clothes__", [WEAR.replace("{0}", "{}").format(*s) for s in product(SEASONS[:2], repeat=3)]),
        (WEAR.format("${season:summer}"), [WEAR.format("summer")]),
        (
            "${subject=boy} __examples/prompt__",
            [f"a boy standing in the {w} drinking {d}" for w, d in product(["sun", "rain"], ["coffee", "tea"])],
        ),
        (
            "${subject=cowboy} ${weather=sun} ${drink=sasparilla} __examples/prompt__",
            ["a cowboy standing in the sun drinking sasparilla"],
        ),
        ("__examples/winter__", [f"a {s} standing in the snow drinking hot chocolate" for s in ("man", "woman")]),
        (
            "${subject=boy} ${weather=rain} ${drink=iced tea} __examples/winter__",
            ["a boy standing in the snow drinking hot chocolate"],
        ),
        (
            "    # Set the season variable\n    ${season={\n        summer\n\t|autumn\n\t# | fall    # commented this value out\n"
            "\t|winter\n\t|spring\n    }}\n\n   In ${season:summer}, I wear ${season:summer} shirts",
            [f"In {a}, I wear {b} shirts" for a, b in product(SEASONS, SEASONS)],
        ),
        ("A {red|green|blue} {square|circle}", [f"A {c} {s}" for c, s in product(["red", "green", "blue"], ["square", "circle"])]),
        # README.md of dynamicprompts
        ("{2$$ and $$A|B|C}", ["A and B", "A and C", "B and A", "B and C", "C and A", "C and B"]),
        (
            "I {love|hate} {New York|Chicago} in {June|July|August}",
            [f"I {a} {b} in {c}" for a, b, c in product(["love", "hate"], ["New York", "Chicago"], ["June", "July", "August"])],
        ),
        (
            "# Add comments like this\nFunky pop\n    {2$$ and $$\n  \t    yoda\n\t\t|darth vader\n\t}\n\tfigurine",
            ["Funky pop\n    yoda and darth vader\n\tfigurine", "Funky pop\n    darth vader and yoda\n\tfigurine"],
        ),
        # SYNTAX.md of sd-dynamic-prompts
        ("{3::blue|red} ball", ["blue ball", "red ball"]),
        ("{blue|0.25::red} ball", ["blue ball", "red ball"]),
        (
            "a {2-4$$ and $$__adjective__} house",
            [f"a {' and '.join(p)} house" for size in (2, 3) for p in permutations(["cozy", "ancient", "delicate"], size)],
        ),
        ("{__season__|__flavours__}", [*SEASONS, *FLAVOURS]),
        ("{ {a|b|c}|d}", ["a", "b", "c", "d"]),  # there without the space: {{ is Jinja's here
        (
            "{A {small|large} monster|A {scary|friendly} ghost}",
            ["A small monster", "A large monster", "A scary ghost", "A friendly ghost"],
        ),
        ("[__colours-cold__:__colours-warm__:0.25]", [f"[{a}:{b}:0.25]" for a, b in product(["blue", "green"], ["red", "yellow"])]),
        ("[cat|dog]", ["[cat|dog]"]),
        ("Test\n# This  a comment until the end\n// this too\n{A|/* inline */B}", ["Test\nA", "Test\nB"]),
        (
            "wisdom {\n\twoman, __colours-cold__ eyes,\n\t   braided hair\n\t|man\n}, \nwarrior",
            ["wisdom woman, blue eyes, braided hair, \nwarrior", "wisdom woman, green eyes, braided hair, \nwarrior", "wisdom man, \nwarrior"],
        ),
        ("{silver|{white|rose}gold|platinum}     # Band metal", ["silver", "whitegold", "rosegold", "platinum"]),
        # the library's own tests
        ("A {red|blue|} rose", ["A red rose", "A blue rose", "A  rose"]),
        ("A {red|green {square|circle}}", ["A red", "A green square", "A green circle"]),
        ("I love {2$$|$$green|yellow} roses", ["I love green|yellow roses", "I love yellow|green roses"]),
        ("prefix ({0$$a|b} {1$$c|d})", ["prefix ( c)", "prefix ( d)"]),
        ("{2$$ 1| 2| 3}", ["1, 2", "1, 3", "2, 1", "2, 3", "3, 1", "3, 2"]),
        ("{\n    # 60% A\n    0.6::A\n    |\n    # 40% B\n    0.4::B\n    }\n", ["A", "B"]),
        ("{1$$A|B|{2$$ and $$X|Y}}", ["A", "B", "X and Y", "Y and X"]),
        ("{|hot,}{|summer,}", ["", "summer,", "hot,", "hot,summer,"]),
        ("__season(x={A|B})__", SEASONS),
        ("Test (high emphasis:0.4) änderō good-bye, good_bye", ["Test (high emphasis:0.4) änderō good-bye, good_bye"]),
    ],
)  # fmt: skip
def test_a_documented_template_gives_the_documented_prompts(template: str, prompts: list[str]):
    assert all_prompts(template, LISTS) == prompts


@pytest.mark.parametrize(
    ("template", "prompts"),
    [
        ("{big |}dog", ["big dog", "dog"]),
        (r"{a\|b|c\}}", ["a|b", "c}"]),
        (r"{\ a|b}x{\ y|}", ["ax y", "ax", "bx y", "bx"]),
        (r"100\% \_\_x\_\_ \$\$ \# \\ C:\temp", [r"100% __x__ $$ # \ C:\temp"]),
        ("#FF0000 and #abc, #1 of 2, https://x.test/a", ["#FF0000 and #abc, #1 of 2, https://x.test/a"]),
        ("{3-2$$a|b|c}", [", ".join(p) for size in (2, 3) for p in permutations("abc", size)]),
        ("{2$$$$a|b}", ["ab", "ba"]),
        ("{$5|$10} {a: b|c}", ["$5 a: b", "$5 c", "$10 a: b", "$10 c"]),
        ("a {{ n }}${{ n }}%{{ n }}", ["a 3$3%3"]),
        ("{a {{ n }}|{b {{ n }}}}", ["a 3", "b 3"]),
        ("{a {{ n }}|b {c|d {{ n }}}}", ["a 3", "b c", "b d 3"]),
        ("{# a {b|c} #}x", ["x"]),
        ("{% raw %}{a|b} {{ c }} __d__{% endraw %} {e|f}", ["{a|b} {{ c }} __d__ e", "{a|b} {{ c }} __d__ f"]),
        ("one\n{# gone #}\ntwo\n", ["one\ntwo"]),
        ("{{ {'a': 'b}}c'}['a'] }}", ["b}}c"]),
    ],
)
def test_where_the_two_languages_and_plain_text_part(template: str, prompts: list[str]):
    assert all_prompts(template, values={"n": 3}) == prompts
