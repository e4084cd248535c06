"""What README.md tells its reader to type works."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.cli.states import wait_for_state
from hub.kubelet.fake import ContainerStartError, FakeKubelet
from hub.kubelet.node import Node
from hub.supervisor.config import read_config, shipped_config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
HOST_ROOT = "DPHUB_HOST_ROOT"
TRIAL_DIR = "/tmp/plugins"  # noqa: S108 - what the README says; replaced before anything is done


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


COMMANDS = [line[2:] for block in _blocks("console") for line in block.splitlines()]
PLUGIN, RESET, TEST = _blocks("python")
SECTION, STUB_SECTION = _blocks("ini")
(STUB_SETTINGS,) = _blocks("yaml")


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
        yield Path(directory)


@pytest.fixture
def adapters(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's file system with two serial adapters, and the README's plugin in a directory outside the project."""
    (root / "site").mkdir()
    (root / "site/serial_adapters.py").write_text(PLUGIN, encoding="utf-8")
    (root / "host/dev").mkdir(parents=True)
    for n in range(2):
        (root / f"host/dev/ttyUSB{n}").touch()
    monkeypatch.setenv("PYTHONPATH", str(root / "site"))
    return root / "host"


def test_the_example_plugin_is_short() -> None:
    """A plugin is 25 lines at most, everything included."""
    assert len(PLUGIN.splitlines()) <= 25


async def test_the_example_plugin_runs_under_the_hub(root: Path, adapters: Path) -> None:
    """One watcher section is all it takes to serve a third party's plugin, next to those that come with the hub."""
    config = root / "circus.ini"
    config.write_text(shipped_config().read_text(encoding="utf-8") + "\n" + SECTION, encoding="utf-8")
    async with Node(root, config, {HOST_ROOT: str(adapters)}) as node:
        await node.start_hub()
        await node.kubelet.wait_for("example.com/serial", allocatable=2, timeout=60)
        await node.kubelet.wait_for("example.com/stub", allocatable=4, timeout=60)
        pod = await node.kubelet.admit("reader", {"example.com/serial": 2})
        response = pod.containers["main"].response
        assert response.envs == {"SERIAL_PORTS": "/dev/ttyUSB0,/dev/ttyUSB1"}
        assert [device.host_path for device in response.devices] == ["/dev/ttyUSB0", "/dev/ttyUSB1"]
        assert await node.stop_hub() == 0


async def test_the_example_reset_runs(root: Path, adapters: Path) -> None:
    """With its reset named, the example plugin resets an adapter before the container starts, or says why not."""
    named = PLUGIN.replace("    resource =", '    reset = "serial_reset:reset"\n    resource =')
    for module, text in {"serial_adapters": named, "serial_reset": RESET}.items():
        (root / f"site/{module}.py").write_text(text, encoding="utf-8")
    config = root / "circus.ini"
    config.write_text(SECTION, encoding="utf-8")
    async with Node(root, config, {HOST_ROOT: str(adapters)}) as node:
        await node.start_hub()
        await node.kubelet.wait_for("example.com/serial", allocatable=2, timeout=60)
        pod = await node.kubelet.admit("reader", {"example.com/serial": 1})
        (device,) = pod.containers["main"].response.devices
        port = adapters / device.host_path[1:]
        assert port.read_bytes() == b"ATZ\r"
        port.unlink()
        with pytest.raises(ContainerStartError, match="the adapter was pulled out"):
            await node.kubelet.start_container(pod)


async def test_the_example_test_passes(root: Path, adapters: Path) -> None:
    """The test that the README shows to plugin authors runs as it stands there."""
    names: dict[str, Any] = {}
    exec(compile(TEST, "README.md", "exec"), names)  # noqa: S102 - the point of the test
    response = await names["container_of_one_device"](root / "plugins", adapters)
    assert response.envs["SERIAL_PORTS"].startswith("/dev/ttyUSB")


async def test_the_example_settings_of_the_stub_work(root: Path) -> None:
    """The stub's settings file and the section that names it serve what they say."""
    settings = root / "stub.yaml"
    settings.write_text(STUB_SETTINGS, encoding="utf-8")
    config = root / "circus.ini"
    config.write_text(STUB_SECTION.replace("/etc/dphub/stub.yaml", str(settings)), encoding="utf-8")
    async with Node(root, config) as node:
        await node.start_hub()
        await node.kubelet.wait_for("example.com/stub", allocatable=8, timeout=60)
        await node.kubelet.wait_for("example.com/another", allocatable=2, timeout=60)
        assert {device.numa for device in node.kubelet.devices("example.com/stub")} == {(0,), (1,)}
        pod = await node.kubelet.admit("reader", {"example.com/another": 1})
        response = pod.containers["main"].response
        (device,) = response.devices
        assert (device.host_path, response.envs["ANOTHER"]) == ("/dev/zero", f"another-{device.container_path[-1]}")


async def test_an_administrators_commands_work(root: Path) -> None:
    """Looking at a plugin's state, and circusctl's verbs, do what the README says."""
    async with Node(root, shipped_config()) as node:
        await node.start_hub()
        await wait_for_state(node.run_dir, "stub", lambda state: bool(state.resources), 60)
        export, *circusctl = [command for command in COMMANDS if "circusctl" in command.lower()]
        show = next(command for command in COMMANDS if command.startswith("cat"))
        name, _, endpoint = export.removeprefix("export ").partition("=")
        run_dir = str(node.run_dir.path)
        environment = os.environ | {name: endpoint.replace("/run/dphub", run_dir)}
        assert '"example.com/stub"' in await _output(shlex.split(show.replace("/run/dphub", run_dir)), environment)
        assert len(circusctl) == 5
        for command in circusctl:
            printed = await _output(
                [str(BIN / "circusctl"), *shlex.split(command)[1:], *_waiting(command)], environment
            )
            assert "ok" in printed or "active" in printed, command
            if "stop" not in command:
                await node.kubelet.wait_for("example.com/stub", allocatable=4, timeout=60)


async def test_a_plugin_can_be_tried_by_hand(root: Path, adapters: Path) -> None:
    """The fake kubelet on the command line serves a plugin that was started in another terminal."""
    by_hand = [
        shlex.split(command.replace(TRIAL_DIR, str(root / "plugins"))) for command in COMMANDS if TRIAL_DIR in command
    ]
    kubelet = await asyncio.create_subprocess_exec(
        str(BIN / by_hand[0][0]),
        *by_hand[0][1:],
        f"--pod-resources-socket={root}/pods.sock",
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    plugin = await asyncio.create_subprocess_exec(
        str(BIN / by_hand[1][0]), *by_hand[1][1:], env=os.environ | {HOST_ROOT: str(adapters)}
    )
    assert kubelet.stderr is not None
    async for line in kubelet.stderr:
        if b"example.com/serial" in line and b'"allocatable": 2' in line:
            break
    for process in (plugin, kubelet):
        process.terminate()
        assert await process.wait() == 0


def test_the_two_commands_for_a_fresh_machine() -> None:
    """`make demo` shows the demo; `make test` is what gates, and knows how to set itself up."""
    assert COMMANDS[:2] == ["make demo", "make test"]
    told = subprocess.run(["make", "demo"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=110).stdout
    assert "The hub stops" in told
    planned = subprocess.run(
        ["make", "-n", "-B", "test"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
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


def test_every_command_is_known_to_these_tests() -> None:
    """A command that is added to the README needs a test."""
    known = (
        "make ",
        "dphub kubelet ",
        "dphub run",
        "python -m hub.plugin ",
        "cat ",
        "export ",
        "circusctl ",
        "dphub check",
        # In tests/operate/test_documented_commands.py.
        *(f"dphub {name}" for name in ("status", "devices", "logs", "restart", "cordon", "uncordon", "reload")),
    )
    assert [command for command in COMMANDS if not command.startswith(known)] == []


def test_the_examples_pass_the_check(tmp_path: Path) -> None:
    """`dphub check` finds nothing wrong with the shipped circus.ini and the stub's example."""
    (tmp_path / "circus.ini").write_bytes(shipped_config().read_bytes())
    (tmp_path / "stub.yaml").write_text(STUB_SETTINGS)
    checks = [command for command in COMMANDS if command.startswith("dphub check")]
    assert len(checks) == 2
    for command in checks:
        subprocess.run([str(BIN / "dphub"), *command.split()[1:]], cwd=tmp_path, check=True)


async def test_the_hub_runs_with_its_defaults(root: Path) -> None:
    """`dphub run` alone takes the shipped circus.ini, and its directories from the environment."""
    plugin_dir, run_dir = root / "plugins", root / "run"
    async with FakeKubelet(plugin_dir) as kubelet:
        hub = await asyncio.create_subprocess_exec(
            str(BIN / "dphub"),
            "run",
            cwd=root,
            env=os.environ
            | {"DPHUB_PLUGIN_DIR": str(plugin_dir), "DPHUB_RUN_DIR": str(run_dir), "DPHUB_HTTP": "127.0.0.1:0"},
            stderr=asyncio.subprocess.DEVNULL,
        )
        await kubelet.wait_for("example.com/stub", allocatable=4, timeout=60)
        hub.terminate()
        assert await hub.wait() == 0
        assert {plugin.name for plugin in read_config(shipped_config())} == {"gpu", "ib", "stub"}


async def _output(command: list[str], environment: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    assert process.returncode == 0, command
    return printed.decode()


def _waiting(command: str) -> list[str]:
    return [] if "status" in command else ["--waiting"]
