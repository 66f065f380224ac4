"""Operators' commands, on SQLite and PostgreSQL: what they say, what they refuse, and what they never show."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from paycore.store import Store
from paycore_sandbox import SandboxSimulator
from tests.cli.shop import AMOUNT, Shop


@pytest.fixture
def shop(store_url: str, tmp_path: Path) -> Shop:
    return Shop(store_url, tmp_path, SandboxSimulator("operators"))


def stored_keys(shop: Shop, app_id: str) -> list[Any]:
    store = Store.open(shop.url, check_durability=False)
    try:
        with store.read() as unit:
            return unit.list_keys(app_id)
    finally:
        store.close()


def log_of(shop: Shop) -> list[tuple[str, str]]:
    """What people did by hand, newest first."""
    store = Store.open(shop.url, check_durability=False)
    try:
        with store.read() as unit:
            return [(line.what, line.subject) for line in unit.list_audit()]
    finally:
        store.close()


# ---------------------------------------------------------------------------------------------- apps and keys


def test_a_key_is_shown_once_and_only_its_digest_is_kept(shop: Shop) -> None:
    shop.json("migrate")
    made = shop.json("apps", "add", "shop", "--currency", "cny", "--return-host", "Shop.example")
    key, app_id = made["api_key"], made["app"]["app_id"]
    assert key.startswith("pk_")
    assert len(key) >= 46
    [kept] = stored_keys(shop, app_id)
    assert kept.sha256 == hashlib.sha256(key.encode()).hexdigest()
    later = [
        shop.run(*words) for words in (("apps", "list"), ("apps", "show", "shop"), ("apps", "keys", "list", app_id))
    ]
    assert all(done.code == 0 and key not in done.out + done.err for done in later)
    assert made["app"]["currencies"] == ["CNY"]
    assert made["app"]["return_hosts"] == ["shop.example"]


def test_apps_are_listed_suspended_and_resumed(shop: Shop) -> None:
    shop.json("migrate")
    assert shop.json("apps", "list") == {"apps": []}
    shop.json("apps", "add", "shop", "--no-key")
    assert shop.json("apps", "suspend", "shop")["app"]["state"] == "SUSPENDED"
    assert shop.json("apps", "show", "shop")["app"]["state"] == "SUSPENDED"
    assert shop.json("apps", "resume", "shop")["app"]["state"] == "ACTIVE"
    [app] = shop.json("apps", "list")["apps"]
    assert app["name"] == "shop"
    assert app["keys"] == []
    assert [what for what, _ in log_of(shop)] == ["app.active", "app.suspended", "app.added"]


def test_keys_are_added_with_scopes_and_revoked_for_good(shop: Shop) -> None:
    shop.json("migrate")
    app_id = shop.json("apps", "add", "shop", "--no-key")["app"]["app_id"]
    made = shop.json("apps", "keys", "add", "shop", "--scope", "notices:deliver", "--title", "edge", "--days", "3")
    [key] = shop.json("apps", "keys", "list", "shop")["keys"]
    assert (key["scopes"], key["title"], key["state"]) == (["notices:deliver"], "edge", "ACTIVE")
    assert key["expire_time"] > key["create_time"]
    revoked = shop.json("apps", "keys", "revoke", made["key_id"])["key"]
    assert revoked["state"] == "REVOKED"
    assert shop.json("apps", "keys", "revoke", made["key_id"])["key"] == revoked
    assert [one.state.value for one in stored_keys(shop, app_id)] == ["REVOKED"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["apps", "add", "shop"], 1, "There is an app shop already."),
        (["apps", "add", " "], 2, "name"),
        (["apps", "add", "other", "--currency", "XXX"], 2, "XXX is not the code of a currency."),
        (["apps", "add", "other", "--surplus-policy", "KEEP"], 2, "AUTO_REFUND, HOLD or ACCEPT"),
        (["apps", "add", "other", "--scope", "everything"], 2, "A scope is one of"),
        (["apps", "show", "nobody"], 1, "There is no app nobody."),
        (["apps", "keys", "revoke", "key_nobody"], 1, "There is no key key_nobody."),
        (["accounts", "show", "ac0"], 1, "There is no account ac0."),
        (["accounts", "add", "visa", "--app", "shop"], 1, "There is no channel visa"),
        (["accounts", "set-version", "ac0", "1", "ACTIVE"], 1, "There is no account ac0."),
        (["orders", "show", "or0"], 1, "There is no order or0."),
        (["orders", "list", "--state", "LOST"], 2, "PENDING, PAID, CLOSING or CLOSED"),
        (["orders", "watch"], 2, "Name an order, or an app"),
        (["anomalies", "list", "--kind", "LOST"], 2, "A kind is one of LATE_PAYMENT"),
        (["anomalies", "resolve", "an0", "--remedy", "KEEP", "--note", "x"], 2, "ACCEPT, REFUND or RELEASE"),
        (["anomalies", "resolve", "an0", "--remedy", "RELEASE", "--note", "x"], 1, "There is no anomaly an0."),
        (["channels", "show", "visa"], 1, "There is no channel visa."),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    words: list[str], code: int, says: str, sqlite_url: str, tmp_path: Path
) -> None:
    shop = Shop(sqlite_url, tmp_path, SandboxSimulator("operators"))
    shop.json("migrate")
    shop.json("apps", "add", "shop", "--no-key")
    done = shop.run(*words)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert done.err.startswith("paycore: ")
    assert done.err.count("\n") == 1


def test_limits_are_changed_one_by_one_and_the_log_says_by_whom(shop: Shop) -> None:
    shop.json("migrate")
    app_id = shop.json("apps", "add", "shop", "--no-key", "--currency", "CNY")["app"]["app_id"]
    words = ("--max-amount-minor", "5000", "--surplus-policy", "hold", "--any-currency")
    changed = shop.json("apps", "change", "shop", *words)["app"]
    assert (changed["max_amount_minor"], changed["surplus_policy"], changed["currencies"]) == (5000, "HOLD", [])
    assert changed["default_expiry_seconds"] == 1800
    assert shop.run("apps", "change", "shop").code == 2
    [last, first] = shop.json("log", app_id)["lines"]
    assert (first["what"], last["what"]) == ("app.added", "app.changed")
    assert last["detail"] == "currencies, max_amount_minor, surplus_policy"
    assert last["who"].startswith("cli:")


def test_a_key_is_bound_to_a_client_certificate(shop: Shop, tmp_path: Path) -> None:
    pem = tmp_path / "client.pem"
    pem.write_bytes(certificate())
    shop.json("migrate")
    app_id = shop.json("apps", "add", "shop", "--no-key")["app"]["app_id"]
    assert "api_key" in shop.json("apps", "keys", "add", "shop", "--certificate", str(pem))
    [bound] = stored_keys(shop, app_id)
    assert bound.cert_sha256 == x509.load_pem_x509_certificate(pem.read_bytes()).fingerprint(SHA256()).hex()
    assert shop.json("apps", "keys", "list", "shop")["keys"][0]["needs"] == "key and certificate"
    twice = shop.run("apps", "keys", "add", "shop", "--certificate", str(pem), "--certificate-alone")
    assert twice.code == 1
    pem.write_bytes(certificate())
    alone = shop.json("apps", "keys", "add", "shop", "--certificate", str(pem), "--certificate-alone")
    assert list(alone) == ["key_id"]
    assert shop.run("apps", "keys", "add", "shop", "--certificate-alone").code == 2
    pem.write_text("no certificate")
    assert shop.run("apps", "keys", "add", "shop", "--certificate", str(pem)).code == 2


def certificate() -> bytes:
    """A certificate of its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = (
        made.serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    )
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM)


# ---------------------------------------------------------------------------------------------- offers

TEN_OFF = ("--title-zh", "立减十元", "--title-en", "Ten off", "--currency", "cny")


def test_offers_are_added_listed_changed_paused_and_resumed(shop: Shop) -> None:
    shop.json("migrate")
    shop.json("apps", "add", "shop", "--no-key")
    assert shop.json("offers", "list") == {"offers": []}
    terms = ("--percent", "2.5", "--most", "500", "--method", "alipay.qr", "--until", "2999-01-31T00:00:00+08:00")
    offer = shop.json("offers", "add", "shop", *TEN_OFF, *terms, "--quota", "7", "--stacks", "--first-time")["offer"]
    assert (offer["percent"], offer["most_minor"], offer["methods"]) == ("2.5", 500, ["alipay.qr"])
    assert (offer["end_time"], offer["quota"], offer["taken_count"]) == ("2999-01-30T16:00:00.000000Z", 7, 0)
    assert offer["stacks"]
    assert offer["first_time"]
    offer_id = offer["offer_id"]
    changed = shop.json("offers", "change", offer_id, "--quota", "9", "--budget", "100")["offer"]
    assert changed == offer | {"quota": 9, "budget_minor": 100}
    assert shop.json("offers", "pause", offer_id)["offer"]["state"] == "PAUSED"
    assert shop.json("offers", "resume", offer_id)["offer"]["state"] == "ACTIVE"
    assert shop.json("offers", "list", "--app", "shop")["offers"] == [changed]
    assert "Ten off" in shop.run("offers", "list").out
    assert [what for what, subject in log_of(shop) if subject == offer_id] == [
        "offer.active",
        "offer.paused",
        "offer.changed",
        "offer.added",
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "either --off or --percent"),
        (("--off", "1", "--percent", "1"), "either --off or --percent"),
        (("--percent", "100"), "below 100"),
        (("--percent", "1.234"), "below 100"),
        (("--percent", "0"), "a percentage lies between"),
        (("--off", "1", "--currency", "ABC"), "Its currency is not one."),
        (("--off", "1", "--method", "Ali Pay"), "not a channel"),
        (("--off", "1", "--until", "tomorrow"), "--until is an instant"),
        (("--off", "1", "--from", "2027-01-01"), "--from is an instant"),
        (("--off", "1", "--title-zh", ""), "It needs a title"),
    ],
)
def test_what_is_no_offer_is_not_added(shop: Shop, words: tuple[str, ...], says: str) -> None:
    shop.json("migrate")
    shop.json("apps", "add", "shop", "--no-key")
    done = shop.run("offers", "add", "shop", *TEN_OFF, *words)
    assert (done.code, says in done.err) == (2, True), done.err
    assert shop.json("offers", "list") == {"offers": []}


def test_an_offer_that_is_not_there_is_told(shop: Shop) -> None:
    shop.json("migrate")
    for words in (("pause", "of-nothing"), ("change", "of-nothing", "--quota", "1")):
        done = shop.run("offers", *words)
        assert (done.code, "There is no offer" in done.err) == (1, True)


# ---------------------------------------------------------------------------------------------- accounts


def test_an_account_is_sealed_and_its_secrets_are_dots(shop: Shop) -> None:
    _, _, account_id = shop.open()
    secret = json.loads(shop.account_settings())["private_key"]
    shown = shop.json("accounts", "show", account_id)["account"]
    assert shown["versions"][0]["settings"]["private_key"] == "******"
    assert shown["versions"][0]["settings"]["merchant"] == "SANDBOX"
    said = [shop.run(*words) for words in (("accounts", "list"), ("accounts", "show", account_id), ("doctor",))]
    assert all(secret not in done.out + done.err for done in said)
    assert shop.json("accounts", "list")["accounts"][0]["merchant"] == "SANDBOX"
    store = Store.open(shop.url, check_durability=False)
    with store.read() as unit:
        [version] = unit.account_versions(account_id)
    store.close()
    assert secret.encode() not in version.settings_cipher


def test_a_secret_on_the_command_line_is_refused(shop: Shop) -> None:
    shop.open()
    secret = json.loads(shop.account_settings())["private_key"]
    done = shop.run("accounts", "add", "sandbox", "--app", "shop", "--set", f"private_key={secret}")
    assert done.code == 2
    assert "does not belong on the command line" in done.err
    assert secret not in done.out + done.err


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("", "There are no settings"),
        ("not json, not toml: canary", "neither a JSON object nor TOML"),
        ("[1, 2]", "neither a JSON object nor TOML"),
        ('{"private_key": "canary"}', "merchant (Merchant number) is missing"),
        ('{"colour": "canary"}', "sandbox has no setting colour"),
        ('{"merchant": 7}', "merchant is not a text"),
        ('{"merchant": "M", "base_url": "ftp://canary"}', "base_url (Gateway address) does not have the form"),
    ],
)
def test_wrong_settings_are_named_and_not_repeated(settings: str, says: str, sqlite_url: str, tmp_path: Path) -> None:
    shop = Shop(sqlite_url, tmp_path, SandboxSimulator("operators"))
    shop.open()
    words = ["accounts", "add", "sandbox", "--app", "shop", *(["--settings", "-"] if settings else [])]
    done = shop.run(*words, stdin=settings)
    assert done.code in (1, 2)
    assert says in done.err
    assert "canary" not in done.out + done.err


def test_settings_come_from_a_toml_file_as_well(shop: Shop, tmp_path: Path) -> None:
    shop.open()
    other = json.loads(shop.account_settings()) | dict(
        shop.simulator.settings("http://127.0.0.1:9/s", merchant="OTHER")
    )
    file = tmp_path / "settings.toml"
    file.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in other.items()))
    made = shop.json("accounts", "add", "sandbox", "--app", "shop", "--settings", str(file), "--title", "second")
    assert made["account"]["merchant"] == "OTHER"
    assert made["account"]["title"] == "second"
    again = shop.run("accounts", "add", "sandbox", "--app", "shop", "--settings", str(file))
    assert again.code == 1
    assert "rotate" in again.err


def test_keys_rotate_and_the_old_ones_only_verify(shop: Shop) -> None:
    _, _, account_id = shop.open()
    fresh = json.dumps(dict(shop.simulator.settings("http://127.0.0.1:9/sandbox", key_version=2)))
    rotated = shop.json("accounts", "rotate", account_id, "--settings", "-", stdin=fresh)["account"]
    states = {one["version"]: one["state"] for one in rotated["versions"]}
    assert states == {1: "VERIFY_ONLY", 2: "ACTIVE"}
    foreign = json.dumps(dict(shop.simulator.settings("http://127.0.0.1:9/sandbox", merchant="OTHER")))
    refused = shop.run("accounts", "rotate", account_id, "--settings", "-", stdin=foreign)
    assert refused.code == 1
    assert "another merchant" in refused.err


def test_an_open_task_is_never_left_without_a_signer(shop: Shop) -> None:
    app_id, _, account_id = shop.open()
    order = shop.open_payment(app_id, shop.order(app_id, "OPEN-1").order_id)
    assert order.payments[0].task is not None
    assert shop.json("accounts", "show", account_id)["account"]["open_tasks"] == 1
    refused = shop.run("accounts", "set-version", account_id, "1", "verify-only")
    assert refused.code == 1
    assert "nobody to sign" in refused.err
    drained = shop.json("accounts", "set-version", account_id, "1", "DRAINING")["account"]
    assert drained["versions"][0]["state"] == "DRAINING"


def test_an_account_is_suspended_and_resumed(shop: Shop) -> None:
    _, _, account_id = shop.open()
    assert shop.json("accounts", "suspend", account_id)["account"]["state"] == "SUSPENDED"
    assert shop.json("accounts", "resume", account_id)["account"]["state"] == "ACTIVE"


# ---------------------------------------------------------------------------------------------- the master key


def test_the_master_key_rotates_under_every_account(shop: Shop) -> None:
    _, _, account_id = shop.open()
    file = shop.folder / "master.key"
    before = shop.json("master-key", "show")["key_id"]
    old = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert shop.run("master-key", "make").code == 1
    done = shop.json("master-key", "rotate")
    assert (done["rewrapped"], done["dropped"]) == (1, 1)
    assert done["key_id"] == shop.json("master-key", "show")["key_id"] != before
    assert old.strip() not in file.read_text()
    assert shop.json("accounts", "show", account_id)["account"]["versions"][0]["settings"]["private_key"] == "******"
    file.write_text(old)
    assert shop.json("accounts", "show", account_id)["account"]["versions"][0]["settings"] is None


def test_servers_can_go_on_while_the_master_key_is_changed(shop: Shop) -> None:
    shop.open()
    added = shop.json("master-key", "add")["key_id"]
    assert len((shop.folder / "master.key").read_text().split()) == 2
    done = shop.json("master-key", "rewrap")
    assert done == {"key_id": added, "rewrapped": 1, "dropped": 0}
    assert shop.json("master-key", "rewrap", "--drop-old") == {"key_id": added, "rewrapped": 0, "dropped": 1}


def test_without_a_master_key_accounts_say_what_to_do(shop: Shop) -> None:
    shop.json("migrate")
    shop.json("apps", "add", "shop", "--no-key")
    done = shop.run("accounts", "add", "sandbox", "--app", "shop", "--settings", "-", stdin=shop.account_settings())
    assert done.code == 4
    assert "master key" in done.err.lower()


# ---------------------------------------------------------------------------------------------- channels


def test_channels_describe_themselves(sqlite_url: str, tmp_path: Path) -> None:
    shop = Shop(sqlite_url, tmp_path, SandboxSimulator("operators"))
    [listed] = [one for one in shop.json("channels", "list")["channels"] if one["channel"] == "sandbox"]
    shown = shop.json("channels", "show", "sandbox")["channel"]
    assert shown == listed
    assert {method["method"] for method in shown["methods"]} == {"app", "qr", "redirect", "store"}
    assert {one["name"] for one in shown["settings"] if one["is_secret"]} == {"private_key"}
    assert "Sandbox QR code" in shop.run("channels", "show", "sandbox").out


# ---------------------------------------------------------------------------------------------- orders


def test_orders_are_listed_newest_first_and_filtered(shop: Shop) -> None:
    app_id, _, _ = shop.open()
    ids = [shop.order(app_id, f"LIST-{number}").order_id for number in range(3)]
    listed = shop.json("orders", "list")["orders"]
    assert [one["order_id"] for one in listed] == ids[::-1]
    assert listed[0]["amount"] == {"currency_code": "CNY", "amount_minor": str(AMOUNT)}
    assert [one["order_id"] for one in shop.json("orders", "list", "--limit", "2")["orders"]] == ids[:0:-1]
    assert shop.json("orders", "list", "--state", "PAID") == {"orders": []}
    assert shop.json("orders", "list", "--days", "0") == {"orders": []}
    assert len(shop.json("orders", "list", "--app", "shop", "--state", "pending")["orders"]) == 3


def test_an_order_is_shown_by_our_id_and_by_the_callers_number(shop: Shop) -> None:
    app_id, _, _ = shop.open()
    order = shop.open_payment(app_id, shop.order(app_id, "SHOW-1").order_id)
    shown = shop.json("orders", "show", order.order_id)["order"]
    assert shown == shop.json("orders", "show", "SHOW-1", "--app", "shop")["order"]
    assert shown["state"] == "STATE_PENDING"
    assert shown["payments"][0]["payment_id"] == order.payments[0].payment_id
    text = shop.run("orders", "show", order.order_id).out
    assert "CNY 12.80" in text
    assert "query at" in text


def test_a_watch_shows_every_event_from_the_first(shop: Shop) -> None:
    app_id, _, _ = shop.open()
    order = shop.hear_paid(shop.open_payment(app_id, shop.order(app_id, "WATCH-1").order_id))
    done = shop.run("orders", "watch", order.order_id, "--events", str(order.version), "--json")
    assert done.code == 0
    assert [int(event["version"]) for event in done.lines] == list(range(1, order.version + 1))
    assert done.lines[-1]["kind"] == "order.paid"
    text = shop.run("orders", "watch", order.order_id, "--events", str(order.version)).out
    assert len(text.splitlines()) == order.version


def test_an_order_is_explained_with_its_next_steps(shop: Shop) -> None:
    app_id, _, _ = shop.open()
    order = shop.open_payment(app_id, shop.order(app_id, "STORY-1").order_id)
    story = shop.json("orders", "explain", order.order_id)
    assert story["entries"][0]["version"] == 1
    assert any("expires" in step for step in story["next_steps"])
    paid = shop.hear_paid(order)
    text = shop.run("orders", "explain", paid.order_id).out
    assert "The order is paid by payment" in text
    assert "Nothing more will happen by itself." in text


# ---------------------------------------------------------------------------------------------- anomalies


def test_a_wrong_amount_is_listed_and_remedied(shop: Shop) -> None:
    app_id, _, _ = shop.open()
    order = shop.hear_paid(shop.open_payment(app_id, shop.order(app_id, "HOLD-1").order_id), amount_minor=AMOUNT + 1)
    [anomaly] = shop.json("anomalies", "list")["anomalies"]
    assert (anomaly["kind"], anomaly["order_id"]) == ("KIND_AMOUNT_MISMATCH", order.order_id)
    assert anomaly["amount"] == {"currency_code": "CNY", "amount_minor": str(AMOUNT + 1)}
    words = ("anomalies", "resolve", anomaly["anomaly_id"], "--remedy", "accept", "--note", "the shop agreed")
    resolved = shop.json(*words)["anomaly"]
    assert (resolved["state"], resolved["remedy"], resolved["note"]) == (
        "STATE_RESOLVED",
        "REMEDY_ACCEPT",
        "the shop agreed",
    )
    assert shop.json("anomalies", "list") == {"anomalies": []}
    assert len(shop.json("anomalies", "list", "--state", "all")["anomalies"]) == 1
    assert shop.json("orders", "show", order.order_id)["order"]["state"] == "STATE_PAID"
    again = shop.run(*words[:4], "REFUND", "--note", "second thoughts")
    assert again.code == 1
    assert "ANOMALY_RESOLVED" in again.err
    assert ("anomaly.resolved", anomaly["anomaly_id"]) in log_of(shop)


def test_a_purchase_of_nobody_is_claimed(shop: Shop) -> None:
    app_id, _, _ = shop.open()
    shop.hear_of_purchase(app_id)
    [anomaly] = shop.json("anomalies", "list")["anomalies"]
    words = ("anomalies", "resolve", anomaly["anomaly_id"], "--remedy", "accept", "--note", "an old phone")
    nobody = shop.run(*words, "--payment", "py" + "0" * 26)
    assert (nobody.code, "PAYMENT_NOT_FOUND" in nobody.err) == (1, True)
    claimed = shop.json(*words)["anomaly"]
    assert (claimed["state"], claimed["remedy"]) == ("STATE_RESOLVED", "REMEDY_ACCEPT")
    [order] = shop.json("orders", "list")["orders"]
    assert (order["state"], order["origin"]) == ("STATE_PAID", "ORIGIN_CHANNEL")
    store = Store.open(shop.url, check_durability=False)
    with store.read() as unit:
        [line] = [one for one in unit.list_audit() if one.what == "anomaly.resolved"]
    store.close()
    assert line.detail == f"ACCEPT for {claimed['payment_id']}: an old phone"


# ---------------------------------------------------------------------------------------------- tables


def test_a_pipe_gets_plain_columns_without_colour(shop: Shop) -> None:
    app_id, _, _ = shop.open()
    shop.order(app_id, "PIPE-1")
    head, row = shop.run("orders", "list").out.splitlines()
    assert head.split("\t")[:3] == ["ORDER", "NUMBER", "STATE"]
    assert row.split("\t")[1:4] == ["PIPE-1", "PENDING", "CNY 12.80"]
    assert "\x1b" not in head + row
