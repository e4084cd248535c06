"""What the page on the architecture says is correct."""

import ast
import inspect
import os
import re
import shlex
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchmarks.__main__ as benchmarks
from benchmarks import rows
from hub.api import plugin as contract
from hub.api.plugin import Plugin
from hub.base import kubeletwatch, ownerfile, sockets, ticks
from hub.base.paths import PLUGIN_DIR, RUN_DIR, RunDir
from hub.cli.waiting import wait_for_report
from hub.model.heartbeat import HANDOVER_TIMEOUT, UNRESPONSIVE_AFTER
from hub.model.plugin import RegistrationStatus
from hub.plugin import process
from hub.plugin.deviceplugin import connection, handover, registrar
from hub.plugin.health import record
from hub.reset import runner
from hub.supervisor import backoff
from hub.supervisor.circus import watcher
from hub.supervisor.config.watchers import PluginConfig, shipped_config
from hub.testing.node import Node
from hub.testing.waiting import WAIT_SECONDS
from tests.docs.pages import ARCHITECTURE, ROOT
from tests.docs.terminal import typed, typed_in_thread

CAT = ARCHITECTURE.command("cat ")
EXPORT = ARCHITECTURE.command("export ")
CIRCUSCTL = [command for command in ARCHITECTURE.commands if command.startswith("circusctl ")]
BENCHMARKS = ARCHITECTURE.command(".venv/bin/python -m benchmarks ")


@pytest.fixture
def root() -> Iterator[Path]:
    """Create a directory with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
        yield Path(directory)


def _names(head: str) -> list[str]:
    return [cells[0].strip("`") for cells in ARCHITECTURE.table(head)]


def test_the_rules_are_those_that_are_checked() -> None:
    """The page has each contract of import-linter, in its order."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert _names("rule") == [contract["name"] for contract in project["tool"]["importlinter"]["contracts"]]


def test_the_map_has_every_package() -> None:
    """The map lists each package and each directory that developers maintain, and none that does not exist."""
    packages = {path.parent for top in ("hub", "plugins") for path in (ROOT / top).rglob("__init__.py")}
    dotted = {str(path.relative_to(ROOT)).replace("/", ".") for path in packages}
    named = set(_names("package"))
    assert dotted - named == set()
    assert [name for name in named - dotted if not (ROOT / name).is_dir()] == []
    assert {"container", "scripts", "benchmarks", "docs"} <= named


def test_the_files_of_each_package_exist() -> None:
    """Each file that the map names is in its package, or is named with its directory."""
    for package, responsible, _ in ARCHITECTURE.table("package"):
        directory = ROOT / package.strip("`").replace(".", "/")
        for name in re.findall(r"`([\w/]+\.py)`", responsible):
            assert (directory / name).is_file() or (ROOT / name).is_file(), (package, name)


def test_the_tests_of_each_package_exist() -> None:
    """Each package's tests are where the map says; only a package that contains nothing but packages needs none."""
    for package, responsible, tests in ARCHITECTURE.table("package"):
        patterns = re.findall("`([^`]+)`", tests)
        assert responsible
        assert patterns or package == "`plugins`"
        assert [pattern for pattern in patterns if not any(ROOT.glob(pattern))] == []


def test_each_test_has_its_package() -> None:
    """A developer who follows the map misses no test."""
    patterns = [pattern for cells in ARCHITECTURE.table("package") for pattern in re.findall("`([^`]+)`", cells[2])]
    places = {path for pattern in patterns for path in ROOT.glob(pattern)}
    files = (ROOT / "tests").rglob("test_*.py")
    assert [str(file) for file in files if places.isdisjoint((file, *file.parents))] == []


def _patterns() -> dict[str, re.Pattern[str]]:
    """Return a pattern for the name of each file in the run directory."""
    words = {"INSTANCE": "dphub", "PLUGIN": "(gpu|ib|stub)", "RESOURCE": "[a-z.]+_[a-z]+"}
    names = [name for cells in ARCHITECTURE.tables("file")[0] for name in re.findall("`([^`]+)`", cells[0])]
    pattern = "|".join(words)
    return {name: re.compile(re.sub(pattern, lambda word: words[word[0]], re.escape(name))) for name in names}


def test_every_file_of_the_code_is_documented() -> None:
    """The page has each file that `RunDir` names."""
    run_dir = RunDir(Path(), "INSTANCE")
    members = {name: member for name, member in vars(RunDir).items() if not name.startswith("_")}
    paths = [getattr(run_dir, name) for name, member in members.items() if isinstance(member, property)]
    paths += [
        member(run_dir, "PLUGIN")
        for member in members.values()
        if inspect.isfunction(member) and "plugin" in inspect.signature(member).parameters
    ]
    assert len(paths) >= 12
    assert {str(path) for path in paths} <= _patterns().keys()


async def test_every_file_that_is_there_is_documented(root: Path) -> None:
    """The page has each file of the run directory and of the kubelet's, on a node that has seen some events."""
    async with Node(root, shipped_config()) as node:
        await node.start_hub()
        await node.kubelet.wait_for("example.com/stub", allocatable=4, timeout=WAIT_SECONDS)
        state = await wait_for_report(node.run_dir, "stub", lambda state: bool(state.resources), 60)
        os.kill(state.pid, 9)
        await node.kubelet.wait_for("example.com/stub", allocatable=0, timeout=WAIT_SECONDS)
        await node.kubelet.wait_for("example.com/stub", allocatable=4, timeout=WAIT_SECONDS)
        run_dir = node.run_dir.path
        paths = [path for path in run_dir.rglob("*") if path.is_file() and not path.name.startswith(".")]
        found = {str(path.relative_to(run_dir)) for path in paths}
        assert {name for name in found if not any(p.fullmatch(name) for p in _patterns().values())} == set()
        assert {"dphub.lock", "dphub.json", "dphub.stub.json", "dphub.stub.heartbeat"} <= found
        (kubelets,) = ARCHITECTURE.tables("file")[1:]
        documented = {re.findall("`([^`]+)`", cells[0])[0] for cells in kubelets}
        found_sockets = {path.name for path in node.plugin_dir.glob("dphub-*.sock")}
        assert found_sockets == {sockets.socket_name(r, "dphub", node.plugin_dir) for r in node.kubelet.capacity()}
        rest = {path.name for path in node.plugin_dir.iterdir()} - found_sockets
        assert rest | {"INSTANCE-RESOURCE.sock"} == documented


def test_every_state_of_a_registration_is_documented() -> None:
    """The page has each state, in the words that `dphub status` uses."""
    (states, _) = ARCHITECTURE.tables("state")
    assert {cells[0] for cells in states} == set(RegistrationStatus)


def test_every_state_of_health_is_documented() -> None:
    """The page has each state, and every source of a device's health."""
    (_, states) = ARCHITECTURE.tables("state")
    assert {cells[0] for cells in states} == {*record.Health, "any", "cordoned"}
    sources = {
        record.PLUGIN,
        record.BROKEN,
        record.RESET,
        record.FLAPPING,
        record.CORDON,
        record.ADMIN_RESET,
    }
    assert set(_names("source")) == {*sources, record.ANNOTATION, record.SCAN, record.EXTERNAL, record.HELD}


def test_times_are_those_of_the_code() -> None:
    """The times for which an administrator may wait match the code."""
    words = ARCHITECTURE.words
    said = {
        "it notices a restart within five seconds": process.FILE_CHECK_INTERVAL == 5,
        "a missed event is noticed within five seconds": kubeletwatch.KUBELET_CHECK_INTERVAL == 5,
        "at shared times (ticks), the multiples of five seconds": ticks.TICK == 5,
        "first list of each stream, and every five seconds": process.FILE_CHECK_INTERVAL == 5,
        "every two seconds while other hubs run, otherwise every five": (
            (process.HANDOVER_CHECK_INTERVAL, process.FILE_CHECK_INTERVAL) == (2, 5)
        ),
        "opened no stream within five seconds": connection.CONFIRM_TIMEOUT == 5,
        "after up to 30 seconds, or on request": registrar.RETRY_REJECTED == 30,
        "has three seconds to start serving before the older": registrar.DETACH_TIMEOUT == 3,
        "Two seconds after the older plugin's socket is gone": handover.SEEN_AFTER == 2,
        "A second after the other hub's registration": handover.LINGER == 1,
        "after three seconds they continue without it": ownerfile.LOCK_TIMEOUT == 3,
        "After 20 seconds (`HANDOVER_TIMEOUT` in `hub/model/heartbeat.py`) a plugin exits": HANDOVER_TIMEOUT == 20,
        "it waits 1, 2, 4 ... up to 30 seconds": backoff.LONGEST_SECONDS == 30,
        "has run for a minute, the delays start again from zero": backoff.HEALTHY_SECONDS == 60,
        "| `allocate` | 5 s |": Plugin.allocate_timeout == 5,
        "| `prefer` | 1 s |": Plugin.prefer_timeout == 1,
        "| a scan (`devices`) | 30 s |": Plugin.scan_timeout == 30,
        "| 30 s (`watchdog` in `circus.ini`) |": PluginConfig("x", "x").watchdog == 30,
        "half a second later it sends SIGKILL": watcher.STACK_SECONDS == 0.5,
        "has not run for 30 seconds, `dphub status` says so": UNRESPONSIVE_AFTER == 30,
        "A plugin has five seconds (`graceful_timeout`), and then two more": (
            (PluginConfig("x", "x").graceful_timeout, watcher.KILL_SECONDS) == (5, 2)
        ),
        "It gives the worker a second": runner.TERM_TIMEOUT == 1,
        "has not exited three seconds later": runner.KILL_TIMEOUT == 3,
        "share 25 seconds (26 at most)": (Plugin.reset_timeout, contract.MAX_RESET_TIMEOUT) == (25, 26),
        "it was the fourth recovery within an hour": (
            (record.RecoveryPolicy().max_recoveries, record.RecoveryPolicy().window) == (3, 3600)
        ),
        f"The run directory is `{RUN_DIR}`": True,
        f"plugin directory is `{PLUGIN_DIR}`": True,
    }
    assert [text for text, is_so in said.items() if text not in words or not is_so] == []


def test_budgets_are_those_that_are_measured() -> None:
    """Each budget is checked by the benchmark that the page names next to it."""
    for what, budget, only in ARCHITECTURE.table("what | at most"):
        (number, *_) = budget.split()
        constants = {node.value for node in _code_of(only) if type(node) is ast.Constant}
        assert float(number) in constants, what


def test_ratios_are_those_that_are_measured() -> None:
    """Each benchmark uses the limits that the page names next to it, and no others."""
    limits = {"IDLE": rows.IDLE, "MEMORY": rows.MEMORY, "ADMISSION": rows.ADMISSION, "START": rows.START}
    documented: dict[str, set[float]] = {}
    for _, _, number, only in ARCHITECTURE.table("ratio"):
        documented.setdefault(only, set()).add(float(number))
    for only, numbers in documented.items():
        names = {node.id for node in _code_of(only) if isinstance(node, ast.Name)}
        assert {limits[name] for name in names & limits.keys()} == numbers, only


def _code_of(only: str) -> Iterator[ast.AST]:
    """Yield the syntax tree of the module with this benchmark."""
    functions = dict(re.findall(r'"([\w-]+)": lambda: (\w+)\(', inspect.getsource(benchmarks)))
    module = inspect.getmodule(getattr(benchmarks, functions[only.strip("`")]))
    assert module
    return ast.walk(ast.parse(inspect.getsource(module)))


async def test_circusctl_works(root: Path) -> None:
    """Each of the page's circusctl commands works on a running hub, and the plugin's state can be read."""
    async with Node(root, shipped_config()) as node:
        await node.start_hub()
        await wait_for_report(node.run_dir, "stub", lambda state: bool(state.resources), 60)
        run_dir = str(node.run_dir.path)
        name, _, its_endpoint = EXPORT.removeprefix("export ").partition("=")
        variables = {name: its_endpoint.replace(str(RUN_DIR), run_dir)}
        assert '"example.com/stub"' in typed(CAT.replace(str(RUN_DIR), run_dir), root)
        assert len(CIRCUSCTL) == 5
        for command in CIRCUSCTL:
            printed = await typed_in_thread(
                command if "status" in command else f"{command} --waiting", root, **variables
            )
            assert "ok" in printed or "active" in printed, command
            if "stop" not in command:
                await node.kubelet.wait_for("example.com/stub", allocatable=4, timeout=WAIT_SECONDS)


def test_one_benchmark_can_be_run_alone() -> None:
    """The options on the page select one benchmark; tests/integration/benchmarks/test_benchmarks.py runs them."""
    words = shlex.split(BENCHMARKS)
    context = benchmarks.main.make_context("benchmarks", words[words.index("benchmarks") + 1 :])
    assert context.params["only"] in _benchmarks()
    assert Path(words[0]).name == Path(sys.executable).name.rstrip("0123456789.")


def _benchmarks() -> set[str]:
    return {cells[2].strip("`") for cells in ARCHITECTURE.table("what | at most")}


def test_every_command_and_block_is_known_to_these_tests() -> None:
    """Each command and block has a test here, including one that is added later."""
    assert set(ARCHITECTURE.commands) == {CAT, EXPORT, BENCHMARKS, *CIRCUSCTL}
    assert {block.language for block in ARCHITECTURE.blocks} == {"console", "text"}
