"""The client for threads."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

import grpc

from paycore.client import calls, watching
from paycore.client.calls import Unary
from paycore.client.connect import OPTIONS, Address
from paycore.client.errors import PaycoreError, from_rpc
from paycore.client.watching import FellSilent, Follow, Pace, Verdict, ended_early

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M")


class _Method(Generic[P, R]):
    """One call as a method of the client."""

    def __init__(self, call: Unary[P, R]) -> None:
        self._call = call
        self.__doc__ = call.build.__doc__
        self.__wrapped__ = call.build

    @overload
    def __get__(self, client: None, owner: type[Client]) -> _Method[P, R]: ...
    @overload
    def __get__(self, client: Client, owner: type[Client]) -> Callable[P, R]: ...
    def __get__(self, client: Client | None, owner: type[Client]) -> _Method[P, R] | Callable[P, R]:
        if client is None:
            return self

        def ask(*arguments: P.args, **named: P.kwargs) -> R:
            return client.ask(self._call, self._call.build(*arguments, **named))

        return ask


class _Watch(Generic[P, M]):
    """One stream as a method of the client."""

    def __init__(self, follow: Callable[P, Follow[M]]) -> None:
        self._follow = follow
        self.__doc__ = follow.__doc__
        self.__wrapped__ = follow

    @overload
    def __get__(self, client: None, owner: type[Client]) -> _Watch[P, M]: ...
    @overload
    def __get__(self, client: Client, owner: type[Client]) -> Callable[P, Iterator[M]]: ...
    def __get__(self, client: Client | None, owner: type[Client]) -> _Watch[P, M] | Callable[P, Iterator[M]]:
        if client is None:
            return self

        def watch(*arguments: P.args, **named: P.kwargs) -> Iterator[M]:
            return client.follow(self._follow(*arguments, **named))

        return watch


class Client:
    """Everything that an app can ask of paycore, with typed calls.

        with Client("pay.internal:8443", api_key) as client:
            order = client.create_order(merchant_order_no="T-1001", amount_minor=1200, currency="CNY", subject="Tea")
            for seen in client.watch_order(order.order_id):
                ...

    A call raises PaycoreError with the server's reason. It is sent again by itself when the server is not there; that is
    safe because it carries a request_id. A cashier session's token may stand in place of the API key. Safe for threads.
    """

    def __init__(
        self,
        target: str,
        api_key: str,
        *,
        root_certificates: bytes | None = None,
        client_key: bytes | None = None,
        client_certificate: bytes | None = None,
        plaintext: bool | None = None,
        timeout_seconds: float | None = None,
        patience_seconds: float = watching.PATIENCE_SECONDS,
        channel: grpc.Channel | None = None,
    ) -> None:
        self._address = Address(target, api_key, root_certificates, client_key, client_certificate, plaintext=plaintext)
        self._channel = _open(self._address) if channel is None else channel
        self._may_open = channel is None
        self._closed = threading.Event()
        self._stubs = calls.stubs(self._channel)
        self._timeout_seconds = timeout_seconds
        self._patience_seconds = patience_seconds

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._address.target!r})"

    def close(self) -> None:
        """Close the connection; calls and watches under way end with CANCELLED."""
        self._closed.set()
        self._channel.close()

    def within(self, seconds: float) -> Client:
        """The same client, on the same connection, with this deadline for each call."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._timeout_seconds = seconds
        return twin

    def ask(self, call: Unary[..., R], request: Any) -> R:
        """Make one call with a request that is already built."""
        timeout = call.timeout_seconds if self._timeout_seconds is None else self._timeout_seconds
        method = getattr(self._stubs[call.service], call.method)
        try:
            return call.read(method(request, timeout=timeout, metadata=self._address.metadata))
        except grpc.RpcError as error:
            raise from_rpc(error, getattr(request, "request_id", "")) from error

    create_order = _Method(calls.create_order)
    get_order = _Method(calls.get_order)
    list_orders = _Method(calls.list_orders)
    pay_order = _Method(calls.pay_order)
    sync_order = _Method(calls.sync_order)
    close_order = _Method(calls.close_order)
    list_order_events = _Method(calls.list_order_events)
    explain_order = _Method(calls.explain_order)
    list_anomalies = _Method(calls.list_anomalies)
    resolve_anomaly = _Method(calls.resolve_anomaly)
    create_cashier_session = _Method(calls.create_cashier_session)
    get_cashier_session = _Method(calls.get_cashier_session)
    submit_payment = _Method(calls.submit_payment)
    report_client_result = _Method(calls.report_client_result)
    confirm_payment = _Method(calls.confirm_payment)
    create_refund = _Method(calls.create_refund)
    get_refund = _Method(calls.get_refund)
    list_refunds = _Method(calls.list_refunds)
    sync_refund = _Method(calls.sync_refund)
    retry_refund = _Method(calls.retry_refund)
    list_channels = _Method(calls.list_channels)
    get_channel = _Method(calls.get_channel)
    deliver_notice = _Method(calls.deliver_notice)

    watch_order = _Watch(watching.watch_order)
    watch_orders = _Watch(watching.watch_orders)
    watch_refund = _Watch(watching.watch_refund)
    watch_cashier_session = _Watch(watching.watch_cashier_session)

    def follow(self, follow: Follow[M]) -> Iterator[M]:
        """Give the news of a stream, opening it again as long as that can help. Leaving the loop closes it."""
        pace = Pace(random.random, time.monotonic(), self._patience_seconds)
        own: grpc.Channel | None = None
        stubs = self._stubs
        try:
            while True:
                cause = yield from _listen(follow, pace, stubs, self._address)
                if cause is None:
                    return
                if self._closed.is_set():
                    raise cause
                if (
                    isinstance(cause, FellSilent) and self._may_open
                ):  # that connection may be a dead end: take a new one
                    if own is not None:
                        own.close()
                    own = _open(self._address)
                    stubs = calls.stubs(own)
                self._closed.wait(pace.wait_seconds(cause, time.monotonic()))
        finally:
            if own is not None:
                own.close()


def _open(address: Address) -> grpc.Channel:
    if address.is_plaintext:
        return grpc.insecure_channel(address.target, options=OPTIONS)
    return grpc.secure_channel(address.target, address.credentials(), options=OPTIONS)


def _listen(
    follow: Follow[M], pace: Pace, stubs: dict[str, Any], address: Address
) -> Generator[M, None, PaycoreError | None]:
    """Give the news of a stream until it breaks; returns what broke it, or None when it is finished."""
    call = getattr(stubs[follow.service], follow.method)(follow.request(), metadata=address.metadata)
    watchdog = _Watchdog(call, follow.silence_seconds)
    try:
        while True:
            with watchdog:
                message = next(call, None)
            verdict = Verdict.REOPEN if message is None else follow.take(message)
            if verdict is Verdict.FINISH:
                return None
            if verdict is Verdict.REOPEN:
                return ended_early()
            pace.heard(time.monotonic())
            if verdict is Verdict.SHOW:
                yield cast("M", message)
    except grpc.RpcError as error:
        return FellSilent() if watchdog.has_barked else from_rpc(error)
    finally:
        watchdog.leave()
        call.cancel()


class _Watchdog:
    """Cancels a call that we have waited on for too long: reading a stream has no timeout of its own."""

    def __init__(self, call: Any, seconds: float) -> None:
        self.has_barked = False
        self._call = call
        self._seconds = seconds
        self._due: float | None = None
        self._left = threading.Event()
        threading.Thread(target=self._watch, name="paycore-watchdog", daemon=True).start()

    def __enter__(self) -> None:
        self._due = time.monotonic() + self._seconds

    def __exit__(self, *_: object) -> None:
        self._due = None

    def leave(self) -> None:
        self._left.set()

    def _watch(self) -> None:
        while not self._left.wait(min(1.0, self._seconds / 4)):
            due = self._due
            if due is not None and time.monotonic() > due:
                self.has_barked = True
                self._call.cancel()
                return
