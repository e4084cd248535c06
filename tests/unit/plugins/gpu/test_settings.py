"""NVIDIA's configuration file and environment are read unchanged, and what cannot be served is refused."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from hub.base.errors import ConfigError
from plugins.gpu.settings.environment import VARIABLES, apply_environment
from plugins.gpu.settings.file import GPUSettings
from plugins.gpu.settings.sharing import Pattern
from tests.unit.plugins.gpu.gpu_settings import notes_of, read_settings

GPU_UUID = "GPU-b1028956-cfa2-0990-bf4a-5da9abb51763"


TIME_SLICING = "sharing: {timeSlicing: {resources: [%s]}}"


GOOD = "{name: nvidia.com/gpu, replicas: 2}"


def _plain(settings: object) -> Any:  # noqa: ANN401 - JSON
    return msgspec.json.decode(msgspec.json.encode(settings))


def test_defaults() -> None:
    """They match NVIDIA's plugin, except failOnInitError: by default the plugin runs without a driver."""
    plain = _plain(GPUSettings())
    assert plain["version"] == "v1"
    assert plain["flags"] == {
        "migStrategy": "none",
        "failOnInitError": None,
        "nvidiaDriverRoot": "/",
        "nvidiaDevRoot": "",
        "gdrcopyEnabled": False,
        "gdsEnabled": False,
        "mofedEnabled": False,
        "deviceDiscoveryStrategy": "auto",
        "mpsRoot": "/run/nvidia/mps",
        "useNodeFeatureAPI": None,
        "gfd": None,
        "plugin": {
            "passDeviceSpecs": False,
            "deviceListStrategy": "envvar",
            "deviceIDStrategy": "uuid",
            "cdiAnnotationPrefix": "cdi.k8s.io/",
            "nvidiaCTKPath": "/usr/bin/nvidia-ctk",
            "containerDriverRoot": "/driver-root",
            "sharedDevicesAllocationPolicy": "distributed",
        },
    }
    assert plain["imex"] == {"channelIDs": [], "required": False}


def test_every_key(tmp_path: Path) -> None:
    """Each key of NVIDIA's file is accepted, and its value is read as it is written."""
    flags = {
        "migStrategy": "mixed",
        "failOnInitError": True,
        "nvidiaDriverRoot": "/run/nvidia/driver",
        "nvidiaDevRoot": "/somewhere",
        "gdrcopyEnabled": True,
        "gdsEnabled": True,
        "mofedEnabled": True,
        "deviceDiscoveryStrategy": "nvml",
        "mpsRoot": "/mps",
        "useNodeFeatureAPI": True,
        "gfd": {"oneshot": False, "noTimestamp": False, "sleepInterval": "60s", "outputFile": "/x"},
        "plugin": {
            "passDeviceSpecs": True,
            "deviceListStrategy": ["volume-mounts", "cdi-annotations", "cdi-cri", "envvar"],
            "deviceIDStrategy": "index",
            "cdiAnnotationPrefix": "example.com/",
            "nvidiaCTKPath": "/opt/nvidia-ctk",
            "containerDriverRoot": "/host",
            "sharedDevicesAllocationPolicy": "packed",
        },
    }
    sections = {
        "version": "v1",
        "flags": flags,
        "resources": {
            "gpus": [{"pattern": "A100*", "name": "nvidia.com/a100"}],
            "mig": [{"pattern": "1g.5gb", "name": "nvidia.com/small"}],
            "migs": [],
        },
        "imex": {"channelIDs": [0], "required": True},
    }
    path = tmp_path / "gpu.json"
    path.write_bytes(msgspec.json.encode(sections))
    plain = _plain(GPUSettings.read(path))
    assert {key: plain[key] for key in sections} == sections


@pytest.mark.parametrize(
    "devices", ["all", 3, [0, "1", "0:1", GPU_UUID, GPU_UUID.replace("GPU", "MIG"), f"MIG-{GPU_UUID}/3/0"]]
)
@pytest.mark.parametrize("mode", ["timeSlicing", "mps"])
def test_sharing(tmp_path: Path, mode: str, devices: object) -> None:
    """Both kinds of sharing are read, and every way to select devices."""
    entry = {"name": "nvidia.com/gpu", "rename": "nvidia.com/part", "devices": devices, "replicas": 10}
    section = {"renameByDefault": True, "failRequestsGreaterThanOne": True, "resources": [entry]}
    path = tmp_path / "gpu.json"
    path.write_bytes(msgspec.json.encode({"version": "v1", "sharing": {mode: section}}))
    read = _plain(GPUSettings.read(path))["sharing"][mode]
    assert read["resources"] == [entry]
    assert (read["renameByDefault"], read["failRequestsGreaterThanOne"]) == (True, True)


def test_off_is_not_a_boolean(tmp_path: Path) -> None:
    """YAML reads `off` as false."""
    text = "resources: {gpus: [{pattern: X, name: x}]}\ndphub: {reset: {nvidia.com/gpu: off, nvidia.com/x: clean}}"
    settings = read_settings(tmp_path, text)
    assert settings.dphub.reset_levels == {"nvidia.com/gpu": "off", "nvidia.com/x": "clean"}


@pytest.mark.parametrize(
    "text",
    ["# nothing\n", "version: ''", "flags: {nvidiaDriverRoot: '', mpsRoot: '', plugin: {nvidiaCTKPath: ''}}"],
)
def test_what_is_empty_is_the_default(tmp_path: Path, text: str) -> None:
    """This includes a file with nothing but comments, and the keys that NVIDIA's plugin completes."""
    settings = read_settings(tmp_path, text)
    assert settings.flags == GPUSettings().flags
    assert settings.sharing == GPUSettings().sharing


def test_keys_without_a_value(tmp_path: Path) -> None:
    """They count as missing, as in NVIDIA's plugin."""
    text = "version: v1\nflags:\n  migStrategy:\n  plugin:\nsharing:\n  mps: null\nresources:\ndphub:\n"
    assert read_settings(tmp_path, text) == GPUSettings()


def test_what_nvidia_completes(tmp_path: Path) -> None:
    """A name gets NVIDIA's domain, one strategy need not be a list, and all devices are the default."""
    settings = read_settings(tmp_path, f"flags: {{plugin: {{deviceListStrategy: cdi-cri}}}}\n{TIME_SLICING % GOOD}")
    assert settings.flags.plugin.device_lists == ("cdi-cri",)
    settings = read_settings(tmp_path, TIME_SLICING % "{name: gpu, replicas: 2}")
    assert settings.sharing.mode is not None
    assert (settings.sharing.mode.resources[0].name, settings.sharing.mode.resources[0].devices) == (
        "nvidia.com/gpu",
        "all",
    )


@pytest.mark.parametrize(
    ("text", "single"),
    [
        ("", False),
        (TIME_SLICING % GOOD, False),
        (f"sharing: {{timeSlicing: {{failRequestsGreaterThanOne: true, resources: [{GOOD}]}}}}", True),
        (f"sharing: {{mps: {{resources: [{GOOD}]}}}}", True),
        (f"sharing: {{mps: {{failRequestsGreaterThanOne: false, resources: [{GOOD}]}}}}", False),
    ],
)
def test_requests_for_one(tmp_path: Path, text: str, *, single: bool) -> None:
    """With MPS more than one share is refused unless it is allowed, with time-slicing only if it is forbidden."""
    assert read_settings(tmp_path, f"version: v1\n{text}").sharing.single_requests is single


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("version: v2", "version", "v2"),
        ("flags: {migStrategi: none}", "flags", "migStrategi"),
        ("flags: {plugin: {passDeviceSpec: true}}", "flags.plugin", "passDeviceSpec"),
        ("flags: {migStrategy: half}", "flags.migStrategy", "half"),
        ("flags: {deviceDiscoveryStrategy: tegra}", "flags.deviceDiscoveryStrategy", "tegra"),
        ("flags: {nvidiaDriverRoot: run}", "flags.nvidiaDriverRoot", "expected an absolute path"),
        ("flags: {plugin: {deviceListStrategy: [envvar, smoke]}}", "flags.plugin.deviceListStrategy", "smoke"),
        ("flags: {plugin: {deviceListStrategy: []}}", "flags.plugin", "empty"),
        ("flags: {plugin: {deviceIDStrategy: name}}", "flags.plugin.deviceIDStrategy", "name"),
        ("flags: {gdsEnabled: maybe}", "flags.gdsEnabled", "expected true or false"),
        ("imex: {channelIDs: [1]}", "imex", "channelIDs is [1]"),
        ("resources: {gpus: [{pattern: '*'}]}", "resources.gpus[0]", "name"),
        ("resources: {gpus: [{pattern: '*', name: 'Nvidia.com/GPU'}]}", "resources.gpus[0]", "not a resource name"),
        (f"resources: {{mig: [{{pattern: x, name: {'x' * 60}}}]}}", "resources.mig[0]", "at most 63"),
        ("sharing: {timeSlicing: {resources: []}}", "sharing.timeSlicing", "empty"),
        ("sharing: {timeSlicing: {}}", "sharing.timeSlicing", "resources"),
        (TIME_SLICING % f"{GOOD}, {{name: x, replicas: 1}}", "sharing.timeSlicing.resources[1]", "at least 2"),
        (TIME_SLICING % "{name: x}", "sharing.timeSlicing.resources[0]", "replicas"),
        (TIME_SLICING % "{name: x, replicas: 2, devices: none}", "sharing.timeSlicing.resources[0]", '"all"'),
        (TIME_SLICING % "{name: x, replicas: 2, devices: 0}", "sharing.timeSlicing.resources[0]", "at least 1"),
        (TIME_SLICING % "{name: x, replicas: 2, devices: [a]}", "sharing.timeSlicing.resources[0]", "name a device"),
        (
            TIME_SLICING % f"{GOOD}, {{name: nvidia.com/gpu, replicas: 2, rename: x}}",
            "sharing.timeSlicing",
            "resources[1]",
        ),
        (f"sharing: {{timeSlicing: {{strategy: odd, resources: [{GOOD}]}}}}", "sharing.timeSlicing", "odd"),
        (f"flags: {{migStrategy: mixed}}\nsharing: {{mps: {{resources: [{GOOD}]}}}}", "", "flags.migStrategy mixed"),
        ("dphub: {reset: {nvidia.com/gpu: shiny}}", "dphub.reset", "'shiny', expected one of off, check, clean, reset"),
        ("dphub: {reset: {nvidia.com/gpu: on}}", "dphub", "is true, expected one of off, check, clean, reset"),
        ("dphub: {reset: {gpu: clean}}", "dphub", "full resource name"),
        ("dphub: {reset: {nvidia.com/gpus: check}}", "", "dphub.reset: no GPU is advertised as nvidia.com/gpus"),
        ("dphub: {exclude: ['0', first]}", "dphub", "exclude[1]"),
        ("dphub: {health: {interval: 0}}", "dphub.health.interval", "more than 0"),
        ("dphub: {health: {xids: {ignore: [79], fatal: [79]}}}", "dphub.health.xids", "XID 79 occurs 2 times"),
    ],
)
def test_refusals(tmp_path: Path, text: str, place: str, words: str) -> None:
    """Each mistake is one error with the file, the location in it, and what is wrong."""
    with pytest.raises(ConfigError) as error:
        read_settings(tmp_path, text)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'gpu.yaml'}: {place}")
    assert words in message


VALUES = {
    "MIG_STRATEGY": ("mixed", "mixed"),
    "FAIL_ON_INIT_ERROR": ("TRUE", True),
    "NVIDIA_DRIVER_ROOT": ("/run/nvidia/driver", "/run/nvidia/driver"),
    "NVIDIA_DEV_ROOT": ("/d", "/d"),
    "GDRCOPY_ENABLED": ("1", True),
    "GDS_ENABLED": ("t", True),
    "MOFED_ENABLED": ("true", True),
    "DEVICE_DISCOVERY_STRATEGY": ("nvml", "nvml"),
    "MPS_ROOT": ("/m", "/m"),
    "USE_NODE_FEATURE_API": ("F", False),
    "PASS_DEVICE_SPECS": ("true", True),
    "DEVICE_LIST_STRATEGY": ("envvar, cdi-cri", ["envvar", "cdi-cri"]),
    "DEVICE_ID_STRATEGY": ("index", "index"),
    "CDI_ANNOTATION_PREFIX": ("x/", "x/"),
    "NVIDIA_CTK_PATH": ("/c", "/c"),
    "NVIDIA_CDI_HOOK_PATH": ("/h/nvidia-cdi-hook", "/h/nvidia-cdi-hook"),
    "CONTAINER_DRIVER_ROOT": ("/r", "/r"),
    "DRIVER_ROOT_CTR_PATH": ("/r", "/r"),
    "SHARED_DEVICES_ALLOCATION_POLICY": ("packed", "packed"),
    "CDI_DISABLE_HOOKS": ("update-ldcache, all", ["update-ldcache", "all"]),
    "CDI_FEATURE_FLAGS": ("disable-nvsandboxutils", ["disable-nvsandboxutils"]),
    "IMEX_CHANNEL_IDS": ("0", [0]),
    "IMEX_REQUIRED": ("true", True),
}


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_environment_overrides_the_file(variable: str) -> None:
    """Each variable sets its key; an empty one sets nothing."""
    text, value = VALUES[variable]
    before = GPUSettings()
    assert apply_environment(before, {variable: ""}) == before
    found = _plain(apply_environment(before, {variable: text}))
    for part in VARIABLES[variable][0].split("."):
        found = found[part]
    assert found == value


@pytest.mark.parametrize(
    ("variable", "text"),
    [("MIG_STRATEGY", "x"), ("GDS_ENABLED", "yes"), ("IMEX_CHANNEL_IDS", "a"), ("DEVICE_LIST_STRATEGY", "envvar,x")],
)
def test_a_variable_with_a_bad_value(variable: str, text: str) -> None:
    """The error names the variable and the key that it sets."""
    with pytest.raises(ConfigError, match=rf"^{variable}: .* \(it sets {VARIABLES[variable][0]}\)$"):
        apply_environment(GPUSettings(), {variable: text})


def test_a_variable_that_does_not_go_with_the_file(tmp_path: Path) -> None:
    """A combination is refused wherever its parts come from."""
    settings = read_settings(tmp_path, f"sharing: {{mps: {{resources: [{GOOD}]}}}}")
    with pytest.raises(ConfigError, match=r"^MIG_STRATEGY: sharing.mps cannot be combined with"):
        apply_environment(settings, {"MIG_STRATEGY": "mixed"})


def test_what_is_ignored_is_named(tmp_path: Path) -> None:
    """If both kinds of sharing are set, MPS applies, and of several entries the largest, as in NVIDIA's plugin."""
    both = f"sharing: {{timeSlicing: {{resources: [{GOOD}]}}, mps: {{resources: [{GOOD}]}}}}"
    settings = read_settings(tmp_path, both)
    assert settings.sharing.mode is settings.sharing.mps
    assert notes_of(tmp_path, both) == [
        "sharing.timeSlicing is ignored: sharing.mps is set, and only one of the two applies"
    ]
    more = TIME_SLICING % f"{GOOD}, {{name: gpu, replicas: 5}}, {{name: nvidia.com/gpu, replicas: 3}}"
    mode = read_settings(tmp_path, more).sharing.mode
    assert mode is not None
    assert [entry.replicas for entry in mode.entries] == [5]
    assert notes_of(tmp_path, more) == [
        "sharing.timeSlicing.resources has 3 entries for nvidia.com/gpu: the one with 5 replicas applies"
    ]
    assert notes_of(tmp_path, TIME_SLICING % GOOD, DP_ENABLE_HEALTHCHECKS="all") == []


def test_a_pattern_of_very_many_stars() -> None:
    """It is compared at once: the plugin does not try each way to divide a name among the stars."""
    assert not Pattern(pattern=f"{'*' * 1000}x", name="gpu").matches("NVIDIA A100-SXM4-40GB")
    assert Pattern(pattern="NVIDIA**A100***", name="gpu").matches("NVIDIA A100-SXM4-40GB")
