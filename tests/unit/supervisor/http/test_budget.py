"""The share of the event loop that clients on the network get, on a clock that the test sets."""

import random
import threading
import time

import pytest

from hub.supervisor.http.budget import BURST, SHARE, Budget

LONG = 600.0
"""Seconds of an attack."""


class Clock:
    """The time, and the CPU time of the thread."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.used = 5.0

    def work(self, seconds: float) -> None:
        """Use CPU time."""
        self.now += seconds
        self.used += seconds


@pytest.mark.parametrize("most", [0.1, 5.0])
def test_clients_never_get_more_than_their_share(most: float) -> None:
    """Whatever each client uses, four fifths of the event loop remain for probes and plugins during an attack."""
    seed = random.randrange(2**32)  # noqa: S311 - not a secret
    rng = random.Random(seed)  # noqa: S311 - not a secret
    clock = Clock()
    budget = Budget(lambda: clock.now, lambda: clock.used)
    start = clock.used
    end = clock.now + LONG
    while clock.now < end:
        if pause := budget.pause():
            clock.now += pause
        else:
            clock.work(rng.uniform(0.0001, most))
    assert clock.used - start <= LONG * SHARE + BURST + most, seed


def test_a_pause_ends() -> None:
    """After an expensive response, clients wait until their share has compensated for it, and no longer."""
    clock = Clock()
    budget = Budget(lambda: clock.now, lambda: clock.used)
    assert budget.pause() == 0
    clock.work(BURST + 2)
    assert budget.pause() <= 2 / SHARE
    clock.now += budget.pause() + 0.001
    assert budget.pause() == 0


def test_the_work_of_every_thread_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The status of a plugin includes its memory, which other threads read."""
    monkeypatch.setattr("hub.supervisor.http.budget.BURST", 0.01)
    budget = Budget(now=lambda: 0.0)
    thread = threading.Thread(target=_work, args=(0.02,))
    thread.start()
    thread.join()
    assert budget.pause() > 0


def _work(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
