"""Labels of the node under a hub: when they appear, stay and disappear."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hub.base.exits import Exit
from hub.testing.node import Node
from hub.testing.waiting import wait_until
from tests.simulators import nfd

STUB = """
[watcher:stub]
cmd = python -m hub.plugin plugins.stub:Stub --config {directory}/stub.yaml
"""
OTHER = """
[watcher:other]
cmd = python -m hub.plugin plugins.stub:Stub --config {directory}/other.yaml
[watcher:unlabelled]
cmd = python -m hub.plugin plugins.stub:Stub --config {directory}/unlabelled.yaml
[env:unlabelled]
DPHUB_FEATURES_DIR =
"""
LATER = timedelta(hours=1)


def _health(plugin: str) -> dict[str, str]:
    return {f"dphub.dev/{plugin}.health": "healthy", f"dphub.dev/{plugin}.unhealthy": "0"}


ONE = {"example.com/model": "x1", **_health("stub")}
BOTH = ONE | _health("other")


class LabelledNode:
    """A node on which Node Feature Discovery reads a directory.

    Args:
        directory: Holds everything.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.features = directory / "features.d"
        self.features.mkdir()
        self.configure(STUB + OTHER)
        (directory / "stub.yaml").write_text("labels: {example.com/model: x1, kubernetes.io/model: x1}")
        for name in ("other", "unlabelled"):
            (directory / f"{name}.yaml").write_text(f"resources: [{{name: example.com/{name}}}]")
        self.node = Node(directory, directory / "circus.ini", {"DPHUB_FEATURES_DIR": str(self.features)})

    def configure(self, text: str) -> None:
        """Write circus.ini."""
        (self.directory / "circus.ini").write_text(text.format(directory=self.directory))

    async def has(self, labels: dict[str, str], *, later: timedelta = timedelta()) -> None:
        """Wait until the node has these labels, or will have them later if nothing else happens."""

        def found() -> bool:
            return nfd.labels(self.features, datetime.now(UTC) + later) == labels

        try:
            await wait_until(found, "these labels")
        except AssertionError as error:
            raise AssertionError(f"{error}: {labels}; it has {nfd.labels(self.features)}") from None


async def test_labels_come_and_go_with_plugins(tmp_path: Path) -> None:
    """Each plugin has its own labels, unless they are switched off for it; a restart changes none.

    A plugin's labels go at once when a reload removes the plugin, and all labels go minutes after the hub has stopped.
    """
    it = LabelledNode(tmp_path)
    async with it.node as node:
        await node.start_hub()
        await it.has(BOTH, later=LATER)
        assert node.log.read_text().count("plugin labels invalid") == 1
        await node.dphub("restart", "stub")
        assert nfd.labels(it.features) == BOTH
        await it.has(BOTH, later=LATER)
        it.configure(STUB)
        said = await node.dphub("reload")
        assert (said.code, nfd.labels(it.features)) == (Exit.OK, ONE), said
        assert await node.stop_hub() == Exit.OK
        await it.has(ONE)
        await it.has({}, later=LATER)


async def test_a_plugin_that_was_removed_while_no_hub_ran(tmp_path: Path) -> None:
    """The next hub removes its labels, and no file of another program."""
    it = LabelledNode(tmp_path)
    (it.features / "gfd").write_text("nvidia.com/gpu.count=8")
    (it.features / "dphub-former").write_text("example.com/model=old")
    async with it.node as node:
        await node.start_hub()
        await it.has(BOTH | {"nvidia.com/gpu.count": "8"})


async def test_an_upgrade_changes_no_label(tmp_path: Path) -> None:
    """The new hub's plugins keep using the files of the old hub, which only adds an expiry time to them."""
    it = LabelledNode(tmp_path)
    async with it.node as node:
        await node.start_hub("old")
        await it.has(BOTH, later=LATER)
        old = node.hub
        await node.start_hub("new")
        await wait_until(lambda: b"handover complete" in node.log.read_bytes(), "a handover")
        assert old
        old.terminate()
        assert await old.wait() == Exit.OK
        await it.has(BOTH)
        await it.has(BOTH, later=LATER)
