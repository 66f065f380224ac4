"""Whether what a plugin returned is what it says it is. A plugin is a stranger's code: its answers are looked at, not believed.

This checks form only: types, lengths, characters that a database or a log cannot take, plans that no device can run. What
an answer means is the core's to decide.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from paycore.channel import (
    BillAmount,
    Confirmed,
    LineKind,
    Notice,
    NoticeReply,
    OperationDone,
    OperationFinding,
    OperationRefused,
    Refreshed,
    RefreshFinding,
    Secret,
    Statement,
    StatementFinding,
    StatementLine,
    StatementNotReady,
)
from paycore.core.findings import (
    AboutPayment,
    AboutRefund,
    ChannelRefund,
    Failure,
    NotSent,
    Paid,
    PaymentFinding,
    Ready,
    Reference,
    Refunded,
    RefundFinding,
    StorePurchase,
    Unknown,
)
from paycore.core.money import CURRENCY_EXPONENTS
from paycore_bridge import BadJson, BadStep, Plan

PAYMENT_FINDINGS: tuple[type, ...] = tuple(one for one in get_args(PaymentFinding) if one is not NotSent)
REFUND_FINDINGS: tuple[type, ...] = tuple(one for one in get_args(RefundFinding) if one is not NotSent)
"""NotSent is left out of both: only the engine can know it."""

MAX_AMOUNT = 2**53
MAX_TEXT = 2048
MAX_PLAN = 64 * 1024
MAX_FINDINGS = 100
MAX_BLOB = 64 * 1024
MAX_LINES = 2_000_000
_PARTS = (Failure, Reference, ChannelRefund, StorePurchase)


class Unsound(Exception):
    """What the plugin returned is not an answer. The text is about its form and repeats nothing of it."""


def check_payment_finding(answer: object) -> PaymentFinding:
    """The answer as a finding about a payment. Raises Unsound."""
    if not isinstance(answer, PAYMENT_FINDINGS):
        raise Unsound(f"{type(answer).__name__} is not a finding about a payment")
    _check_fields(answer)
    if isinstance(answer, Paid):
        # What a store sold for nothing is sold all the same; whoever else takes nothing has taken nothing.
        is_free = answer.purchase is not None and answer.amount_minor == 0
        _check_money(1 if is_free else answer.amount_minor, answer.currency)
        for refund in answer.refunds:
            _check_amount(refund.amount_minor)
    if isinstance(answer, Ready):
        _check_plan(answer.plan_json)
    return answer  # type: ignore[return-value]


def check_refund_finding(answer: object) -> RefundFinding:
    """The answer as a finding about a refund. Raises Unsound."""
    if not isinstance(answer, REFUND_FINDINGS):
        raise Unsound(f"{type(answer).__name__} is not a finding about a refund")
    _check_fields(answer)
    if isinstance(answer, Refunded) and answer.amount_minor is not None:
        _check_amount(answer.amount_minor)
    return answer  # type: ignore[return-value]


def check_confirmed(answer: object) -> Confirmed:
    """What `confirm` returned. Raises Unsound."""
    if not isinstance(answer, Confirmed) or not isinstance(answer.may_finish, bool):
        raise Unsound(f"{type(answer).__name__} is not what a confirmation returns")
    _check_abouts(answer.findings)
    return answer


def check_notice(answer: object) -> Notice:
    """What `read_notice` returned. Raises Unsound."""
    if not isinstance(answer, Notice) or not isinstance(answer.notice_id, str):
        raise Unsound(f"{type(answer).__name__} is not a notice")
    _check_text(answer.notice_id, MAX_TEXT)
    _check_abouts(answer.findings)
    check_reply(answer.acknowledge)
    return answer


def check_reply(answer: object) -> NoticeReply:
    """The bytes for a channel. Raises Unsound."""
    if not isinstance(answer, NoticeReply):
        raise Unsound(f"{type(answer).__name__} is not a reply to a notice")
    status: object = answer.status
    body: object = answer.body
    headers: object = answer.headers
    if type(status) is not int or not 200 <= status <= 599:
        raise Unsound("the reply's status is not an HTTP status")
    if not isinstance(body, bytes):
        raise Unsound("the reply's body is not bytes")
    if not isinstance(headers, Mapping):
        raise Unsound("the reply's headers are not a mapping")
    for name, value in headers.items():
        for text in (name, value):
            if not isinstance(text, str) or not text.isascii() or any(mark in text for mark in "\r\n\0"):
                raise Unsound("a header of the reply is not one line of ASCII")
    return answer


def check_refreshed(answer: object) -> RefreshFinding:
    """What `refresh` returned. Raises Unsound."""
    if isinstance(answer, Unknown):
        _check_fields(answer)
        return answer
    if not isinstance(answer, Refreshed) or not isinstance(answer.blob, Secret):
        raise Unsound(f"{type(answer).__name__} is not what a refresh returns")
    _check_text(answer.blob.reveal(), MAX_BLOB)
    again_at: object = answer.again_at
    if again_at is not None and (type(again_at) is not int or not 0 < again_at < 2**62):
        raise Unsound("the time of the next refresh is not one")
    return answer


def check_operation(answer: object) -> OperationFinding:
    """What `operate` returned. Raises Unsound."""
    match answer:
        case Unknown():
            _check_fields(answer)
        case OperationRefused():
            if not isinstance(answer.failure, Failure):
                raise Unsound("a refusal needs its failure")
            _check_fields(answer.failure)
        case OperationDone():
            _check_words(answer.output)
        case _:
            raise Unsound(f"{type(answer).__name__} is not what an operation returns")
    return answer


def check_statement(answer: object) -> StatementFinding:
    """What `statement` returned. Raises Unsound."""
    match answer:
        case Unknown():
            _check_fields(answer)
        case StatementNotReady():
            _check_line_text(answer.note)
        case Statement():
            for text in (answer.statement, answer.day, answer.merchant):
                _check_line_text(text)
            _check_lines(answer.lines)
        case _:
            raise Unsound(f"{type(answer).__name__} is not a statement")
    return answer


def _check_lines(lines: object) -> None:
    if not isinstance(lines, tuple) or len(lines) > MAX_LINES:
        raise Unsound("the lines of a statement are a tuple, and not endless")
    for line in lines:
        _check_line(line)


def _check_line(line: object) -> None:
    if not isinstance(line, StatementLine) or not isinstance(line.kind, LineKind):
        raise Unsound(f"{type(line).__name__} is not a line of a statement")
    for text in (line.payment_id, line.refund_id, line.channel_trade_no, line.channel_refund_no):
        _check_line_text(text)
    if line.currency not in CURRENCY_EXPONENTS:
        raise Unsound("the currency is not one")
    for amount in (line.amount, line.fee):
        if amount is not None and not _is_bill_amount(amount):
            raise Unsound("an amount of a line is not an exact decimal")
    if line.happened_at is not None and (type(line.happened_at) is not int or not 0 <= line.happened_at < 2**62):
        raise Unsound("the time of a line is not one")
    _check_words(line.columns)


def _is_bill_amount(amount: object) -> bool:
    if not isinstance(amount, BillAmount):
        return False
    digits, scale = amount.digits, amount.scale
    return type(digits) is int and type(scale) is int and abs(digits) < 2**80 and 0 <= scale <= 8


def _check_words(words: object) -> None:
    """Words by their names, for people."""
    if not isinstance(words, Mapping) or len(words) > MAX_FINDINGS:
        raise Unsound("words by their names are a mapping, and not many")
    for name, text in words.items():
        _check_line_text(name)
        _check_line_text(text)


def _check_line_text(text: object) -> None:
    if not isinstance(text, str):
        raise Unsound(f"a {type(text).__name__} where a text was due")
    _check_text(text, MAX_TEXT)


def _check_abouts(findings: object) -> None:
    if not isinstance(findings, tuple) or len(findings) > MAX_FINDINGS:
        raise Unsound(f"findings are a tuple of at most {MAX_FINDINGS}")
    for about in findings:
        match about:
            case AboutPayment():
                if (about.payment_id is None) == (about.reference is None):
                    raise Unsound("a finding about a payment names it by our id or by a reference, never both")
                _check_fields(about, skip=("finding",))
                check_payment_finding(about.finding)
            case AboutRefund():
                _check_fields(about, skip=("finding",))
                check_refund_finding(about.finding)
                if about.amount_minor is not None:
                    _check_amount(about.amount_minor)
            case _:
                raise Unsound(f"{type(about).__name__} is not a finding with its subject")


# ---------------------------------------------------------------------------------------------- form


_FORMS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "Failure": (Failure,),
    "int | None": (int, type(None)),
    "str | None": (str, type(None)),
    "Reference | None": (Reference, type(None)),
    "StorePurchase | None": (StorePurchase, type(None)),
    "tuple[Reference, ...]": (tuple,),
    "tuple[ChannelRefund, ...]": (tuple,),
}
"""Every form that a field of a finding has, by its annotation."""


def _check_fields(answer: Any, skip: tuple[str, ...] = ()) -> None:
    for field in fields(answer):
        if field.name in skip:
            continue
        value = getattr(answer, field.name)
        form = str(field.type if isinstance(field.type, str) else _name(field.type))
        if not isinstance(value, _FORMS[form]) or (isinstance(value, bool) and form != "bool"):
            raise Unsound(f"{type(answer).__name__}.{field.name} is a {type(value).__name__}")
        _check_value(value, form, MAX_PLAN if field.name == "plan_json" else MAX_TEXT)


def _check_value(value: Any, form: str, most: int) -> None:
    if isinstance(value, str):
        _check_text(value, most)
    elif isinstance(value, int) and not -(2**62) < value < 2**62:
        raise Unsound("a number is out of all bounds")
    elif isinstance(value, tuple):
        _check_tuple(value, form)
    elif is_dataclass(value):
        _check_fields(value)


def _check_tuple(value: tuple[Any, ...], form: str) -> None:
    if len(value) > MAX_FINDINGS:
        raise Unsound("a list is too long")
    for part in value:
        if type(part).__name__ not in form or not isinstance(part, _PARTS):
            raise Unsound(f"{type(part).__name__} is no part of a finding")
        _check_fields(part)


def _name(annotation: Any) -> str:
    return (
        annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("paycore.core.findings.", "")
    )


def _check_text(text: str, most: int) -> None:
    if len(text) > most:
        raise Unsound("a text is too long")
    if "\0" in text:
        raise Unsound("a text holds a NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unsound("a text cannot be written as UTF-8") from None


def _check_money(amount_minor: int, currency: str) -> None:
    _check_amount(amount_minor)
    if currency not in CURRENCY_EXPONENTS:
        raise Unsound("the currency is not one")


def _check_amount(amount_minor: int) -> None:
    if not 0 < amount_minor <= MAX_AMOUNT:
        raise Unsound("an amount is not a positive number of minor units")


def _check_plan(plan_json: str) -> None:
    try:
        Plan.from_json(plan_json)  # which checks every step
    except (BadStep, BadJson, ValueError, RecursionError):
        raise Unsound("the plan is not one that a device can run") from None
