"""The values of NVIDIA's chart, in ours: what they make of the GPU plugin's file."""

from pathlib import Path
from typing import cast

import msgspec
import pytest
import yaml

from hub.plugin.loading import load_settings
from plugins.gpu import GPU
from plugins.gpu.settings.file import GPUSettings
from tests.deploy.manifest_tools import Object, Values, charted, only


def _gpu_settings(objects: list[Object], directory: Path) -> GPUSettings:
    """What the GPU plugin reads from the one gpu.yaml."""
    (directory / "gpu.yaml").write_text(only(objects, "ConfigMap")["data"]["gpu.yaml"])
    return cast("GPUSettings", load_settings(GPU, directory / "gpu.yaml"))


GPU_VALUES: Values = {
    "migStrategy": "mixed",
    "failOnInitError": False,
    "deviceListStrategy": "cdi-cri, volume-mounts",
    "deviceIDStrategy": "index",
    "compatWithCPUManager": True,
    "deviceDiscoveryStrategy": "nvml",
    "gdrcopyEnabled": True,
    "gdsEnabled": True,
    "mofedEnabled": True,
    "cdi": {"nvidiaHookPath": "/opt/nvidia-cdi-hook", "featureFlags": "a,b"},
}
GPU_KEYS = {
    "flags": {
        "migStrategy": "mixed",
        "failOnInitError": False,
        "deviceDiscoveryStrategy": "nvml",
        "gdrcopyEnabled": True,
        "gdsEnabled": True,
        "mofedEnabled": True,
        "plugin": {
            "passDeviceSpecs": True,
            "deviceListStrategy": ["cdi-cri", "volume-mounts"],
            "deviceIDStrategy": "index",
            "nvidiaCTKPath": "/opt/nvidia-cdi-hook",
        },
    },
    "dphub": {"cdi": {"feature_flags": ["a", "b"]}},
}
"""The same as keys of the file."""


def test_values_for_gpus_end_in_the_file(tmp_path: Path) -> None:
    """Each is a key that the GPU plugin reads; false is a value, and takes the place of true."""
    assert _gpu_settings(charted(GPU_VALUES), tmp_path) == msgspec.convert(GPU_KEYS, GPUSettings)
    opposite = {"failOnInitError": True, "gdsEnabled": True, "plugin": {"passDeviceSpecs": True}}
    text = yaml.safe_dump({"flags": opposite})
    values = {"failOnInitError": False, "gdsEnabled": False, "compatWithCPUManager": False}
    flags = _gpu_settings(charted({"config": {"plugins": {"gpu.yaml": text}}}, values), tmp_path).flags
    assert (flags.fail_on_init_error, flags.gds_enabled, flags.plugin.pass_device_specs) == (False, False, False)


def test_the_rest_of_the_file_is_kept(tmp_path: Path) -> None:
    """A value changes its key only; without values the text is as it was."""
    text = """# A comment.
flags: {plugin: {deviceIDStrategy: index, deviceListStrategy: [envvar]}}
sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 10000, devices: ["0", 1]}]}}
dphub: {health: {interval: 2.5}, reset: {nvidia.com/gpu: off}}
"""
    config = {"config": {"plugins": {"gpu.yaml": text}}}
    (tmp_path / "own.yaml").write_text(text)
    before = load_settings(GPU, tmp_path / "own.yaml")
    assert only(charted(config), "ConfigMap")["data"]["gpu.yaml"] == text
    after = _gpu_settings(charted(config, {"deviceListStrategy": ["cdi-cri"]}), tmp_path)
    assert after.flags.plugin.device_lists == ("cdi-cri",)
    plugin = msgspec.structs.replace(after.flags.plugin, device_list_strategy=("envvar",))
    flags = msgspec.structs.replace(after.flags, plugin=plugin)
    assert msgspec.structs.replace(after, flags=flags) == before


@pytest.mark.parametrize("nothing", [None, ""], ids=["null", "empty"])
def test_values_for_gpus_that_say_nothing(nothing: str | None) -> None:
    """As in NVIDIA's chart, neither null nor an empty text sets a key."""
    texts = ("migStrategy", "deviceListStrategy", "deviceIDStrategy", "deviceDiscoveryStrategy", "nvidiaDriverRoot")
    values: Values = {
        **dict.fromkeys(texts, nothing),
        **dict.fromkeys(("failOnInitError", "gdsEnabled", "compatWithCPUManager")),
        "cdi": {"nvidiaHookPath": nothing, "featureFlags": nothing},
    }
    assert charted(values) == charted()
