"""A plugin author's mistakes that appear when the plugin is called.

The check, the log and the status use the same words.
"""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc
import pytest

from hub.base.exits import Exit
from hub.status.reader import Reader
from hub.testing.kubelet import FakeKubelet
from hub.testing.node import Node as HubNode
from hub.testing.plugin import STUB
from hub.testing.waiting import wait_until
from tests.harness.authors import GOOD, HEAD, RESOURCE, Mistake, checked, expected, written
from tests.harness.node import Node, asking_for, dialled

TAKES = (
    "takes id, resource, nodes, mounts, env, cdi, annotations, unhealthy, broken, numa, physical, pci, "
    "attributes, warning"
)


WHEN_ASKED: dict[str, Mistake] = {
    "an error": (
        f"{RESOURCE}    def devices(self):\n        return os.listdir('/nowhere')  # HERE\n",
        "devices() failed at {here}: FileNotFoundError: [Errno 2] No such file or directory: '/nowhere'",
    ),
    "a generator that raises": (
        f"{RESOURCE}    def devices(self):\n        yield Device('a')\n        yield 1 / 0  # HERE\n",
        "devices() failed at {here}: ZeroDivisionError: division by zero",
    ),
    "an error in a library": (
        (
            f"{RESOURCE}    def devices(self):\n        yield self.read()\n"
            "    def read(self):\n        import json\n        return json.loads('{')  # HERE\n"
        ),
        (
            "devices() failed at {here}: JSONDecodeError: Expecting property name enclosed in double quotes: "
            "line 1 column 2 (char 1)"
        ),
    ),
    "an unknown keyword": (
        f"{RESOURCE}    def devices(self):\n        yield Device('a', attribute={{}})  # HERE\n",
        ("devices() failed at {here}: TypeError: Unexpected keyword argument 'attribute'; did you mean attributes?"),
    ),
    "a method of the host misspelled": (
        f"{RESOURCE}    def devices(self):\n        return self.host.globb('/dev/x*')  # HERE\n",
        "devices() failed at {here}: AttributeError: 'Host' object has no attribute 'globb'; did you mean glob?",
    ),
    "a keyword of another class": (
        f"{RESOURCE}    def devices(self):\n        yield Excluded('a', 'x', unhealthy='y')  # HERE\n",
        "devices() failed at {here}: TypeError: Unexpected keyword argument 'unhealthy'; only hub.Device can take that",
    ),
    "a keyword like no other": (
        f"{RESOURCE}    def devices(self):\n        yield Device('a', xyz=1)  # HERE\n",
        f"devices() failed at {{here}}: TypeError: Unexpected keyword argument 'xyz'; hub.Device {TAKES}",
    ),
    "a change to a device": (
        f"{RESOURCE}    def devices(self):\n        d = Device('a')\n        d.id = 'b'  # HERE\n        yield d\n",
        (
            "devices() failed at {here}: AttributeError: immutable type: 'Device'; "
            "a Device cannot be changed: pass all values when you create it"
        ),
    ),
    "an invalid path": (
        f"{RESOURCE}    def devices(self):\n        yield Device('a', nodes=[DeviceNode(5)])  # HERE\n",
        "devices() failed at {here}: TypeError: expected str, bytes or os.PathLike object, not int",
    ),
    "None": (
        f"{RESOURCE}    def devices(self):  # HERE\n        return os.environ.get('NO_SUCH_VARIABLE')\n",
        (
            "devices() failed at {here}: TypeError: it returned None, expected hub.Device objects: "
            "yield each of them, or return a list"
        ),
    ),
    "one device": (
        f"{RESOURCE}    def devices(self):  # HERE\n        d = Device('a')\n        return d\n",
        (
            "devices() failed at {here}: TypeError: "
            "it returned Device(id='a', resource='', nodes=(), mounts=(), env={{}}, cdi=(), "
            "annotations={{}}, unhealthy='', broken='', numa=(), physical='', pci=(), attributes={{}}, warning=''), "
            "expected hub.Device objects: yield each of them, or return a list"
        ),
    ),
    "resources that are a string": (
        (
            "class P(Plugin):\n    scan_interval = 0.05\n    def resources(self):  # HERE\n"
            f"        return 'example.com/stub'\n{GOOD}"
        ),
        (
            "resources() failed at {here}: TypeError: "
            "it returned 'example.com/stub', expected a list of resource names, "
            'such as ["example.com/name"]'
        ),
    ),
    "blocking": (
        (
            f"{RESOURCE}    scan_timeout = 0.2\n"
            "    def devices(self):\n        while True: time.sleep(0.01)  # HERE\n        return []\n"
        ),
        "devices() did not return within 0.2 s; it is at {here}",
    ),
}


@pytest.mark.parametrize(("code", "words"), WHEN_ASKED.values(), ids=WHEN_ASKED)
async def test_what_fails_when_it_is_asked(node: Node, kubelet: FakeKubelet, code: str, words: str) -> None:
    """`dphub check --scan`, the log and the status report the failure in the same words."""
    file = written(node.directory, code)
    said = expected(words, file)
    report = await asyncio.to_thread(checked, file, scan=True)
    assert (report.problems, report.devices) == ((said,), ())
    plugin = node.start_plugin(f"{file}:P")
    line = await plugin.logged("scan result changed")
    assert (line["reason"], line["level"]) == (said, "warning")
    state = await wait_until(lambda: found if (found := plugin.state()) and found.reason else None, "the state")
    assert (state.reason, state.fault) == (said, True)
    assert kubelet.running


async def test_devices_without_a_resource(node: Node, kubelet: FakeKubelet) -> None:
    """The class is named, not the empty name of the resource; check lists only devices that would be offered."""
    devices = "Device('a'), Device('b'), Device('c', 'example.com/named')"
    code = f"class P(Plugin):  # HERE\n    def devices(self):\n        return [{devices}]\n"
    file = written(node.directory, code)
    todo = 'set resource = "example.com/name" in the class, or resource= of each Device'
    said = expected(f"{{here}}: P offers devices without a resource: {todo}", file)
    report = await asyncio.to_thread(checked, file, scan=True)
    assert report.problems == (said,)
    assert [device.id for device in report.devices or ()] == ["c"]
    plugin = node.start_plugin(f"{file}:P")
    await kubelet.wait_for("example.com/named", 1)
    assert (await plugin.logged("resource invalid"))["reason"] == said


async def test_a_device_file_that_is_not_there(node: Node, kubelet: FakeKubelet) -> None:
    """The device is offered, and the check, the log and the status warn that no container with it can start."""
    code = f"{RESOURCE}    def devices(self):\n        yield Device('a', nodes=[DeviceNode('/dev/no-such-file')])\n"
    file = written(node.directory, code)
    said = "/dev/no-such-file does not exist, so no container with device a can start"
    report = await asyncio.to_thread(checked, file, scan=True)
    assert (report.problems, report.warnings) == ((), (f"{STUB}: {said}",))
    plugin = node.start_plugin(f"{file}:P")
    await kubelet.wait_for(STUB, 1)
    state = await plugin.resource_until(lambda state: bool(state.devices))
    assert state.warnings == (said,)
    assert [line["reason"] for line in plugin.lines("device warning raised")] == [said]


ALLOCATE = f"""{RESOURCE}    allocate_timeout = LIMIT
    def devices(self):
        return [Device('returns'), Device('raises'), Device('blocks'), Device('value')]
    def allocate(self, devices):
        answer = dict(env={{}})
        if devices[0].id == 'raises': raise OSError('no answer')
        if devices[0].id == 'blocks':
            while True: time.sleep(0.01)
        if devices[0].id == 'value': return Allocation(env={{'A': 1}})
        return answer
"""


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (
            "returns",
            (
                "allocate() failed at {file}:11: TypeError: it returned {{'env': {{}}}}, expected a hub.Allocation: "
                "return Allocation(nodes=[...], env={{...}})"
            ),
        ),
        ("raises", "allocate() failed at {file}:13: OSError: no answer"),
        ("blocks", "allocate() did not return within 0.2 s; it is at {file}:15"),
        (
            "value",
            (
                "allocate() failed at {file}:11: TypeError: it returned an Allocation whose env is {{'A': 1}}, "
                'expected strings by name, such as {{"NAME": "value"}}'
            ),
        ),
    ],
)
async def test_allocate(node: Node, kubelet: FakeKubelet, device: str, words: str) -> None:
    """The pod's events, the log and the status give the location; a check cannot find what only a pod causes."""
    # If there is a response, the limit leaves a busy machine enough time for it.
    file = written(node.directory, ALLOCATE.replace("LIMIT", "0.2" if device == "blocks" else "10"))
    assert (await asyncio.to_thread(checked, file)).problems == ()
    plugin = node.start_plugin(f"{file}:P")
    await kubelet.wait_for(STUB, 4)
    said = f"{STUB}: allocation of '{device}': {expected(words, file)}"
    async with dialled(node.sockets()[0]) as client:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.Allocate(asking_for(device))
    assert refused.value.details() == said
    assert (await plugin.logged("allocation rejected"))["reason"] == said
    state = await plugin.resource_until(lambda state: state.rejection is not None)
    assert state.rejection
    assert state.rejection.reason == said


ALL_AT_ONCE = """class S(Settings, frozen=True):
    timeout = 5


class P(Plugin):
    settings: S
    reset = 'no_such_module:reset'
    resourse = 'example.com/stub'

    async def devices(self):
        return []

    def prefer(self, available):
        return available
"""


EACH = [
    "author.py:14: devices() is async",
    "author.py:17: prefer() cannot be called",
    "author.py:6: timeout = 5 in S has no annotation",
    'author.py:11: reset is "no_such_module:reset": there is no module',
]


async def test_all_mistakes_are_reported_at_once(node: Node) -> None:
    """`dphub check` has a line for each, and a plugin that does not start has them all in one line."""
    file = written(node.directory, ALL_AT_ONCE)
    command = [sys.executable, "-m", "hub", "check", "--plugin", f"{file}:P"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    *lines, warning = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert [found for found, line in zip(EACH, lines, strict=True) if found not in line] == []
    assert warning == f"warning: {file}:12: the hub never reads resourse; did you mean resource?"
    plugin = node.start_plugin(f"{file}:P")
    assert await plugin.exited() == Exit.USAGE
    (line,) = plugin.lines()
    assert (line["event"], line["reason"]) == ("plugin not started", "; ".join(lines))


async def test_status_says_why_plugins_do_not_work() -> None:
    """The reasons include a plugin that does not start, one that fails when it is called, and a missing device file."""
    with tempfile.TemporaryDirectory(prefix="dp") as short:
        directory = Path(short)
        starts = directory / "starts.py"
        starts.write_text(f"{HEAD}class P(Plugin):\n    pass\n")
        asked = directory / "asked.py"
        asked.write_text(f"{HEAD}{RESOURCE}    def devices(self):\n        yield 1 / 0\n")
        missing = directory / "missing.py"
        device = "Device('a', 'example.com/missing', nodes=[DeviceNode('/dev/no-such-file')])"
        missing.write_text(f"{HEAD}class P(Plugin):\n    def devices(self):\n        yield {device}\n")
        nameless = directory / "nameless.py"
        nameless.write_text(f"{HEAD}class P(Plugin):\n    def devices(self):\n        yield Device('a')\n")
        config = directory / "circus.ini"
        files = (starts, asked, missing, nameless)
        config.write_text("".join(f"[watcher:{f.stem}]\ncmd = python -m hub.plugin {f}:P\n" for f in files))
        async with HubNode(directory, config) as node:
            await node.start_hub()
            for words in (
                f"{starts}:5: P has no method devices(), which the hub calls: write def devices(self)",
                f"devices() failed at {asked}:9: ZeroDivisionError: division by zero",
                "/dev/no-such-file does not exist, so no container with device a can start",
                f"registration failed: {nameless}:5: P offers devices without a resource",
            ):
                await wait_until(lambda words=words: _status_has(node, words), words)


def _status_has(node: HubNode, words: str) -> bool:
    if not node.run_dir.hub_report.exists():
        return False
    status = Reader(node.run_dir).status(running=True)
    return any(words in problem.message for problem in status.problems)


async def test_a_doubtful_class_is_logged(node: Node, kubelet: FakeKubelet) -> None:
    """The class is served anyway."""
    code = f"{RESOURCE}    resourse = 'x'\n    def devices(self):\n        return [Device('a')]\n"
    file = written(node.directory, code)
    plugin = node.start_plugin(f"{file}:P")
    await kubelet.wait_for(STUB, 1)
    (line,) = plugin.lines("suspicious plugin class")
    assert line["reason"] == f"{file}:8: the hub never reads resourse; did you mean resource?"
