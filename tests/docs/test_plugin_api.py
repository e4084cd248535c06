"""The tables of the tutorial, which describe the plugin API."""

import inspect
import re

import msgspec
import pytest

import hub
import hub.reset
from hub import Device, Host, Plugin
from hub.api.plugin import MAX_RESET_TIMEOUT
from hub.base.exits import Exit
from hub.plugin.devices.validation import ID_CHARACTERS
from hub.plugin.metrics.plugin import SAMPLES
from hub.reset.messages import ResetLimits
from tests.docs.pages import TUTORIAL


def _documented(head: str, shown: str = "`([^`]+)`") -> list[str]:
    found = [re.match(shown, cells[0]) for cells in TUTORIAL.table(head)]
    return [match[1] for match in found if match]


def _field_tables(kind: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind)]


def _section(heading: str) -> list[str]:
    """Return the first column of the table below a heading."""
    after = TUTORIAL.text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", after, re.MULTILINE)


def test_every_field_of_a_device_is_documented() -> None:
    """The tables have all fields of a device and of what a reset gets, and no others."""
    assert _section("A device") == _field_tables(Device)
    assert _section("What a reset gets") == _field_tables(hub.ResetDevice)


def test_every_attribute_of_a_plugin_is_documented() -> None:
    """Each attribute is documented with its default, in the same order as in the code."""
    rows = {cells[0].strip("`"): cells[1].strip("`") for cells in TUTORIAL.table("attribute")}
    assert list(rows) == list(Plugin.__annotations__)
    plugin = Plugin()
    assert rows == {name: _shown(getattr(plugin, name)) for name in rows}


@pytest.mark.parametrize("kind", [hub.RecoveryPolicy, hub.ResetRetryPolicy])
def test_every_field_of_a_policy_is_documented(kind: type[msgspec.Struct]) -> None:
    """Each field is documented with its default."""
    rows = [[cell.strip("`") for cell in cells[:2]] for cells in TUTORIAL.table(f"`hub.{kind.__name__}` field")]
    assert rows == [[name, _shown(getattr(kind(), name))] for name in _field_tables(kind)]


def _shown(value: object) -> str:
    match value:
        case str():
            return f'"{value}"'
        case bool():
            return str(value)
        case float() | int():
            return f"{value:g}"
        case Host():
            return f'Host("{value.root}")'
        case None:
            return "None"
    return f"{type(value).__name__}()"


def test_every_method_of_a_plugin_is_documented() -> None:
    """Each method is documented with its arguments."""
    methods = {name: method for name, method in vars(Plugin).items() if inspect.isfunction(method) and name[0] != "_"}
    expected = {f"{name}({', '.join(list(inspect.signature(m).parameters)[1:])})" for name, m in methods.items()}
    assert set(_documented("method")) == expected


@pytest.mark.parametrize(
    "kind",
    [hub.DeviceNode, hub.Mount, hub.Excluded, hub.Unmatched, hub.Allocation, hub.Metric, hub.Sample],
    ids=lambda kind: kind.__name__,
)
def test_small_types_are_documented(kind: type[msgspec.Struct]) -> None:
    """Each small type is documented with its fields, in their order."""
    assert f"`hub.{kind.__name__}({', '.join(_field_tables(kind))})`" in TUTORIAL.words


def test_every_public_name_is_documented() -> None:
    """The page has all names that can be imported from `hub`, and `hub` has all names that the page imports from it."""
    public = set(hub.__all__) - {"__version__"}
    assert {name for name in public if not re.search(rf"\b{name}\b", TUTORIAL.text)} == set()
    named = set(re.findall(r"`hub\.([A-Z]\w+)", TUTORIAL.text)) | set(_imported("hub"))
    assert named <= public


def _imported(module: str) -> list[str]:
    lines = re.findall(rf"^from {re.escape(module)} import (.+)$", TUTORIAL.text, re.MULTILINE)
    return [name for line in lines for name in line.split(", ")]


def test_limits_are_those_of_the_code() -> None:
    """The figures on which a plugin author relies match the code."""
    limits = ResetLimits()
    words = TUTORIAL.words
    assert f"{limits.memory >> 30} GiB of memory, {limits.processor} seconds of CPU time" in words
    assert f"{limits.files} open files" in words
    assert f"seconds for all resets of one container; {MAX_RESET_TIMEOUT:g} at most" in words
    assert f"{ID_CHARACTERS} characters at most" in words
    assert f"A plugin may expose at most {SAMPLES:,} values" in words
    plugin = Plugin()
    assert f"share a limit of {plugin.reset_timeout:g} seconds (`reset_timeout`)" in words
    assert (plugin.scan_interval, "every ten seconds" in words) == (10, True)
    assert (plugin.max_reset_failures, plugin.recovery.max_recoveries, words.count("hree failures in a row")) == (
        3,
        3,
        1,
    )
    assert f"exits with code {Exit.NEEDS_RESTART:d}" in words
    assert f"exits with code {Exit.USAGE:d}" in words
