"""Ids that nobody has used before, whoever makes them."""

import os
import threading
from itertools import pairwise

from paycore.core.ids import Prefix, is_id
from paycore.engine.ids import DRAW, SystemIds
from paycore.testing.clock import FakeClock, SeededIds


def test_ids_are_ours_and_none_comes_twice() -> None:
    ids = SystemIds(FakeClock())
    made = [ids.mint(Prefix.ORDER) for _ in range(3 * DRAW + 1)]
    assert all(is_id(one, Prefix.ORDER) for one in made)
    assert len(set(made)) == len(made)


def test_ids_follow_the_clock() -> None:
    clock = FakeClock()
    ids, made = SystemIds(clock), list[str]()
    for _ in range(50):
        made.append(ids.mint(Prefix.PAYMENT))
        clock.advance(0.001)
    assert all(earlier < later for earlier, later in pairwise(made))


def test_threads_share_no_id() -> None:
    ids, made = SystemIds(FakeClock()), list[str]()
    threads = [
        threading.Thread(target=lambda: made.extend(ids.mint(Prefix.REFUND) for _ in range(2_000))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8_000


def test_a_forked_process_draws_anew() -> None:
    ids = SystemIds(FakeClock())
    ids.mint(Prefix.ORDER)
    ids._drawn_by = os.getpid() - 1  # what a child sees of what its parent drew
    inherited = set(ids._drawn)
    ids.mint(Prefix.ORDER)
    assert inherited.isdisjoint(ids._drawn)


def test_a_nonce_is_32_hex_digits() -> None:
    for nonce in (SystemIds(FakeClock()).nonce(), SeededIds(FakeClock()).nonce()):
        assert len(bytes.fromhex(nonce)) == 16
        assert nonce == nonce.lower()


def test_seeded_ids_are_the_same_in_every_run() -> None:
    one, same, other = (SeededIds(FakeClock(), seed) for seed in (7, 7, 8))
    made = [one.mint(Prefix.ORDER) for _ in range(3)]
    assert made == [same.mint(Prefix.ORDER) for _ in range(3)]
    assert made != [other.mint(Prefix.ORDER) for _ in range(3)]
