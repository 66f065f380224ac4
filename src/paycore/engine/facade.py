"""The engine as transports see it: every use case, and how it starts and stops."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from paycore.channel import NoticeReply, OperationFinding, RawNotice, RefreshFinding, StatementFinding
from paycore.core.events import Event
from paycore.core.facts import ClientReported
from paycore.core.order import AnomalyKind, AnomalyState, Order, OrderState, RefundState, Remedy
from paycore.core.refusals import Reason, Refused
from paycore.engine import witness
from paycore.engine.accounts import Accounts
from paycore.engine.apps import Apps
from paycore.engine.asking import Asker
from paycore.engine.carrier import Carrier
from paycore.engine.cashier import Choice, Client, Option, options
from paycore.engine.clock import Clock
from paycore.engine.clock_work import ClockWork
from paycore.engine.converse import Room
from paycore.engine.desk import CallerRequest, Desk
from paycore.engine.errands import Errands, Refresher
from paycore.engine.explain import Story, tell_story
from paycore.engine.host import Host
from paycore.engine.hub import Hub
from paycore.engine.ids import Ids
from paycore.engine.keyring import Keyring
from paycore.engine.memory import Memory
from paycore.engine.notices import Notices
from paycore.engine.offers import Offers
from paycore.engine.orders import OrderDraft, Orders, Remedied
from paycore.engine.paying import Paying
from paycore.engine.reader import Reader
from paycore.engine.refunding import RefundDraft, Refunding
from paycore.engine.sealing import Sealing
from paycore.engine.sequencer import Sequencer
from paycore.engine.sessions import Sessions, Tokens
from paycore.engine.tell import Teller, Told
from paycore.engine.threads import Run
from paycore.engine.verbs import Verbs
from paycore.store import ListedAnomaly, ListedRefund, PageKey, Session, Store

if TYPE_CHECKING:
    from paycore.engine.hints import Hints

log = logging.getLogger("paycore.engine")

ALL_EVENTS = 100_000
"""More events than any order has."""
GRACE_SECONDS = 10.0


class Engine:
    """One process's engine on one store.

    Every method that takes an `app_id` answers another app's objects exactly as objects that do not exist. Deadlines are
    instants by `clock`. What is refused raises Refused; what a channel does, or does not do, never raises.
    """

    def __init__(
        self,
        store: Store,
        *,
        host: Host,
        keyring: Keyring,
        carrier: Carrier,
        clock: Clock,
        ids: Ids,
        public_base_url: str,
        hints_url: str | None = None,
        run: Run | None = None,
    ) -> None:
        """Put the engine together; nothing is started and nothing read.

        `hints_url` is the PostgreSQL over which other processes are told to look; None for a process that is alone.
        `run` runs the store's work where a simulation wants it.
        """
        self.store = store
        self.clock = clock
        self.ids = ids
        self.host = host
        self.keyring = keyring
        self.memory = Memory(store, run=run)
        self.reader = Reader(store, run=run)
        self.hub = Hub(store, clock, run=run)
        self.teller = Teller(store, clock, changed=self._changed, released=self._released, run=run)
        self.accounts = Accounts(self.memory, keyring, host, clock, ids)
        self.apps = Apps(self.memory, clock)
        room, asker = Room(host, carrier, clock), Asker(clock, ids, public_base_url)
        self.verbs = Verbs(room, self.teller, self.reader, self.accounts, asker)
        self.clock_work = ClockWork(store, clock, self.verbs.do, run=run)
        self._sequencer = None if store.dialect == "sqlite" else Sequencer(store, clock, self._feeds_grew, run=run)
        self._hints = None if hints_url is None else _hints(hints_url, self._heard, self._ring_feeds)
        self._is_started = False
        self.offers = Offers(self.memory, keyring, host, clock)
        desk = self._desk = Desk(
            clock=clock,
            ids=ids,
            memory=self.memory,
            teller=self.teller,
            reader=self.reader,
            host=host,
            accounts=self.accounts,
            room=room,
            asker=asker,
            verbs=self.verbs,
            offers=self.offers,
        )
        self.sessions = Sessions(desk, Tokens(keyring))
        self.sealing = Sealing(keyring, host, clock, ids)
        self._orders = Orders(desk)
        self._paying = Paying(desk)
        self._refunding = Refunding(desk)
        self._notices = Notices(desk)
        self._errands = Errands(desk)
        self.refresher = Refresher(desk, self._errands)

    # ------------------------------------------------------------------------------------ life

    async def start(self, *, with_clock: bool = True) -> None:
        """Begin to do what is due. Raises StaleSchema while the database is not the one that this version needs."""
        await self.memory.check(lambda store: store.require_current())
        if self._sequencer is not None:
            self._sequencer.start()
        if self._hints is not None:
            self._hints.start()
        if with_clock:
            self.clock_work.start()
            self.refresher.start()
        self._is_started = True

    async def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Take nothing more, finish what is at work, and let go of everything but the store and the carrier."""
        self._is_started = False
        await self.refresher.stop()
        await asyncio.gather(self.clock_work.stop(grace_seconds), self._desk.finish(grace_seconds))
        await self.teller.drain()
        if self._hints is not None:
            await self._hints.stop()
        if self._sequencer is not None:
            await self._sequencer.stop()
        await self.hub.stop()
        self.teller.close()
        self.reader.close()
        self.memory.close()

    async def why_not_ready(self) -> str:
        """An empty text when this process may be sent calls; else one sentence."""
        if not self._is_started:
            return "The engine is not started."
        try:
            await self.memory.read(lambda unit: unit.versions([]))
        except Refused:
            return "The database cannot be reached."
        return ""

    def _changed(self, orders: Sequence[Order]) -> None:
        self.hub.changed(orders)
        if self._hints is not None:
            self._hints.changed(orders)
        if self._sequencer is not None:
            self._sequencer.call()
        else:
            self.hub.ring_feeds({order.app_id for order in orders})

    def _released(self, orders: Sequence[Order]) -> None:
        """A task may have become due without any event, or may have been passed by while its row was held."""
        self.clock_work.released(orders)

    def _feeds_grew(self) -> None:
        """This process has given events their places in the feeds."""
        self._ring_feeds()
        if self._hints is not None:
            self._hints.grown()

    def _ring_feeds(self) -> None:
        self.hub.ring_feeds(tuple(self.hub.watched_feeds))

    def _heard(self, positions: list[tuple[str, int]]) -> None:
        """Another process says that these orders have moved."""
        self.hub.moved(positions)
        if self._sequencer is not None:
            self._sequencer.call()

    # ------------------------------------------------------------------------------------ orders

    async def create_order(self, app_id: str, draft: OrderDraft, request: CallerRequest | None) -> Told:
        """Store a debt. The same request, or the same number with the same content, is the same order."""
        return await self._orders.create(await self.apps.get(app_id), draft, request)

    async def get_order(self, app_id: str, order_id: str) -> Order:
        """The app's order as it stands."""
        return await self._desk.order_of(app_id, order_id)

    async def find_order(self, app_id: str, merchant_order_no: str) -> Order:
        """The app's order by the app's own number."""
        pair = (app_id, merchant_order_no)
        order_id = await self.memory.read(lambda unit: unit.orders_by_number([pair]).get(pair))
        if order_id is None:
            raise Refused(Reason.ORDER_NOT_FOUND, "There is no such order.")
        return await self._desk.order_of(app_id, order_id)

    async def list_orders(
        self,
        app_id: str,
        *,
        states: Collection[OrderState] = (),
        created_from: int | None = None,
        created_to: int | None = None,
        after_key: PageKey | None = None,
        limit: int = 50,
    ) -> list[Order]:
        """The app's orders, newest first."""
        return await self.memory.read(
            lambda unit: unit.list_orders(
                app_id,
                states=states,
                created_from=created_from,
                created_to=created_to,
                after_key=after_key,
                limit=limit,
            )
        )

    async def list_events(self, app_id: str, order_id: str, *, after: int, limit: int) -> list[Event]:
        """The order's events behind a version, without a gap."""
        await self._desk.order_of(app_id, order_id)
        return await self.hub.events_after(order_id, after, limit)

    async def explain(self, app_id: str, order_id: str) -> Story:
        """The order's story: what happened, who said so, what comes next."""
        order = await self._desk.order_of(app_id, order_id)
        events, kept = await self.memory.read(
            lambda unit: (unit.events_after({order_id: 0}, ALL_EVENTS).get(order_id, []), unit.evidence_of(order_id))
        )
        return tell_story(order, events, kept, self.clock.now())

    async def pay(
        self,
        app_id: str,
        order_id: str,
        choice: Choice,
        request: CallerRequest | None,
        *,
        etag: str = "",
        deadline_at: int | None = None,
    ) -> Told:
        """Begin a payment, or find the one under way for the same choice; it is the answer's subject.

        Whatever the channel does, the answer is the order as it stands. Refused while an older attempt cannot be closed.
        """
        return await self._paying.pay(app_id, order_id, choice, request, etag=etag, deadline_at=deadline_at)

    async def sync_order(self, app_id: str, order_id: str, *, deadline_at: int | None = None) -> Told:
        """Ask the channels now about everything that is open; the order as it stands afterwards."""
        return await self._orders.sync(app_id, order_id, deadline_at)

    async def close_order(
        self,
        app_id: str,
        order_id: str,
        request: CallerRequest | None,
        *,
        etag: str = "",
        deadline_at: int | None = None,
    ) -> Told:
        """Close an order that nobody paid, at its channels too; its state afterwards is the outcome."""
        return await self._orders.close(app_id, order_id, request, etag=etag, deadline_at=deadline_at)

    # ------------------------------------------------------------------------------------ refunds

    async def create_refund(
        self,
        app_id: str,
        order_id: str,
        draft: RefundDraft,
        request: CallerRequest | None,
        *,
        deadline_at: int | None = None,
    ) -> Told:
        """Reserve an amount and send the refund at once; the refund is the answer's subject."""
        return await self._refunding.create(app_id, order_id, draft, request, deadline_at=deadline_at)

    async def get_refund(self, app_id: str, refund_id: str) -> Order:
        """The order that holds this refund of the app."""
        return await self._desk.order_of(app_id, await self._refunding.order_id_of(app_id, refund_id))

    async def find_refund(self, app_id: str, merchant_refund_no: str) -> tuple[Order, str]:
        """The order that holds the app's refund of this number, and the refund's id; the newest where several have it."""
        found = await self._refunding.find(app_id, merchant_refund_no)
        return await self._desk.order_of(app_id, found.order_id), found.refund.refund_id

    async def list_refunds(
        self,
        app_id: str,
        *,
        order_id: str | None = None,
        states: Collection[RefundState] = (),
        created_from: int | None = None,
        created_to: int | None = None,
        after_key: PageKey | None = None,
        limit: int = 50,
    ) -> list[ListedRefund]:
        """The app's refunds, newest first."""
        return await self.memory.read(
            lambda unit: unit.list_refunds(
                app_id,
                order_id=order_id,
                states=states,
                created_from=created_from,
                created_to=created_to,
                after_key=after_key,
                limit=limit,
            )
        )

    async def sync_refund(self, app_id: str, refund_id: str, *, deadline_at: int | None = None) -> Told:
        """Ask the channel about a refund now."""
        return await self._refunding.sync(app_id, refund_id, deadline_at=deadline_at)

    async def retry_refund(
        self, app_id: str, refund_id: str, request: CallerRequest | None, *, deadline_at: int | None = None
    ) -> Told:
        """Send a refund again under its one number."""
        return await self._refunding.retry(app_id, refund_id, request, deadline_at=deadline_at)

    # ------------------------------------------------------------------------------------ anomalies

    async def list_anomalies(
        self,
        app_id: str | None,
        *,
        order_id: str | None = None,
        states: Collection[AnomalyState] = (),
        kinds: Collection[AnomalyKind] = (),
        after_key: PageKey | None = None,
        limit: int = 50,
    ) -> list[ListedAnomaly]:
        """The app's anomalies (None: everybody's, for an operator), newest first, those that belong to no order among them."""
        return await self.memory.read(
            lambda unit: unit.list_anomalies(
                app_id, order_id=order_id, states=states, kinds=kinds, after_key=after_key, limit=limit
            )
        )

    async def resolve_anomaly(
        self,
        app_id: str,
        anomaly_id: str,
        remedy: Remedy,
        note: str,
        request: CallerRequest | None,
        *,
        payment_id: str = "",
    ) -> Remedied:
        """A person's decision about an anomaly. A refund that it begins is sent by the clock.

        A store's purchase that belongs to no order, accepted, pays this payment; without one an order of its own.
        """
        return await self._orders.resolve_anomaly(app_id, anomaly_id, remedy, note, request, payment_id=payment_id)

    # ------------------------------------------------------------------------------------ the cashier

    async def options(self, order: Order, client: Client) -> list[Option]:
        """Every method of every channel that the app has an account at, those that this client can choose first."""
        accounts = await self.accounts.for_app(order.app_id)
        there = {account.channel for account in await self.accounts.rows_of(order.app_id)}
        return options(
            order,
            client,
            accounts,
            unusable_at=there,
            host=self.host,
            offers=self.offers,
            deals=await self.offers.deals(order, to_show=True),
            now=self.clock.now(),
        )

    async def create_session(
        self,
        app_id: str,
        order_id: str,
        client: Mapping[str, Any],
        request: CallerRequest,
        *,
        lifetime_seconds: int = 0,
    ) -> tuple[Session, str, Order]:
        """Open a session for an order that can be paid: the session, its token, the order."""
        return await self.sessions.create(app_id, order_id, client, request, lifetime_seconds=lifetime_seconds)

    def notice_url(self, account_id: str) -> str:
        """Where a channel sends what happens to an account."""
        return self._desk.asker.notify_url(account_id)

    @property
    def public_base_url(self) -> str:
        """Where channels and payers reach this server's HTTP face; empty when nobody does."""
        return self._desk.asker.public_base_url.rstrip("/")

    def page_url(self, session: Session) -> str:
        """Where the payer finds the session's page, once; empty when this server is reached by no URL."""
        page, code = self.page_of(session), self.sessions.page_code(session)
        return f"{page}?code={code}" if page else ""

    def page_of(self, session: Session) -> str:
        """Where the session's page stays for the browser that opened it."""
        return f"{self.public_base_url}/pay/{session.session_id}" if self.public_base_url else ""

    async def seal(self, order: Order, payment_id: str) -> str:
        """A payment's plan as one signed text for the bridge of a native shell; empty where there is nothing to seal. Good once."""
        payment = order.payment(payment_id)
        return "" if payment is None else self.sealing.seal(await self.apps.get(order.app_id), order, payment)

    async def get_session(self, app_id: str, session_id: str) -> Session:
        """The app's session, expired or not."""
        return await self.sessions.of_app(app_id, session_id)

    async def verify_session_token(self, token: str) -> Session:
        """The session that a token opens now. Raises Refused with SESSION_INVALID or SESSION_EXPIRED."""
        return await self.sessions.verify(token)

    async def report_client(
        self,
        app_id: str,
        payment_id: str,
        outcome: str,
        *,
        raw_code: str = "",
        raw_text: str = "",
        order_id: str = "",
        deadline_at: int | None = None,
    ) -> Told:
        """Take what the SDK on the device answered: a hint. It is kept, and the channel is asked at once.

        A session names its `order_id`; the payment must then belong to that order.
        """
        found = await self._notices.named_payment(app_id, payment_id, order_id)
        claim = {"outcome": outcome, "raw_code": raw_code, "raw_text": raw_text}
        kept = witness.evidence(found.order.order_id, payment_id, "CLIENT", claim, self.clock.now(), verified=False)
        fact = ClientReported(payment_id, outcome, raw_code)
        told = await self._desk.tell(app_id, found.order.order_id, fact, evidence=(kept,))
        await self._desk.do_now(found.order.order_id, self._desk.patience(deadline_at), (payment_id,))
        return replace(told, order=await self._desk.order_of(app_id, found.order.order_id))

    async def confirm(
        self,
        app_id: str,
        channel: str,
        evidence: str,
        *,
        payment_id: str = "",
        account_id: str = "",
        order_id: str = "",
        request: CallerRequest | None = None,
        deadline_at: int | None = None,
    ) -> tuple[Told, bool]:
        """Take in evidence that a client holds: the order with the payment as subject, and whether the client may finish.

        A session names its `order_id`; what the evidence proves must then belong to that order.
        """
        return await self._notices.confirm(
            app_id,
            channel,
            evidence,
            payment_id=payment_id,
            account_id=account_id,
            order_id=order_id,
            request=request,
            deadline_at=deadline_at,
        )

    async def deliver_notice(self, account_id: str, notice: RawNotice) -> NoticeReply:
        """Take a channel's notice in and return the exact bytes for the channel.

        Never raises, and acknowledges only what is stored. An address that is no account's is answered with
        `notices.NO_SUCH_ACCOUNT`, the very object.
        """
        return await self._notices.deliver(account_id, notice)

    # ------------------------------------------------------------------------------------ beside payments

    async def refresh_account(self, account_id: str) -> RefreshFinding:
        """Fetch now what an account's channel keeps (certificates, tokens); the clock does it by itself in time."""
        return await self._errands.refresh(account_id)

    async def statement(self, account_id: str, statement: str, day: str) -> StatementFinding:
        """The channel's own account of a day, as this account sees it."""
        return await self._errands.statement(account_id, statement, day)

    async def operate(
        self, app_id: str, order_id: str, payment_id: str, name: str, inputs: Mapping[str, str]
    ) -> OperationFinding:
        """One of the channel's named operations for a payment of the app's."""
        return await self._errands.operate(app_id, order_id, payment_id, name, inputs)


def _hints(url: str, heard: Callable[[list[tuple[str, int]]], None], grew: Callable[[], None]) -> "Hints":
    """The line to other processes. It needs psycopg, which a process on SQLite need not wait for."""
    from paycore.engine.hints import Hints

    return Hints(url, heard, grew)
