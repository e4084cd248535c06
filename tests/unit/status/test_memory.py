"""The memory of processes, of which one may hang."""

import os
import threading
import time
from collections.abc import Iterator

import pytest

from hub.status import memory
from hub.status.memory import Memory
from hub.testing.waiting import WAIT_SECONDS

HANGS = 4_000_000
"""A process number that no process has."""


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Make the kernel keep readers of one process waiting until this event is set."""
    released = threading.Event()
    read = memory.proportional_set_size

    def wait(pid: int) -> int | None:
        if pid != HANGS:
            return read(pid)
        released.wait(WAIT_SECONDS)
        return 5

    monkeypatch.setattr(memory, "proportional_set_size", wait)
    yield released
    released.set()


def test_a_process_whose_memory_cannot_be_read(hang: threading.Event) -> None:
    """It delays one request briefly, and then none; other processes are not affected, and it is tried again later."""
    found = Memory()
    begin = time.monotonic()
    assert [found.of(HANGS) for _ in range(50)] == [None] * 50
    assert time.monotonic() - begin < 10 * memory.READ_TIMEOUT
    assert (_eventually(found, os.getpid()) or 0) > 1 << 20
    hang.set()
    assert _eventually(found, HANGS) == 5


def _eventually(found: Memory, pid: int) -> int | None:
    """Return the memory of a process as soon as it is known: on a busy machine, any process may take a while."""
    end = time.monotonic() + WAIT_SECONDS
    while found.of(pid) is None and time.monotonic() < end:
        time.sleep(0.01)
    return found.of(pid)


def test_many_processes_whose_memory_cannot_be_read(monkeypatch: pytest.MonkeyPatch, hang: threading.Event) -> None:
    """Only a limited number of threads waits for them, which a plugin that hangs again and again does not use up."""
    monkeypatch.setattr(memory, "READ_TIMEOUT", 0.01)
    monkeypatch.setattr(memory, "proportional_set_size", lambda _pid: hang.wait(WAIT_SECONDS))
    before = threading.active_count()
    found = Memory()
    for pid in range(HANGS, HANGS + 50):
        found.of(pid)
    assert threading.active_count() - before <= memory.MAX_PENDING


@pytest.mark.parametrize("pid", [0, -1, HANGS, 2**70])
def test_a_number_that_no_process_has(pid: int) -> None:
    """The number may come from a file that any plugin can write."""
    assert Memory().of(pid) is None


def test_a_value_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """This happens soon, but not for each request."""
    values = iter(range(1, 100))
    monkeypatch.setattr(memory, "proportional_set_size", lambda _pid: next(values))
    monkeypatch.setattr(memory, "LIFETIME", 60)
    found = Memory()
    assert [found.of(7), found.of(7)] == [1, 1]
    monkeypatch.setattr(memory, "LIFETIME", -1)
    assert found.of(7) == 2
