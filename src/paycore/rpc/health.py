"""grpc.health.v1: whether this process should be sent calls, as a whole ("") and service by service."""

from collections.abc import Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio

from paycore.rpc.grpc_face import guarded

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class _Servicer(aio.HealthServicer):  # type: ignore[misc]
    """The official servicer, which has no List in its asyncio form yet."""

    async def List(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name of the RPC
        each = {name: health_pb2.HealthCheckResponse(status=status) for name, status in self._server_status.items()}
        return health_pb2.HealthListResponse(statuses=each)


class Health:
    """What balancers and probes are told. All services are ready or unready together: they stand on one database."""

    def __init__(self, services: Iterable[str], *, most_watching: int = 1000) -> None:
        self._most_watching = most_watching
        self._servicer = _Servicer()
        self._names = ("", *services)
        self.is_serving = False

    def handler(self) -> grpc.GenericRpcHandler:
        """The service, to be added to a server."""
        return guarded(
            lambda server: health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server),
            most_at_once=self._most_watching,
        )

    async def say(self, *, is_serving: bool) -> None:
        """Tell everybody who asks or watches."""
        self.is_serving = is_serving
        for name in self._names:
            await self._servicer.set(name, SERVING if is_serving else NOT_SERVING)

    async def leave(self) -> None:
        """Say NOT_SERVING from now on, whatever is said later."""
        self.is_serving = False
        await self._servicer.enter_graceful_shutdown()
