"""Apple's own library on the other side of the table, and mutants for our readers."""

from __future__ import annotations

import base64
import os
import random
import time
from collections.abc import Callable, Iterator

import pytest
from appstoreserverlibrary.api_client import AppStoreServerAPIClient
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier
from cryptography.hazmat.primitives.serialization import Encoding

from paycore.channel import EvidenceAsk, Forged, RawNotice, Request
from paycore_appleiap import AppStoreSimulator
from paycore_appleiap.form import take_apart
from paycore_appleiap.simulator.authority import base64url, part
from paycore_appleiap.simulator.server import APPLE_ID, BUNDLE

from .support import BASE, NOW, SECOND, case, notice_of, open_channel, payment, scripted, vector_settings

MUTANTS = int(os.environ.get("APPLEIAP_MUTANTS", "4000"))
"""How many notices, and how many transactions, the readers are given. 100,000 of each were, once."""


def test_apples_library_believes_what_the_simulator_signs() -> None:
    simulator = AppStoreSimulator("oracle", notify_url="https://pay.example/v1/notices/ac1")
    roots = [simulator.authority.root.public_bytes(Encoding.DER)]
    verifier = SignedDataVerifier(roots, False, Environment.SANDBOX, BUNDLE, APPLE_ID)
    sale = simulator.sell("com.example.game.vip", NOW, amount_minor=1500, token="0f8fad5b-d9cb-469f-a165-70867728950e")
    simulator.renew(sale, NOW)
    read = verifier.verify_and_decode_signed_transaction(simulator.signed(sale, NOW))
    assert (read.productId, read.price, read.currency) == ("com.example.game.vip", 15_000, "CNY")
    [letter] = simulator.due(NOW)
    import json

    notification = verifier.verify_and_decode_notification(json.loads(letter.request.body)["signedPayload"])
    assert notification.data is not None
    assert notification.data.signedRenewalInfo is not None
    verifier.verify_and_decode_renewal_info(notification.data.signedRenewalInfo)


def test_the_simulator_lets_apples_client_in() -> None:
    simulator = AppStoreSimulator("oracle")
    settings = simulator.settings(BASE)
    client = AppStoreServerAPIClient(
        settings["private_key"].encode(), settings["key_id"], settings["issuer_id"], BUNDLE, Environment.SANDBOX
    )
    sale = simulator.sell("p", NOW, amount_minor=600)
    now = round(time.time()) * SECOND
    headers = {"authorization": f"Bearer {client._generate_token()}"}
    url = f"{BASE}/inApps/v1/transactions/{sale.transaction_id}"
    good = simulator.handle(Request("GET", url, headers), now)
    late = simulator.handle(Request("GET", url, headers), now + 3600 * SECOND)
    assert good is not None
    assert late is not None
    assert (good.status, late.status) == (200, 401)


def mutants(genuine: str, seed: int, count: int) -> Iterator[str]:
    """The text with letters changed, lost, doubled, moved: most of them no JWS any more."""
    chance = random.Random(seed)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.={}\"', \n\x00é"
    for _ in range(count):
        text = list(genuine)
        for _ in range(chance.choice([1, 1, 1, 2, 5])):
            place = chance.randrange(len(text))
            deed = chance.random()
            if deed < 0.5:
                text[place] = chance.choice(letters)
            elif deed < 0.7:
                del text[place]
            elif deed < 0.85:
                text.insert(place, chance.choice(letters))
            else:
                text = text[:place] + text[place : place + 40] + text[place:]
        mutant = "".join(text)
        if mutant != genuine:
            yield mutant


def well_formed(genuine: str, seed: int, count: int) -> Iterator[str]:
    """The document with something else in it, written as a JWS is: only the signature can tell."""
    chance = random.Random(seed)
    signed = take_apart(genuine)
    for number in range(count):
        header, payload, signature = dict(signed.header), dict(signed.payload), bytearray(signed.signature)
        deed = chance.randrange(4)
        if deed == 0:
            name = chance.choice([*payload])
            payload[name] = chance.choice([number, str(number), 0, -1, "", "x" * number, [number], {"a": number}])
        elif deed == 1:
            del payload[chance.choice([*payload])]
            payload[f"x{number}"] = number
        elif deed == 2:
            chain = list(header["x5c"])
            der = bytearray(base64.b64decode(chain[place := chance.randrange(len(chain))]))
            der[chance.randrange(len(der))] ^= 1 << chance.randrange(8)
            header["x5c"] = [*chain[:place], base64.b64encode(der).decode(), *chain[place + 1 :]]
        else:
            signature[chance.randrange(len(signature))] ^= 1 << chance.randrange(8)
        mutant = f"{part(header)}.{part(payload)}.{base64url(bytes(signature))}"
        if mutant != genuine:
            yield mutant


@pytest.mark.parametrize("make", [mutants, well_formed])
def test_no_mutant_of_a_transaction_is_believed(make: Callable[[str, int, int], Iterator[str]]) -> None:
    channel, genuine = open_channel(vector_settings()), case("tx_consumable")["jws"]
    for mutant in make(genuine, 3, MUTANTS // 2):
        with pytest.raises(Forged):
            scripted(channel.confirm(EvidenceAsk(mutant, payment(), NOW, "0" * 32)))


def test_no_mutant_of_a_notice_is_taken() -> None:
    channel, genuine = open_channel(vector_settings()), notice_of(case("n_refund")["jws"]).body.decode()
    taken = 0
    for mutant in mutants(genuine, 7, MUTANTS // 2):
        try:
            notice = channel.read_notice(RawNotice("POST", "/", {}, mutant.encode()), NOW)
        except Forged:
            continue
        taken += 1
        assert notice.findings == channel.read_notice(notice_of(case("n_refund")["jws"]), NOW).findings, mutant[:80]
    assert taken < MUTANTS // 50, "only white space around the one member may differ"


def test_no_well_formed_mutant_of_a_notice_is_taken() -> None:
    channel = open_channel(vector_settings())
    for mutant in well_formed(case("n_refund")["jws"], 7, MUTANTS // 2):
        with pytest.raises(Forged):
            channel.read_notice(notice_of(mutant), NOW)


def test_what_no_key_of_its_own_leaf_signed_builds_no_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of forgeries is cheap. What did get a signature of its own leaf is judged by Apple's library, whole."""
    judged: list[str] = []
    verify = SignedDataVerifier.verify_and_decode_signed_transaction

    def watched(verifier: SignedDataVerifier, jws: str) -> object:
        judged.append(jws)
        return verify(verifier, jws)

    monkeypatch.setattr(SignedDataVerifier, "verify_and_decode_signed_transaction", watched)
    simulator = AppStoreSimulator("oracle")
    channel = open_channel(simulator.settings(BASE))
    sale = simulator.sell("p", NOW, amount_minor=600)
    genuine = simulator.signed(sale, NOW)
    spoilt = [*mutants(genuine, 5, 200), *well_formed(genuine, 5, 200)]
    forged = simulator.forged(sale.document("Sandbox", NOW))
    for evidence in (*spoilt, *forged.values()):
        with pytest.raises(Forged):
            scripted(channel.confirm(EvidenceAsk(evidence, payment(), NOW, "0" * 32)))
    assert set(judged) == {
        forged[name]
        for name in ("key", "own root at the end", "leaf without its mark", "intermediate without its mark")
    }
    scripted(channel.confirm(EvidenceAsk(genuine, payment(), NOW, "0" * 32)))
    assert judged[-1] == genuine
