"""The generated code of the kubelet's APIs."""

import subprocess
import sys


def test_the_wire_alone_needs_no_grpc() -> None:
    """A process that imports the messages does not load the fake kubelet."""
    code = "import sys, hub.kubelet; assert 'grpc' not in sys.modules and 'hub.testing.kubelet' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
