"""`dphub suggest` names the plugins for which a node has hardware."""

import json
import subprocess
import sys
from pathlib import Path

from hub.base.exits import Exit
from hub.base.interpreter import inherited_environment
from hub.supervisor.config.watchers import read_config, shipped_config
from tests.harness.files import put

CONFIG = """
[watcher:nvidia]
cmd = python -m hub.plugin plugins.gpu:GPU --config missing.yaml
autostart = false
[watcher:sleep]
cmd = sleep 9
[watcher:own]
cmd = python -m hub.plugin own.py:Own
"""

OWN = """
import hub
class Own(hub.Plugin):
    resource = "example.com/own"
    def devices(self):
        return []
    def hardware(self):
        yield "a thing\\nfrom " + self.host.glob("/sys/bus/pci/devices/*")[0].name
        if self.settings.__struct_fields__:
            raise ValueError
"""

OTHERS = [plugin.name for plugin in read_config(shipped_config()) if plugin.name not in {"gpu", "ib"}]
"""Plugins that come with the hub and have no hardware on the node."""


def _suggest(directory: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hub", "suggest", *args]
    environment = {**inherited_environment(), "DPHUB_HOST_ROOT": str(directory / "host"), "COLUMNS": "200"}
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


def _function(directory: Path, address: str, **attributes: str) -> None:
    for name, value in attributes.items():
        put(directory / "host/sys/bus/pci/devices" / address / name, f"0x{value}\n".encode())


def test_plugins_with_hardware(tmp_path: Path) -> None:
    """Each is named with its hardware and how to start it, whatever its settings are; other programs are left out."""
    (tmp_path / "circus.ini").write_text(CONFIG)
    (tmp_path / "own.py").write_text(OWN)
    _function(tmp_path, "0000:01:00.0", vendor="10de", device="2330", **{"class": "030200"})
    _function(tmp_path, "0000:02:00.0", vendor="15b3", device="1021", **{"class": "020700"})
    _function(tmp_path, "0000:03:00.0", vendor="10de", device="10fa", **{"class": "040300"})
    done = _suggest(tmp_path)
    assert (done.returncode, done.stderr) == (Exit.OK, ""), done
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()[2:]]
    assert rows == [
        "nvidia no NVIDIA GPU 0000:01:00.0 (10de:2330)",
        "→ dphub start nvidia; to start it with the hub, remove autostart = false from [watcher:nvidia]",
        "ib not in circus.ini NVIDIA adapter 0000:02:00.0 (15b3:1021)",
        "→ add [watcher:ib] to circus.ini, with cmd = python -m hub.plugin plugins.ib:IB, then dphub reload",
        "own yes unknown: its code was not loaded; --load loads it",
        *(f"{name} not in circus.ini none" for name in OTHERS),
    ]
    assert "Nothing to do" not in done.stdout
    done = _suggest(tmp_path, "--json", "--load")
    plugins = {plugin.pop("plugin"): plugin for plugin in map(json.loads, done.stdout.splitlines())}
    own = {"starts": True, "hardware": ["a thing from 0000:01:00.0"], "problems": [], "loaded": True}
    assert (plugins.keys(), plugins["own"]) == ({"nvidia", "ib", "own", *OTHERS}, own)


def test_a_node_without_hardware(tmp_path: Path) -> None:
    """The last line says that there is nothing to do, and which configuration was read."""
    (tmp_path / "circus.ini").write_text(CONFIG)
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "host").mkdir()
    done = _suggest(tmp_path)
    said = "Nothing to do: according to circus.ini, each plugin that has hardware on this node starts with the hub."
    assert done.stdout.splitlines()[-1] == said
