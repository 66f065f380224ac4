"""Spoilt requests of every RPC, as raw bytes into the pipeline; some with another app's key, a token, or spoilt credentials."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError, Message

from paycore.core.refusals import Refused
from paycore.testing.mutate import Mutator
from paycore.v1 import cashier_pb2, notice_pb2
from tests.fuzz.corpus import Corpus
from tests.fuzz.genuine import is_genuine_request
from tests.fuzz.house import RIVAL_KEY, SHOP, SHOP_KEY, House
from tests.fuzz.oracle import READS, Watchman, check_refusal, check_untouched, expect

Send = Callable[..., Awaitable[Message | None]]
"""Takes the name of an RPC, bytes and authorization headers to the house, by whatever road. Raises Refused."""


@dataclass(frozen=True, slots=True)
class Input:
    """One spoilt call."""

    rpc: str
    raw: bytes
    authorization: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.rpc} {self.raw.hex()} {self.authorization}"


class Calls:
    """Draws spoilt calls and judges what became of them."""

    name = "calls"

    def __init__(self, corpus: Corpus, watchman: Watchman, seed: int, send: Send | None = None) -> None:
        self._corpus = corpus
        self._house = corpus.house
        self._send = send or corpus.house.send
        self._watchman = watchman
        self._dice = random.Random(f"calls {seed}")
        self._mutator = Mutator(f"calls {seed}")
        self._rpcs = sorted(corpus.requests)
        self._packed = {rpc: [one.SerializeToString() for one in corpus.requests[rpc]] for rpc in self._rpcs}
        self._everything = [raw for packed in self._packed.values() for raw in packed]
        self._believed = {f"Bearer {key}" for key in (SHOP_KEY, RIVAL_KEY)} | {
            f"Bearer {token}" for _, token in corpus.sessions
        }

    def draw(self) -> Input:
        rpc = self._dice.choice(self._rpcs)
        request = self._dice.choice(self._corpus.requests[rpc])
        if "request_id" in request.DESCRIPTOR.fields_by_name and self._dice.random() < 0.7:
            again = type(request)()
            again.CopyFrom(request)
            again.request_id = self._corpus.fresh_key()  # type: ignore[attr-defined]
            request = again
        others = self._everything if self._dice.random() < 0.5 else self._packed[rpc]
        raw = self._mutator.spoil_message(request.SerializeToString(), others)
        return Input(rpc, raw, self._credentials())

    def _credentials(self) -> tuple[str, ...]:
        drawn, shop = self._dice.random(), f"Bearer {SHOP_KEY}"
        if drawn < 0.8:
            return (shop,)
        if drawn < 0.86:
            return (f"Bearer {RIVAL_KEY}",)
        if drawn < 0.93:
            return (f"Bearer {self._dice.choice(self._corpus.sessions)[1]}",)
        if drawn < 0.95:
            return self._dice.choice([(), (shop, shop), ("Basic c2hvcDo=",)])
        return (self._mutator.spoil_text(shop),)

    async def judge(self, given: Input) -> None:
        orders = _orders_of(self._house) if given.authorization == (f"Bearer {RIVAL_KEY}",) else None
        try:
            answer = await self._send(given.rpc, given.raw, *given.authorization)
        except Refused as refused:
            check_refusal(refused)
            is_genuine = given.rpc == "ConfirmPayment" and self._evidence(given) in self._corpus.receipts
            check_untouched(self._watchman, given.rpc, refused, is_genuine=is_genuine)
            return
        if answer is not None:
            answer.SerializeToString()
        expect(self._is_let_in(given.authorization), "credentials were believed that are nobody's")
        if given.rpc.startswith(READS):
            expect(not self._watchman.has_changed, f"{given.rpc} changed something")
        if orders is not None and given.rpc != "DeliverNotice":  # any edge may forward what a channel signed
            expect(_orders_of(self._house) == orders, "another app's key changed an order of the shop")
        self._check_belief(given, answer)

    def _is_let_in(self, authorization: tuple[str, ...]) -> bool:
        """Whether these are credentials of somebody: one header, the word in either case, and exactly a key or a token."""
        if len(authorization) != 1:
            return False
        word, _, token = authorization[0].partition(" ")
        return word in ("Bearer", "bearer") and f"Bearer {token}" in self._believed

    def _check_belief(self, given: Input, answer: Message | None) -> None:
        """What was believed of a notice or of evidence was genuine."""
        if given.rpc == "ConfirmPayment":
            evidence = self._evidence(given)
            expect(evidence in self._corpus.receipts, f"evidence was believed that nobody signed: {evidence}")
        if given.rpc == "DeliverNotice":
            assert isinstance(answer, notice_pb2.DeliverNoticeResponse)
            expect(answer.http_status < 500, f"a notice was answered with {answer.http_status}")
            request = notice_pb2.DeliverNoticeRequest.FromString(given.raw)
            if is_genuine_request(self._corpus.notices, request):
                expect(answer.http_status == 200, f"a genuine notice was answered with {answer.http_status}")
            else:
                expect(answer.http_status != 200, "a notice was believed that nobody signed")
                self._watchman.nothing_happened("a forged notice")

    def _evidence(self, given: Input) -> str:
        try:
            return cashier_pb2.ConfirmPaymentRequest.FromString(given.raw).evidence
        except DecodeError:
            return ""


def _orders_of(house: House) -> list[tuple[object, ...]]:
    return list(house.books.execute("SELECT order_id, version, state FROM orders WHERE app_id = ? ORDER BY 1", (SHOP,)))
