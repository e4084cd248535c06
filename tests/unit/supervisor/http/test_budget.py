"""The share of the event loop that clients on the network get, on a clock that the test sets."""

import random

from hub.supervisor.http.budget import BURST, SHARE, Budget

LONG = 600.0
"""Seconds of an attack."""


class Clock:
    """The time, and the processor time of the thread."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.used = 5.0

    def work(self, seconds: float) -> None:
        """Use the processor."""
        self.now += seconds
        self.used += seconds


def test_clients_never_get_more_than_their_share() -> None:
    """Whatever each costs: during an attack, four fifths of the event loop remain for probes and plugins."""
    seed = random.randrange(2**32)  # noqa: S311 - no secret
    chance = random.Random(seed)  # noqa: S311 - no secret
    clock = Clock()
    budget = Budget(lambda: clock.now, lambda: clock.used)
    start = clock.used
    end = clock.now + LONG
    most = 0.1
    while clock.now < end:
        if pause := budget.pause():
            clock.now += pause
        else:
            clock.work(chance.uniform(0.0001, most))
    assert clock.used - start <= LONG * SHARE + BURST + most, seed


def test_a_pause_ends() -> None:
    """After a burst of the hub's own work, however long, clients wait for seconds only."""
    clock = Clock()
    budget = Budget(lambda: clock.now, lambda: clock.used)
    assert budget.pause() == 0
    clock.work(60)
    assert budget.pause() <= BURST / SHARE
    clock.now += budget.pause() + 0.001
    assert budget.pause() == 0
