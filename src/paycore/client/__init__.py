"""The SDK that internal services import: typed calls, errors with reasons, and watching that never shows a gap.

It stands on the stubs and grpc alone. `Client` is for threads, `AsyncClient` for asyncio; what they return are the messages
of `paycore.v1`.
"""

from paycore.client.aio import AsyncClient
from paycore.client.errors import (
    Conflict,
    Denied,
    Forbidden,
    InvalidRequest,
    NotFound,
    PaycoreError,
    Unavailable,
    Violation,
)
from paycore.client.sync import Client

__all__ = [
    "AsyncClient",
    "Client",
    "Conflict",
    "Denied",
    "Forbidden",
    "InvalidRequest",
    "NotFound",
    "PaycoreError",
    "Unavailable",
    "Violation",
]
