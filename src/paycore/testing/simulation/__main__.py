"""python -m paycore.testing.simulation [--channel NAME] SEED ... | --many COUNT [--from SEED]"""

import argparse
import sys
from collections.abc import Sequence

from paycore.testing.simulation.counterparts import SANDBOX, NoSuchChannel, maker_of
from paycore.testing.simulation.many import Tally, run_many
from paycore.testing.simulation.report import story
from paycore.testing.simulation.running import run_seed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run seeds and say what came of them; 1 when any rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m paycore.testing.simulation", description="Simulate money safety.")
    parser.add_argument("seeds", nargs="*", type=int, help="seeds to run and tell about")
    parser.add_argument("--many", type=int, default=0, metavar="COUNT", help="run so many seeds on all cores")
    parser.add_argument("--from", type=int, default=1_000_000, dest="first", metavar="SEED", help="the first of them")
    parser.add_argument("--channel", default=SANDBOX, metavar="NAME", help="the plugin that the worlds are played with")
    parser.add_argument("--lines", type=int, default=200, help="how much of a story is told")
    given = parser.parse_args(arguments)
    if bool(given.seeds) == bool(given.many):
        parser.error("give seeds, or --many COUNT")
    try:
        maker_of(given.channel)
    except NoSuchChannel as error:
        parser.error(str(error))
    if given.many:
        return _many(given.channel, given.first, given.many, given.lines)
    return _each(given.channel, given.seeds, given.lines)


def _each(channel: str, seeds: Sequence[int], lines: int) -> int:
    outcomes = [run_seed(seed, channel=channel) for seed in seeds]
    for outcome in outcomes:
        _say(story(outcome, lines))
    return int(any(outcome.violation for outcome in outcomes))


def _many(channel: str, first: int, count: int, lines: int) -> int:
    failed, last = 0, Tally()
    for tally in run_many(range(first, first + count), channel=channel):
        for outcome in tally.failed[failed:]:
            _say(story(outcome, lines))
        failed = len(tally.failed)
        _say(f"... {tally.seeds} of {count}, {tally.seeds / tally.seconds:.1f} a second, {failed} violations")
        last = tally
    _say(str(last))
    return int(bool(failed))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
