"""Apps, keys, accounts, sessions and what people did by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paycore.core.order import SurplusPolicy
from paycore.store import (
    Account,
    AccountState,
    AccountVersion,
    ApiKey,
    App,
    AppState,
    AuditLine,
    Conflict,
    KeyState,
    Session,
    Store,
    VersionState,
)
from tests.store.made import ACCOUNT, APP, NOW, OTHER_APP, Told, stored

SHOP = App(
    APP,
    "Tea shop",
    NOW,
    scopes=("orders:read", "orders:write"),
    currencies=("CNY", "JPY"),
    max_amount_minor=5_000_000,
    return_hosts=("tea.example",),
    rate_per_second=50,
    default_expiry_seconds=900,
    surplus_policy=SurplusPolicy.HOLD,
)
WALLET = Account(ACCOUNT, APP, "sandbox", "sandbox", "M-1", NOW, title="Main")
SEALED = AccountVersion(ACCOUNT, 1, APP, b"\x00\xffsealed", NOW)


@pytest.fixture
def shop(store: Store) -> Store:
    with store.write() as unit:
        unit.put_app(SHOP)
        unit.put_app(App(OTHER_APP, "Coffee shop", NOW + 1))
        unit.put_account(WALLET)
        unit.put_account_version(SEALED)
    return store


def test_an_app_comes_back_and_changes(shop: Store) -> None:
    with shop.write() as unit:
        assert unit.get_app(APP) == SHOP
        assert unit.get_app("nobody") is None
        changed = replace(SHOP, state=AppState.SUSPENDED, currencies=(), created_at=NOW + 99)
        unit.put_app(changed)
        assert unit.get_app(APP) == replace(changed, created_at=NOW)
        assert [app.name for app in unit.list_apps()] == ["Tea shop", "Coffee shop"]
    assert not changed.is_active


def test_a_key_is_found_by_its_hash_with_its_app(shop: Store) -> None:
    key = ApiKey("ky-1", APP, NOW, sha256="ab" * 32, scopes=("orders:read",), title="ci", expires_at=NOW + 9)
    with shop.write() as unit:
        unit.put_key(key)
        assert unit.find_key("ab" * 32) == (key, SHOP)
        assert unit.find_key("cd" * 32) is None
        revoked = replace(key, state=KeyState.REVOKED, revoked_at=NOW + 1)
        unit.put_key(revoked)
        assert unit.find_key("ab" * 32) == (revoked, SHOP)
        assert unit.get_key("ky-1") == revoked
        assert unit.list_keys(APP) == [revoked]
        assert unit.list_keys(OTHER_APP) == []


def test_a_certificate_is_found_by_itself_before_its_name(shop: Store) -> None:
    named = ApiKey("ky-1", OTHER_APP, NOW, cert_name="shop.example")
    exact = ApiKey("ky-2", APP, NOW, cert_sha256="ef" * 32)
    with shop.write() as unit:
        unit.put_key(named)
        unit.put_key(exact)
        found = unit.find_key_by_certificate("ef" * 32, ["shop.example"])
        assert found is not None
        assert found[0] == exact
        by_name = unit.find_key_by_certificate("00" * 32, ["other.example", "shop.example"])
        assert by_name is not None
        assert by_name[0] == named
        assert unit.find_key_by_certificate("00" * 32) is None


def test_two_keys_do_not_share_a_hash(shop: Store) -> None:
    with shop.write() as unit:
        unit.put_key(ApiKey("ky-1", APP, NOW, sha256="ab" * 32))
    with pytest.raises(Conflict) as lost, shop.write() as unit:
        unit.put_key(ApiKey("ky-2", APP, NOW, sha256="ab" * 32))
    assert lost.value.constraint == "uq_api_keys_sha256"


def test_a_key_belongs_to_an_app(shop: Store) -> None:
    with pytest.raises(Conflict), shop.write() as unit:
        unit.put_key(ApiKey("ky-1", "nobody", NOW, sha256="ab" * 32))


def test_an_account_is_one_merchant_of_an_app(shop: Store) -> None:
    with shop.write() as unit:
        assert unit.get_account(ACCOUNT) == WALLET
        assert unit.get_account("nobody") is None
        unit.put_account(replace(WALLET, state=AccountState.SUSPENDED, title="Old"))
        assert unit.list_accounts(APP) == [replace(WALLET, state=AccountState.SUSPENDED, title="Old")]
        assert unit.list_accounts(APP, channel="alipay") == []
        assert unit.list_accounts(OTHER_APP) == []
        assert len(unit.list_accounts()) == 1
    with pytest.raises(Conflict) as lost, shop.write() as unit:
        unit.put_account(replace(WALLET, account_id="ac-2"))
    assert lost.value.constraint == "uq_accounts_app_id_channel_environment_merchant"


def test_one_version_of_an_account_is_active(shop: Store) -> None:
    fresh = replace(SEALED, version=2, settings_cipher=b"new")
    with pytest.raises(Conflict) as lost, shop.write() as unit:
        unit.put_account_version(fresh)
    assert lost.value.constraint == "uq_account_versions_active"
    with shop.write() as unit:
        unit.put_account_version(replace(SEALED, state=VersionState.VERIFY_ONLY))
        unit.put_account_version(fresh)
    with shop.read() as unit:
        assert unit.account_versions(ACCOUNT) == [fresh, replace(SEALED, state=VersionState.VERIFY_ONLY)]
        assert unit.account_versions("nobody") == []


def test_a_sealed_setting_is_not_printed() -> None:
    assert "sealed" not in repr(SEALED)


def test_open_tasks_of_an_account_are_counted(shop: Store) -> None:
    Told().asks().save(shop)
    Told().pays().refunds().save(shop)
    Told().asks(account_id="ac-other").save(shop)
    with shop.read() as unit:
        assert unit.count_open_tasks(ACCOUNT) == 2
        assert unit.count_open_tasks("nobody") == 0


def test_a_session_is_of_one_order(shop: Store) -> None:
    [told] = stored(shop)
    session = Session("cs-1", APP, told.now.order_id, NOW + 9, NOW, client={"face": "web", "apps": ["alipay"]})
    with shop.write() as unit:
        unit.put_session(session)
        assert unit.get_session("cs-1") == session
        assert unit.get_session("cs-2") is None
        unit.put_session(replace(session, revoked_at=NOW + 1))
        assert unit.get_session("cs-1") == replace(session, revoked_at=NOW + 1)
    with pytest.raises(Conflict), shop.write() as unit:
        unit.put_session(replace(session, session_id="cs-2", order_id="or-nobody"))


def test_what_people_did_is_kept_newest_first(shop: Store) -> None:
    lines = [AuditLine(NOW + n, "ada", "app.changed", f"ap-{n % 2}", app_id=APP, detail=str(n)) for n in range(5)]
    with shop.write() as unit:
        for line in lines:
            unit.put_audit(line)
        assert unit.list_audit() == lines[::-1]
        assert unit.list_audit(subject="ap-1") == [lines[3], lines[1]]
        assert unit.list_audit(limit=1) == [lines[-1]]
