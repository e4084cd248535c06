"""The whole node, with faults at random moments. The benchmarks do the same a thousand times."""

import secrets

from benchmarks.restarts import kubelet_restarts
from benchmarks.starts import kill_anything


async def test_no_resource_is_lost_when_the_kubelet_restarts() -> None:
    """However a kubelet exits and whenever the next one starts, all resources return, and register once with it."""
    seed = secrets.randbelow(2**32)
    rows = await kubelet_restarts(count=100, seed=seed)
    counts = {row.figure: row.value for row in rows[-2:]}
    assert counts == {"lost": 0, "registered twice with one kubelet": 0}, f"seed {seed}"


async def test_every_resource_returns_when_any_process_is_killed() -> None:
    """If SIGKILL hits the hub or any plugin at any moment, the node recovers on its own."""
    assert await kill_anything(count=16, seed=secrets.randbelow(2**32))
