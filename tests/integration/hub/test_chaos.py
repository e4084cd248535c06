"""Processes that die or stop at any moment."""

import random

from tests.harness.chaos import Chaos


async def test_chaos() -> None:
    """After SIGKILL and SIGSTOP of the hub, plugins, guards and workers, all resources return with all devices."""
    # pytest-randomly seeds `random`; a failure names this seed.
    chaos = Chaos(seed=random.randrange(2**32))  # noqa: S311 - not a secret
    await chaos.run(count=6, nodes=2)
    assert not chaos.lost
    assert len(chaos.sent) == 6
