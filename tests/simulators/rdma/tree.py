"""Nodes with simulated RDMA devices: sysfs and device files as the kernel makes them."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulators.nvml import SimulatedGpu

PHYS = {"ACTIVE": "5: LinkUp", "DOWN": "2: Polling", "INIT": "5: LinkUp", "ARMED": "5: LinkUp"}
BOARD = "MT_0000000223"
STATES = {"DOWN": 1, "INIT": 2, "ARMED": 3, "ACTIVE": 4, "ACTIVE_DEFER": 5}


class RdmaTree:
    """The node's file system, to be changed while a plugin reads it.

    Args:
        root: An empty directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._functions: dict[str, Path] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        for directory in ("infiniband", "infiniband_verbs", "infiniband_mad"):
            (root / "sys/class" / directory).mkdir(parents=True)
        (root / "pods").mkdir()
        (root / "sys/bus/pci/devices").mkdir(parents=True, exist_ok=True)
        (root / "dev/infiniband").mkdir(parents=True, exist_ok=True)
        (root / "dev/infiniband/rdma_cm").touch()
        (root / "sys/class/infiniband_verbs/abi_version").write_text("6\n")

    def add(
        self,
        name: str,
        pci: str,
        *,
        numa: int = 0,
        switch: str = "",
        ports: int = 1,
        link_layer: str = "InfiniBand",
        state: str = "ACTIVE",
        rate: str = "200 Gb/sec (4X HDR)",
        vendor: str = "15b3",
        device: str = "101b",
        driver: str = "mlx5_core",
        netdevs: tuple[str, ...] = (),
        vfs: int = 0,
        pkey: str = "0xffff",
    ) -> None:
        """Add a device; `switch` is the bridge above it, and devices with the same bridge are close to each other."""
        bridges = f"{switch}/" if switch else ""
        function = self.root / f"sys/devices/pci0000:{pci[5:6]}0/{bridges}{pci}"
        function.mkdir(parents=True)
        self._functions[name] = function
        self._link(function, self.root / "sys/bus/pci/devices" / pci)
        files = {
            "numa_node": numa,
            "vendor": f"0x{vendor}",
            "device": f"0x{device}",
            "reset_method": "flr bus",
            **({"sriov_numvfs": vfs} if vfs else {}),
        }
        for key, value in files.items():
            (function / key).write_text(f"{value}\n")
        self._add_netdevs(function, netdevs, link_layer)
        self._facts[name] = {"ports": ports, "rate": rate, "link_layer": link_layer, "state": state, "pkey": pkey}
        self.bind(name, driver)

    def bind(self, name: str, driver: str = "mlx5_core") -> None:
        """Bind a driver to the function, and create its RDMA device."""
        function, facts = self._functions[name], self._facts[name]
        if driver:
            target = self.root / "sys/bus/pci/drivers" / driver
            target.mkdir(parents=True, exist_ok=True)
            self._link(target, function / "driver")
        ib = function / "infiniband" / name
        (ib / "ports").mkdir(parents=True)
        self._link(function, ib / "device")
        for key, value in {"node_guid": "506b:4b03:0028:5028", "fw_ver": "20.28.1002", "board_id": BOARD}.items():
            (ib / key).write_text(f"{value}\n")
        for port in range(1, facts["ports"] + 1):
            (ib / f"ports/{port}/pkeys").mkdir(parents=True)
            (ib / f"ports/{port}/pkeys/0").write_text(f"{facts['pkey']}\n")
            (ib / f"ports/{port}/rate").write_text(f"{facts['rate']}\n")
            (ib / f"ports/{port}/link_layer").write_text(f"{facts['link_layer']}\n")
            self.set_port(name, facts["state"], port)
        self._add_nodes(name, function, facts["ports"])
        # This link is created last, so that a reader of the tree finds a complete device.
        self._link(ib, self.root / "sys/class/infiniband" / name)

    def rename(self, name: str, new: str) -> None:
        """Rename the RDMA device as a process with CAP_NET_ADMIN may; the kernel accepts any characters but a slash."""
        function = self._functions[new] = self._functions.pop(name)
        self._facts[new] = self._facts.pop(name)
        for owner in function.glob("infiniband_*/*/ibdev"):
            owner.write_text(f"{new}\n")
        if self._hidden(name).exists():
            self._hidden(name).rename(self._hidden(new))
            (self._hidden(new) / name).rename(self._hidden(new) / new)
        elif (function / "infiniband").exists():
            (self.root / "sys/class/infiniband" / name).unlink()
            (function / "infiniband" / name).rename(function / "infiniband" / new)
            self._link(function / "infiniband" / new, self.root / "sys/class/infiniband" / new)

    def unbind(self, name: str) -> None:
        """Unbind the driver from the function: the RDMA device disappears, but the function stays."""
        function = self._functions[name]
        (self.root / "sys/class/infiniband" / name).unlink()
        for kind in ("infiniband_verbs", "infiniband_mad"):
            for link in (self.root / "sys/class" / kind).iterdir():
                if link.is_symlink() and function in link.resolve().parents:
                    link.unlink()
                    (self.root / "dev/infiniband" / link.name).unlink()
            shutil.rmtree(function / kind)
        shutil.rmtree(function / "infiniband")
        (function / "driver").unlink(missing_ok=True)

    def move_to_pod(self, name: str) -> None:
        """Give a pod the network interfaces, and in exclusive mode the RDMA device: the node's sysfs hides them."""
        function = self._functions[name]
        shutil.rmtree(function / "net", ignore_errors=True)
        if self._exclusive:
            (self.root / "sys/class/infiniband" / name).unlink()
            (function / "infiniband").rename(self._hidden(name))

    def return_to_node(self, name: str, *, netdevs: tuple[str, ...] = ()) -> None:
        """End the pod, so that the kernel moves everything back to the node."""
        function = self._functions[name]
        self._add_netdevs(function, netdevs, self._facts[name]["link_layer"])
        if self._hidden(name).exists():
            self._hidden(name).rename(function / "infiniband")
            self._link(function / "infiniband" / name, self.root / "sys/class/infiniband" / name)

    def set_exclusive(self) -> None:
        """Set the exclusive namespace mode of the RDMA subsystem."""
        self._netns_mode.parent.mkdir(parents=True)
        self._netns_mode.write_text("N\n")

    @property
    def _netns_mode(self) -> Path:
        return self.root / "sys/module/ib_core/parameters/netns_mode"

    @property
    def _exclusive(self) -> bool:
        return self._netns_mode.exists() and self._netns_mode.read_text() == "N\n"

    def _hidden(self, name: str) -> Path:
        return self.root / f"pods/{name}"

    def add_vf(self, name: str, pci: str, pf: str, number: int, **facts: Any) -> None:  # noqa: ANN401 - those of `add`
        """Add a virtual function of an existing device."""
        facts = {"device": "101c", "state": "DOWN", **facts}
        self.add(name, pci, **facts)
        self._link(self._functions[pf], self._functions[name] / "physfn")
        self._link(self._functions[name], self._functions[pf] / f"virtfn{number}")
        (self._functions[pf] / "sriov_numvfs").write_text(f"{number + 1}\n")

    def set_port(self, name: str, state: str, port: int = 1, phys_state: str = "") -> None:
        """Set a port's state."""
        directory = self._functions[name] / "infiniband" / name / f"ports/{port}"
        (directory / "state").write_text(f"{STATES[state]}: {state}\n")
        (directory / "phys_state").write_text(f"{phys_state or PHYS.get(state, '5: LinkUp')}\n")

    def remove(self, name: str) -> None:
        """Remove the device, as if its card were pulled."""
        if self._hidden(name).exists():
            self.return_to_node(name)
        self.unbind(name)
        function = self._functions.pop(name)
        (self.root / "sys/bus/pci/devices" / function.name).unlink()
        for pf in self._functions.values():
            for link in pf.glob("virtfn*"):
                if link.readlink().name == function.name:
                    link.unlink()
        shutil.rmtree(function)

    def name_of(self, pci: str) -> str:
        """Return the device at a PCI address."""
        return next(name for name, function in self._functions.items() if function.name == pci)

    @property
    def names(self) -> list[str]:
        """The devices that are there."""
        return list(self._functions)

    def pci(self, name: str) -> str:
        """Return a device's PCI address."""
        return self._functions[name].name

    @staticmethod
    def _add_netdevs(function: Path, netdevs: tuple[str, ...], link_layer: str) -> None:
        for netdev in netdevs:
            (function / "net" / netdev).mkdir(parents=True)
            kind = "1" if link_layer == "Ethernet" else "32"
            (function / "net" / netdev / "type").write_text(f"{kind}\n")

    def _add_nodes(self, name: str, function: Path, ports: int) -> None:
        """Add nodes with the lowest free number, as the kernel counts."""
        verbs = self.root / "sys/class/infiniband_verbs"
        number = next(number for number in range(1000) if not (verbs / f"uverbs{number}").is_symlink())
        self._node("infiniband_verbs", f"uverbs{number}", name, function)
        for port in range(ports):
            self._node("infiniband_mad", f"umad{2 * number + port}", name, function)
            self._node("infiniband_mad", f"issm{2 * number + port}", name, function)

    def _node(self, kind: str, node: str, owner: str, function: Path) -> None:
        directory = function / kind / node
        directory.mkdir(parents=True)
        (directory / "ibdev").write_text(f"{owner}\n")
        number = int(node.strip("abcdefghijklmnopqrstuvwxyz")) + {"u": 0, "i": 64}[node[0]] + 192 * ("verbs" in node)
        (directory / "dev").write_text(f"231:{number}\n")
        self._link(directory, self.root / "sys/class" / kind / node)
        (self.root / "dev/infiniband" / node).touch()

    def _link(self, target: Path, link: Path) -> None:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(target, link.parent))


def two_connectx6(root: Path) -> RdmaTree:
    """Create a node with two HCAs, one on each NUMA node."""
    tree = RdmaTree(root)
    tree.add("mlx5_0", "0000:07:00.0", numa=0, netdevs=("ib0",))
    tree.add("mlx5_1", "0000:87:00.0", numa=1, netdevs=("ib1",))
    return tree


def four_vfs(root: Path) -> RdmaTree:
    """Create an HCA with four virtual functions, each with an interface and the partition key 0x8001."""
    tree = RdmaTree(root)
    tree.add("mlx5_0", "0000:07:00.0", netdevs=("ib0",))
    for number in range(4):
        tree.add_vf(
            f"mlx5_{number + 1}",
            f"0000:07:00.{number + 1}",
            "mlx5_0",
            number,
            netdevs=(f"ib0v{number}",),
            pkey="0x8001",
        )
    return tree


def dgx(root: Path) -> RdmaTree:
    """Create a node with eight HCAs on two NUMA nodes, two below each PCIe switch."""
    tree = RdmaTree(root)
    for number in range(8):
        bus = (0x80 if number > 3 else 0) + 0x12 + 8 * (number % 4)
        switch = f"0000:{(0x80 if number > 3 else 0) + 1:02x}:0{number // 2 % 2}.0"
        tree.add(f"mlx5_{number}", f"0000:{bus:02x}:00.0", numa=number // 4, switch=switch, netdevs=(f"ib{number}",))
    return tree


def sixty_four_vfs(root: Path) -> RdmaTree:
    """Create an HCA that is split into 64 virtual functions."""
    tree = RdmaTree(root)
    tree.add("mlx5_0", "0000:07:00.0", netdevs=("ib0",))
    for number in range(64):
        slot = number + 1
        tree.add_vf(f"mlx5_{slot}", f"0000:07:{slot // 8:02x}.{slot % 8}", "mlx5_0", number, netdevs=(f"ib0v{number}",))
    return tree


def hcas_near_gpus(root: Path, gpus: "Sequence[SimulatedGpu]") -> RdmaTree:
    """Create as many HCAs as GPUs, each below the PCIe switch of the GPU with its number."""
    tree = RdmaTree(root)
    for number, gpu in enumerate(gpus):
        path = (root / "sys/bus/pci/devices" / gpu.pci).resolve()
        bridge, switch = path.parts[-4:-2]
        pci = f"0000:{(0x80 if gpu.numa else 0) + 2 + number:02x}:00.0"
        tree.add(f"mlx5_{number}", pci, numa=gpu.numa, switch=f"{bridge}/{switch}")
    return tree
