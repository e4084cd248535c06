"""What a person writes to name a plugin and its settings is accepted, or refused with the location of the mistake."""

import json
import os
import subprocess
import sys

import pytest

from hub.base.exits import Exit
from hub.model.plugin import RegistrationStatus
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB
from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.harness.node import Node
from tests.integration.plugin.refusals import refusal

SERIAL = '''
class P(Plugin):
    """USB serial adapters as example.com/stub."""
    resource = "example.com/stub"

    def devices(self):
        for tty in self.host.glob("/dev/ttyUSB*"):
            yield Device(tty.name, nodes=[DeviceNode(tty)])
'''


async def test_a_plugin_in_a_file_of_its_own(node: Node, kubelet: FakeKubelet) -> None:
    """A class in any Python file can be a plugin; it sees the node's files where the hub says they are."""
    (node.directory / "root" / "dev").mkdir(parents=True)
    for n in range(3):
        (node.directory / "root" / "dev" / f"ttyUSB{n}").touch()
    node.start_plugin(node.write_plugin(SERIAL), env={"DPHUB_HOST_ROOT": str(node.directory / "root")})
    await kubelet.wait_for(STUB, 3)
    response = (await kubelet.admit("modem", {STUB: 1})).containers["main"].response
    assert response.devices[0].host_path == response.devices[0].container_path == "/dev/ttyUSB0"


WATCHED = """
import sys
from pathlib import Path

def note(event, arguments):
    if event == "subprocess.Popen":
        Path("PROGRAMS").write_text(str(arguments[1]))

sys.addaudithook(note)

class P(Plugin):
    resource = "example.com/stub"

    def devices(self):
        from plugins.gpu.nvml.driver import Driver
        return [Device("d")]

    def watch(self, changed):
        from asyncinotify import Inotify
        Path("WATCHES").touch()
        changed()
"""


async def test_a_plugin_process_starts_no_program(node: Node, kubelet: FakeKubelet) -> None:
    """It starts none even to find a library: starting a program takes longer than the rest of the start."""
    programs, watches = node.directory / "programs", node.directory / "watches"
    code = WATCHED.replace("PROGRAMS", str(programs)).replace("WATCHES", str(watches))
    node.start_plugin(node.write_plugin(code))
    await kubelet.wait_for(STUB, 1)
    await wait_until(watches.exists, "the watch")
    assert not programs.exists(), programs.read_text(encoding="utf-8")


SETTLED = """
from hub import Device, Plugin, Settings

class Size(Settings, frozen=True):
    count: int = 1

class P(Plugin):
    resource = "example.com/stub"
    settings: Size

    def devices(self):
        return [Device(f"d{n}") for n in range(self.settings.count)]
"""


@pytest.mark.parametrize(("config", "count"), [(None, 1), ("count: 3", 3)])
async def test_a_plugin_in_an_installed_package(
    node: Node, kubelet: FakeKubelet, config: str | None, count: int
) -> None:
    """A class in any importable module can be a plugin, with its own settings."""
    package = node.directory / "site" / "vendor"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cards.py").write_text(SETTLED)
    node.start_plugin("vendor.cards:P", config=config, env={"PYTHONPATH": str(package.parent)})
    await kubelet.wait_for(STUB, count)


async def test_a_plugin_in_two_files(node: Node, kubelet: FakeKubelet) -> None:
    """A plugin in a file can import modules next to it; they do not hide modules of Python, the hub or packages."""
    (node.directory / "cards.py").write_text(SETTLED.replace("from hub", "from sizes import COUNT\nfrom hub"))
    (node.directory / "sizes.py").write_text("COUNT = 3\n")
    for hidden in ("numbers", "msgspec"):
        (node.directory / f"{hidden}.py").write_text("raise SystemExit(7)\n")
    node.start_plugin("cards.py:P", config="count: 2")
    await kubelet.wait_for(STUB, 2)


async def test_type_hints_may_be_strings(node: Node, kubelet: FakeKubelet) -> None:
    """The type of a plugin's settings is found even in a file where annotations are not evaluated."""
    (node.directory / "texts.py").write_text(f"from __future__ import annotations\n{SETTLED}")
    node.start_plugin("texts.py:P", config="count: 2")
    await kubelet.wait_for(STUB, 2)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("plugins.stub", 'plugin "plugins.stub": expected MODULE:CLASS, for example plugins.stub:Stub'),
        (":Stub", 'plugin ":Stub": expected MODULE:CLASS'),
        ("plugins.stub:", 'plugin "plugins.stub:": expected MODULE:CLASS'),
        ("plugins.stub:Stub()", 'plugin "plugins.stub:Stub()": expected MODULE:CLASS'),
        (
            "plugins.nothing:Stub",
            'plugin "plugins.nothing:Stub": there is no module plugins.nothing on PYTHONPATH',
        ),
        ("nothing.stub:Stub", 'plugin "nothing.stub:Stub": there is no module nothing'),
        ("plugins.stub:Stab", 'plugin "plugins.stub:Stab": Stab does not exist; plugins.stub has Stub'),
        (
            "json:JSONDecoder",
            (
                'plugin "json:JSONDecoder": JSONDecoder is not a subclass of hub.Plugin; '
                f"json has no plugin (it is {json.__file__})"
            ),
        ),
        (
            "plugins.stub.plugin:os",
            'plugin "plugins.stub.plugin:os": os is not a subclass of hub.Plugin; plugins.stub.plugin has Stub',
        ),
        (
            "needs:P",
            (
                'plugin "needs:P": there is no module needs on PYTHONPATH or among the installed packages; '
                "to load the file, write needs.py:CLASS"
            ),
        ),
        ("/nowhere/p.py:P", "/nowhere/p.py: no such file"),
        ("d.py:P", "d.py: is a directory, expected a file"),
        ("empty.py:P", "empty.py: is empty"),
        ("bad.py:P", 'plugin "bad.py:P": {directory}/bad.py: line 2: invalid syntax'),
        (
            "needs.py:P",
            'plugin "needs.py:P": {directory}/needs.py:1 needs module nowhere_to_be_found, which is not installed',
        ),
        ("..:P", 'plugin "..:P": expected MODULE:CLASS'),
        ("/opt/plugin:P", 'plugin "/opt/plugin:P": expected MODULE:CLASS'),
    ],
)
async def test_a_wrong_target(node: Node, target: str, reason: str) -> None:
    """One line says what is wrong with the name of the class."""
    (node.directory / "d.py").mkdir()
    (node.directory / "empty.py").touch()
    (node.directory / "bad.py").write_text("x = 1\nclass P(:\n")
    (node.directory / "needs.py").write_text("import nowhere_to_be_found\n")
    assert (await refusal(node.start_plugin(target))).startswith(reason.replace("{directory}", str(node.directory)))


async def test_a_plugin_that_cannot_be_made(node: Node) -> None:
    """An error in the plugin's constructor is a crash: the log line gives the location and the traceback."""
    target = node.write_plugin("""
class P(Plugin):
    def __init__(self, *args):
        raise KeyError("serial")
    def devices(self):
        return []
""")
    plugin = node.start_plugin(target)
    assert await plugin.exited() == Exit.FAILED
    (line,) = plugin.lines()
    assert line["event"] == "plugin crashed"
    assert line["reason"] == f"at {node.directory}/thirdparty.py:8: KeyError: 'serial'"
    assert "thirdparty.py" in line["exception"]


async def test_a_plugin_directory_too_deep_for_sockets(node: Node) -> None:
    """The path of a socket would be too long, so the resource is reported as invalid, with the excess length."""
    deep = node.directory / ("d" * 100)
    deep.mkdir()
    node.plugin_dir = deep
    plugin = node.start_plugin()
    state = await plugin.resource_until(lambda state: state.registration is RegistrationStatus.INVALID)
    excess = len(str(deep)) + len("/.sock") + 7 - 107
    assert state.detail == f"{deep}: the path is {excess} bytes too long for a socket in it"
    assert await plugin.stop() == 0


@pytest.mark.parametrize("variable", ["DPHUB_LOG_LEVEL", "DPHUB_LOG_FORMAT"])
def test_a_wrong_variable_is_one_clear_error(variable: str) -> None:
    """A level or format that does not exist is named, with those that do; nothing is started."""
    command = [sys.executable, "-m", "hub.plugin", "plugins.stub:Stub"]
    ran = subprocess.run(
        command, env=os.environ | {variable: "loud"}, check=False, capture_output=True, text=True, timeout=WAIT_SECONDS
    )
    assert ran.returncode == 2
    assert f'{variable}: is \\"loud\\", expected one of' in ran.stderr
    assert "Traceback" not in ran.stderr
