"""Three hubs on one node during a rolling upgrade."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hub.api.health import RecoveryPolicy
from hub.base import instances
from hub.base.nodedir import NODE_DIR
from hub.base.paths import SERVING_DIR, RunDir
from hub.plugin.health.store import HealthStore
from hub.plugin.ownership import Ownership, Role

PLUGIN = "stub"


@contextmanager
def serving(run_dir: RunDir) -> Iterator[None]:
    """Make the plugin of a hub serve."""
    lock = instances.ServingLock(run_dir, PLUGIN)
    assert lock.acquire()
    yield
    lock.release()


class Upgrade:
    """Three hubs on one node, in the order they were started; the middle process is the one under test."""

    def __init__(self, path: Path) -> None:
        (path / NODE_DIR).mkdir()
        (path / SERVING_DIR).mkdir()
        self.hubs = [RunDir(path, name) for name in ("first", "second", "third")]
        self.first, self.ours, self.third = self.hubs
        self.running = ExitStack()
        self.ownership = Ownership(self.ours, PLUGIN, path)

    def store(self) -> HealthStore:
        """Return the health of the devices, as the tested process sees it."""
        return HealthStore(self.ours.health(PLUGIN), RecoveryPolicy(), self.ownership)

    def role(self) -> Role:
        """Return the role after another check."""
        self.ownership.refresh()
        return self.ownership.role
