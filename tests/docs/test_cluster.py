"""docs/cluster.md: it describes the monitor's conditions correctly, and its commands and files work."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from hub.supervisor.summaryfile import INTERVAL
from tests.deploy.manifest_tools import run
from tests.docs.pages import ROOT, Page
from tests.simulators.nodeproblemdetector import load, seconds

PAGE = Page("docs/cluster.md")
MONITOR = ROOT / "container" / "node-problem-detector"
CONFIG = load(MONITOR / "device-plugin-hub.json")

NEED_A_CLUSTER = (
    "kubectl describe node ",
    "kubectl apply --filename ",
    "kubectl annotate node ",
    "kubectl patch node ",
)
CHART = {
    "Chart.yaml": "{apiVersion: v2, name: node-problem-detector, version: 1.0.0}",
    "templates/values.yaml": "{{ .Values | toYaml }}",
}
"""A chart that shows its values."""


def test_every_file_is_documented() -> None:
    """The page has each file, with what it is for."""
    named = {name for cells in PAGE.table("file") for name in re.findall("`([^`]+)`", cells[0])}
    assert named == {path.name for path in MONITOR.iterdir()}


def test_every_condition_and_event_is_documented() -> None:
    """The page has each condition and event in the monitor's order, and no other."""
    conditions = [cells[0].strip("`") for cells in PAGE.table("condition")]
    assert conditions == [each.type for each in CONFIG.conditions]
    events = [cells[0].strip("`") for cells in PAGE.tables("event")[0]]
    assert events == [rule.reason for rule in CONFIG.rules if rule.type == "temporary"]


def test_the_times_are_documented() -> None:
    """The page says how far the rules look back, how often the hub writes, and when it counts as gone."""
    (rule, *_) = [each for each in CONFIG.rules if each.type == "temporary"]
    assert f"Once a minute, the rules look at the last {rule.args[-1]} seconds" in PAGE.words
    assert seconds(rule.invoke_interval) == 60
    assert INTERVAL == 5
    assert "every five seconds" in PAGE.words
    script = (MONITOR / "device-plugin-hub.sh").read_text()
    assert "max_age=30\n" in script
    assert "no hub has updated its [summary file](#how-it-works) for 30 seconds" in PAGE.words


def test_another_plugin(tmp_path: Path) -> None:
    """The page's additions to the monitor for another plugin are valid."""
    (text,) = [block.text for block in PAGE.blocks if block.language == "json"]
    config = json.loads((MONITOR / "device-plugin-hub.json").read_text())
    for key, value in json.loads(text).items():
        config[key] += value
    (tmp_path / "monitor.json").write_text(json.dumps(config))
    monitor = load(tmp_path / "monitor.json")
    assert monitor.mistakes() == []
    assert monitor.rules[-1].args[-1] == "devices/serial"


def test_with_kustomize(tmp_path: Path) -> None:
    """The page's kustomization finds the component; tests/deploy checks the objects that result."""
    (text, _) = [block.text for block in PAGE.blocks if block.language == "yaml"]
    shutil.copytree(MONITOR, tmp_path / "device-plugin-hub" / "container" / "node-problem-detector")
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "node-problem-detector"}]}}
    template["spec"]["containers"][0]["command"] = []  # type: ignore[index]
    detector = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "node-problem-detector", "namespace": "kube-system"},
        "spec": {"template": template},
    }
    (tmp_path / "node-problem-detector.yaml").write_text(yaml.safe_dump(detector))
    (tmp_path / "kustomization.yaml").write_text(text)
    done = run("kubectl", "kustomize", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "/run/dphub/summary" in done.stdout


def test_with_helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chart gets both files, under the names that the monitor and its rules use."""
    for name, text in CHART.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(MONITOR)
    _, _, *words = shlex.split(PAGE.command("helm upgrade "))
    words[words.index("NPD/node-problem-detector")] = str(tmp_path)
    done = run("helm", "template", *[word for word in words if word != "--install"])
    assert done.returncode == 0, done.stderr
    values = yaml.safe_load(done.stdout)
    files = values["settings"]["custom_monitor_definitions"]
    assert files == {name: (MONITOR / name).read_text() for name in ("device-plugin-hub.json", "device-plugin-hub.sh")}
    assert {name for name in files if f"/custom-config/{name}" in done.stdout} == set(files)


def test_by_hand(tmp_path: Path) -> None:
    """The script reports on this node, where no hub is running."""
    command = PAGE.command("container/node-problem-detector/")
    done = subprocess.run(
        shlex.split(command),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DPHUB_RUN_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("no hub has renewed its summary")


def test_every_command_is_known_to_these_tests() -> None:
    """Each command is typed above or needs a cluster; the files that the commands name exist."""
    for command in PAGE.commands:
        assert command.startswith(("cd ", "helm upgrade ", "container/", *NEED_A_CLUSTER)), command
        words = [word for word in shlex.split(command) if word.startswith("container/")]
        assert all((ROOT / word).exists() for word in words)


def test_the_taint_is_that_of_the_rule() -> None:
    """The kubelet's flag on the page has the taint of the readiness rule."""
    flag, *_ = [block.text.strip() for block in PAGE.blocks if block.language == "text"]
    taint = yaml.safe_load((MONITOR / "readiness-rule.yaml").read_text())["spec"]["taint"]
    assert flag == f"--register-with-taints={taint['key']}={taint['value']}:{taint['effect']}"
