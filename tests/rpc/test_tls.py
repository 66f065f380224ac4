"""Listening: plaintext stays on this machine, TLS is renewed without a restart, client certificates belong to apps."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from paycore.rpc.auth import Principal, Proof, Shown
from paycore.rpc.policy import BUSINESS_SCOPES
from paycore.rpc.server import Listening, PlaintextRefused, Tls, is_local
from tests.rpc.certificates import Authority, Pair, write
from tests.rpc.small import APP, KEY, OTHER_APP, House, bearer, key_proof, refusal, small_house
from tests.rpc.test_bad_input_common import GET, request_of

BODY = request_of(GET).SerializeToString()


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:0", True),
        ("127.9.9.9:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("unix:/run/p.sock", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.0.2.1:1", False),
        ("example.com:1", False),
        ("localhost.example.com:1", False),
        (":1", False),
    ],
)
def test_plaintext_is_for_this_machine_only(address: str, *, local: bool) -> None:
    assert is_local(address) == local
    if local:
        Listening(address).check()
    else:
        with pytest.raises(PlaintextRefused):
            Listening(address).check()
    Listening(address, allows_plaintext=True).check()
    Listening(address, tls=Tls(Path("c"), Path("k"))).check()


@asynccontextmanager
async def tls_house(
    folder: Path, authority: Authority, *, clients: Authority | None = None, client: Pair | None = None
) -> AsyncIterator[House]:
    certificate, key = write(folder, "server", authority.issue_server())
    client_authority = None
    if clients is not None:
        client_authority = folder / "clients.pem"
        client_authority.write_bytes(clients.certificate)
    async with small_house(
        listening=Listening("127.0.0.1:0", Tls(certificate, key, client_authority)),
        credentials=lambda: credentials(authority, client),
    ) as house:
        yield house


def credentials(authority: Authority, client: Pair | None = None) -> grpc.ChannelCredentials:
    if client is None:
        return grpc.ssl_channel_credentials(authority.certificate)
    return grpc.ssl_channel_credentials(authority.certificate, client.key, client.certificate)


async def test_tls_is_served_and_plaintext_is_not(tmp_path: Path) -> None:
    async with tls_house(tmp_path, Authority()) as house:
        assert await house.raw(GET, BODY) == b""
        async with grpc.aio.insecure_channel(house.target) as plain:
            said = await refusal(plain.unary_unary(GET)(BODY, metadata=bearer(KEY), timeout=5))
            assert said.code == "UNAVAILABLE"


async def test_a_renewed_certificate_is_used_without_a_restart(tmp_path: Path) -> None:
    old, new = Authority("old"), Authority("new")
    async with tls_house(tmp_path, old) as house:
        assert await house.raw(GET, BODY) == b""
        for path in write(tmp_path, "server", new.issue_server()):
            os.utime(path, ns=(1, 1))
        async with grpc.aio.secure_channel(house.target, credentials(new)) as channel:
            assert await channel.unary_unary(GET)(BODY, metadata=bearer(KEY), timeout=5) == b""


async def test_a_client_without_a_certificate_does_not_get_through(tmp_path: Path) -> None:
    authority = Authority()
    async with tls_house(tmp_path, authority, clients=Authority("clients")) as house:
        said = await refusal(house.raw(GET, BODY, timeout=5))
        assert said.code == "UNAVAILABLE"
    async with tls_house(
        tmp_path, authority, clients=Authority("clients"), client=authority.issue("stranger")
    ) as house:
        said = await refusal(house.raw(GET, BODY, timeout=5))
        assert said.code == "UNAVAILABLE"


async def test_22_a_certificate_names_its_app_and_must_fit_the_key(tmp_path: Path) -> None:
    clients = Authority("clients")
    shop = clients.issue("shop", x509.UniformResourceIdentifier("spiffe://shop/app"))
    async with tls_house(tmp_path, Authority(), clients=clients, client=shop) as house:
        said = await refusal(house.raw(GET, BODY, metadata=()))
        assert (said.code, said.reason) == ("UNAUTHENTICATED", "CREDENTIALS_INVALID")

        house.people.add(Principal(APP, Proof(Shown.CERTIFICATE, shop.sha256), BUSINESS_SCOPES))
        assert await house.raw(GET, BODY, metadata=()) == b""
        assert await house.raw(GET, BODY) == b""
        assert {call.app_id for call, _ in house.services.calls} == {APP}

        house.people.add(Principal(OTHER_APP, Proof(Shown.CERTIFICATE, shop.sha256), BUSINESS_SCOPES))
        said = await refusal(house.raw(GET, BODY))
        assert (said.code, said.reason) == ("UNAUTHENTICATED", "CREDENTIALS_MISMATCH")

        house.people.known.pop((Shown.CERTIFICATE, shop.sha256))
        house.people.add(Principal(APP, key_proof(KEY), BUSINESS_SCOPES, certificate="spiffe://shop/app"))
        assert await house.raw(GET, BODY) == b""
        house.people.add(Principal(APP, key_proof(KEY), BUSINESS_SCOPES, certificate="spiffe://shop/other"))
        assert (await refusal(house.raw(GET, BODY))).reason == "CREDENTIALS_MISMATCH"
