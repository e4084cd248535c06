"""These plugins do what the other plugins do in each case; each difference is listed, and has a reason."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from scripts.migrating import NOT_YET, Case, load_cases
from tests.simulators.nvml import SimulatedNode
from tests.simulators.nvml.library import simulated_library
from tests.unit.migrating import amd, generic, gpu, intel, rdma
from tests.unit.migrating.generic import build_generic_node
from tests.unit.migrating.hardware import build_gpu_node, build_intel_node, build_rdma_node

LOADED = load_cases()

ON_A_GPU_NODE: dict[str, Callable[..., Any]] = {
    "gpu-devices": gpu.run_devices,
    "gpu-event": gpu.run_event,
    "gpu-answer": gpu.run_answer,
    "gpu-cdi": gpu.run_cdi,
    "gpu-preference": gpu.run_preference,
    "gpu-shares": gpu.run_shares,
    "gpu-shares-by-gpu": gpu.run_gpus_of_shares,
    "gpu-scores": gpu.run_scores,
}
ON_A_TREE: dict[str, Callable[..., Any]] = {
    "rdma-devices": rdma.run_devices,
    "rdma-members": rdma.run_members,
    "rdma-answer": rdma.run_answer,
    "amd-devices": amd.run_devices,
    "amd-answer": amd.run_answer,
    "amd-facts": amd.run_facts,
    "amd-preference": amd.run_preference,
    "intel-devices": intel.run_devices,
    "intel-answer": intel.run_answer,
    "intel-health": intel.run_health,
    "intel-preference": intel.run_preference,
    "generic-devices": generic.run_devices,
    "generic-ids": generic.run_ids,
    "generic-answer": generic.run_answer,
}
TREES: dict[str, tuple[Callable[..., Any], Mapping[str, Any]]] = {
    "rdma": (build_rdma_node, LOADED.hardware.rdma),
    "amd": (amd.build_amd_node, LOADED.hardware.amd),
    "intel": (build_intel_node, LOADED.hardware.intel),
    "generic": (build_generic_node, LOADED.hardware.generic),
}
"""How the nodes of these kinds of cases are built, and from what."""
WITHOUT_NODE: dict[str, Callable[..., Any]] = {
    "gpu-settings": gpu.run_settings,
    "gpu-pattern": gpu.run_pattern,
    "gpu-xids": gpu.run_xids,
    "rdma-settings": rdma.run_settings,
    "amd-settings": amd.run_settings,
    "intel-settings": intel.run_settings,
}


class LocatedCase(NamedTuple):
    """A case and its location."""

    file: str
    kind: str
    case: Case
    hardware: str

    def __str__(self) -> str:
        return f"{self.file}: {self.case.case}"


ALL = [
    LocatedCase(file, group.kind, case, case.hardware or group.hardware)
    for file, peer in LOADED.peers.items()
    for group in peer.groups
    for case in group.cases
]


class Nodes:
    """The GPU nodes of all cases, each built once: cases only read them.

    Args:
        directory: For their files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._nodes: dict[str, SimulatedNode] = {}

    def get(self, name: str) -> SimulatedNode:
        """Return the node with this name in hardware.yaml."""
        if name not in self._nodes:
            root = self._directory / str(len(self._nodes))
            root.mkdir()
            self._nodes[name] = build_gpu_node(root, LOADED.hardware.gpu[name])
        return self._nodes[name]


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Nodes:
    """Create the GPU nodes."""
    return Nodes(tmp_path_factory.mktemp("nodes"))


@pytest.fixture(scope="session", autouse=True)
def compiled_library() -> None:
    """Compile the simulated driver before the first test; the tests themselves start no process."""
    simulated_library()


@pytest.mark.parametrize("located", ALL, ids=str)
def test_a_case(located: LocatedCase, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result matches the other plugin's, or differs from it as the case says."""
    case = located.case
    for name, value in case.env.items():
        monkeypatch.setenv(name, value)
    if run := WITHOUT_NODE.get(located.kind):
        result = run(case, tmp_path)
    elif run := ON_A_TREE.get(located.kind):
        root = tmp_path / "root"
        root.mkdir()
        build, nodes_of_this_kind = TREES[located.kind.partition("-")[0]]
        result = run(case, build(root, nodes_of_this_kind[located.hardware]), tmp_path)
    else:
        node = nodes.get(located.hardware)
        monkeypatch.setenv("NVML_SIMULATOR", node.environment["NVML_SIMULATOR"])
        result = ON_A_GPU_NODE[located.kind](case, node, tmp_path)
    whole = not located.kind.endswith("-settings")
    theirs, got = agrees(case.theirs, result, whole=whole)
    if not case.because:
        assert theirs, f"expected {case.theirs}, got {got}"
        return
    where = "its line in not_yet.yaml" if case.because == NOT_YET else "`ours` and `because`"
    assert not theirs, f"the result is now that of the other plugin: remove {where}"
    ours, got = agrees(case.ours, result, whole=whole)
    assert ours, f"expected {case.ours}, got {got}"


def agrees(expected: Any, result: Any, *, whole: bool) -> tuple[bool, Any]:  # noqa: ANN401 - see `Case`
    """Return whether a result is what a case expects, and the part of the result that the case is about.

    A number stands for a list of that length.

    Args:
        expected: What the case expects.
        result: The result of the plugin here.
        whole: Whether the case names all resources, or everything that a container gets; otherwise, it names some keys.
    """
    if expected == "accepted":
        return isinstance(result, dict), result
    if not isinstance(expected, dict) or not isinstance(result, dict):
        return expected == result, result
    part = {
        key: len(value) if isinstance(expected.get(key), int) and isinstance(value, list) else value
        for key, value in result.items()
        if key in expected or (whole and _is_counted(key))
    }
    return expected == part, part


def _is_counted(key: object) -> bool:
    """Return whether a case must list this part of a result: a resource, or a part of what a container gets."""
    return "/" in str(key) or key in {"env", "mounts", "devices", "cdi", "annotations", "devinfo"}


def test_there_are_enough_cases() -> None:
    """There are at least 400, and some of each plugin that has users here."""
    assert len(ALL) >= 400
    assert {peer.peer for peer in LOADED.peers.values()} == {
        "NVIDIA k8s-device-plugin",
        "Mellanox k8s-rdma-shared-dev-plugin",
        "SR-IOV network device plugin",
        "ROCm k8s-device-plugin",
        "Intel GPU device plugin",
        "generic-device-plugin",
        "smarter-device-manager",
    }


def test_every_case_has_a_name_of_its_own() -> None:
    """The name is unique in its file, so that a failure and a temporary difference name one case."""
    assert [name for name, count in Counter((each.file, each.case.case) for each in ALL).items() if count > 1] == []


def test_every_difference_has_a_reason() -> None:
    """It has a result and a reason; for a temporary one, the case exists."""
    for each in ALL:
        assert (each.case.ours is None) == (not each.case.because), str(each)
    listed = {(file, case) for file, cases in LOADED.not_yet.items() for case in cases}
    assert listed == {(each.file, each.case.case) for each in ALL if each.case.because == NOT_YET}


def test_all_hardware_is_used() -> None:
    """Each node is used in a case."""
    hardware = LOADED.hardware
    assert {*hardware.gpu, *hardware.rdma, *hardware.amd, *hardware.intel, *hardware.generic} - {
        each.hardware for each in ALL
    } == set()
