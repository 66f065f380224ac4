"""Plans sealed for a business's apps: who may use them, when there is nothing to seal, and whose keys open them."""

import json
from dataclasses import replace

import pytest

from paycore.core.order import Order
from paycore.engine.keyring import Keyring
from paycore.engine.sealing import Sealing, origins_of
from paycore.store import App, Store
from paycore_bridge.envelope import BadEnvelope, UsedOnce, open_envelope
from paycore_bridge.keys import KeySet
from tests.engine.world import KEY, World, sandbox

IOS = "ios:com.example.shop"


async def begun(store: Store, *audiences: str) -> tuple[World, Order, str]:
    """An app order whose plan is ready, and its payment's id."""
    box = await sandbox(store)
    world = box.world
    app = App(world.app_id, "shop", world.clock.now(), return_hosts=("shop.example",), bridge_audiences=audiences)
    world.put_app(app)
    payment = await world.paid(await world.order(), "sandbox", "app", client={"face": "ios"})
    with store.read() as unit:
        order = unit.load([unit.order_of_payment([payment.payment_id])[payment.payment_id]])
    [found] = order.values()
    return world, found, payment.payment_id


async def test_a_plan_is_sealed_for_the_apps_of_its_business_once(store: Store) -> None:
    world, order, payment_id = await begun(store, IOS, "web:https://pay.example/cashier")
    text = await world.engine.seal(order, payment_id)
    keys, used = KeySet.from_text(world.engine.sealing.published), UsedOnce()
    opened = open_envelope(text, keys=keys, audience=IOS, now=world.clock.now(), take=used.take)
    assert (opened.payment.payment_id, opened.payment.amount_minor) == (payment_id, order.amount_minor)
    assert await world.engine.seal(order, payment_id) != text, "each is good once"
    with pytest.raises(BadEnvelope):
        open_envelope(text, keys=keys, audience=IOS, now=world.clock.now(), take=used.take)
    with pytest.raises(BadEnvelope):
        open_envelope(text, keys=keys, audience="ios:com.example.other", now=world.clock.now(), take=UsedOnce().take)


async def test_nothing_is_sealed_for_nobody(store: Store) -> None:
    world, order, payment_id = await begun(store)
    assert await world.engine.seal(order, payment_id) == ""
    assert await world.engine.seal(order, "py" + "0" * 26) == ""


async def test_a_plan_that_is_over_is_not_sealed(store: Store) -> None:
    world, order, payment_id = await begun(store, IOS)
    world.clock.advance(16 * 24 * 3600)
    assert await world.engine.seal(order, payment_id) == ""


async def test_keys_follow_from_the_master_keys_and_the_older_ones_stay_published(store: Store) -> None:
    world, order, payment_id = await begun(store, IOS)
    text = await world.engine.seal(order, payment_id)
    other = Keyring(bytes(reversed(KEY)), KEY)
    sealing = Sealing(other, world.engine.host, world.clock, world.engine.ids)
    names = [key["kid"] for key in json.loads(sealing.published)["keys"]]
    assert len(set(names)) == 2
    keys = KeySet.from_text(sealing.published)
    opened = open_envelope(text, keys=keys, audience=IOS, now=world.clock.now(), take=UsedOnce().take)
    assert opened.payment.payment_id == payment_id
    assert names[0] != json.loads(world.engine.sealing.published)["keys"][0]["kid"]


def test_the_pages_that_may_hand_a_plan_over() -> None:
    app = App("ap", "shop", 1, return_hosts=("shop.example",), bridge_audiences=(IOS, "web:https://pay.example/x"))
    assert origins_of(app) == ["https://pay.example", "https://shop.example"]
    assert origins_of(replace(app, return_hosts=(), bridge_audiences=(IOS,))) == []
