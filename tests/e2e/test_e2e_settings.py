"""Options, then the environment, then a `.env`."""

from __future__ import annotations

from tests.e2e.e2e_kit import Desk, rows, table


def _silent(desk: Desk) -> str:
    path = desk.folder / "silent.csv"
    path.write_text("prompt\na fox\n")
    return str(path)


def test_an_option_wins_over_the_environment_and_the_environment_over_the_file(desk: Desk) -> None:
    (desk.folder / ".env").write_text("FLUXBATCH_STEPS=3\nFLUXBATCH_WIDTH=256\nFLUXBATCH_HEIGHT=256\n")
    desk.environment["FLUXBATCH_WIDTH"] = "272"
    options = ("--out", str(desk.out), "--budget", "1", "--width", "288")
    desk.command("run", _silent(desk), *options).ended(0)
    made = table(desk.out)
    assert (made["width"].to_pylist(), made["height"].to_pylist(), made["steps"].to_pylist()) == ([288], [256], [3])
    del desk.environment["FLUXBATCH_WIDTH"]
    desk.environment["FLUXBATCH_WIDTH"] = "304"
    desk.command("run", _silent(desk), *options[:4]).ended(0)
    assert sorted(table(desk.out)["width"].to_pylist()) == [288, 304]


def test_credentials_and_address_come_from_the_file(desk: Desk) -> None:
    s = desk.simulator
    (desk.folder / ".env").write_text(
        f'# comment\nCLOUDFLARE_ACCOUNT_ID={s.account}\nexport CLOUDFLARE_API_TOKEN="{s.token}"\n'
        f"CLOUDFLARE_BASE_URL={s.base_url}\nSOMETHING_ELSE=1\n"
    )
    desk.without = ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_BASE_URL")
    assert desk.run(desk.manifest(rows(1))).ended(0).json["made"] == 1


def test_the_environment_wins_over_a_file_with_another_token(desk: Desk) -> None:
    (desk.folder / ".env").write_text("CLOUDFLARE_API_TOKEN=old\n")
    assert desk.run(desk.manifest(rows(1))).ended(0).json["made"] == 1


def test_names_of_other_programs_are_not_taken(desk: Desk) -> None:
    desk.environment |= {
        "API_TOKEN": "x",
        "BASE_URL": "http://127.0.0.1:1",
        "ACCOUNT_ID": "y",
        "MODEL": "z",
        "STEPS": "0",
    }
    assert desk.run(desk.manifest(rows(1))).ended(0).json["made"] == 1


def test_a_setting_of_the_environment_that_cannot_be_used_is_named(desk: Desk) -> None:
    desk.environment["FLUXBATCH_MAX_IN_FLIGHT"] = "many"
    said = desk.run(desk.manifest(rows(1))).ended(2)
    assert "max_in_flight" in said.err
    assert "many" in said.err


def test_a_ledger_of_its_own_is_used_by_every_command(desk: Desk) -> None:
    other = f"sqlite:///{desk.folder}/other.sqlite3"
    desk.run(desk.manifest(rows(1)), "--ledger", other).ended(0)
    assert not desk.ledger.exists()
    assert desk.command("status", str(desk.out), "--ledger", other, "--json").json["spent_neurons"] == "37.5"
    desk.command("verify", str(desk.out), "--ledger", other).ended(0)


def test_the_rate_is_kept(desk: Desk) -> None:
    """600 a minute: twelve requests lie eleven tenths of a second apart, and the first may be late by one of them: it
    waits for its connection. (The distance itself is held in virtual time, in tests/dispatch/test_pace.py.)"""
    desk.run(desk.manifest(rows(12)), "--rate", "600").ended(0)
    arrivals = desk.simulator.stats()["arrivals_s"]
    assert arrivals[-1] - arrivals[0] >= 1.0
    assert len(arrivals) == 12
