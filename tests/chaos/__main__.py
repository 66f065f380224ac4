"""`make chaos`: a run of some minutes from a seed. Says what happened, and ends with 1 when anything is wrong."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos.cluster import a_cluster
from tests.chaos.run import Plan, run


def main() -> int:
    words = argparse.ArgumentParser(prog="chaos", description=__doc__)
    words.add_argument("--minutes", type=float, default=3.0)
    words.add_argument("--seed", type=int, default=None)
    words.add_argument("--postgres", action="append", default=[], metavar="NAME=VALUE", help="weaken PostgreSQL")
    words.add_argument("--folder", type=Path, default=None, help="where journal, books and logs are left")
    said = words.parse_args()
    seed = random.SystemRandom().randrange(2**32) if said.seed is None else said.seed
    share = min(said.minutes / 2.0, 1.0)
    plan = Plan(
        said.minutes,
        seed,
        kills=round(20 * share),
        kills_of_database=round(5 * share),
        cuts=round(10 * share),
        is_weakened=bool(said.postgres),
    )
    folder = said.folder or Path(tempfile.mkdtemp(prefix="paycore-chaos-"))
    print(f"chaos: {plan.again}; journal, books and logs are in {folder}", flush=True)
    with a_cluster(dict(pair.split("=", 1) for pair in said.postgres)) as cluster:
        outcome = asyncio.run(run(plan, folder, cluster))
    print(outcome)
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
