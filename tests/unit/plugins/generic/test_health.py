"""Whether a device that is present can be used."""

from pathlib import Path

from hub import Host, Runtime
from plugins.generic.health import Check, HealthChecks
from tests.simulators.generictree import GenericTree
from tests.unit.plugins.generic.offers import plugin_for, resource, scan


def test_health_by_a_file(tmp_path: Path) -> None:
    """A device is unhealthy while the content of its file is different; the reason shows both."""
    tree = GenericTree(tmp_path)
    part = tree.part(tree.usb("1-1"), "ttyUSB0", "tty", state="online")
    health = {"file": "/sys/class/tty/{name}/state", "content": "online|idle"}
    plugin = plugin_for(tmp_path, resource(files=["/dev/ttyUSB*"], health=health))
    assert [device.unhealthy for device in scan(plugin)[0]] == [""]
    (part / "state").write_text("stuck\n")
    checks = plugin._checks
    checks._due = dict.fromkeys(checks._due, 0.0)
    assert checks.run_due()
    reason = '/sys/class/tty/ttyUSB0/state contains "stuck", expected online|idle'
    assert [device.unhealthy for device in scan(plugin)[0]] == [reason]
    (part / "state").unlink()
    checks._due = dict.fromkeys(checks._due, 0.0)
    assert checks.run_due()
    assert [device.unhealthy for device in scan(plugin)[0]] == ["/sys/class/tty/ttyUSB0/state: no such file"]


def test_checks_of_devices_that_are_removed(tmp_path: Path) -> None:
    """They stop; a device that is back is checked at once."""
    check = Check("/state", "good", (), 3600, 1)
    checks = HealthChecks(Host(tmp_path))
    (tmp_path / "state").write_text("bad")
    assert checks.update({("x", "1"): check}) == {("x", "1"): '/state contains "bad", expected good'}
    assert checks.update({}) == {}
    (tmp_path / "state").write_text("good")
    assert checks.update({("x", "1"): check}) == {("x", "1"): ""}
    assert not checks.run_due()


def test_a_check_without_a_file(tmp_path: Path) -> None:
    """A device that has no device file is unhealthy if the check needs one."""
    GenericTree(tmp_path).pci("0000:3b:00.0")
    keys = {"pci": [{"vendor": "10ee"}], "env": {"A": "1"}, "health": {"file": "{host_path}"}}
    (device,) = scan(plugin_for(tmp_path, resource(**keys)))[0]
    assert device.unhealthy == "its health check needs a device file, but the device has none"


def test_commands_are_not_run_by_a_check(tmp_path: Path) -> None:
    """`dphub check` and `dphub devices --scan` may be given a file that the administrator has not read."""
    GenericTree(tmp_path / "node").virtual("fuse")
    health = {"command": ["/bin/sh", "-c", "exit 1"]}
    plugin = plugin_for(tmp_path / "node", resource(files=["/dev/fuse"], health=health), Runtime(is_check=True))
    assert [device.unhealthy for device in scan(plugin)[0]] == [""]
    assert list(plugin.notes) == ["health check commands are not run during a check"]
