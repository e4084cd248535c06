"""Labels of nodes with AMD's GPUs: those of AMD's node labeller (cmd/k8s-node-labeller in ROCm/k8s-device-plugin)."""

from pathlib import Path

from hub import Host
from hub.base.featurefiles import label_problem
from plugins.amd.discovery.facts import DriverFacts
from plugins.amd.discovery.gpus import read_gpus
from plugins.amd.labels import node_labels
from tests.simulators.amdnodes import apu, mi210, mi300x
from tests.simulators.amdtree import AmdTree
from tests.unit.plugins.amd.amd_node import plugin, result

FACTS = {"cu-count": "104", "device-id": "740f", "family": "AI", "simd-count": "416", "vram": "64G"}
FACTS |= {"product-name": "AMD_Instinct_MI210"}


def _labels(tree: AmdTree) -> dict[str, str]:
    scanning = plugin(tree)
    result(scanning)
    found = dict(scanning.labels([]))
    assert not [name for name, value in found.items() if label_problem(name, value)]
    return found


def _without_driver(labels: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if ".driver-" not in name}


def test_one_model(tmp_path: Path) -> None:
    """Each fact has its value, in the older domain also the number of GPUs; cards without modes have no mode label."""
    expected = {f"amd.com/gpu.{name}": value for name, value in FACTS.items()}
    expected |= {f"beta.{name}": value for name, value in expected.items()}
    expected |= {f"beta.amd.com/gpu.{name}.{value}": "8" for name, value in FACTS.items()}
    expected |= {f"amd.com/gpu.{kind}-partitioning-supported": "false" for kind in ("compute", "memory")}
    assert _without_driver(_labels(mi210(tmp_path))) == expected


def test_several_models(tmp_path: Path) -> None:
    """A fact that differs has the number of GPUs with each value, and no value of its own."""
    tree = AmdTree(tmp_path)
    tree.add("0000:05:00.0", compute="", memory="")
    tree.add("0000:26:00.0", compute="", memory="")
    tree.add("0000:46:00.0", compute="", memory="", vram=64 << 30)
    found = _labels(tree)
    vram = {name: value for name, value in found.items() if ".vram" in name}
    numbers = {"amd.com/gpu.vram.192G": "2", "amd.com/gpu.vram.64G": "1"}
    assert vram == numbers | {f"beta.{name}": value for name, value in numbers.items()}
    assert found["amd.com/gpu.device-id"] == "74a1"


def test_partitions(tmp_path: Path) -> None:
    """Each partition is a GPU; the mode is a label if all cards have the same one."""
    found = _labels(mi300x(tmp_path / "same", "CPX_NPS4"))
    assert found["amd.com/gpu.compute-memory-partition"] == "cpx_nps4"
    assert found["beta.amd.com/gpu.family.AI"] == "64"
    assert found["amd.com/gpu.compute-partitioning-supported"] == "true"
    mixed = _labels(mi300x(tmp_path / "mixed", "CPX_NPS4", "SPX_NPS1"))
    assert "amd.com/gpu.compute-memory-partition" not in mixed


def test_what_is_unknown_has_no_label(tmp_path: Path) -> None:
    """This applies, for example, to the name of a GPU that the driver does not know."""
    assert not [name for name in _labels(apu(tmp_path)) if "product-name" in name]


def test_no_gpu() -> None:
    """There are no labels."""
    assert node_labels([], DriverFacts("6.10.5", "ABC")) == {}


def test_versions_of_the_driver(tmp_path: Path) -> None:
    """They are those that its module shows."""
    gpus = read_gpus(Host(mi210(tmp_path).root)).gpus
    found = node_labels(gpus, DriverFacts("6.10.5", "ABC"))
    assert found["amd.com/gpu.driver-version"] == "6.10.5"
    assert found["amd.com/gpu.driver-src-version"] == "ABC"
