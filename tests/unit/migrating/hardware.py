"""The nodes of hardware.yaml, built with the simulators."""

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hub import Host
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import DriverState
from plugins.gpu.nvml.calls import Nvml, NvmlError
from plugins.gpu.nvml.library import load_library
from plugins.gpu.nvml.probing import Prober
from plugins.gpu.nvml.session import Session
from tests.simulators.inteltree import IntelTree
from tests.simulators.nvml import LOST, NOT_SUPPORTED, UNKNOWN, SimulatedNode
from tests.simulators.rdma.tree import RdmaTree

FUNCTION_NOT_FOUND = 13
IMEX_CHANNEL = "/dev/nvidia-caps-imex-channels/channel0"


def build_gpu_node(root: Path, facts: Mapping[str, Any]) -> SimulatedNode:
    """Create a node with GPUs, changed as hardware.yaml says."""
    node = SimulatedNode(root, facts["profile"], facts.get("mig"))
    node.gpus = node.gpus[: facts.get("count")]
    _connect(node, facts)
    _break(node, facts)
    node.apply()
    for path in (IMEX_CHANNEL, *facts.get("files", ())):
        _touch(root, path)
    if "root" in facts:
        (root / facts["root"][1:]).parent.mkdir(parents=True)
        (root / facts["root"][1:]).symlink_to(root)
    _remove(root, facts.get("without", ""))
    if facts.get("unload"):
        node.unload()
    return node


def _connect(node: SimulatedNode, facts: Mapping[str, Any]) -> None:
    for gpu, number in zip(node.gpus, facts.get("numa", ()), strict=False):
        gpu.numa = number
    for gpu, number in zip(node.gpus, facts.get("switches", ()), strict=False):
        gpu.switch = number
    if "nvlinks" in facts:
        for gpu in node.gpus:
            gpu.peers = {}
    for link, count in Counter(facts.get("nvlinks", ())).items():
        one, other = (node.gpus[int(end)] for end in link.split("-"))
        one.peers[other.uuid] = other.peers[one.uuid] = count


def _break(node: SimulatedNode, facts: Mapping[str, Any]) -> None:
    node.failures |= dict.fromkeys(facts.get("unsupported", ()), NOT_SUPPORTED)
    node.failures |= dict.fromkeys(facts.get("missing", ()), FUNCTION_NOT_FOUND)
    for number, function in facts.get("failing", {}).items():
        node.gpus[number].failures[function] = UNKNOWN
    for number in facts.get("lost", ()):
        node.gpus[number].failures["*"] = LOST


def _touch(root: Path, path: str) -> None:
    (root / path.removeprefix("/")).parent.mkdir(parents=True, exist_ok=True)
    (root / path.removeprefix("/")).touch()


def _remove(root: Path, what: str) -> None:
    if what == "capabilities":
        minors = root / "proc/driver/nvidia-caps/mig-minors"
        minors.write_text("".join(f"{line}\n" for line in minors.read_text().splitlines() if "gpu1/" not in line))
    elif what:
        (root / what.removeprefix("/")).unlink()


class DirectDriver:
    """The driver's state, read with the driver's library in the thread of the test.

    Args:
        root: The node.
    """

    def __init__(self, root: Path) -> None:
        self._paths = DriverPaths(Host(root))

    def poll(self, _timeout: float) -> DriverState:
        """Read the state in a session of its own."""
        nvml = Nvml()
        load_library(self._paths)
        try:
            session = Session(nvml, self._paths, Prober(nvml, self._paths), xids=True)
        except NvmlError as error:
            return DriverState(reason=str(error))
        try:
            return session.poll({}, lambda: None)
        finally:
            session.close()


def build_rdma_node(root: Path, facts: Mapping[str, Any]) -> RdmaTree:
    """Create a node with RDMA devices, changed as hardware.yaml says."""
    tree = RdmaTree(root)
    (root / "proc/net").mkdir(parents=True)
    (root / "proc/net/route").write_text("Iface Destination Gateway Flags RefCnt Use Metric Mask MTU\n")
    for path in facts.get("files", ()):
        _touch(root, path)
    if facts.get("exclusive"):
        make_exclusive(tree)
    for name, device in facts.items():
        if name not in {"files", "exclusive"}:
            _add_rdma_device(tree, name, device)
    return tree


def _add_rdma_device(tree: RdmaTree, name: str, device: Mapping[str, Any]) -> None:
    own = {key: tuple(value) if isinstance(value, list) else value for key, value in device.items()}
    keys = ("default_route", "without", "unbound", "acpi_index")
    route, without, unbound, acpi_index = (own.pop(key, None) for key in keys)
    if pf := own.pop("vf_of", ""):
        tree.add_vf(name, own.pop("pci"), pf, own.pop("number"), **own)
    else:
        tree.add(name, own.pop("pci"), **own)
    if route:
        with (tree.root / "proc/net/route").open("a") as routes:
            routes.write(f"{own['netdevs'][0]} 00000000 0100000A 0003 0 0 0 00000000 0\n")
    if acpi_index:
        (tree.root / "sys/bus/pci/devices" / tree.pci(name) / "acpi_index").write_text(f"{acpi_index}\n")
    if without:
        remove_nodes(tree, name, without)
    if unbound:
        tree.unbind(name)


def remove_nodes(tree: RdmaTree, name: str, kind: str) -> None:
    """Remove the device files of a kind, and their entries in sysfs."""
    function = (tree.root / "sys/bus/pci/devices" / tree.pci(name)).resolve()
    classes = tree.root / "sys/class" / ("infiniband_verbs" if kind == "uverbs" else "infiniband_mad")
    for link in list(classes.iterdir()):
        if link.name.startswith(kind) and link.is_symlink() and function in link.resolve().parents:
            shutil.rmtree(link.resolve())
            link.unlink()
            (tree.root / "dev/infiniband" / link.name).unlink()


def make_exclusive(tree: RdmaTree) -> None:
    """Switch the RDMA subsystem to the mode in which a device belongs to one network namespace."""
    mode = tree.root / "sys/module/ib_core/parameters/netns_mode"
    mode.parent.mkdir(parents=True, exist_ok=True)
    mode.write_text("N\n")


def build_intel_node(root: Path, facts: Mapping[str, Any]) -> IntelTree:
    """Create a node with Intel GPUs, as hardware.yaml describes it."""
    tree = IntelTree(root)
    for gpu in facts["gpus"]:
        tree.add(**gpu)
    for pci, count in facts.get("divided", {}).items():
        tree.divide(pci, count)
    for name in facts.get("without", ()):
        (root / name.removeprefix("/")).unlink()
    if "framebuffer" in facts:
        tree.leave_framebuffer(facts["framebuffer"])
    return tree


def move_interface(tree: RdmaTree, name: str) -> None:
    """Put the network interfaces of a device into the network namespace of a pod, so the node does not see them."""
    function = (tree.root / "sys/bus/pci/devices" / tree.pci(name)).resolve()
    shutil.rmtree(function / "net", ignore_errors=True)
