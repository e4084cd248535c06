"""Each mistake of a plugin author is found, and said with the file, the line and what to do.

By `dphub check` and the log of a plugin that does not start where it certainly fails; by `dphub check --scan`, the log
and the status of a plugin that runs where it fails when it is asked.
"""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc
import pytest

import hub
from hub import Host
from hub.base.exits import Exit
from hub.model.check import CheckReport
from hub.plugin.selfcheck import check_plugin
from hub.status.reader import Reader
from hub.testing.kubelet import FakeKubelet
from hub.testing.node import Node as HubNode
from hub.testing.plugin import STUB
from hub.testing.waiting import wait_until
from tests.harness.node import Node, asking_for, dialled

HEAD = "import os, time\nfrom hub import *\n\n\n"
GOOD = "    def devices(self):\n        return []\n"

Mistake = tuple[str, str]
"""The code, in which `# HERE` marks a line, and what is said about it."""

CERTAIN: dict[str, Mistake] = {
    "no devices": (
        "class P(Plugin):  # HERE\n    pass\n",
        "{here}: P has no method devices(), which the hub calls: write def devices(self): yield Device(...)",
    ),
    "devices misspelled": (
        "class P(Plugin):  # HERE\n    def device(self):\n        return []\n",
        "{here}: P has no method devices(), which the hub calls: rename device() at {file}:6 to devices()",
    ),
    "devices is a list": (
        "class P(Plugin):\n    devices = []  # HERE\n",
        "{here}: devices is a list, expected a method: write def devices(self)",
    ),
    "devices returns nothing": (
        "class P(Plugin):\n    def devices(self):  # HERE\n        Device('a')\n",
        "{here}: devices() returns nothing, expected hub.Device objects: yield each of them, or return a list",
    ),
    "devices returns None": (
        "class P(Plugin):\n    def devices(self):  # HERE\n        return None\n",
        "{here}: devices() has 'return None', expected hub.Device objects: yield each of them, or return a list",
    ),
    "async devices": (
        "class P(Plugin):\n    async def devices(self):  # HERE\n        return []\n",
        "{here}: devices() is async, and nothing awaits it: write def devices(self); it runs in a thread and may block",
    ),
    "async generator": (
        "class P(Plugin):\n    async def devices(self):  # HERE\n        yield Device('a')\n",
        "{here}: devices() is async, and nothing awaits it: write def devices(self); it runs in a thread and may block",
    ),
    "async allocate": (
        f"class P(Plugin):\n{GOOD}    async def allocate(self, devices):  # HERE\n        return Allocation()\n",
        (
            "{here}: allocate() is async, and nothing awaits it: write def allocate(self, devices); "
            "it runs in a thread and may block"
        ),
    ),
    "too few arguments": (
        f"class P(Plugin):\n{GOOD}    def prefer(self, available):  # HERE\n        return available\n",
        (
            "{here}: prefer() cannot be called as the hub calls it, too many positional arguments: "
            "write def prefer(self, available, required, size)"
        ),
    ),
    "a constructor without arguments": (
        f"class P(Plugin):\n    def __init__(self):  # HERE\n        super().__init__()\n{GOOD}",
        (
            "{here}: __init__() cannot be called as the hub calls it, too many positional arguments: "
            "write def __init__(self, settings, host, runtime)"
        ),
    ),
    "a constructor without that of Plugin": (
        f"class P(Plugin):\n    def __init__(self, settings, host, runtime):  # HERE\n        self.n = 1\n{GOOD}",
        "{here}: __init__() leaves out the hub's part: begin it with super().__init__(settings, host, runtime)",
    ),
    "allocate returns a dict": (
        f"class P(Plugin):\n{GOOD}    def allocate(self, devices):  # HERE\n        return {{'env': {{}}}}\n",
        (
            """{here}: allocate() has "return {{'env': {{}}}}", expected a hub.Allocation: """
            "return Allocation(nodes=[...], env={{...}})"
        ),
    ),
    "a scan interval that is a text": (
        f"class P(Plugin):\n    scan_interval = '10'  # HERE\n{GOOD}",
        "{here}: scan_interval is '10', expected a number of seconds, such as 10",
    ),
    "a reset that is a method": (
        f"class P(Plugin):\n{GOOD}    def reset(self, device):  # HERE\n        pass\n",
        (
            "{here}: reset is <function P.reset>, "
            'expected a text, "module:function", since it runs in a process of its own'
        ),
    ),
    "no module of the reset": (
        f"class P(Plugin):\n    reset = 'no_such_module:reset'  # HERE\n{GOOD}",
        '{here}: reset is "no_such_module:reset": there is no module no_such_module',
    ),
    "no function of the reset": (
        f"class P(Plugin):\n    reset = 'author_reset:rset'  # HERE\n{GOOD}",
        '{here}: reset is "author_reset:rset": {reset} has no rset; did you mean reset?',
    ),
    "a reset of one argument": (
        f"class P(Plugin):\n    reset = 'author_reset:one'  # HERE\n{GOOD}",
        (
            '{here}: reset is "author_reset:one": {reset}:4: one() cannot be called with a device and settings: '
            "write def one(device, settings)"
        ),
    ),
    "an async reset": (
        f"class P(Plugin):\n    reset = 'author_reset:asynchronous'  # HERE\n{GOOD}",
        (
            '{here}: reset is "author_reset:asynchronous": {reset}:7: asynchronous() is async, and nothing awaits it: '
            "write def asynchronous(device, settings)"
        ),
    ),
    "settings without annotation": (
        (
            "class S(Settings, frozen=True):\n    timeout = 5  # HERE\n    size: int = 1\n\n\n"
            f"class P(Plugin):\n    settings: S\n{GOOD}"
        ),
        "{here}: timeout = 5 in S has no annotation, so no file can set it: write timeout: int = 5",
    ),
    "settings that are assigned": (
        f"class S(Settings, frozen=True):\n    size: int = 1\n\n\nclass P(Plugin):\n    settings = S  # HERE\n{GOOD}",
        "{here}: settings = S does not say what the file is decoded into: write settings: S",
    ),
    "settings that do not exist": (
        f"class P(Plugin):  # HERE\n    settings: 'Missing'\n{GOOD}",
        "{here}: the annotations of P cannot be read: NameError: name 'Missing' is not defined",
    ),
    "a constructor that fails": (
        f"class P(Plugin):\n    def __init__(self, *arguments):\n        os.stat('/nowhere')  # HERE\n{GOOD}",
        "P() failed at {here}: FileNotFoundError: [Errno 2] No such file or directory: '/nowhere'",
    ),
    "a module that fails": (
        "x = nothing  # HERE\n",
        "plugin \"{file}:P\": its module cannot be imported: at {here}: NameError: name 'nothing' is not defined",
    ),
    "a name that hub does not have": (
        "from hub import Devise  # HERE\n",
        (
            "plugin \"{file}:P\": its module cannot be imported: at {here}: ImportError: cannot import name 'Devise' "
            "from 'hub' ({hub}); did you mean Device?"
        ),
    ),
    "a base class that hub does not have": (
        f"import hub\n\n\nclass P(hub.Plugins):  # HERE\n{GOOD}",
        (
            'plugin "{file}:P": its module cannot be imported: at {here}: AttributeError: '
            "module 'hub' has no attribute 'Plugins'; did you mean Plugin?"
        ),
    ),
    "a class that is no plugin": (
        f"class P:  # HERE\n{GOOD}",
        'plugin "{file}:P": {here}: P is not a subclass of hub.Plugin: write class P(Plugin)',
    ),
    "a class of settings in the place of the plugin": (
        f"class P(Settings, frozen=True):\n    size: int = 1\n\n\nclass Camera(Plugin):\n{GOOD}",
        'plugin "{file}:P": P is not a subclass of hub.Plugin; {file} has Camera',
    ),
    "a module that is not installed": (
        "import nowhere_to_be_found  # HERE\n",
        'plugin "{file}:P": {here} needs module nowhere_to_be_found, which is not installed',
    ),
}

DOUBTFUL: dict[str, Mistake] = {
    "a method that nobody calls": (
        f"class P(Plugin):\n{GOOD}    def on_allocate(self, devices):  # HERE\n        pass\n",
        "{here}: the hub never calls on_allocate(); did you mean allocate()?",
    ),
    "a method for the kubelet's call before a start": (
        f"class P(Plugin):\n{GOOD}    def pre_start_container(self, devices):  # HERE\n        pass\n",
        (
            "{here}: the hub never calls pre_start_container(): "
            'name the function that resets a device: write reset = "module:function"'
        ),
    ),
    "an attribute that nobody reads": (
        f"class P(Plugin):\n    resourse = 'example.com/stub'  # HERE\n{GOOD}",
        "{here}: the hub never reads resourse; did you mean resource?",
    ),
    "a call in the place of a return": (
        (
            f"class P(Plugin):\n{GOOD}"
            "    def allocate(self, devices):  # HERE\n        self.refuse()\n"
            "    def refuse(self):\n        raise OSError('these are not for containers')\n"
        ),
        "{here}: allocate() returns nothing, expected a hub.Allocation: return Allocation(nodes=[...], env={{...}})",
    ),
    "a wrong return among right ones": (
        (
            f"class P(Plugin):\n{GOOD}"
            "    def allocate(self, devices):  # HERE\n        if not devices:\n            return {}\n"
            "        return super().allocate(devices)\n"
        ),
        "{here}: allocate() has 'return {{}}', expected a hub.Allocation: return Allocation(nodes=[...], env={{...}})",
    ),
}

RIGHT = {
    "properties": (
        "class P(Plugin):\n    @property\n    def resource(self):\n        return 'example.com/stub'\n"
        f"    @property\n    def reset(self):\n        return 'author_reset:reset'\n{GOOD}"
    ),
    "a name out of an enumeration": (
        "import enum\nclass Name(enum.StrEnum):\n    STUB = 'example.com/stub'\n"
        f"class P(Plugin):\n    resource = Name.STUB\n{GOOD}"
    ),
}

RESOURCE = f'class P(Plugin):\n    resource = "{STUB}"\n    scan_interval = 0.05\n'
TAKES = "takes id, resource, nodes, mounts, env, cdi, annotations, unhealthy, broken, numa, physical, pci, attributes"

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
        "devices() failed at {here}: TypeError: Unexpected keyword argument 'unhealthy'; only hub.Device takes that",
    ),
    "a keyword like no other": (
        f"{RESOURCE}    def devices(self):\n        yield Device('a', xyz=1)  # HERE\n",
        f"devices() failed at {{here}}: TypeError: Unexpected keyword argument 'xyz'; hub.Device {TAKES}",
    ),
    "a change of a device": (
        f"{RESOURCE}    def devices(self):\n        d = Device('a')\n        d.id = 'b'  # HERE\n        yield d\n",
        (
            "devices() failed at {here}: AttributeError: immutable type: 'Device'; "
            "a Device cannot be changed: pass all values when you create it"
        ),
    ),
    "a path that is none": (
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
            "annotations={{}}, unhealthy='', broken='', numa=(), physical='', pci=(), attributes={{}}), "
            "expected hub.Device objects: yield each of them, or return a list"
        ),
    ),
    "resources that are a text": (
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
        "devices() has not returned within 0.2 s; it is at {here}",
    ),
}

INVALID: dict[str, Mistake] = {
    "an id that is a number": ("Device(5)", "device 5: the id is not a text: write str(...) around it"),
    "nodes that are a text": (
        "Device('a', nodes='/dev/null')",
        "device 'a': nodes is '/dev/null', expected a list such as [DeviceNode(\"/dev/x\", permissions=\"rw\")]",
    ),
    "a path of bytes": (
        "Device('a', mounts=[Mount(b'/x')])",
        (
            "device 'a': mounts is [Mount(host_path=b'/x', container_path=b'/x', read_only=True)], "
            'expected a list such as [Mount("/usr/share/x")]'
        ),
    ),
    "nodes in the place of the resource": (
        "Device('a', [DeviceNode('/dev/null')])",
        (
            "device 'a': resource is "
            "[DeviceNode(host_path='/dev/null', container_path='/dev/null', permissions='rw')], "
            "expected the name of a resource as a text"
        ),
    ),
    "a reason that is no text": (
        "Device('a', unhealthy=OSError('x'))",
        "device 'a': unhealthy is OSError('x'), expected the reason as a text, empty when there is none",
    ),
    "what is no device": ("'a'", "'a' is not a hub.Device: devices() yields Device(...) and Excluded(...)"),
}


RESETS = """def reset(device, settings):
    pass

def one(device):
    pass

async def asynchronous(device, settings):
    pass
"""


@pytest.fixture(autouse=True)
def author_reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module with resets, importable."""
    file = tmp_path / "author_reset.py"
    file.write_text(RESETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    # A check with a scan imports it, and another test's module of this name would be found in place of this one.
    monkeypatch.delitem(sys.modules, "author_reset", raising=False)
    return file


def _written(directory: Path, code: str) -> Path:
    file = directory / "author.py"
    file.write_text(HEAD + code)
    return file


def _expected(words: str, file: Path) -> str:
    lines = file.read_text().splitlines()
    here = next((number for number, line in enumerate(lines, 1) if "# HERE" in line), 0)
    known = {"here": f"{file}:{here}", "file": file, "reset": file.parent / "author_reset.py", "hub": hub.__file__}
    return words.format(**known)


def _checked(file: Path, *, scan: bool = False) -> CheckReport:
    return check_plugin(f"{file}:P", None, Host(), with_devices=scan)


@pytest.mark.parametrize(("code", "words"), CERTAIN.values(), ids=CERTAIN)
def test_check_says_what_certainly_fails(tmp_path: Path, code: str, words: str) -> None:
    """One sentence for the one mistake: where, what, and what to write."""
    file = _written(tmp_path, code)
    assert _checked(file).problems == (_expected(words, file),)


@pytest.mark.parametrize(("code", "words"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_check_warns_of_what_is_most_likely_a_mistake(tmp_path: Path, code: str, words: str) -> None:
    """It is no reason not to start."""
    file = _written(tmp_path, code)
    report = _checked(file)
    assert (report.problems, report.warnings) == ((), (_expected(words, file),))


@pytest.mark.parametrize("code", RIGHT.values(), ids=RIGHT)
def test_check_accepts_what_works(tmp_path: Path, code: str) -> None:
    """A plugin that a check refuses does not start, so that nothing is refused that could work."""
    report = _checked(_written(tmp_path, code), scan=True)
    assert (report.problems, report.warnings) == ((), ())


@pytest.mark.parametrize(("code", "words"), WHEN_ASKED.values(), ids=WHEN_ASKED)
async def test_what_fails_when_it_is_asked(node: Node, kubelet: FakeKubelet, code: str, words: str) -> None:
    """`dphub check --scan`, the log and the status have the same words."""
    file = _written(node.directory, code)
    said = _expected(words, file)
    report = await asyncio.to_thread(_checked, file, scan=True)
    assert (report.problems, report.devices) == ((said,), ())
    plugin = node.start_plugin(f"{file}:P")
    line = await plugin.logged("scan result changed")
    assert (line["reason"], line["level"]) == (said, "warning")
    state = await wait_until(lambda: found if (found := plugin.state()) and found.reason else None, "the state")
    assert (state.reason, state.fault) == (said, True)
    assert kubelet.running


def test_a_path_of_the_node_that_is_read_as_one_of_the_process(tmp_path: Path) -> None:
    """It fails where the node's files are below another root, and the way to read it is said."""
    file = _written(
        tmp_path, f"{RESOURCE}    def devices(self):\n        return open('/sys/model').readlines()  # HERE\n"
    )
    (tmp_path / "host/sys").mkdir(parents=True)
    (tmp_path / "host/sys/model").touch()
    said = "FileNotFoundError: [Errno 2] No such file or directory: '/sys/model'"
    advice = '; the node has it: read it at self.host.path("/sys/model")'
    report = check_plugin(f"{file}:P", None, Host(tmp_path / "host"), with_devices=True)
    assert report.problems == (_expected(f"devices() failed at {{here}}: {said}{advice}", file),)


@pytest.mark.parametrize(("offer", "words"), INVALID.values(), ids=INVALID)
def test_a_device_of_wrong_types(tmp_path: Path, offer: str, words: str) -> None:
    """It alone is left out; what was expected is said, with the place of the method.

    What log and status say of such a device is the same, see test_lists.py.
    """
    file = _written(tmp_path, f"{RESOURCE}    def devices(self):  # HERE\n        return [{offer}, Device('good')]\n")
    report = _checked(file, scan=True)
    assert report.problems == (f"{STUB}: {words}; see devices() at {_expected('{here}', file)}",)
    assert [device.id for device in report.devices or ()] == ["good"]


async def test_devices_without_a_resource(node: Node, kubelet: FakeKubelet) -> None:
    """The class is named, not the empty name of the resource; check lists only the devices that would be offered."""
    devices = "Device('a'), Device('b'), Device('c', 'example.com/named')"
    code = f"class P(Plugin):  # HERE\n    def devices(self):\n        return [{devices}]\n"
    file = _written(node.directory, code)
    todo = 'set resource = "example.com/name" in the class, or resource= of each Device'
    said = _expected(f"{{here}}: P offers devices without a resource: {todo}", file)
    report = await asyncio.to_thread(_checked, file, scan=True)
    assert report.problems == (said,)
    assert [device.id for device in report.devices or ()] == ["c"]
    plugin = node.start_plugin(f"{file}:P")
    await kubelet.wait_for("example.com/named", 1)
    assert (await plugin.logged("resource invalid"))["reason"] == said


async def test_a_device_file_that_is_not_there(node: Node, kubelet: FakeKubelet) -> None:
    """The device is offered, and check, log and status warn that no container with it can start."""
    code = f"{RESOURCE}    def devices(self):\n        yield Device('a', nodes=[DeviceNode('/dev/no-such-file')])\n"
    file = _written(node.directory, code)
    said = "/dev/no-such-file does not exist, no container with device a can start"
    report = await asyncio.to_thread(_checked, file, scan=True)
    assert (report.problems, report.warnings) == ((), (f"{STUB}: {said}",))
    plugin = node.start_plugin(f"{file}:P")
    await kubelet.wait_for(STUB, 1)
    state = await plugin.resource_until(lambda state: bool(state.devices))
    assert state.warnings == (said,)
    assert [line["reason"] for line in plugin.lines("device file missing")] == [said]


def test_a_device_file_named_by_where_the_process_finds_it(tmp_path: Path) -> None:
    """The warning says what the node calls it."""
    (tmp_path / "host/dev").mkdir(parents=True)
    (tmp_path / "host/dev/x0").touch()
    code = "def devices(self):\n        yield Device('a', nodes=[DeviceNode(self.host.path('/dev/x0'))])\n"
    file = _written(tmp_path, f"{RESOURCE}    {code}")
    report = check_plugin(f"{file}:P", None, Host(tmp_path / "host"), with_devices=True)
    said = (
        f"{tmp_path}/host/dev/x0 is where this process finds a file of the node, no container with device a can start"
    )
    assert report.warnings == (f"{STUB}: {said}: name the node's own path, /dev/x0",)


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
        ("blocks", "allocate() has not returned within 0.2 s; it is at {file}:15"),
        (
            "value",
            (
                "allocate() failed at {file}:11: TypeError: it returned an Allocation whose env is {{'A': 1}}, "
                'expected texts by name, such as {{"NAME": "value"}}'
            ),
        ),
    ],
)
async def test_allocate(node: Node, kubelet: FakeKubelet, device: str, words: str) -> None:
    """The pod's events, the log and the status have the place; a check cannot see what only a pod brings about."""
    # Long enough for an answer of a busy machine, where there is one.
    file = _written(node.directory, ALLOCATE.replace("LIMIT", "0.2" if device == "blocks" else "10"))
    assert (await asyncio.to_thread(_checked, file)).problems == ()
    plugin = node.start_plugin(f"{file}:P")
    await kubelet.wait_for(STUB, 4)
    said = f"{STUB}: allocation of '{device}': {_expected(words, file)}"
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


async def test_all_mistakes_are_told_at_once(node: Node) -> None:
    """By `dphub check` line by line, and in the one line with which a plugin does not start."""
    file = _written(node.directory, ALL_AT_ONCE)
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
    """Under the hub: of one that does not start, of one that fails when it is asked, and of a file that is missing."""
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
                "/dev/no-such-file does not exist, no container with device a can start",
                f"refused: {nameless}:5: P offers devices without a resource",
            ):
                await wait_until(lambda words=words: _status_has(node, words), words)


def _status_has(node: HubNode, words: str) -> bool:
    if not node.run_dir.hub_report.exists():
        return False
    status = Reader(node.run_dir).status(running=True)
    return any(words in problem.message for problem in status.problems)


async def test_a_doubtful_class_is_logged(node: Node, kubelet: FakeKubelet) -> None:
    """And served all the same."""
    code = f"{RESOURCE}    resourse = 'x'\n    def devices(self):\n        return [Device('a')]\n"
    file = _written(node.directory, code)
    plugin = node.start_plugin(f"{file}:P")
    await kubelet.wait_for(STUB, 1)
    (line,) = plugin.lines("plugin class questionable")
    assert line["reason"] == f"{file}:8: the hub never reads resourse; did you mean resource?"
