"""The effect of XIDs, by the settings and by NVIDIA's variables."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from plugins.gpu.settings.file import HealthSettings, XidTable
from plugins.gpu.settings.xids import FATAL, IGNORED, OTHERS, XidPolicy, describe
from tests.unit.plugins.gpu.gpu_settings import F, I, R, notes_of


@pytest.mark.parametrize(
    ("table", "environment", "meanings"),
    [
        ({}, {}, {13: I, 31: I, 43: I, 45: I, 68: I, 109: I, 79: F, 48: F, 94: R, 999: R}),
        ({"ignore": [94, 48], "recover": [79], "fatal": [13, 999]}, {}, {94: I, 48: I, 79: R, 13: F, 999: F}),
        ({}, {"DP_DISABLE_HEALTHCHECKS": "all"}, {13: I, 79: I, 94: I}),
        ({}, {"DP_DISABLE_HEALTHCHECKS": "XIDS"}, {13: I, 79: I, 94: I}),
        ({}, {"DP_DISABLE_HEALTHCHECKS": "79, 94"}, {13: I, 79: I, 94: I, 48: F, 92: R}),
        ({}, {"DP_ENABLE_HEALTHCHECKS": "13,48"}, {13: R, 48: F, 31: I}),
        ({"ignore": [79]}, {"DP_ENABLE_HEALTHCHECKS": "79"}, {79: F}),
        ({}, {"DP_DISABLE_HEALTHCHECKS": "all", "DP_ENABLE_HEALTHCHECKS": "79,94"}, {79: F, 94: R, 48: I}),
        ({}, {"DP_DISABLE_HEALTHCHECKS": "all", "DP_ENABLE_HEALTHCHECKS": "all"}, {79: F, 94: R, 13: R}),
        ({"recover": [79]}, {"DP_DISABLE_HEALTHCHECKS": "48", "DP_ENABLE_HEALTHCHECKS": "all"}, {79: R, 48: F, 31: R}),
        ({}, {"DP_DISABLE_HEALTHCHECKS": "79, twelve, 0x1F, -3"}, {79: I, 94: R}),
    ],
)
def test_what_xids_mean(table: dict[str, list[int]], environment: dict[str, str], meanings: dict[int, Any]) -> None:
    """NVIDIA's defaults, the settings' table and the two variables apply; the variable that enables has precedence."""
    policy = XidPolicy.of(msgspec.convert(table, XidTable), environment)
    assert {code: policy.meaning(code) for code in meanings} == meanings


@pytest.mark.parametrize(
    ("environment", "listens", "probes"),
    [
        ({}, True, True),
        ({"DP_DISABLE_HEALTHCHECKS": "xids"}, False, True),
        ({"DP_DISABLE_HEALTHCHECKS": "all"}, False, False),
        ({"DP_DISABLE_HEALTHCHECKS": "all", "DP_ENABLE_HEALTHCHECKS": "79"}, True, True),
    ],
)
def test_health_checks_that_are_off(environment: dict[str, str], *, listens: bool, probes: bool) -> None:
    """`xids` switches off the XIDs, and `all` also the findings of probes."""
    policy = XidPolicy.of(HealthSettings().xids, environment)
    assert (policy.listens, policy.probes) == (listens, probes)


@pytest.mark.parametrize("value", ["79;94", "²", "1" * 5000], ids=["words", "other digits", "many digits"])
def test_a_health_check_variable_with_a_bad_value(tmp_path: Path, value: str) -> None:
    """It is ignored, as in NVIDIA's plugin, and a note names it."""
    (note,) = notes_of(tmp_path, "version: v1", DP_DISABLE_HEALTHCHECKS=f"{value},94")
    assert note == (
        f'DP_DISABLE_HEALTHCHECKS: "{value}" is ignored, expected "all", "xids" or a list of XIDs such as "13,31"'
    )


def test_xids_have_descriptions() -> None:
    """Known ones have a description, each in one table; others refer to NVIDIA's catalogue."""
    assert not IGNORED.keys() & FATAL.keys() | FATAL.keys() & OTHERS.keys() | IGNORED.keys() & OTHERS.keys()
    assert describe(79) == "the GPU has fallen off the bus"
    assert "catalogue" in describe(4711)
