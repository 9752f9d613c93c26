from __future__ import annotations

from pathlib import Path

import pytest

from fluxbatch.errors import UsageError
from fluxbatch.job import defaults_of
from fluxbatch.settings import DEFAULT_BASE_URL, Settings, load_settings

TOKEN = "cfut_" + "s3cret" * 6


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder, and an environment without anything of ours."""
    import os

    for name in list(os.environ):
        if name.upper().startswith(("FLUXBATCH_", "CLOUDFLARE_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_anything_set_the_published_limits_hold():
    settings = load_settings()
    assert (settings.account_id, settings.api_token, settings.base_url) == (None, None, DEFAULT_BASE_URL)
    assert (settings.model, settings.width, settings.height, settings.steps) == ("flux-2-dev", None, None, None)
    silent = defaults_of(settings)
    assert silent.of(silent.model)[:4] == (1024, 1024, 25, None)
    assert (settings.rate, settings.max_in_flight) == (720, 256)
    assert (settings.resend_failed, settings.resend_lost, settings.resend_refused) == (1, 0, False)
    assert settings.deadline > 240  # the platform ends a request at about 237 s
    assert settings.ledger.startswith("sqlite:///")


def test_there_is_no_budget_to_be_set_by_accident(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLUXBATCH_BUDGET", "1000")
    assert "budget" not in Settings.model_fields
    assert not hasattr(load_settings(), "budget")


def test_options_are_stronger_than_the_environment_and_that_than_a_file(
    monkeypatch: pytest.MonkeyPatch, nothing_is_set: Path
):
    (nothing_is_set / ".env").write_text(
        f"CLOUDFLARE_ACCOUNT_ID={'f' * 32}\nFLUXBATCH_STEPS=10\nFLUXBATCH_WIDTH=256\nFLUXBATCH_HEIGHT=256\n"
    )
    monkeypatch.setenv("FLUXBATCH_WIDTH", "512")
    monkeypatch.setenv("FLUXBATCH_HEIGHT", "512")
    settings = load_settings(height=768, steps=None)
    assert (settings.steps, settings.width, settings.height) == (10, 512, 768)
    assert settings.account_id == "f" * 32


def test_cloudflares_own_names_are_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "a" * 32)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
    monkeypatch.setenv("CLOUDFLARE_BASE_URL", "http://127.0.0.1:8787/client/v4")
    settings = load_settings()
    assert settings.account_id == "a" * 32
    assert settings.api_token is not None
    assert settings.api_token.get_secret_value() == TOKEN
    assert settings.base_url == "http://127.0.0.1:8787/client/v4"


def test_names_that_other_programs_use_are_not_read(monkeypatch: pytest.MonkeyPatch):
    """A stray BASE_URL in somebody's shell must not be sent the token."""
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "a" * 32)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
    for name, value in {"ACCOUNT_ID": "b" * 32, "API_TOKEN": "stray", "BASE_URL": "https://elsewhere.example"}.items():
        monkeypatch.setenv(name, value)
    for name in ("RATE", "STEPS", "LEDGER", "MODEL", "PATIENCE"):
        monkeypatch.setenv(name, "7")
    settings = load_settings()
    assert settings.account_id == "a" * 32
    assert settings.api_token is not None
    assert settings.api_token.get_secret_value() == TOKEN
    assert settings.base_url == DEFAULT_BASE_URL
    assert (settings.rate, settings.steps, settings.model) == (720, None, "flux-2-dev")


def test_the_token_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
    settings = load_settings()
    assert TOKEN not in f"{settings!r} {settings} {settings.model_dump()}"
    assert TOKEN not in settings.model_dump_json()
    monkeypatch.setenv("FLUXBATCH_STEPS", "many")
    with pytest.raises(UsageError) as failure:
        load_settings()
    assert TOKEN not in str(failure.value)


def test_what_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch):
    for name in ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_BASE_URL", "FLUXBATCH_RATE"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert (settings.account_id, settings.api_token) == (None, None)
    assert (settings.base_url, settings.rate) == (DEFAULT_BASE_URL, 720)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate", "-1"),
        ("rate", "inf"),
        ("rate", "nan"),
        ("rate", "fast"),
        ("max_in_flight", "0"),
        ("max_in_flight", "10001"),
        ("max_in_flight", "1.5"),
        ("rows_per_shard", "0"),
        ("resend_failed", "-1"),
        ("resend_lost", "-1"),
        ("patience", "0"),
        ("patience", "inf"),
        ("deadline", "0"),
        ("deadline", "nan"),
        ("skip_invalid", "perhaps"),
        ("on_budget", "dearest-first"),
        ("limit", "0"),
        ("sample", "0"),
        ("sample_seed", "1.5"),
        ("preview", "-1"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name_and_value(name: str, value: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match=rf"{name}: .*\(is '{value}'\)"):
        load_settings(**{name: value})
    monkeypatch.setenv(f"FLUXBATCH_{name.upper()}", value)
    with pytest.raises(UsageError, match=name):
        load_settings()


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(UsageError) as failure:
        load_settings(rate=-1, steps="many", patience=0)
    assert all(name in str(failure.value) for name in ("rate", "steps", "patience"))


def test_settings_do_not_change_under_a_run():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().rate = 1  # type: ignore[misc]


def test_each_setting_has_its_environment_variable(monkeypatch: pytest.MonkeyPatch):
    given = {
        "ledger": "sqlite:////elsewhere/l.sqlite3", "model": "flux-2-dev", "width": 512, "height": 528, "steps": 3,
        "guidance": 2.5, "fit": "cover", "rate": 0.0, "max_in_flight": 7, "rows_per_shard": 9, "skip_invalid": True,
        "resend_failed": 4, "resend_lost": 5, "resend_refused": True, "patience": 1.5, "deadline": 250.0,
        "allow_hosts": ("images.example.com", "*.example.net:8443"), "refetch": True, "embed_provenance": True,
        "on_budget": "spread", "max_price_per_picture": "0.05",
        "limit": 6, "sample": 8, "sample_seed": -2, "preview": 10,
        "models": Path("/elsewhere/models.toml"),
        "run_budget": "2.5", "project": "cats", "free_only": True, "if_running": "wait", "lease": 45.0,
        "report": False,
    }  # fmt: skip
    assert set(given) == set(Settings.model_fields) - {"account_id", "api_token", "base_url"}
    for name, value in given.items():
        monkeypatch.setenv(f"FLUXBATCH_{name.upper()}", ",".join(value) if isinstance(value, tuple) else str(value))
    settings = load_settings()
    assert {name: getattr(settings, name) for name in given} == given
