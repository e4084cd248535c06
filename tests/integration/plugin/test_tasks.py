"""What happens when a task of a plugin process fails."""

from hub.model.plugin import RegistrationStatus
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB
from hub.testing.waiting import wait_until
from tests.harness.node import Node

FAILING = """
import hub.plugin.holders as holders
from hub.plugin.deviceplugin.registrar import Registrar

async def undecodable(*_):
    raise UnicodeDecodeError("utf-8", bytes([255]), 0, 1, "invalid start byte")

async def one_fails(self, run=Registrar.run):
    if self._resource == "example.com/bad":
        raise ValueError("no idea")
    await run(self)

holders.list_holders = undecodable
Registrar.run = one_fails

class P(Plugin):
    def devices(self):
        yield Device("a", "example.com/stub")
        yield Device("b", "example.com/bad")
"""


async def test_tasks_that_fail(node: Node, kubelet: FakeKubelet) -> None:
    """A failed task is restarted and reported; the process stays, and so do all other resources, with their devices."""
    node.run_dir.create()
    (node.directory / "thirdparty.py").write_text(f"from hub import *\n{FAILING}")
    plugin = node.start_plugin(f"{node.directory}/thirdparty.py:P")
    await kubelet.wait_for(STUB, 1)
    expected = {
        "query for devices in use": "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0",
        "registration of example.com/bad": "ValueError: no idea",
    }

    def failures() -> dict[str, str]:
        state = plugin.state()
        return {name: why.removesuffix(": invalid start byte") for name, why in state.failures.items()} if state else {}

    await wait_until(lambda: failures() == expected, "the failures")
    restarted = await wait_until(
        lambda: found if len(found := plugin.lines("task restarted")) >= 2 else None, "restarts"
    )
    assert {line["task"] for line in restarted} == expected.keys()
    assert (await plugin.registered()).allocatable == 1
    bad = plugin.resource("example.com/bad")
    assert bad
    assert bad.registration is RegistrationStatus.WAITING
    assert await plugin.stop() == 0
