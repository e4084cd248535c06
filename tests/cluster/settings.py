"""Settings that the parts of the cluster share."""

import os
from pathlib import Path

from hub._version import __version__
from tests.cluster.build import BUILDS

SCRATCH_VARIABLE = "TEST_CLUSTER_SCRATCH"
"""The variable that names the directory of this run; it is set only in the namespaces of a node."""
HUB_ARCHIVE = BUILDS / "device-plugin-hub.tar"
HUB_IMAGE = f"device-plugin-hub:{__version__}"
LOGS = BUILDS / "logs"
NODE = "node-1"
ADDRESS = "192.0.2.1"
"""The node's address, as in node.sh."""
API_SERVER = f"https://{ADDRESS}:6443"
PLUGIN_DIR = Path("/var/lib/kubelet/device-plugins")


def scratch() -> Path:
    """Return the directory of this run."""
    return Path(os.environ[SCRATCH_VARIABLE])
