"""The directory on real databases: what a key, a certificate or a token leads to, and from when on no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from paycore.core.ids import Prefix
from paycore.core.refusals import Reason, Refused
from paycore.engine.keyring import Keyring
from paycore.engine.memory import Memory
from paycore.engine.sessions import Tokens
from paycore.rpc.auth import Authenticator, Certificate, Credentials, Proof, Shown, digest_of
from paycore.rpc.directory import StoredDirectory
from paycore.rpc.policy import BUSINESS_SCOPES, Policy, Scope
from paycore.store import ApiKey, App, AppState, KeyState, Store
from paycore.testing.clock import FakeClock, SeededIds

READ = Policy(Scope.ORDERS_READ)
KEY = "pk_" + "k" * 43
BOTH_KEY = "pk_" + "b" * 43
MINE = Certificate("aa" * 32, ("spiffe://shop/app",))
NAMED = Certificate("bb" * 32, ("spiffe://shop/batch",))
BESIDE = Certificate("cc" * 32)


@dataclass
class Here:
    store: Store
    clock: FakeClock
    entry: Authenticator
    app: App
    tokens: Tokens

    async def refused(self, *headers: str, certificate: Certificate | None = None) -> Reason | None:
        self.entry.forget()
        try:
            await self.entry.admit(Credentials(headers, certificate=certificate), READ)
        except Refused as refused:
            return refused.reason
        return None


@pytest.fixture
async def here(store_url: str) -> AsyncIterator[Here]:
    clock = FakeClock()
    ids = SeededIds(clock)
    store = Store.open(store_url, check_durability=False)
    store.migrate()
    now = clock.now()
    app = App(ids.mint(Prefix.APP), "shop", now, scopes=tuple(BUSINESS_SCOPES), rate_per_second=7)
    scopes = (Scope.ORDERS_READ, Scope.NOTICES_DELIVER)
    with store.write() as unit:
        unit.put_app(app)
        unit.put_key(ApiKey("k1", app.app_id, now, sha256=digest_of(KEY), scopes=scopes, expires_at=now + 1_000_000))
        unit.put_key(ApiKey("k2", app.app_id, now, cert_sha256=MINE.sha256, scopes=scopes))
        unit.put_key(ApiKey("k3", app.app_id, now, cert_name=NAMED.names[0], scopes=scopes))
        unit.put_key(
            ApiKey("k4", app.app_id, now, sha256=digest_of(BOTH_KEY), cert_sha256=BESIDE.sha256, scopes=scopes)
        )
    memory = Memory(store)
    tokens = Tokens(Keyring(b"k" * 32))
    entry = Authenticator(StoredDirectory(memory, tokens, clock), now=clock.now)
    yield Here(store, clock, entry, app, tokens)
    await asyncio.to_thread(memory.close)
    store.close()


async def test_a_key_may_do_what_both_it_and_its_app_may_do(here: Here) -> None:
    who = await here.entry.admit(Credentials((f"Bearer {KEY}",)), READ)
    assert (who.app_id, who.scopes, who.rate_per_second) == (here.app.app_id, frozenset({"orders:read"}), 7)
    assert who.proof == Proof(Shown.KEY, digest_of(KEY))


async def test_a_key_ends_when_it_expires_is_revoked_or_its_app_is_suspended(here: Here) -> None:
    header = f"Bearer {KEY}"
    assert await here.refused(header) is None
    here.clock.advance(1)
    assert await here.refused(header) is Reason.CREDENTIALS_INVALID
    header = f"Bearer {BOTH_KEY}"
    assert await here.refused(header, certificate=BESIDE) is None
    with here.store.write() as unit:
        unit.put_app(replace(here.app, state=AppState.SUSPENDED))
    assert await here.refused(header, certificate=BESIDE) is Reason.APP_SUSPENDED
    with here.store.write() as unit:
        unit.put_app(here.app)
        key = unit.get_key("k4")
        assert key is not None
        unit.put_key(replace(key, state=KeyState.REVOKED, revoked_at=here.clock.now()))
    assert await here.refused(header, certificate=BESIDE) is Reason.CREDENTIALS_INVALID


async def test_a_certificate_alone_lets_its_app_in_unless_it_stands_beside_a_key(here: Here) -> None:
    assert await here.refused(certificate=MINE) is None
    assert await here.refused(certificate=NAMED) is None
    assert await here.refused(certificate=BESIDE) is Reason.CREDENTIALS_MISSING
    assert await here.refused(f"Bearer {BOTH_KEY}", certificate=BESIDE) is None
    assert await here.refused(f"Bearer {BOTH_KEY}", certificate=MINE) is Reason.CREDENTIALS_MISMATCH
    assert await here.refused(f"Bearer {BOTH_KEY}") is Reason.CREDENTIALS_MISMATCH
    assert await here.refused(certificate=Certificate("dd" * 32)) is Reason.CREDENTIALS_INVALID


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1],
        lambda token: token + "A",
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: token.lower(),
        lambda token: token[:28] + "+" + token[29:],
        lambda token: "cs" + token[2:28][::-1] + token[28:],
        lambda _: "cs01KQ0000000000000000000000",
        lambda _: "x",
    ],
)
async def test_70_a_token_that_is_not_exactly_ours_names_no_session(here: Here, change: object) -> None:
    token = here.tokens.token(SeededIds(here.clock).mint(Prefix.SESSION))
    assert callable(change)
    assert await here.refused(f"Bearer {change(token)}") is Reason.SESSION_INVALID
