"""The IB plugin on a node that a tree of files simulates."""

import json
from pathlib import Path

from hub.testing.plugin import PluginProcess
from tests.harness.node import Node

HCA = "rdma/hca"
EACH = {"resourceName": "hca", "mode": "hca", "selectors": {"vendors": ["15b3"]}}


def root_of(node: Node) -> Path:
    """Create the directory that is the node's file system for the plugin."""
    root = node.directory / "root"
    root.mkdir()
    return root


def start(node: Node, *pools: dict[str, object], interval: float = 60) -> PluginProcess:
    """Start the plugin with these pools, or without a file if there are none."""
    config = json.dumps({"periodicUpdateInterval": interval, "configList": pools}) if pools else None
    root = str(node.directory / "root")
    return node.start_plugin("plugins.ib:IB", name="ib", config=config, env={"DPHUB_HOST_ROOT": root})
