"""How our chart handles the values of NVIDIA's, and the keys of the GPU plugin's file that they set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import yaml

from hub.plugin.loading import load_settings
from plugins.gpu import GPU
from plugins.gpu.settings.file import GPUSettings
from tests.deploy.manifest_tools import Object, Values, charted, container, helm, mounts, only, pod
from tests.deploy.manifest_validity import mistakes
from tests.docs.docs_tools import codes, rows

DEFAULTS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("nvidia_values.yaml").read_text())
WHOLE = {
    *("config.map", "selectorLabelsOverride", "podAnnotations", "podSecurityContext", "securityContext", "resources"),
    *("nodeSelector", "affinity", "gfd", "nfd"),
}
"""Values whose keys the chart does not define, and those of other programs."""

IMAGE = {"image": DEFAULTS["image"] | {"repository": "registry.example/hub"}}

REFUSED: dict[str, tuple[Values, str]] = {
    "config.name": ({"config": {"name": "configs"}}, "copy its files to config.map"),
    "selectorLabelsOverride": ({"selectorLabelsOverride": {"app": "x"}}, "this chart sets the selectors"),
    "image.repository": ({"image": DEFAULTS["image"]}, "this is the image of NVIDIA's plugin"),
    "securityContext": ({"securityContext": {"privileged": True}}, "determined by unprivileged, mps and resets"),
    "devicePlugin.enabled": ({"devicePlugin": {"enabled": False}}, "installs nothing but the hub"),
    "devicePlugin.enableHostNetwork": ({"devicePlugin": {"enableHostNetwork": True}}, "would need the same port"),
    "mps.enableHostNetwork": ({"mps": {"enableHostNetwork": True}}, "would need the same port"),
    "gfd": ({"gfd": {"enabled": True}}, "does not install GPU feature discovery"),
    "nfd": ({"nfd": {"enabled": True}}, "does not install Node Feature Discovery"),
    "nvidiaDevRoot": ({"nvidiaDevRoot": "/run/nvidia/driver"}, "takes device files from the node's /dev"),
    "updateStrategy.rollingUpdate": (
        {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}},
        "set updateStrategy.maxSurge and updateStrategy.maxUnavailable instead",
    ),
}
"""Values for which only the default is accepted, each with one that is refused, and the reason."""

WITHOUT_EFFECT = {"allowDefaultNamespace"}


def _gpu_settings(objects: list[Object], directory: Path) -> GPUSettings:
    """Return what the GPU plugin reads from the one gpu.yaml."""
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
"""The keys of the file that GPU_VALUES must set."""


def test_values_for_gpus_end_in_the_file(tmp_path: Path) -> None:
    """Each value sets a key that the GPU plugin reads; a false value overrides true."""
    assert _gpu_settings(charted(GPU_VALUES), tmp_path) == msgspec.convert(GPU_KEYS, GPUSettings)
    opposite = {"failOnInitError": True, "gdsEnabled": True, "plugin": {"passDeviceSpecs": True}}
    text = yaml.safe_dump({"flags": opposite})
    values = {"failOnInitError": False, "gdsEnabled": False, "compatWithCPUManager": False}
    flags = _gpu_settings(charted({"config": {"plugins": {"gpu.yaml": text}}}, values), tmp_path).flags
    assert (flags.fail_on_init_error, flags.gds_enabled, flags.plugin.pass_device_specs) == (False, False, False)


def test_the_rest_of_the_file_is_kept(tmp_path: Path) -> None:
    """A value changes its own key only; without values, the text stays as it was."""
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
    """As in NVIDIA's chart, neither null nor an empty string sets a key."""
    texts = ("migStrategy", "deviceListStrategy", "deviceIDStrategy", "deviceDiscoveryStrategy", "nvidiaDriverRoot")
    values: Values = {
        **dict.fromkeys(texts, nothing),
        **dict.fromkeys(("failOnInitError", "gdsEnabled", "compatWithCPUManager")),
        "cdi": {"nvidiaHookPath": nothing, "featureFlags": nothing},
    }
    assert charted(values) == charted()


ACCEPTED: Values = {
    **GPU_VALUES,
    "config": {
        "map": {"default": "version: v1\n", "mps": "sharing: {mps: {resources: [{name: gpu, replicas: 2}]}}"},
        "default": "mps",
        "fallbackStrategies": ["single"],
    },
    "migStrategy": "single",
    "nvidiaDriverRoot": "/run/nvidia/driver",
    "nameOverride": "plugin",
    "fullnameOverride": "nvidia",
    "namespaceOverride": "gpus",
    "imagePullSecrets": [{"name": "pull"}],
    "image": {"repository": "registry.example/hub", "pullPolicy": "Always", "tag": "1.2.3"},
    "updateStrategy": {"type": "OnDelete"},
    "podAnnotations": {"a": "b"},
    "podSecurityContext": {"fsGroup": 0},
    "resources": {"limits": {"memory": "1Gi"}},
    "nodeSelector": {"nvidia.com/gpu.present": "true"},
    "affinity": DEFAULTS["affinity"],
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "priorityClassName": "high",
    "runtimeClassName": "nvidia",
    "mps": {"root": "/data/mps", "enableHostPID": False},
}
"""Each value that our chart treats as NVIDIA's does, with a setting that is not the default."""


def _paths(values: dict[str, Any], place: str = "") -> Iterator[str]:
    for name, value in values.items():
        path = f"{place}{name}"
        if isinstance(value, dict) and path not in WHOLE:
            yield from _paths(value, f"{path}.")
        else:
            yield path


def test_each_value_is_accepted_or_refused() -> None:
    """These tests cover all values of NVIDIA's chart, and the table in docs/migrating.md has each of them."""
    theirs = set(_paths(DEFAULTS))
    # NVIDIA's templates also read these values, which their values.yaml does not list.
    theirs |= {"nvidiaDevRoot", "updateStrategy.rollingUpdate"}
    assert set(_paths(dict(ACCEPTED))) | REFUSED.keys() | WITHOUT_EFFECT == theirs
    documented = {code for row in rows("migrating", "value in NVIDIA's chart", "the hub") for code in codes(row[0])}
    assert documented >= theirs


def test_the_defaults_are_accepted() -> None:
    """A copy of all of NVIDIA's values needs only a different image; the GPU plugin's file is then our chart's."""
    objects = charted(DEFAULTS, IMAGE)
    assert mistakes(objects) == []
    assert only(objects, "ConfigMap")["data"] == only(charted(), "ConfigMap")["data"]
    assert pod(objects)["affinity"] == DEFAULTS["affinity"]
    assert pod(objects)["tolerations"] == DEFAULTS["tolerations"]


def test_every_accepted_value_arrives(tmp_path: Path) -> None:
    """Each value reaches the file that the GPU plugin reads, or the pod; MPS also needs `mps.enabled`."""
    objects = charted(ACCEPTED | {"mps": ACCEPTED["mps"] | {"enabled": True}})
    assert mistakes(objects) == []
    (daemonset,) = [each for each in objects if each["metadata"]["name"] == "nvidia" and each["kind"] == "DaemonSet"]
    (config,) = [each for each in objects if each["metadata"]["name"] == "nvidia-config"]
    (tmp_path / "gpu.yaml").write_text(config["data"]["gpu.yaml"])
    found = load_settings(GPU, tmp_path / "gpu.yaml")
    keys = GPU_KEYS | {"flags": GPU_KEYS["flags"] | {"migStrategy": "single"}}
    sharing = yaml.safe_load(ACCEPTED["config"]["map"]["mps"])
    assert found == msgspec.convert(keys | sharing, GPUSettings)
    alone = [config, daemonset]
    hub, spec = container(alone), pod(alone)
    assert (hub["image"], hub["imagePullPolicy"]) == ("registry.example/hub:1.2.3", "Always")
    variables = {each["name"]: each.get("value") for each in hub["env"]}
    assert (variables["NVIDIA_DRIVER_ROOT"], variables["MPS_ROOT"]) == ("/run/nvidia/driver", "/data/mps")
    assert {"/driver-root", "/data/mps"} <= mounts(alone).keys()
    assert "hostPID" not in spec
    assert daemonset["metadata"]["namespace"] == "gpus"
    assert daemonset["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert daemonset["spec"]["template"]["metadata"]["annotations"]["a"] == "b"
    assert daemonset["metadata"]["labels"]["app.kubernetes.io/name"] == "plugin"
    for name in ("imagePullSecrets", "priorityClassName", "runtimeClassName", "tolerations"):
        assert spec[name] == ACCEPTED[name]
    assert ACCEPTED["nodeSelector"].items() <= spec["nodeSelector"].items()
    assert ACCEPTED["podSecurityContext"].items() <= spec["securityContext"].items()


@pytest.mark.parametrize(("values", "why"), REFUSED.values(), ids=list(REFUSED))
def test_what_has_no_meaning_here_is_refused(values: Values, why: str) -> None:
    """The refusal gives the reason and says what to do; the default of the same value is accepted."""
    done = helm(values)
    assert done.returncode != 0
    assert why in done.stderr
