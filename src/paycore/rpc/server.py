"""The gRPC server: where it listens, with which certificates, and how it leaves."""

import asyncio
import errno
import ipaddress
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from paycore.rpc.grpc_face import SLOW_SECONDS, GrpcFace, guarded
from paycore.rpc.health import Health
from paycore.rpc.pipeline import Method, Pipeline
from paycore.rpc.policy import KIB, NOTICE_BYTES

METADATA_BYTES: Final = 16 * KIB
SECOND_MS: Final = 1000
LINGER_SECONDS: Final = 0.3
"""Clients whose stream has just ended come back at once; so long they are told why instead of being cut off."""

LAST_SECONDS: Final = 0.5
"""For the last answers to be sent; who only watches our health is cut off after it."""

OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", NOTICE_BYTES),
    # the soft limit refuses at random what lies between the two, so they are one
    ("grpc.max_metadata_size", METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", METADATA_BYTES),
    # with the default, some of more than a thousand streams opened at once are cancelled or hang
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    # a dead client is noticed in 40 seconds; without the third line it takes minutes
    ("grpc.keepalive_time_ms", 30 * SECOND_MS),
    ("grpc.keepalive_timeout_ms", 10 * SECOND_MS),
    ("grpc.http2.ping_timeout_ms", 10 * SECOND_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 10 * SECOND_MS),
    # new calls find new processes; open streams stay where they are
    ("grpc.max_connection_age_ms", 30 * 60 * SECOND_MS),
)


class PlaintextRefused(Exception):
    """Without TLS a server listens on loopback only, unless it is told that something in front of it has TLS."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The server's certificate and key, and the authority of client certificates if clients must show one."""

    certificate: Path
    key: Path
    client_authority: Path | None = None


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to listen: `host:port` (port 0 for any that is free) or `unix:path`."""

    address: str
    tls: Tls | None = None
    allows_plaintext: bool = False
    shares_port: bool = False

    def check(self) -> None:
        """Raise PlaintextRefused if calls would cross a network unprotected."""
        if self.tls is None and not self.allows_plaintext and not is_local(self.address):
            raise PlaintextRefused(
                f"{self.address} is not loopback: give a certificate, or allow plaintext behind a proxy"
            )


class RpcServer:
    """A gRPC server for these methods, with health, and reflection if asked for."""

    def __init__(
        self,
        pipeline: Pipeline,
        methods: Sequence[Method],
        listening: Listening,
        *,
        has_reflection: bool = False,
        slow_seconds: float = SLOW_SECONDS,
    ) -> None:
        listening.check()
        names = sorted({method.service for method in methods})
        self.health = Health(names)
        self.port = 0
        self._pipeline = pipeline
        self._listening = listening
        has_client_certificates = listening.tls is not None and listening.tls.client_authority is not None
        face = GrpcFace(pipeline, methods, slow_seconds=slow_seconds, looks_at_certificates=has_client_certificates)
        self._handlers: list[grpc.GenericRpcHandler] = [face, self.health.handler()]
        if has_reflection:
            self._handlers.append(_reflection([*names, "grpc.health.v1.Health"]))
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Listen, and return the port. Raises OSError when the address cannot be had."""
        shares = ("grpc.so_reuseport", int(self._listening.shares_port))
        self._server = grpc.aio.server(handlers=self._handlers, options=(*OPTIONS, shares))
        try:
            self.port = self._bind(self._server)
        except RuntimeError:  # gRPC's word for it; it has no better one
            address = self._listening.address
            raise OSError(errno.EADDRINUSE, "the address is not free or not ours", address) from None
        await self._server.start()
        return self.port

    def _bind(self, server: grpc.aio.Server) -> int:
        tls, address = self._listening.tls, self._listening.address
        return server.add_insecure_port(address) if tls is None else server.add_secure_port(address, _credentials(tls))

    async def drain(self, grace_seconds: float) -> None:
        """Leave politely: NOT_SERVING, refuse what is new, end the streams, wait for what is at work, then stop."""
        await self.health.leave()
        self._pipeline.drain.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._pipeline.limits.quiet(), grace_seconds)
        await asyncio.sleep(LINGER_SECONDS)
        await self.stop()

    async def stop(self) -> None:
        """Stop at once; what is still at work is cancelled, what it committed stands."""
        if self._server is not None:
            await self._server.stop(LAST_SECONDS)
            self._server = None


def is_local(address: str) -> bool:
    """Whether nobody outside this machine can reach the address."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    """Certificates that are read again when their files change, so that renewing them needs no restart."""
    files = [tls.certificate, tls.key, *([tls.client_authority] if tls.client_authority else [])]
    seen = _ages(files)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal seen
        now = _ages(files)
        if now == seen:
            return None
        configuration = _configuration(tls)
        seen = now
        return configuration

    return grpc.dynamic_ssl_server_credentials(
        _configuration(tls),
        fetch,  # type: ignore[arg-type] # None is documented: nothing has changed
        require_client_authentication=tls.client_authority is not None,
    )


def _configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    authority = tls.client_authority.read_bytes() if tls.client_authority else None
    return grpc.ssl_server_certificate_configuration([(tls.key.read_bytes(), tls.certificate.read_bytes())], authority)


def _ages(files: Iterable[Path]) -> list[int]:
    return [file.stat().st_mtime_ns for file in files]


def _reflection(names: Sequence[str]) -> grpc.GenericRpcHandler:
    from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

    servicer = reflection.aio.ReflectionServicer([*names, reflection.SERVICE_NAME])
    return guarded(lambda server: reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server))
