"""How the guard of a reset kills the processes that the reset has left behind."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.reset import __main__ as guard

LEFT = 2000


class _Kernel:
    """The children of the guard: each exits when it is killed, and is a zombie until it is waited for."""

    def __init__(self) -> None:
        self.running = set(range(1, LEFT + 1))
        self.zombies: list[int] = []
        self.kills = 0

    def read_text(self, *_: object, **__: object) -> str:
        """List the children, as in /proc."""
        return " ".join(map(str, [*self.zombies, *self.running]))

    def kill(self, child: int, _signal: int) -> None:
        """Kill a child."""
        self.kills += 1
        if child in self.running:
            self.running.discard(child)
            self.zombies.append(child)

    def waitpid(self, _pid: int, options: int) -> tuple[int, int]:
        """Reap a child."""
        if not self.running and not self.zombies:
            raise ChildProcessError
        assert self.zombies or options == os.WNOHANG
        return (self.zombies.pop(), 9) if self.zombies else (0, 0)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Kernel]:
    """Let the guard have many children."""
    found = _Kernel()
    monkeypatch.setattr(Path, "read_text", found.read_text)
    monkeypatch.setattr(os, "kill", found.kill)
    monkeypatch.setattr(os, "waitpid", found.waitpid)
    yield found
    monkeypatch.undo()


def test_thousands_of_processes_are_ended_in_one_round(kernel: _Kernel) -> None:
    """Otherwise each would be killed as often as there are others, and the reset would count as stuck meanwhile."""
    guard._end_everything()
    assert not kernel.running
    assert not kernel.zombies
    assert kernel.kills == LEFT
