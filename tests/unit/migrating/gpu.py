"""Run the cases of NVIDIA's plugin with the GPU plugin."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import yaml

from hub import Allocation, ConfigError, Device, Excluded, Host, NeedsRestart, NoDevices, RequestRejected, Runtime
from plugins.gpu.discovery.facts import Ancestor, Topology, Xid
from plugins.gpu.mps import MpsDaemons
from plugins.gpu.plugin import GPU
from plugins.gpu.settings.environment import apply_environment
from plugins.gpu.settings.file import GPUSettings
from plugins.gpu.settings.sharing import Pattern
from plugins.gpu.settings.xids import XidMeaning, XidPolicy
from scripts.migrating import Case
from tests.harness.scanned import scanned
from tests.simulators.nvml import SimulatedNode
from tests.unit.migrating.hardware import DirectDriver

Result = Any
"""What a case may expect; see `scripts.migrating`."""

_PAIR = {
    Ancestor.SYSTEM: 10,
    Ancestor.CPU: 20,
    Ancestor.HOST_BRIDGE: 30,
    Ancestor.MULTIPLE_SWITCHES: 40,
    Ancestor.SINGLE_SWITCH: 50,
    Ancestor.BOARD: 60,
}
"""NVIDIA's score of a pair of GPUs, to which each NVLink adds 100."""


def read_file(case: Case, directory: Path) -> GPUSettings:
    """Return the settings of the case's file."""
    path = directory / "gpu.yaml"
    path.write_text(case.set if isinstance(case.set, str) else yaml.safe_dump(case.set or {}))
    return GPUSettings.read(path)


def run_settings(case: Case, directory: Path) -> Result:
    """Return the values of the keys, as `flags.migStrategy`; or `rejected`."""
    try:
        settings = apply_environment(read_file(case, directory), case.env)
    except ConfigError:
        return "rejected"
    return dict(flatten("", msgspec.to_builtins(settings)))


def flatten(key: str, value: object) -> Iterable[tuple[str, object]]:
    """Yield the values of nested mappings and lists, with keys such as `sharing.mps.resources[0].name`."""
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from flatten(f"{key}.{name}" if key else name, part)
    elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        for number, part in enumerate(value):
            yield from flatten(f"{key}[{number}]", part)
    elif isinstance(value, tuple):
        yield key, list(value)
    else:
        yield key, value


def run_pattern(case: Case, _: Path) -> Result:
    """Return which of some names the pattern in `request` matches."""
    pattern = Pattern(pattern=case.request["pattern"], name="gpu")
    return [name for name in case.request["names"] if pattern.matches(name)]


def run_xids(case: Case, _: Path) -> Result:
    """Return the effect of the XIDs in `request`: ignored or unhealthy."""
    try:
        policy = XidPolicy.of(GPUSettings().dphub.health.xids, case.env)
    except ConfigError:
        return "rejected"
    return {code: "ignored" if policy.meaning(code) is XidMeaning.IGNORE else "unhealthy" for code in case.request}


class _Daemons(MpsDaemons):
    """MPS daemons that are running: a unit test starts none."""

    def _set_wanted(self, wanted: Mapping[str, Any]) -> None:
        self._wanted = wanted

    def _reason(self, _: str) -> str:
        return ""


class GpuRun:
    """The GPU plugin on a simulated node.

    Args:
        case: The settings.
        node: The node.
        directory: For the configuration file.
    """

    def __init__(self, case: Case, node: SimulatedNode, directory: Path) -> None:
        self._node = node
        self.plugin = GPU(read_file(case, directory), Host(node.root), Runtime())
        self.plugin._driver = DirectDriver(node.root)  # type: ignore[assignment]
        daemons = self.plugin._daemons
        self.plugin._daemons = _Daemons(self.plugin.settings, daemons._paths, Runtime(), changed=lambda: None)
        found = scanned(self.plugin)
        self.devices = [each for each in found if isinstance(each, Device)]
        self.excluded = [each for each in found if isinstance(each, Excluded)]
        self.uuids = {
            **{gpu.uuid: str(number) for number, gpu in enumerate(node.gpus)},
            **{mig.uuid: f"{number}:{mig.index}" for number, gpu in enumerate(node.gpus) for mig in gpu.migs},
        }

    def name(self, identifier: str) -> str:
        """Return the name of a device in the cases."""
        uuid, colons, replica = identifier.partition("::")
        return f"{self.uuids[uuid]}{colons}{replica}"

    def named(self, names: Iterable[str]) -> list[Device]:
        """Return the devices with these names."""
        by_name = {self.name(device.id): device for device in self.devices}
        return [by_name[name] for name in names]

    def plain(self, text: str) -> str:
        """Return a string with names instead of UUIDs."""
        for uuid, name in self.uuids.items():
            text = text.replace(uuid, f"UUID({name})")
        return text


def run_devices(case: Case, node: SimulatedNode, directory: Path) -> Result:
    """Return the devices by resource, the unhealthy ones, and how many were left out; or `exits` or `rejected`."""
    try:
        run = GpuRun(case, node, directory)
    except ConfigError:
        return "rejected"
    except NeedsRestart:
        return "exits"
    except NoDevices:
        return {}
    result: dict[str, Any] = {}
    for device in run.devices:
        result.setdefault(device.resource, []).append(run.name(device.id))
    numa = {run.name(device.id): device.numa[0] for device in run.devices if device.numa}
    unhealthy = [run.name(device.id) for device in unhealthy_of(run.devices)]
    return result | {"numa": numa, "unhealthy": unhealthy, "excluded": [each.id for each in run.excluded]}


def run_event(case: Case, node: SimulatedNode, directory: Path) -> Result:
    """Return the devices that are unhealthy after an XID of the device in `request`."""
    run = GpuRun(case, node, directory)
    number, colon, _ = case.request["of"].partition(":")
    gpu = node.gpus[int(number)]
    mig = next(uuid for uuid, name in run.uuids.items() if name == case.request["of"]) if colon else ""
    if run.plugin._xids._policy.listens:
        run.plugin._on_xid(Xid(gpu.uuid, case.request["xid"], mig))
    devices = [each for each in scanned(run.plugin) if isinstance(each, Device)]
    return [run.name(device.id) for device in unhealthy_of(devices)]


def unhealthy_of(devices: Iterable[Device]) -> list[Device]:
    """Return the unhealthy devices; a broken one makes all shares of its physical device unhealthy, as in the hub."""
    devices = list(devices)
    broken = {device.physical for device in devices if device.broken}
    return [device for device in devices if device.unhealthy or device.physical in broken]


def run_cdi(case: Case, node: SimulatedNode, directory: Path) -> Result:
    """Return which of the files in `request` a container gets by the CDI specification."""
    files, beside = case.request["files"], case.request.get("beside", ())
    made = [path for path in (node.root / name.removeprefix("/") for name in (*files, *beside)) if not path.exists()]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    try:
        with_cdi = msgspec.structs.replace(case, set={"flags": {"plugin": {"deviceListStrategy": "cdi-cri"}}})
        GpuRun(with_cdi, node, directory)
        given = {path for file in (node.root / "var/run/cdi").glob("*.json") for path in _given(file)}
    finally:
        for path in made:
            path.unlink()
    return [name for name in files if name in given]


def _given(file: Path) -> Iterable[str]:
    spec = json.loads(file.read_text())
    for edits in (spec.get("containerEdits", {}), *(device["containerEdits"] for device in spec["devices"])):
        yield from (mount["containerPath"] for mount in edits.get("mounts", ()))
        yield from (device["path"] for device in edits.get("deviceNodes", ()))


def run_answer(case: Case, node: SimulatedNode, directory: Path) -> Result:
    """Return what a container that requests these devices gets; or `failed`."""
    run = GpuRun(case, node, directory)
    try:
        devices = run.named(case.request)
        return answer_of(run.plugin.allocate(devices), run.plain)
    except (KeyError, ValueError, RequestRejected):
        return "failed"


def answer_of(allocation: Allocation, plain: Any) -> dict[str, Any]:  # noqa: ANN401 - of the node
    """Return the parts of a response that are not empty, as text."""
    parts = {
        "env": {name: plain(value) for name, value in allocation.env.items()},
        "mounts": [f"{mount.host_path}:{plain(str(mount.container_path))}" for mount in allocation.mounts],
        "devices": [
            str(node.host_path) if node.host_path == node.container_path else f"{node.host_path}:{node.container_path}"
            for node in allocation.nodes
        ],
        "cdi": [plain(name) for name in allocation.cdi],
        "annotations": {_without_uuid(name): plain(value) for name, value in allocation.annotations.items()},
    }
    return {name: value for name, value in parts.items() if value}


def _without_uuid(name: str) -> str:
    prefix, underline, _ = name.rpartition("_")
    return f"{prefix}{underline}ID"


def run_preference(case: Case, node: SimulatedNode, directory: Path) -> Result:
    """Return the GPUs that are preferred in each of several requests, each without those that were given before."""
    return [
        sorted({int(name.partition("::")[0]) for name in chosen})
        for chosen in _preferred(case, GpuRun(case, node, directory))
    ]


def run_shares(case: Case, node: SimulatedNode, directory: Path) -> Result:
    """Return how many shares of each GPU are preferred, the largest number first."""
    return [
        sorted(Counter(name.partition("::")[0].partition(":")[0] for name in chosen).values(), reverse=True)
        for chosen in _preferred(case, GpuRun(case, node, directory))
    ]


def run_gpus_of_shares(case: Case, node: SimulatedNode, directory: Path) -> Result:
    """Return how many shares are preferred by GPU."""
    return [
        dict(Counter(int(name.partition("::")[0].partition(":")[0]) for name in chosen))
        for chosen in _preferred(case, GpuRun(case, node, directory))
    ]


def run_scores(case: Case, node: SimulatedNode, directory: Path) -> Result:
    """Return NVIDIA's score of the GPUs that are preferred in each of several requests."""
    run = GpuRun(case, node, directory)
    topology: Topology = run.plugin._state.topology
    scores = []
    for chosen in _preferred(case, run):
        links = [
            topology.link(node.gpus[int(one)].uuid, node.gpus[int(other)].uuid)
            for one, other in combinations(chosen, 2)
        ]
        scores.append(sum(_PAIR[link.ancestor] + 100 * link.nvlinks for link in links))
    return scores


def _preferred(case: Case, run: GpuRun) -> Sequence[Sequence[str]]:
    request = case.request
    free = request.get("available") or [run.name(device.id) for device in run.devices]
    free = [str(name) for name in free if name not in request.get("used", ())]
    required = [str(name) for name in request.get("required", ())]
    answers = []
    for size in request["sizes"]:
        chosen = [run.name(device.id) for device in run.plugin.prefer(run.named(free), run.named(required), size)]
        free = [name for name in free if name not in chosen]
        answers.append(chosen)
    return answers
