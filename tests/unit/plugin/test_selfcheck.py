"""Mistakes in what a plugin's methods return, as `dphub check --scan` finds them."""

from pathlib import Path

import pytest

from hub import Host
from hub.plugin.selfcheck import check_plugin, find_hardware
from hub.testing.plugin import STUB
from tests.harness.authors import RESOURCE, Mistake, checked, expected, written

INVALID: dict[str, Mistake] = {
    "an id that is a number": ("Device(5)", "device 5: the id is not a string: wrap it in str(...)"),
    "nodes that are a string": (
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
            "expected the name of a resource as a string"
        ),
    ),
    "a reason that is not a string": (
        "Device('a', unhealthy=OSError('x'))",
        "device 'a': unhealthy is OSError('x'), expected the reason as a string, empty when there is none",
    ),
    "not a device": (
        "'a'",
        "'a' is not a hub.Device: devices() yields Device(...), Excluded(...) and Unmatched(...)",
    ),
}


def test_a_path_of_the_node_that_is_read_as_one_of_the_process(tmp_path: Path) -> None:
    """It fails where the node's files are below a different root, and the message says how to read it."""
    file = written(
        tmp_path, f"{RESOURCE}    def devices(self):\n        return open('/sys/model').readlines()  # HERE\n"
    )
    (tmp_path / "host/sys").mkdir(parents=True)
    (tmp_path / "host/sys/model").touch()
    said = "FileNotFoundError: [Errno 2] No such file or directory: '/sys/model'"
    advice = '; it exists on the node: read it at self.host.path("/sys/model")'
    report = check_plugin(f"{file}:P", None, Host(tmp_path / "host"), with_devices=True)
    assert report.problems == (expected(f"devices() failed at {{here}}: {said}{advice}", file),)


@pytest.mark.parametrize(("offer", "words"), INVALID.values(), ids=INVALID)
def test_a_device_of_wrong_types(tmp_path: Path, offer: str, words: str) -> None:
    """Only that device is left out; the message says what was expected, with the location of the method.

    The log and the status say the same about such a device, see test_lists.py.
    """
    file = written(tmp_path, f"{RESOURCE}    def devices(self):  # HERE\n        return [{offer}, Device('good')]\n")
    report = checked(file, scan=True)
    assert report.problems == (f"{STUB}: {words}; see devices() at {expected('{here}', file)}",)
    assert [device.id for device in report.devices or ()] == ["good"]


def test_a_device_file_named_by_where_the_process_finds_it(tmp_path: Path) -> None:
    """The warning gives the file's path on the node."""
    (tmp_path / "host/dev").mkdir(parents=True)
    (tmp_path / "host/dev/x0").touch()
    code = "def devices(self):\n        yield Device('a', nodes=[DeviceNode(self.host.path('/dev/x0'))])\n"
    file = written(tmp_path, f"{RESOURCE}    {code}")
    report = check_plugin(f"{file}:P", None, Host(tmp_path / "host"), with_devices=True)
    said = (
        f"{tmp_path}/host/dev/x0 is where this process sees a file on the node, not its path on the node, "
        "so no container with device a can start"
    )
    assert report.warnings == (f"{STUB}: {said}: name the node's own path, /dev/x0",)


def test_what_is_wrong_with_devices_that_can_be_used(tmp_path: Path) -> None:
    """All devices with the same defect have one warning; the shares of a device count as one."""
    code = (
        "def devices(self):\n"
        "        slow = [Device(f'a{n}', physical='a', warning='a slow link') for n in range(2)]\n"
        "        return [*slow, Device('b', warning='a slow link'), Device('c', warning='too\\nhot'), Device('d')]\n"
    )
    report = checked(written(tmp_path, f"{RESOURCE}    {code}"), scan=True)
    assert report.warnings == (f"{STUB}: a, b: a slow link", f"{STUB}: c: too hot")
    assert [device.unhealthy for device in report.devices or ()] == [""] * 5


def test_settings_that_match_nothing(tmp_path: Path) -> None:
    """They are in the result of a scan, and are not mistakes."""
    code = f"def devices(self):\n        yield Unmatched('no x', '{STUB}')\n        raise NoDevices('none')\n"
    report = checked(written(tmp_path, f"{RESOURCE}    {code}"), scan=True)
    assert (report.problems, [str(each) for each in report.unmatched]) == ((), [f"{STUB}: no x"])


@pytest.mark.parametrize("scan", [False, True])
def test_notes_on_the_settings(tmp_path: Path, *, scan: bool) -> None:
    """What a plugin reports about its settings is a warning, not a problem."""
    code = "    notes = ['x is ignored']\n    def devices(self):\n        yield Device('a')\n"
    report = checked(written(tmp_path, f"{RESOURCE}{code}"), scan=scan)
    assert (report.problems, report.warnings) == ((), ("x is ignored",))


BROKEN: dict[str, tuple[str, str]] = {
    "raises an error": (
        "raise ValueError('no license')",
        "its module cannot be imported: at {here}: ValueError: no license",
    ),
    "exits": ("raise SystemExit(3)", "its module cannot be imported: at {here}: SystemExit: 3"),
    "needs a module": ("import no_such_module", "{here} needs module no_such_module, which is not installed"),
}

LAZY = """
def __getattr__(name):
    if name != "P":
        raise AttributeError(name)
    from {part} import P
    return P


def __dir__():
    return ["P"]
"""


@pytest.mark.parametrize("name", ["P", "Q"])
@pytest.mark.parametrize(("code", "words"), BROKEN.values(), ids=BROKEN)
def test_a_class_that_is_imported_only_when_it_is_looked_up(tmp_path: Path, code: str, words: str, name: str) -> None:
    """An error in its module is a mistake in the plugin, with its location, even if another class is named."""
    # Python can import it from then on, so no two have the same name.
    part = tmp_path / f"part_of_{tmp_path.name}.py"
    part.write_text(f"\n{code}\n")
    (tmp_path / "lazy.py").write_text(LAZY.replace("{part}", part.stem))
    report = check_plugin(f"{tmp_path}/lazy.py:{name}", None, Host(), with_devices=True)
    assert report.problems == (f'plugin "{tmp_path}/lazy.py:{name}": {words.format(here=f"{part}:2")}',)


HARDWARE: dict[str, Mistake] = {
    "an error": ("raise OSError('no bus')  # HERE", "{here}: OSError: no bus"),
    "endless": ("return iter(int, 1)", "ValueError: it returned more than 10000 descriptions"),
}


@pytest.mark.parametrize(("code", "words"), HARDWARE.values(), ids=HARDWARE)
def test_hardware_that_cannot_be_listed(tmp_path: Path, code: str, words: str) -> None:
    """This is a mistake in the plugin."""
    file = written(tmp_path, f"{RESOURCE}    def devices(self): ...\n    def hardware(self):\n        {code}\n")
    report = find_hardware(f"{file}:P", Host(), shipped_only=False)
    (problem,) = report.problems
    assert expected(words, file) in problem
    assert find_hardware(f"{file}:P", Host(), shipped_only=True).loaded is False


def test_labels_that_a_node_cannot_have(tmp_path: Path) -> None:
    """They are a warning, as the devices can be used: it gives the label and what was expected, or the error."""
    devices = f"{RESOURCE}    def devices(self):\n        return [Device('a')]\n"
    for body, words in (
        ("return {'model': len(devices)}", "'model': 1: expected strings by name"),
        ("return {}[devices]", "labels() failed at"),
        ("return {'example.com/model': 'a'}", ""),
    ):
        file = written(tmp_path, f"{devices}    def labels(self, devices):\n        {body}\n")
        report = check_plugin(f"{file}:P", None, Host(), with_devices=True)
        assert report.problems == ()
        assert [words in warning for warning in report.warnings] == ([True] if words else [])
