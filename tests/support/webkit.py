"""An app around a page in WebKit, the engine of every browser on iOS, as GTK has it: on a screen that nobody sees.

The bindings are the system's and so is the Python that has them; `webkit_app.py` runs there and is told by lines of JSON.
A plugin of pytest: the fixture `in_webkit` opens such apps, in any test folder.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

from tests.support.loud import loudly_skip

PROGRAM = Path(__file__).with_name("webkit_app.py")
PYTHON = "/usr/bin/python3"
BINDINGS = "import gi; gi.require_version('WebKit2', '4.1'); from gi.repository import WebKit2"
SECONDS = 20

Shell: TypeAlias = Callable[[str, str], Awaitable[str | None]]
"""What the app does with a text: given the handler's name and the text, it gives what to reply, or None for no reply."""


class WebKitFailed(Exception):
    """A script in the page threw."""


@dataclass
class WebKitApp:
    """One page in its app."""

    process: asyncio.subprocess.Process
    shell: Shell
    version: str = ""
    _loaded: asyncio.Event = field(default_factory=asyncio.Event)
    _died: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    _work: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self, text: str, *, at: str) -> None:
        """Show this HTML as if it came from there."""
        await self._load(open=text, at=at)

    async def visit(self, url: str) -> None:
        await self._load(visit=url)

    async def run(self, script: str) -> Any:
        """The value of this body of an asynchronous function, run in the page. Raises WebKitFailed when it throws."""
        number = len(self._asked)
        self._asked[number] = asyncio.get_running_loop().create_future()
        self.tell(run=script, id=number)
        async with asyncio.timeout(SECONDS):
            return await self._asked[number]

    async def kill_page(self) -> None:
        """End the process that shows the page, as a phone does that needs memory."""
        self._died.clear()
        self.tell(kill=True)
        async with asyncio.timeout(SECONDS):
            await self._died.wait()

    def tell(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")

    async def _load(self, **order: Any) -> None:
        self._loaded.clear()
        self.tell(**order)
        async with asyncio.timeout(SECONDS):
            await self._loaded.wait()

    async def follow(self) -> None:
        """Take in what the program says, until it ends."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self._take(json.loads(line))

    def _take(self, said: dict[str, Any]) -> None:
        match said:
            case {"loaded": _}:
                self._loaded.set()
            case {"died": _}:
                self._died.set()
            case {"value": value, "id": number}:
                self._asked[number].set_result(value)
            case {"failed": why, "id": number}:
                self._asked[number].set_exception(WebKitFailed(why))
            case {"heard": text, "handler": handler, **more}:
                task = asyncio.ensure_future(self._hear(handler, text, more.get("id")))
                self._work.add(task)
                task.add_done_callback(self._work.discard)

    async def _hear(self, handler: str, text: str, number: int | None) -> None:
        said = await self.shell(handler, text)
        if said is None:
            return
        if number is None:
            self.tell(run=f"PayCoreBridge.receive({json.dumps(said)})")
        else:
            self.tell(reply=number, text=said)

    async def end(self) -> None:
        for task in list(self._work):
            task.cancel()
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@pytest.fixture(scope="session")
def dark_screen() -> Iterator[str]:
    """The name of a screen that nobody sees."""
    xvfb = shutil.which("Xvfb")
    if xvfb is None or subprocess.run([PYTHON, "-c", BINDINGS], capture_output=True, check=False).returncode != 0:
        loudly_skip("the page in WebKit: apt-get install xvfb python3-gi gir1.2-webkit2-4.1")
    told, tells = os.pipe()
    command = [xvfb, "-displayfd", str(tells), "-screen", "0", "800x900x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[tells], stderr=subprocess.DEVNULL)
    os.close(tells)
    with os.fdopen(told) as line:
        number = line.readline().strip()
    try:
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(10)


@asynccontextmanager
async def webkit_app(screen: str, shell: Shell, *handlers: str) -> AsyncIterator[WebKitApp]:
    """An app whose page finds these handlers under webkit.messageHandlers."""
    surroundings = {
        **os.environ,
        "DISPLAY": screen,
        "NO_AT_BRIDGE": "1",
        "GSETTINGS_BACKEND": "memory",
        "WEBKIT_DISABLE_COMPOSITING_MODE": "1",
    }
    process = await asyncio.create_subprocess_exec(
        PYTHON,
        str(PROGRAM),
        *handlers,
        env=surroundings,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    app = WebKitApp(process, shell)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(SECONDS):
            app.version = json.loads(await process.stdout.readline())["ready"]
        following = asyncio.ensure_future(app.follow())
        yield app
        await app.end()
        await following
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest_asyncio.fixture
async def in_webkit(dark_screen: str) -> AsyncIterator[Callable[..., Awaitable[WebKitApp]]]:
    """Opens an app: `await in_webkit(shell, "paycoreReply")`. It ends with the test."""
    async with AsyncExitStack() as stack:

        async def opened(shell: Shell, *handlers: str) -> WebKitApp:
            return await stack.enter_async_context(webkit_app(dark_screen, shell, *handlers))

        yield opened
