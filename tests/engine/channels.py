"""Small channels for tests: well behaved, silent, and every way in which a stranger's code can be bad."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from paycore.channel import (
    AccountKeys,
    AfterUnknown,
    Channel,
    ChannelKind,
    ChannelVerb,
    Closed,
    Confirmed,
    Conversation,
    EvidenceAsk,
    Forged,
    Input,
    Limit,
    Method,
    NotFound,
    Notice,
    NoticeCase,
    NoticeReply,
    Operation,
    OperationAsk,
    OperationDone,
    OperationFinding,
    Paid,
    PaymentAsk,
    PaymentFinding,
    RawNotice,
    Ready,
    RefreshAsk,
    Refreshed,
    RefreshFinding,
    RefundAsk,
    RefundFinding,
    RefundProcessing,
    Request,
    Secret,
    Setting,
    Statement,
    StatementAsk,
    StatementFinding,
    StatementKind,
    Text,
    Waiting,
)
from paycore_bridge import Plan, Qr, Step

GATE = "https://channel.example"
ACK = NoticeReply(200, {"content-type": "text/plain"}, b"success")
REFUSALS: Mapping[NoticeCase, NoticeReply] = {
    NoticeCase.FORGED: NoticeReply(401, {"content-type": "text/plain"}, b"fail: forged"),
    NoticeCase.WRONG_ACCOUNT: NoticeReply(403, {"content-type": "text/plain"}, b"fail: wrong account"),
    NoticeCase.NOT_NOW: NoticeReply(503, {"content-type": "text/plain"}, b"fail: later"),
}
PLAN = Plan.of(Step.of(Qr("https://channel.example/qr/1"))).to_json()

Script = Callable[[Any], Conversation[Any]]
"""What a verb does: a generator function over its ask."""


def ready(ask: PaymentAsk) -> Conversation[PaymentFinding]:
    """Asks once, then is ready."""
    yield Request("POST", f"{GATE}/prepare")
    return Ready(PLAN)


def waiting(ask: PaymentAsk) -> Conversation[PaymentFinding]:
    yield Request("POST", f"{GATE}/query")
    return Waiting()


def closed(ask: PaymentAsk) -> Conversation[PaymentFinding]:
    yield Request("POST", f"{GATE}/close")
    return Closed()


def not_found(ask: PaymentAsk) -> Conversation[PaymentFinding]:
    yield Request("POST", f"{GATE}/query")
    return NotFound()


def paid(ask: PaymentAsk) -> Conversation[PaymentFinding]:
    yield Request("POST", f"{GATE}/query")
    return Paid(ask.amount_minor, ask.currency, "M1")


def signs(ask: PaymentAsk) -> Conversation[PaymentFinding]:
    """Asks nobody anything."""
    yield from ()
    return Ready(PLAN)


def processing(ask: RefundAsk) -> Conversation[RefundFinding]:
    yield Request("POST", f"{GATE}/refund")
    return RefundProcessing()


def fetched(ask: RefreshAsk) -> Conversation[RefreshFinding]:
    """Fetches one more each time."""
    yield Request("GET", f"{GATE}/certificates")
    before = ask.blob.reveal() if ask.blob is not None else ""
    return Refreshed(Secret(f"{before}certificate "))


def empty_day(ask: StatementAsk) -> Conversation[StatementFinding]:
    yield Request("GET", f"{GATE}/bill")
    return Statement(ask.statement, ask.day, "M1", ())


def did(ask: OperationAsk) -> Conversation[OperationFinding]:
    yield Request("POST", f"{GATE}/operate")
    return OperationDone({"name": ask.name})


def says(answer: object, *, asks: int = 1) -> Script:
    """A verb that asks so often, then returns this, whatever it is."""

    def script(ask: Any) -> Conversation[Any]:
        for _ in range(asks):
            yield Request("POST", f"{GATE}/say")
        return answer

    return script


def raises(error: BaseException, *, asks: int = 0) -> Script:
    """A verb that asks so often, then raises."""

    def script(ask: Any) -> Conversation[Any]:
        for _ in range(asks):
            yield Request("POST", f"{GATE}/raise")
        raise error

    return script


@dataclass
class ScriptedChannel:
    """A channel whose verbs do what a test says. What is asked is kept."""

    merchant: str = "M1"
    prepare_: Script = ready
    query_: Script = waiting
    close_: Script = closed
    refund_: Script = processing
    query_refund_: Script = processing
    read_: Callable[[RawNotice, int], Any] = lambda notice, now: _forged()
    confirm_: Script = field(default_factory=lambda: raises(Forged("not ours")))
    statement_: Script = empty_day
    refresh_: Script = fetched
    operate_: Script = did
    asked: list[tuple[str, Any]] = field(default_factory=list)
    keys: AccountKeys | None = None

    def prepare(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        self.asked.append(("prepare", ask))
        return self.prepare_(ask)

    def query(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        self.asked.append(("query", ask))
        return self.query_(ask)

    def close(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        self.asked.append(("close", ask))
        return self.close_(ask)

    def refund(self, ask: RefundAsk) -> Conversation[RefundFinding]:
        self.asked.append(("refund", ask))
        return self.refund_(ask)

    def query_refund(self, ask: RefundAsk) -> Conversation[RefundFinding]:
        self.asked.append(("query_refund", ask))
        return self.query_refund_(ask)

    def read_notice(self, notice: RawNotice, now: int) -> Notice:
        self.asked.append(("read_notice", notice))
        return self.read_(notice, now)  # type: ignore[no-any-return]

    def confirm(self, ask: EvidenceAsk) -> Conversation[Confirmed]:
        self.asked.append(("confirm", ask))
        return self.confirm_(ask)

    def statement(self, ask: StatementAsk) -> Conversation[StatementFinding]:
        self.asked.append(("statement", ask))
        return self.statement_(ask)

    def refresh(self, ask: RefreshAsk) -> Conversation[RefreshFinding]:
        self.asked.append(("refresh", ask))
        return self.refresh_(ask)

    def operate(self, ask: OperationAsk) -> Conversation[OperationFinding]:
        self.asked.append(("operate", ask))
        return self.operate_(ask)

    def verbs(self) -> list[str]:
        """The names of what was asked, in order."""
        return [name for name, _ in self.asked]


def _forged() -> Notice:
    raise Forged("nothing here verifies")


METHODS = (
    Method("qr", "qr", Text("扫码", "QR"), ("qr",), {"CNY": Limit(1, 1_000_000), "JPY": Limit(1, 1_000_000)}),
    Method(
        "app",
        "app",
        Text("应用", "App"),
        ("sdk",),
        {"CNY": Limit(100, 1_000_000)},
        faces=("android", "ios"),
        targets=("android", "ios"),
        needs_app="wallet",
        least_sdks={"wallet": "2.10"},
    ),
    Method(
        "jsapi",
        "jsapi",
        Text("公众号", "In-wallet page"),
        ("jsapi",),
        {"CNY": Limit(1, 1_000_000)},
        inputs=(Input("openid", Text("用户标识", "Payer's id"), r"[A-Za-z0-9]{4,32}"),),
    ),
    Method(
        "code",
        "barcode",
        Text("付款码", "Barcode"),
        ("none",),
        {"CNY": Limit(1, 1_000_000)},
        inputs=(Input("auth_code", Text("付款码", "Code"), r"[0-9]{18}"),),
        expiry_max_seconds=600,
        after_unknown=AfterUnknown.QUERY_THEN_CLOSE,
        may_pay_at_prepare=True,
    ),
)
SETTINGS = (
    Setting("merchant", Text("商户号", "Merchant"), identity=True, pattern=r"[A-Z0-9]{1,16}"),
    Setting("key", Text("密钥", "Key"), secret=True, pattern=r"[a-z0-9-]{1,64}"),
    Setting("gate", Text("网关", "Gate"), required=False, default=GATE),
)


def kind_of(channel: Channel | None = None, **changes: Any) -> ChannelKind:
    """A kind that opens this channel for every account."""
    scripted = channel or ScriptedChannel()

    def open_(keys: AccountKeys) -> Channel:
        key = keys.versions[0].settings["key"]
        if isinstance(key, Secret) and key.reveal() == "bad":
            raise ValueError("the key cannot be read")
        if isinstance(scripted, ScriptedChannel):
            scripted.keys = keys
            return _at(scripted, keys)
        return scripted

    whole = ChannelKind(
        name="scripted",
        title=Text("测试渠道", "Test channel"),
        methods=METHODS,
        verbs=frozenset(ChannelVerb) - {ChannelVerb.REFRESH},  # which the clock would call by itself
        settings=SETTINGS,
        open=open_,
        refusals=REFUSALS,
        statements=(StatementKind("trade", Text("交易", "Trades")),),
        operations=(Operation("remind", Text("提醒", "Remind")),),
    )
    verbs = changes.get("verbs", whole.verbs)
    fitting: dict[str, Any] = {
        "statements": whole.statements if ChannelVerb.STATEMENT in verbs else (),
        "refresh_seconds": 3600 if ChannelVerb.REFRESH in verbs else None,
        "operations": whole.operations if ChannelVerb.OPERATE in verbs else (),
    }
    return replace(whole, **{**fitting, **changes})


def _at(scripted: ScriptedChannel, keys: AccountKeys) -> ScriptedChannel:
    """The same script for another merchant, whose questions are kept in the same list."""
    merchant = str(keys.versions[0].settings["merchant"])
    if merchant == scripted.merchant:
        return scripted
    return replace(scripted, merchant=merchant)
