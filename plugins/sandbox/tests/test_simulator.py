"""The channel's own side: books that hold, pages a person can use, a phone that claims things, runs that repeat."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import pytest

from paycore.channel import Forged, Paid, Ready, Reply, Request, Simulator, Waiting
from paycore_bridge import ClientOutcome, Plan, Qr, SdkCall, Target
from paycore_sandbox import SandboxSimulator, signing
from paycore_sandbox.simulator import Fault, NotPayable, Payer, Phone

from .support import BASE, MINUTE, NOW, TOKEN, World


@pytest.fixture
def world() -> World:
    return World()


def plan_json(world: World, method: str, **changes: Any) -> str:
    finding = world.hold(world.channel.prepare(world.payment(method, **changes)))
    assert isinstance(finding, Ready)
    return finding.plan_json


def browse(world: World, method: str, url: str, body: bytes = b"") -> Reply:
    reply = world.simulator.handle(Request(method, url, body=body), world.now)
    assert reply is not None
    return reply


def test_it_is_the_simulator_that_a_host_expects() -> None:
    simulator: Simulator = SandboxSimulator()
    assert set(simulator.settings(BASE)) == {"merchant", "base_url", "private_key", "channel_key"}


def test_with_a_seed_a_run_repeats_and_without_one_keys_are_new() -> None:
    runs = []
    for _ in range(2):
        world = World(SandboxSimulator("seed"))
        world.pay_by_qr()
        runs.append([(notice.key, notice.request) for notice in world.notices()])
    assert runs[0] == runs[1]
    assert SandboxSimulator().settings(BASE) != SandboxSimulator().settings(BASE)


def test_two_merchants_do_not_see_each_others_trades(world: World) -> None:
    from .support import open_channel

    world.pay_by_qr()
    other = open_channel(world.simulator, "OTHER")
    finding = world.hold(other.query(world.payment()))
    assert not isinstance(finding, Paid)


@pytest.mark.parametrize("spoil", [signing.SIGNATURE, signing.TIMESTAMP, signing.NONCE, signing.MERCHANT])
def test_a_call_that_is_not_signed_by_its_merchant_is_refused(world: World, spoil: str) -> None:
    world.hold(world.channel.prepare(world.payment()))
    good = world.sent[-1]
    for value in ("", "x", "1795000001", "OTHER"):
        spoilt = Request(good.method, good.url, dict(good.headers) | {spoil: value}, good.body)
        reply = world.simulator.handle(spoilt, NOW)
        assert reply is not None
        assert (reply.status, reply.body) == (401, b'{"code":"UNAUTHORIZED"}')
    assert [call.name for call in world.simulator.calls] == ["trades"]


def test_a_changed_body_or_path_is_not_what_was_signed(world: World) -> None:
    world.hold(world.channel.prepare(world.payment()))
    good = world.sent[-1]
    for url, body in ((good.url, good.body.replace(b"128.00", b"1.00")), (f"{BASE}/v1/trades/close", good.body)):
        reply = world.simulator.handle(Request("POST", url, good.headers, body), NOW)
        assert reply is not None
        assert reply.status == 401


def test_header_names_may_come_in_any_case(world: World) -> None:
    world.hold(world.channel.prepare(world.payment()))
    good = world.sent[-1]
    shouted = {name.upper(): value for name, value in good.headers.items()}
    reply = world.simulator.handle(Request("POST", good.url, shouted, good.body), NOW)
    assert reply is not None
    assert reply.status == 200


@pytest.mark.parametrize("base", ["https://sandbox.example", "http://127.0.0.1:8901", "https://a.example/deep/gate/"])
def test_it_can_be_mounted_anywhere(base: str) -> None:
    from paycore_sandbox import SandboxChannel

    from .support import account_of, version_of

    world = World()
    version = version_of(world.simulator.settings(base))
    world.channel = SandboxChannel(account_of(version, signing=version))
    plan = Plan.from_json(plan_json(world, "qr"))
    code = plan.steps[0].content
    assert isinstance(code, Qr)
    assert code.content.startswith(f"{base.rstrip('/')}/pay/")
    assert b"Two tickets" in browse(world, "GET", code.content).body
    # a host that strips the prefix it serves the simulator under
    bare = code.content.removeprefix(base.rstrip("/"))
    assert b"Two tickets" in browse(world, "GET", bare).body


def test_faults_meet_only_what_they_were_planned_for(world: World) -> None:
    world.pay_by_qr()
    world.simulator.faults.plan(Fault.STALE, "trades/query", subject="py2")
    world.simulator.faults.plan(Fault.STALE, "trades/close", times=3)
    assert isinstance(world.hold(world.channel.query(world.payment())), Paid)
    world.simulator.faults.clear()
    world.simulator.faults.plan(Fault.STALE, times=2)
    heard = [world.hold(world.channel.query(world.payment())) for _ in range(3)]
    assert [type(finding) for finding in heard] == [Waiting, Waiting, Paid]


# ---------------------------------------------------------------------------------------------- a person at a browser


class Seen(HTMLParser):
    """What a page is made of: tags, and the text between them."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""
        self.feed(reply.body.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words += data


def pay_url(world: World) -> str:
    return f"{BASE}/pay/{world.simulator.books.trades['py1'].token}"


def test_a_person_sees_the_price_and_presses_pay(world: World) -> None:
    plan_json(world, "redirect")
    shown = Seen(browse(world, "GET", pay_url(world)))
    assert "CNY 128.00" in shown.words
    assert shown.tags.count("button") == 2
    after = Seen(browse(world, "POST", pay_url(world), b"action=pay"))
    assert "Paid" in after.words
    assert "button" not in after.tags
    assert isinstance(world.hold(world.channel.query(world.payment())), Paid)
    assert len(world.notices()) == 1


def test_pressing_pay_twice_pays_once(world: World) -> None:
    plan_json(world, "redirect")
    for _ in range(2):
        assert browse(world, "POST", pay_url(world), b"action=pay").status == 200
    assert len(world.notices()) == 1


def test_an_expired_page_offers_nothing(world: World) -> None:
    plan_json(world, "redirect")
    world.now += 15 * MINUTE
    assert "button" not in Seen(browse(world, "GET", pay_url(world))).tags
    browse(world, "POST", pay_url(world), b"action=pay")
    assert world.simulator.books.trades["py1"].state == "CLOSED"


@pytest.mark.parametrize("body", [b"", b"action=steal", b"action=pay%00", b"\xff\xfe"])
def test_a_button_that_is_not_there_does_nothing(world: World, body: bytes) -> None:
    plan_json(world, "redirect")
    assert browse(world, "POST", pay_url(world), body).status == 400
    assert world.simulator.books.trades["py1"].state == "WAITING"


@pytest.mark.parametrize(
    "path", ["/pay/", "/pay/unknown", "/pay/é", "/other", "/app", "/app?order=x", "/app?order=%00"]
)
def test_pages_that_are_not_there_say_so(world: World, path: str) -> None:
    assert browse(world, "GET", BASE + path).status in (400, 404)


def test_a_page_runs_no_script_whatever_the_subject_says(world: World) -> None:
    plan_json(world, "redirect", subject='<script>alert(1)</script>"&', return_url='https://shop.example/?a="><b>')
    for reply in (
        browse(world, "GET", pay_url(world)),
        browse(world, "GET", f"{BASE}/"),
        browse(world, "POST", pay_url(world), b"action=pay"),
    ):
        assert not {"script", "b"} & set(Seen(reply).tags)
        assert re.search(r"default-src 'none'.*style-src 'sha256-", reply.headers["content-security-policy"])


def test_an_order_string_opens_in_the_browser_as_well(world: World) -> None:
    plan = Plan.from_json(plan_json(world, "app"))
    call = plan.steps[0].content
    assert isinstance(call, SdkCall)
    reply = browse(world, "GET", f"{BASE}/app?order={quote(call.arguments['orderString'])}")
    assert (reply.status, reply.headers["location"]) == (303, f"/gate/pay/{world.simulator.books.trades['py1'].token}")


# ---------------------------------------------------------------------------------------------- the phone

CLAIMS = [
    (Payer.PAYS, ClientOutcome.SUCCESS_CLAIMED, "PAID"),
    (Payer.CANCELS, ClientOutcome.CANCELLED, "WAITING"),
    (Payer.PAYS_BUT_CANCEL_IS_CLAIMED, ClientOutcome.CANCELLED, "PAID"),
    (Payer.CANCELS_BUT_SUCCESS_IS_CLAIMED, ClientOutcome.SUCCESS_CLAIMED, "WAITING"),
    (Payer.PAYS_AND_NOTHING_IS_CLAIMED, ClientOutcome.UNKNOWN, "PAID"),
    (Payer.IS_STILL_PAYING, ClientOutcome.PROCESSING, "PAYING"),
]


@pytest.mark.parametrize(("payer", "claimed", "state"), CLAIMS)
@pytest.mark.parametrize("method", ["app", "qr", "redirect"])
def test_a_phone_claims_what_it_likes_and_the_books_know_better(
    world: World, method: str, payer: Payer, claimed: ClientOutcome, state: str
) -> None:
    claim = Phone(world.simulator).run(plan_json(world, method), NOW, payer)
    assert (claim.outcome, claim.payment_id) == (claimed, "py1")
    assert world.simulator.books.trades["py1"].state == state


def test_every_payer_is_tried() -> None:
    assert {case[0] for case in CLAIMS} == set(Payer)


def test_an_app_trade_begins_when_the_payer_opens_it(world: World) -> None:
    plan = plan_json(world, "app")
    with pytest.raises(LookupError):
        world.simulator.pay("py1", NOW)
    Phone(world.simulator, Target.IOS).run(plan, NOW, Payer.CANCELS)
    world.simulator.pay("py1", NOW)


def test_a_phone_without_the_sdk_takes_the_next_step(world: World) -> None:
    claim = Phone(world.simulator, Target.ANDROID, has_sdk=False).run(plan_json(world, "app"), NOW)
    assert claim.outcome is ClientOutcome.SUCCESS_CLAIMED
    assert world.simulator.books.trades["py1"].state == "PAID"


def test_a_phone_starts_nothing_that_expired(world: World) -> None:
    claim = Phone(world.simulator).run(plan_json(world, "app"), NOW + 15 * MINUTE)
    assert claim.outcome is ClientOutcome.NOT_INSTALLED
    assert world.simulator.books.trades == {}


def test_the_wallet_refuses_an_order_that_nobody_signed(world: World) -> None:
    call = Plan.from_json(plan_json(world, "app")).steps[0].content
    assert isinstance(call, SdkCall)
    order = call.arguments["orderString"]
    for at in range(0, len(order), 7):
        spoilt = order[:at] + ("A" if order[at] != "A" else "B") + order[at + 1 :]
        with pytest.raises(Forged):
            world.simulator.open_app(spoilt, NOW)
    assert world.simulator.books.trades == {}


def test_the_wallet_refuses_an_order_that_is_over(world: World) -> None:
    call = Plan.from_json(plan_json(world, "app")).steps[0].content
    assert isinstance(call, SdkCall)
    with pytest.raises(NotPayable):
        world.simulator.open_app(call.arguments["orderString"], NOW + 15 * MINUTE)


def test_a_phone_buys_in_the_store_and_hands_in_the_receipt(world: World) -> None:
    claim = Phone(world.simulator).run(plan_json(world, "store"), NOW, price_minor=1200)
    assert claim.outcome is ClientOutcome.SUCCESS_CLAIMED
    assert claim.evidence == world.simulator.receipt(TOKEN)
    assert Phone(world.simulator).run(plan_json(world, "store"), NOW).outcome is ClientOutcome.FAILED


def test_a_hidden_trade_is_found_once_it_was_scanned(world: World) -> None:
    world.simulator.books.hides_until_entered = True
    code = Plan.from_json(plan_json(world, "qr")).steps[0].content
    assert isinstance(code, Qr)
    assert not isinstance(world.hold(world.channel.query(world.payment())), Waiting)
    world.simulator.scan(code.content, NOW)
    assert isinstance(world.hold(world.channel.query(world.payment())), Waiting)


def test_a_payment_begun_before_expiry_may_end_after_it(world: World) -> None:
    plan_json(world, "qr")
    world.simulator.begin_paying("py1", NOW + 15 * MINUTE - 1)
    world.simulator.pay("py1", NOW + 16 * MINUTE)
    assert world.simulator.books.trades["py1"].state == "PAID"


def test_putting_the_phone_away_lets_the_trade_wait_or_expire(world: World) -> None:
    plan_json(world, "qr")
    world.simulator.begin_paying("py1", NOW)
    world.simulator.stop_paying("py1", NOW)
    assert world.simulator.books.trades["py1"].state == "WAITING"
    world.simulator.begin_paying("py1", NOW)
    world.simulator.stop_paying("py1", NOW + 15 * MINUTE)
    assert world.simulator.books.trades["py1"].state == "CLOSED"
