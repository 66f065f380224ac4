"""Held against what an independent implementation said of the same bytes (see oracle.py), in both directions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from paycore.channel import AlreadyPaid, RawNotice, Refunded, RefundProcessing, Reply, Waiting
from paycore_bridge import Target
from paycore_wechatpay.simulator import Rejected
from paycore_wechatpay.simulator.sdk import Device

from .oracle import BASE, NONCE, NOW, ask_of, calls, prepay_id_of, simulator_of, story
from .support import World, open_channel, scripted, vectors


def replayed() -> tuple[Any, list[dict[str, Any]]]:
    """The simulator after the story that the oracle was told, asked by what the oracle signed."""
    simulator, said = simulator_of(), list(vectors("oracle")["authorizations"])
    return simulator, story(simulator, lambda settings, method, path, body: said.pop(0))


def test_what_the_oracle_signs_is_taken_and_what_we_sign_it_took() -> None:
    """Byte for byte what it verified and opened then; a call that it signed is never answered 401."""
    _, heard = replayed()
    kept = vectors("oracle")["heard"]
    assert [one["verdict"] for one in kept] == [True] * 7
    assert heard == [{name: one[name] for name in ("what", "status", "headers", "body")} for one in kept]


def test_the_plugin_reads_what_the_oracle_believed() -> None:
    simulator, heard = replayed()
    channel, ask = open_channel(simulator.settings(BASE)), ask_of(dict(simulator.settings(BASE)))
    refund = World().refund("RF202611220001", payment=ask, captured_minor=12800)
    _, query, _, close, send, _, found = heard
    for conversation, said, kind in (
        (channel.query(ask), query, Waiting),
        (channel.close(ask), close, AlreadyPaid),
        (channel.refund(refund), send, RefundProcessing),
        (channel.query_refund(refund), found, Refunded),
    ):
        finding, _ = scripted(conversation, Reply(said["status"], said["headers"], said["body"].encode()))
        assert type(finding) is kind
        assert finding.authenticated
    for said, kept in zip(heard, vectors("oracle")["heard"], strict=True):
        if said["what"] == "notice":
            notice = RawNotice("POST", "/v1/notices/ac1", said["headers"], said["body"].encode())
            (about,) = channel.read_notice(notice, NOW).findings
            assert about.payment_id == kept["opened"]["out_trade_no"]


def test_a_device_takes_what_the_oracle_signed() -> None:
    simulator, heard = replayed()
    settings, prepay_id = dict(simulator.settings(BASE)), prepay_id_of(heard)
    payloads = vectors("oracle")["payloads"]
    device = Device(simulator.books.prepays, simulator.merchants.keys_of)
    request = {
        "appId": settings["appid"],
        "partnerId": settings["mchid"],
        "prepayId": prepay_id,
        "packageValue": "Sign=WXPay",
        "nonceStr": NONCE,
        "timeStamp": str(NOW // 1_000_000),
        "sign": payloads["app"],
    }
    assert device.take_app(request, Target.ANDROID, NOW).out_trade_no == "PC202611220001"
    with pytest.raises(Rejected):
        device.take_app(request | {"sign": payloads["jsapi"]}, Target.ANDROID, NOW)


def test_every_call_of_the_story_is_in_it() -> None:
    settings = dict(simulator_of().settings(BASE))
    assert len(calls(settings)) == len(vectors("oracle")["authorizations"])
    assert json.loads(calls(settings)[0][2])["mchid"] == settings["mchid"]
