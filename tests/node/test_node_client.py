"""A client in another language, @grpc/grpc-js, works from the committed image of the protos alone."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.loud import loudly_skip
from tests.walks.street import Street, open_street
from tests.walks.town import open_town

HERE = Path(__file__).resolve().parent
IMAGE = HERE.parent.parent / "protos" / "api.binpb"
SECONDS = 40


def node() -> str:
    """The program, with the packages that the script needs."""
    program = shutil.which("node")
    if program is None:
        loudly_skip("the client in Node: there is no node on PATH (Debian: apt-get install nodejs npm)")
    if not (HERE / "node_modules" / "@grpc" / "grpc-js").is_dir():
        loudly_skip("the client in Node: its packages are missing (npm ci --prefix tests/node)")
    return program


@pytest.mark.timeout(SECONDS + 30)
async def test_a_node_client_creates_pays_watches_and_refunds(sqlite_url: str, tmp_path: Path) -> None:
    program = node()
    async with open_street() as street, open_town(sqlite_url, street, tmp_path) as town:
        server = town.server()
        await server.start()
        seen = await run(street, program, str(HERE / "walk.js"), str(IMAGE), server.address, town.key)
    assert seen["created"][0]["order_id"] == seen["created"][0]["again"] == seen["created"][0]["found"]
    assert seen["refused"] == [
        {"saw": "refused", "code": "ALREADY_EXISTS", "has_reason": True},
        {"saw": "refused", "code": "FAILED_PRECONDITION", "has_reason": True},
    ]
    stream, resumed = seen["stream"][0], seen["resumed"][0]
    assert (stream["first"], stream["paid"]) == ("snapshot", True)
    assert stream["versions"] == [str(version) for version in range(1, len(stream["versions"]) + 1)]
    assert resumed["first"] == "event"
    assert resumed["versions"] == stream["versions"][1:]
    assert [(one["state"], one["amount_minor"]) for one in seen["refund"]] == [
        ("STATE_SUCCEEDED", "500"),
        ("STATE_SUCCEEDED", "700"),
    ]
    assert seen["end"] == [{"saw": "end", "state": "STATE_PAID", "captured_minor": "1200", "refunded_minor": "1200"}]


async def run(street: Street, *command: str) -> dict[str, list[dict[str, Any]]]:
    """Run the script, pay the code that it shows, and return what it saw. It must end well."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=HERE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    seen: dict[str, list[dict[str, Any]]] = {}
    try:
        async with asyncio.timeout(SECONDS):
            async for line in process.stdout:
                said = json.loads(line)
                seen.setdefault(said["saw"], []).append(said)
                if said["saw"] == "scan":
                    assert said["kind"] == "qr"
                    street.press_pay(said["content"])
            complaints = (await process.stderr.read()).decode()
            assert await process.wait() == 0, complaints
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return seen
