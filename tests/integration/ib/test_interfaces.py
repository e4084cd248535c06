"""Network interfaces that are brought up when the plugin starts."""

import subprocess
import sys

import pytest

SCRIPT = """
from plugins.ib.discovery.interfaces import set_up
print(set_up("lo"), set_up("lo"))
"""


def test_an_interface_that_is_down() -> None:
    """The interface is brought up once. The test uses lo, which is down in a new network namespace."""
    new = ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*new, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this process may not create network namespaces")
    done = subprocess.run([*new, sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False"]
