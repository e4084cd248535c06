"""What changes with a file of NVIDIA's plugin, shown before the migration."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from plugins.gpu.migration import differences
from plugins.gpu.settings.file import GPUSettings
from tests.harness.gpu_support import facts
from tests.simulators.nvml import SimulatedNode

IGNORED = "NVIDIA's plugin ignores this"


def _settings(**sections: Any) -> GPUSettings:  # noqa: ANN401 - as in a file
    return msgspec.convert(sections, GPUSettings)


def _shared(**entry: object) -> dict[str, Any]:
    return {"timeSlicing": {"renameByDefault": True, "resources": [{"name": "nvidia.com/gpu", "replicas": 4, **entry}]}}


@pytest.mark.parametrize("sections", [{}, {"sharing": _shared()}, {"sharing": _shared(rename="gpu.shared")}])
def test_nothing_changes(tmp_path: Path, sections: dict[str, Any]) -> None:
    """This holds as long as no key is used that NVIDIA's plugin ignores."""
    assert list(differences(_settings(**sections), facts(SimulatedNode(tmp_path, "pair")))) == []


def test_keys_that_nvidias_plugin_ignores(tmp_path: Path) -> None:
    """Each is listed with its location and, on a node with GPUs, with the numbers of devices."""
    settings = _settings(
        sharing=_shared(rename="nvidia.com/slice", devices=1),
        resources={"gpus": [{"pattern": "*H100*", "name": "h100"}]},
    )
    entry = "sharing.timeSlicing.resources[0]"
    keys = [
        f'resources.gpus[0]: devices that match "*H100*" become nvidia.com/h100; {IGNORED}',
        f"{entry}.rename: shared devices become nvidia.com/slice instead of nvidia.com/gpu.shared; {IGNORED}",
        f"{entry}.devices: shares only 1 of the nvidia.com/gpu devices; {IGNORED} and shares all of them",
    ]
    assert list(differences(settings, [])) == keys
    assert list(differences(settings, facts(SimulatedNode(tmp_path, "pair")))) == [
        *keys,
        "devices of nvidia.com/gpu.shared on this node: 8 with NVIDIA's plugin, 0 here",
        "devices of nvidia.com/h100 on this node: 0 with NVIDIA's plugin, 2 here",
    ]


def test_a_list_of_devices(tmp_path: Path) -> None:
    """Devices that are not in the list are not shared here."""
    settings = _settings(sharing=_shared(devices=["0"]))
    entry = "sharing.timeSlicing.resources[0]"
    assert list(differences(settings, facts(SimulatedNode(tmp_path, "pair")))) == [
        f"{entry}.devices: shares only these nvidia.com/gpu devices: 0; {IGNORED} and shares all of them",
        "devices of nvidia.com/gpu.shared on this node: 8 with NVIDIA's plugin, 4 here",
        "devices of nvidia.com/gpu on this node: 0 with NVIDIA's plugin, 1 here",
    ]
