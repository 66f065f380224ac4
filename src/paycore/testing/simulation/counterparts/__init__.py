"""The channels that a world may have: the sandbox, whose every whim the simulation knows, and any plugin with a simulator."""

from functools import cache

from paycore.testing.simulation.counterpart import Maker

SANDBOX = "sandbox"


class NoSuchChannel(LookupError):
    """No installed plugin has this channel, or it ships no simulator that a world could play with."""


@cache
def maker_of(channel: str) -> Maker:
    """Who makes counterparts of this channel, found where every plugin is found. Raises NoSuchChannel."""
    if channel == SANDBOX:
        from paycore.testing.simulation.counterparts.sandbox import SandboxMaker

        return SandboxMaker()
    from paycore.engine.host import Host
    from paycore.testing.simulation.counterparts.plugged import PluggedMaker

    kind = Host.load().kinds.get(channel)
    if kind is None or kind.simulator is None:
        raise NoSuchChannel(f"no installed plugin has a channel {channel} with a simulator")
    return PluggedMaker(kind)
