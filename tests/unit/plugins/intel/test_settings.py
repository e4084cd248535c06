"""The configuration file: Intel's flags under their own names."""

from pathlib import Path

import pytest

from hub import ConfigError, Unmatched
from plugins.intel.settings import AllocationPolicy, ByPath, IntelSettings, MonitoringMode
from tests.simulators.inteltree import IntelTree, battlemage, integrated
from tests.unit.plugins.intel.intel_scan import plugin_of

FLAGS = """\
shared-dev-num: 30
allocation-policy: balanced
enable-monitoring: true
monitoring-mode: split
bypath: all
allow-ids: 0x56a6,0x56a5
health-management: true
temp-limit: 95
gpu-temp-limit: 90
memory-temp-limit: 85
"""


def _read(tmp_path: Path, text: str, name: str = "intel.yaml") -> IntelSettings:
    (tmp_path / name).write_text(text)
    return IntelSettings.read(tmp_path / name)


def test_the_flags_are_keys(tmp_path: Path) -> None:
    """They have the same names and values."""
    settings = _read(tmp_path, FLAGS)
    assert (settings.shared_dev_num, settings.allocation_policy) == (30, AllocationPolicy.BALANCED)
    assert (settings.enable_monitoring, settings.monitoring_mode) == (True, MonitoringMode.SPLIT)
    assert (settings.bypath, settings.allowed, settings.denied) == (ByPath.ALL, ["0x56a6", "0x56a5"], [])
    assert (settings.temp_limit, settings.gpu_temp_limit, settings.memory_temp_limit) == (95, 90, 85)


def test_the_defaults_are_those_of_the_flags(tmp_path: Path) -> None:
    """An empty object is a complete file."""
    settings = _read(tmp_path, "{}", "intel.json")
    assert settings == IntelSettings()
    assert (settings.shared_dev_num, settings.allocation_policy) == (1, AllocationPolicy.NONE)
    assert (settings.enable_monitoring, settings.monitoring_mode) == (False, MonitoringMode.SINGLE)
    assert (settings.bypath, settings.temp_limit, settings.health_management) == (ByPath.SINGLE, 100, False)


@pytest.mark.parametrize("text", ["0x56c0,0x56c1", "'0x56C0, 0x56C1'", '["0x56c0", "0x56c1"]'])
def test_device_ids(tmp_path: Path, text: str) -> None:
    """They can be given as in the flag, or as a list."""
    assert _read(tmp_path, f"deny-ids: {text}").denied == ["0x56c0", "0x56c1"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("shared-dev-num: 0", "shared-dev-num: expected a whole number that is at least 1"),
        ("shared_dev_num: 2", "did you mean shared-dev-num?"),
        ("allocation-policy: spread", "expected one of none, balanced, packed"),
        ("monitoring-mode: both", "expected one of single, split"),
        ("bypath: links", "expected one of single, none, all"),
        ("allow-ids: '0x1234'\ndeny-ids: '0x5678'", "allow-ids and deny-ids are both set, expected one of them"),
        ("allow-ids: 0x56c0", "allow-ids: 22208 is a number, expected four hexadecimal digits as text"),
        ("deny-ids: [0x56c0]", "deny-ids: 22208 is a number"),
        ("deny-ids: ['56c0']", 'deny-ids: "56c0" is not a device id, expected'),
        ("allow-ids: 0x56c0,", 'allow-ids: "" is not a device id'),
        ("exclude: ['00:02.0']", "exclude[0]: expected a PCI address such as"),
        ("render-env: RENDER NODES", "render-env: expected the name of a variable"),
        ("temp-limit: 0", "temp-limit: expected a whole number that is at least 1"),
        ("xpumd-endpoint: xpumd.sock", "xpumd-endpoint: expected an absolute path"),
        ("xpumd-severity: bad", "expected one of warning, critical, failed"),
        (
            "xpumd-endpoint: /x\nhealth-management: true",
            "health-management and xpumd-endpoint are both set, expected one of them",
        ),
        ("xpumd-endpoint: /x\nmemory-temp-limit: 90", "memory-temp-limit is set together with xpumd-endpoint"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, problem: str) -> None:
    """The message gives the location of the mistake, and what was expected."""
    with pytest.raises(ConfigError) as raised:
        _read(tmp_path, text)
    assert problem in str(raised.value)


def _said(tree: IntelTree, **settings: object) -> tuple[list[str], list[str]]:
    """Return the notes, and which settings match nothing."""
    plugin = plugin_of(tree, **settings)
    unmatched = [each.reason for each in plugin.devices() if isinstance(each, Unmatched)]
    return list(plugin.notes), unmatched


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ({"allocation_policy": "packed"}, "allocation-policy has no effect: shared-dev-num is 1"),
        ({"monitoring_mode": "split"}, "monitoring-mode has no effect: enable-monitoring is false"),
        ({"gpu_temp_limit": 90}, "gpu-temp-limit has no effect: health-management is false"),
        ({"xpumd_severity": "failed"}, "xpumd-severity has no effect: xpumd-endpoint is not set"),
        (
            {"health_management": True},
            "health-management: the kernel does not report a temperature for 0000:00:02.0, 0000:03:00.0",
        ),
    ],
)
def test_settings_without_effect(tmp_path: Path, settings: dict[str, object], note: str) -> None:
    """A note says why, for administrators."""
    assert _said(battlemage(tmp_path), **settings) == ([note], [])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"allow_ids": "0x1234"}, "allow-ids matches no GPU of this node: their device ids are 0x9a49, 0xe20b"),
        ({"deny_ids": "0x1234"}, "deny-ids matches no GPU of this node: their device ids are 0x9a49, 0xe20b"),
        ({"exclude": ["0000:04:00.0"]}, "exclude: this node has no Intel GPU at 0000:04:00.0"),
    ],
)
def test_settings_that_match_nothing(tmp_path: Path, settings: dict[str, object], reason: str) -> None:
    """Administrators see them, with the existing ids."""
    assert _said(battlemage(tmp_path), **settings) == ([], [reason])


def test_settings_with_an_effect(tmp_path: Path) -> None:
    """There are no notes about them."""
    settings = {"shared_dev_num": 2, "allocation_policy": "packed", "deny_ids": "0x9a49", "exclude": ["0000:00:02.0"]}
    assert _said(battlemage(tmp_path), **settings) == ([], [])
    assert _said(integrated(tmp_path / "other")) == ([], [])
