"""XIDs and polls of the GPUs at the same time."""

import pytest

from plugins.gpu.discovery.facts import DriverState, Xid
from plugins.gpu.health import XidFaults
from plugins.gpu.resources import Share
from plugins.gpu.settings.file import XidTable
from plugins.gpu.settings.xids import XidPolicy
from tests.harness.gpu_support import facts
from tests.simulators.nvml import SimulatedNode


@pytest.fixture
def view(tmp_path_factory: pytest.TempPathFactory) -> DriverState:
    """Create a poll of two GPUs with which nothing is wrong."""
    return DriverState(tuple(facts(SimulatedNode(tmp_path_factory.mktemp("node"), "pair"))))


def test_an_xid_during_a_poll_is_reported(view: DriverState) -> None:
    """The poll began before it happened and cannot clear it; the next one can."""
    faults = XidFaults(XidPolicy.of(XidTable(), {}))
    first, second = (Share("nvidia.com/gpu", gpu) for gpu in view.gpus)
    faults.report(Xid(first.uuid, 94))
    faults.settle(view)
    assert faults.transient(first).startswith("XID 94: ")
    assert faults.transient(second) == ""
    faults.settle(view)
    assert faults.transient(first) == ""


def test_a_fatal_xid_is_reported_once_for_each_device(view: DriverState) -> None:
    """The hub keeps it; another one of the same kind is reported again."""
    faults = XidFaults(XidPolicy.of(XidTable(), {}))
    share = Share("nvidia.com/gpu", view.gpus[0])
    faults.report(Xid(share.uuid, 79))
    assert faults.fatal(share).startswith("XID 79: ")
    assert faults.fatal(share) == ""
    faults.report(Xid(share.uuid, 79))
    assert faults.fatal(share).startswith("XID 79: ")
