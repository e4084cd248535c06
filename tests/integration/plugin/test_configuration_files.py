"""A plugin's configuration file is accepted, or refused with the location of the mistake."""

import os

import pytest

from hub.testing.kubelet import FakeKubelet
from tests.harness.node import Node
from tests.integration.plugin.refusals import refusal


async def test_settings_in_json(node: Node, kubelet: FakeKubelet) -> None:
    """A file that ends in .json is read as JSON."""
    config = node.directory / "stub.json"
    config.write_text('{"resources": [{"name": "example.com/j", "devices": 2}]}')
    node.start_plugin(config=config)
    await kubelet.wait_for("example.com/j", 2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("[1, 2]", "expected a mapping, got a list"),
        ("faults: 7", "faults: expected text, got a whole number: put quotes around it"),
        ("resorces: []", 'unknown key "resorces"; did you mean resources?'),
        (
            "resources: [{name: a/b, device: 4}]",
            'resources[0]: unknown key "device"; did you mean devices?',
        ),
        (
            "resources: [{nodes: [{hostpath: /a}]}]",
            'resources[0].nodes[0]: unknown key "hostpath"; did you mean host_path?',
        ),
        ("resources: [{name: a/b}, {devices: many}]", "resources[1].devices: expected a whole number, got text"),
        ("resources: [{devices: -1}]", "resources[0].devices: expected a whole number that is at least 0"),
        ("resources: [{numa: [0, -1]}]", "resources[0].numa[1]: expected a whole number that is at least 0"),
        (
            "resources: [{nodes: [{permissions: rx}]}]",
            "resources[0].nodes[0].permissions: expected one or more of the letters",
        ),
        (
            "resources: [{env: {A: '{name}'}}]",
            'resources[0]: "{name}" is not a valid template ({name} is unknown), expected no placeholders other',
        ),
        (
            "resources: [{env: {A: '{id:2000000}'}}]",
            'resources[0]: "{id:2000000}" is not a valid template ({id} is unknown)',
        ),
        (
            "resources: [{env: {A: '{id.real}'}}]",
            'resources[0]: "{id.real}" is not a valid template ({id.real} is unknown)',
        ),
        ("resources: [{nodes: [{container_path: '{'}]}]", 'resources[0].nodes[0]: "{" is not a valid template'),
        ("resources: [{}, {}]", "the resource example.com/stub occurs 2 times, expected once"),
        ("faults: a\nresources: []\nfaults: b\n", 'line 3: duplicate key "faults"'),
        ("resources:\n- name: a/b\n  name: c/d\n", 'line 3: duplicate key "name"'),
        ("faults: a\nresources: [\n", "line 3: invalid YAML: "),
        ("faults: a\n\tb: c\n", "line 2: invalid YAML: "),
        ("faults: !!python/object/apply:os.system [ls]\n", "line 1: invalid YAML: could not determine a constructor"),
        ("faults: \x07\n", "line 1: invalid YAML: "),
        ("faults: 2026-99-99\n", "line 1: invalid YAML: month must be in 1..12"),
        ("? [a, b]\n: c\n", "line 1: invalid YAML: found unhashable key"),
    ],
)
async def test_a_wrong_configuration(node: Node, text: str, reason: str) -> None:
    """One line names the file, the key or line in it, and what was expected."""
    plugin = node.start_plugin(config=text)
    assert (await refusal(plugin)).startswith(f"{node.directory}/stub.yaml: {reason}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"faults": "a",\n "faults": "b"}', 'duplicate key "faults"'),
        ('{"faults": "a",\n "b"}', "line 2: invalid JSON: "),
    ],
)
async def test_a_wrong_configuration_in_json(node: Node, text: str, reason: str) -> None:
    """JSON is treated in the same way."""
    config = node.directory / "stub.json"
    config.write_text(text)
    assert (await refusal(node.start_plugin(config=config))).startswith(f"{config}: {reason}")


async def test_a_configuration_that_is_not_a_readable_file(node: Node) -> None:
    """A file that is missing, a directory, not text or not readable by the user has a message of its own."""
    missing, binary, secret = (node.directory / name for name in ("missing.yaml", "binary.yaml", "secret.yaml"))
    binary.write_bytes(b"faults: \xff\n")
    assert await refusal(node.start_plugin(config=missing)) == f"{missing}: no such file"
    (node.directory / "dphub.stub.log").unlink()
    directory = node.run_dir.path
    assert await refusal(node.start_plugin(config=directory)) == f"{directory}: is a directory, expected a file"
    (node.directory / "dphub.stub.log").unlink()
    assert await refusal(node.start_plugin(config=binary)) == f"{binary}: not UTF-8 text (byte 8)"
    if os.geteuid():
        (node.directory / "dphub.stub.log").unlink()
        secret.touch(mode=0)
        assert await refusal(node.start_plugin(config=secret)) == f"{secret}: cannot be read: Permission denied"
