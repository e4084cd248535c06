"""What the page on Intel GPUs says is so."""

import re
from pathlib import Path

import msgspec

from plugins.intel.resources import declared
from plugins.intel.settings import AllocationPolicy, IntelSettings, MonitoringMode
from tests.docs.pages import Page

INTEL = Page("docs/intel.md")

FLAGS = {
    *("enable-monitoring", "monitoring-mode", "health-management", "xpumd-endpoint", "wsl", "shared-dev-num", "prefix"),
    *("allow-ids", "deny-ids", "allocation-policy", "bypath", "temp-limit", "gpu-temp-limit", "memory-temp-limit", "v"),
}
"""The flags of Intel's plugin."""


def test_the_example_is_right(tmp_path: Path) -> None:
    """It passes the check."""
    (example,) = [block.text for block in INTEL.blocks if "shared-dev-num" in block.text]
    (tmp_path / "intel.yaml").write_text(example)
    assert IntelSettings.read(tmp_path / "intel.yaml").denied == ["0x9a49"]


def test_every_key_is_documented() -> None:
    """With its default."""
    documented = {}
    for keys, default, _ in INTEL.table("key"):
        documented |= dict.fromkeys(re.findall("`([^`]+)`", keys), default.strip("`"))
    defaults = msgspec.to_builtins(IntelSettings())
    assert documented == {
        key: value if isinstance(value, str) else msgspec.json.encode(value).decode() for key, value in defaults.items()
    }


def test_every_flag_has_its_row() -> None:
    """Those with a key of the same name say so."""
    rows = {flag: cells[1] for cells in INTEL.table("theirs") for flag in re.findall("`-([a-z-]+)`", cells[0])}
    assert rows.keys() == FLAGS
    keys = msgspec.to_builtins(IntelSettings()).keys()
    assert {flag for flag, here in rows.items() if here.startswith("the key")} == FLAGS & keys


def test_policies_and_resources_are_those_of_the_code() -> None:
    """Each policy in its row, each resource by its full name."""
    assert [row[0].strip("`") for row in INTEL.table("`allocation-policy`")] == list(AllocationPolicy)
    for mode in MonitoringMode:
        for resource in declared(IntelSettings(enable_monitoring=True, monitoring_mode=mode)):
            assert f"`{resource}`" in INTEL.text
