"""Which resource a GPU belongs to."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from hub import ConfigError
from plugins.amd.settings import AMDSettings, apply_environment
from tests.simulators.amdnodes import mi210
from tests.simulators.amdtree import AmdTree
from tests.unit.plugins.amd.amd_node import plugin, result, scan

FIRST, SECOND, THIRD = "0000:05:00.0", "0000:26:00.0", "0000:46:00.0"


def _three(root: Path) -> AmdTree:
    tree = AmdTree(root)
    tree.add(FIRST, compute="DPX")
    tree.add(SECOND)
    tree.add(THIRD)
    return tree


def test_a_mixed_node_is_explained(tmp_path: Path) -> None:
    """With the `single` strategy, the reason says which modes there are, and what to do."""
    excluded = scan(_three(tmp_path)).excluded
    assert excluded[f"{FIRST}-1"] == (
        "its card is in mode dpx_nps1, and with resource_naming_strategy single all cards must be in one mode; this "
        "node has dpx_nps1 (1), spx_nps1 (2): set it to mixed, or change the mode of the card"
    )


def test_cards_without_modes_are_no_reason_to_exclude_others(tmp_path: Path) -> None:
    """They do not count, as in ROCm's plugin, which compares only cards that can be partitioned."""
    tree = _three(tmp_path)
    tree.partition(FIRST, "SPX", "NPS1")
    tree.add("0000:c1:00.0", compute="", memory="")
    assert scan(tree).counts == {"amd.com/gpu": 4}
    mixed = scan(tree, resource_naming_strategy="mixed").counts
    assert mixed == {"amd.com/spx_nps1": 3, "amd.com/gpu": 1}


def test_the_resources_without_a_gpu(tmp_path: Path) -> None:
    """With the `single` strategy, amd.com/gpu is served with no devices; resources of modes appear with the modes."""
    tree = AmdTree(tmp_path)
    assert list(plugin(tree).resources()) == ["amd.com/gpu"]
    named = [{"name": "example.com/big", "select": {"min_vram": 100}}]
    assert list(plugin(tree, resources=named, resource_naming_strategy="mixed").resources()) == ["example.com/big"]


def test_a_resource_for_a_model(tmp_path: Path) -> None:
    """Any strategy allows one; the first that selects a GPU gets it, and does not make the node a mixed one."""
    tree = _three(tmp_path)
    named = [
        {"name": "amd.com/mi300x-half", "select": {"products": ["AMD_Instinct_MI300X*"], "modes": ["dpx_nps1"]}},
        {"name": "example.com/third", "select": {"pci_addresses": [THIRD]}, "shares": 2},
    ]
    found = scan(tree, resources=named)
    assert found.counts == {"amd.com/mi300x-half": 2, "amd.com/gpu": 1, "example.com/third": 2}
    assert [name for name in found.devices if name.startswith(THIRD)] == [f"{THIRD}::0", f"{THIRD}::1"]
    assert "amdgpu_xcp" in found.excluded
    assert len(found.excluded) == 1


def test_shares(tmp_path: Path) -> None:
    """Several containers can share one GPU; each share has all its files."""
    tree = AmdTree(tmp_path)
    tree.add(FIRST, compute="DPX")
    found = scan(tree, shares=3)
    assert list(found.devices) == [f"{FIRST}-{k}::{n}" for k in range(2) for n in range(3)]
    assert {device.physical for device in found.devices.values()} == {f"{FIRST}-0", f"{FIRST}-1"}
    assert found.devices[f"{FIRST}-1::2"].attributes["shared"] == "3 shares"


@pytest.mark.parametrize(
    ("selector", "excluded"),
    [
        ({"device_ids": ["0x74A1"]}, [FIRST, SECOND]),
        ({"device_ids": ["740f"]}, [THIRD]),
        ({"products": ["*MI210", "nothing"]}, [THIRD]),
        ({"pci_addresses": [SECOND], "device_ids": ["74a1"]}, [SECOND]),
        ({"modes": ["SPX_NPS1"]}, [FIRST, SECOND]),
        ({"min_vram": 100}, [FIRST, SECOND]),
        ({"max_vram": 64}, [THIRD]),
        ({"max_vram": 64, "device_ids": ["74a1"]}, []),
    ],
)
def test_selectors(tmp_path: Path, selector: dict[str, Any], excluded: list[str]) -> None:
    """One entry of each list has to match, and all keys have to; an entry that matches nothing is reported."""
    tree = AmdTree(tmp_path)
    tree.add(FIRST)
    tree.add(SECOND)
    tree.add(THIRD, compute="", memory="", device="740f", product="AMD Instinct MI210", vram=64 * 2**30)
    found = scan(tree, exclude=[selector])
    assert [name for name in found.excluded if name.startswith("0000:")] == excluded
    kinds = "it has 2 of AMD_Instinct_MI300X_OAM, device id 74a1, spx_nps1, 192 GiB; 1 of AMD_Instinct_MI210, "
    if not excluded:
        assert found.unmatched == [f"exclude[0] matches no GPU of this node; {kinds}device id 740f, 64 GiB"]


def test_a_number_of_cards(tmp_path: Path) -> None:
    """The first ones by PCI address are served, each with all its partitions."""
    tree = _three(tmp_path)
    found = scan(tree, resource_naming_strategy="mixed", gpu={"device_count": 2})
    assert found.counts == {"amd.com/dpx_nps1": 2, "amd.com/spx_nps1": 1}
    assert found.excluded[THIRD] == "gpu.device_count is 2, and other cards come first"


def test_the_variable_of_rocm() -> None:
    """It overrides the file; a value that is not a number is an error."""
    settings = msgspec.convert({"gpu": {"device_count": 2}}, AMDSettings)
    assert apply_environment(settings, {}).gpu.device_count == 2
    assert apply_environment(settings, {"AMD_GPU_DEVICE_COUNT": "1"}).gpu.device_count == 1
    with pytest.raises(ConfigError, match="is 'all', expected a number of GPUs"):
        apply_environment(settings, {"AMD_GPU_DEVICE_COUNT": "all"})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"exclude": [{}]}, r"exclude\[0\] has no keys, so it would select every GPU"),
        (
            {"resources": [{"name": "amd.com/x", "select": {}}]},
            r"resources\[0\].select has no keys, so it would select every GPU",
        ),
        ({"resources": [{"name": "gpu", "select": {"modes": ["x"]}}]}, "matching regex"),
        ({"resource_naming_strategy": "double"}, "Invalid enum value 'double'"),
        ({"shares": 0}, "Expected `int` >= 1"),
        ({"pulse": -1}, "Expected `int` >= 0"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], problem: str) -> None:
    """The error says what is wrong."""
    with pytest.raises(msgspec.ValidationError, match=problem):
        msgspec.convert(settings, AMDSettings)


def test_the_documented_file(tmp_path: Path) -> None:
    """The example of a configuration file in ROCm's documentation is valid."""
    (tmp_path / "config.yaml").write_text("gpu:\n  device_count: 2\n")
    assert AMDSettings.read(tmp_path / "config.yaml").gpu.device_count == 2


def test_pulse(tmp_path: Path) -> None:
    """It is the time between scans; 0 keeps the plugin's own interval."""
    tree = mi210(tmp_path)
    assert (plugin(tree, pulse=2).scan_interval, plugin(tree, pulse=0).scan_interval) == (2, 60)
    assert result(plugin(tree, pulse=2)).counts == {"amd.com/gpu": 8}
