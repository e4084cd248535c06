"""Tests on a cluster of one node, in namespaces of this machine: `python -m tests.cluster [ARGUMENT OF PYTEST ...]`.

It needs root and Go. What it fetches and builds is kept in build/cluster, and so are the logs of the last run.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import build, packages
from tests.cluster.settings import HUB_ARCHIVE, LOGS, SCRATCH_VARIABLE
from tests.harness.project import PROJECT

HERE = Path(__file__).parent


def main() -> int:
    """Prepare what is missing, and run the tests."""
    if os.geteuid() != 0:
        sys.exit("root is needed for namespaces: run it as root, for example with sudo")
    # The clean-up runs then, too.
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
    scratch = Path(tempfile.mkdtemp(prefix="node-", dir=build.BUILDS))
    try:
        with control_groups(scratch.name) as groups:
            (scratch / "cgroups").write_text("".join(f"{group}\n" for group in groups))
            # A story takes minutes, and the first one waits for the cluster.
            tests = [sys.executable, "-m", "pytest", "--timeout=1200", HERE, *sys.argv[1:]]
            # No proxy is reachable from there.
            outside = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
            environment = {**outside, SCRATCH_VARIABLE: os.fspath(scratch), "PATH": packages.search_path()}
            command = ["sh", HERE / "enter.sh", scratch, *tests]
            return subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode
    finally:
        shutil.rmtree(scratch)


@contextmanager
def control_groups(name: str) -> Iterator[list[Path]]:
    """Make a control group in each hierarchy, and remove them with all that a node has made in them."""
    groups = [place / name for place in _places()]
    for group in groups:
        group.mkdir()
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # With version 1, a new group has none, and cannot have processes.
            if "cpuset" in group.parent.parts and (group.parent / setting).exists():
                (group / setting).write_text((group.parent / setting).read_text())
    try:
        yield groups
    finally:
        for group in groups:
            _remove(group)


def _places() -> Iterator[Path]:
    """Yield where to make the groups: in the groups of this process, so that its limits apply."""
    hierarchies = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    version_1 = {names.removeprefix("name="): path for _, names, path in hierarchies if names}
    if not version_1:
        # A group with processes cannot have groups with controllers, but the root can.
        yield Path("/sys/fs/cgroup")
    for names, path in version_1.items():
        yield Path(f"/sys/fs/cgroup/{names}{path}")


def _remove(group: Path, seconds: float = 30) -> None:
    """Remove a group and those in it, as soon as their last processes have ended."""
    end = time.monotonic() + seconds
    for directory, _, _ in os.walk(group, topdown=False):
        while True:
            try:
                Path(directory).rmdir()
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
