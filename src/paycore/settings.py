"""What an operator sets: environment variables `PAYCORE_*`, over an optional TOML file, over defaults fit for a laptop.

    PAYCORE_DATABASE_URL=postgresql+psycopg://...   PAYCORE_LIMITS__APP_RATE=200   PAYCORE_CONFIG=/etc/paycore.toml

Secrets print as dots. A misspelt key in the file is refused; a misspelt variable cannot be (other programs may have theirs),
so `paycore doctor` names it.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "PAYCORE_"
NESTED = "__"
OUTSIDE = frozenset({"PAYCORE_CONFIG", "PAYCORE_TARGET", "PAYCORE_TEST_PG_URL"})
"""Variables with our prefix that are not settings: where the file lies, and what clients and tests read."""


class LimitSettings(BaseModel):
    """How much one app, one cashier session, one order and this process may ask for at once. Rates are calls in a second."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    app_rate: float = Field(default=5_000.0, gt=0)
    app_burst: float = Field(default=20_000.0, ge=1)
    session_rate: float = Field(default=10.0, gt=0)
    session_burst: float = Field(default=60.0, ge=1)
    failed_rate: float = Field(default=5.0, gt=0)
    failed_burst: float = Field(default=100.0, ge=1)
    calls_at_once: int = Field(default=4_000, ge=1)
    streams_at_once: int = Field(default=20_000, ge=1)
    streams_of_app: int = Field(default=15_000, ge=1)
    streams_of_session: int = Field(default=10, ge=1)
    streams_of_order: int = Field(default=100, ge=1)


class Settings(BaseSettings):
    """Everything that a server process needs to know and cannot find out."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=NESTED, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    database_url: SecretStr = SecretStr("sqlite:///paycore.db")
    """`sqlite:///file.db` for one process, `postgresql+psycopg://user:password@host/name` for many."""
    database_pool_size: int = Field(default=8, ge=1, le=200)
    check_durability: bool = True
    """Refuse to start on a database that may forget what it acknowledged."""

    grpc_listen: str = "127.0.0.1:50051"
    http_listen: str = "127.0.0.1:8080"
    """`host:port`; port 0 takes any that is free. An empty http_listen serves no HTTP: another edge forwards the notices."""
    public_base_url: str = ""
    """What channels reach http_listen by, such as https://pay.example.com; notices come to it. Empty means http_listen itself."""
    web_origins: tuple[str, ...] = ()
    """Origins of pages that may call the services from a browser, such as https://shop.example.com; `*` lets every page try."""
    share_port: bool = False
    """Let several processes of this machine listen on the same ports."""

    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_authority: Path | None = None
    """PEM files. With a client authority every caller must show a certificate of it."""
    allow_plaintext: bool = False
    """Listen without TLS on more than loopback, because something in front of the server has it."""
    reflection: bool = False

    master_key: SecretStr | None = None
    master_key_file: Path | None = None
    """32 bytes in base64 that seal the channels' secrets. Without either, an SQLite database has its own in
    a file beside it, made at first use; any other database refuses to start."""

    channels: tuple[str, ...] = ()
    """Names of the only channels to load; empty for all that are installed."""
    channels_off: tuple[str, ...] = ()
    """Names of channels not to load."""

    limits: LimitSettings = LimitSettings()
    call_seconds: float = Field(default=30.0, gt=0, le=300)
    stream_seconds: float = Field(default=1_800.0, ge=1)
    slow_seconds: float = Field(default=30.0, gt=0)
    leave_seconds: float = Field(default=0.0, ge=0, le=120)
    """After SIGTERM, how long to go on serving while balancers learn that this process is no longer ready."""
    drain_seconds: float = Field(default=20.0, ge=0, le=600)
    """Then, how long what is at work may take."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        if self.tls_client_authority is not None and self.tls_certificate is None:
            raise ValueError("tls_client_authority needs tls_certificate")
        if self.master_key is not None and self.master_key_file is not None:
            raise ValueError("give master_key or master_key_file, not both")
        return self

    @property
    def development_key_file(self) -> Path | None:
        """Where the master key of a development database lies: beside the SQLite file. None for any other database."""
        url = self.database_url.get_secret_value()
        path = url.removeprefix("sqlite:///").partition("?")[0]
        return Path(f"{path}.key") if url.startswith("sqlite:///") and path not in {"", ":memory:"} else None

    def secrets(self) -> Iterator[str]:
        """Every text in here that no log may show."""
        password = urlsplit(self.database_url.get_secret_value()).password
        if password:
            yield password
            yield unquote(password)
        if self.master_key is not None:
            yield self.master_key.get_secret_value()


def load(file: Path | None = None, **given: Any) -> Settings:
    """The settings as they are now: `given` before the environment before the file before the defaults."""
    named = os.environ.get("PAYCORE_CONFIG")
    path = file or (Path(named) if named else None)
    written = tomllib.loads(path.read_text("utf-8")) if path else {}

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            *sources: PydanticBaseSettingsSource,
            **named: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            init, env = named["init_settings"], named["env_settings"]
            return init, env, InitSettingsSource(settings_cls, init_kwargs=written)

    return Loaded(**given)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like settings of ours and are none; most likely misspelt."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | OUTSIDE
    nested = {f"{PREFIX}LIMITS{NESTED}{name.upper()}" for name in LimitSettings.model_fields}
    ours = {name for name in environment if name.upper().startswith(PREFIX)}
    return sorted(name for name in ours if name.upper() not in known | nested)
