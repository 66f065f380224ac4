"""A database with one app, its keys and its account at the sandbox channel, ready for servers to be started on it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from paycore.cli.apps import add_app, make_key
from paycore.engine.accounts import Accounts
from paycore.engine.clock import SystemClock
from paycore.engine.host import Host
from paycore.engine.ids import SystemIds
from paycore.engine.keyring import make_key_file, open_keyring
from paycore.engine.memory import Memory
from paycore.store import Store
from tests.walks.processes import Server
from tests.walks.street import CHANNEL, Street

COMMAND_SECONDS = 60.0
MANY = """
import json, sys
from paycore.cli.main import run
for words in json.loads(sys.argv[1]):
    print("$ paycore", *words[:2], flush=True)
    print("exit code", int(run(words)), flush=True)
"""


@dataclass
class Town:
    """What servers and callers need to know."""

    settings: dict[str, str]
    folder: Path
    app_id: str
    key: str
    notice_key: str
    account_id: str = ""
    servers: list[Server] = field(default_factory=list)

    def server(self, **more: str) -> Server:
        """A server on this database, not started yet. Whatever happens, it does not outlive the town."""
        name = f"server-{len(self.servers)}"
        server = Server({**self.settings, **more}, self.folder / f"{name}.log")
        self.servers.append(server)
        return server

    async def audit(self) -> None:
        """`paycore audit` finds nothing wrong."""
        done = await asyncio.to_thread(self.command, "audit")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one command of the command line, as an operator would."""
        return self._run("-m", "paycore", *words)

    def commands(self, *lines: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        """Run several commands one after the other, in one process to save the starts. Each says how it ended."""
        return self._run("-c", MANY, json.dumps(lines))

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PAYCORE_")}
        return subprocess.run(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            env=environment | self.settings,
            cwd=self.folder,
            check=False,
        )


@asynccontextmanager
async def open_town(
    url: str, street: Street, folder: Path, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Town]:
    """A town on an empty database. Its servers are gone afterwards."""
    weak = {"PAYCORE_CHECK_DURABILITY": "false"}  # the tests' PostgreSQL may forget after a power cut, not after a kill
    town = await found(url, folder, street.settings, weak | dict(settings or {}))
    try:
        yield town
    finally:
        for server in town.servers:
            server.kill()


async def found(url: str, folder: Path, account: Mapping[str, str], settings: Mapping[str, str]) -> Town:
    """Make the schema, an app, a key for its business and one for its notices, and its account with these settings."""
    known = {"PAYCORE_DATABASE_URL": url, **settings}
    if "PAYCORE_MASTER_KEY" not in known:
        make_key_file(folder / "master.key")
        known["PAYCORE_MASTER_KEY_FILE"] = str(folder / "master.key")
    store = Store.open(url, pool_size=2, check_durability=False)
    memory = Memory(store)
    try:
        store.migrate()
        with store.write() as unit:
            app, key = add_app(unit, "shop")
            _, notice_key = make_key(unit, app, scopes=["notices:deliver"])
        file = known.get("PAYCORE_MASTER_KEY_FILE")
        keyring = open_keyring(text=known.get("PAYCORE_MASTER_KEY"), path=Path(file) if file else None)
        clock = SystemClock()
        accounts = Accounts(memory, keyring, Host.load(allow=[CHANNEL]), clock, SystemIds(clock))
        opened = await accounts.add(app.app_id, CHANNEL, "sandbox", account)
    finally:
        memory.close()
        store.close()
    return Town(known, folder, app.app_id, key, notice_key, opened.account_id)
