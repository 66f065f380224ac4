"""Speaking with WeChat Pay: signed requests to the gateway or its backup, and answers that count only as far as they prove.

Sources: APIv3, "Signature generation", "Signature verification", "Disaster recovery across cities", "Error codes".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from paycore.channel import Conversation, PaymentFinding, RefundFinding, Reply, Request, Silence
from paycore_wechatpay import signing, wire
from paycore_wechatpay.keys import Keys, Verifiers
from paycore_wechatpay.wire import Unreadable

USER_AGENT = "paycore-wechatpay/0.1"
STEP_SECONDS = 3.5
"""How long one host may take: the gateway and its backup fit into one call together."""
FILE_SECONDS = 60.0
FROM_A_PROXY = frozenset({502, 503, 504})
REDACTED = frozenset({"authorization", "auth_code", "openid"})

Finding = TypeVar("Finding", bound=PaymentFinding | RefundFinding)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: empty code when it was done. An unsigned refusal is a hint, whatever it says.

    `code` is without underscores, because one error is written both ways (ORDER_CLOSED, ORDERCLOSED).
    """

    status: int
    code: str
    document: Mapping[str, Any]
    is_signed: bool


@dataclass(frozen=True, slots=True)
class Question:
    """One request, before it is signed. `path` is the path with its query below the gateway."""

    method: str
    path: str
    now: int
    nonce: str
    body: bytes = b""
    is_repeatable: bool = True
    """Whether it may go to the backup when the gateway may have heard it already."""
    seconds: float = STEP_SECONDS
    max_reply_bytes: int | None = None


def get(path: str, *, now: int, nonce: str) -> Question:
    """A question that changes nothing."""
    return Question("GET", path, now, nonce)


def post(path: str, document: Mapping[str, Any], *, now: int, nonce: str, is_repeatable: bool = True) -> Question:
    """A question with a document."""
    return Question("POST", path, now, nonce, wire.write(document), is_repeatable)


def ask(keys: Keys, verifiers: Verifiers, question: Question) -> Conversation[Answer]:
    """Ask, and return the answer read. Raises Unreadable for one that proves nothing, Silence when none came."""
    reply = yield from carry(keys, question)
    return read(verifiers, reply, question.now)


def carry(keys: Keys, question: Question) -> Conversation[Reply]:
    """Ask the gateway, then its backup when the gateway cannot be reached or is out of order.

    What may have been heard is asked again only where asking twice is the same as asking once: everything but a barcode
    payment, because merchant numbers are taken once ("same out_trade_no, same out_refund_no").
    """
    silence = Silence("no host was asked", was_sent=False)
    for number, host in enumerate(keys.hosts, start=1):
        is_last = number == len(keys.hosts)
        try:
            reply = yield _signed(keys, question, host, number)
        except Silence as error:
            silence = error if error.was_sent or not silence.was_sent else silence
            if error.was_sent and not question.is_repeatable:
                break
            continue
        if is_last or reply.status not in FROM_A_PROXY or not question.is_repeatable:
            return reply
        silence = Silence(f"the gateway answered {reply.status}")
    raise silence


def _signed(keys: Keys, question: Question, host: str, number: int) -> Request:
    timestamp = str(question.now // signing.SECOND)
    nonce = question.nonce if number == 1 else another_nonce(question.nonce, f"host {number}")
    headers = {
        "accept": "application/json",
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "authorization": signing.authorization(
            keys.private,
            mchid=keys.mchid,
            serial=keys.serial,
            method=question.method,
            path=question.path,
            timestamp=timestamp,
            nonce=nonce,
            body=question.body,
        ),
    }
    if keys.public_key_id:
        headers[signing.SERIAL] = keys.public_key_id
    return Request(
        question.method,
        f"{host}{question.path}",
        headers=headers,
        body=question.body,
        timeout_seconds=question.seconds,
        redact=REDACTED,
        max_reply_bytes=question.max_reply_bytes,
    )


def another_nonce(nonce: str, purpose: str) -> str:
    """A second nonce of the same conversation: as unforeseeable as the first, and another text."""
    return hashlib.sha256(f"{nonce}|{purpose}".encode()).hexdigest()[:32]


# ---------------------------------------------------------------------------------------------- reading


def read(verifiers: Verifiers, reply: Reply, now: int) -> Answer:
    """The answer in a reply. A 2xx must be signed; a 4xx may be, and is a hint if it is not; a 5xx says nothing.

    Source: "Signature verification" (every answer that was done is signed) and "Error codes" (500: ask again with the same
    parameters).
    """
    if reply.status >= 500 or 300 <= reply.status < 400:
        raise Unreadable(f"WeChat Pay answered {reply.status}")
    is_signed = verifiers.prove(reply.headers, reply.body, now)
    if reply.status < 300:
        if not is_signed:
            raise Unreadable("the answer does not verify")
        document = wire.read(reply.body) if reply.body else {}
        return Answer(reply.status, _code(document) if reply.status == 202 else "", document, is_signed)
    document = wire.read(reply.body)
    code = _code(document)
    if not code:
        raise Unreadable(f"WeChat Pay answered {reply.status} without a code")
    return Answer(reply.status, code, document, is_signed)


def _code(document: Mapping[str, Any]) -> str:
    code = document.get("code")
    return squeezed(code) if isinstance(code, str) else ""


def squeezed(code: str) -> str:
    """An error code in the one spelling of our tables. Both of WeChat Pay's are in use: SYSTEM_ERROR, SYSTEMERROR."""
    return code.replace("_", "").upper()[:64]
