"""Configuration files: circus.ini, and those of the GPU, RDMA and generic plugins, with their environment."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from hub.api.host import Host
from hub.api.plugin import Plugin
from hub.plugin.loading import load_settings
from hub.supervisor.config.watchers import read_config
from plugins.generic import Generic
from plugins.gpu import GPU
from plugins.gpu.settings.environment import VARIABLES, apply_environment
from plugins.gpu.settings.xids import DISABLE, ENABLE, XidPolicy
from plugins.ib import IB
from tests.fuzz.choices import TOKENS, Choices, edited
from tests.fuzz.pieces import Directory, Input, Piece, edited_files
from tests.fuzz.target import Target

CIRCUS_INI = b"""# The plugins of this node.
[circus]
include = more.ini
include_dir = conf.d

[watcher:stub]
cmd = python -m hub.plugin plugins.stub:Stub
args = --config "stub file.yaml"
working_dir = /tmp
autostart = true
priority = 10
graceful_timeout = 5.5
stop_signal = SIGTERM
watchdog = 30
numprocesses = 1
singleton = yes
rlimit_nofile = 4096
rlimit_core =

[env]
PATH = /usr/bin:$PATH

[env:st*,gpu]
TOKEN = secret ; a comment
"""

MORE_INI = b"[watcher:gpu]\ncmd = python -m hub.plugin plugins.gpu:GPU\n"


class CircusIni(Target):
    """circus.ini and the files that it includes."""

    FILES: ClassVar[Mapping[str, bytes]] = {
        "circus.ini": CIRCUS_INI,
        "more.ini": MORE_INI,
        "conf.d/ib.ini": b"[watcher:ib]\ncmd = python -m hub.plugin plugins.ib:IB\n\n[env:ib]\nA = b\n",
    }

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        # The directory is deep enough that a pattern which leads upwards finds few files.
        self._files = Directory(directory / "a/b/c/d", [Piece.of(text, name) for name, text in self.FILES.items()])

    def make(self, choices: Choices) -> Input:
        """Change the files."""
        return edited_files(choices, self.FILES)

    def consume(self, pieces: Input) -> None:
        """Read the plugins."""
        self._files.change(pieces)
        for plugin in read_config(self._files.root / "circus.ini"):
            _ = plugin.is_hub_plugin


GPU_CONFIG: Mapping[str, Any] = {
    "version": "v1",
    "flags": {
        "migStrategy": "single",
        "failOnInitError": False,
        "nvidiaDriverRoot": "/run/nvidia/driver",
        "plugin": {"deviceListStrategy": ["envvar", "cdi-cri"], "deviceIDStrategy": "uuid", "passDeviceSpecs": True},
    },
    "resources": {
        "gpus": [{"pattern": "*A100*", "name": "nvidia.com/gpu"}],
        "migs": [{"pattern": "1g.*", "name": "mig"}],
    },
    "sharing": {
        "timeSlicing": {
            "renameByDefault": True,
            "failRequestsGreaterThanOne": True,
            "resources": [{"name": "nvidia.com/gpu", "rename": "shared", "devices": ["0", "0:1"], "replicas": 4}],
        }
    },
    "imex": {"channelIDs": [0], "required": True},
    "dphub": {
        "health": {"interval": 5, "stable_for": 0.5, "driver_timeout": 10, "xids": {"ignore": [13], "fatal": [79]}},
        "reset": {"nvidia.com/gpu": "check"},
        "exclude": ["1", "0:1", "0000:07:00.0", "GPU-12345678-1234-1234-1234-123456789012"],
    },
}

GPU_YAML = b"""version: v1
flags: &flags
  migStrategy: "none"
  plugin: {deviceListStrategy: envvar}
sharing:
  mps:
    resources:
    - name: nvidia.com/gpu
      replicas: 2
dphub: {health: {interval: 5.5}}
"""

RDMA_CONFIG: Mapping[str, Any] = {
    "cdi": ["cri"],
    "periodicUpdateInterval": 300,
    "configList": [
        {
            "resourceName": "hca",
            "resourcePrefix": "rdma",
            "rdmaHcaMax": 100,
            "selectors": {"vendors": ["15b3"], "deviceIDs": ["101b"], "ifNames": ["ib0"], "pfNames": ["ib1#0,2-7"]},
            "mode": "hca",
            "nodes": ["umad", "rdma_cm"],
            "health": {"ports": "all", "down": 2, "up": 5.5},
        },
        {"resourceName": "vf", "mode": "vf", "selectors": {"rootDevices": ["0000:07:00.0#1"]}, "reset": True},
    ],
}

RDMA_YAML = b"""periodicUpdateInterval: 0
configList:
- resourceName: shared
  rdmaHcaMax: 10
  devices: [ib0, "ib1"]
- &two
  resourceName: two
  selectors: {pKeys: ["0xffff"], isRdma: true}
"""


GENERIC_CONFIG: Mapping[str, Any] = {
    "resources": [
        {
            "name": "example.com/serial",
            "files": ["/dev/ttyUSB*"],
            "count": 2,
            "id": "{port}-{share}",
            "env": {"PORT": "{path}"},
            "mounts": [{"host_path": "/etc/{name}", "read_only": False}],
            "health": {"file": "/sys/class/tty/{name}/state", "content": "a|b", "command": ["/bin/true", "{id}"]},
        },
        {
            "name": "example.com/card",
            "groups": [
                {"files": [{"path": "/dev/snd/controlC*"}, {"path": "/dev/snd/pcm*", "optional": True}]},
                {"usb": [{"vendor": "1a86", "product": "7523", "serial": "x"}]},
            ],
            "usb": [{"port": "1-1.4"}],
            "pci": [{"vendor": "10ee", "class": "12", "address": "0000:3b:00.0"}],
            "sysfs": [{"subsystem": "block", "attributes": {"queue/rotational": "0"}, "parents": {"model": "*"}}],
            "vfio": True,
            "reset": {"command": ["/bin/true", "{host_path}"], "timeout": 5},
        },
    ],
    "domain": "squat.ai",
    "devices": [
        {"name": "video", "groups": [{"paths": [{"path": "/dev/video*", "mountPath": "/dev/v/", "limit": 2}]}]}
    ],
    "listen": ":8080",
}

SMARTER_YAML = b"""- devicematch: ^snd$
  nummaxdevices: 20
- devicematch: ^video[0-9]*$
  nummaxdevices: 2
- devicematch: nvidia-gpu
  nummaxdevices: 1
"""


class PluginConfig(Target):
    """The configuration file of a plugin, as JSON or YAML; each other piece is an environment variable."""

    plugin: ClassVar[type[Plugin]]
    files: ClassVar[Mapping[str, bytes]]
    variables: ClassVar[Sequence[str]] = ()

    def make(self, choices: Choices) -> Input:
        """Change one of the files, and set some variables."""
        name = choices.of(list(self.files))
        pieces = edited_files(choices, {name: self.files[name]})
        variables = [self._variable(choices) for _ in range(choices.below(3))] if self.variables else []
        return [*pieces[:1], *variables]

    def consume(self, pieces: Input) -> None:
        """Read the settings."""
        name = next((piece.name for piece in pieces if piece.name in self.files), None)
        path = self.directory / (name or "none")
        if name:
            files = Directory(self.directory / "files", ())
            files.change([piece for piece in pieces if piece.name in self.files])
            path = files.root / name
        environment = {piece.name: os.fsdecode(piece.content) for piece in pieces if piece.name not in self.files}
        self.read(load_settings(self.plugin, path if name else None), environment)

    def read(self, settings: Any, environment: Mapping[str, str]) -> None:  # noqa: ANN401 - those of any plugin
        """Apply the environment to the settings."""

    def _variable(self, choices: Choices) -> Piece:
        value = choices.of((b"true", b"1", b"envvar,cdi-cri", b"13,31", b"0", *TOKENS))
        return Piece.of(edited(choices, value, 1) if choices.below(2) else value, choices.of(self.variables))


class GpuConfig(PluginConfig):
    """NVIDIA's file and variables."""

    plugin = GPU
    files: ClassVar[Mapping[str, bytes]] = {"gpu.json": msgspec.json.encode(GPU_CONFIG), "gpu.yaml": GPU_YAML}
    variables: ClassVar[Sequence[str]] = (*VARIABLES, DISABLE, ENABLE)

    def read(self, settings: Any, environment: Mapping[str, str]) -> None:  # noqa: ANN401 - as above
        """Apply NVIDIA's variables, as the plugin does when it starts."""
        XidPolicy.of(apply_environment(settings, environment).dphub.health.xids, environment)


class RdmaConfig(PluginConfig):
    """The file of the RDMA shared device plugin, and our keys."""

    plugin = IB
    files: ClassVar[Mapping[str, bytes]] = {"ib.json": msgspec.json.encode(RDMA_CONFIG), "ib.yaml": RDMA_YAML}


class GenericConfig(PluginConfig):
    """Our file, and those of the generic-device-plugin and the smarter-device-manager."""

    plugin = Generic
    files: ClassVar[Mapping[str, bytes]] = {
        "generic.json": msgspec.json.encode(GENERIC_CONFIG),
        "conf.yaml": SMARTER_YAML,
    }

    def read(self, settings: Any, environment: Mapping[str, str]) -> None:  # noqa: ANN401, ARG002 - as above
        """Create the plugin, on a node without devices."""
        list(Generic(settings, Host(self.directory)).resources())
