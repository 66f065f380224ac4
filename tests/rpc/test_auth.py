"""Who is let in: a row for each way not to be, the cache, and certificates bound to apps."""

from __future__ import annotations

import asyncio

import pytest

from paycore.core.refusals import Reason, Refused
from paycore.rpc.auth import Authenticator, Certificate, Credentials, Principal, Proof, Shown
from paycore.rpc.policy import BUSINESS_SCOPES, POLICIES, Policy, Scope
from tests.rpc.small import (
    APP,
    KEY,
    ORDER,
    OTHER_APP,
    OTHER_KEY,
    READER_KEY,
    SESSION,
    SUSPENDED_KEY,
    TOKEN,
    Clock,
    People,
    key_proof,
    people,
)

READ = Policy(Scope.ORDERS_READ)
WRITE = Policy(Scope.ORDERS_WRITE)
CASHIER = Policy(Scope.PAYMENTS_WRITE, takes_session=True)


class Tick:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def door(
    directory: People | None = None, clock: Clock | None = None, tick: Tick | None = None, fresh: float = 3.0
) -> Authenticator:
    return Authenticator(
        directory or people(), now=(clock or Clock()).now, monotonic=tick or Tick(), fresh_seconds=fresh
    )


def shown(*headers: str, certificate: Certificate | None = None) -> Credentials:
    return Credentials(headers, "192.0.2.1", certificate)


REFUSED: list[tuple[str, Credentials, Policy, Reason]] = [
    ("nothing", shown(), READ, Reason.CREDENTIALS_MISSING),
    ("another scheme", shown("Basic cGs6"), READ, Reason.CREDENTIALS_INVALID),
    ("no token", shown("Bearer "), READ, Reason.CREDENTIALS_INVALID),
    ("two spaces", shown(f"Bearer  {KEY}"), READ, Reason.CREDENTIALS_INVALID),
    ("something after the token", shown(f"Bearer {KEY} x"), READ, Reason.CREDENTIALS_INVALID),
    ("a token that is no ASCII", shown("Bearer pk_ключ"), READ, Reason.CREDENTIALS_INVALID),
    ("a huge token", shown("Bearer pk_" + "k" * 5000), READ, Reason.CREDENTIALS_INVALID),
    ("a key of nobody", shown("Bearer pk_" + "x" * 43), READ, Reason.CREDENTIALS_INVALID),
    ("a key cut short", shown(f"Bearer {KEY[:-1]}"), READ, Reason.CREDENTIALS_INVALID),
    ("a key with more", shown(f"Bearer {KEY}k"), READ, Reason.CREDENTIALS_INVALID),
    ("a key in another case", shown(f"Bearer {KEY.swapcase()}"), READ, Reason.SESSION_INVALID),
    ("two headers", shown(f"Bearer {KEY}", f"Bearer {KEY}"), READ, Reason.CREDENTIALS_INVALID),
    ("two headers of two apps", shown(f"Bearer {KEY}", f"Bearer {OTHER_KEY}"), READ, Reason.CREDENTIALS_INVALID),
    ("a suspended app", shown(f"Bearer {SUSPENDED_KEY}"), READ, Reason.APP_SUSPENDED),
    ("a key without the scope", shown(f"Bearer {READER_KEY}"), WRITE, Reason.SCOPE_MISSING),
    ("a session's token elsewhere", shown(f"Bearer {TOKEN}"), READ, Reason.SCOPE_MISSING),
    ("a guessed token", shown(f"Bearer {SESSION}.bad"), CASHIER, Reason.SESSION_INVALID),
    ("a token of no session", shown("Bearer cs00000000000000000000000000.good"), CASHIER, Reason.SESSION_INVALID),
]


@pytest.mark.parametrize(
    ("credentials", "policy", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
async def test_who_is_not_let_in(credentials: Credentials, policy: Policy, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        await door().admit(credentials, policy)
    assert refused.value.reason is reason


async def test_all_wrong_keys_are_refused_in_the_same_words() -> None:
    said = set()
    for row in REFUSED:
        if row[3] is Reason.CREDENTIALS_INVALID:
            with pytest.raises(Refused) as refused:
                await door().admit(row[1], row[2])
            said.add((refused.value.text, tuple(refused.value.details.items())))
    assert len(said) == 1


async def test_a_key_lets_its_app_in() -> None:
    assert (await door().admit(shown(f"Bearer {KEY}"), WRITE)).app_id == APP
    assert (await door().admit(shown(f"bearer {OTHER_KEY}"), READ)).app_id == OTHER_APP


async def test_a_token_lets_its_session_in_until_it_expires() -> None:
    clock = Clock()
    entry = door(clock=clock)
    who = await entry.admit(shown(f"Bearer {TOKEN}"), CASHIER)
    assert (who.session_id, who.order_id, who.is_session) == (SESSION, ORDER, True)
    assert await entry.still_holds(who, CASHIER)
    assert who.expires_at is not None
    clock.at = who.expires_at
    with pytest.raises(Refused) as refused:
        await entry.admit(shown(f"Bearer {TOKEN}"), CASHIER)
    assert refused.value.reason is Reason.SESSION_EXPIRED
    assert not await entry.still_holds(who, CASHIER)


async def test_a_key_is_looked_up_once_in_a_while_and_once_by_many() -> None:
    directory, tick = people(), Tick()
    entry = door(directory, tick=tick)
    await asyncio.gather(*(entry.admit(shown(f"Bearer {KEY}"), READ) for _ in range(50)))
    assert directory.looks == 1
    tick.at = 2.9
    await entry.admit(shown(f"Bearer {KEY}"), READ)
    assert directory.looks == 1
    tick.at = 3.1
    await entry.admit(shown(f"Bearer {KEY}"), READ)
    assert directory.looks == 2


async def test_a_revoked_key_is_refused_after_the_cache_or_at_once_when_told() -> None:
    directory, tick = people(), Tick()
    entry = door(directory, tick=tick)
    who = await entry.admit(shown(f"Bearer {KEY}"), READ)
    del directory.known[who.proof.shown, who.proof.text]
    assert await entry.still_holds(who, READ)
    tick.at = 3.1
    assert not await entry.still_holds(who, READ)

    directory.add(who)
    entry.forget()
    assert await entry.still_holds(who, READ)
    directory.add(Principal(APP, who.proof, BUSINESS_SCOPES, is_suspended=True))
    entry.forget()
    assert not await entry.still_holds(who, READ)


async def test_who_was_let_in_of_late_is_known_without_asking() -> None:
    directory, tick = people(), Tick()
    entry = door(directory, tick=tick)
    mine, guess = shown(f"Bearer {KEY}"), shown("Bearer pk_" + "x" * 43)
    assert not entry.has_met(mine)
    await entry.admit(mine, READ)
    with pytest.raises(Refused):
        await entry.admit(guess, READ)
    tick.at = 1000
    looks = directory.looks
    assert entry.has_met(mine)
    assert not entry.has_met(guess)
    assert not entry.has_met(shown())
    assert not entry.has_met(shown(f"Bearer {KEY}", f"Bearer {KEY}"))
    assert entry.has_met(shown(f"Bearer {TOKEN}"))
    assert not entry.has_met(shown(f"Bearer {TOKEN}x"))
    assert directory.looks == looks
    entry.forget()
    assert entry.has_met(mine)


async def test_a_lookup_that_fails_is_asked_again() -> None:
    class Broken(People):
        async def find(self, proof: Proof) -> Principal | None:
            if self.looks == 0:
                self.looks += 1
                raise Refused(Reason.STORE_UNAVAILABLE, "The database does not answer.")
            return await super().find(proof)

    entry = door(Broken(people().known))
    with pytest.raises(Refused):
        await entry.admit(shown(f"Bearer {KEY}"), READ)
    assert (await entry.admit(shown(f"Bearer {KEY}"), READ)).app_id == APP


async def test_a_caller_that_leaves_does_not_spoil_the_lookup_of_another() -> None:
    entry = door()
    leaving = asyncio.create_task(entry.admit(shown(f"Bearer {KEY}"), READ))
    staying = asyncio.create_task(entry.admit(shown(f"Bearer {KEY}"), READ))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).app_id == APP


# ---------------------------------------------------------------------------------------------- certificates

MINE = Certificate("aa" * 32, ("spiffe://shop/app",))
THEIRS = Certificate("bb" * 32, ("spiffe://other/app",))
NOBODYS = Certificate("cc" * 32, ())


def with_certificates(bound: str = "") -> People:
    directory = people()
    directory.add(Principal(APP, Proof(Shown.CERTIFICATE, MINE.sha256), frozenset({Scope.ORDERS_READ})))
    directory.add(Principal(OTHER_APP, Proof(Shown.CERTIFICATE, THEIRS.sha256), frozenset({Scope.ORDERS_READ})))
    directory.add(Principal(APP, key_proof(KEY), BUSINESS_SCOPES, certificate=bound))
    return directory


@pytest.mark.parametrize(
    ("header", "certificate", "bound", "reason"),
    [
        (f"Bearer {KEY}", THEIRS, "", Reason.CREDENTIALS_MISMATCH),
        (f"Bearer {KEY}", THEIRS, MINE.sha256, Reason.CREDENTIALS_MISMATCH),
        (f"Bearer {KEY}", NOBODYS, MINE.sha256, Reason.CREDENTIALS_MISMATCH),
        (f"Bearer {KEY}", None, MINE.sha256, Reason.CREDENTIALS_MISMATCH),
        (None, NOBODYS, "", Reason.CREDENTIALS_INVALID),
        (f"Bearer {KEY}", MINE, "", None),
        (f"Bearer {KEY}", MINE, MINE.sha256, None),
        (f"Bearer {KEY}", MINE, MINE.names[0], None),
        (f"Bearer {KEY}", NOBODYS, "", None),
        (None, MINE, "", None),
    ],
)
async def test_22_a_key_and_a_certificate_belong_to_one_app(
    header: str | None, certificate: Certificate | None, bound: str, reason: Reason | None
) -> None:
    entry = door(with_certificates(bound))
    credentials = shown(*([header] if header else []), certificate=certificate)
    if reason is None:
        assert (await entry.admit(credentials, READ)).app_id == APP
        return
    with pytest.raises(Refused) as refused:
        await entry.admit(credentials, READ)
    assert refused.value.reason is reason


def test_no_business_key_forwards_notices_unless_somebody_says_so() -> None:
    needed = {policy.scope for policy in POLICIES.values()}
    assert needed == set(Scope)
    assert needed - BUSINESS_SCOPES == {Scope.NOTICES_DELIVER}
