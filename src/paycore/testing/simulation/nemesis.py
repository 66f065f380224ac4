"""Kills processes, lets them come back, sets their clocks wrong. It stops when the weather is calm."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paycore.testing.simulation.world import World

KILL_STEPS = 30
POLITE = 0.2
"""How often it is a rolling restart that ends a process."""


async def kill(world: "World") -> None:
    """Kill some process now and then, a few steps after it was chosen: at any await."""
    every = world.options.kill_every
    while every is not None and not world.weather.is_calm:
        await asyncio.sleep(world.weather.about(every))
        up = world.servers_up()
        if not up:
            continue
        server = world.weather.dice.choice(up)
        if world.weather.dice.random() < POLITE:
            world.weather.count("restarted")
            server.process.spawn(server.leave(), name="leave")
        elif world.weather.strikes("killed", 1.0):
            server.process.fuse = world.weather.dice.randrange(KILL_STEPS)


async def set_clocks(world: "World") -> None:
    """Set a clock wrong now and then, forwards or backwards."""
    while world.options.clock_jumps and world.options.skew_seconds and not world.weather.is_calm:
        await asyncio.sleep(world.weather.about(45.0))
        if world.weather.strikes("clock set", 1.0):
            most = world.options.skew_seconds
            world.weather.dice.choice(world.clocks).set_off(world.weather.dice.uniform(-most, most))
