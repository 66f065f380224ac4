"""Tells people what became of a seed: how to see it again, its world, the last lines of its story."""

from collections.abc import Iterator

from paycore.testing.simulation.running import Outcome

SHOWN_LINES = 200


def story(outcome: Outcome, lines: int = SHOWN_LINES) -> str:
    """Everything that somebody needs who looks into a seed."""
    return "\n".join(_story(outcome, lines))


def _story(outcome: Outcome, lines: int) -> Iterator[str]:
    seed = outcome.options.seed
    yield f"seed {seed}: {outcome.violation or 'all rules held'}"
    where = "" if outcome.options.channel == "sandbox" else f"CHANNEL={outcome.options.channel} "
    yield f"replay it by: make storm {where}SEED={seed}"
    yield "its world:"
    yield str(outcome.options)
    yield f"what struck: {', '.join(f'{kind} {count}' for kind, count in sorted(outcome.struck.items())) or 'nothing'}"
    yield (
        f"{outcome.steps} steps, {outcome.commits} commits, {outcome.promises} promises, "
        f"{outcome.virtual_seconds:,.0f} virtual seconds, digest {outcome.digest}"
    )
    yield f"the last {min(lines, len(outcome.trace))} lines:"
    yield from outcome.trace[-lines:]
