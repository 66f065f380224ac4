"""The loop itself: its own time, a seed's choice, no way out, nothing left of the dead."""

import asyncio
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from paycore.testing.simulation.fence import OutOfBounds
from paycore.testing.simulation.loop import SimDeadlock, SimLoop, SimRunaway
from paycore.testing.simulation.processes import Process


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    made = SimLoop(1)
    yield made
    made.close()


def run(work: Coroutine[Any, Any, Any], seed: int = 1, **more: Any) -> Any:
    loop = SimLoop(seed, **more)
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


# ---------------------------------------------------------------------------------------------- time


def test_a_day_passes_in_no_time(loop: SimLoop) -> None:
    began = time.monotonic()
    loop.run_until_complete(asyncio.sleep(86_400))
    assert loop.time() == 86_400
    assert time.monotonic() - began < 1


def test_timers_ring_in_the_order_of_their_times(loop: SimLoop) -> None:
    rang: list[int] = []

    async def ring(after: int) -> None:
        await asyncio.sleep(after)
        rang.append(after)

    async def all_of_them() -> None:
        await asyncio.gather(*(ring(after) for after in (3, 1, 2)))

    loop.run_until_complete(all_of_them())
    assert rang == [1, 2, 3]


def test_timers_that_a_leap_passes_ring_late(loop: SimLoop) -> None:
    async def leaping() -> float:
        nap = asyncio.ensure_future(asyncio.sleep(10))
        await asyncio.sleep(0)
        loop.leap(3600)
        await nap
        return loop.time()

    assert loop.run_until_complete(leaping()) == 3600


# ---------------------------------------------------------------------------------------------- asyncio as it is known


async def _primitives() -> list[str]:
    found: list[str] = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await asyncio.Event().wait()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.sleep(9), 1)
    found.append(await asyncio.wait_for(asyncio.sleep(1, "in time"), 5))

    lock, queue = asyncio.Lock(), asyncio.Queue[int](maxsize=2)
    inside = 0

    async def locked() -> None:
        nonlocal inside
        async with lock:
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.1)
            inside -= 1

    async def fill() -> None:
        for number in range(6):
            await queue.put(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(locked())
        group.create_task(fill())
        drained = group.create_task(_take(queue, 6))
    found.append(str(drained.result()))

    done, waiting = await asyncio.wait(
        [asyncio.ensure_future(asyncio.sleep(1)), asyncio.ensure_future(asyncio.sleep(2))],
        return_when=asyncio.FIRST_COMPLETED,
    )
    found.append(f"{len(done)} {len(waiting)}")
    with pytest.raises(ExceptionGroup):
        await _one_of_two_fails()
    shielded = asyncio.ensure_future(asyncio.sleep(3, "shielded"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(shielded), 1)
    found.append(await shielded)
    found += [text async for text in _letters()]
    return found


async def _take(queue: asyncio.Queue[int], count: int) -> list[int]:
    return [await queue.get() for _ in range(count)]


async def _one_of_two_fails() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_fail())
        group.create_task(asyncio.sleep(1000))


async def _fail() -> None:
    await asyncio.sleep(1)
    raise ValueError("this is meant")


async def _letters() -> Any:
    for letter in "ab":
        await asyncio.sleep(1)
        yield letter


@pytest.mark.parametrize("shuffle", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_what_asyncio_offers_works(seed: int, shuffle: float) -> None:
    expected = ["in time", "[0, 1, 2, 3, 4, 5]", "1 1", "shielded", "a", "b"]
    assert run(_primitives(), seed, shuffle=shuffle) == expected


# ---------------------------------------------------------------------------------------------- choice


def _order_of(seed: int, **more: Any) -> tuple[str, str]:
    said: list[str] = []

    async def say(letter: str) -> None:
        for _ in range(3):
            said.append(letter)
            await asyncio.sleep(0)

    async def all_at_once() -> None:
        await asyncio.gather(*(say(letter) for letter in "abcd"))

    loop = SimLoop(seed, **more)
    loop.run_until_complete(all_at_once())
    digest = loop.trace.digest
    loop.close()
    return "".join(said), digest


def test_a_seed_chooses_and_chooses_the_same_again() -> None:
    assert len({_order_of(seed)[0] for seed in range(20)}) > 10
    assert all(_order_of(seed) == _order_of(seed) for seed in range(5))


def test_without_shuffling_it_is_first_come_first_served() -> None:
    assert {_order_of(seed, shuffle=0.0)[0] for seed in range(5)} == {"abcd" * 3}


def test_another_process_with_another_hash_seed_takes_the_same_steps() -> None:
    program = textwrap.dedent(
        """
        import asyncio
        from paycore.testing.simulation.loop import SimLoop

        async def nap(name):
            await asyncio.sleep(len(name))

        async def main():
            await asyncio.gather(*(nap(name) for name in ["a", "bb", "cc", "ddd"]))

        loop = SimLoop(7)
        loop.run_until_complete(main())
        print(loop.trace.digest)
        """
    )
    digests = set()
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        ran = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=30
        )
        digests.add(ran.stdout)
    assert len(digests) == 1


# ---------------------------------------------------------------------------------------------- the fence


def _connect() -> None:
    with socket.socket() as line:
        line.connect(("127.0.0.1", 1))


@pytest.mark.parametrize(
    "leave",
    [
        lambda: threading.Thread(target=print).start(),
        _connect,
        lambda: socket.getaddrinfo("localhost", 1),
        lambda: subprocess.Popen(["true"]),
        lambda: time.sleep(1),
        lambda: asyncio.get_running_loop().run_in_executor(None, print),
        lambda: asyncio.get_running_loop().call_soon_threadsafe(print),
        lambda: asyncio.get_running_loop().add_reader(0, print),
    ],
)
def test_nothing_leaves_the_simulation(leave: Callable[[], Any]) -> None:
    async def try_it() -> None:
        leave()

    with pytest.raises(OutOfBounds):
        run(try_it())
    threading.Thread(target=int).start()  # and outside all is as before


def test_a_standstill_is_told_with_the_names_of_those_who_wait(loop: SimLoop) -> None:
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(SimDeadlock, match="waits_for_ever"):
        loop.run_until_complete(waits_for_ever())


def test_a_circle_is_told() -> None:
    async def round_and_round() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(SimRunaway):
        run(round_and_round(), most_steps=1000)


def test_an_exception_that_nobody_looks_at_is_kept(loop: SimLoop) -> None:
    async def raising() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    loop.run_until_complete(raising())
    [complaint] = loop.complaints
    assert isinstance(complaint["exception"], ZeroDivisionError)


# ---------------------------------------------------------------------------------------------- the dead


def test_a_dead_process_takes_no_step_not_even_a_last_one(loop: SimLoop) -> None:
    said: list[str] = []
    process, other = Process("a1"), Process("b1")

    async def live(who: Process) -> None:
        try:
            while True:
                said.append(who.name)
                await asyncio.sleep(1)
        finally:
            said.append(f"{who.name} ends")

    async def world() -> None:
        process.spawn(live(process))
        other.spawn(live(other))
        await asyncio.sleep(2.5)
        process.die()
        await asyncio.sleep(2)

    loop.run_until_complete(world())
    assert said.count("a1") == 3
    assert said.count("b1") == 5
    assert "a1 ends" not in said


def test_a_fuse_kills_after_so_many_steps(loop: SimLoop) -> None:
    steps = 0
    process = Process("a1")

    async def live() -> None:
        nonlocal steps
        while True:
            steps += 1
            await asyncio.sleep(0)

    async def world() -> None:
        process.spawn(live())
        process.fuse = 7
        await asyncio.sleep(10)

    loop.run_until_complete(world())
    assert steps == 7
    assert not process.is_alive


def test_whoever_held_on_to_a_dead_process_is_told(loop: SimLoop) -> None:
    process = Process("a1")

    async def world() -> str:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        process.breaks[answer] = lambda: answer.set_result("the line is dead")
        asyncio.get_running_loop().call_later(3, process.die)
        return await answer

    assert loop.run_until_complete(world()) == "the line is dead"


def test_children_of_a_process_die_with_it(loop: SimLoop) -> None:
    said: list[float] = []
    process = Process("a1")

    async def child() -> None:
        while True:
            await asyncio.sleep(1)
            said.append(asyncio.get_running_loop().time())

    async def parent() -> None:
        asyncio.get_running_loop().call_later(10, said.append, -1.0)
        await asyncio.gather(asyncio.create_task(child()), child())

    async def world() -> None:
        process.spawn(parent())
        await asyncio.sleep(2.5)
        process.die()
        await asyncio.sleep(20)

    loop.run_until_complete(world())
    assert said == [1.0, 1.0, 2.0, 2.0]
