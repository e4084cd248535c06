"""The commands in README.md work as written."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub._version import __version__
from hub.supervisor.config.watchers import read_config, shipped_config
from hub.testing.kubelet import FakeKubelet
from hub.testing.node import Node
from hub.testing.waiting import WAIT_SECONDS
from tests.docs.pages import README, ROOT
from tests.docs.terminal import terminal
from tests.harness.processes import ended, started

BIN = Path(sys.executable).parent
HOST_ROOT = "DPHUB_HOST_ROOT"


COMMANDS = README.commands
(PLUGIN,) = README.of("python")
(SECTION,) = README.of("ini")

TESTED = {
    "make demo": "below",
    ".venv/bin/dphub fake-kubelet ": "below",
    ".venv/bin/dphub run ": "below",
    **dict.fromkeys(
        (f"dphub {name}" for name in ("status", "devices", "logs", "restart", "cordon", "uncordon", "reload")),
        "tests/docs/test_documented_commands.py",
    ),
}
NOT_TYPED = {
    "docker build --file container/Containerfile ": "make test-image builds the image, without docker",
    "docker push ": "needs a registry",
    "cp -r container/overlays/kubernetes ": "changes the checkout; tests/deploy/test_manifests.py has the overlay",
    "python3 -m venv /opt/dphub": "is outside of the checkout; tests/deploy/test_release.py installs the wheel",
    "/opt/dphub/bin/pip install ": "is outside of the checkout; tests/deploy/test_release.py installs the wheel",
    "/opt/dphub/bin/dphub run": "is outside of the checkout; what the command does without arguments is tested below",
    "kubectl apply ": "needs a cluster",
    "kubectl --namespace device-plugin-hub rollout ": "needs a cluster",
    "kubectl --namespace device-plugin-hub exec ": "needs a cluster",
}


@pytest.fixture
def root() -> Iterator[Path]:
    """Create a directory with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
        yield Path(directory)


@pytest.fixture
def adapters(root: Path) -> Path:
    """Create a node's file system with two serial adapters, and the README's plugin next to a circus.ini."""
    (root / "serial_adapters.py").write_text(PLUGIN, encoding="utf-8")
    (root / "host/dev").mkdir(parents=True)
    for n in range(2):
        (root / f"host/dev/ttyUSB{n}").touch()
    return root / "host"


def test_it_is_short() -> None:
    """The README can be read in a few minutes, and its plugin has at most 15 lines, everything included."""
    assert len(README.text.splitlines()) <= 170
    assert len(PLUGIN.splitlines()) <= 15


async def test_the_example_plugin_runs_under_the_hub(root: Path, adapters: Path) -> None:
    """One watcher section is enough to serve a third party's plugin alongside those that come with the hub."""
    config = root / "circus.ini"
    config.write_text(shipped_config().read_text(encoding="utf-8") + "\n" + SECTION, encoding="utf-8")
    async with Node(root, config, {HOST_ROOT: str(adapters)}) as node:
        await node.start_hub()
        await node.kubelet.wait_for("example.com/serial", allocatable=2, timeout=WAIT_SECONDS)
        await node.kubelet.wait_for("example.com/stub", allocatable=4, timeout=WAIT_SECONDS)
        pod = await node.kubelet.admit("reader", {"example.com/serial": 2})
        response = pod.containers["main"].response
        assert response.envs == {"SERIAL_PORTS": "/dev/ttyUSB0,/dev/ttyUSB1"}
        assert [device.host_path for device in response.devices] == ["/dev/ttyUSB0", "/dev/ttyUSB1"]
        assert await node.stop_hub() == 0


def test_the_commands_for_a_fresh_machine() -> None:
    """`make demo` shows the demo; `make test` is the required check, and sets itself up."""
    assert COMMANDS[0] == "make demo"
    output = subprocess.run(
        ["make", "demo"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=4 * WAIT_SECONDS
    ).stdout
    assert "The hub stops" in output
    planned = subprocess.run(
        ["make", "-n", "-B", "test"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=WAIT_SECONDS
    )
    for tool in (
        "setup.sh",
        "ruff check",
        "ruff format --check",
        "mypy",
        "lint-imports",
        "generate.py --check",
        "pytest",
    ):
        assert tool in planned.stdout
    assert "make test" in (ROOT / ".ci/run").read_text(encoding="utf-8")


async def test_a_local_node(root: Path) -> None:
    """A plain user can type the commands in two terminals, and the pod in the text gets its devices."""
    kubelet, hub = (command.removeprefix(".venv/bin/") for command in COMMANDS if command.startswith(".venv/bin/"))
    (admit,) = re.findall(r"Type `(admit [^`]+)`", README.text)
    async with terminal(kubelet, root) as first, terminal(hub, root) as second:
        await second.says("registered", times=3)
        while not any("example.com/stub: 4 of 4 allocatable" in line for line in first.lines):
            first.type("capacity")
            await first.says("", times=len(first.lines) + 1)
        first.type(admit)
        await first.says("environment: STUB_DEVICES=")


def test_every_make_target_exists() -> None:
    """Each target that is named exists, and `make test-image` and `make bench` are among them."""
    named = set(re.findall(r"\bmake ([a-z-]+)`", README.text))
    assert {"test", "bench", "test-image"} <= named
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named - targets == set()


def test_what_is_installed_is_this_version() -> None:
    """The image is built from files that are there, and has the version that the manifests request."""
    assert set(re.findall(r"device-plugin-hub:(\S+)|VERSION=(\S+)", README.text)) == {
        (__version__, ""),
        ("", __version__),
    }
    paths = re.findall(r"container/(?!overlays/my-cluster)[\w/-]+", "\n".join(COMMANDS))
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_command_is_known_to_these_tests() -> None:
    """Each command is tested somewhere or has a reason why it is not, including one that is added later."""
    known = (*TESTED, *NOT_TYPED)
    assert [command for command in COMMANDS if not command.startswith(known)] == []
    assert [beginning for beginning in known if not any(command.startswith(beginning) for command in COMMANDS)] == []


async def test_the_hub_runs_with_its_defaults(root: Path) -> None:
    """`dphub run` alone uses the shipped circus.ini, and takes its directories from the environment."""
    plugin_dir, run_dir = root / "plugins", root / "run"
    async with FakeKubelet(plugin_dir) as kubelet:
        async with started(
            BIN / "dphub",
            "run",
            cwd=root,
            env=os.environ
            | {"DPHUB_PLUGIN_DIR": str(plugin_dir), "DPHUB_RUN_DIR": str(run_dir), "DPHUB_HTTP": "127.0.0.1:0"},
            stderr=asyncio.subprocess.DEVNULL,
        ) as hub:
            await kubelet.wait_for("example.com/stub", allocatable=4, timeout=WAIT_SECONDS)
            hub.terminate()
            assert await ended(hub) == 0
        assert {plugin.name for plugin in read_config(shipped_config()) if plugin.autostart} == {"gpu", "ib", "stub"}
