"""The client for asyncio."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

import grpc
import grpc.aio

from paycore.client import calls, watching
from paycore.client.calls import Unary
from paycore.client.connect import OPTIONS, Address
from paycore.client.errors import PaycoreError, Unavailable, from_rpc
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
    def __get__(self, client: None, owner: type[AsyncClient]) -> _Method[P, R]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: type[AsyncClient]) -> Callable[P, Awaitable[R]]: ...
    def __get__(
        self, client: AsyncClient | None, owner: type[AsyncClient]
    ) -> _Method[P, R] | Callable[P, Awaitable[R]]:
        if client is None:
            return self

        def ask(*arguments: P.args, **named: P.kwargs) -> Awaitable[R]:
            return client.ask(self._call, self._call.build(*arguments, **named))

        return ask


class _Watch(Generic[P, M]):
    """One stream as a method of the client."""

    def __init__(self, follow: Callable[P, Follow[M]]) -> None:
        self._follow = follow
        self.__doc__ = follow.__doc__
        self.__wrapped__ = follow

    @overload
    def __get__(self, client: None, owner: type[AsyncClient]) -> _Watch[P, M]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: type[AsyncClient]) -> Callable[P, AsyncGenerator[M, None]]: ...
    def __get__(
        self, client: AsyncClient | None, owner: type[AsyncClient]
    ) -> _Watch[P, M] | Callable[P, AsyncGenerator[M, None]]:
        if client is None:
            return self

        def watch(*arguments: P.args, **named: P.kwargs) -> AsyncGenerator[M, None]:
            return client.follow(self._follow(*arguments, **named))

        return watch


class AsyncClient:
    """Everything that an app can ask of paycore, with typed calls, for asyncio.

        async with AsyncClient("pay.internal:8443", api_key) as client:
            order = await client.create_order(
                merchant_order_no="T-1001", amount_minor=1200, currency="CNY", subject="Tea"
            )
            async for seen in client.watch_order(order.order_id):
                ...

    It promises what Client promises. Its connection belongs to the loop in which it is first used.
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
    ) -> None:
        self._address = Address(target, api_key, root_certificates, client_key, client_certificate, plaintext=plaintext)
        self._timeout_seconds = timeout_seconds
        self._patience_seconds = patience_seconds
        self._line = _Line(self._address)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._address.target!r})"

    async def close(self) -> None:
        """Close the connection; calls and watches under way end with CANCELLED."""
        await self._line.close()

    def within(self, seconds: float) -> AsyncClient:
        """The same client, on the same connection, with this deadline for each call."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._timeout_seconds = seconds
        return twin

    async def ask(self, call: Unary[..., R], request: Any) -> R:
        """Make one call with a request that is already built."""
        timeout = call.timeout_seconds if self._timeout_seconds is None else self._timeout_seconds
        method = getattr(self._line.stubs[call.service], call.method)
        try:
            return call.read(await method(request, timeout=timeout, metadata=self._address.metadata))
        except grpc.aio.AioRpcError as error:
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

    async def follow(self, follow: Follow[M]) -> AsyncGenerator[M, None]:
        """Give the news of a stream, opening it again as long as that can help.

        A loop that is left early closes the stream once the iterator is collected; contextlib.aclosing does so at once.
        """
        clock = asyncio.get_running_loop().time
        pace = Pace(random.random, clock(), self._patience_seconds)
        own: _Line | None = None
        try:
            while True:
                listening = _Listening(follow, pace, own or self._line)
                try:
                    while (message := await listening.news()) is not None:
                        yield message
                finally:
                    listening.leave()
                if listening.cause is None:
                    return
                if self._line.is_closed:
                    raise listening.cause
                if isinstance(listening.cause, FellSilent):  # that connection may be a dead end: take a new one
                    if own is not None:
                        await own.close()
                    own = _Line(self._address)
                await asyncio.sleep(pace.wait_seconds(listening.cause, clock()))
        finally:
            if own is not None:
                await own.close()


class _Listening(Generic[M]):
    """One stream, from its opening until it breaks; `cause` is then what broke it, or None when it is finished."""

    def __init__(self, follow: Follow[M], pace: Pace, line: _Line) -> None:
        self.cause: PaycoreError | None = None
        self._follow = follow
        self._pace = pace
        method = getattr(line.stubs[follow.service], follow.method)
        self._call = method(follow.request(), metadata=line.address.metadata)

    def leave(self) -> None:
        self._call.cancel()

    async def news(self) -> M | None:
        """The next message that the reader has not seen, or None when the stream is over."""
        while True:
            try:
                async with asyncio.timeout(self._follow.silence_seconds):
                    message = await self._call.read()
            except TimeoutError:
                self.cause = FellSilent()
                return None
            except grpc.aio.AioRpcError as error:
                self.cause = from_rpc(error)
                return None
            except asyncio.CancelledError:
                if _is_being_cancelled():
                    raise
                self.cause = Unavailable(grpc.StatusCode.CANCELLED, "the client was closed")
                return None
            verdict = Verdict.REOPEN if message is grpc.aio.EOF else self._follow.take(message)
            if verdict in (Verdict.FINISH, Verdict.REOPEN):
                self.cause = None if verdict is Verdict.FINISH else ended_early()
                return None
            self._pace.heard(asyncio.get_running_loop().time())
            if verdict is Verdict.SHOW:
                return cast("M", message)


def _is_being_cancelled() -> bool:
    """Whether it is our task that is cancelled, not just the call."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Line:
    """One connection, opened when it is first used so that it belongs to the running loop."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.is_closed = False
        self._channel: grpc.aio.Channel | None = None
        self._stubs: dict[str, Any] = {}

    @property
    def stubs(self) -> dict[str, Any]:
        if self._channel is None:
            self._channel = _open(self.address)
            self._stubs = calls.stubs(self._channel)
        return self._stubs

    async def close(self) -> None:
        self.is_closed = True
        if self._channel is not None:
            await self._channel.close()


def _open(address: Address) -> grpc.aio.Channel:
    if address.is_plaintext:
        return grpc.aio.insecure_channel(address.target, options=OPTIONS)
    return grpc.aio.secure_channel(address.target, address.credentials(), options=OPTIONS)
