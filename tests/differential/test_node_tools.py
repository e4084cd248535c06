"""node-problem-detector and Node Feature Discovery themselves read the hub's files, with the expected result.

Both are in the program tests/nodetools, which `make test-node-tools` builds.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from hub.base.featurefiles import feature_file, features_text, health_labels, label_problem
from tests.deploy.manifest_tools import CONTAINER
from tests.differential.feature_labels import MAKERS
from tests.harness.nodetoolsbuild import binary
from tests.simulators.nodeproblemdetector import Detector, load

MONITOR = CONTAINER / "node-problem-detector"
SCRIPT = MONITOR / "device-plugin-hub.sh"
MOUNTED = "/custom-config/device-plugin-hub.sh"
GOOD = "plugins ok\ndevices/gpu ok\ndevices/ib ok\n"
BROKEN = "1 of 8 nvidia.com/gpu devices is unhealthy (GPU-1): XID 79"

SUMMARIES = {
    "good": GOOD,
    "no such hardware": "plugins ok\ndevices/stub ok\n",
    "a broken GPU": GOOD.replace("gpu ok", f"gpu problem {BROKEN}"),
    "a plugin that is down": "plugins problem ib: backing off\ndevices/gpu ok\ndevices/ib unknown ib: backing off\n",
    "a plugin that is starting": "plugins unknown gpu: starting\ndevices/gpu unknown gpu: starting\n",
    "no hub": None,
    "a crash and a failed reset": f"{GOOD}restarts NOW gpu: killed by SIGSEGV\nresets NOW gpu: GPU-1: failed\n",
    "a long reason": GOOD.replace("gpu ok", f"gpu problem {'é* $(id) %s ' * 500}"),
}


@pytest.fixture
def program() -> Path:
    """Return the program."""
    path = binary()
    if not path.exists():
        pytest.skip("the programs' parsers are not built: run `make test-node-tools`")
    return path


def _monitor(directory: Path, **settings: object) -> Path:
    """Write the monitor's file with the location that the script has on this machine."""
    content = (MONITOR / "device-plugin-hub.json").read_text().replace(MOUNTED, str(SCRIPT))
    monitor = json.loads(content)
    monitor["pluginConfig"] |= settings
    path = directory / "monitor.json"
    path.write_text(json.dumps(monitor))
    return path


def _summary(directory: Path, text: str | None) -> None:
    (directory / "summary").mkdir(exist_ok=True)
    if text is not None:
        scratch = directory / "summary" / ".new"
        scratch.write_text(text.replace("NOW", str(int(time.time()))))
        # The newest time that the script accepts: on a busy machine, the programs take a long time to start.
        os.utime(scratch, (time.time() + 20,) * 2)
        scratch.replace(directory / "summary" / "dphub")


@contextmanager
def _statuses(program: Path, monitor: Path, run_dir: Path) -> Iterator[Iterator[Any]]:
    """Run node-problem-detector's monitor; yield what it would publish, one status for each run of a rule."""
    environment = {"PATH": os.environ["PATH"], "DPHUB_RUN_DIR": str(run_dir), "LANG": "C.UTF-8"}
    words = [program, "monitor", monitor]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        try:
            yield map(json.loads, process.stdout)
        finally:
            process.kill()


def _conditions(status: Mapping[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {each["type"]: (each["status"], each["reason"], each["message"]) for each in status["conditions"]}


@pytest.mark.parametrize("summary", SUMMARIES.values(), ids=SUMMARIES)
def test_node_problem_detector_runs_the_monitor(program: Path, tmp_path: Path, summary: str | None) -> None:
    """The program accepts the file, and publishes the same conditions and events as the simulated one elsewhere."""
    monitor = load(MONITOR / "device-plugin-hub.json")
    _summary(tmp_path, summary)
    environment = {"PATH": os.environ["PATH"], "DPHUB_RUN_DIR": str(tmp_path), "LANG": "C.UTF-8"}
    expected = Detector(monitor, {MOUNTED: str(SCRIPT)}, environment)
    expected.run()
    _summary(tmp_path, summary)
    with _statuses(program, _monitor(tmp_path), tmp_path) as statuses:
        found = list(islice(statuses, len(monitor.rules)))
    assert {each["source"] for each in found} == {"device-plugin-hub"}
    kinds = {rule.reason for rule in monitor.rules if rule.type == "temporary"}
    events = [(each["reason"], each["message"]) for status in found for each in status["events"] or ()]
    assert [each for each in events if each[0] in kinds] == expected.events
    assert _conditions(found[-1]) == expected.conditions


def test_node_problem_detector_follows_the_reason(program: Path, tmp_path: Path) -> None:
    """A condition's message is the current reason, even when only the reason changes; it ends with the fault."""
    texts = [GOOD, *(SUMMARIES["a broken GPU"].replace("79", code) for code in ("79", "48")), GOOD]  # type: ignore[union-attr]
    seen: list[tuple[str, str]] = []
    _summary(tmp_path, texts[0])
    with _statuses(program, _monitor(tmp_path, invoke_interval="500ms"), tmp_path) as statuses:
        for text in texts:
            _summary(tmp_path, text)
            wanted = "True" if "problem" in text else "False"
            code = "XID 79" if "XID 79" in text else "XID 48" if "XID 48" in text else "all GPUs"
            for status in islice(statuses, 200):
                state, _, message = _conditions(status)["GPUUnhealthy"]
                if state == wanted and code in message:
                    seen.append((state, message))
                    break
    reason = BROKEN.removesuffix("79")
    good = ("False", "all GPUs can be used, or are cordoned")
    assert seen == [good, ("True", f"{reason}79"), ("True", f"{reason}48"), good]


def _labels(program: Path, directory: Path) -> dict[str, dict[str, str]]:
    done = subprocess.run([program, "labels", directory], capture_output=True, text=True, check=True)
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_node_feature_discovery_reads_the_labels(
    program: Path, tmp_path: Path, make: Callable[[Path], dict[str, str]]
) -> None:
    """The node gets exactly the labels of the plugin, each of which NFD accepts."""
    health, unhealthy = health_labels("gpu")
    expected = make(tmp_path / "node") | {health: "degraded", unhealthy: "1"}
    assert len(expected) > 3
    (tmp_path / "features.d").mkdir()
    feature_file(tmp_path / "features.d", "gpu").write_text(features_text(expected))
    assert _labels(program, tmp_path / "features.d") == {"labels": expected, "dropped": {}}


def test_node_feature_discovery_ignores_what_has_expired(program: Path, tmp_path: Path) -> None:
    """Labels of a plugin that has stopped stay until they expire; unfinished files have no effect."""
    feature_file(tmp_path, "now").write_text(features_text({"example.com/a": "1"}, expiry=time.time() + 600))
    feature_file(tmp_path, "old").write_text(features_text({"example.com/b": "1"}, expiry=time.time() - 2))
    (tmp_path / ".dphub-new.1").write_text(features_text({"example.com/c": "1"}))
    assert _labels(program, tmp_path)["labels"] == {"example.com/a": "1"}


ODD = ["", "a", "A.b_c-d", "-a", "a-", "a" * 63, "a" * 64, "a b", "a=b", "ä", "1", "a/b", "_", "0.5", "true\t"]
DOMAINS = ["example.com", "a.kubernetes.io", "feature.node.kubernetes.io", "x.profile.node.kubernetes.io", "k8s.io"]


def test_node_feature_discovery_accepts_what_the_hub_accepts(program: Path, tmp_path: Path) -> None:
    """No label that the hub lets a plugin have is dropped by NFD."""
    (tmp_path / "features.d").mkdir()
    pairs = [(f"{domain}/{name}", value) for domain in DOMAINS for name in ODD for value in ODD]
    accepted = [(name, value) for name, value in pairs if not label_problem(name, value)]
    assert len(accepted) > 50
    for value in ODD:
        these = {name: each for name, each in accepted if each == value}
        feature_file(tmp_path / "features.d", "x").write_text(features_text(these))
        assert _labels(program, tmp_path / "features.d") == {"labels": these, "dropped": {}}
