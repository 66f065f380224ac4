"""paycore itself, as a process for the benchmark: `python -m bench.paycore_server` with PAYCORE_* in its environment.

It runs `paycore serve` as everybody does. With --stamp it writes another number into each CreateOrder before anything
reads it, because h2load sends one and the same body.
"""

from __future__ import annotations

import sys
from itertools import count
from typing import Any

from bench.load import RUN, STAMP

MARK = STAMP.encode()


def stamp_requests() -> None:
    """Let every request that carries the stamp be one that nobody sent before."""
    from paycore.rpc import grpc_face

    numbers = count(1)

    class Stamped(grpc_face.GrpcCall):
        __slots__ = ()

        def __init__(self, raw: bytes, *more: Any, **named: Any) -> None:
            if MARK in raw:
                raw = raw.replace(MARK, f"{RUN}{next(numbers):010d}".encode())
            super().__init__(raw, *more, **named)

    grpc_face.GrpcCall = Stamped  # type: ignore[misc]


if __name__ == "__main__":
    if "--stamp" in sys.argv:
        sys.argv.remove("--stamp")
        stamp_requests()
    from paycore.__main__ import main

    main()
