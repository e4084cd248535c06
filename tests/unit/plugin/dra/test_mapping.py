"""A plugin's devices as the API server has them."""

import re
from pathlib import Path

from hub.api.device import Device
from hub.api.health import RecoveryPolicy
from hub.api.host import Host
from hub.plugin.devices.devicelist import ScannedDevices
from hub.plugin.devices.pci import PciTree
from hub.plugin.devices.scan import Scan
from hub.plugin.dra.mapping import ATTRIBUTES, DraDevice, device_name, dra_devices
from hub.plugin.health.keys import share_key
from hub.plugin.health.record import ANNOTATION, CORDON
from tests.unit.plugin.plugin_setup import FAILED, STUB, CountingStore, Setup

DRIVER = "stub.dphub.dev"


def mapped(setup: Setup, root: Path = Path("/nonexistent")) -> dict[str, DraDevice]:
    """Return the devices."""
    return dra_devices(setup.inventory, STUB, DRIVER, PciTree(Host(root)))


async def test_a_valid_id_is_the_name_and_others_get_a_digest() -> None:
    """Claims contain the name, so it must not depend on the other devices."""
    assert device_name("stub-0", STUB, STUB) == "stub-0"
    names = [
        device_name("GPU-3f/A", STUB, STUB),
        device_name("gpu-3f/a", STUB, STUB),
        device_name("stub-0", "example.com/other", STUB),
        device_name("_", STUB, STUB),
        device_name("x" * 64, STUB, STUB),
    ]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name) for name in names)
    assert names[0].startswith("gpu-3f-a-")


async def test_attributes_fit_into_the_limits() -> None:
    """One value that does not fit would make the API server refuse all devices."""
    setup = Setup()
    attributes = {"product name": "x" * 100, "1st": "y", **{f"a{n}": "z" for n in range(40)}}
    setup.scan(Device("a", attributes=attributes, physical="p", numa=[1]))

    (found,) = mapped(setup).values()

    values = found.content["attributes"]
    assert len(values) == ATTRIBUTES
    assert values["resource"] == {"string": STUB}
    assert values["id"] == {"string": "a"}
    assert values["physical"] == {"string": "p"}
    assert values["product_name"] == {"string": "x" * 64}
    assert values["_1st"] == {"string": "y"}
    assert values["resource.kubernetes.io/numaNode"] == {"int": 1}
    assert found.problem.startswith("14 attributes left out")


async def test_a_value_is_truncated_to_bytes() -> None:
    """The API server counts bytes, not characters; one value that is too long would make it refuse all devices."""
    setup = Setup()
    setup.scan(Device("a", attributes={"model": "é" * 40, "serial": "x" + "é" * 40}))

    (found,) = mapped(setup).values()

    assert found.content["attributes"]["model"] == {"string": "é" * 32}
    assert found.content["attributes"]["serial"] == {"string": "x" + "é" * 31}


async def test_a_long_name_of_a_resource_is_a_problem() -> None:
    """A device class that compares the attribute with the whole name would find no device."""
    setup = Setup()
    name = f"example.com/{'x' * 60}"
    setup.inventory.update(Scan({name: ScannedDevices.of([Device("a")])}))

    (found,) = mapped(setup).values()

    assert found.content["attributes"]["resource"] == {"string": name[:64]}
    assert "the name of the resource is too long for an attribute" in found.problem


async def test_a_device_has_its_place_on_the_pci_bus(tmp_path: Path) -> None:
    """A claim can therefore have a GPU and a network adapter below the same root."""
    target = tmp_path / "sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0"
    target.mkdir(parents=True)
    link = tmp_path / "sys/bus/pci/devices/0000:3b:00.0"
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    setup = Setup()
    setup.scan(Device("a", pci=["0000:3B:00.0"]))

    (found,) = mapped(setup, tmp_path).values()

    assert found.content["attributes"]["resource.kubernetes.io/pciBusID"] == {"string": "0000:3b:00.0"}
    assert found.content["attributes"]["resource.kubernetes.io/pcieRoot"] == {"string": "pci0000:3a"}


async def test_a_device_that_cannot_be_used_has_a_taint_until_it_can() -> None:
    """The key says what kind of reason it is, and the value where it comes from."""
    setup = Setup()
    setup.scan(Device("a", unhealthy="hot"), Device("b", broken="dead"), Device("c"), Device("d"), Device("e"))
    setup.store.set_admin_fault(share_key(STUB, Device("c")), CORDON, "cordoned")
    setup.store.set_admin_fault(share_key(STUB, Device("d")), ANNOTATION, "cordoned")
    setup.inventory.publish()

    taints = {name: each.content.get("taints", []) for name, each in mapped(setup).items()}

    effect = {"effect": "NoSchedule"}
    assert taints == {
        "a": [{"key": f"{DRIVER}/unhealthy", "value": "plugin", **effect}],
        "b": [{"key": f"{DRIVER}/broken", "value": "broken", **effect}],
        "c": [{"key": f"{DRIVER}/cordon", "value": "cordon", **effect}],
        "d": [{"key": f"{DRIVER}/cordon", "value": "annotation", **effect}],
        "e": [],
    }

    setup.store.clear_admin_fault(share_key(STUB, Device("c")), CORDON)
    setup.inventory.publish()
    assert "taints" not in mapped(setup)["c"].content


async def test_pods_are_evicted_only_from_devices_that_do_not_work(tmp_path: Path) -> None:
    """This is done only if an administrator wants it: not for a cordon, a failed scan, or a recovering device."""
    setup = Setup(lambda path, _policy, ownership: CountingStore(path, RecoveryPolicy(stable_for=60), ownership))
    setup.scan(Device("a", unhealthy="hot"), Device("b", broken="dead"), Device("c"), Device("d", unhealthy="hot"))
    setup.store.set_admin_fault(share_key(STUB, Device("c")), CORDON, "cordoned")
    setup.scan(Device("a", unhealthy="hot"), Device("b"), Device("c"), Device("d"))

    def effects(*, evict: bool) -> dict[str, str]:
        devices = dra_devices(setup.inventory, STUB, DRIVER, PciTree(Host(tmp_path)), evict=evict)
        return {name: each.content["taints"][0]["effect"] for name, each in devices.items()}

    assert effects(evict=False) == dict.fromkeys("abcd", "NoSchedule")
    assert effects(evict=True) == {"a": "NoExecute", "b": "NoExecute", "c": "NoSchedule", "d": "NoSchedule"}

    setup.inventory.update(FAILED)
    assert effects(evict=True) == {"a": "NoExecute", "b": "NoExecute", "c": "NoSchedule", "d": "NoSchedule"}
