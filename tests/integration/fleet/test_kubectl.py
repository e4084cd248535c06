"""`kubectl-dphub` with a stand-in for kubectl, and with a real one: real processes, sockets and signals."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.simulators.kubectl import StandIn, install
from tests.simulators.podproxy import NAMESPACE, Answer, Scenario, pod
from tests.unit.cli.fleet.fleet_setup import three_nodes

PROGRAM = [sys.executable, "-c", "from hub.cli.fleet import main; main()"]
REAL = Path(sys.executable).with_name("kubectl")


class CommandResult(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def cluster(directory: Path) -> Iterator[StandIn]:
    """Install a stand-in for kubectl."""
    (directory / "tmp").mkdir()
    yield install(directory, three_nodes())
    assert list((directory / "tmp").iterdir()) == [], "the program left files behind"


def _environment(directory: Path, path: str | None = None) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": path or f"{directory}:{os.defpath}",
        "TMPDIR": str(directory / "tmp"),
        "COLUMNS": "200",
    }


def _dphub(cluster: StandIn, *words: str, timeout: float = 60) -> CommandResult:
    """Run a command; on a slow machine, a stand-in takes seconds to answer."""
    command = [*PROGRAM, *words, "--timeout", f"{timeout:g}"]
    done = subprocess.run(command, env=_environment(cluster.directory), capture_output=True, check=False, timeout=200)
    return CommandResult(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_users_options_reach_kubectl(cluster: StandIn) -> None:
    """The context and the kubeconfig file are passed on, both for the proxy and for commands in pods."""
    scenario = three_nodes()
    scenario.execs["hub-a restart -- gpu"] = Answer("gpu: restarted", 0)
    cluster.set(scenario)
    said = _dphub(cluster, "restart", "node-a", "gpu", "--context", "test", "--kubeconfig", "/a/file")
    assert said == CommandResult(0, "gpu: restarted\n", "")
    expected = [f"--namespace={NAMESPACE}", "--context=test", "--kubeconfig=/a/file"]
    assert [call[:3] for call in cluster.calls] == [expected, expected]


@pytest.mark.parametrize("mode", ["hang", "drip", "huge", "bomb", "raw", "short"])
def test_a_hostile_hub_affects_only_its_own_node(cluster: StandIn, mode: str) -> None:
    """This holds whether its response never comes, never ends, is too large, or is not text."""
    scenario = three_nodes()
    scenario.pages["hub-a /status"] = Answer("{}", mode=mode)
    cluster.set(scenario)
    said = _dphub(cluster, "devices", "--json", timeout=8 if mode in {"hang", "drip"} else 60)
    assert [json.loads(line)["node"] for line in said.out.splitlines()] == ["node-b", "node-b"]
    assert said.code == 1
    (reason,) = [line for line in said.err.splitlines() if line.startswith("node-a")]
    assert "did not answer: pod hub-a: " in reason
    assert ("sent only the beginning of its response" in reason) == (mode == "short")
    assert len(reason) < 700


@pytest.mark.parametrize("mode", ["hang", "huge"])
def test_a_hostile_command_in_a_pod_ends(cluster: StandIn, mode: str) -> None:
    """The command is killed at its time limit, or when it has printed too much."""
    cluster.set(
        Scenario(
            pods=[pod("hub-a", "node-a")],
            pages={"hub-a /status": Answer("error trying to reach service", 503)},
            execs={"hub-a /status": Answer(mode=mode)},
        )
    )
    said = _dphub(cluster, "devices", timeout=8 if mode == "hang" else 60)
    assert said.code == 1
    assert "error trying to reach service; kubectl exec: " in said.err
    assert ("did not answer within 8 s" if mode == "hang" else "sent more than") in said.err


def test_without_kubectl(directory: Path) -> None:
    """One line says that kubectl is missing, and nothing is done."""
    (directory / "tmp").mkdir()
    environment = _environment(directory, str(directory))
    done = subprocess.run([*PROGRAM, "status"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "kubectl dphub: kubectl is not installed, or its directory is not in PATH\n"


def test_kubectl_does_not_start(cluster: StandIn) -> None:
    """The kubectl command's message says why: for example, that a context does not exist."""
    cluster.set(Scenario(proxy_error='context "x" does not exist'))
    said = _dphub(cluster, "status", "--context", "x")
    assert said == CommandResult(2, "", 'kubectl dphub: kubectl proxy does not start: context "x" does not exist\n')


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_proxy_ends_with_the_command(cluster: StandIn, number: signal.Signals) -> None:
    """However the command exits, the proxy is stopped at once, so no process with the user's permissions remains."""
    scenario = three_nodes()
    scenario.pages["hub-a /status"] = Answer(mode="hang")
    cluster.set(scenario)
    environment = _environment(cluster.directory) | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([*PROGRAM, "status", "--timeout", "600"], env=environment, stderr=subprocess.DEVNULL)
    _wait_for_proxy(cluster)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(number)
    assert process.wait(60) != 0
    assert len(children) == 1
    # If the command cannot stop the proxy, the kernel kills it, and init reaps it.
    _wait_until(lambda: not Path(f"/proc/{children[0]}").exists() or _is_zombie(children[0]))
    if number is signal.SIGKILL:
        shutil.rmtree(cluster.directory / "tmp")
        (cluster.directory / "tmp").mkdir()


def test_nothing_that_only_a_node_needs_is_loaded(cluster: StandIn) -> None:
    """The program starts quickly, and runs where a hub could not."""
    code = (
        "import atexit, sys; from hub.cli.fleet import main; "
        "atexit.register(lambda: print(*sys.modules, file=open('loaded', 'w'))); main()"
    )
    command = [sys.executable, "-c", code, "status", "--timeout", "60"]
    environment = _environment(cluster.directory) | {"PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run(command, env=environment, cwd=cluster.directory, capture_output=True, check=False)
    loaded = set((cluster.directory / "loaded").read_text().split())
    assert loaded & {"grpc", "circus", "zmq", "tornado", "psutil", "structlog", "prometheus_client"} == set()
    assert "hub.cli.render.fleet" in loaded


def test_the_first_answers_can_be_decoded_at_the_same_time() -> None:
    """Several threads can be the first to decode a type; msgspec crashes unless the type has been prepared."""
    code = """if True:
        import sys
        from hub.model.node import NodeStatus
        from tests.unit.cli.fleet.fleet_setup import encoded, fleet_of, status
        from tests.unit.cli.fleet.test_queries import NODES, _many
        sys.setswitchinterval(1e-6)
        fleet, _, _ = fleet_of(_many(encoded(status())), parallel=32)
        assert len(fleet.query("/status", NodeStatus).values) == NODES
    """
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


@pytest.fixture
async def real(directory: Path) -> AsyncIterator[dict[str, str]]:
    """Start a stand-in for the API server, and return the environment in which a real kubectl uses it."""
    if not REAL.exists():
        pytest.skip("kubectl is not installed")
    (directory / "tmp").mkdir()
    scenario = three_nodes()
    scenario.hosts = ["10.0.0.1"]
    install(directory, scenario)
    command = [sys.executable, "-m", "tests.simulators.podproxy", directory / "scenario.json"]
    server = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert server.stdout
    port = (await server.stdout.readline()).decode().strip()
    cluster = {"name": "test", "cluster": {"server": f"http://localhost:{port}"}}
    context = {"name": "test", "context": {"cluster": "test", "user": ""}}
    config = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context]}
    (directory / "config").write_text(json.dumps(config | {"current-context": "test"}))
    environment = _environment(directory, f"{REAL.parent}:{os.defpath}") | {"KUBECONFIG": str(directory / "config")}
    yield environment
    server.kill()
    await server.wait()


async def test_with_a_real_kubectl(real: dict[str, str]) -> None:
    """A real kubectl knows the proxy's options, passes on the header that hubs need, and rejects all other paths."""
    words = ["devices", "--json", "--timeout", "60"]
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, *words, env=real, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["GPU-1", "GPU-0", "GPU-2", "GPU-3"], err
    assert "ImagePullBackOff" in err.decode()


async def test_with_a_real_kubectl_and_no_cluster(real: dict[str, str], directory: Path) -> None:
    """One line says that no cluster answers, and what to look at."""
    config = (directory / "config").read_text()
    (directory / "config").write_text(json.dumps(json.loads(config) | {"clusters": [_nowhere()]}))
    process = await asyncio.create_subprocess_exec(*PROGRAM, "status", env=real, stderr=asyncio.subprocess.PIPE)
    _, err = await process.communicate()
    assert process.returncode == 2
    assert err.decode().startswith("kubectl dphub: the cluster does not answer: ")
    assert "kubectl cluster-info shows which cluster it is" in err.decode()


def _nowhere() -> dict[str, object]:
    """Return a cluster at whose address nothing listens."""
    return {"name": "test", "cluster": {"server": "http://127.0.0.1:1"}}


def _wait_for_proxy(cluster: StandIn) -> None:
    _wait_until(lambda: any((cluster.directory / "tmp").glob("*/s")))


def _wait_until(holds: Callable[[], bool]) -> None:
    """Wait until another process has done something."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def _is_zombie(pid: str) -> bool:
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
