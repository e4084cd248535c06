"""The commands of the tutorial print what the tutorial shows."""

import inspect
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import yaml
from tornado.httpclient import AsyncHTTPClient

import hub
import hub.reset
from hub import Device, Host, Plugin
from hub._version import __version__
from hub.api.plugin import MAX_RESET_TIMEOUT
from hub.base.exits import Exit
from hub.base.jsonfile import read_file
from hub.base.paths import RunDir
from hub.model.hub import InstanceReport
from hub.plugin.devices.validation import ID_CHARACTERS
from hub.plugin.metrics.plugin import SAMPLES
from hub.reset.messages import ResetLimits
from hub.supervisor.config.watchers import read_config
from hub.testing.kubelet import AdmissionError, ContainerStartError, FakeKubelet
from hub.testing.node import Node
from hub.testing.waiting import WAIT_SECONDS, wait_until
from plugins.stub.faults import Faults
from tests.deploy.manifest_tools import CONTAINER, Object, container, kustomized, mounts, only, pod
from tests.deploy.manifest_validity import mistakes
from tests.docs.pages import README, ROOT, TUTORIAL
from tests.docs.terminal import environment, terminal, typed, typed_beside

SERIAL = "example.com/serial"
FIRST, GROWN = TUTORIAL.versions("serial_adapters.py")
SNIPPETS = [block.text for block in TUTORIAL.blocks if block.in_the_class]
FROM_HUB = ["Allocation", "Metric", "Sample"]
"""What the snippets also need; the page says that it comes from `hub`, and `Counter` from `collections`."""

NOT_TYPED = {
    "mkdir serial && cd serial": "the directory of the test stands for it",
    "python3 -m venv venv": "tests already have a virtual environment",
    ". venv/bin/activate": "tests already have a virtual environment",
    "pip install ../device-plugin-hub": "needs a package index; tests/deploy/test_release.py installs the wheel",
    "pip install pytest": "needs a package index",
    "kubectl apply ": "needs a cluster",
    "kubectl get ": "needs a cluster",
    "kubectl logs ": "needs a cluster",
    "kubectl wait ": "needs a cluster",
    "kubectl --namespace ": "needs a cluster",
    "dphub verify ": "takes half a minute; tests/integration/verify verifies the stub with such a command",
    "docker ": "needs a registry with the hub's image; what the Containerfile does is checked below",
}
"""Commands by how they begin, and why they are not typed here."""

TYPED: set[str] = set()
"""Those that a test here types, collected while the tests are imported."""

OTHER_BLOCKS = {
    "def place(host, device):": "test_locations_come_from_sysfs",
    "images:\n": "test_an_image_of_your_own",
    **dict.fromkeys(("unhealthy:", "allocate:", "reset:"), "test_the_examples_of_the_stub"),
}
"""Blocks that are neither a file nor a part of the class, by how they begin, and the test of each."""


def _command(beginning: str) -> str:
    command = TUTORIAL.command(beginning)
    TYPED.add(command)
    return command


SET_UP = [_command("mkdir -p host"), _command("touch host/dev")]
KUBELET = _command("dphub fake-kubelet")
PLUGIN, PLUGIN_WITH_SETTINGS = (
    command for command in TUTORIAL.commands if command.startswith("python -P -m hub.plugin ")
)
SCAN = _command("dphub check --plugin serial_adapters.py:Serial --scan")
WRONG = _command("dphub check --plugin wrong.py:")
FAILING, INVALID = _command("dphub check --plugin failing.py:F"), _command("dphub check --plugin failing.py:I")
CHECK_SETTINGS = _command("dphub check --plugin serial_adapters.py:Serial serial.yaml")
LOCK, UNLOCK = _command("touch host/run/lock"), _command("rm host/run/lock")
CHECK_HUB = _command("dphub check --load circus.ini")
HUB = _command("DPHUB_HOST_ROOT=")
OPERATE = [
    command
    for command in TUTORIAL.commands
    if command.startswith(("dphub status", "dphub devices", "dphub cordon", "dphub uncordon", "dphub logs"))
]
RUN_DIR = _command("export DPHUB_RUN_DIR=").partition("=")[2]
PYTEST = _command("pytest")
ADD_SECTIONS = _command("cat ")
KUSTOMIZE = _command("kubectl kustomize .")
CHECK_STUB = _command("dphub check --plugin plugins.stub:Stub")
TYPED |= {PLUGIN, PLUGIN_WITH_SETTINGS, *OPERATE}

SCANNED, REGISTERED, ADMITTED, UNKNOWN_KEY, HEALTH, DIALLER, *MISTAKES = (
    text.splitlines() for text in TUTORIAL.of("text")
)
ADMIT_READER, RESTART, REMOVE_READER, ADMIT_DIALLER, ADMIT_CALLER = re.findall("[Tt]ype `([^`]+)`", TUTORIAL.text)


class Tutorial(NamedTuple):
    """The reader's directory, and what the files in it become."""

    directory: Path

    def write(self, module: str) -> None:
        """Write the plugin as it is at some step, and all other files."""
        for block in TUTORIAL.blocks:
            if block.file not in ("", "serial_adapters.py", "stub.yaml"):
                (self.directory / block.file).write_text(block.text, encoding="utf-8")
        (self.directory / "serial_adapters.py").write_text(module, encoding="utf-8")

    def port(self, number: int) -> Path:
        """Return what stands for an adapter."""
        return self.directory / f"host/dev/ttyUSB{number}"


def complete_plugin() -> str:
    """Return the plugin with everything in its class that the page has for it."""
    docstring, _, rest = GROWN.partition("\n\n")
    (names,) = re.findall("^from hub import (.+)$", rest, re.MULTILINE)
    more = rest.replace(names, ", ".join(sorted([*names.split(", "), *FROM_HUB])))
    return f"{docstring}\n\nfrom collections import Counter\n\n{more}\n" + "\n".join(SNIPPETS)


@pytest.fixture
def tutorial() -> Iterator[Tutorial]:
    """Make a directory next to the checkout, with a path short enough for sockets, and files for devices."""
    with tempfile.TemporaryDirectory(prefix="dphub-") as beside:
        directory = Path(beside) / "serial"
        directory.mkdir()
        (Path(beside) / "device-plugin-hub").symlink_to(ROOT)
        for command in SET_UP:
            typed(command, directory)
        yield Tutorial(directory)


def test_it_begins_with_the_plugin_of_the_readme() -> None:
    """A reader who comes from the README continues with the same file."""
    assert README.of("python") == [FIRST]


async def test_it_is_tried_in_two_terminals(tutorial: Tutorial) -> None:
    """The first plugin registers, gives a pod its adapter, and registers again after a restart of the kubelet."""
    tutorial.write(FIRST)
    async with terminal(KUBELET, tutorial.directory) as kubelet:
        # The page's reader takes longer to open a second terminal than a kubelet takes to listen.
        await kubelet.says("kubelet started")
        async with terminal(PLUGIN, tutorial.directory) as plugin:
            await kubelet.says("allocatable=3")
            await plugin.says("registered")
            assert plugin.lines == REGISTERED
            kubelet.type(ADMIT_READER)
            await kubelet.says("default/reader: running")
            assert kubelet.lines[-len(ADMITTED) :] == ADMITTED
            kubelet.type(RESTART)
            await kubelet.says("allocatable=3", times=2)
            kubelet.type(REMOVE_READER)
            await kubelet.says("remove: done")
            kubelet.type("help")
            await kubelet.says("show this list")


def test_the_devices_are_seen_before_any_kubelet(tutorial: Tutorial) -> None:
    """They are shown as a table."""
    tutorial.write(FIRST)
    assert typed(SCAN, tutorial.directory).splitlines() == SCANNED


@pytest.mark.parametrize(("command", "said"), [*zip((WRONG, FAILING, INVALID), MISTAKES, strict=True)])
def test_mistakes_of_the_author(tutorial: Tutorial, command: str, said: list[str]) -> None:
    """They are reported as the page shows, in the reader's directory."""
    tutorial.write(complete_plugin())
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tutorial.directory,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = f"{done.stdout}{done.stderr}".replace(str(tutorial.directory), "/home/you/serial").splitlines()
    assert (done.returncode, lines) == (Exit.USAGE, said)


async def test_health_and_settings(tutorial: Tutorial) -> None:
    """The settings leave an adapter out; another one is unhealthy while a program on the node is using it."""
    tutorial.write(GROWN)
    async with (
        terminal(KUBELET, tutorial.directory) as kubelet,
        terminal(PLUGIN_WITH_SETTINGS, tutorial.directory) as plugin,
    ):
        await kubelet.says("allocatable=2 capacity=2")
        typed(LOCK, tutorial.directory)
        await kubelet.says("allocatable=1 capacity=2")
        typed(UNLOCK, tutorial.directory)
        await plugin.says("devices recovered")
        assert [line for line in plugin.lines if line in HEALTH] == HEALTH


def test_mistakes_are_found_without_starting_anything(tutorial: Tutorial) -> None:
    """Mistakes in the settings and in circus.ini are reported as the page quotes them."""
    tutorial.write(GROWN)
    typed(CHECK_SETTINGS, tutorial.directory)
    typed(CHECK_HUB, tutorial.directory)
    settings = tutorial.directory / "serial.yaml"
    settings.write_text(settings.read_text().replace("exclude", "exclud"))
    said = subprocess.run(
        ["bash", "-c", CHECK_SETTINGS],
        cwd=tutorial.directory,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stderr.splitlines()) == (Exit.USAGE, UNKNOWN_KEY)


async def test_the_whole_plugin_runs_under_the_hub(tutorial: Tutorial) -> None:
    """What an administrator types works; containers get what `allocate` says, and their adapters are reset."""
    tutorial.write(complete_plugin())
    here = tutorial.directory
    async with terminal(KUBELET, here) as kubelet, terminal(HUB, here):
        await kubelet.says("allocatable=2 capacity=2")
        for command in OPERATE:
            # The last report that the kubelet receives is that both adapters are healthy.
            await typed_beside(command, here, DPHUB_RUN_DIR=RUN_DIR)
        await kubelet.says("allocatable=2 capacity=2", times=2)
        kubelet.type(ADMIT_DIALLER)
        await kubelet.says("default/dialler: running")
        assert kubelet.lines[-len(DIALLER) - 1 : -1] == DIALLER
        kubelet.type(ADMIT_CALLER)
        await kubelet.says("default/caller: running")
        assert [tutorial.port(n).read_bytes() for n in range(3)] == [b"ATZ\r", b"ATZ\r", b""]
        status = await typed_beside("dphub status serial", here, DPHUB_RUN_DIR=RUN_DIR)
        assert "last reset of" in status
        run_dir = RunDir(here / RUN_DIR)
        await wait_until(lambda: _has_metric(run_dir), "the plugin's own metrics in its heartbeat")
        state = read_file(run_dir.hub_report, InstanceReport)
        assert state
        answer = await AsyncHTTPClient().fetch(f"http://{state.hub.http}/metrics")
        assert 'serial_adapters_in_use{plugin="serial"} 0.0' in answer.body.decode()


def _has_metric(run_dir: RunDir) -> bool:
    return b"serial_adapters_in_use" in run_dir.heartbeat("serial").read_bytes()


async def test_a_pulled_out_adapter_keeps_its_container_from_starting(tutorial: Tutorial) -> None:
    """The reset reports that in the words that the page's function has."""
    (snippet,) = [text for text in SNIPPETS if text.startswith("    reset = ")]
    tutorial.write(f"{FIRST}\n{snippet}")
    async with FakeKubelet(tutorial.directory / "kubelet/plugins") as kubelet, terminal(PLUGIN, tutorial.directory):
        await kubelet.wait_for(SERIAL, allocatable=3)
        caller = await kubelet.admit("caller", {SERIAL: 1})
        tutorial.port(0).unlink()
        with pytest.raises(ContainerStartError, match="the adapter was pulled out"):
            await kubelet.start_container(caller)


async def test_a_pod_gets_ports_of_one_adapter(tutorial: Tutorial) -> None:
    """`prefer` is called, and keeps ports of one adapter together."""
    for number in range(8):
        tutorial.port(number).touch()
    tutorial.write(complete_plugin())
    async with FakeKubelet(tutorial.directory / "kubelet/plugins") as kubelet, terminal(PLUGIN, tutorial.directory):
        await kubelet.wait_for(SERIAL, allocatable=8)
        for name, count, expected in (("a", 3, {"4", "5", "6"}), ("b", 2, {"0", "1"}), ("c", 2, {"2", "3"})):
            pod = await kubelet.admit(name, {SERIAL: count})
            got = {device[-1] for device in pod.containers["main"].devices[SERIAL]}
            assert len({int(number) // 4 for number in got}) == 1, (got, expected)


def test_locations_come_from_sysfs(tmp_path: Path) -> None:
    """A device gets its PCI address and its NUMA node; it gets no node if sysfs does not know one."""
    names: dict[str, Any] = {}
    (text,) = [text for text in TUTORIAL.of("python") if text.startswith("def place(")]
    exec(compile(text, TUTORIAL.name, "exec"), names)  # noqa: S102 - the point of the test
    function = tmp_path / "sys/devices/pci0000:3a/0000:3b:00.0"
    link = tmp_path / "sys/class/accel/accel0/device"
    function.mkdir(parents=True)
    link.parent.mkdir(parents=True)
    link.symlink_to("../../../devices/pci0000:3a/0000:3b:00.0")
    for said, nodes in (("1\n", [1]), ("-1\n", [])):
        (function / "numa_node").write_text(said)
        place = names["place"](Host(tmp_path), "/sys/class/accel/accel0/device")
        assert place == {"pci": ["0000:3b:00.0"], "numa": nodes}
        assert Device("accel0", **place)


def test_the_tests_of_the_tutorial_pass(tutorial: Tutorial) -> None:
    """All three tests pass, with the pytest that the reader has."""
    tutorial.write(complete_plugin())
    assert "3 passed" in typed(f"{PYTEST} -p no:cacheprovider", tutorial.directory)


@pytest.mark.parametrize("module", [FIRST, GROWN, complete_plugin()], ids=["first", "grown", "whole"])
def test_its_code_passes_the_linter(tutorial: Tutorial, module: str) -> None:
    """The code is formatted, and a linter finds no mistake in it."""
    tutorial.write(module)
    files = sorted(path.name for path in tutorial.directory.glob("*.py"))
    for check in (["format", "--check"], ["check", "--select=E,F,W,B,I,UP"]):
        typed(f"ruff {' '.join(check)} --isolated --no-cache --line-length=120 {' '.join(files)}", tutorial.directory)


@pytest.fixture
def made(tutorial: Tutorial) -> list[Object]:
    """Return what a cluster gets from the reader's directory."""
    tutorial.write(complete_plugin())
    assert KUSTOMIZE == "kubectl kustomize ."
    return kustomized(tutorial.directory)


def test_the_overlay_is_valid(tutorial: Tutorial, made: list[Object]) -> None:
    """It is valid for Kubernetes and OpenShift: it mounts the node's directory and pulls the reader's image."""
    file = tutorial.directory / "kustomization.yaml"
    file.write_text(file.read_text().replace("overlays/kubernetes", "overlays/openshift"))
    for objects in (made, kustomized(tutorial.directory)):
        assert mistakes(objects) == []
        assert container(objects)["image"] == f"REGISTRY/device-plugin-hub:{__version__}"
        locks = mounts(objects)["/run/lock"]
        assert (locks["hostPath"]["path"], locks["readOnly"]) == ("/run/lock", True)


@pytest.mark.parametrize("name", ["unprivileged", "resets"])
def test_the_components_that_it_names_fit(tutorial: Tutorial, made: list[Object], name: str) -> None:
    """They can be added to the overlay."""
    assert made
    component = f"../device-plugin-hub/container/components/{name}"
    assert f"`{component}`" in TUTORIAL.text
    with (tutorial.directory / "kustomization.yaml").open("a") as file:
        file.write(f"components:\n  - {component}\n")
    assert mistakes(kustomized(tutorial.directory)) == []


async def test_a_plugin_needs_no_image(tutorial: Tutorial, made: list[Object]) -> None:
    """The hub serves it from the files of the ConfigMap alone, in the directory where a pod has them."""
    etc = tutorial.directory / "etc"
    etc.mkdir()
    for name, text in only(made, "ConfigMap")["data"].items():
        (etc / name).write_text(text)
    (hub_container,) = pod(made)["containers"]
    assert hub_container["workingDir"] == "/etc/dphub"
    command = " ".join(["dphub", *hub_container["args"]]).replace("/etc/dphub", str(etc))
    variables = {
        "DPHUB_HOST_ROOT": str(tutorial.directory / "host"),
        "DPHUB_PLUGIN_DIR": str(tutorial.directory / "plugins"),
        "DPHUB_RUN_DIR": str(tutorial.directory / "run"),
    }
    async with FakeKubelet(tutorial.directory / "plugins") as kubelet, terminal(command, etc, **variables):
        await kubelet.wait_for(SERIAL, allocatable=2, timeout=WAIT_SECONDS)
        pod_with_reset = await kubelet.admit("reader", {SERIAL: 1})
        assert pod_with_reset.containers["main"].started


def test_the_hubs_own_plugins_can_be_added(tutorial: Tutorial) -> None:
    """The nodes' circus.ini then has all sections once, and their files; the reader's own section still works."""
    tutorial.write(GROWN)
    typed(ADD_SECTIONS, tutorial.directory)
    file = tutorial.directory / "kustomization.yaml"
    (after, before) = re.findall(r"write `(- circus\.ini=\S+)` instead of `(- circus\.ini)`", TUTORIAL.text)[0]
    file.write_text(file.read_text().replace(f"{before}\n", f"{after}\n"))
    etc = tutorial.directory / "etc"
    etc.mkdir()
    for name, text in only(kustomized(tutorial.directory), "ConfigMap")["data"].items():
        (etc / name).write_text(text)
    names = {plugin.name for plugin in read_config(etc / "circus.ini")}
    assert names == {"serial", *(plugin.name for plugin in read_config(CONTAINER / "base/circus.ini"))}
    assert f"{len(names)} plugins" in typed(CHECK_HUB, etc)
    typed(CHECK_HUB, tutorial.directory)


def test_an_image_of_your_own(tutorial: Tutorial, made: list[Object]) -> None:
    """It is based on the hub's image, and Python finds the plugin where it was copied, in any working directory."""
    (lines,) = [text.splitlines() for text in TUTORIAL.of("dockerfile")]
    instructions = [line.split() for line in lines]
    assert [words[0] for words in instructions] == ["FROM", "COPY", "ENV"]
    assert instructions[0][1] == container(made)["image"]
    *sources, target = instructions[1][1:]
    assert instructions[2][1] == f"PYTHONPATH={target.rstrip('/')}"
    image = tutorial.directory / "image"
    image.mkdir()
    for name in sources:
        (image / name).write_bytes((tutorial.directory / name).read_bytes())
    check = TUTORIAL.command("docker run").partition("device-plugin-hub-serial:1 ")[2]
    elsewhere = tutorial.directory / "elsewhere"
    elsewhere.mkdir()
    assert "ok" in typed(f"dphub {check}", elsewhere, PYTHONPATH=str(image))
    # The overlay uses it in place of the hub's.
    (images,) = [yaml.safe_load(text)["images"] for text in TUTORIAL.of("yaml") if text.startswith("images:")]
    file = tutorial.directory / "kustomization.yaml"
    kustomization = yaml.safe_load(file.read_text()) | {"images": images}
    file.write_text(yaml.safe_dump(kustomization))
    tag = TUTORIAL.command("docker push").split()[-1]
    assert container(kustomized(tutorial.directory))["image"] == tag
    assert TUTORIAL.command("docker build").split()[-2] == tag


def test_the_pod_asks_for_the_device() -> None:
    """The pod is valid, requests what the plugin serves, and reads the file that `allocate` gives it."""
    (text,) = TUTORIAL.versions("reader.yaml")
    reader = yaml.safe_load(text)
    assert mistakes([reader]) == []
    (main,) = reader["spec"]["containers"]
    assert main["resources"]["limits"] == {SERIAL: 1}
    assert "/dev/modem0" in main["command"][-1]


async def test_the_examples_of_the_stub(tutorial: Tutorial) -> None:
    """Its settings serve what they describe, and its faults happen when they are written."""
    settings = tutorial.directory / "stub.yaml"
    (text,) = TUTORIAL.versions("stub.yaml")
    settings.write_text(text, encoding="utf-8")
    typed(CHECK_STUB, tutorial.directory)
    config = tutorial.directory / "circus.ini"
    config.write_text(f"[watcher:stub]\ncmd = python -m hub.plugin plugins.stub:Stub --config {settings}\n")
    async with Node(tutorial.directory, config) as node:
        await node.start_hub()
        await node.kubelet.wait_for("example.com/stub", allocatable=8, timeout=WAIT_SECONDS)
        await node.kubelet.wait_for("example.com/another", allocatable=2, timeout=WAIT_SECONDS)
        assert {device.numa for device in node.kubelet.devices("example.com/stub")} == {(0,), (1,)}
        pod = await node.kubelet.admit("reader", {"example.com/another": 1})
        response = pod.containers["main"].response
        (device,) = response.devices
        assert (device.host_path, response.envs["ANOTHER"]) == ("/dev/zero", f"another-{device.container_path[-1]}")
        faults = node.run_dir.path / "stub-faults.yaml"
        unhealthy, allocate, reset = TUTORIAL.of("yaml")[-3:]
        faults.write_text(unhealthy, encoding="utf-8")
        await node.kubelet.wait_for("example.com/stub", allocatable=7)
        faults.write_text(allocate, encoding="utf-8")
        await node.kubelet.wait_for("example.com/stub", allocatable=8)
        with pytest.raises(AdmissionError, match="the firmware is missing"):
            await node.kubelet.admit("another", {"example.com/another": 1})
        # Not waited for: a reset that hangs takes the whole 25 seconds.
        assert "reset: true" in text
        faults.write_text(reset, encoding="utf-8")
        assert Faults.read(faults).reset["*"]


# The tables.


def _documented(head: str, shown: str = "`([^`]+)`") -> list[str]:
    found = [re.match(shown, cells[0]) for cells in TUTORIAL.table(head)]
    return [match[1] for match in found if match]


def _field_tables(kind: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind)]


def _section(heading: str) -> list[str]:
    """Return the first column of the table below a heading."""
    after = TUTORIAL.text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", after, re.MULTILINE)


def test_every_field_of_a_device_is_documented() -> None:
    """The tables have all fields of a device and of what a reset gets, and no others."""
    assert _section("A device") == _field_tables(Device)
    assert _section("What a reset gets") == _field_tables(hub.ResetDevice)


def test_every_attribute_of_a_plugin_is_documented() -> None:
    """Each attribute is documented with its default, in the order of the code."""
    rows = {cells[0].strip("`"): cells[1].strip("`") for cells in TUTORIAL.table("attribute")}
    assert list(rows) == list(Plugin.__annotations__)
    plugin = Plugin()
    assert rows == {name: _shown(getattr(plugin, name)) for name in rows}


@pytest.mark.parametrize("kind", [hub.RecoveryPolicy, hub.ProbePolicy])
def test_every_field_of_a_policy_is_documented(kind: type[msgspec.Struct]) -> None:
    """Each field is documented with its default."""
    rows = [[cell.strip("`") for cell in cells[:2]] for cells in TUTORIAL.table(f"`hub.{kind.__name__}` field")]
    assert rows == [[name, _shown(getattr(kind(), name))] for name in _field_tables(kind)]


def _shown(value: object) -> str:
    match value:
        case str():
            return f'"{value}"'
        case float() | int():
            return f"{value:g}"
        case Host():
            return f'Host("{value.root}")'
        case None:
            return "None"
    return f"{type(value).__name__}()"


def test_every_method_of_a_plugin_is_documented() -> None:
    """Each method is documented with its arguments."""
    methods = {name: method for name, method in vars(Plugin).items() if inspect.isfunction(method) and name[0] != "_"}
    expected = {f"{name}({', '.join(list(inspect.signature(m).parameters)[1:])})" for name, m in methods.items()}
    assert set(_documented("method")) == expected


@pytest.mark.parametrize(
    "kind",
    [hub.DeviceNode, hub.Mount, hub.Excluded, hub.Unmatched, hub.Allocation, hub.Metric, hub.Sample],
    ids=lambda kind: kind.__name__,
)
def test_small_things_are_documented(kind: type[msgspec.Struct]) -> None:
    """Each small type is documented with its fields, in their order."""
    assert f"`hub.{kind.__name__}({', '.join(_field_tables(kind))})`" in TUTORIAL.words


def test_every_public_name_is_documented() -> None:
    """The page has all names that can be imported from `hub`, and `hub` has all names that the page imports from it."""
    public = set(hub.__all__) - {"__version__"}
    assert {name for name in public if not re.search(rf"\b{name}\b", TUTORIAL.text)} == set()
    named = set(re.findall(r"`hub\.([A-Z]\w+)", TUTORIAL.text)) | set(_imported("hub"))
    assert named <= public


def _imported(module: str) -> list[str]:
    lines = re.findall(rf"^from {re.escape(module)} import (.+)$", TUTORIAL.text, re.MULTILINE)
    return [name for line in lines for name in line.split(", ")]


def test_limits_are_those_of_the_code() -> None:
    """The figures on which a plugin author relies are those of the code."""
    limits = ResetLimits()
    words = TUTORIAL.words
    assert f"{limits.memory >> 30} GiB of memory, {limits.processor} seconds of CPU time" in words
    assert f"{limits.files} open files" in words
    assert f"seconds for all resets of one container; {MAX_RESET_TIMEOUT:g} at most" in words
    assert f"{ID_CHARACTERS} characters at most" in words
    assert f"A plugin may expose at most {SAMPLES:,} values" in words
    plugin = Plugin()
    assert f"share a limit of {plugin.reset_timeout:g} seconds (`reset_timeout`)" in words
    assert (plugin.scan_interval, "every ten seconds" in words) == (10, True)
    assert (plugin.max_reset_failures, plugin.recovery.max_recoveries, words.count("hree failures in a row")) == (
        3,
        3,
        1,
    )
    assert f"exits with code {Exit.NEEDS_RESTART:d}" in words
    assert f"exits with code {Exit.USAGE:d}" in words


def test_every_command_is_known_to_these_tests() -> None:
    """Each command is typed here or has a reason why it is not, including one that is added later."""
    unknown = [
        command for command in TUTORIAL.commands if command not in TYPED and not command.startswith(tuple(NOT_TYPED))
    ]
    assert unknown == []
    assert all(any(command.startswith(known) for command in TUTORIAL.commands) for known in NOT_TYPED)


def test_every_block_is_known_to_these_tests() -> None:
    """Each block is a file, a part of the class, or has a test of its own, including one that is added later."""
    unknown = [
        block.text
        for block in TUTORIAL.blocks
        if block.language not in ("console", "text")
        and not (block.file or block.in_the_class or block.text.startswith(tuple(OTHER_BLOCKS)))
    ]
    assert unknown == []
    assert set(OTHER_BLOCKS.values()) <= set(globals())
