"""Tests on a one-node cluster in namespaces of this machine: `python -m tests.cluster [ARGUMENT OF PYTEST ...]`.

The tests need root and Go. Downloads and builds are kept in build/cluster, and so are the logs of the last run,
including those of the pods.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cluster import build, packages
from tests.cluster.controlgroups import control_groups
from tests.cluster.settings import HUB_ARCHIVE, LOGS, SCRATCH_VARIABLE
from tests.harness.project import PROJECT

HERE = Path(__file__).parent


def main() -> int:
    """Prepare what is missing, and run the tests."""
    if os.geteuid() != 0:
        sys.exit("creating namespaces needs root: run this command as root, for example with sudo")
    # With this handler, the clean-up also runs on SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    build.BUILDS.mkdir(parents=True, exist_ok=True)
    packages.fetch()
    build.build_if_missing()
    image = [sys.executable, "-m", "scripts.image", "--archive", os.fspath(HUB_ARCHIVE)]
    if code := subprocess.run(image, cwd=PROJECT, check=False).returncode:
        return code
    if LOGS.exists():
        shutil.rmtree(LOGS)
    LOGS.mkdir()
    # A scenario takes minutes, and the first one waits for the cluster.
    return run_on_a_node(sys.executable, "-m", "pytest", "--timeout=1200", os.fspath(HERE), *sys.argv[1:])


def run_on_a_node(*command: str) -> int:
    """Run a command in the namespaces of a node, remove what is left of the node, and return the exit code."""
    scratch = Path(tempfile.mkdtemp(prefix="node-", dir=build.BUILDS))
    # No proxy is reachable from the namespaces.
    outside = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment = {**outside, SCRATCH_VARIABLE: os.fspath(scratch), "PATH": packages.search_path()}
    try:
        with control_groups(scratch.name) as groups:
            (scratch / "cgroups").write_text("".join(f"{group}\n" for group in groups))
            entered = ["sh", HERE / "enter.sh", scratch, *command]
            return subprocess.run(entered, cwd=PROJECT, env=environment, check=False).returncode
    finally:
        if (scratch / "log").is_dir():
            shutil.copytree(scratch / "log", LOGS / "node", symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(scratch)


if __name__ == "__main__":
    sys.exit(main())
