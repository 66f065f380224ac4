"""The client over TLS: it believes only the authority it was given, and shows its own certificate when asked."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from paycore.client import AsyncClient, Client, Unavailable
from paycore.v1 import order_pb2, order_pb2_grpc
from tests.client.scripted import KEY, Script, servicer


@dataclass(frozen=True)
class Identity:
    """A certificate with its key, as PEM, and what it takes to sign others."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def identity(name: str, issuer: Identity | None = None) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    return Identity(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


AUTHORITY = identity("authority")
STRANGER = identity("stranger")
SERVER = identity("server", AUTHORITY)
APP = identity("app", AUTHORITY)


@pytest.fixture(params=[False, True], ids=["tls", "mtls"])
async def secured(request: pytest.FixtureRequest) -> AsyncIterator[tuple[int, bool, Script]]:
    script = Script(unary=[order_pb2.GetOrderResponse(order=order_pb2.Order(order_id="or1"))] * 2)
    server = grpc.aio.server()
    orders = servicer(order_pb2_grpc.OrderServiceServicer, GetOrder=script.answer)
    order_pb2_grpc.add_OrderServiceServicer_to_server(orders, server)
    credentials = grpc.ssl_server_credentials(
        [(SERVER.key_pem, SERVER.pem)], AUTHORITY.pem if request.param else None, request.param
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield port, request.param, script
    await server.stop(None)


def papers(is_mutual: bool) -> dict[str, Any]:
    own = {"client_key": APP.key_pem, "client_certificate": APP.pem} if is_mutual else {}
    return {"root_certificates": AUTHORITY.pem, **own}


async def test_a_server_that_can_prove_itself_is_believed(secured: tuple[int, bool, Script]) -> None:
    port, is_mutual, script = secured
    async with AsyncClient(f"127.0.0.1:{port}", KEY, **papers(is_mutual)) as client:
        assert (await client.get_order("or1")).order_id == "or1"
    assert script.metadata[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "wrong",
    [{"root_certificates": STRANGER.pem}, {"plaintext": False}, {"plaintext": True}],
    ids=["other authority", "the system's authorities", "plain text"],
)
async def test_the_key_is_shown_to_nobody_else(secured: tuple[int, bool, Script], wrong: dict[str, Any]) -> None:
    port, _, script = secured
    async with AsyncClient(f"127.0.0.1:{port}", KEY, timeout_seconds=0.6, **wrong) as client:
        with pytest.raises(Unavailable):
            await client.get_order("or1")
    assert script.asked == []


async def test_threads_prove_themselves_too(secured: tuple[int, bool, Script]) -> None:
    port, is_mutual, script = secured

    def ask() -> str:
        with Client(f"127.0.0.1:{port}", KEY, **papers(is_mutual)) as client:
            return client.get_order("or1").order_id

    assert await asyncio.to_thread(ask) == "or1"
    assert len(script.asked) == 1
