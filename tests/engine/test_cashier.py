"""What a client can choose, the sessions it chooses in, and what it may hand in."""

import asyncio
import base64
from dataclasses import replace
from typing import Any

import pytest

from paycore.channel import (
    AboutPayment,
    ChannelRefund,
    ChannelVerb,
    Confirmed,
    Forged,
    Malformed,
    Notice,
    Paid,
    Price,
    RawNotice,
    Reference,
    Silence,
    StorePurchase,
    WrongApp,
    WrongEnvironment,
)
from paycore.core.ids import Prefix, is_id
from paycore.core.order import AnomalyKind, LineItem, OrderState, Origin, PaymentState
from paycore.core.refusals import Reason
from paycore.engine.cashier import old_sdk
from paycore.engine.host import CRASHES
from paycore.engine.keyring import Keyring
from paycore.engine.sessions import LIFETIME, Tokens
from paycore.store import App, Store, VersionState
from paycore.testing.wires import ScriptedCarrier
from tests.engine.channels import ACK, METHODS, ScriptedChannel, paid, raises, says, signs
from tests.engine.world import KEY, SCRIPTED, World, reason_of, refused, sandbox, scripted

SECOND = 1_000_000
OTHER = "ap" + "0" * 25 + "2"


async def reasons(world: World, client: dict[str, Any] | None = None, **order: Any) -> dict[str, str | None]:
    """Why each method cannot be chosen; None for those that can."""
    found = await world.engine.options(await world.order(**order), client or {})
    return {one.method: one.reason.code if one.reason else None for one in found}


# ---------------------------------------------------------------------------------------------- options


async def test_what_can_be_chosen_comes_first_and_one_is_recommended(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    account_id = await world.account()
    found = await world.engine.options(await world.order(), {"face": "pc"})
    assert [one.method for one in found if one.is_available] == [one.method for one in found[:3]]
    assert found[0].method == "qr", "what suits the face best"
    assert [one.is_recommended for one in found] == [True, False, False, False]
    assert {one.account_id for one in found} == {account_id}
    jsapi = next(one for one in found if one.method == "jsapi")
    assert (jsapi.required_inputs, jsapi.quote.amount_minor, jsapi.title.zh) == (("openid",), 10_000, "公众号")


@pytest.mark.parametrize(
    ("client", "order", "method", "reason"),
    [
        ({}, {}, "app", None),
        ({"face": "ios"}, {}, "app", None),
        ({"face": "h5"}, {}, "app", "FACE_NOT_SUITED"),
        ({"face": "toaster"}, {}, "app", None),
        ({"installed_apps": []}, {}, "app", None),
        ({"installed_apps": ["wallet"]}, {}, "app", None),
        ({"installed_apps": ["other"]}, {}, "app", "APP_NOT_INSTALLED"),
        ({"sdk_versions": {"wallet": "2.9.9"}}, {}, "app", "SDK_TOO_OLD"),
        ({}, {"amount_minor": 99}, "app", "AMOUNT_TOO_SMALL"),
        ({}, {"amount_minor": 100}, "app", None),
        ({}, {"amount_minor": 1_000_000}, "qr", None),
        ({}, {"amount_minor": 1_000_001}, "qr", "AMOUNT_TOO_LARGE"),
        ({}, {"currency": "JPY"}, "qr", None),
        ({}, {"currency": "JPY"}, "app", "CURRENCY_NOT_TAKEN"),
    ],
)
async def test_each_method_says_why_it_cannot_be_chosen(
    store: Store, client: dict[str, Any], order: dict[str, Any], method: str, reason: str | None
) -> None:
    world = scripted(store, ScriptedChannel())
    await world.account()
    assert (await reasons(world, client, **order))[method] == reason


async def test_time_accounts_and_plugins_count_too(store: Store) -> None:
    world = scripted(store, ScriptedChannel(prepare_=raises(KeyError())))
    assert await reasons(world) == {}, "without an account there is nothing to choose"
    account_id = await world.account()
    order = await world.order()
    world.clock.set(order.expires_at - 59 * SECOND)
    assert {one.reason.code for one in await world.engine.options(order, {}) if one.reason} == {"TOO_LITTLE_TIME"}
    world.clock.set(order.expires_at)
    assert {one.reason.code for one in await world.engine.options(order, {}) if one.reason} == {"ORDER_NOT_PAYABLE"}
    await world.engine.accounts.set_version_state(account_id, 1, VersionState.VERIFY_ONLY)
    assert set((await reasons(world)).values()) == {"ACCOUNT_UNUSABLE"}
    await world.engine.accounts.set_version_state(account_id, 1, VersionState.ACTIVE)
    await world.pay(await world.order())
    degraded = await world.engine.options(await world.order(), {})
    assert all(one.is_degraded for one in degraded if one.is_available)
    for _ in range(CRASHES - 1):
        await world.pay(await world.order())
    assert set((await reasons(world)).values()) == {"CHANNEL_RESTING"}


async def test_an_account_that_cannot_be_opened_is_shown_as_unusable(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    account_id = await world.account()
    order = await world.order()
    world.engine.accounts._keyring = Keyring(b"x" * 32)  # a server with another master key
    world.engine.accounts._known.clear()
    assert set((await reasons(world)).values()) == {"ACCOUNT_UNUSABLE"}
    for named in ("", account_id):
        refusal = await refused(world.pay(order, account_id=named))
        assert (refusal.reason, refusal.details["why"]) == (Reason.METHOD_UNAVAILABLE, "ACCOUNT_UNUSABLE")


async def test_every_reason_has_words_in_both_languages(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    await world.account()
    for option in await world.engine.options(await world.order(amount_minor=1), {"face": "h5"}):
        if option.reason is not None:
            assert option.reason.words.zh
            assert option.reason.words.en


async def test_another_apps_accounts_offer_nothing(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    world.put_app(App(OTHER, "other", world.clock.now()))
    await world.account(app_id=OTHER)
    assert await reasons(world) == {}


async def test_a_second_account_takes_over_where_the_first_takes_no_payments(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    first = await world.account()
    world.clock.advance(1)
    second = await world.account(settings={"merchant": "M2", "key": "k"})
    await world.engine.accounts.set_version_state(first, 1, VersionState.DRAINING)
    found = await world.engine.options(await world.order(), {})
    assert {one.account_id for one in found} == {second}


# ---------------------------------------------------------------------------------------------- sessions


async def test_a_session_is_opened_by_its_token_and_by_nothing_else(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    order = await world.order()
    session, token, _ = await world.engine.create_session(world.app_id, order.order_id, {"face": "pc"}, world.request())
    assert is_id(session.session_id, Prefix.SESSION)
    assert session.expires_at == min(order.expires_at, world.clock.now() + LIFETIME)
    found = await world.engine.verify_session_token(token)
    assert (found.session_id, found.order_id, found.client) == (session.session_id, order.order_id, {"face": "pc"})
    other = Tokens(Keyring(b"x" * 32)).token(session.session_id)
    wrong = [
        "",
        session.session_id,
        token[:-1],
        token + "A",
        token + "\n",
        " " + token,
        token.swapcase(),
        other,
        token.replace(session.session_id, "cs" + "0" * 26),
        token[:28] + base64.b64encode(base64.urlsafe_b64decode(token[28:] + "=")).decode(),
        "ä" * 71,
        "\ud800" * 71,
        "\0" * 71,
    ]
    for bad in wrong:
        if bad == token:
            continue
        assert await reason_of(world.engine.verify_session_token(bad)) is Reason.SESSION_INVALID, bad


async def test_a_session_ends_with_its_time_and_never_after_its_order(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    order = await world.order(expires_at=world.clock.now() + 600 * SECOND)
    short, token, _ = await world.engine.create_session(
        world.app_id, order.order_id, {}, world.request(), lifetime_seconds=60
    )
    long, _, _ = await world.engine.create_session(
        world.app_id, order.order_id, {}, world.request(), lifetime_seconds=86_400
    )
    assert short.expires_at == world.clock.now() + 60 * SECOND
    assert long.expires_at == order.expires_at
    world.clock.set(short.expires_at - 1)
    assert (await world.engine.verify_session_token(token)).session_id == short.session_id
    world.clock.set(short.expires_at)
    assert await reason_of(world.engine.verify_session_token(token)) is Reason.SESSION_EXPIRED


async def test_a_revoked_session_is_over(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    order = await world.order()
    session, token, _ = await world.engine.create_session(world.app_id, order.order_id, {}, world.request())
    with store.write() as unit:
        unit.put_session(replace(session, revoked_at=world.clock.now()))
    assert await reason_of(world.engine.verify_session_token(token)) is Reason.SESSION_EXPIRED


async def test_the_same_request_gives_the_same_session_and_the_same_token(each_store: Store) -> None:
    world = scripted(each_store, ScriptedChannel())
    order = await world.order()
    request = world.request("CreateCashierSession", content=b'{"order_id":"o"}')
    opened = await asyncio.gather(
        *(world.engine.create_session(world.app_id, order.order_id, {}, request) for _ in range(20))
    )
    assert len({(session.session_id, token) for session, token, _ in opened}) == 1
    other = replace(request, canonical=b'{"order_id":"p"}')
    refusal = await refused(world.engine.create_session(world.app_id, order.order_id, {}, other))
    assert (refusal.reason, refusal.fields) == (Reason.IDEMPOTENCY_CONFLICT, ("order_id",))


async def test_a_session_is_for_an_order_that_can_be_paid(store: Store) -> None:
    world = scripted(store, ScriptedChannel(prepare_=paid))
    await world.account()
    order = await world.order()
    request = world.request()
    session, token, _ = await world.engine.create_session(world.app_id, order.order_id, {}, request)
    await world.pay(order, method="code", inputs={"auth_code": "1" * 18})
    again = await world.engine.create_session(world.app_id, order.order_id, {}, request)
    assert again[0].session_id == session.session_id, "a replay is answered"
    assert again[1] == token
    fresh = world.engine.create_session(world.app_id, order.order_id, {}, world.request())
    assert await reason_of(fresh) is Reason.ORDER_NOT_PAYABLE


async def test_another_apps_session_and_order_are_not_there(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    world.put_app(App(OTHER, "other", world.clock.now()))
    order = await world.order()
    session, _, _ = await world.engine.create_session(world.app_id, order.order_id, {}, world.request())
    assert await reason_of(world.engine.get_session(OTHER, session.session_id)) is Reason.SESSION_NOT_FOUND
    request = world.request(app_id=OTHER)
    foreign = world.engine.create_session(OTHER, order.order_id, {}, request)
    assert await reason_of(foreign) is Reason.ORDER_NOT_FOUND


def test_tokens_outlive_a_rotation_of_the_master_key() -> None:
    session_id = "cs" + "0" * 26
    old = Tokens(Keyring(KEY)).token(session_id)
    rotated = Tokens(Keyring(b"n" * 32, KEY))
    assert rotated.session_id(old) == session_id
    assert rotated.session_id(rotated.token(session_id)) == session_id
    assert rotated.token(session_id) != old
    assert Tokens(Keyring(b"n" * 32)).session_id(old) is None


# ---------------------------------------------------------------------------------------------- what the device says


async def test_a_devices_word_changes_nothing_and_makes_us_ask(store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(store, channel)
    await world.account()
    order = await world.order()
    payment = await world.paid(order)
    told = await world.engine.report_client(
        world.app_id, payment.payment_id, "success_claimed", raw_code="9000", raw_text="<b>paid</b>"
    )
    assert (told.order.state, channel.verbs()) == (OrderState.PENDING, ["prepare", "query"])
    assert any(line.startswith("CLIENT") and "9000" in line for line in world.evidence(order))
    channel.query_ = paid
    world.clock.advance(0.5)
    told = await world.engine.report_client(world.app_id, payment.payment_id, "success_claimed")
    assert told.order.state is OrderState.PAID, "what the channel says, not what the device says"


async def test_a_device_reports_on_its_own_order_only(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    world.put_app(App(OTHER, "other", world.clock.now()))
    await world.account()
    order, other = await world.order(), await world.order()
    payment = await world.paid(order)
    report = world.engine.report_client
    assert await reason_of(report(OTHER, payment.payment_id, "cancelled")) is Reason.PAYMENT_NOT_FOUND
    elsewhere = report(world.app_id, payment.payment_id, "cancelled", order_id=other.order_id)
    assert await reason_of(elsewhere) is Reason.PAYMENT_NOT_FOUND
    assert await reason_of(report(world.app_id, "py" + "0" * 26, "cancelled")) is Reason.PAYMENT_NOT_FOUND


# ---------------------------------------------------------------------------------------------- evidence


STORE_METHOD = replace(METHODS[0], name="store", scene="store", step_kinds=("store_purchase",), price=Price.STORE)
ITEM = (LineItem("gold.100", "Gold", 1, 10_000),)


async def at_the_store(store: Store, channel: ScriptedChannel, **kind: Any) -> tuple[World, Any, Any]:
    channel.prepare_ = signs
    world = scripted(store, channel, methods=(STORE_METHOD,), **kind)
    await world.account()
    order = await world.order(items=ITEM)
    return world, order, await world.paid(order, method="store")


def proves(payment: Any, **purchase: Any) -> Any:
    bought = StorePurchase("gold.100", 1, payment.token)
    money = Paid(9_900, "CNY", "M1", purchase=replace(bought, **purchase))
    return says(Confirmed((AboutPayment(money, payment_id=payment.payment_id),), may_finish=True), asks=0)


async def test_evidence_pays_and_the_client_may_finish(store: Store) -> None:
    channel = ScriptedChannel()
    world, _, payment = await at_the_store(store, channel)
    channel.confirm_ = proves(payment)
    told, may_finish = await world.engine.confirm(
        world.app_id, "scripted", "jws", payment_id=payment.payment_id, request=world.request()
    )
    assert (told.order.state, told.subject_id, may_finish) == (OrderState.PAID, payment.payment_id, True)
    assert told.order.payments[0].captured_minor == 9_900
    ask = channel.asked[-1][1]
    assert (ask.evidence, ask.payment.payment_id, ask.payment.token) == ("jws", payment.payment_id, payment.token)
    again, may_finish = await world.engine.confirm(world.app_id, "scripted", "jws")
    assert (again.order.version, may_finish) == (told.order.version, True), "named by the evidence, told twice"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (raises(Forged("no")), Reason.EVIDENCE_UNTRUSTED),
        (raises(Malformed("two parts")), Reason.EVIDENCE_MALFORMED),
        (raises(Forged("no"), asks=1), Reason.EVIDENCE_UNTRUSTED),
        (raises(WrongApp("another's")), Reason.RECEIPT_WRONG_APP),
        (raises(WrongEnvironment("a test")), Reason.RECEIPT_WRONG_ENV),
        (raises(KeyError("canary")), Reason.CONFLICT_RETRY),
        (says("yes", asks=0), Reason.CONFLICT_RETRY),
        (says(Confirmed(()), asks=0), Reason.EVIDENCE_MISMATCH),
        (
            says(Confirmed((AboutPayment(Paid(1, "CNY", "M1"), payment_id="py" + "0" * 26),)), asks=0),
            Reason.EVIDENCE_MISMATCH,
        ),
    ],
    ids=range(9),
)
async def test_evidence_that_proves_nothing_is_refused(store: Store, script: Any, reason: Reason) -> None:
    channel = ScriptedChannel()
    world, order, payment = await at_the_store(store, channel)
    channel.confirm_ = script
    confirm = world.engine.confirm(world.app_id, "scripted", "jws", payment_id=payment.payment_id)
    assert await reason_of(confirm) is reason
    assert (await world.stands(order)).state is OrderState.PENDING


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"product_id": "gold.1"}, Reason.EVIDENCE_MISMATCH),
        ({"quantity": 2}, Reason.EVIDENCE_MISMATCH),
        ({"token": "another"}, Reason.RECEIPT_WRONG_ACCOUNT),
    ],
)
async def test_a_purchase_of_something_else_is_refused(store: Store, wrong: dict[str, Any], reason: Reason) -> None:
    channel = ScriptedChannel()
    world, order, payment = await at_the_store(store, channel)
    channel.confirm_ = proves(payment, **wrong)
    confirm = world.engine.confirm(world.app_id, "scripted", "jws", payment_id=payment.payment_id)
    assert await reason_of(confirm) is reason
    assert (await world.stands(order)).payments[0].state is PaymentState.PENDING


async def test_evidence_for_another_order_pays_that_order_and_is_refused_here(store: Store) -> None:
    channel = ScriptedChannel()
    world, first, payment = await at_the_store(store, channel)
    second = await world.order(items=ITEM)
    other = await world.paid(second, method="store")
    channel.confirm_ = proves(payment)
    for reason in (Reason.RECEIPT_WRONG_ACCOUNT, Reason.EVIDENCE_USED):  # the second time it has paid the other order
        confirm = world.engine.confirm(world.app_id, "scripted", "jws", payment_id=other.payment_id)
        assert await reason_of(confirm) is reason
    assert (await world.stands(first)).state is OrderState.PAID
    assert (await world.stands(second)).state is OrderState.PENDING


async def test_evidence_is_taken_for_ones_own_payments_only(store: Store) -> None:
    channel = ScriptedChannel()
    world, order, payment = await at_the_store(store, channel)
    world.put_app(App(OTHER, "other", world.clock.now()))
    await world.account(app_id=OTHER)
    channel.confirm_ = proves(payment)
    confirm = world.engine.confirm
    named = confirm(OTHER, "scripted", "jws", payment_id=payment.payment_id)
    assert await reason_of(named) is Reason.PAYMENT_NOT_FOUND
    assert await reason_of(confirm(OTHER, "scripted", "jws")) is Reason.EVIDENCE_MISMATCH
    assert (await world.stands(order)).state is OrderState.PENDING, "their keys do not speak about our money"
    assert await reason_of(confirm(world.app_id, "alipay", "jws")) is Reason.METHOD_UNKNOWN
    nobody = confirm(world.app_id, "scripted", "jws", account_id="ac" + "0" * 26)
    assert await reason_of(nobody) is Reason.ACCOUNT_NOT_FOUND


@pytest.mark.parametrize(
    ("doubts", "reason"),
    [
        ((Forged("no"), WrongEnvironment("a test")), Reason.RECEIPT_WRONG_ENV),
        ((WrongApp("another's"), WrongEnvironment("a test")), Reason.RECEIPT_WRONG_ENV),
        ((WrongApp("another's"), Forged("no")), Reason.RECEIPT_WRONG_APP),
        ((Malformed("two parts"), Forged("no")), Reason.EVIDENCE_UNTRUSTED),
    ],
    ids=range(4),
)
async def test_the_account_that_got_furthest_says_why(
    store: Store, doubts: tuple[Forged, Forged], reason: Reason
) -> None:
    """One app, two accounts at the store: a stranger to the one may be the other's, from its test world."""
    channel, told = ScriptedChannel(), iter(doubts)
    channel.confirm_ = lambda ask: raises(next(told))(ask)
    world, _, _ = await at_the_store(store, channel)
    await world.account(settings={**SCRIPTED, "merchant": "M2"})
    assert await reason_of(world.engine.confirm(world.app_id, "scripted", "jws")) is reason


async def test_a_channel_that_takes_no_evidence_says_so(store: Store) -> None:
    world = scripted(store, ScriptedChannel(), verbs=frozenset(ChannelVerb) - {ChannelVerb.CONFIRM})
    await world.account()
    assert await reason_of(world.engine.confirm(world.app_id, "scripted", "jws")) is Reason.METHOD_UNAVAILABLE


async def test_a_store_that_cannot_be_asked_is_to_be_asked_again(store: Store) -> None:
    channel = ScriptedChannel(confirm_=says(Confirmed(()), asks=1))
    world = scripted(store, channel, ScriptedCarrier([Silence("lost")]))
    await world.account()
    refusal = await refused(world.engine.confirm(world.app_id, "scripted", "jws"))
    assert refusal.reason is Reason.CONFLICT_RETRY
    assert refusal.retry_after_seconds


async def test_the_sandboxs_store_is_confirmed_by_its_signature(store: Store) -> None:
    box = await sandbox(store)
    world = box.world
    order = await world.order(items=ITEM)
    payment = await world.paid(order, "sandbox", "store")
    receipt = box.simulator.buy("gold.100", payment.token, world.clock.now(), amount_minor=9_900)
    forged = world.engine.confirm(world.app_id, "sandbox", receipt[:-4] + "AAAA", payment_id=payment.payment_id)
    assert await reason_of(forged) is Reason.EVIDENCE_UNTRUSTED
    told, may_finish = await world.engine.confirm(world.app_id, "sandbox", receipt, payment_id=payment.payment_id)
    assert (told.order.state, may_finish) == (OrderState.PAID, True)
    second = await world.order(items=ITEM)
    other = await world.paid(second, "sandbox", "store")
    reused = world.engine.confirm(world.app_id, "sandbox", receipt, payment_id=other.payment_id)
    assert await reason_of(reused) is Reason.EVIDENCE_USED
    assert not [one for one in (await world.stands(order)).anomalies if one.kind is AnomalyKind.CONFLICTING_AMOUNT]


async def test_a_page_opens_once_by_its_link(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    order = await world.order()
    request = world.request("CreateCashierSession")
    session, token, _ = await world.engine.create_session(world.app_id, order.order_id, {"face": "pc"}, request)
    base, code = world.engine.page_url(session).split("?code=")
    assert base == f"https://pay.example/pay/{session.session_id}"
    assert code not in token
    assert await world.engine.sessions.open_page(session.session_id, code) == (session, token)
    again = world.engine.sessions.open_page(session.session_id, code)
    assert await reason_of(again) is Reason.SESSION_INVALID
    _, other = world.engine.page_url(session).split("?code=")
    assert (await world.engine.sessions.open_page(session.session_id, other))[0] == session


async def test_a_link_that_was_changed_or_belongs_to_another_session_opens_nothing(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    order = await world.order()
    made = [
        (await world.engine.create_session(world.app_id, order.order_id, {}, world.request("Session")))[0]
        for _ in range(2)
    ]
    code = world.engine.page_url(made[0]).split("?code=")[1]
    wrong = [("", made[0]), (code[:-1], made[0]), (code + "A", made[0]), (code[1:] + "0", made[0]), (code, made[1])]
    for spoilt, session in wrong:
        opened = world.engine.sessions.open_page(session.session_id, spoilt)
        assert await reason_of(opened) is Reason.SESSION_INVALID, spoilt
    world.clock.advance(31 * 60)
    late = world.engine.sessions.open_page(made[0].session_id, code)
    assert await reason_of(late) is Reason.SESSION_EXPIRED


async def test_what_a_client_brings_and_nobody_knows_is_kept_and_refused(store: Store) -> None:
    channel = ScriptedChannel()
    world, order, _ = await at_the_store(store, channel)
    unknown = AboutPayment(Paid(9_900, "CNY", "M1"), reference=Reference("token", "nobody's"))
    channel.confirm_ = says(Confirmed((unknown,), may_finish=True), asks=0)
    for _ in range(2):
        assert await reason_of(world.engine.confirm(world.app_id, "scripted", "jws")) is Reason.EVIDENCE_MISMATCH
    with world.store.read() as unit:
        [kept] = [one for one in unit.list_anomalies(None) if one.order_id is None]
    assert (kept.anomaly.kind, kept.anomaly.amount_minor) == (AnomalyKind.ORPHAN_NOTICE, 9_900)
    assert (await world.stands(order)).state is OrderState.PENDING


async def test_a_purchase_that_was_given_back_is_recorded_and_refused(store: Store) -> None:
    channel = ScriptedChannel()
    world, order, payment = await at_the_store(store, channel)
    bought = StorePurchase("gold.100", 1, payment.token)
    money = Paid(9_900, "CNY", "M1", purchase=bought, refunds=(ChannelRefund(9_900, "T1"),))
    channel.confirm_ = says(Confirmed((AboutPayment(money, payment_id=payment.payment_id),), may_finish=True), asks=0)
    confirm = world.engine.confirm(world.app_id, "scripted", "jws", payment_id=payment.payment_id)
    assert await reason_of(confirm) is Reason.RECEIPT_REVOKED
    after = await world.stands(order)
    assert (after.state, [one.amount_minor for one in after.refunds]) == (OrderState.PENDING, [9_900])


async def test_what_the_channel_takes_by_itself_is_an_order_of_its_own(store: Store) -> None:
    channel = ScriptedChannel()
    world, order, payment = await at_the_store(store, channel)
    bought = StorePurchase("gold.100", 1, payment.token)
    first = Paid(9_900, "CNY", "M1", purchase=bought, references=(Reference("tx", "1"),))
    channel.confirm_ = says(Confirmed((AboutPayment(first, payment_id=payment.payment_id),)), asks=0)
    await world.engine.confirm(world.app_id, "scripted", "jws", payment_id=payment.payment_id)
    version = (await world.stands(order)).version
    again = replace(first, amount_minor=5_000, references=(Reference("tx", "2"),))
    about = AboutPayment(again, reference=Reference("tx", "2"), renews=Reference("tx", "1"))
    channel.read_ = lambda notice, now: Notice((about,), ACK)
    for _ in range(2):
        reply = await world.engine.deliver_notice(payment.account_id, RawNotice("POST", "/", {}, b"renewed"))
        assert reply == ACK
    with world.store.read() as unit:
        [renewed] = [one for one in unit.list_orders(world.app_id, limit=10) if one.order_id != order.order_id]
    assert (renewed.origin, renewed.state, renewed.amount_minor) == (Origin.CHANNEL, OrderState.PAID, 5_000)
    assert (await world.stands(order)).version == version, "the first purchase is not told again"
    unheard = replace(again, references=(Reference("tx", "10"),))
    stranger = AboutPayment(unheard, reference=Reference("tx", "10"), renews=Reference("tx", "9"))
    channel.read_ = lambda notice, now: Notice((stranger,), ACK)
    await world.engine.deliver_notice(payment.account_id, RawNotice("POST", "/", {}, b"stranger"))
    with world.store.read() as unit:
        assert len(unit.list_orders(world.app_id, limit=10)) == 2, "what renews nothing of ours is kept as an anomaly"
        assert [one.anomaly.kind for one in unit.list_anomalies(None)] == [AnomalyKind.ORPHAN_NOTICE]


@pytest.mark.parametrize(
    ("told", "is_old"),
    [
        ("2.9", True),
        ("2.9.99-beta", True),
        ("v2.9.1", True),
        ("2", True),
        ("0", False),
        ("2.10", False),
        ("2.10.0", False),
        ("2.10-beta", False),
        ("v3", False),
        ("15.8.40.1", False),
        ("", False),
        ("unknown", False),
        ("٢.١", False),
    ],
)
def test_an_sdk_is_too_old_only_where_that_is_known(told: str, is_old: bool) -> None:
    method = replace(METHODS[0], least_sdks={"wallet": "2.10"})
    assert old_sdk({"sdk_versions": {"wallet": told, "another": "0.1"}}, method) == ("wallet" if is_old else "")
    assert old_sdk({"sdk_versions": {"another": "0.1"}}, method) == old_sdk({}, method) == ""
