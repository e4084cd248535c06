"""How many devices a configuration file can request: no more than a kubelet accepts, which limits the memory."""

import json
from pathlib import Path

import pytest

from hub import Settings
from hub.base.errors import ConfigError
from plugins.generic.settings import GenericSettings
from plugins.gpu.settings.file import GPUSettings
from plugins.ib.settings import IBSettings
from plugins.stub.faults import Faults
from plugins.stub.settings import StubSettings

SHARED = "sharing: {timeSlicing: {resources: [{name: gpu, replicas: %d}]}}"
FILES = "resources: [{name: e.com/a, files: [/dev/x], count: %d}]"
POOL = "configList: [{resourceName: a, devices: [ib0], rdmaHcaMax: %d}]"


@pytest.mark.parametrize(
    ("settings", "text", "most", "place"),
    [
        (
            StubSettings,
            "resources: [{devices: %d}]",
            100_000,
            "resources[0].devices: expected a whole number that is at most 100000",
        ),
        (StubSettings, "resources: [{name: e.com/a}, {devices: %d}]", 99_996, "resources"),
        (
            Faults,
            "devices: {example.com/stub: %d}",
            100_000,
            "devices[...]: expected a whole number that is at most 100000",
        ),
        (GenericSettings, FILES, 10_000, "resources[0].count: expected a whole number that is at most 10000"),
        (IBSettings, POOL, 10_000, "configList[0].rdmaHcaMax: expected a whole number that is at most 10000"),
        (GPUSettings, SHARED, 10_000, "sharing.timeSlicing.resources[0]: replicas is 10001, expected at most 10000"),
    ],
)
def test_a_number_of_devices_has_a_limit(
    tmp_path: Path, settings: type[Settings], text: str, most: int, place: str
) -> None:
    """A larger number is one error, which gives its location."""
    file = tmp_path / "settings.yaml"
    file.write_text(text % most)
    settings.read(file)
    for number in (most + 1, 10**9):
        file.write_text(text % number)
        with pytest.raises(ConfigError) as error:
            settings.read(file)
        assert str(error.value).startswith(f"{file}: {place}".replace(str(most + 1), str(number))), error.value


def test_a_number_of_pools_has_a_limit(tmp_path: Path) -> None:
    """Many small numbers of devices add up to a large one, and many pools take a long time to compare."""
    file = tmp_path / "settings.json"
    for count, size, place in (
        (11, 10_000, "configList: rdmaHcaMax is 110000 in total, expected at most 100000"),
        (1001, 1, "configList: expected a list with at most 1000 elements"),
    ):
        pools = [{"resourceName": f"a{n}", "devices": [f"ib{n}"], "rdmaHcaMax": size} for n in range(count)]
        file.write_text(json.dumps({"configList": pools[1:]}))
        IBSettings.read(file)
        file.write_text(json.dumps({"configList": pools}))
        with pytest.raises(ConfigError) as error:
            IBSettings.read(file)
        assert str(error.value) == f"{file}: {place}"
