"""Spoilt notices: into the HTTP face as an ASGI server would hand them over, and through NoticeService.

Two kinds. Most are genuine notices spoilt after the channel signed them: they prove nothing and change nothing. Some are
spoilt before the channel signs: genuine nonsense, which may change what it is entitled to, but never breaks anything.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from paycore.channel import OutgoingNotice
from paycore.core.refusals import Refused
from paycore.testing.mutate import Mutator
from paycore.v1 import notice_pb2
from paycore_sandbox import signing
from tests.fuzz.corpus import Corpus
from tests.fuzz.genuine import account_of, is_genuine
from tests.fuzz.house import SHOP_KEY, House
from tests.fuzz.oracle import Watchman, check_refusal, expect

Headers = list[tuple[bytes, bytes]]
STATUSES = frozenset({200, 400, 401, 403, 404, 405, 408, 413, 431})
"""Nothing else is answered, least of all 500 or 503. 403 is the sandbox's word for a genuine notice about another merchant."""
METHODS = ("GET", "PUT", "HEAD", "OPTIONS", "TRACE", "post", "POST\0")


@dataclass(frozen=True, slots=True)
class Letter:
    """A notice on its way: everything that may be spoilt."""

    method: str
    path: bytes
    query: bytes
    headers: Headers
    body: bytes
    is_signed_late: bool = False
    """Spoilt first, signed by the channel afterwards."""
    over_http: bool = True

    def __str__(self) -> str:
        return f"{self.method} {self.path!r}?{self.query!r} {self.headers} {self.body!r} late={self.is_signed_late}"

    @property
    def account_id(self) -> str:
        """The account that the address names, as a server reads it."""
        prefix, _, account = unquote(self.path.decode("latin-1")).rpartition("/")
        return account if prefix == "/v1/notices" else ""


@dataclass
class Answer:
    """What an ASGI application answered."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""


class Notices:
    """Draws spoilt notices and judges what became of them."""

    name = "notices"

    def __init__(self, corpus: Corpus, watchman: Watchman, seed: int) -> None:
        self._corpus = corpus
        self._house = corpus.house
        self._watchman = watchman
        self._dice = random.Random(f"notices {seed}")
        self._mutator = Mutator(f"notices {seed}")
        self._bodies = [notice.request.body for notice in corpus.notices]

    # ------------------------------------------------------------------------------------ drawing

    def draw(self) -> Letter:
        notice = self._dice.choice(self._corpus.notices)
        if self._dice.random() < 0.12:
            return self._nonsense(notice)
        letter = _letter(notice, over_http=self._dice.random() < 0.7)
        if self._dice.random() < 0.03:
            letter = _letter(notice, over_http=letter.over_http, account_id=self._house.rival_account_id)
        for _ in range(self._dice.choice((1, 1, 1, 2, 3))):
            letter = self._dice.choice(self._spoilers)(letter)
        return letter

    @property
    def _spoilers(self) -> list[Callable[[Letter], Letter]]:
        return [
            self._body,
            self._body,
            self._header,
            self._header,
            self._headers,
            self._address,
            self._query,
            self._method,
        ]

    def _body(self, letter: Letter) -> Letter:
        return _with(letter, body=self._mutator.spoil(letter.body, self._bodies))

    def _header(self, letter: Letter) -> Letter:
        """Another value for one of the headers that are signed, or another notice's."""
        headers = list(letter.headers)
        place = self._dice.randrange(len(headers))
        name, value = headers[place]
        other = self._dice.choice(self._corpus.notices).request.headers.get(name.decode("latin-1").lower(), "")
        changed = other.encode() if self._dice.random() < 0.2 else self._mutator.spoil(value, [other.encode()])
        headers[place] = (name, changed)
        return _with(letter, headers=headers)

    def _headers(self, letter: Letter) -> Letter:
        """Fewer, more, doubled or renamed headers."""
        headers = list(letter.headers)
        place = self._dice.randrange(len(headers))
        name, value = headers[place]
        match self._dice.randrange(5):
            case 0:
                del headers[place]
                headers = headers or [(b"x", b"")]
            case 1:
                headers.insert(self._dice.randrange(len(headers) + 1), (name, value))
            case 2:
                headers[place] = (name.swapcase() if not letter.over_http else name + b"-", value)
            case 3:
                headers += [(b"x-forwarded-for", b"192.0.2.1"), (b"content-type", b"text/xml")]
            case _:
                headers.append((b"x-more", b"m" * self._dice.choice((1, 7000, 40_000))))
        return _with(letter, headers=headers)

    def _address(self, letter: Letter) -> Letter:
        if self._dice.random() < 0.3:
            place = self._dice.randrange(len(letter.path))
            return _with(letter, path=letter.path[:place] + b"%%%02X" % letter.path[place] + letter.path[place + 1 :])
        return _with(letter, path=_printable(self._mutator.spoil(letter.path)))

    def _query(self, letter: Letter) -> Letter:
        return _with(letter, query=_printable(self._mutator.spoil(b"sandbox-signature=1&x=%2e")))

    def _method(self, letter: Letter) -> Letter:
        return _with(letter, method=self._dice.choice(METHODS)) if self._dice.random() < 0.3 else self._query(letter)

    # ------------------------------------------------------------------------------------ genuine nonsense

    def _nonsense(self, notice: OutgoingNotice) -> Letter:
        """Something that the channel really signed and that makes no sense."""
        body = notice.request.body
        if self._dice.random() < 0.5:
            body = json.dumps(self._twisted(json.loads(body)), separators=(",", ":")).encode()
        else:
            body = self._mutator.spoil(body, self._bodies)
        signed = dict(notice.request.headers)
        words = ("sandbox-notice", *(signed[name] for name in (signing.MERCHANT, signing.TIMESTAMP, signing.NONCE)))
        signed[signing.SIGNATURE] = signing.sign(self._house.simulator._channel_key, *words, body=body)
        headers = [(name.encode(), value.encode()) for name, value in signed.items()]
        return _with(_letter(notice, over_http=True), headers=headers, body=body, is_signed_late=True)

    def _twisted(self, document: Any) -> Any:
        """The document with one value somewhere replaced by one of another kind, or by another of its own."""
        if isinstance(document, Mapping) and document and self._dice.random() < 0.9:
            name = self._dice.choice(sorted(document))
            return {**document, name: self._twisted(document[name])}
        if isinstance(document, list) and document and self._dice.random() < 0.8:
            return [self._twisted(document[0]), *document[1:]]
        ids = [one for held in self._corpus.ids.values() for one in held]
        strange: list[Any] = [
            *(
                None,
                True,
                0,
                -1,
                10**15,
                10**30,
                "",
                "0",
                "0.01",
                "100000000.00",
                "-1.00",
                "1e2",
                "NaN",
                "\0",
                "\ud800",
            ),
            *("x" * 70_000, "x" * 300, [], {}, [[[]]] * 3, {"a": {}}, "PAID", "CLOSED", "SUCCESS", "BOUNCED", "refund"),
            *("JPY", "XXX", "trade", "purchase", 1_795_000_000_000),
            *self._dice.sample(ids, 4),
        ]
        return self._dice.choice(strange)

    # ------------------------------------------------------------------------------------ judging

    async def judge(self, given: Letter) -> None:
        status = await self._over_http(given) if given.over_http else await self._over_grpc(given)
        expect(status in STATUSES, f"it was answered with {status}")
        if given.is_signed_late:
            self._check_money()
            return
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in given.headers]
        if is_genuine(self._corpus.notices, given.account_id, given.method, headers, given.body):
            self._check_genuine(given, status)
            return
        expect(status not in (200, 403), "a notice was believed that nobody signed")
        self._watchman.nothing_happened("a forged notice")

    async def _over_http(self, given: Letter) -> int:
        answer = await ask_web(self._house, given)
        if answer.status in (401, 404, 405, 413, 431) or given.is_signed_late:
            expect(b"raceback" not in answer.body and b"/src/" not in answer.body, f"it says too much: {answer.body!r}")
        return answer.status

    async def _over_grpc(self, given: Letter) -> int:
        try:
            request = notice_pb2.DeliverNoticeRequest(
                account_id=given.account_id,
                http_method=given.method,
                path=(given.path + b"?" + given.query).decode("latin-1"),
                headers=[
                    notice_pb2.NoticeHeader(name=name.decode("latin-1"), value=value.decode("latin-1"))
                    for name, value in given.headers
                ],
                body=given.body,
            )
            answer = await self._house.ask(request, SHOP_KEY)
        except Refused as refused:
            check_refusal(refused)
            return 400
        return int(answer.http_status)

    def _check_genuine(self, given: Letter, status: int) -> None:
        """It is believed, unless what came with it was more than its road takes: large headers, a control character."""
        if status != 200:
            expect(status == (431 if given.over_http else 400), f"a genuine notice was answered with {status}")
            self._watchman.nothing_happened("a notice that was not taken")

    def _check_money(self) -> None:
        """Whatever the channel says: an order is paid by its own amount, and nothing was taken that it does not say."""
        wrong = self._house.books.execute(
            "SELECT o.order_id FROM orders o JOIN payments p USING (order_id) WHERE p.is_effective"
            " AND p.method <> 'store' AND (p.captured_minor <> o.amount_minor OR p.captured_currency <> o.currency)"
        ).fetchall()
        expect(not wrong, f"another amount has paid {wrong}")


def _letter(notice: OutgoingNotice, *, over_http: bool, account_id: str = "") -> Letter:
    path = f"/v1/notices/{account_id or account_of(notice)}".encode()
    headers = [(name.encode(), value.encode()) for name, value in notice.request.headers.items()]
    return Letter(notice.request.method, path, b"", headers, notice.request.body, over_http=over_http)


def _with(letter: Letter, **more: Any) -> Letter:
    known = {name: getattr(letter, name) for name in Letter.__slots__}
    return Letter(**(known | more))


def _printable(raw: bytes) -> bytes:
    """What may stand in a request line: a client has to escape everything else, and does."""
    return b"".join(bytes([one]) if 0x21 <= one <= 0x7E and one not in b"?#" else b"%%%02X" % one for one in raw)


async def ask_web(house: House, letter: Letter) -> Answer:
    """The HTTP face's answer. An ASGI server lowers header names and decodes the path, so this does."""
    answer, said = Answer(), [{"type": "http.request", "body": letter.body, "more_body": False}]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": letter.method,
        "scheme": "http",
        "path": unquote(letter.path.decode("ascii")),
        "raw_path": letter.path,
        "root_path": "",
        "query_string": letter.query,
        "headers": [(name.lower(), value) for name, value in letter.headers],
        "client": ("192.0.2.9", 5000),
        "server": ("pay.example", 80),
    }

    async def receive() -> dict[str, Any]:
        return said.pop(0) if said else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], list(message["headers"])
        else:
            answer.body += message.get("body", b"")

    await house.web(scope, receive, send)
    return answer
