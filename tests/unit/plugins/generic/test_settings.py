"""Mistakes in the settings: where they are, and what was expected."""

import json
from pathlib import Path

import pytest

from hub.base.errors import ConfigError
from hub.plugin.loading import load_settings
from plugins.generic.plugin import Generic
from tests.unit.plugins.generic.offers import resource

KVM = ["/dev/kvm"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (resource(), "example.com/x has no devices, expected files, groups, usb, pci or sysfs"),
        (resource(files=["dev/kvm"]), "resources[0].files[0]"),
        (resource(files=["/dev/../etc/shadow"]), "resources[0].files[0]"),
        (resource(files=KVM, env={"A": "{pth}"}), "{pth} is unknown"),
        (resource(files=KVM, env={"A": "{id:9999999999}"}), "not a valid template"),
        (resource(files=KVM, env={"A": "{id.__class__}"}), "not a valid template"),
        (resource(files=KVM, id="{id}"), "{id} is unknown"),
        (resource(files=KVM, permissions="x"), "resources[0].permissions"),
        (resource(files=KVM, vfio=True), "vfio is true, expected pci"),
        (resource(usb=[{}]), "it is empty, expected vendor, product, serial or port"),
        (resource(usb=[{"vendor": "12345"}]), "resources[0].usb[0].vendor"),
        (resource(pci=[{"class": "xy"}]), "resources[0].pci[0].class"),
        (resource(sysfs=[{"attributes": {"../../x": "1"}}]), "resources[0].sysfs[0].attributes"),
        (resource(sysfs=[{"subsystem": ".."}]), "expected the name of a class or bus"),
        (resource(groups=[{"files": []}]), "expected either files or usb"),
        (resource(files=KVM, health={"command": ["true"]}), "expected the absolute path of a program"),
        (resource(files=KVM, health={"file": "/x", "content": "("}), "expected a regular expression"),
        (resource(files=KVM, count=2, reset={"command": ["/bin/true"]}), "reset is set and count is 2, expected 1"),
        (resource(files=KVM, count=10_001), "resources[0].count"),
        ({"resources": [*2 * [{"name": "e.com/x", "files": KVM}]]}, "the resource e.com/x is configured 2 times"),
        ({"resource": []}, "did you mean resources?"),
    ],
)
def test_mistakes(tmp_path: Path, settings: dict[str, object], problem: str) -> None:
    """Each is an error before anything starts."""
    config = tmp_path / "generic.json"
    config.write_text(json.dumps(settings))
    with pytest.raises(ConfigError) as error:
        load_settings(Generic, config)
    assert problem in str(error.value)
