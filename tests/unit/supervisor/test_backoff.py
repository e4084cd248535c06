"""The delays of a plugin that crashes."""

import pytest

from hub.supervisor.backoff import HEALTHY_SECONDS, BackOff


class Clock:
    """A clock that a test advances."""

    now = 1000.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Create a clock that does not run on its own."""
    return Clock()


def crash(backoff: BackOff, clock: Clock, ran: float) -> float:
    """Let a process run for some seconds and crash; return the delay until the next start."""
    backoff.started()
    clock.now += ran
    return backoff.crashed()


def test_delays_double_up_to_half_a_minute(clock: Clock) -> None:
    """A plugin that crashes again and again waits 0, 1, 2, 4, 8, 16 and then always 30 seconds."""
    backoff = BackOff(clock)
    assert [crash(backoff, clock, ran=0.1) for _ in range(9)] == [0, 1, 2, 4, 8, 16, 30, 30, 30]


def test_very_many_crashes_still_wait_half_a_minute(clock: Clock) -> None:
    """A plugin that crashed for weeks waits as long as one that crashed for an hour."""
    backoff = BackOff(clock)
    assert {crash(backoff, clock, ran=0) for _ in range(3000)} == {0, 1, 2, 4, 8, 16, 30}


@pytest.mark.parametrize(("ran", "delay"), [(HEALTHY_SECONDS - 0.1, 2), (HEALTHY_SECONDS, 0), (3600, 0)])
def test_a_healthy_minute_resets_the_delay(clock: Clock, ran: float, delay: float) -> None:
    """A process that ran for a minute starts a new count; one that ran less does not."""
    backoff = BackOff(clock)
    for _ in range(2):
        crash(backoff, clock, ran=1)
    assert crash(backoff, clock, ran=ran) == delay


def test_waiting_does_not_reset_the_count(clock: Clock) -> None:
    """A minute in which no process ran, because it could not be started, does not reset the count."""
    backoff = BackOff(clock)
    crash(backoff, clock, ran=1)
    clock.now += 1000
    assert backoff.crashed() == 1
    clock.now += 1000
    assert backoff.crashed() == 2


def test_reset_clears_the_count(clock: Clock) -> None:
    """After an administrator's restart the first crash does not cause a delay."""
    backoff = BackOff(clock)
    for _ in range(5):
        crash(backoff, clock, ran=1)
    backoff.reset()
    assert crash(backoff, clock, ran=1) == 0
