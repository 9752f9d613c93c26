"""The token appears nowhere: not in what is said, not in the ledger, not in the dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxbatch.simulator import Simulator
from tests.e2e.e2e_kit import Desk, Said, calm, rows

TOKENS = ("cfut_Canary7cA0pQz19", "canary.of/no=known+shape-42", "CanaryOfFortyBareCharacters0123456789AbC")


def assert_absent(token: str, folder: Path, *said: Said) -> None:
    for one in said:
        assert token not in one.all
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite3" for path in files)
    assert any(path.suffix == ".parquet" for path in files)
    for path in files:
        assert token.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_that_works_is_kept_nowhere(desk: Desk, token: str) -> None:
    with Simulator(calm(token=token), in_thread=True) as simulator:
        desk.simulator = simulator
        manifest = desk.manifest([*rows(2), {"prompt": "x [[fault:3043]]"}, {"prompt": "x [[fault:lost-after]]"}])
        out = str(desk.out)
        assert_absent(
            token,
            desk.folder,
            desk.run(manifest, "--skip-invalid").ended(4),
            desk.plan(manifest),
            desk.command("status", out),
            desk.command("verify", out),
        )


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_that_is_refused_on_the_way_is_kept_nowhere(desk: Desk, token: str) -> None:
    """The pre-flight knows the token; the platform forgets it in the middle of the run."""
    with Simulator(calm(token=token), in_thread=True) as simulator:
        desk.simulator = simulator
        manifest = desk.manifest([*rows(2), {"prompt": "x [[fault:10000]]"}, *rows(2, "after")])
        assert_absent(token, desk.folder, desk.run(manifest, "--max-in-flight", "1").ended(5))
        simulator.change(token="another")
        assert_absent(token, desk.folder, desk.run(manifest).ended(5))


@pytest.mark.parametrize("scheme", ["http", "https", "ftp"])
def test_a_password_in_the_base_url_is_refused_and_not_shown(desk: Desk, scheme: str) -> None:
    desk.environment["CLOUDFLARE_BASE_URL"] = desk.simulator.base_url.replace("http://", f"{scheme}://user:canaryWord@")
    said = desk.run(desk.manifest(rows(1))).ended(2)
    assert "CLOUDFLARE_BASE_URL" in said.err
    assert "canaryWord" not in said.all


def test_a_password_in_the_ledgers_address_is_not_shown(desk: Desk) -> None:
    desk.environment["FLUXBATCH_LEDGER"] = "postgresql://user:canaryPassword@127.0.0.1:1/ledger"
    said = desk.run(desk.manifest(rows(1)))
    assert said.code in (2, 5)
    assert "canaryPassword" not in said.all
