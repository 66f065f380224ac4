"""Spoilt secrets: session tokens, API keys, page tokens, evidence, and the positions that streams are resumed from.

Each is one text with one spelling: whatever is not that very text opens nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from paycore.core.refusals import Reason, Refused
from paycore.testing.mutate import Mutator
from paycore.v1 import cashier_pb2, order_pb2
from tests.fuzz.corpus import Corpus
from tests.fuzz.house import RIVAL_KEY, SHOP_KEY
from tests.fuzz.oracle import Watchman, check_refusal, expect

NOBODY = frozenset({Reason.CREDENTIALS_INVALID, Reason.CREDENTIALS_MISSING, Reason.SESSION_INVALID})
NOT_A_PAGE = frozenset({Reason.BAD_PAGE_TOKEN, Reason.FIELD_TOO_LONG, Reason.ILLEGAL_CHARACTER})
NOT_EVIDENCE = frozenset(
    {Reason.EVIDENCE_UNTRUSTED, Reason.EVIDENCE_MALFORMED, Reason.FIELD_REQUIRED, Reason.FIELD_TOO_LONG}
    | {Reason.ILLEGAL_CHARACTER}
)
NO_POSITION = frozenset({Reason.BAD_RESUME, Reason.RESUME_AHEAD})


@dataclass(frozen=True, slots=True)
class Attempt:
    """Something that looks like a secret, and a call that would show whether it opens something."""

    kind: str
    text: str
    request: Message
    authorization: str
    is_right: bool
    """Whether, by chance, it is the very text."""
    refusals: frozenset[Reason]

    def __str__(self) -> str:
        return f"{self.kind} {self.text!r} {type(self.request).__name__} right={self.is_right}"


class Tokens:
    """Draws texts that nobody was given, and judges what they open."""

    name = "tokens"

    def __init__(self, corpus: Corpus, watchman: Watchman, seed: int) -> None:
        self._corpus = corpus
        self._house = corpus.house
        self._watchman = watchman
        self._dice = random.Random(f"tokens {seed}")
        self._mutator = Mutator(f"tokens {seed}")

    def draw(self) -> Attempt:
        kinds = [self._session, self._session, self._key, self._page, self._page, self._evidence, self._evidence]
        return self._dice.choice([*kinds, self._resume])()

    def _spoilt(self, text: str, others: list[str]) -> str:
        """Mutated, or only its last characters turned: where a lax reader sees no difference."""
        if self._dice.random() < 0.2:
            place = self._dice.choice((len(text) - 1, len(text) - 2, len(text) - 3))
            return text[:place] + self._dice.choice("AQgwBRhx=-_+/.\n ") + text[place + 1 :]
        return self._mutator.spoil_text(text, others)

    def _session(self) -> Attempt:
        session_id, token = self._dice.choice(self._corpus.sessions)
        tokens = [one for _, one in self._corpus.sessions]
        text = self._spoilt(token, [*tokens, SHOP_KEY])
        ask = cashier_pb2.GetCashierSessionRequest(session_id=session_id)
        return Attempt("session", text, ask, f"Bearer {text}", text == token, NOBODY | {Reason.SESSION_NOT_FOUND})

    def _key(self) -> Attempt:
        text = self._spoilt(SHOP_KEY, [RIVAL_KEY, *(token for _, token in self._corpus.sessions)])
        order_id = self._corpus.ids["order_id"][0]
        ask = order_pb2.GetOrderRequest(order_id=order_id)
        others = {RIVAL_KEY: frozenset({Reason.ORDER_NOT_FOUND})}
        return Attempt("key", text, ask, f"Bearer {text}", text == SHOP_KEY, others.get(text, NOBODY))

    def _page(self) -> Attempt:
        asked, token = self._dice.choice(self._corpus.page_tokens)
        tokens = [one for _, one in self._corpus.page_tokens]
        text = self._dice.choice(tokens) if self._dice.random() < 0.1 else self._spoilt(token, tokens)
        ask: Any = type(asked)()
        ask.CopyFrom(asked)
        ask.page_token = text
        return Attempt("page", text, ask, f"Bearer {SHOP_KEY}", text in ("", token), NOT_A_PAGE)

    def _evidence(self) -> Attempt:
        receipt = self._dice.choice(self._corpus.receipts)
        text = self._spoilt(receipt, [*self._corpus.receipts, *(token for _, token in self._corpus.sessions)])
        ask = cashier_pb2.ConfirmPaymentRequest(channel="sandbox", evidence=text, request_id=self._corpus.fresh_key())
        return Attempt("evidence", text, ask, f"Bearer {SHOP_KEY}", text == receipt, NOT_EVIDENCE)

    def _resume(self) -> Attempt:
        """A position is a number of the caller's: too far and below nothing are refused, all others show what is theirs."""
        order_id = self._corpus.ids["order_id"][0]
        number = self._dice.choice((0, 1, 5, 2**31, 2**63 - 1, -1, -(2**63), self._dice.randrange(-5, 40)))
        ask = order_pb2.WatchOrderRequest(order_id=order_id, resume_after=number)
        [(version,)] = self._house.books.execute("SELECT version FROM orders WHERE order_id = ?", (order_id,))
        return Attempt("resume", str(number), ask, f"Bearer {SHOP_KEY}", 0 <= number <= version, NO_POSITION)

    # ------------------------------------------------------------------------------------ judging

    async def judge(self, given: Attempt) -> None:
        rpc = type(given.request).__name__.removesuffix("Request")
        try:
            await self._house.send(rpc, given.request.SerializeToString(), given.authorization)
        except Refused as refused:
            check_refusal(refused)
            expect(not given.is_right, f"the right one was refused: {refused.reason}")
            expect(refused.reason in given.refusals, f"it was refused as {refused.reason}")
            self._watchman.nothing_happened(f"a spoilt {given.kind}")
            return
        expect(given.is_right, "it opened something")
