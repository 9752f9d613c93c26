"""A token and a prompt as canaries, in runs that fail in every way at a platform that repeats all it hears."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxbatch.dispatch import keep
from fluxbatch.simulator import Simulator
from tests.e2e.e2e_kit import Desk, Said, calm, rows, unreachable_address
from tests.hostile.canary_kit import PROMPT, TOKENS, everything_in
from tests.hostile.parrot import parroting

WAYS = (
    *("400", "403", "404", "405", "401", "402", "408", "413", "418", "429", "500", "503", "307", "206"),
    *("page", "closed", "fine"),
)
FEW = ("401", "400", "500", "page", "fine")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Simulator(calm(), in_thread=True) as simulator:
        desk = Desk(tmp_path, simulator)
        yield desk
        desk.close()


def assert_silent(desk: Desk, token: str, *said: Said) -> dict[str, str]:
    for one in said:
        assert token not in one.all
        assert PROMPT not in one.all
    found = everything_in(desk.folder)
    assert [name for name, text in found.items() if token in text] == []
    return found


@pytest.mark.parametrize(("token", "ways"), [(TOKENS[0], WAYS), *((token, FEW) for token in TOKENS[1:])])
def test_neither_token_nor_prompt_is_told_however_a_run_fails(
    desk: Desk, token: str, ways: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with parroting() as (base_url, heard):
        desk.environment |= {
            "CLOUDFLARE_BASE_URL": base_url, "CLOUDFLARE_API_TOKEN": token, "FLUXBATCH_PATIENCE": "0.002",
        }  # fmt: skip
        said = []
        for way in ways:
            one = desk.manifest([{"prompt": f"{PROMPT}, say:{way}"}], f"{way}.csv")
            said += [desk.run(one, "--resend-failed", "0"), desk.command("status", str(desk.out))]
        said += [desk.command("verify", str(desk.out)), desk.plan(one)]
    assert set(heard) == set(ways), "the faults were not reached"
    found = assert_silent(desk, token, *said)
    assert token not in caplog.text
    told_info = [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]
    assert [line for line in told_info if PROMPT in line] == []
    prompts_in = {name for name, text in found.items() if PROMPT in text}
    strange = {name for name in prompts_in if not name.endswith((".csv", ".parquet", ".parquet (read)", ".row"))}
    assert strange == set(), "prompts belong into the manifest, the dataset and its list of failures"
    assert any(name.startswith("out/data/") for name in prompts_in)


def test_a_connection_that_cannot_be_made_names_no_token(desk: Desk) -> None:
    token = TOKENS[0]
    desk.environment |= {
        "CLOUDFLARE_BASE_URL": unreachable_address(), "CLOUDFLARE_API_TOKEN": token, "FLUXBATCH_PATIENCE": "0.002",
    }  # fmt: skip
    manifest = desk.manifest([{"prompt": PROMPT}])
    assert_silent(desk, token, desk.run(manifest).ended(5), desk.command("doctor", "--out", str(desk.out)))


def test_the_traceback_of_a_bug_names_no_token_and_no_prompt(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(*given: object) -> None:
        raise RuntimeError("a bug of ours")

    token = TOKENS[2]
    desk.simulator.change(token=token)
    desk.environment["CLOUDFLARE_API_TOKEN"] = token
    monkeypatch.setattr(keep, "inspect", buggy)
    with pytest.raises((RuntimeError, BaseExceptionGroup)) as raised:
        desk.run(desk.manifest([{"prompt": PROMPT}]))
    told = "".join(traceback.format_exception(raised.value))
    assert "a bug of ours" in told
    assert token not in told
    assert PROMPT not in told
    assert_silent(desk, token)


ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
HOSTILE_IDS = ("../../up", "CON", "a/b", "\U0001f600", "\u202egpj", "$(id)", "..", "-rf", "x\x1b[31m")


def test_no_text_from_outside_becomes_a_path(desk: Desk) -> None:
    prompts = [
        {"id": name, "prompt": f"{name} [[fault:{fault}]]"} for name, fault in zip(HOSTILE_IDS, FAULTS, strict=True)
    ]
    bad = [{"id": name, "prompt": name, "width": 5} for name in HOSTILE_IDS]
    said = desk.run(desk.manifest([*rows(2), *prompts, *bad]), "--skip-invalid", "--resend-failed", "0")
    assert said.code in (0, 4)
    strange = [path for path in desk.folder.rglob("*") if not set(path.name) <= ALPHABET]
    assert strange == []
    outside = {path.relative_to(desk.folder).parts[0] for path in desk.folder.rglob("*")}
    assert outside == {"out", "ledger", "prompts.csv"}
    assert {path.name.split("-")[0] for path in desk.out.iterdir()} <= OF_A_DATASET


FAULTS = ("png", "blank", "wrong-size", "cut-picture", "3043", "8007", "no-header", "bad-base64", "gzip")
OF_A_DATASET = {
    "data",
    ".fluxbatch",
    "catalogue.jsonl",
    "failures.parquet",
    "rejected.parquet",
    "report.md",
    "README.md",
    "quarantine",
}


@pytest.mark.parametrize("name", ["\x1b[31mred", "\x9b2J", "\u202egpj", "a\u200bb", "[bold]x", ":bomb:", "a\nb"])
def test_names_from_outside_are_shown_and_do_not_act(desk: Desk, name: str) -> None:
    out = desk.folder / f"out {name}"
    manifest = desk.manifest([*rows(1), {"prompt": "x [[fault:8007]]"}], f"m {name}.csv")
    said = [
        desk.run(manifest, out=out).ended(0),
        desk.command("status", str(out)).ended(0),
        desk.command("status", "--json", str(out)).ended(0),
        desk.command("verify", str(out)).ended(0),
        desk.run(desk.folder / f"none {name}.csv").ended(2),
        desk.run(desk.manifest([{"prompt": "", name: "x"}], f"bad {name}.csv")).ended(2),
    ]
    acting = {"\x1b", "\x9b", "\u202e", "\u200b", "\r"}
    for one in said:
        assert not acting & set(one.all), one.all
    assert not acting & set((out / "report.md").read_text())
    assert not acting & set((out / "README.md").read_text())
    if name == ":bomb:":
        assert name in said[0].err, "a name is shown as it is, without pictures in the place of words"
