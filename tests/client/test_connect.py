"""Where a client connects, what it shows there, and what it needs to be imported."""

import json
import subprocess
import sys
from typing import Any

import grpc
import pytest

from paycore.client import AsyncClient, Client
from paycore.client.connect import SERVICE_CONFIG, Address, is_loopback
from tests.client.scripted import KEY


@pytest.mark.parametrize(
    ("target", "is_near"),
    [
        ("localhost:7443", True),
        ("localhost", True),
        ("127.0.0.1:7443", True),
        ("127.8.9.1:1", True),
        ("[::1]:7443", True),
        ("dns:///localhost:7443", True),
        ("ipv4:127.0.0.1:7443", True),
        ("unix:/run/paycore.sock", True),
        ("pay.internal:7443", False),
        ("10.0.0.1:7443", False),
        ("localhost.example:7443", False),
        ("127.0.0.1.example:7443", False),
        ("127.evil:7443", False),
        ("[2001:db8::1]:7443", False),
        ("dns:///pay.internal:7443", False),
    ],
)
def test_only_this_machine_is_spoken_to_in_plain_text(target: str, is_near: bool) -> None:
    assert is_loopback(target) is is_near
    assert Address(target, KEY).is_plaintext is is_near
    assert Address(target, KEY, plaintext=False).is_plaintext is False
    assert Address(target, KEY, plaintext=True).is_plaintext is True
    assert Address(target, KEY, root_certificates=b"pem").is_plaintext is False


@pytest.mark.parametrize(
    "named",
    [
        {"api_key": ""},
        {"api_key": "two words"},
        {"api_key": "line\nbreak"},
        {"api_key": "ключ"},
        {"api_key": KEY, "client_key": b"pem"},
        {"api_key": KEY, "root_certificates": b"pem", "plaintext": True},
    ],
)
def test_an_address_that_makes_no_sense_is_refused(named: Any) -> None:
    with pytest.raises(ValueError, match=r"api_key|given together|exclude") as caught:
        Address("localhost:1", **named)
    assert named["api_key"] == "" or named["api_key"] not in str(caught.value)


def test_the_key_is_in_no_repr() -> None:
    with Client("localhost:1", KEY) as client:
        assert KEY not in repr(client)
        assert KEY not in repr(client._address)
    assert KEY not in repr(AsyncClient("localhost:1", KEY))


def test_grpc_takes_the_service_config() -> None:
    config = json.loads(SERVICE_CONFIG)
    retried, streams = config["methodConfig"]
    assert {name["service"] for name in retried["name"]} == {
        f"paycore.v1.{name}Service" for name in ("Order", "Cashier", "Refund", "Channel", "Notice")
    }
    assert "retryPolicy" not in streams
    assert {name["method"] for name in streams["name"]} == {
        "WatchOrder",
        "WatchOrders",
        "WatchRefund",
        "WatchCashierSession",
    }
    grpc.insecure_channel("localhost:1", options=[("grpc.service_config", SERVICE_CONFIG)]).close()


def test_the_client_needs_the_stubs_and_grpc_only() -> None:
    program = """
import sys
heavy = ("sqlalchemy", "sqlmodel", "pydantic", "protovalidate", "protobuf", "structlog", "typer", "rich", "httpx2", "pluggy", "cryptography")
for name in heavy:
    sys.modules[name] = None
import paycore.client
own = {name.split(".")[1] for name in sys.modules if name.startswith("paycore.")}
assert own == {"client", "v1"}, own
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
