"""Run the cases of ROCm's plugin with the AMD plugin."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from hub import ConfigError, Device, Excluded, Host, NoDevices, Runtime
from plugins.amd.plugin import AMD
from plugins.amd.settings import AMDSettings
from scripts.migrating import Case
from tests.harness.scanned import scanned
from tests.simulators.amdnodes import MODELS, OAM
from tests.simulators.amdtree import AmdTree
from tests.unit.migrating.gpu import Result, answer_of, flatten


def build_amd_node(root: Path, facts: Mapping[str, Any]) -> Path:
    """Create a node with AMD GPUs, changed as hardware.yaml says; if it says nothing, without their driver."""
    if not facts:
        return root
    tree = AmdTree(root, separator=facts.get("separator", "_"))
    with tree.changing():
        for position, (model, mode) in enumerate(_cards(facts)):
            compute, _, memory = mode.partition("_")
            card = {"numa": position // 4} | MODELS[model]
            card |= {"hive": 10 + position // 4} if model == "MI210" else {}
            card |= {"compute": compute, "memory": memory} if mode else {}
            card |= {"numa": facts["numa"][position]} if "numa" in facts else {}
            tree.add(_address(position), **card)
        for name in facts.get("hidden", ()):
            number, _, partition = name.partition(":")
            tree.hide(_address(int(number)), int(partition or 0))
    if facts.get("without") == "KFD":
        tree.remove_kfd()
    return root


def _cards(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the model and the mode of each card."""
    for model in MODELS:
        modes = facts.get(model, {})
        for mode, count in modes.items() if isinstance(modes, dict) else [("", modes)]:
            yield from [(model, mode)] * count


def _address(position: int) -> str:
    return f"0000:{OAM[position]}:00.0"


def read_file(case: Case, directory: Path) -> AMDSettings:
    """Return the settings of the case's file.

    Raises:
        ConfigError: the file is rejected.
    """
    if case.set is None:
        return AMDSettings()
    path = directory / "amd.yaml"
    path.write_text(case.set if isinstance(case.set, str) else yaml.safe_dump(case.set))
    return AMDSettings.read(path)


def run_settings(case: Case, directory: Path) -> Result:
    """Return the values of the keys, as `gpu.device_count`; or `rejected`."""
    try:
        plugin = AMD(read_file(case, directory))
    except ConfigError:
        return "rejected"
    return dict(flatten("", msgspec.to_builtins(plugin.settings)))


class AmdRun:
    """The AMD plugin on a simulated node.

    Args:
        case: The settings.
        root: The node.
        directory: For the configuration file.
    """

    def __init__(self, case: Case, root: Path, directory: Path) -> None:
        self.plugin = AMD(read_file(case, directory), Host(root), Runtime())
        try:
            found = scanned(self.plugin)
        except NoDevices:
            found = []
        self.devices = {_name(each.id): each for each in found if isinstance(each, Device)}
        self.excluded = [_name(each.id) for each in found if isinstance(each, Excluded) and each.id.startswith("0000:")]

    def named(self, names: Iterable[object]) -> Sequence[Device]:
        """Return the devices with these names."""
        return [self.devices[str(name)] for name in names]


def _name(identifier: str) -> str:
    """Return the name of a device in the cases: the position of its card, and that of its partition on the card."""
    gpu, colons, share = identifier.partition("::")
    pci, dash, partition = gpu.partition("-")
    return f"{OAM.index(pci.split(':')[1])}{':' if dash else ''}{partition}{colons}{share}"


def run_devices(case: Case, root: Path, directory: Path) -> Result:
    """Return the devices by resource, and those that are unhealthy or left out; or `rejected`."""
    try:
        run = AmdRun(case, root, directory)
    except ConfigError:
        return "rejected"
    result: dict[str, Any] = {}
    for name, device in run.devices.items():
        result.setdefault(device.resource, []).append(name)
    numa = {name: device.numa[0] for name, device in run.devices.items() if device.numa}
    unhealthy = [name for name, device in run.devices.items() if device.unhealthy]
    return result | {"numa": numa, "unhealthy": unhealthy, "excluded": run.excluded}


def run_answer(case: Case, root: Path, directory: Path) -> Result:
    """Return what a container that requests these devices gets."""
    run = AmdRun(case, root, directory)
    return answer_of(run.plugin.allocate(run.named(case.request)), str)


def run_facts(case: Case, root: Path, directory: Path) -> Result:
    """Return the attributes of the device in `request`."""
    return dict(AmdRun(case, root, directory).devices[str(case.request)].attributes)


def run_preference(case: Case, root: Path, directory: Path) -> Result:
    """Return the preferred GPUs; with `count`, their number."""
    run = AmdRun(case, root, directory)
    request = case.request
    free = request.get("available") or [name for name in run.devices if name not in request.get("used", ())]
    chosen = run.plugin.prefer(run.named(free), run.named(request.get("required", ())), request["size"])
    names = sorted(_name(device.id) for device in chosen)
    return len(names) if request.get("count") else names
