"""The configurations of two other plugins, with their documented examples, and what differs from them."""

import json
from pathlib import Path
from typing import Any

import pytest

from hub import Runtime
from hub.base.errors import ConfigError
from hub.plugin.loading import load_settings
from plugins.generic.plugin import Generic
from tests.simulators.generictree import GenericTree
from tests.unit.plugins.generic.offers import devices, files, plugin_for, scan

DOMAIN = "squat.ai"


def _settings(*entries: object) -> dict[str, object]:
    return {"domain": DOMAIN, "devices": list(entries)}


def _offered(root: Path, settings: object) -> list[tuple[str, list[tuple[str, str, str]]]]:
    return [(device.resource, files(device)) for device in devices(root, settings)]


def _given(*paths: str, permissions: str = "rwm") -> list[tuple[str, str, str]]:
    return [(path, path, permissions) for path in paths]


@pytest.fixture
def tree(tmp_path: Path) -> GenericTree:
    """A node with the files of the examples."""
    tree = GenericTree(tmp_path)
    for name in ("ttyUSB0", "ttyUSB1", "ttyACM0", "ttyS0", "video0", "fuse"):
        tree.file(name)
    for card in (0, 1):
        tree.file(f"snd/controlC{card}")
        tree.file(f"snd/pcmC{card}D0c")
    return tree


FLAGS: dict[str, tuple[str, list[tuple[str, list[tuple[str, str, str]]]]]] = {
    "the overview": (
        '{"name": "video", "groups": [{"paths": [{"path": "/dev/video0"}]}]}',
        [("squat.ai/video", _given("/dev/video0"))],
    ),
    "serial devices with different names": (
        '{"name": "serial", "groups": [{"paths": [{"path": "/dev/ttyUSB*"}]}, {"paths": [{"path": "/dev/ttyACM*"}]}]}',
        [("squat.ai/serial", _given(f"/dev/tty{name}")) for name in ("USB0", "USB1", "ACM0")],
    ),
    "an audio capture device": (
        '{"name": "capture", "groups": [{"paths": [{"path": "/dev/snd/pcmC0D0c"}, {"path": "/dev/snd/controlC0"}]}]}',
        [("squat.ai/capture", _given("/dev/snd/pcmC0D0c", "/dev/snd/controlC0"))],
    ),
    "the FUSE device 10 times": (
        '{"name": "fuse", "groups": [{"count": 10, "paths": [{"path": "/dev/fuse"}]}]}',
        [("squat.ai/fuse", _given("/dev/fuse"))] * 10,
    ),
    "devices that may be missing": (
        """{"name": "serial", "groups": [{"paths": [{"path": "/dev/ttyS0", "optional": true},
        {"path": "/dev/ttyUSB9", "optional": true}]}]}""",
        [("squat.ai/serial", _given("/dev/ttyS0"))],
    ),
    "a directory in the container": (
        '{"name": "serial", "groups": [{"paths": [{"path": "/dev/ttyUSB*", "mountPath": "/dev/serial/"}]}]}',
        [("squat.ai/serial", [(f"/dev/{name}", f"/dev/serial/{name}", "rwm")]) for name in ("ttyUSB0", "ttyUSB1")],
    ),
}


@pytest.mark.parametrize("example", FLAGS)
@pytest.mark.parametrize("form", ["text", "item"])
def test_flags_of_the_generic_device_plugin(tree: GenericTree, example: str, form: str) -> None:
    """Each example of its README and help text, as the text of a flag and as an item of a list."""
    flag, expected = FLAGS[example]
    assert _offered(tree.root, _settings(flag if form == "text" else json.loads(flag))) == expected


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
    """The devices of its example as a file; the flags that the hub does not need have no effect, and a note says so."""
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


def test_how_it_counts(tmp_path: Path) -> None:
    """Five files and one with a limit of five are five pairs; without it one; a count multiplies."""
    tree = GenericTree(tmp_path)
    for number in range(5):
        tree.file(f"audio{number}")
    tree.file("x")
    audio = {"path": "/dev/audio*"}
    five = [f"/dev/audio{number}" for number in range(5)]
    limited = _offered(tmp_path, _group(audio, {"path": "/dev/x", "limit": 5}))
    assert [[path for path, _, _ in given] for _, given in limited] == [[path, "/dev/x"] for path in five]
    assert len(_offered(tmp_path, _group(audio, {"path": "/dev/x", "limit": 3}))) == 3
    assert len(_offered(tmp_path, _group(audio, {"path": "/dev/x"}))) == 1
    assert len(_offered(tmp_path, _group(audio, count=3))) == 15
    assert _offered(tmp_path, _group(audio, {"path": "/dev/nothing"})) == []
    assert (
        _offered(tmp_path, _group({"path": "/dev/no", "optional": True}, {"path": "/dev/na", "optional": True})) == []
    )


def test_mounts(tree: GenericTree) -> None:
    """A directory as a mount, writable unless it says otherwise."""
    given = [files(device) for device in devices(tree.root, _group({"path": "/dev/snd/", "type": "Mount"}))]
    assert given == [[("/dev/snd", "/dev/snd", "mount")]]
    read_only = _group({"path": "/dev/snd", "type": "Mount", "readOnly": True, "mountPath": "/{x}"})
    assert [files(device) for device in devices(tree.root, read_only)] == [[("/dev/snd", "/{x}", "ro")]]


def test_its_usb_devices(tmp_path: Path) -> None:
    """All sticks of a group are one device, readable and writable; the id is where they are plugged in."""
    tree = GenericTree(tmp_path)
    tree.usb("1-1", "1209", "000f", serial="00000001", number=3)
    tree.usb("1-2", "1209", "000f", serial="00000002", number=4)
    ch340 = {"name": "ch340", "groups": [{"usb": [{"Vendor": "1209", "product": "000F"}]}]}
    (device,) = devices(tmp_path, _settings(ch340))
    assert (device.id, device.resource) == ("1-1+1-2", "squat.ai/ch340")
    assert files(device) == _given("/dev/bus/usb/001/003", "/dev/bus/usb/001/004", permissions="rw")
    one = {"name": "one", "groups": [{"usb": [{"vendor": "1209", "product": "f", "serial": "00000002"}]}]}
    assert [device.id for device in devices(tmp_path, _settings(one))] == ["1-2"]


def test_files_in_numeric_order(tmp_path: Path) -> None:
    """Unlike there: in the order of text, video10 would come before video2 and make wrong pairs."""
    tree = GenericTree(tmp_path)
    for number in (2, 10):
        tree.file(f"video{number}")
        tree.file(f"radio{number}")
    pairs = _offered(tmp_path, _group({"path": "/dev/video*"}, {"path": "/dev/radio*"}))
    assert [given[0][0] for _, given in pairs] == ["/dev/video2", "/dev/video10"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"devices": [{"name": "video", "groups": []}]}, "devices need a domain"),
        (_settings({"name": "v", "groups": []}), 'devices[0]: name is "v"'),
        (_settings({"name": "vv", "groups": [{"paths": [{"pth": "/dev/x"}]}]}), "unknown field `pth`"),
        (_settings({"name": "vv", "groups": [{"paths": [{"path": "/x"}], "usb": [{"vendor": "1"}]}]}), "paths and usb"),
        (_settings({"name": "vv", "groups": [{"usb": [{"vendor": 1209, "product": "1"}]}]}), "groups[0].usb[0].vendor"),
        (_settings({"name": "vv", "groups": [{"paths": [{"path": "dev/x"}]}]}), "expected an absolute path"),
        (_settings("name: vv"), "write YAML without quotes"),
        ([{"devicematch": "["}], "expected a regular expression"),
        ([{"devicematch": "x", "max": 1}], "unknown field `max`"),
    ],
)
def test_mistakes_in_them(tmp_path: Path, settings: object, problem: str) -> None:
    """Unlike there, each is an error that says where it is."""
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
    """Each file is a resource with its name; the ids are numbers, as there, so that pods keep what they have."""
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
        "devicematch ^rtc0$": "no file in /dev matches it",
        "nvidia-gpu": "plugins.gpu serves NVIDIA GPUs",
    }


def test_a_file_of_it_that_is_removed(tree: GenericTree) -> None:
    """Its resource stays, without devices; an expression that is not anchored matches anywhere below /dev."""
    plugin = plugin_for(tree.root, [{"devicematch": "pcmC0", "nummaxdevices": 1}])
    assert [device.resource for device in scan(plugin)[0]] == ["smarter-devices/snd_pcmC0D0c"]
    (tree.root / "dev/snd/pcmC0D0c").unlink()
    assert scan(plugin)[0] == []
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
