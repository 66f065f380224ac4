"""Settings: where each comes from, what is refused, and that no secret of theirs is ever written."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import ValidationError

from paycore.rpc.limits import Allowance
from paycore.settings import LimitSettings, load, unknown_variables

CANARY = "canary-7d1f-s3cr%40et"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("PAYCORE_"):
            monkeypatch.delenv(name)


def test_what_is_given_beats_the_environment_beats_the_file_beats_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "paycore.toml"
    file.write_text(
        'grpc_listen = "127.0.0.1:1"\nhttp_listen = "127.0.0.1:1"\nreflection = true\n[limits]\napp_rate = 1\n'
    )
    monkeypatch.setenv("PAYCORE_CONFIG", str(file))
    monkeypatch.setenv("PAYCORE_HTTP_LISTEN", "127.0.0.1:2")
    monkeypatch.setenv("PAYCORE_GRPC_LISTEN", "127.0.0.1:2")
    monkeypatch.setenv("PAYCORE_LIMITS__APP_BURST", "9")
    settings = load(grpc_listen="127.0.0.1:3")
    assert (settings.grpc_listen, settings.http_listen, settings.reflection) == ("127.0.0.1:3", "127.0.0.1:2", True)
    assert (settings.limits.app_rate, settings.limits.app_burst) == (1, 9)
    assert settings.drain_seconds == 20


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("grcp_listen = 'x'", "grcp_listen"),
        ("[limits]\napp_rat = 1", "app_rat"),
        ("drain_seconds = -1", "drain_seconds"),
        ("tls_certificate = 'c.pem'", "tls_key"),
        ("tls_client_authority = 'c.pem'", "tls_certificate"),
        (f"master_key = '{CANARY}'\nmaster_key_file = 'k'", "not both"),
        (f"log_level = '{CANARY}'", "log_level"),
    ],
)
def test_what_is_wrong_is_named_and_never_repeated(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "paycore.toml"
    file.write_text(text)
    with pytest.raises(ValidationError, match=named) as error:
        load(file)
    assert CANARY not in str(error.value)


def test_a_misspelt_variable_is_named() -> None:
    environment = {
        "PAYCORE_DATABASE_URL": "",
        "PAYCORE_LIMITS__APP_RATE": "",
        "PAYCORE_CONFIG": "",
        "PAYCORE_TARGET": "",
        "PAYCORE_DATABSE_URL": "",
        "PAYCORE_LIMITS__APP_RAT": "",
        "OTHER": "",
    }
    assert unknown_variables(environment) == ["PAYCORE_DATABSE_URL", "PAYCORE_LIMITS__APP_RAT"]


def test_secrets_print_as_dots_and_are_known_to_be_secrets() -> None:
    settings = load(database_url=f"postgresql+psycopg://u:{CANARY}@h/d", master_key=CANARY)
    assert CANARY not in repr(settings)
    assert CANARY not in str(settings.model_dump())
    assert CANARY not in settings.model_dump_json()
    assert set(settings.secrets()) == {CANARY, CANARY.replace("%40", "@")}


def test_the_limits_of_the_settings_are_those_of_the_server() -> None:
    assert LimitSettings().model_dump() == {field.name: field.default for field in fields(Allowance)}
