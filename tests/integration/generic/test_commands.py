"""Programs that check the health of devices, or reset them."""

from pathlib import Path

import pytest

from hub import ResetDevice, ResetFailed
from plugins.generic.reset import reset
from tests.simulators.generictree import GenericTree
from tests.unit.plugins.generic.offers import plugin_for, resource, scan


def _program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_health_by_a_command(tmp_path: Path) -> None:
    """The first scan waits for the command's result, and later ones do not: the command runs at its own interval."""
    tree = GenericTree(tmp_path / "root")
    tree.file("ttyUSB0")
    program = _program(tmp_path / "check", f'echo "$1" >> {tmp_path}/calls; test ! -e {tmp_path}/broken')
    health = {"command": [program, "{host_path}"], "timeout": 20, "interval": 3600}
    plugin = plugin_for(tree.root, resource(files=["/dev/ttyUSB*"], health=health))
    for _ in range(2):
        assert [device.unhealthy for device in scan(plugin)[0]] == [""]
    assert (tmp_path / "calls").read_text() == "/dev/ttyUSB0\n"
    (tmp_path / "broken").touch()
    plugin._checks._due = dict.fromkeys(plugin._checks._due, 0.0)
    assert plugin._checks.run_due()
    assert [device.unhealthy for device in scan(plugin)[0]] == ["check failed (exit code 1): no output"]


def test_resets(tmp_path: Path) -> None:
    """The command of a device runs with its paths; a failure keeps the container from starting."""
    tree = GenericTree(tmp_path / "root")
    tree.file("ttyUSB0")
    program = _program(tmp_path / "reset", f'echo "$1 $2" > {tmp_path}/calls; test "$2" = ttyUSB0')
    keys = {"files": ["/dev/ttyUSB*"], "reset": {"command": [program, "{host_path}", "{id}"], "timeout": 20}}
    plugin = plugin_for(tree.root, resource(**keys))
    (device,) = scan(plugin)[0]
    assert (plugin.reset, plugin.reset_resources) == ("plugins.generic.reset:reset", ["example.com/x"])
    settings = {
        name: {"command": list(each.command), "timeout": each.timeout} for name, each in plugin.reset_settings().items()
    }
    reset(ResetDevice(device.physical), settings)
    assert (tmp_path / "calls").read_text() == "/dev/ttyUSB0 ttyUSB0\n"
    settings[device.physical]["command"][2] = "other"
    with pytest.raises(ResetFailed, match="exit code 1"):
        reset(ResetDevice(device.physical), settings)
    with pytest.raises(ResetFailed, match="removed"):
        reset(ResetDevice("other"), settings)
