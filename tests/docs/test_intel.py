"""What the page on Intel GPUs says is correct."""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from plugins.intel.resources import declared
from plugins.intel.settings import AllocationPolicy, IntelSettings, MonitoringMode
from tests.docs.pages import Page
from tests.simulators.inteltree import IntelTree, four_vfs, two_flex
from tests.unit.plugins.intel.intel_scan import scan
from tests.unit.plugins.intel.test_gpus import for_machines, surviving, unbound, without_drm, without_files

INTEL = Page("docs/intel.md")

FLAGS = {
    *("enable-monitoring", "monitoring-mode", "health-management", "xpumd-endpoint", "wsl", "shared-dev-num", "prefix"),
    *("allow-ids", "deny-ids", "allocation-policy", "bypath", "temp-limit", "gpu-temp-limit", "memory-temp-limit", "v"),
}
"""The flags of Intel's plugin."""


SPEC = {
    *("sharedDevNum", "preferredAllocationPolicy", "enableMonitoring", "monitoringMode", "bypathMode", "allowIDs"),
    *("denyIDs", "logLevel", "nodeSelector", "tolerations", "image", "initImage"),
}
"""The settings of the operator's GpuDevicePlugin."""


def changed(change: Callable[[IntelTree], None]) -> Callable[[Path], IntelTree]:
    """Return a function that creates a node with two GPUs and applies a change to it."""

    def make(root: Path) -> IntelTree:
        tree = two_flex(root)
        change(tree)
        return tree

    return make


def test_the_example_is_right(tmp_path: Path) -> None:
    """The example passes the check."""
    (example,) = [block.text for block in INTEL.blocks if "shared-dev-num" in block.text]
    (tmp_path / "intel.yaml").write_text(example)
    assert IntelSettings.read(tmp_path / "intel.yaml").denied == ["0x9a49"]


def test_every_key_is_documented() -> None:
    """Each key is documented with its default."""
    documented = {}
    for keys, default, _ in INTEL.table("key"):
        documented |= dict.fromkeys(re.findall("`([^`]+)`", keys), default.strip("`"))
    defaults = msgspec.to_builtins(IntelSettings())
    assert documented == {
        key: value if isinstance(value, str) else msgspec.json.encode(value).decode() for key, value in defaults.items()
    }


def test_every_flag_has_its_row() -> None:
    """Each flag has a row, which says so if a key has the same name."""
    rows = {flag: cells[1] for cells in INTEL.table("Intel's plugin") for flag in re.findall("`-([a-z-]+)`", cells[0])}
    assert rows.keys() == FLAGS
    keys = msgspec.to_builtins(IntelSettings()).keys()
    assert {flag for flag, here in rows.items() if here.startswith("the key")} == FLAGS & keys


def test_policies_and_resources_are_those_of_the_code() -> None:
    """The page has each policy in a row, and each resource by its full name."""
    assert [row[0].strip("`") for row in INTEL.table("`allocation-policy`")] == list(AllocationPolicy)
    for mode in MonitoringMode:
        for resource in declared(IntelSettings(enable_monitoring=True, monitoring_mode=mode)):
            assert f"`{resource}`" in INTEL.text


def test_the_settings_of_the_operator_are_keys() -> None:
    """Each setting is a key here, or does not apply to the plugin itself."""
    rows = {
        name: cells[1].strip("`") for cells in INTEL.table("in `spec`") for name in re.findall("`([^`]+)`", cells[0])
    }
    assert rows.keys() == SPEC
    keys = msgspec.to_builtins(IntelSettings()).keys()
    others = {"dphub log-level", "those of the DaemonSet"}
    assert {here for here in rows.values() if here not in keys} == others


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (four_vfs, {}),
        (two_flex, {"allow_ids": "0x1234"}),
        (two_flex, {"deny_ids": "0x56c0"}),
        (two_flex, {"exclude": ["0000:4d:00.0"]}),
        *((changed(change), {}) for change in (unbound, for_machines, without_drm, without_files, surviving)),
    ],
)
def test_reasons_are_documented(tmp_path: Path, make: Callable[[Path], IntelTree], settings: dict[str, object]) -> None:
    """The table has each reason why a GPU is not served."""
    _, excluded = scan(make(tmp_path), **settings)
    documented = [row[0] for row in INTEL.table("reason")]
    assert excluded
    for reason in excluded.values():
        assert any(text.partition(",")[0] in reason for text in documented), reason
