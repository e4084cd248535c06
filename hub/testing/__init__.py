"""The public test kit: a node in a directory, a fake kubelet, and plugins and kubelets that follow a script."""

from hub.testing.kubelet import FakeKubelet
from hub.testing.node import CommandResult, Node
from hub.testing.plugin import PluginProcess
from hub.testing.scripted import ScriptedKubelet, ScriptedPlugin
from hub.testing.waiting import wait_until

__all__ = [
    "CommandResult",
    "FakeKubelet",
    "Node",
    "PluginProcess",
    "ScriptedKubelet",
    "ScriptedPlugin",
    "wait_until",
]
