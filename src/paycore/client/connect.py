"""How a client reaches a server: addresses, TLS, the key as bearer, retries by service config."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import grpc

SERVICES = ("OrderService", "CashierService", "RefundService", "ChannelService", "NoticeService")
STREAMS = {
    "OrderService": ("WatchOrder", "WatchOrders"),
    "CashierService": ("WatchCashierSession",),
    "RefundService": ("WatchRefund",),
}

RETRY = {
    "maxAttempts": 5,
    "initialBackoff": "0.2s",
    "maxBackoff": "3s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
"""Every unary call may be sent again: what creates something or moves money carries its request_id. Streams are resumed instead."""

SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {"name": [{"service": f"paycore.v1.{service}"} for service in SERVICES], "retryPolicy": RETRY},
            {
                "name": [
                    {"service": f"paycore.v1.{service}", "method": method}
                    for service, methods in STREAMS.items()
                    for method in methods
                ]
            },
        ],
        "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.2},
    }
)

OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.service_config", SERVICE_CONFIG),
    ("grpc.enable_retries", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.primary_user_agent", "paycore-python"),
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, how to be sure of it, and what to show it. The key is in no repr.

    Without `plaintext`, a loopback address or a unix socket is spoken to in plain text unless certificates are given, and
    every other address over TLS. `plaintext=True` allows plain text to any address: the key can then be read on the way.
    """

    target: str
    api_key: str = field(repr=False)
    root_certificates: bytes | None = field(default=None, repr=False)
    client_key: bytes | None = field(default=None, repr=False)
    client_certificate: bytes | None = field(default=None, repr=False)
    plaintext: bool | None = None

    def __post_init__(self) -> None:
        if not self.api_key or not self.api_key.isascii() or not self.api_key.isprintable() or " " in self.api_key:
            raise ValueError("api_key must be the key as paycore printed it")
        if (self.client_key is None) != (self.client_certificate is None):
            raise ValueError("client_key and client_certificate are given together or not at all")
        if self.plaintext and self.has_certificates:
            raise ValueError("certificates and plaintext=True exclude each other")

    @property
    def has_certificates(self) -> bool:
        return self.root_certificates is not None or self.client_key is not None

    @property
    def is_plaintext(self) -> bool:
        """Whether the connection goes without TLS."""
        if self.plaintext is None:
            return is_loopback(self.target) and not self.has_certificates
        return self.plaintext

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        return (("authorization", f"Bearer {self.api_key}"),)

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.root_certificates, self.client_key, self.client_certificate)


def is_loopback(target: str) -> bool:
    """Whether this gRPC target cannot leave the machine. A name counts only if it is exactly localhost."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    for scheme in ("dns:///", "dns:", "ipv4:", "ipv6:"):
        target = target.removeprefix(scheme)
    if target.startswith("["):
        return target[1:].partition("]")[0] == "::1"
    host = target.rpartition(":")[0] or target
    parts = host.split(".")
    is_127 = len(parts) == 4 and parts[0] == "127" and all(part.isdecimal() and int(part) < 256 for part in parts)
    return host == "localhost" or is_127
