"""What may be trusted: a root that an operator gave, and nothing that only looks like one."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from paycore.engine.accounts import BadSettings
from paycore.store import Store
from paycore_appleiap import AppStoreSimulator
from paycore_appleiap.simulator import Authority
from paycore_appleiap.trust import roots_of

from .support import BASE, vector_settings
from .world import APP, Shop


def test_several_roots_may_be_trusted() -> None:
    theirs, ours = vector_settings()["root_certificates"], Authority("a").root_pem
    assert roots_of(theirs + "\n" + ours) == roots_of(theirs) + roots_of(ours)


@pytest.mark.parametrize("which", ["intermediate", "leaf"])
def test_what_did_not_sign_itself_is_no_root(which: str) -> None:
    authority = Authority("a")
    pem = getattr(authority, which).public_bytes(Encoding.PEM).decode()
    with pytest.raises(ValueError, match="did not sign itself"):
        roots_of(pem)
    with pytest.raises(ValueError, match="did not sign itself"):
        roots_of(authority.root_pem + pem)


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_what_is_no_certificate_is_no_root(text: str) -> None:
    with pytest.raises(ValueError, match="not PEM certificates"):
        roots_of(text)


async def test_an_account_with_a_wrong_root_is_not_added(ready_url: str) -> None:
    store = Store.open(ready_url, check_durability=False)
    try:
        simulator = AppStoreSimulator("trust")
        shop = Shop(store, simulator)
        wrong = simulator.authority.intermediate.public_bytes(Encoding.PEM).decode()
        settings = {**simulator.settings(BASE), "root_certificates": wrong}
        with pytest.raises(BadSettings, match="not a root certificate"):
            await shop.engine.accounts.add(APP, "appleiap", "sandbox", settings)
        await shop.engine.stop(0)
    finally:
        store.close()
