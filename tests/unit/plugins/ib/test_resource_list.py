"""The SR-IOV network device plugin's configuration file is accepted unchanged, for functions with an RDMA device."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from hub import Device, Excluded, Host
from plugins.ib.plugin import IB
from plugins.ib.settings import IBSettings
from tests.harness.scanned import scanned
from tests.simulators.rdma.tree import RdmaTree, four_vfs

VFS = [f"0000:07:00.{number}" for number in range(1, 5)]
RDMA = {"isRdma": True}


@pytest.fixture
def tree(tmp_path: Path) -> RdmaTree:
    """Create a node with four virtual functions, and a physical function without any."""
    tree = four_vfs(tmp_path)
    tree.add("mlx5_9", "0000:09:00.0", device="1017", netdevs=("ib9",))
    return tree


class Served:
    """What the plugin serves for a configuration file.

    Args:
        root: The node's file system.
        entries: The entries of `resourceList`.
        keys: Other keys of the file.
    """

    def __init__(self, root: Path, *entries: dict[str, Any], **keys: object) -> None:
        (root / "ib.json").write_text(json.dumps({"resourceList": entries, **keys}))
        self.plugin = IB(IBSettings.read(root / "ib.json"), Host(root))
        found = scanned(self.plugin)
        self.excluded = {each.id: each.reason for each in found if isinstance(each, Excluded)}
        self.devices: dict[str, list[Device]] = {resource: [] for resource in self.plugin.resources()}
        for each in found:
            if isinstance(each, Device):
                self.devices[each.resource].append(each)

    def ids(self, resource: str) -> Sequence[str]:
        """Return the devices of a resource."""
        return [device.id for device in self.devices[resource]]


def _entry(selectors: object = None, name: str = "vf", **keys: object) -> dict[str, Any]:
    return {"resourceName": name, "selectors": RDMA if selectors is None else selectors, **keys}


def test_an_entry(tmp_path: Path, tree: RdmaTree) -> None:
    """Its functions, their files and all variables match the SR-IOV device plugin's; nothing is added."""
    for path in ("vhost-net", "net/tun"):
        (tree.root / "dev" / path).parent.mkdir(exist_ok=True)
        (tree.root / "dev" / path).touch()
    extra = {"*": {"a": "1", "b": "1"}, VFS[0]: {"b": "2"}}
    selectors = {**RDMA, "pfNames": ["ib0"], "needVhostNet": True}
    served = Served(tmp_path, _entry(selectors, "my-vf", resourcePrefix="my-org.com", additionalInfo=extra))
    assert served.ids("my-org.com/my-vf") == VFS
    device = served.devices["my-org.com/my-vf"][0]
    got = served.plugin.allocate([device])
    files = [f"/dev/infiniband/{name}" for name in ("uverbs1", "umad2", "issm2", "rdma_cm")]
    assert [(node.host_path, node.permissions) for node in got.nodes] == [
        (path, "rw") for path in (*files, "/dev/vhost-net", "/dev/net/tun")
    ]
    info = json.loads(got.env["PCIDEVICE_MY-ORG_COM_MY-VF_INFO"])
    assert info == {
        VFS[0]: {
            "generic": {"deviceID": VFS[0]},
            "rdma": {**dict(zip(("uverbs", "umad", "issm", "rdma_cm"), files, strict=True)), "rdma_dev": "mlx5_1"},
            "vhost": {"net-mount": "/dev/vhost-net", "tun-mount": "/dev/net/tun"},
            "extra": {"a": "1", "b": "2"},
        }
    }
    assert got.env.pop("PCIDEVICE_MY-ORG_COM_MY-VF_INFO")
    assert got.env == {"PCIDEVICE_MY-ORG_COM_MY-VF": VFS[0]}


@pytest.mark.parametrize(
    ("selectors", "ids"),
    [
        ({"pfNames": ["ib0#0,2-3"]}, [VFS[0], VFS[2], VFS[3]]),
        ({"pfNames": ["ib0#0", "ib0#2"]}, [VFS[0]]),
        ({"rootDevices": ["0000:07:00.0#1"]}, [VFS[1]]),
        ({"vendors": ["15b3"], "devices": ["101c"]}, VFS),
        ({"devices": ["1017"]}, ["0000:09:00.0"]),
        ({"PCIADDRESSES": [VFS[3]]}, [VFS[3]]),
        ({"pKeys": ["0x8001"]}, VFS),
        ({"acpiIndexes": ["7"]}, [VFS[1]]),
        ({"linkTypes": ["infiniband"], "drivers": ["mlx5_core"]}, [*VFS, "0000:09:00.0"]),
        ({}, [*VFS, "0000:09:00.0"]),
    ],
)
def test_selectors(tmp_path: Path, tree: RdmaTree, selectors: dict[str, object], ids: list[str]) -> None:
    """As in that plugin, keys ignore case, a physical function's first entry wins, and one without VFs is served."""
    (tree.root / "sys/bus/pci/devices" / VFS[1] / "acpi_index").write_text("7\n")
    assert Served(tmp_path, _entry({**RDMA, **selectors})).ids("intel.com/vf") == ids


def test_a_list_of_selectors(tmp_path: Path, tree: RdmaTree) -> None:
    """Any of them suffices; a function belongs to the first entry that selects it."""
    first = [{**RDMA, "pciAddresses": [VFS[0]]}, {**RDMA, "pfNames": ["ib0#2"]}]
    served = Served(tmp_path, _entry(first), _entry(name="rest"), resourcePrefix="nvidia.com")
    assert served.ids("nvidia.com/vf") == [VFS[0], VFS[2]]
    assert served.ids("nvidia.com/rest") == [VFS[1], VFS[3], "0000:09:00.0"]
    assert tree.names


@pytest.mark.parametrize(("exclude", "numa"), [(True, []), (False, [0])])
def test_topology(tmp_path: Path, tree: RdmaTree, exclude: bool, numa: list[int]) -> None:  # noqa: FBT001 - a case
    """The kubelet gets the NUMA node unless it is excluded."""
    served = Served(tmp_path, _entry(excludeTopology=exclude))
    assert [list(device.numa) for device in served.devices["intel.com/vf"]] == [numa] * len(tree.names[1:])


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (_entry({"vendors": ["8086"]}), "selectors.isRdma is not true"),
        (_entry([RDMA, {"vendors": ["8086"]}]), "selectors.isRdma is not true"),
        (_entry({**RDMA, "vdpaType": "vhost"}), "selectors.vdpaType is set"),
        (_entry({**RDMA, "ddpProfiles": ["GTPv1-C/U"]}), "selectors.ddpProfiles is set"),
        (_entry({**RDMA, "drivers": ["vfio-pci"]}), "a function with the driver vfio-pci has no RDMA device"),
        (_entry({"devices": ["0d90"]}, deviceType="accelerator"), "deviceType is accelerator"),
        (_entry({**RDMA, "auxTypes": ["sf"]}, deviceType="auxNetDevice"), "deviceType is auxNetDevice"),
        (_entry({**RDMA, "vendors": "15b3"}), "expected a list, got text: put [ ] around it"),
        (_entry(3), "expected a mapping, got a whole number"),
        (_entry(resourcePrefix="my_org"), '(the ResourceName "my_org/vf" is invalid)'),
    ],
)
def test_entries_that_are_not_served(tmp_path: Path, tree: RdmaTree, entry: dict[str, Any], reason: str) -> None:
    """Each is named with the reason, and the others are served."""
    served = Served(tmp_path, entry, _entry(name="good"))
    assert list(served.devices) == ["intel.com/good"]
    assert len(served.ids("intel.com/good")) == len(tree.names) - 1
    text = served.excluded[f"{entry.get('resourcePrefix', 'intel.com')}/vf"]
    assert text.startswith("not served: resourceList[0]: ")
    assert reason in text


def test_unknown_keys(tmp_path: Path, tree: RdmaTree) -> None:
    """They are ignored, as in that plugin, and named in the log."""
    with structlog.testing.capture_logs() as logs:
        served = Served(tmp_path, _entry({**RDMA, "pfName": ["ib0"]}, colour="red"))
    assert len(served.ids("intel.com/vf")) == len(tree.names) - 1
    assert [(each["event"], each["keys"]) for each in logs] == [
        ("unknown keys ignored", ["colour", "selectors.pfname"])
    ]


def test_a_resource_that_is_configured_twice() -> None:
    """It is refused, as in that plugin."""
    twice = {"resourceList": [_entry(), _entry()]}
    with pytest.raises(msgspec.ValidationError, match=r"the resource intel\.com/vf is configured 2 times"):
        msgspec.convert(twice, IBSettings)


def test_device_information_files(tmp_path: Path, tree: RdmaTree) -> None:
    """They are written for allocated functions, kept across restarts, and removed with the function."""
    served = Served(tmp_path, _entry())
    served.plugin.allocate(served.devices["intel.com/vf"][2:4])
    directory = tree.root / "var/run/k8s.cni.cncf.io/devinfo/dp"
    files = [directory / f"intel.com-vf-{pci}-device.json" for pci in VFS[2:]]
    assert json.loads(files[0].read_text()) == {
        "type": "pci",
        "version": "1.1.0",
        "pci": {"pci-address": VFS[2], "rdma-device": "mlx5_3"},
    }
    others = ["intel.com-vf-a-0000:01:00.0-device.json", "other.com-vf-0000:01:00.0-device.json"]
    for name in others:
        (directory / name).touch()
    tree.remove("mlx5_4")
    Served(tmp_path, _entry())
    assert sorted(path.name for path in directory.iterdir()) == sorted([files[0].name, *others])


def test_device_information_that_cannot_be_written(tmp_path: Path, tree: RdmaTree) -> None:
    """The containers start nevertheless, and the failure is logged once."""
    (tree.root / "var/run").mkdir(parents=True)
    (tree.root / "var/run/k8s.cni.cncf.io").write_text("in the way")
    served = Served(tmp_path, _entry())
    with structlog.testing.capture_logs() as logs:
        for device in served.devices["intel.com/vf"]:
            assert served.plugin.allocate([device]).nodes
    assert [each["event"] for each in logs] == ["file not written"]


def test_cdi_names(tmp_path: Path, tree: RdmaTree) -> None:
    """They match the SR-IOV device plugin's."""
    served = Served(tmp_path, _entry(), cdi=["cri"])
    got = served.plugin.allocate(served.devices["intel.com/vf"][:1])
    assert (got.cdi, list(got.nodes)) == ([f"intel.com/net-pci={VFS[0]}"], [])
    assert "PCIDEVICE_INTEL_COM_VF_INFO" in got.env
    assert tree.names


def test_functions_in_pods(tmp_path: Path, tree: RdmaTree) -> None:
    """They stay listed, even if their physical function was moved, too."""
    tree.set_exclusive()
    served = Served(tmp_path, _entry({**RDMA, "linkTypes": ["infiniband"]}))
    for name in ("mlx5_2", "mlx5_9"):
        tree.move_to_pod(name)
    found = [each.id for each in scanned(served.plugin) if isinstance(each, Device)]
    assert found == [*VFS, "0000:09:00.0"]
