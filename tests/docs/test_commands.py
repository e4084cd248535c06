"""The commands on the pages about clusters: those that need none are run, and the words of the others are checked."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import click
import pytest
import yaml

from hub.cli import cli
from hub.supervisor.config.watchers import read_config
from plugins.gpu.settings.file import GPUSettings
from plugins.ib.settings import IBSettings
from tests.deploy.manifest_tools import NAME, run
from tests.docs.docs_tools import PAGES, ROOT, blocks, commands

OWN = "container/overlays/my-cluster"

KEEP = "--reset-then-reuse-values"
"""A flag that `helm upgrade` accepts and `helm template` does not."""

ALL = list(dict.fromkeys((name, command) for name in PAGES for command in commands(name)))

NOT_RUN = {
    "kubectl apply --filename": "needs a cluster; the file is checked against Kubernetes' schema",
    "kubectl (create|label|annotate|get|logs|wait|delete|cordon|uncordon|describe) ": "needs a cluster",
    "oc annotate ": "needs an OpenShift cluster",
    "kubectl --namespace [^ ]+ (get|delete|rollout|port-forward|patch|describe) ": "needs a cluster",
    "helm (uninstall|rollback|test) ": "needs a release in a cluster",
    "(docker( buildx)?|buildah) (build|push) ": "takes minutes and a registry; the tests of the image build it",
    "docker save ": "needs an image that was built",
    r"(make setup$|\.venv/bin/python -m scripts\.image )": "takes minutes and root; the tests of the image build it",
    r"\.venv/bin/python -m benchmarks ": "takes minutes; tests/integration/upgrade runs a few upgrades",
    r"\.venv/bin/python -m tests\.harness\.upgrades ": "takes minutes; tests/integration/upgrade uses the same harness",
}
"""Commands that are not run, and why."""

RUN = {
    "cp -r container/overlays/": "copies the overlay",
    "cp container/base/": "copies a file into the copy of the overlay",
    "kubectl (kustomize|apply -k|delete -k) ": "renders the objects without contacting a cluster",
    "oc apply -k ": "renders the objects without contacting a cluster",
    "helm (install|upgrade) ": "renders the chart without contacting a cluster",
    r"(\(cd [^ ]+ && )?dphub check ": "checks the files of the checkout",
    "kubectl --namespace [^ ]+ exec POD -- dphub ": "the command is understood; tests/integration runs it",
}
"""Commands that are run, or the part of them that can be run."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a checkout with what the commands need: the copy of the overlay, and the files that the reader makes."""
    directory = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "container", directory / "container", symlinks=True)
    for copy in (command for _, command in ALL if command.startswith("cp ")):
        subprocess.run(shlex.split(copy), cwd=directory, check=True)
    kustomization, *_ = blocks("install", "yaml")
    (directory / OWN / "kustomization.yaml").write_text(kustomization)
    assert (directory / OWN / "gpu.yaml").exists()
    for file in (directory / OWN / "gpu.yaml", directory / "gpu.yaml"):
        file.write_text("version: v1\nflags: {migStrategy: mixed}\n")
    return directory


@pytest.mark.parametrize("command", [command for _, command in ALL], ids=lambda text: text[:60])
def test_every_command_is_known_to_these_tests(command: str) -> None:
    """Each command is run or has a reason why it is not, including one that is added to a page later."""
    assert [kind for kind in (*RUN, *NOT_RUN) if re.match(kind, command)], command


def _matching(*beginnings: str) -> Iterator[str]:
    return (command for command in dict.fromkeys(text for _, text in ALL) if command.startswith(beginnings))


@pytest.mark.parametrize(
    "command", [*_matching("kubectl kustomize", "kubectl apply -k", "kubectl delete -k", "oc apply -k")]
)
def test_kustomize_makes_what_is_applied(checkout: Path, command: str) -> None:
    """The reader's own directory results in a DaemonSet with the reader's files."""
    directory = shlex.split(command)[-1]
    done = run("kubectl", "kustomize", checkout / directory)
    assert done.returncode == 0, done.stderr
    kinds = {each["kind"] for each in yaml.safe_load_all(done.stdout)}
    assert {"DaemonSet", "ConfigMap"} <= kinds
    assert "migStrategy: mixed" in done.stdout


@pytest.mark.parametrize("command", [*_matching("helm install", "helm upgrade")])
def test_helm_makes_what_is_installed(checkout: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flags and values are valid, and the contents of the named file are in the objects."""
    monkeypatch.chdir(checkout)
    _, _, *words = shlex.split(command)
    done = run("helm", "template", *(word for word in words if word != KEEP))
    assert done.returncode == 0, done.stderr
    objects = [each for each in yaml.safe_load_all(done.stdout) if each]
    assert {each["metadata"]["name"] for each in objects} >= {NAME}
    if "--set-file" in words:
        assert "migStrategy: mixed" in done.stdout
    if "--set-string" in words:
        assert 'device-plugin-hub: "true"' in done.stdout
    if KEEP in words:
        assert KEEP in run("helm", "upgrade", "--help").stdout


@pytest.mark.parametrize("command", sorted({text for _, text in ALL if "dphub check " in text}))
def test_the_checks_find_nothing_wrong(command: str) -> None:
    """With the files of the checkout, each of the commands succeeds."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.defpath))
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env={"PATH": path}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def _of_the_hub(command: str) -> list[str]:
    return shlex.split(command.partition(" -- dphub ")[2])


@pytest.mark.parametrize("command", [command for _, command in ALL if " -- dphub " in command])
def test_the_commands_in_the_pod_are_understood(command: str) -> None:
    """`dphub` understands each of them, with all of its options."""
    name, *words = _of_the_hub(command)
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    found.make_context(name, words)


@cache
def _known_flags(program: str, *words: str) -> set[str]:
    texts = [run(program, *words, "--help").stdout, run(program, "options").stdout]
    return set(re.findall(r"--[a-z][a-z-]*", " ".join(texts)))


@pytest.mark.parametrize("command", [*_matching("kubectl ")])
def test_the_flags_of_kubectl_are_its_own(command: str) -> None:
    """Each flag of a command for a cluster is one that kubectl knows."""
    words = shlex.split(command.partition(" -- ")[0])[1:]
    flags = {word.partition("=")[0] for word in words if word.startswith("--")}
    if words[0] == "--namespace":
        del words[:2]
    verb = words[: 2 if words[0] == "rollout" else 1]
    assert flags <= _known_flags("kubectl", *verb), command


def test_the_build_arguments_are_those_of_the_image() -> None:
    """The image has those arguments, and the files that the commands name are there."""
    text = (ROOT / "container" / "Containerfile").read_text()
    for command in _matching("docker build", "docker buildx build", "buildah build"):
        words = shlex.split(command)
        arguments = [word.partition("=")[0] for flag, word in pairwise(words) if flag == "--build-arg"]
        assert all(re.search(rf"^ARG {name}\b", text, re.MULTILINE) for name in arguments)
        files = [word for flag, word in pairwise(words) if flag in {"--file", "--ignorefile"}]
        assert all((ROOT / file).is_file() for file in files), command


def test_the_benchmark_has_this_name() -> None:
    """`--only` with the name on the page selects the benchmark."""
    (command,) = _matching(".venv/bin/python -m benchmarks")
    tree = ast.parse((ROOT / "benchmarks" / "__main__.py").read_text())
    names = {
        key.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    }
    assert shlex.split(command)[-1] in names


def test_patches_are_patches() -> None:
    """A patch on the command line of `kubectl patch` can be parsed, and so can one in a file."""
    for command in _matching("kubectl --namespace NAMESPACE patch"):
        words = shlex.split(command)
        if "--patch" in words:
            assert "spec" in yaml.safe_load(words[words.index("--patch") + 1])
        else:
            (patch,) = [each for each in blocks("migrating", "yaml") if "affinity" in each]
            assert "spec" in yaml.safe_load(patch)


def test_every_file_that_is_shown_passes_the_check(tmp_path: Path) -> None:
    """Files of plugins and circus.ini on these pages are valid."""
    kinds = {"version": GPUSettings, "configList": IBSettings}
    found = 0
    for number, text in enumerate(block for name in (*PAGES, "ib") for block in blocks(name, "yaml")):
        for key, kind in kinds.items():
            if key in (yaml.safe_load(text) or {}):
                (tmp_path / f"{number}.yaml").write_text(text)
                kind.read(tmp_path / f"{number}.yaml")
                found += 1
    for number, text in enumerate(block for name in PAGES for block in blocks(name, "ini")):
        (tmp_path / f"{number}.ini").write_text(text)
        read_config(tmp_path / f"{number}.ini")
    assert found > 0
