"""What an account has its channel do beside payments: fetch what grows old, account for a day, named operations.

Nothing here moves money or changes an order: a statement is held against the books by whoever asked for it, and what an
operation answers is for people.
"""

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from paycore.channel import (
    Channel,
    ChannelVerb,
    Conversation,
    Forged,
    OperationAsk,
    OperationFinding,
    RefreshAsk,
    Refreshed,
    RefreshFinding,
    Secret,
    StatementAsk,
    StatementFinding,
    Unknown,
)
from paycore.core.findings import NotSent
from paycore.core.refusals import Reason, Refused
from paycore.core.terms import HOUR, MINUTE, SECOND
from paycore.engine.accounts import AccountUnusableNow, OpenAccount
from paycore.engine.converse import Talk
from paycore.engine.desk import Desk
from paycore.engine.soundness import check_operation, check_refreshed, check_statement
from paycore.store import Account, AccountBlob

log = logging.getLogger("paycore.engine.errands")

T = TypeVar("T")

REFRESH = 20 * SECOND
"""How long fetching certificates or a token may take."""
STATEMENT = 120 * SECOND
"""How long fetching and reading a day's file may take."""
STATEMENT_STEP_SECONDS = 60.0
OPERATION = 8 * SECOND
TROUBLE = (MINUTE, 2 * MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR)
"""When to try again after refreshes that failed; the last one repeats."""
LOOK = 10 * SECOND
"""How often to look whether anything is to be fetched."""
_DAY = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", re.ASCII)


class Errands:
    """The use cases of an account beside its payments."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def refresh(self, account_id: str) -> RefreshFinding:
        """Fetch now what the account keeps. What fails leaves what there is, and is tried again later. Raises Refused."""
        account = await self._open(account_id, ChannelVerb.REFRESH)
        ask = RefreshAsk(
            await self._desk.accounts.fetched(account.account), self._desk.clock.now(), self._desk.ids.nonce()
        )
        finding = await self._hold(account, ChannelVerb.REFRESH, lambda it: it.refresh(ask), check_refreshed, REFRESH)
        if isinstance(finding, Refreshed):
            await self._keep(account, finding.blob, finding.again_at)
        else:
            log.warning("account %s could not be refreshed: %s", account_id, finding.note)
            await self.put_off(account.account)
        return finding

    async def _keep(self, account: OpenAccount, blob: Secret, again_at: int | None) -> None:
        now, interval = self._desk.clock.now(), (account.kind.refresh_seconds or 0) * SECOND
        due_at = min(again_at or now + interval, now + interval)
        await self._desk.accounts.keep_fetched(account.account, blob, max(due_at, now + MINUTE))

    async def put_off(self, account: Account) -> None:
        """Try again later, and later each time."""
        now, account_id = self._desk.clock.now(), account.account_id

        def write(unit: Any) -> None:
            unit.get_account(account_id, lock=True)
            row = unit.get_account_blob(account_id) or AccountBlob(account_id, account.app_id, now)
            wait = TROUBLE[min(row.failures, len(TROUBLE) - 1)]
            unit.put_account_blob(replace(row, due_at=now + wait, failures=row.failures + 1))

        await self._desk.memory.write(write)

    async def statement(self, account_id: str, statement: str, day: str) -> StatementFinding:
        """The channel's own account of a day (YYYY-MM-DD by its calendar). Raises Refused."""
        account = await self._open(account_id, ChannelVerb.STATEMENT)
        if all(one.name != statement for one in account.kind.statements):
            raise Refused(Reason.METHOD_UNKNOWN, "The channel has no statement of this name.", fields=("statement",))
        if _DAY.fullmatch(day) is None:
            raise Refused(Reason.BAD_TIMESTAMP, "A day is written as 2026-11-24.", fields=("day",))
        ask = StatementAsk(statement, day, self._desk.clock.now(), self._desk.ids.nonce())
        return await self._hold(
            account, ChannelVerb.STATEMENT, lambda it: it.statement(ask), check_statement, STATEMENT
        )

    async def operate(
        self, app_id: str, order_id: str, payment_id: str, name: str, inputs: Mapping[str, str]
    ) -> OperationFinding:
        """Have the channel do one of its named operations for a payment. Raises Refused."""
        order = await self._desk.order_of(app_id, order_id)
        payment = order.payment(payment_id)
        if payment is None:
            raise Refused(Reason.PAYMENT_NOT_FOUND, "There is no such payment.", payment_id=payment_id)
        account = await self._open(payment.account_id, ChannelVerb.OPERATE)
        operation = next((one for one in account.kind.operations if one.name == name), None)
        if operation is None:
            raise Refused(Reason.METHOD_UNKNOWN, "The channel has no operation of this name.", fields=("operation",))
        wanted = {one.name: one.pattern or r"(?s).{1,256}" for one in operation.inputs}
        for field, pattern in wanted.items():
            if re.fullmatch(pattern, inputs.get(field, "")) is None:
                raise Refused(Reason.INPUT_REQUIRED, "An input is missing or malformed.", fields=(field,))
        ask = OperationAsk(
            name,
            self._desk.asker.payment(order, payment),
            {field: inputs[field] for field in wanted},
            self._desk.clock.now(),
            self._desk.ids.nonce(),
        )
        return await self._hold(account, ChannelVerb.OPERATE, lambda it: it.operate(ask), check_operation, OPERATION)

    # ------------------------------------------------------------------------------------ what they share

    async def _open(self, account_id: str, verb: ChannelVerb) -> OpenAccount:
        """The account, able to sign and to speak this verb. Raises Refused."""
        try:
            account = await self._desk.accounts.open(account_id)
        except AccountUnusableNow as error:
            raise Refused(Reason.METHOD_UNAVAILABLE, str(error), account_id=account_id) from None
        if verb not in account.kind.verbs:
            raise Refused(Reason.METHOD_UNAVAILABLE, f"The channel has no verb {verb}.", channel=account.kind.name)
        if account.signing is None:
            text = "No key version of the account can sign."
            raise Refused(Reason.METHOD_UNAVAILABLE, text, account_id=account_id)
        return account

    async def _hold(
        self,
        account: OpenAccount,
        verb: ChannelVerb,
        begin: Callable[[Channel], Conversation[Any]],
        check: Callable[[object], T],
        time: int,
    ) -> T | Unknown:
        """What the conversation concludes in time; an answer that does not verify concludes nothing."""
        channel = account.channel
        seconds = STATEMENT_STEP_SECONDS if verb is ChannelVerb.STATEMENT else None
        talk = Talk(self._desk.room, account.kind.name, verb, lambda: begin(channel), check, step_seconds=seconds)
        try:
            finding = await talk.answer(self._desk.clock.now() + time)
        except Forged:
            return Unknown("the answer does not verify")
        return Unknown(finding.note) if isinstance(finding, NotSent) else finding


class Refresher:
    """Fetches for every account what its kind says grows old, before it does; one process at a time for each account.

    It is no task on a row of money: an account is no order, and nothing but the next call depends on it.
    """

    def __init__(self, desk: Desk, errands: Errands) -> None:
        self._desk = desk
        self._errands = errands
        self._owner = secrets.token_hex(8)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, if there is a kind that fetches anything."""
        if self._channels:
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """Stop; what is being fetched is fetched again by whoever looks next."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def _channels(self) -> list[str]:
        kinds = self._desk.host.kinds
        return [name for name, kind in kinds.items() if ChannelVerb.REFRESH in kind.verbs]

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self.refresh_due()
            except Exception as error:  # noqa: BLE001 - the next look tries again
                log.warning("accounts could not be looked at: %s", type(error).__name__)
            await self._desk.clock.sleep_until(self._desk.clock.now() + LOOK, self._wake)

    async def refresh_due(self) -> int:
        """Refresh every account that is due and that nobody else has in hand; how many that were."""
        channels, now = self._channels, self._desk.clock.now()
        due = await self._desk.memory.read(lambda unit: unit.accounts_to_refresh(channels, now))
        done = await asyncio.gather(*(self._refresh(account) for account in due))
        return sum(done)

    async def _refresh(self, account: Account) -> bool:
        lease, now = f"refresh {account.account_id}", self._desk.clock.now()
        until = now + REFRESH + 10 * SECOND
        if not await self._desk.memory.write(lambda unit: unit.take_lease(lease, self._owner, now, until)):
            return False
        try:
            await self._errands.refresh(account.account_id)
        except Refused as refused:
            log.warning("account %s could not be refreshed: %s", account.account_id, refused.reason)
            await self._errands.put_off(account)
        await self._desk.memory.write(lambda unit: unit.drop_lease(lease, self._owner))
        return True
