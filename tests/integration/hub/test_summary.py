"""How node-problem-detector reports a node on which a hub is running."""

import os
import signal

from hub.testing.waiting import wait_until
from tests.harness.operated import OperatedNode, operated
from tests.harness.processes import ended
from tests.harness.project import PROJECT
from tests.simulators.nodeproblemdetector import Detector, load

MONITOR = PROJECT / "container" / "node-problem-detector"


def _detector(node: OperatedNode) -> Detector:
    script = MONITOR / "device-plugin-hub.sh"
    environment = {"PATH": os.environ["PATH"], "DPHUB_RUN_DIR": str(node.run_dir.path)}
    return Detector(
        load(MONITOR / "device-plugin-hub.json"), {f"/custom-config/{script.name}": str(script)}, environment
    )


async def _until(detector: Detector, **statuses: str) -> None:
    """Wait until the node's conditions have these statuses."""

    def holds() -> bool:
        detector.run()
        return statuses.items() <= {name: status for name, (status, _, _) in detector.conditions.items()}.items()

    await wait_until(holds, f"{statuses}, not {detector.conditions}")


async def test_a_node_that_develops_problems() -> None:
    """A GPU that breaks has its reason in a condition, a plugin's crash is an event, and a missing hub is reported."""
    async with operated() as node:
        detector = _detector(node)
        good = {each.type: "False" for each in detector.monitor.conditions}
        await _until(detector, **good)
        node.gpus.xid(3, 79)
        await _until(detector, **{**good, "GPUUnhealthy": "True"})
        broken = next(each for each in node.plugin("gpu").report.resources[0].devices if not each.healthy)  # type: ignore[union-attr]
        assert broken.reason in detector.conditions["GPUUnhealthy"][2]
        plugin = node.plugin("stub")
        assert plugin
        os.kill(plugin.process.pid, signal.SIGKILL)
        await wait_until(lambda: detector.run() or detector.events, "an event")
        assert detector.events == [("DevicePluginRestarted", "stub: killed by SIGKILL")]
        assert node.hub
        node.hub.send_signal(signal.SIGTERM)
        await ended(node.hub)
        assert not node.run_dir.summary.exists()
        await _until(detector, DeviceHubDown="True", DevicePluginDown="Unknown", GPUUnhealthy="Unknown")
