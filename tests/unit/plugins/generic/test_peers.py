"""The configurations of two other plugins: notes, mistakes, and resources of files that come and go.

Their documented examples are cases in tests/unit/migrating.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from hub import Runtime
from hub.base.errors import ConfigError
from hub.plugin.loading import load_settings
from plugins.generic.plugin import Generic
from tests.simulators.generictree import GenericTree
from tests.unit.plugins.generic.offers import devices, files, plugin_for, resource, scan

DOMAIN = "squat.ai"


def _settings(*entries: object) -> dict[str, object]:
    return {"domain": DOMAIN, "devices": list(entries)}


def _given(*paths: str, permissions: str = "rwm") -> list[tuple[str, str, str]]:
    return [(path, path, permissions) for path in paths]


@pytest.fixture
def tree(tmp_path: Path) -> GenericTree:
    """Create a node with the files of the examples."""
    tree = GenericTree(tmp_path)
    for name in ("ttyUSB0", "ttyUSB1", "ttyACM0", "ttyS0", "video0", "fuse"):
        tree.file(name)
    for card in (0, 1):
        tree.file(f"snd/controlC{card}")
        tree.file(f"snd/pcmC{card}D0c")
    return tree


MANIFEST = """
domain: squat.ai
devices:
- name: serial
  groups:
    - paths:
        - path: /dev/ttyUSB*
    - paths:
        - path: /dev/ttyACM*
    - paths:
        - path: /dev/tty.usb*
- name: audio
  groups:
    - count: 10
      paths:
        - path: /dev/snd
- name: capture
  groups:
    - paths:
        - path: /dev/snd/controlC0
        - path: /dev/snd/pcmC0D0c
    - paths:
        - path: /dev/snd/controlC1
          mountPath: /dev/snd/controlC0
        - path: /dev/snd/pcmC1D0c
          mountPath: /dev/snd/pcmC0D0c
    - paths:
        - path: /dev/snd/controlC2
          mountPath: /dev/snd/controlC0
        - path: /dev/snd/pcmC2D0c
          mountPath: /dev/snd/pcmC0D0c
"""


def test_its_manifest(tree: GenericTree, tmp_path: Path) -> None:
    """The manifest's example gives the same devices; flags that the hub does not need are ignored, with a note."""
    config = tmp_path / "config.yaml"
    config.write_text(f"{MANIFEST}listen: :8080\nlog-level: info\nplugin-directory: /x\n")
    plugin = plugin_for(tree.root, {})
    plugin = Generic(load_settings(Generic, config), plugin.host)
    found, excluded = scan(plugin)
    assert [(device.id, device.resource) for device in found if device.resource != "squat.ai/audio"] == [
        ("ttyUSB0", "squat.ai/serial"),
        ("ttyUSB1", "squat.ai/serial"),
        ("ttyACM0", "squat.ai/serial"),
        ("controlC0+pcmC0D0c", "squat.ai/capture"),
        ("controlC1+pcmC1D0c", "squat.ai/capture"),
    ]
    assert sum(device.resource == "squat.ai/audio" for device in found) == 10
    assert files(found[-1])[0] == ("/dev/snd/controlC1", "/dev/snd/controlC0", "rwm")
    assert excluded == {
        "squat.ai/serial": "no file matches /dev/tty.usb*",
        "squat.ai/capture": "no file matches /dev/snd/controlC2; no file matches /dev/snd/pcmC2D0c",
    }
    assert [note.partition(" ")[0] for note in plugin.notes] == ["plugin-directory", "log-level", "listen"]


def _group(*paths: dict[str, Any], **keys: object) -> dict[str, object]:
    return _settings({"name": "xx", "groups": [{"paths": paths, **keys}]})


def test_mounts(tree: GenericTree) -> None:
    """A directory can be a mount, which is writable unless the file says otherwise."""
    given = [files(device) for device in devices(tree.root, _group({"path": "/dev/snd/", "type": "Mount"}))]
    assert given == [[("/dev/snd", "/dev/snd", "mount")]]
    read_only = _group({"path": "/dev/snd", "type": "Mount", "readOnly": True, "mountPath": "/{x}"})
    assert [files(device) for device in devices(tree.root, read_only)] == [[("/dev/snd", "/{x}", "ro")]]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"devices": [{"name": "video", "groups": []}]}, 'devices need the key "domain"'),
        (_settings({"name": "v", "groups": []}), 'devices[0]: name is "v"'),
        (_settings({"name": "vv", "groups": [{"paths": [{"pth": "/dev/x"}]}]}), 'unknown key "pth"'),
        (_settings({"name": "vv", "groups": [{"paths": [{"path": "/x"}], "usb": [{"vendor": "1"}]}]}), "paths and usb"),
        (_settings({"name": "vv", "groups": [{"usb": [{"vendor": [1], "product": "1"}]}]}), "groups[0].usb[0].vendor"),
        (_settings({"name": "vv", "groups": [{"paths": [{"path": "dev/x"}]}]}), "expected an absolute path"),
        (_settings("name: vv\ngroups: {"), "devices[0]: line 2: invalid YAML"),
        (_settings({"name": "vv", "groups": [{"usb": [{"vendor": 403, "product": "1"}]}]}), "vendor is 403, expected"),
        ([{"devicematch": "["}], "expected a regular expression"),
        ([{"devicematch": "[[:word:]]"}], "unknown class [:word:]"),
        ([{"devicematch": "x", "max": 1}], 'unknown key "max"'),
    ],
)
def test_mistakes_in_the_other_plugins_files(tmp_path: Path, settings: object, problem: str) -> None:
    """Unlike in those plugins, each is an error with its location."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(settings))
    with pytest.raises(ConfigError) as error:
        load_settings(Generic, config)
    assert problem in str(error.value)


SMARTER = """
- devicematch: ^snd$
  nummaxdevices: 20
- devicematch: ^rtc0$
  nummaxdevices: 20
- devicematch: ^video[0-9]*$
  nummaxdevices: 2
- devicematch: ^ttyUSB[0-9]*$
  nummaxdevices: 1
- devicematch: ^net/tun$
  nummaxdevices: 1
- devicematch: nvidia-gpu
  nummaxdevices: 10
"""


def test_the_smarter_device_manager(tree: GenericTree, tmp_path: Path) -> None:
    """Each file is a resource with its name; the ids are numbers, as in that plugin, so pods keep their devices."""
    tree.virtual("net/tun")
    config = tmp_path / "conf.yaml"
    config.write_text(SMARTER)
    plugin = Generic(load_settings(Generic, config), plugin_for(tree.root, {}).host)
    found, excluded = scan(plugin)
    assert list(plugin.resources()) == [
        f"smarter-devices/{name}" for name in ("snd", "video0", "ttyUSB0", "ttyUSB1", "net_tun")
    ]
    video = [device for device in found if device.resource == "smarter-devices/video0"]
    assert [(device.id, files(device)) for device in video] == [
        ("0", _given("/dev/video0", permissions="rw")),
        ("1", _given("/dev/video0", permissions="rw")),
    ]
    assert sum(device.resource == "smarter-devices/snd" for device in found) == 20
    assert excluded == {
        "": "no file in /dev matches ^rtc0$",
        "nvidia-gpu": "plugins.gpu serves NVIDIA GPUs",
    }


def test_its_list_alongside_resources(tree: GenericTree) -> None:
    """The smarter-device-manager's list can be in the same file, as the value of a key."""
    entries = [{"devicematch": "^video", "nummaxdevices": 1}]
    found = devices(tree.root, {"smarter_devices": entries, **resource(files=["/dev/fuse"])})
    assert [(device.resource, device.id) for device in found] == [
        ("example.com/x", "fuse"),
        ("smarter-devices/video0", "0"),
    ]


def test_a_removed_file_of_the_smarter_device_manager(tree: GenericTree) -> None:
    """Its resource stays, without devices; an expression that is not anchored matches anywhere below /dev."""
    plugin = plugin_for(tree.root, [{"devicematch": "pcmC0", "nummaxdevices": 1}])
    assert [device.resource for device in scan(plugin)[0]] == ["smarter-devices/snd_pcmC0D0c"]
    (tree.root / "dev/snd/pcmC0D0c").unlink()
    assert scan(plugin) == (
        [],
        {
            "": "no file in /dev matches pcmC0",
            "smarter-devices/snd_pcmC0D0c": "/dev/snd/pcmC0D0c does not exist",
        },
    )
    assert list(plugin.resources()) == ["smarter-devices/snd_pcmC0D0c"]


def test_a_restart_while_a_file_is_absent(tree: GenericTree, tmp_path: Path) -> None:
    """Its resource is still there, as long as an entry of the file matches it."""
    runtime = Runtime(str(tmp_path / "run"), "dphub", "generic")
    runtime.node_path("x").parent.mkdir(parents=True)
    entries = [{"devicematch": "^video", "nummaxdevices": 1}]
    first = plugin_for(tree.root, entries, runtime)
    first.prepare(scan(first)[0])
    (tree.root / "dev/video0").unlink()
    assert list(plugin_for(tree.root, entries, runtime).resources()) == ["smarter-devices/video0"]
    assert list(plugin_for(tree.root, [{"devicematch": "^radio"}], runtime).resources()) == []
    runtime.node_path("resources.json").write_text("[")
    assert list(plugin_for(tree.root, entries, runtime).resources()) == []


def test_names_that_any_user_can_create(tree: GenericTree) -> None:
    """A file in /dev/shm is not a device, whatever its name is."""
    tree.file("shm/video7")
    assert devices(tree.root, [{"devicematch": "video7", "nummaxdevices": 1}]) == []
