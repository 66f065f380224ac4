"""h2load, where it is installed (Debian: nghttp2-client), as the generator of unary calls.

It sends one and the same body. So the server that it loads is started with a stamp (`bench.stamped`) that writes another
number into each request before anything reads it.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.wire import CallFailed

_FINISHED = re.compile(r"finished in [\d.]+(?:ms|s), ([\d.]+) req/s")
_DONE = re.compile(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded")


@dataclass(frozen=True)
class Tool:
    """The program."""

    program: str
    name: str = "h2load"

    @classmethod
    def find(cls) -> Tool | None:
        program = shutil.which("h2load")
        return cls(program) if program else None

    async def run(self, address: str, path: str, message: bytes, *, key: str, seconds: float, at_once: int) -> float:
        """Calls a second of one unary method, in a closed loop. Raises CallFailed unless all of them went well."""
        with tempfile.TemporaryDirectory() as folder:
            body = Path(folder) / "body"
            body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
            said = await self._say(address, path, body, key=key, seconds=seconds, at_once=at_once)
        rate, counts = _FINISHED.search(said), _DONE.search(said)
        if rate is None or counts is None or counts[1] != counts[2] or counts[1] == "0":
            raise CallFailed(f"h2load on {path} says: {said[-600:]}")
        return float(rate[1])

    async def _say(self, address: str, path: str, body: Path, *, key: str, seconds: float, at_once: int) -> str:
        process = await asyncio.create_subprocess_exec(
            *(
                self.program,
                "--clients=1",
                f"--max-concurrent-streams={at_once}",
                f"--duration={max(1, round(seconds))}",
            ),
            *(f"--data={body}", "--header=content-type: application/grpc", "--header=te: trailers"),
            *(f"--header=authorization: Bearer {key or 'pk_' + 'x' * 43}", f"http://{address}{path}"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(seconds + 30):
                said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return said.decode(errors="replace")
