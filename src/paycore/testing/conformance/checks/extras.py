"""Statements, refreshes, operations and evidence: where they are declared they work, and rubbish is none of them."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from paycore.channel import (
    ChannelVerb,
    Confirmed,
    Conversation,
    EvidenceAsk,
    Forged,
    KeyState,
    LineKind,
    OperationAsk,
    OperationDone,
    OperationRefused,
    Paid,
    PaymentAsk,
    Ready,
    RefreshAsk,
    Refreshed,
    Statement,
    StatementAsk,
    StatementKind,
    StatementNotReady,
    Unknown,
)
from paycore.engine.soundness import check_confirmed, check_operation, check_refreshed, check_statement
from paycore.testing.conformance.checks.replies import cuts, rubbish
from paycore.testing.conformance.stand import SECOND, Stand
from paycore.testing.mutate import every_letter


class Extras:
    """What only some channels have."""

    # ------------------------------------------------------------------------------------ statements

    def test_a_statement_holds_what_moved(self, stand: Stand) -> None:
        if not stand.has(ChannelVerb.STATEMENT) or stand.main_method is None:
            return
        payment, moved_at = stand.paid(), stand.now
        refund = stand.refund(payment, payment.amount_minor)
        if stand.has(ChannelVerb.REFUND):
            stand.hold(stand.channel.refund(refund))
        for kind in stand.kind.statements:
            found = check_statement(stand.hold(_of_day(stand, kind, moved_at)))
            assert isinstance(found, Statement), f"{kind.name}: {found}"
            assert (found.statement, found.merchant) == (kind.name, stand.channel.merchant)
            mine = [
                line
                for line in found.lines
                if line.payment_id == payment.payment_id or line.refund_id == refund.refund_id
            ]
            paid = [line for line in mine if line.kind is LineKind.PAYMENT]
            assert [line.amount.minor(line.currency) for line in paid] == [payment.amount_minor], kind.name
            returned = [line for line in mine if line.kind is LineKind.REFUND]
            assert all(line.amount.digits < 0 for line in returned), "money that goes out is negative"
            if stand.has(ChannelVerb.REFUND):
                assert [line.amount.minor(line.currency) for line in returned] == [-payment.amount_minor], kind.name

    def test_an_empty_day_has_no_lines(self, stand: Stand) -> None:
        if not stand.has(ChannelVerb.STATEMENT):
            return
        for kind in stand.kind.statements:
            found = stand.hold(_of_day(stand, kind, stand.now - 5 * 24 * 3600 * SECOND))
            assert isinstance(found, Statement), f"{kind.name}: {found}"
            assert found.lines == ()

    def test_a_statement_that_is_cut_short_is_none(self, stand: Stand) -> None:
        if not stand.has(ChannelVerb.STATEMENT) or stand.main_method is None:
            return
        stand.paid()
        for kind in stand.kind.statements:
            for name, spoil in (*rubbish(), *cuts()):
                found = stand.hold(_of_day(stand, kind, stand.now), spoil)
                assert isinstance(found, Unknown | StatementNotReady), f"{kind.name}, {name}: {found}"

    # ------------------------------------------------------------------------------------ refresh

    def test_a_refresh_fetches_and_the_account_opens_with_it(self, stand: Stand) -> None:
        if not stand.has(ChannelVerb.REFRESH):
            return
        found = check_refreshed(stand.hold(stand.channel.refresh(RefreshAsk(None, stand.now, f"{1:032x}"))))
        assert isinstance(found, Refreshed), found
        keys = stand.keys((stand.settings, KeyState.ACTIVE))
        opened = stand.open_keys(replace(keys, blob=found.blob))
        assert opened.merchant == stand.channel.merchant
        again = stand.hold(opened.refresh(RefreshAsk(found.blob, stand.now, f"{2:032x}")))
        assert isinstance(again, Refreshed), again

    def test_rubbish_is_no_refresh(self, stand: Stand) -> None:
        if not stand.has(ChannelVerb.REFRESH):
            return
        for name, spoil in (*rubbish(), *cuts()):
            found = stand.hold(stand.channel.refresh(RefreshAsk(None, stand.now, f"{1:032x}")), spoil)
            assert isinstance(found, Unknown), f"{name}: {found}"

    # ------------------------------------------------------------------------------------ operations

    def test_an_operation_answers_for_itself(self, stand: Stand) -> None:
        for operation in stand.kind.operations:
            inputs = {one.name: "1" for one in operation.inputs}
            ask = OperationAsk(operation.name, stand.paid(), inputs, stand.now, f"{1:032x}")
            found = check_operation(stand.hold(stand.channel.operate(ask)))
            assert isinstance(found, OperationDone | OperationRefused), f"{operation.name}: {found}"
            for name, spoil in rubbish():
                found = stand.hold(stand.channel.operate(ask), spoil)
                assert not isinstance(found, OperationDone), f"{operation.name}, {name}: {found}"

    # ------------------------------------------------------------------------------------ evidence

    def test_evidence_proves_what_was_bought(self, stand: Stand) -> None:
        for ask, evidence in _purchases(stand):
            confirmed = check_confirmed(stand.hold(_confirm(stand, evidence, ask)))
            assert isinstance(confirmed, Confirmed)
            [about] = confirmed.findings
            found = about.finding
            assert isinstance(found, Paid), found
            assert found.merchant == stand.channel.merchant
            assert found.purchase is not None
            assert (found.purchase.product_id, found.purchase.token) == (ask.product_id, ask.token)
            assert found.references, "a purchase names its transaction, which may pay one payment only"

    def test_evidence_with_one_character_changed_proves_nothing(self, stand: Stand) -> None:
        for ask, evidence in _purchases(stand):
            for place, forged in enumerate((*every_letter(evidence), "", evidence[:-1], f"{evidence}A", evidence * 2)):
                try:
                    _end(stand, _confirm(stand, forged, ask))
                except Forged:
                    continue
                raise AssertionError(f"evidence was believed though character {place} was changed")

    def test_another_merchants_evidence_proves_nothing_of_ours(self, stand: Stand) -> None:
        other = stand.open(stand.simulator.other_settings(stand.case.base_url))
        for ask, evidence in _purchases(stand):
            try:
                confirmed = _end(stand, other.confirm(EvidenceAsk(evidence, ask, stand.now, f"{1:032x}")))
            except Forged:
                continue
            told = [about.finding.merchant for about in confirmed.findings if isinstance(about.finding, Paid)]
            assert other.merchant not in told


def _of_day(stand: Stand, kind: StatementKind, at: int) -> Conversation[object]:
    """Ask, a day and a half after its end, for the statement of the day that holds this instant."""
    zone = dt.timezone(dt.timedelta(seconds=kind.utc_offset_seconds))
    day = dt.datetime.fromtimestamp(at / SECOND, zone).date()
    end = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), zone)
    stand.now = max(stand.now, round(end.timestamp()) * SECOND + kind.ready_after_seconds * SECOND + 12 * 3600 * SECOND)
    ask = StatementAsk(kind.name, day.isoformat(), stand.now, f"{stand.number():032x}")
    return stand.channel.statement(ask)


def _purchases(stand: Stand) -> list[tuple[PaymentAsk, str]]:
    """A purchase by every method whose price the store sets, with its evidence; none where no evidence is taken."""
    if not stand.has(ChannelVerb.CONFIRM):
        return []
    bought: list[tuple[PaymentAsk, str]] = []
    for method in stand.store_methods:
        ask = stand.payment(method)
        ready = stand.hold(stand.channel.prepare(ask))
        assert isinstance(ready, Ready), f"{method.name}: {ready}"
        bought.append((ask, stand.simulator.purchase(ready.plan_json, stand.now, amount_minor=ask.amount_minor)))
    return bought


def _confirm(stand: Stand, evidence: str, ask: PaymentAsk) -> Conversation[Confirmed]:
    return stand.channel.confirm(EvidenceAsk(evidence, stand.again(ask), stand.now, f"{stand.number():032x}"))


def _end(stand: Stand, conversation: Conversation[Confirmed]) -> Confirmed:
    """What a confirmation returns; Forged goes through."""
    reply = None
    try:
        while True:
            request = conversation.send(reply)  # type: ignore[arg-type]
            reply = stand.simulator.handle(request, stand.now)
    except StopIteration as stop:
        confirmed: Confirmed = stop.value
        return confirmed
