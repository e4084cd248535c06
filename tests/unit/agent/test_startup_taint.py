"""When the devices of a node are complete."""

import pytest
from msgspec.structs import replace

from hub.agent.startuptaint import expected_resources
from hub.model.node import Condition, PluginStatus
from hub.model.plugin import RegistrationStatus
from tests.unit.agent.test_conditions import BROKEN, SOUND, plugin, status

GPU = plugin(SOUND)


def _registering(found: PluginStatus) -> PluginStatus:
    (resource,) = found.report.resources
    waits = replace(resource, registration=RegistrationStatus.REGISTERING)
    return replace(found, condition=Condition.REGISTERING, report=replace(found.report, resources=(waits,)))


@pytest.mark.parametrize(
    ("plugins", "is_complete"),
    [
        ([GPU], True),
        ([plugin(BROKEN)], True),
        ([GPU, plugin(name="agent", condition=Condition.EXTERNAL)], True),
        ([GPU, plugin(name="amd", condition=Condition.STOPPED, starts=0)], True),
        ([GPU, plugin(name="ib", condition=Condition.NO_RESOURCES)], True),
        ([GPU, plugin(name="ib", condition=Condition.STARTING)], False),
        ([GPU, plugin(name="ib", condition=Condition.BACKING_OFF)], False),
        ([_registering(GPU)], False),
    ],
)
def test_all_plugins(plugins: list[PluginStatus], is_complete: bool) -> None:  # noqa: FBT001 - a parameter
    """A plugin that starts with the hub has to register, unless the node does not have its hardware."""
    assert (expected_resources(status(*plugins), ()) is not None) == is_complete


def test_named_resources() -> None:
    """If the settings name resources, only these count."""
    failing = plugin(name="ib", condition=Condition.BACKING_OFF)
    found = expected_resources(status(GPU, failing), ("nvidia.com/gpu",))
    assert found
    assert [each.name for each in found] == ["nvidia.com/gpu"]
    assert expected_resources(status(GPU), ("rdma/hca",)) is None
