"""ChannelService: what the loaded channels say of themselves, and the caller's own accounts."""

from __future__ import annotations

import pytest

from paycore.v1 import channel_pb2
from tests.rpc.shop import CANARY, Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_every_loaded_channel_is_listed_by_name(market: Shop) -> None:
    answer = await market.app.ListChannels(channel_pb2.ListChannelsRequest())
    assert [channel.channel for channel in answer.channels] == ["oneway", "sandbox", "strict"]
    assert not answer.next_page_token


async def test_channels_are_listed_page_by_page(market: Shop) -> None:
    first = await market.app.ListChannels(channel_pb2.ListChannelsRequest(page_size=2))
    rest = await market.app.ListChannels(channel_pb2.ListChannelsRequest(page_size=2, page_token=first.next_page_token))
    assert [channel.channel for channel in (*first.channels, *rest.channels)] == ["oneway", "sandbox", "strict"]
    assert not rest.next_page_token


async def test_a_channel_says_what_it_can_do(market: Shop) -> None:
    channel = (await market.app.GetChannel(channel_pb2.GetChannelRequest(channel="sandbox"))).channel
    assert (channel.display_name_zh, channel.display_name_en) == ("沙箱", "Sandbox")
    assert {"prepare", "query", "close", "refund"} <= set(channel.verbs)
    assert channel.is_refundable
    methods = {method.method: method for method in channel.methods}
    assert set(methods) == {"app", "qr", "redirect", "store"}
    assert methods["store"].price == channel_pb2.Method.PRICE_STORE
    assert methods["qr"].price == channel_pb2.Method.PRICE_EXACT
    assert methods["app"].faces == ["android", "ios", "harmony"]
    limits = {limit.currency_code: limit for limit in methods["qr"].limits}
    assert (limits["CNY"].min_amount_minor, limits["CNY"].max_amount_minor) == (1, 500_000_000)
    [account] = channel.accounts
    assert (account.account_id, account.environment, account.is_usable) == (market.account_id, "sandbox", True)
    assert account.merchant == "SANDBOX"


async def test_limits_of_refunds_are_told(market: Shop) -> None:
    strict = (await market.app.GetChannel(channel_pb2.GetChannelRequest(channel="strict"))).channel
    assert (strict.refund_window_seconds, strict.refund_count) == (24 * 3600, 2)
    assert [one.name for one in strict.methods[0].inputs] == ["openid"]
    one_way = (await market.app.GetChannel(channel_pb2.GetChannelRequest(channel="oneway"))).channel
    assert not one_way.is_refundable


async def test_nobody_sees_another_s_accounts_or_any_secret(market: Shop) -> None:
    theirs = (await market.rival.GetChannel(channel_pb2.GetChannelRequest(channel="sandbox"))).channel
    assert [account.account_id for account in theirs.accounts] == [market.rival_account_id]
    listed = await market.app.ListChannels(channel_pb2.ListChannelsRequest())
    settings = market.simulator.settings("https://sandbox.example/gate")
    for secret in (settings["private_key"], settings["channel_key"], CANARY):
        assert secret.encode() not in listed.SerializeToString()
