"""The rules are complete, and what they accept is what the kubelet and container runtimes accept."""

import re

import pytest

from hub.testing.conformance import GROUPS, RULES, Limits
from hub.testing.conformance.containers import RULES as CONTAINER_RULES
from hub.testing.conformance.containers import is_cdi_name, path_problem


def test_each_rule_has_a_name_of_its_own() -> None:
    """The name is short, and a valid anchor of its page."""
    assert len(RULES) == sum(map(len, GROUPS.values()))
    assert [name for name in RULES if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+|registers", name)] == []
    assert GROUPS["what a container gets"] == CONTAINER_RULES


def test_each_rule_says_what_why_and_where() -> None:
    """It does so in sentences, and gives a source to read."""
    for rule in RULES.values():
        assert re.match(r"[A-Z].*\.$", rule.title), rule
        assert re.match(r"[A-Z].*\.$", rule.reason), rule
        assert rule.source, rule


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("nvidia.com/gpu=0", True),
        ("example.com/model=a:b_c.d-e", True),
        ("e/c=d", True),
        ("gpu0", False),
        ("/dev/gpu", False),
        ("example.com/gpu", False),
        ("example.com/gpu=", False),
        ("1example.com/gpu=0", False),
        ("example.com/gpu-=0", False),
        ("example.com/gpu=0 ", False),
        ("example.com/gpu=all!", False),
    ],
)
def test_names_of_cdi_devices(name: str, *, valid: bool) -> None:
    """They are parsed as container runtimes parse them."""
    assert is_cdi_name(name) == valid


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/dev/model", ""),
        ("/dev/a..b", ""),
        ("", "empty"),
        ("dev/model", "'dev/model', which is not absolute"),
        ("/dev/../etc", "'/dev/../etc', which contains .."),
    ],
)
def test_paths(path: str, problem: str) -> None:
    """A path in a container is absolute, and leads where it seems to."""
    assert path_problem(path) == problem


def test_limits_of_a_slow_machine() -> None:
    """The kubelet's own limits stay, and so does the time for which a plugin is watched."""
    usual, slow = Limits(), Limits().scaled(3)
    assert (slow.quick, slow.back) == (3 * usual.quick, 3 * usual.back)
    assert (slow.pre_start, slow.dial, slow.watch) == (usual.pre_start, usual.dial, usual.watch)
