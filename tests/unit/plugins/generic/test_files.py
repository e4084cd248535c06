"""Resources of device files: which are devices, under which ids, and what a container gets."""

from pathlib import Path

import pytest

from tests.simulators.generictree import GenericTree
from tests.unit.plugins.generic.offers import devices, files, ids, plugin_for, resource, scan


@pytest.fixture
def tree(tmp_path: Path) -> GenericTree:
    """Create a node without devices."""
    return GenericTree(tmp_path)


def test_each_match_is_a_device_in_numeric_order(tree: GenericTree) -> None:
    """video10 comes after video2; the file has the same path in the container."""
    for number in (10, 2, 1):
        tree.virtual(f"video{number}", "video4linux")
    found = devices(tree.root, resource(files=["/dev/video*"]))
    assert [device.id for device in found] == ["video1", "video2", "video10"]
    assert files(found[0]) == [("/dev/video1", "/dev/video1", "rw")]


def test_ids_are_those_of_the_hardware(tree: GenericTree) -> None:
    """A serial adapter that gets a different number keeps its id, and no adapter in another port gets that id."""
    adapter = tree.usb("1-1.4", number=4)
    tree.part(adapter, "ttyUSB0", "tty")
    other = tree.usb("1-1.3", number=5)
    tree.part(other, "ttyUSB1", "tty")
    settings = resource(files=["/dev/ttyUSB*"])
    assert ids(tree.root, settings) == ["1-1.4:1.0-ttyUSB", "1-1.3:1.0-ttyUSB"]
    tree.remove(adapter)
    assert ids(tree.root, settings) == ["1-1.3:1.0-ttyUSB"]
    tree.part(tree.usb("1-1.4", number=9), "ttyUSB2", "tty")
    found = devices(tree.root, settings)
    assert [(device.id, files(device)[0][0]) for device in found] == [
        ("1-1.3:1.0-ttyUSB", "/dev/ttyUSB1"),
        ("1-1.4:1.0-ttyUSB", "/dev/ttyUSB2"),
    ]


def test_two_files_of_one_camera(tree: GenericTree) -> None:
    """Their ids have the number within the device."""
    camera = tree.usb("1-2")
    tree.part(camera, "video0", "video4linux", index="0")
    tree.part(camera, "video1", "video4linux", index="1")
    assert ids(tree.root, resource(files=["/dev/video*"])) == ["1-2:1.0-video", "1-2:1.0-video.1"]


def test_ports_of_one_interface(tree: GenericTree) -> None:
    """Each has an id, by its number within the interface; a different pattern does not change it."""
    adapter = tree.usb("1-2")
    for number in (9, 10, 12):
        tree.part(adapter, f"ttyUSB{number}", "tty")
    expected = ["1-2:1.0-ttyUSB", "1-2:1.0-ttyUSB.1", "1-2:1.0-ttyUSB.2"]
    assert ids(tree.root, resource(files=["/dev/ttyUSB*"])) == expected
    assert ids(tree.root, resource(files=["/dev/ttyUSB12"])) == expected[2:]


def test_files_that_the_kernel_names_otherwise(tree: GenericTree) -> None:
    """The files of two tuners have the same names, but a tuner's name in sysfs contains its number."""
    for number in (0, 1):
        device = tree.virtual(f"dvb/adapter{number}/frontend0", "dvb")
        tree.rename(device, f"dvb{number}.frontend0")
    assert ids(tree.root, resource(files=["/dev/dvb/*/frontend0"])) == ["dvb0.frontend0", "dvb1.frontend0"]


def test_links_are_kept(tree: GenericTree) -> None:
    """The container finds the file under the link's name, whatever its name on the node is; the id is that name."""
    tree.file("ttyUSB3")
    tree.link("serial/by-id/usb-FTDI_A50285BI-if00", "../../ttyUSB3")
    (device,) = devices(
        tree.root, resource(files=["/dev/serial/by-id/*"], env={"PORT": "{path}", "NODE": "{host_path}"})
    )
    link = "/dev/serial/by-id/usb-FTDI_A50285BI-if00"
    assert device.id == "usb-FTDI_A50285BI-if00"
    assert files(device) == [("/dev/ttyUSB3", link, "rw")]
    assert device.env == {"PORT": link, "NODE": "/dev/ttyUSB3"}


def test_an_absolute_link_is_one_on_the_node(tree: GenericTree) -> None:
    """It does not lead into the hub's container; one that leads nowhere, or in circles, is not a device."""
    tree.file("sr0")
    tree.link("cdrom", "/dev/sr0")
    tree.link("cdrom1", "/dev/sr1")
    tree.link("cdrom2", "cdrom2")
    assert [files(device) for device in devices(tree.root, resource(files=["/dev/cdrom*"]))] == [
        [("/dev/sr0", "/dev/cdrom", "rw")]
    ]


def test_a_file_that_matches_twice_is_one_device(tree: GenericTree) -> None:
    """The first pattern wins, and the other path is excluded with the reason."""
    tree.file("ttyUSB0")
    tree.link("modem", "ttyUSB0")
    found, excluded = scan(plugin_for(tree.root, resource(files=["/dev/modem", "/dev/mo*", "/dev/tty*"])))
    assert [device.id for device in found] == ["modem"]
    assert excluded == {"example.com/x /dev/ttyUSB0": "it is the same file as /dev/modem, which comes first"}


def test_shares(tree: GenericTree) -> None:
    """Many containers can use one file: each share has an id, and they are shares of the same hardware."""
    tree.virtual("kvm")
    found = devices(tree.root, resource(files=["/dev/kvm"], count=100, env={"SHARE": "{share}"}))
    assert len(found) == 100
    assert (found[7].id, found[7].physical, found[7].env) == ("kvm::7", "/dev/kvm", {"SHARE": "7"})


def test_what_a_container_gets(tree: GenericTree) -> None:
    """It gets paths, permissions, mounts, variables, annotations and CDI names, with placeholders filled in."""
    tree.part(tree.usb("1-1", serial="AB 12/.."), "ttyACM0", "tty")
    settings = resource(
        files=["/dev/ttyACM*"],
        container_path="/dev/modem{index}",
        permissions="rwm",
        env={"MODEM": "{path} {id} {index} {serial} {port} {vendor}:{product}"},
        mounts=[{"host_path": "/etc/modems/{name}.conf", "container_path": "/etc/modem.conf"}],
        annotations={"example.com/port": "{port}"},
        cdi=["example.com/modem={serial}"],
    )
    (device,) = devices(tree.root, settings)
    assert files(device) == [
        ("/dev/ttyACM0", "/dev/modem0", "rwm"),
        ("/etc/modems/ttyACM0.conf", "/etc/modem.conf", "ro"),
    ]
    assert device.env == {"MODEM": "/dev/modem0 1-1:1.0-ttyACM 0 AB_12_.. 1-1 1a86:7523"}
    assert (device.annotations, device.cdi) == ({"example.com/port": "1-1"}, ["example.com/modem=AB_12_.."])


def test_a_directory_keeps_the_names(tree: GenericTree) -> None:
    """A container path that ends in / is a directory."""
    tree.file("ttyUSB0")
    (device,) = devices(tree.root, resource(files=["/dev/ttyUSB0"], container_path="/dev/serial/"))
    assert files(device) == [("/dev/ttyUSB0", "/dev/serial/ttyUSB0", "rw")]


def test_ids_by_template(tree: GenericTree) -> None:
    """The settings can choose; a second device with the same id is excluded, and a long id ends in a digest."""
    for number, port in enumerate(("1-1", "1-2")):
        tree.part(tree.usb(port, serial="0001", number=number + 4), f"ttyUSB{number}", "tty")
    found, excluded = scan(plugin_for(tree.root, resource(files=["/dev/ttyUSB*"], id="{serial}")))
    assert [device.id for device in found] == ["0001"]
    problem = "its id, 0001, is already used by another device of the resource"
    assert excluded == {"example.com/x 1-2:1.0-ttyUSB": problem}
    tree.file("x" * 200)
    (long,) = ids(tree.root, resource(files=["/dev/xx*"], count=1))
    assert len(long) < 63
    assert long.startswith("xxxx")


def test_nothing_matches(tree: GenericTree) -> None:
    """The resource is served without devices, and the reason names the patterns that match nothing."""
    plugin = plugin_for(tree.root, resource(files=["/dev/ttyUSB*", "/dev/ttyACM*"]))
    assert list(plugin.resources()) == ["example.com/x"]
    assert scan(plugin) == (
        [],
        {"example.com/x": "no file matches /dev/ttyUSB*; no file matches /dev/ttyACM*"},
    )
    tree.file("ttyACM0")
    found, excluded = scan(plugin)
    assert [device.id for device in found] == ["ttyACM0"]
    assert excluded == {"example.com/x": "no file matches /dev/ttyUSB*"}


def test_the_same_hardware_in_two_resources(tree: GenericTree) -> None:
    """It is recognized as the same, whatever path leads to it; files with the same name elsewhere are different."""
    tree.part(tree.usb("1-1"), "ttyUSB0", "tty")
    tree.link("serial/by-id/modem", "../../ttyUSB0")
    tree.file("other/modem")
    names = {"a": "/dev/ttyUSB*", "b": "/dev/serial/by-id/*", "c": "/dev/other/modem"}
    settings = {"resources": [{"name": f"example.com/{name}", "files": [path]} for name, path in names.items()]}
    assert [(device.id, device.physical) for device in devices(tree.root, settings)] == [
        ("1-1:1.0-ttyUSB", "1-1:1.0-ttyUSB"),
        ("modem", "1-1:1.0-ttyUSB"),
        ("modem", "/dev/other/modem"),
    ]


def test_without_sysfs(tmp_path: Path) -> None:
    """Files are served under their names if sysfs is not mounted."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/fuse").touch()
    assert ids(tmp_path, resource(files=["/dev/fuse"])) == ["fuse"]


def test_a_file_that_is_not_a_device_file_is_excluded(tree: GenericTree) -> None:
    """A container with it would not start; a directory of device files is a device, as for container runtimes."""
    (tree.root / "etc").mkdir()
    (tree.root / "etc/passwd").touch()
    tree.virtual("snd/timer", "sound")
    found, excluded = scan(plugin_for(tree.root, resource(files=["/etc/passwd", "/dev/snd"])))
    assert [files(device) for device in found] == [[("/dev/snd", "/dev/snd", "rw")]]
    assert excluded == {"example.com/x /etc/passwd": "it is not a device file: list it under mounts instead"}


def test_files_that_any_user_may_create_are_not_found_by_chance(tree: GenericTree) -> None:
    """A link in /dev/shm would lead to any device on the node, so only a pattern that names it matches there."""
    tree.virtual("vda", "block")
    tree.virtual("dri/card0", "drm")
    tree.link("shm/card7", "../vda")
    assert ids(tree.root, resource(files=["/dev/*/card*"])) == ["card0"]
    assert ids(tree.root, resource(files=["/dev/shm/card*"])) == ["card7"]  # noqa: S108 - of the simulated node


def test_a_label_is_not_an_option(tree: GenericTree) -> None:
    """A container that writes to a disk can choose its label, which becomes a word of a command that root runs."""
    tree.virtual("sda1", "block")
    tree.link("disk/by-partlabel/--config=evil", "../../sda1")
    command = ["/bin/reset", "--device", "{name}", "{host_path}"]
    plugin = plugin_for(tree.root, resource(files=["/dev/disk/by-partlabel/*"], reset={"command": command}))
    scan(plugin)
    ((_, filled),) = ((key, each.command) for key, each in plugin.reset_settings().items())
    assert filled == ("/bin/reset", "--device", "_-config=evil", "/dev/sda1")
